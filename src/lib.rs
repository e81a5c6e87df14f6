//! heist
#![forbid(unsafe_code)]

pub use heist_combinators::{Elapsed, Timeout, timeout, timeout_at};
pub use heist_io_driver::{Async, net, time};
#[cfg(feature = "macros")]
pub use heist_macros::{main, test};
#[doc(hidden)]
pub use heist_runtime::__private;
pub use heist_runtime::{
    Builder, Clock, EnterGuard, Failure, Handle, LateTask, Metrics, NotPaused, PanicPolicy,
    Runtime, ShutdownReport, Task, TaskError, TaskId, TaskRef, WorkerMetrics, all_tasks,
    concurrent, current_task, current_worker, run, run_coroutine_threadsafe, spawn, spawn_blocking,
    spawn_with, task,
};
pub use time::{sleep, sleep_until};
