//! The task cell: one allocation that holds header, scheduler, future and outcome.
//!
//! ```text
//!   Header  state 8 | vtable 8 | links 16 | id 8 | spawn site 8 | rare 8 | wait 8 | join waker 16     80 bytes
//!   S       how to schedule it (an Arc)                                                         8 bytes
//!   Stage   the future, then its outcome, then nothing                                     size of the larger
//! ```
//!
//! Who may touch what:
//!
//! 1. `state`, `rare`: anybody with a reference; atomics.
//! 2. `vtable`, `id`, `spawned_at`: written before the cell is shared, read by anybody with a reference.
//! 3. `links`: whoever holds the lock of the registry shard that the task stands in.
//! 4. `join_waker`: the handle while JOIN_WAKER is clear, whoever finishes the task while it is set (`task::state`).
//! 5. `stage`: whoever runs the task (RUNNING); once DONE, the handle if JOIN_INTEREST was set at that moment, else whoever
//!    finished it. After the outcome was taken, nobody.
//! 6. `scheduler`: read by whoever runs the task or has just queued it (a task that is queued but in no queue yet cannot be run, so not
//!    end; the queue's own Release and Acquire order the look before the end). Once DONE it goes with the outcome, and is dropped with it: a waker kept for a year keeps the cell, not the runtime.
//! 7. The memory: freed by whoever drops the last reference.
//! 8. `wait`: written by whoever runs the task, who clears it before each poll: the handle, when polled, puts itself there again. It points to a task
//!    that the handle keeps. A handle that is dropped while it stands there, by a thread that does not run the task, clears it under
//!    the lock of `rare`; under that lock, whoever delivers to the task makes a reference of it.
//!
//! No `&mut` to a cell or header is ever made: wakers read the header while the future, beside it, is being polled.
#![allow(unsafe_code)]

use super::TaskRef;
use super::cancel::Requests;
use super::error::TaskError;
use super::id::TaskId;
use super::raw::{Vtable, contain};
use super::state::{Join, State};
use crate::context::{Context, copy_context};
use crate::current;
use crate::sync_switch::{AtomicPtr, Bug, Mutex, MutexGuard, UnsafeCell, planted, thread_local};
use slab::Slab;
use std::cell::{Cell as StdCell, RefCell};
use std::collections::VecDeque;
use std::panic::Location;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::task::Waker;

/// What a finished task leaves.
pub(crate) type Outcome<T> = Result<T, TaskError>;

/// The part of a task that does not depend on its future's type. `repr(C)` and first in the cell, so that a pointer to it is a
/// pointer to the cell.
#[repr(C)]
pub(crate) struct Header {
    pub(super) state: State,
    pub(super) vtable: &'static Vtable,
    /// The neighbours in the registry. Invariant: rule 3.
    pub(super) links: UnsafeCell<Links>,
    pub(super) id: TaskId,
    pub(super) spawned_at: &'static Location<'static>,
    /// What most tasks never need, made on first use. Invariant: null, or from `Box::into_raw`, from then on this header's own, and never changed.
    rare: AtomicPtr<Rare>,
    /// The task that this one awaits in the plainest way: by its handle, not within a region, and nothing else beside it. Null when there is none, or it
    /// stands in the tree. Invariant: rule 8.
    wait: AtomicPtr<Header>,
    /// Invariant: rule 4.
    pub(super) join_waker: UnsafeCell<Option<Waker>>,
}

// SAFETY: rules 1 to 4 say who may touch each field, from whichever thread; none depends on the thread.
unsafe impl Send for Header {}
// SAFETY: as above; the two `UnsafeCell`s are only touched by their owners of the moment.
unsafe impl Sync for Header {}

/// Neighbours in the doubly linked list of a registry shard. Invariant: `UNBOUND`, or each that is there is a task of the same shard, whose own
/// neighbour on that side is this one. For each task in the list the registry owns a reference.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Links {
    pub(super) previous: Option<NonNull<Header>>,
    pub(super) next: Option<NonNull<Header>>,
}

impl Links {
    /// Those of a task that stands in no list.
    pub(super) const UNBOUND: Self = Self {
        previous: Some(NonNull::dangling()),
        next: None,
    };
}

/// The rare part of a task: what a task has that was named, asked to end, or awaits others; and who watches it; its context.
#[derive(Debug, Default)]
pub(crate) struct Rare {
    fields: Mutex<RareFields>,
    /// The number of the task's poll under way, or last. Written by whoever runs the task, read by him and by whoever delivers to it:
    /// the state word orders them.
    polls: AtomicU64,
    /// Where the task has caught a cancellation that it has not answered yet; null if nowhere. Only the task itself asks and sets it.
    /// Invariant: null, or made from a `&'static`.
    caught_at: std::sync::atomic::AtomicPtr<Location<'static>>,
    /// Whether the context was ever touched: a spawn by a task that has a name, and no variables, takes no lock. std's, in a model too: only
    /// whoever runs the task, or is about to share it, asks and sets it.
    has_context: AtomicBool,
    /// Who wants to know where the task is suspended.
    #[cfg(feature = "stacks")]
    pub(super) wanted: super::stack::Wanted,
}

