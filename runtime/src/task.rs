//! Tasks: one allocation each, and everything that happens to it.
//!
//! ```text
//!   state   the word: flags, count, transitions          pure
//!   cell    the layout, and who may touch which field
//!   raw     run, wake, finish, through a pointer
//!   waker   the RawWakerVTable
//!   join    Task<T>, TaskRef: the handles
//!   root    the task of a `block_on`
//!   owned   the registry of all unfinished tasks
//! ```
//!
//! References: one is the registry's, from spawn to the task's end; one the handle's; one the queue entry's, which becomes the
//! run's; one each waker's and each `TaskRef`'s. The last one dropped frees the cell.
//!
//! A task knows its scheduler only as a `Schedule`: where a woken task goes (`Route`), and who keeps the registry.
//!
//! What a task costs: one allocation of 80 bytes plus the larger of future and outcome. Atomic read-modify-writes, all on
//! the task's own line unless said: spawn 1 (the scheduler's Arc, a line of the spawning worker) and one uncontended lock;
//! each wake-up 1; each poll 2; the end 2, one uncontended lock and the Arc's drop; a handle's await 1, its drop 1.

mod cell;
mod error;
mod id;
mod join;
mod owned;
mod raw;
mod root;
mod state;
mod waker;

#[cfg(all(test, loom))]
mod models;

pub use crate::spawn::{Builder, YieldNow, yield_now};
pub(crate) use cell::Header;
pub(crate) use error::Refusal;
pub use error::TaskError;
pub use id::TaskId;
pub use join::{Task, TaskRef};
pub(crate) use owned::Registry;
pub(crate) use raw::{Runnable, drop_payload, new_task};
pub(crate) use root::{PollRoot, Root, run_root};

use std::ptr::NonNull;

/// Why a task is put into a queue; it decides into which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// New.
    Spawned,
    /// Woken while it was suspended.
    Woken,
    /// Woken while it ran: whatever else is queued goes first.
    Yielded,
}

/// What a task knows of its scheduler.
pub(crate) trait Schedule: Send + Sync + 'static {
    /// Where a queued task is put.
    type Route: Route;

    /// Finds the way to a queue. The route owns what it needs: once it has taken the task, this scheduler may be gone.
    fn route(&self) -> Self::Route;

    /// The task has ended: takes it out of the registry, if it stands there, and gives the registry's reference to the caller.
    fn release(&self, task: NonNull<Header>);

    /// A failure that no handle will retrieve.
    fn unhandled(&self, task: TaskRef, error: TaskError);
}

/// The way to a queue.
pub(crate) trait Route {
    /// Puts the task into the queue and sees to it that somebody runs it.
    fn submit(self, task: Runnable, why: Why);
}
