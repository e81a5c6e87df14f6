//! Programs with one known bug each, to see that the checkers see: `ci/sanitize control` runs them and fails if a checker stays silent.
//!
//! Each bug is one that a runtime could have, and has a twin without it (`sound`), about which every checker must be silent. All go one way,
//! without luck: where threads take part, the order that does the harm is enforced, by what the checker in question does not take for order.

use std::alloc::{Layout, alloc, dealloc};
use std::hint::black_box;
use std::process::ExitCode;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::thread;

fn main() -> ExitCode {
    let bug = std::env::args().nth(1).unwrap_or_default();
    let programs: &[fn(bool)] = match bug.as_str() {
        "use-after-free" => &[wake_that_loses_its_task],
        "leak" => &[handles_in_a_circle],
        "race" => &[publication],
        "uninitialised" => &[outcome_before_its_time],
        "sound" => &[
            wake_that_loses_its_task,
            handles_in_a_circle,
            publication,
            outcome_before_its_time,
        ],
        _ => {
            eprintln!("usage: control use-after-free | leak | race | uninitialised | sound");
            return ExitCode::from(2);
        }
    };
    for program in programs {
        program(bug == "sound");
    }
    ExitCode::SUCCESS
}

/// A task as a runtime has it: counted, and reached by pointer.
struct Task {
    references: AtomicUsize,
    wakes: AtomicUsize,
}

#[derive(Clone, Copy)]
struct TaskPointer(NonNull<Task>);

// SAFETY: leads to atomics. Whether the task is still there is what this is about.
unsafe impl Send for TaskPointer {}

impl TaskPointer {
    fn new(references: usize) -> Self {
        Self(NonNull::from(Box::leak(Box::new(Task {
            references: AtomicUsize::new(references),
            wakes: AtomicUsize::new(0),
        }))))
    }

    /// # Safety
    ///
    /// The caller has a reference.
    unsafe fn count_wake(self) {
        // SAFETY: by the caller's word.
        unsafe { self.0.as_ref() }.wakes.fetch_add(1, Relaxed);
    }

    /// # Safety
    ///
    /// The caller has a reference, and gives it up.
    unsafe fn drop_reference(self) {
        // SAFETY: by the caller's word.
        if unsafe { self.0.as_ref() }.references.fetch_sub(1, AcqRel) == 1 {
            // SAFETY: it came from a box, and nobody else has a reference.
            drop(unsafe { Box::from_raw(self.0.as_ptr()) });
        }
    }
}

/// The waker hands its task over to a worker, which runs and frees it, and then notes in it that it has woken: async-executor 1.14.0.
fn wake_that_loses_its_task(sound: bool) {
    let task = TaskPointer::new(if sound { 2 } else { 1 });
    let worker = thread::spawn(move || {
        // The whole pointer, not the field alone, which is not Send.
        let task = task;
        // SAFETY: the reference that the queue's entry has.
        unsafe { task.drop_reference() };
    });
    worker.join().unwrap();
    // SAFETY: none, unless sound: the only reference went with the queue's entry.
    unsafe { task.count_wake() };
    if sound {
        // SAFETY: the second reference.
        unsafe { task.drop_reference() };
    }
}

/// Two tasks each of which holds the other's handle.
fn handles_in_a_circle(sound: bool) {
    use std::sync::{Mutex, Weak};
    struct Waiting {
        strong: Mutex<Option<Arc<Waiting>>>,
        weak: Mutex<Weak<Waiting>>,
    }
    let new = || {
        Arc::new(Waiting {
            strong: Mutex::new(None),
            weak: Mutex::new(Weak::new()),
        })
    };
    // On a thread of its own, whose stack and registers go, so that no copy of a pointer stays about.
    thread::spawn(move || {
        let (one, other) = (new(), new());
        *one.strong.lock().unwrap() = Some(other.clone());
        if sound {
            *other.weak.lock().unwrap() = Arc::downgrade(&one);
        } else {
            *other.strong.lock().unwrap() = Some(one.clone());
        }
        black_box((one, other));
    })
    .join()
    .unwrap();
}

/// An outcome that is published by a Relaxed store: on x86 it always works.
fn publication(sound: bool) {
    struct Shared(std::cell::UnsafeCell<u64>, AtomicUsize);
    // SAFETY: none, unless sound: then the flag orders who writes and who reads.
    unsafe impl Sync for Shared {}
    let shared = Arc::new(Shared(0.into(), AtomicUsize::new(0)));
    let (publish, read) = if sound {
        (Release, Acquire)
    } else {
        (Relaxed, Relaxed)
    };
    let writer = {
        let shared = shared.clone();
        thread::spawn(move || {
            // SAFETY: nobody reads it before the flag says so.
            unsafe { *shared.0.get() = 42 };
            shared.1.store(1, publish);
        })
    };
    while shared.1.load(read) == 0 {
        thread::yield_now();
    }
    // SAFETY: written before the flag was set. Without Release and Acquire nothing says that this thread sees it.
    assert_eq!(black_box(unsafe { *shared.0.get() }), 42);
    writer.join().unwrap();
}

/// An outcome that is asked for before it was stored.
fn outcome_before_its_time(sound: bool) {
    let layout = Layout::new::<u64>();
    // SAFETY: the size is not zero.
    let place = unsafe { alloc(layout) }.cast::<u64>();
    assert!(!place.is_null());
    if sound {
        // SAFETY: allocated for it.
        unsafe { place.write(42) };
    }
    // SAFETY: none, unless sound: nothing was written.
    if unsafe { black_box(place).read() } == 42 {
        println!("an outcome");
    } else {
        println!("another outcome");
    }
    // SAFETY: allocated above, with this layout.
    unsafe { dealloc(place.cast(), layout) };
}