impl Rare {
    #[inline]
    pub(super) fn count_poll(&self) {
        self.polls.store(self.polls.load(Relaxed) + 1, Relaxed);
    }

    /// Notes where a cancellation was caught, or that it was answered.
    pub(super) fn set_caught_at(&self, at: Option<&'static Location<'static>>) {
        let at = at.map_or(std::ptr::null_mut(), |at| std::ptr::from_ref(at).cast_mut());
        self.caught_at.store(at, Relaxed);
    }

    pub(super) fn caught_at(&self) -> Option<&'static Location<'static>> {
        // SAFETY: null, or made from a reference that lives for ever in `set_caught_at`.
        unsafe { self.caught_at.load(Relaxed).as_ref() }
    }

    pub(super) fn poll_number(&self) -> u64 {
        // From 1 on: the poll in which the box is made comes after what was received without one.
        self.polls.load(Relaxed) + 1
    }

    /// Held for a few instructions, with no foreign code under it, and never together with another task's.
    pub(super) fn lock(&self) -> MutexGuard<'_, RareFields> {
        self.fields.lock()
    }
}

#[derive(Debug, Default)]
pub(crate) struct RareFields {
    name: Option<Arc<str>>,
    pub(super) requests: Requests,
    /// Who waits for the end, besides the handle. WATCHED in the state word says whether to look here.
    watchers: Slab<Watcher>,
    context: Context,
}

/// Somebody who is told of the end.
pub(crate) enum Watcher {
    /// To be woken.
    Waker(Waker),
    /// To be called.
    Call(Box<dyn FnOnce() + Send>),
}

impl Watcher {
    /// To be called in a copy of the context of who asks for it.
    pub(crate) fn call(callback: impl FnOnce() + Send + 'static) -> Self {
        let mut context = copy_context();
        Self::Call(if context.is_empty() {
            Box::new(callback)
        } else {
            Box::new(move || context.run(callback))
        })
    }

    pub(crate) fn tell(self) {
        match self {
            Self::Waker(waker) => waker.wake(),
            Self::Call(call) => call(),
        }
    }
}

/// Tells all of them, one after the other; a panic ends where it began. Wakers are woken here and now. So are callbacks called, unless this comes of
/// one that comes of another, [`CALLS_WITHIN`] times: then they are called when the innermost has returned. So a chain of a million, each
/// of which ends what the next one waits for, takes no more stack than a few.
pub(super) fn tell_all(watchers: impl IntoIterator<Item = Watcher>) {
    thread_local! {
        static WITHIN: StdCell<u32> = const { StdCell::new(0) };
        static WAITING: RefCell<VecDeque<Watcher>> = const { RefCell::new(VecDeque::new()) };
    }
    let within = WITHIN.try_with(StdCell::get).unwrap_or(0);
    for watcher in watchers {
        if matches!(watcher, Watcher::Call(_)) && within >= CALLS_WITHIN {
            // Fails only in the thread's last destructors, which drops it uncalled.
            let _ = WAITING.try_with(|waiting| waiting.borrow_mut().push_back(watcher));
            continue;
        }
        let mut next = Some(watcher);
        while let Some(watcher) = next {
            let _ = WITHIN.try_with(|count| count.set(within + 1));
            contain(|| watcher.tell());
            let _ = WITHIN.try_with(|count| count.set(within));
            let is_innermost = within + 1 == CALLS_WITHIN;
            let waiting = || WAITING.try_with(|waiting| waiting.borrow_mut().pop_front());
            next = is_innermost.then(waiting).and_then(Result::ok).flatten();
        }
    }
}

/// How many callbacks deep a thread may be before the next one waits: enough for one that blocks until another has been called, which none
/// should, and little of any stack.
const CALLS_WITHIN: u32 = 16;

impl std::fmt::Debug for Watcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Watcher")
    }
}

impl Header {
    pub(super) fn new(
        references: usize,
        vtable: &'static Vtable,
        id: TaskId,
        spawned_at: &'static Location<'static>,
    ) -> Self {
        Self {
            state: State::new(references),
            vtable,
            links: UnsafeCell::new(Links::UNBOUND),
            id,
            spawned_at,
            rare: AtomicPtr::new(std::ptr::null_mut()),
            wait: AtomicPtr::new(std::ptr::null_mut()),
            join_waker: UnsafeCell::new(None),
        }
    }

