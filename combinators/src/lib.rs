//! asyncio's combinators on heist's tasks. Users depend on the crate `heist`, which re-exports this.
//!
//! Knows the runtime by its public interface alone.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod as_completed;
mod each;
mod ensure;
mod gather;
mod shield;
pub mod streams;
pub mod sync;
mod task_group;
mod timeout;
mod wait;
mod wait_for;

pub use as_completed::{AsCompleted, Completed, Next, as_completed};
pub use ensure::{EnsureFuture, ensure_future};
pub use gather::{
    Gather, GatherAll, GatherTuple, GatherTupleAll, Handles, TryGather, gather, gather_tuple,
    try_gather,
};
pub use shield::shield;
pub use task_group::{ChildError, GroupClosed, GroupError, GroupFailure, GroupOptions, TaskGroup};
pub use timeout::{Deadline, DeadlineError, Elapsed, Timeout, timeout, timeout_at};
pub use wait::{ReturnWhen, Wait, WaitError, WaitFuture, try_wait, wait};
pub use wait_for::{TimedOutcome, WaitFor, try_wait_for_body, wait_for, wait_for_body};
