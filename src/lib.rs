//! heist: a multi-threaded, work-stealing async runtime with the task semantics of Python's asyncio.
//!
//! Tasks run on all cores and are polled by whichever worker is free. Each has an identity: a name, an id, the place where it
//! was spawned; and it can be asked to end. Timers, TCP sockets and a pool for code that blocks come with it, and every part
//! can be reached from threads that are not the runtime's own.
//!
//! # Examples
//!
//! ```
//! use heist::net::{TcpListener, TcpStream};
//! use std::io;
//!
//! #[heist::main]
//! async fn main() -> io::Result<()> {
//!     let listener = TcpListener::bind("127.0.0.1:0").await?;
//!     let address = listener.local_addr()?;
//!
//!     let server = heist::spawn(async move {
//!         let (stream, _peer) = listener.accept().await?;
//!         let mut bytes = [0; 5];
//!         stream.read_exact(&mut bytes).await?;
//!         stream.write_all(&bytes).await
//!     });
//!
//!     let stream = TcpStream::connect(address).await?;
//!     stream.write_all(b"hello").await?;
//!     let mut bytes = [0; 5];
//!     stream.read_exact(&mut bytes).await?;
//!     assert_eq!(&bytes, b"hello");
//!     server.await?
//! }
//! ```
//!
//! The repository's `examples` go further: an HTTP server on hyper, threads outside, shutdown, blocking code, timers.
//!
//! # Where to begin
//!
//! * **A program**: [`#[heist::main]`](macro@main), or [`run`] without macros. [`Builder`] and [`Runtime`] for more say in it.
//! * **Tasks**: [`spawn`] gives a [`Task`], which can be awaited, named and cancelled; dropping it lets the task run on by itself.
//!   [`timeout`] and [`sleep`] for time, [`net`] for sockets, [`spawn_blocking`] for what blocks.
//! * **What a task knows**: a [`ContextVar`](context::ContextVar) has a value of its own in each task, which follows it into what it spawns.
//! * **Other threads**: a [`Handle`] is `Clone + Send + Sync` and works anywhere. [`run_coroutine_threadsafe`] submits a coroutine
//!   and gives a [`concurrent::Future`] to wait on.
//! * **The end**: [`Handle::shutdown`] takes a deadline and gives a [`ShutdownReport`] that names who was late.
//! * **A look inside**: [`current_task`], [`all_tasks`], [`Handle::current_task_of`], [`Handle::metrics`]; tracing events at every
//!   edge of a task's life.
//!
//! # What a cancellation is
//!
//! [`Task::cancel`] makes a request and returns at once. The task is dropped at the await where it is suspended, or next suspends:
//! its destructors run, and whoever awaits it gets a [`TaskError`] that says so and carries the message. A task that has not begun
//! never begins. [`timeout`] drops what it encloses in the same way. asyncio's other half, a body that catches the request and cleans
//! up with more awaits, is not there yet, nor are `gather`, `shield`, `TaskGroup` and the locks and queues.
//!
//! # asyncio's names
//!
//! | asyncio | heist |
//! |---|---|
//! | `asyncio.run`, `Runner` | [`run`], [`macro@main`], [`Runtime`] |
//! | the event loop object | [`Handle`] |
//! | `create_task` | [`spawn`], [`task::Builder`] |
//! | `Task.cancel`, `done`, `cancelled` | [`Task::cancel`], [`Task::is_done`], [`Task::is_cancelled`] |
//! | `Task.get_name`, `set_name` | [`Task::name`], [`Task::set_name`] |
//! | `current_task`, `all_tasks` | [`current_task`], [`all_tasks`] |
//! | `sleep`, `sleep(0)` | [`sleep`], [`task::yield_now`] |
//! | `wait_for`, `timeout`, `timeout_at` | [`timeout`], [`timeout_at`] |
//! | `Event`, `Lock`, `Condition`, `Semaphore`, `Barrier` | [`sync`] |
//! | `Queue`, `PriorityQueue`, `LifoQueue` | [`sync::Queue`], [`sync::PriorityQueue`], [`sync::LifoQueue`] |
//! | `to_thread`, `run_in_executor` | [`spawn_blocking`] |
//! | `run_coroutine_threadsafe` | [`run_coroutine_threadsafe`] |
//! | `concurrent.futures.Future` | [`concurrent::Future`] |
//! | `loop.call_soon`, `call_soon_threadsafe` | [`Handle::call_soon`], [`Handle::call_soon_threadsafe`] |
//! | `loop.call_later`, `call_at` | [`Handle::call_later`], [`Handle::call_at`] |
//! | `Handle`, `TimerHandle` | [`CallHandle`], [`TimerHandle`] |
//! | `contextvars` | [`context`] |
//! | `create_task(context=)` | [`task::Builder::context`] |
//! | `set_exception_handler` | [`Builder::exception_handler`] |
//! | `open_connection`, `sock_*` | [`net`], [`Async`] for any other pollable descriptor |
//! | `IsolatedAsyncioTestCase` | [`macro@test`] |
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `macros` | yes | [`#[heist::main]`](macro@main) and [`#[heist::test]`](macro@test) |
//! | `hyper` | no | hyper 1's `rt::Read` and `rt::Write` on heist's streams |
//! | `tokio-io` | no | tokio's `AsyncRead` and `AsyncWrite` on heist's streams: the traits, no tokio runtime |
//!
//! futures-io's `AsyncRead` and `AsyncWrite` are always there. Everything works on stable Rust, and nothing needs a `--cfg`.
#![forbid(unsafe_code)]