    /// A poll begins: what was awaited has to say so again. The caller runs the task.
    #[inline]
    pub(super) fn begin_poll(&self) {
        // Relaxed: the state word orders this with whoever delivers to the task.
        if !self.wait.load(Relaxed).is_null() {
            self.wait.store(std::ptr::null_mut(), Relaxed);
        }
        if let Some(rare) = self.rare() {
            rare.count_poll();
        }
    }

    /// Puts `target` into the place of the plain await; false if something else stands there. The caller runs the task.
    pub(super) fn set_wait(&self, target: Direct) -> bool {
        let target = target.0;
        let there = self.wait.load(Relaxed);
        if there.is_null() {
            self.wait.store(target.as_ptr(), Relaxed);
        }
        there.is_null() || there == target.as_ptr()
    }

    /// Takes `target` out of the place of the plain await, if it stands there. The caller holds the handle of `target`, and runs this task if he
    /// says so.
    pub(super) fn clear_wait(&self, target: Direct, runs: bool) {
        let target = target.0;
        if runs {
            if self.wait.load(Relaxed) == target.as_ptr() {
                self.wait.store(std::ptr::null_mut(), Relaxed);
            }
            return;
        }
        let _fields = self.rare_or_new().lock();
        // Whoever runs the task meanwhile may clear it as well.
        let _ = self
            .wait
            .compare_exchange(target.as_ptr(), std::ptr::null_mut(), Relaxed, Relaxed);
    }

    /// Whether nothing can stand between a request and the task itself. The caller delivers to the task, or runs it.
    pub(super) fn is_plain(&self) -> bool {
        self.rare().is_none() && self.wait.load(Relaxed).is_null()
    }

    /// What stands in the place of the plain await. The caller delivers to the task, or runs it, and holds the lock of its rare box.
    pub(super) fn wait(&self) -> Option<TaskRef> {
        let target = NonNull::new(self.wait.load(Relaxed))?;
        // SAFETY: rule 8, the handle of that task cannot go before it has taken this lock, or the task runs.
        Some(unsafe { TaskRef::new(target) })
    }

    pub(super) fn rare(&self) -> Option<&Rare> {
        // Acquire: pairs with the AcqRel in `rare_or_new`.
        // SAFETY: the pointer is null or came from `Box::into_raw` in `rare_or_new`, and is freed only with the header.
        unsafe { self.rare.load(Acquire).as_ref() }
    }

    pub(super) fn rare_or_new(&self) -> &Rare {
        if let Some(rare) = self.rare() {
            return rare;
        }
        let made = Box::into_raw(Box::<Rare>::default());
        match self
            .rare
            .compare_exchange(std::ptr::null_mut(), made, AcqRel, Acquire)
        {
            // SAFETY: just made, and owned by the header from now on.
            Ok(_) => unsafe { &*made },
            Err(theirs) => {
                // SAFETY: nobody else has seen `made`.
                drop(unsafe { Box::from_raw(made) });
                // SAFETY: as in `rare`.
                unsafe { &*theirs }
            }
        }
    }

    /// The name given to the task, if any was.
    pub(crate) fn explicit_name(&self) -> Option<Arc<str>> {
        self.rare().and_then(|rare| rare.lock().name.clone())
    }

    pub(crate) fn set_name(&self, name: &str) {
        let old = self.rare_or_new().lock().name.replace(name.into());
        drop(old);
    }

    /// Leaves somebody to be told of the end; gives him back if the task has ended.
    pub(crate) fn watch(&self, watcher: Watcher) -> Result<usize, Watcher> {
        if self.state.load().is_done() {
            return Err(watcher);
        }
        if planted(Bug::WatchedBeforeTheLock) && self.state.transition_to_watched() == Join::Waiting
        {
            return Ok(self.rare_or_new().lock().watchers.insert(watcher));
        }
        let mut fields = self.rare_or_new().lock();
        match self.state.transition_to_watched() {
            Join::Done => Err(watcher),
            Join::Waiting => Ok(fields.watchers.insert(watcher)),
        }
    }

    /// Exchanges the waker that was left under `key`, if it is still there; gives the old one to be dropped.
    pub(crate) fn rewatch(&self, key: usize, watcher: Watcher) -> Result<Watcher, Watcher> {
        let Some(rare) = self.rare() else {
            return Err(watcher);
        };
        match rare.lock().watchers.get_mut(key) {
            Some(old) => Ok(std::mem::replace(old, watcher)),
            None => Err(watcher),
        }
    }

    /// Takes back what was left under `key`; none if it has been told.
    pub(crate) fn unwatch(&self, key: usize) -> Option<Watcher> {
        if planted(Bug::UnwatchForgotten) {
            return None;
        }
        self.rare()?.lock().watchers.try_remove(key)
    }

