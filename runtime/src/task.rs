//! Tasks: one allocation each, and everything that happens to it.
//!
//! ```text
//!   state   the word: flags, count, transitions          pure
//!   cell    the layout, and who may touch which field
//!   raw     run, wake, finish, through a pointer
//!   waker   the RawWakerVTable
//!   join    Task<T>, TaskRef: the handles
//!   repr    Debug, and what a task waits for
//!   root    the task of a `block_on`
//!   stack   where a task is suspended
//!   track   tasks of other types than ours
//!   owned   the registry of all unfinished tasks
//! ```
//!
//! References: one is the registry's, from spawn to the task's end; one the handle's; one the queue entry's, which becomes the
//! run's; one each waker's and each `TaskRef`'s. The last one dropped frees the cell.
//!
//! A task knows its scheduler only as a `Schedule`: where a woken task goes (`Route`), and who keeps the registry.
//!
//! What a task costs, in allocations, bytes and atomic read-modify-writes. Unless said, the lines written are the task's own or its
//! worker's own; one worker's tasks share nothing with another's.
//!
//! ```text
//!   spawn        1 allocation: 80 bytes + the larger of future and outcome + its tag. 4 RMW: the handle's Arc, the registry's lock
//!                (taken and given back), the queue's slot. A name, a message with a cancel, a variable inherited: 1 more allocation.
//!   wake         2 RMW: state, slot. From outside: state, handle's Arc, injector, and a look (fence, load) at who sleeps
//!   poll         3 RMW: slot, state (running), state (suspended)
//!   end          4 RMW: the registry's lock (taken and given back), state (done), references
//!   await        2 RMW for the waker (its clone, state), 2 at the end (the handle's Arc, the handle's reference)
//!   cancel       1 RMW, and the wake
//! ```

mod awaitable;
mod cancel;
mod cell;
mod deferred;
mod error;
mod grace;
pub(crate) mod id;
mod in_turn;
mod join;
mod owned;
mod raw;
mod region;
mod repr;
mod root;
mod shared;
mod stack;
mod state;
pub mod track;
mod tree;
mod waker;

#[cfg(all(test, loom))]
mod models;

pub use crate::current::check_cancelled;
pub use crate::spawn::{Builder, YieldNow, yield_now};
pub use awaitable::{Awaitable, Ended};
pub use cancel::request_all;
pub(crate) use cell::Header;
pub use deferred::{Deferred, OnCancel, Promise, deferred, promise};
pub(crate) use error::Refusal;
pub use error::TaskError;
pub use grace::{Cancel, CancelOutcome};
pub use id::TaskId;
pub use in_turn::run_in_turn;
pub use join::{Task, TaskEnded, TaskRef};
pub(crate) use owned::Registry;
pub(crate) use raw::{Judge, Results, Runnable, Values, contain, new_task};
pub use region::{Cancelled, CatchCancel, Region, Unwound, catch_cancel, propagate_cancelled};
pub use repr::WaitsFor;
pub(crate) use root::{PollRoot, Root, run_root};
pub use shared::Shared;
pub use stack::{Frame, GetStack, Stack, StackError};
pub(crate) use state::Ending;
pub use tree::{Answer, Forward, Later, RegionRef, Target};
pub(crate) use tree::{Key, ROOT};

use std::panic::Location;
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

    /// Whether its tasks are callbacks: tasks to the runtime, none to `current_task` and `all_tasks`.
    const IS_CALLBACK: bool = false;

    /// Whether its tasks are closures that block, which nothing can interrupt.
    const IS_BLOCKING: bool = false;

    /// Finds the way to a queue. The route owns what it needs: once it has taken the task, this scheduler may be gone.
    fn route(&self) -> Self::Route;

    /// The task has ended: takes it out of the registry, if it stands there, and gives the registry's reference to the caller. `ending`:
    /// how it is about to end.
    fn release(&self, task: NonNull<Header>, ending: Ending);

    /// A task that has caught a cancellation there has given a value, and neither propagated it nor taken the request back. In a poll of the task.
    fn swallowed(task: TaskRef, at: &'static Location<'static>) {
        crate::failure::swallowed(task, at);
    }

    /// A failure that no handle will retrieve.
    fn unhandled(&self, task: TaskRef, error: TaskError);
}

/// The way to a queue.
pub(crate) trait Route {
    /// Puts the task into the queue and sees to it that somebody runs it.
    fn submit(self, task: Runnable, why: Why);
}