// Running: a program, a runtime, a reference to one.
#[doc(inline)]
pub use heist_runtime::{
    Builder, EnterGuard, Failure, FailureKind, Handle, LateTask, PanicPolicy, Runtime,
    ShutdownReport, run,
};

// The attributes.
#[cfg(feature = "macros")]
#[doc(inline)]
pub use heist_macros::{main, test};

// Tasks: spawning, awaiting, cancelling, looking at them.
#[doc(inline)]
pub use heist_runtime::task::{Awaitable, Deferred, Promise, Shared, promise, propagate_cancelled};
#[doc(inline)]
pub use heist_runtime::{
    Cancelled, Task, TaskError, TaskId, TaskRef, all_tasks, catch_cancel, current_task,
    current_worker, spawn, spawn_with, try_spawn,
};

/// Tasks: the handles, their errors, and a builder for tasks that are told more than their future.
///
/// # Examples
///
/// ```
/// # heist::run(async {
/// let task = heist::task::Builder::new().name("adder").spawn(async {
///     heist::task::yield_now().await;
///     40 + 2
/// });
/// assert_eq!(task.name(), "adder");
/// assert_eq!(task.await.unwrap(), 42);
/// # }).unwrap();
/// ```
pub mod task {
    #[doc(inline)]
    pub use heist_runtime::task::{
        Awaitable, Builder, Cancel, CancelOutcome, Cancelled, CatchCancel, Deferred, Ended,
        Promise, Shared, Task, TaskEnded, TaskError, TaskId, TaskRef, YieldNow, catch_cancel,
        check_cancelled, promise, propagate_cancelled, yield_now,
    };
    // For those who write handles and combinators of their own.
    #[doc(inline)]
    pub use heist_runtime::task::{
        Answer, Forward, Later, OnCancel, Region, RegionRef, Target, Unwound, deferred, request_all,
    };
}

// Code that blocks, and threads outside.
#[doc(inline)]
pub use heist_runtime::{
    concurrent, run_coroutine_threadsafe, spawn_blocking, try_run_coroutine_threadsafe,
};

// Closures that are called soon, or at a time.
#[doc(inline)]
pub use heist_runtime::{CallHandle, TimerHandle};

// Variables that follow a task into what it spawns.
#[doc(inline)]
pub use heist_runtime::context;

// Locks, events, barriers and queues.
#[doc(inline)]
pub use heist_combinators::sync;

// Time.
#[doc(inline)]
pub use heist_combinators::{Deadline, DeadlineError, Elapsed, Timeout, timeout, timeout_at};
#[doc(inline)]
pub use heist_io_driver::time::{self, sleep, sleep_until};
#[doc(inline)]
pub use heist_runtime::{Clock, NotPaused};

// Many handles as one.
#[doc(inline)]
pub use heist_combinators::{
    AsCompleted, Completed, EnsureFuture, Gather, GatherAll, GatherTuple, GatherTupleAll, Handles,
    Next, ReturnWhen, TimedOutcome, TryGather, Wait, WaitError, WaitFor, WaitFuture, as_completed,
    ensure_future, gather, gather_tuple, shield, try_gather, try_wait, try_wait_for_body, wait,
    wait_for, wait_for_body,
};

// Tasks that belong to a block.
#[doc(inline)]
pub use heist_combinators::{
    ChildError, GroupClosed, GroupError, GroupFailure, GroupOptions, TaskGroup,
};

// Sockets, and any other pollable descriptor.
#[doc(inline)]
pub use heist_io_driver::{Async, Ready, TryIo, net};

// Counters.
#[doc(inline)]
pub use heist_runtime::{Metrics, WorkerMetrics};

// What the attributes expand to.
#[doc(hidden)]
pub use heist_runtime::__private;

/// The README's example is a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
