//! How often spawning allocates. A program of its own, for its allocator; one thread does everything, and counts its own allocations alone.
#![allow(unsafe_code)]

use heist::context::{ContextVar, copy_context};
use heist::{Builder, Task};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: the system's allocator, and a number that needs no memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: by the caller's word.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: by the caller's word.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: by the caller's word.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const TIMES: usize = 1000;

/// How often `spawn`, and what it has spawned, allocates on this thread, each time.
async fn per_spawn<F: Future<Output = ()>>(spawn: impl Fn() -> F) -> usize {
    for _ in 0..TIMES {
        spawn().await;
    }
    let before = COUNT.get();
    for _ in 0..TIMES {
        spawn().await;
    }
    let count = COUNT.get() - before;
    assert_eq!(count % TIMES, 0, "{count} allocations");
    count / TIMES
}

async fn ended(task: Task<()>) {
    task.await.unwrap();
}

#[test]
fn spawning_allocates_the_task_alone() {
    static VAR: ContextVar<u32> = ContextVar::new("var");
    static PRIVATE: ContextVar<u32> = ContextVar::new("private").inherit(false);

    let runtime = Builder::new().current_thread().build().unwrap();
    let plain = || ended(heist::spawn(async {}));
    let polled = || ended(heist::spawn(async { heist::task::yield_now().await }));
    let looking = || ended(heist::spawn(async { assert_eq!(VAR.get(), None) }));
    runtime
        .block_on(async {
            assert_eq!(per_spawn(plain).await, 1);
            assert_eq!(per_spawn(polled).await, 1);
            assert_eq!(per_spawn(looking).await, 1);
            assert_eq!(
                per_spawn(async || assert!(copy_context().is_empty())).await,
                0
            );
            // The closure, and the task.
            let call = async || {
                heist::Handle::current().unwrap().call_soon(|| {});
                heist::task::yield_now().await;
            };
            assert_eq!(per_spawn(call).await, 2);

            // A name is no variable.
            heist::current_task().unwrap().set_name("parent");
            assert_eq!(per_spawn(plain).await, 1);
            // One that stays here is none for others.
            let token = PRIVATE.set(1);
            assert_eq!(per_spawn(plain).await, 1);
            PRIVATE.reset(token).unwrap();
            assert_eq!(per_spawn(plain).await, 1);

            // The map is shared; the task needs a place for it.
            VAR.set(1);
            assert_eq!(per_spawn(plain).await, 2);
            let inherited = || ended(heist::spawn(async { assert_eq!(VAR.get(), Some(1)) }));
            assert_eq!(per_spawn(inherited).await, 2);
            // A map of its own (two), and the value.
            let changing = || {
                ended(heist::spawn(async {
                    VAR.set(2);
                }))
            };
            assert_eq!(per_spawn(changing).await, 5);
        })
        .unwrap();
}
