//! Locks, events, barriers and queues for tasks: asyncio's, for any number of threads.
//!
//! All of them work on any thread and any executor, the heist runtime's workers or not: what does not wait (`set`, `release`,
//! `notify`, `put_nowait`, a guard's drop) can be called anywhere, also where no runtime is.
//!
//! # What they promise
//!
//! * **First come, first served**, with hand-off: what is released goes to whoever waits longest, and a newcomer does not
//!   overtake. (The queues are asyncio's there: whoever is woken looks again, and a newcomer may have been faster.)
//! * **Nothing is lost by a cancellation**: a waiter that was cancelled, dropped or timed out after it had been given a lock, a permit or
//!   a turn at a queue passes it on. An item that a `get` did not return is still in the queue, in its place.
//! * **Nothing foreign runs under a lock**: wakers are woken, and items dropped, after it was given back.
//!
//! As hand-off implies, a future that was given something and is neither polled nor dropped keeps it from the others. Poll what you have
//! polled once, or drop it.
//!
//! # asyncio's names
//!
//! | asyncio | heist | in case of misuse |
//! |---|---|---|
//! | `Event` | [`Event`] | |
//! | `Lock` | [`Lock`], [`LockGuard`] | [`NotLocked`] is its `RuntimeError` |
//! | `Condition` | [`Condition`] | [`NotLocked`] is its `RuntimeError` |
//! | `Semaphore` | [`Semaphore`], [`Permit`] | |
//! | `BoundedSemaphore` | [`BoundedSemaphore`], [`Permit`] | [`TooManyReleases`] is its `ValueError` |
//! | `Barrier` | [`Barrier`] | [`BrokenBarrier`]; [`NoParties`] is its `ValueError` |
//! | `Queue`, `PriorityQueue`, `LifoQueue` | [`Queue`], [`PriorityQueue`], [`LifoQueue`] | [`GetError`]: `QueueEmpty`; [`PutError`]: `QueueFull`; both and [`QueueShutDown`]: `QueueShutDown`; [`TooManyDone`] is its `ValueError` |
//!
//! `async with lock:` is a guard: `let guard = lock.lock().await`. Negative counts, `ValueError` in asyncio, cannot be written.
//!
//! There is no `Mutex<T>` here. Data that is not held across an await belongs in `std::sync::Mutex`; data that is, beside a [`Lock`]
//! or in any runtime's asynchronous mutex, which works on heist too.

mod barrier;
mod condition;
mod event;
mod lock;
mod queue;
mod semaphore;
mod wait;
mod wait_list;

#[cfg(test)]
mod tests;

pub use barrier::{Barrier, BrokenBarrier, NoParties};
pub use condition::Condition;
pub use event::Event;
pub use lock::{Lock, LockGuard, NotLocked};
pub use queue::{
    GetError, LifoQueue, PriorityQueue, PutError, Queue, QueueOf, QueueShutDown, TooManyDone, store,
};
pub use semaphore::{BoundedSemaphore, Permit, Semaphore, TooManyReleases};