    /// Everybody who is to be told of the end, which has come.
    #[cold]
    pub(super) fn take_watchers(&self) -> Vec<Watcher> {
        let Some(rare) = self.rare() else {
            return Vec::new();
        };
        let mut watchers = std::mem::take(&mut rare.lock().watchers);
        if planted(Bug::OnlyTheFirstIsTold) {
            watchers.retain(|place, _| place == 0);
        }
        watchers.into_iter().map(|(_, watcher)| watcher).collect()
    }
}

/// The task's context. Only whoever runs the task asks, and whoever has just made it. What is handed in is called under a lock: it is no
/// foreign code, and what has to be dropped comes out of it.
impl Header {
    /// `None` if it never had any variable.
    #[inline]
    pub(crate) fn read_context<R>(&self, read: impl FnOnce(&Context) -> R) -> Option<R> {
        let rare = self.rare()?;
        // Relaxed: see the field.
        if !rare.has_context.load(Relaxed) {
            return None;
        }
        Some(read(&rare.lock().context))
    }

    /// `None` if the task is done: nobody would drop what is set then.
    pub(crate) fn change_context<R>(&self, change: impl FnOnce(&mut Context) -> R) -> Option<R> {
        if self.state.load().is_done() {
            return None;
        }
        let rare = self.rare_or_new();
        // Relaxed: see the field.
        rare.has_context.store(true, Relaxed);
        Some(change(&mut rare.lock().context))
    }

    /// Takes the context of a task that ends: its values are dropped before the outcome is published, not when the last waker goes.
    #[inline]
    pub(super) fn take_context(&self) -> Option<Context> {
        let rare = self.rare()?;
        // Relaxed: see the field.
        if !rare.has_context.load(Relaxed) {
            return None;
        }
        Some(std::mem::take(&mut rare.lock().context))
    }
}

impl Drop for Header {
    fn drop(&mut self) {
        // Acquire: pairs with the AcqRel in `rare_or_new`; the last reference is gone, nobody writes any more.
        let rare = self.rare.load(Acquire);
        if !rare.is_null() {
            // SAFETY: came from `Box::into_raw` and belongs to the header.
            drop(unsafe { Box::from_raw(rare) });
        }
    }
}

/// What the future's place in the cell holds.
pub(super) enum Stage<F: Future> {
    Future(F),
    Outcome(Outcome<F::Output>),
    Taken,
}

/// The one handle of a task: it can stand in the header of the task that awaits it. Invariant: the handle exists while this stands there (rule 8).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Direct(NonNull<Header>);

impl Direct {
    /// The caller has the handle of `task`.
    pub(super) fn new(task: NonNull<Header>) -> Self {
        Self(task)
    }

    /// Whether it is the task that this thread runs.
    pub(super) fn is_running(self) -> bool {
        current::is_running(self.0)
    }
}

// SAFETY: a pointer to a header, which is Send and Sync, compared and stored here, never followed.
unsafe impl Send for Direct {}
// SAFETY: as above.
unsafe impl Sync for Direct {}

/// A task.
#[repr(C)]
pub(super) struct Cell<F: Future, S> {
    pub(super) header: Header,
    /// Invariant: rule 6.
    pub(super) scheduler: UnsafeCell<Option<S>>,
    /// Invariant: rule 5.
    pub(super) stage: UnsafeCell<Stage<F>>,
}

impl<F: Future, S> Cell<F, S> {
    /// Puts a new task on the heap. The future is made in its place or moved there once.
    #[inline(always)]
    pub(super) fn allocate(
        references: usize,
        vtable: &'static Vtable,
        id: TaskId,
        spawned_at: &'static Location<'static>,
        scheduler: S,
        future: impl FnOnce() -> F,
    ) -> NonNull<Header> {
        let mut cell = Box::<Self>::new_uninit();
        let place = cell.as_mut_ptr();
        // SAFETY: `place` is valid for writes and every field is written exactly once. If `future()` panics the box is freed with no
        // field dropped; it is called first, so nothing that owns anything was written.
        unsafe {
            (&raw mut (*place).stage).write(UnsafeCell::new(Stage::Future(future())));
            (&raw mut (*place).header).write(Header::new(references, vtable, id, spawned_at));
            (&raw mut (*place).scheduler).write(UnsafeCell::new(Some(scheduler)));
        }
        NonNull::from(Box::leak(cell)).cast()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_as_small_as_the_documentation_says() {
        assert_eq!(size_of::<Header>(), 10 * size_of::<usize>());
        type Small = Cell<std::future::Ready<()>, Arc<()>>;
        assert!(size_of::<Small>() <= 104, "{}", size_of::<Small>());
    }
}
