//! Tasks, scheduler and blocking pool of the heist runtime. Users depend on the crate `heist`, which re-exports this.
//!
//! ```text
//!   runtime, builder, handle, shutdown    what users hold
//!   spawn, threadsafe, blocking           ways in: from a task, from a thread outside, for closures that block
//!   callbacks                             closures that are called soon, or at a time
//!   context                               variables that follow a task into what it spawns
//!   task                                  one task
//!   scheduler                             all workers
//!   current                               the thread-local: which runtime, worker and task
//!   failure, metrics, audit, trace        what it says of itself
//!   entry                                 what #[heist::main] and #[heist::test] expand to
//!   sim                                   a runtime in a simulated world: one thread, virtual time, an order drawn from a seed
//!   tokio_compat                          what crates that need tokio's runtime find on the threads of this one
//!   sync_switch, system                   the edge: primitives; threads and time
//! ```
#![cfg_attr(docsrs, feature(doc_cfg))]

mod audit;
mod blocking;
mod builder;
mod callbacks;
pub mod context;
mod current;
mod entry;
mod failure;
mod handle;
mod metrics;
mod runtime;
mod scheduler;
mod shutdown;
#[cfg(feature = "sim")]
pub mod sim;
mod spawn;
mod sync_switch;
mod system;
pub mod task;
mod threadsafe;
mod tokio_compat;
mod trace;

pub use heist_io_driver::{Clock, NotPaused, leaf, time};

pub use audit::Audit;
pub use builder::{Builder, PanicPolicy};
pub use callbacks::{CallHandle, TimerHandle};
pub use current::{EnterGuard, all_tasks, current_task, current_worker};
pub use failure::{Failure, FailureKind};
pub use handle::Handle;
pub use metrics::{Metrics, WorkerMetrics};
pub use runtime::{Runtime, run, spawn, spawn_blocking, spawn_with, try_spawn};
pub use shutdown::{LateTask, ShutdownReport};
pub use task::{Cancelled, Task, TaskError, TaskId, TaskRef, catch_cancel};
pub use threadsafe::{concurrent, run_coroutine_threadsafe, try_run_coroutine_threadsafe};

/// What the macros expand to. No part of the public interface.
#[doc(hidden)]
pub mod __private {
    pub use crate::entry::{check_outcome, run_main, run_test};
}
