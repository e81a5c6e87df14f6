//! asyncio's combinators on heist's tasks. Users depend on the crate `heist`, which re-exports this.
//!
//! Knows the runtime by its public interface alone.
#![forbid(unsafe_code)]

pub mod sync;
mod task_group;
mod timeout;

pub use task_group::{ChildError, GroupClosed, GroupError, GroupFailure, GroupOptions, TaskGroup};
pub use timeout::{Deadline, DeadlineError, Elapsed, Timeout, timeout, timeout_at};
