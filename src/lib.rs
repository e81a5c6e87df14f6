//! heist: a multi-threaded, work-stealing async runtime with the task semantics of Python's asyncio.
//!
//! Tasks run on all cores and are polled by whichever worker is free. Each has an identity: a name, an id, the place where it
//! was spawned. It can be asked to end, and may clean up with awaits before it does. asyncio's combinators, task groups, locks and queues,
//! timers, sockets, pipes, files and a pool for code that blocks come with it, and every part can be reached from threads that are not the
//! runtime's own.
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
//! The repository's `examples` go further; its `docs` have a guide for those who come from asyncio, and one for those who come from tokio.
//!
//! # Where to begin
//!
//! * **A program**: [`#[heist::main]`](macro@main), or [`run`] without macros. [`Builder`] and [`Runtime`] for more say in it.
//! * **Tasks**: [`spawn`] gives a [`Task`], which can be awaited, named and cancelled; dropping it lets the task run on by itself.
//!   [`task::Builder`] for tasks that are told more, [`Shared`] for handles that many await.
//! * **Cancellation**: [`Task::cancel`] asks, [`catch_cancel`] hears it and cleans up, [`Task::abort`] does not ask;
//!   [`Task::cancel_with`] asks, waits, and then does not.
//! * **Many tasks**: a [`TaskGroup`] for those that belong together; [`gather`](fn@gather), [`wait`], [`as_completed`], [`shield`] for any.
//! * **Time**: [`sleep`], [`timeout`], [`Deadline`], [`time`].
//! * **Between tasks**: locks, events, barriers and queues in [`sync`]; [`promise`] for one value.
//! * **The world**: [`net`] for sockets, `pipe` for pipes, [`fs`] for files, [`stdio`] for the standard streams, [`io`] to copy from one to the other,
//!   `signal` for signals, `process` for children, [`spawn_blocking`] for what blocks.
//! * **What a task knows**: a [`ContextVar`](context::ContextVar) has a value of its own in each task, which follows it into what it spawns.
//! * **Other threads**: a [`Handle`] is `Clone + Send + Sync` and works anywhere. [`run_coroutine_threadsafe`] submits a coroutine
//!   and gives a [`concurrent::Future`] to wait on.
//! * **The end**: [`Handle::shutdown`] takes a deadline and gives a [`ShutdownReport`] that names who was late.
//! * **A look inside**: [`current_task`], [`all_tasks`], [`Handle::current_task_of`], [`Handle::metrics`]; tracing events at every
//!   edge of a task's life. A task's `Debug` says what it waits for, [`TaskRef::get_stack`] where it is suspended.
//!
//! # What a cancellation is
//!
//! [`Task::cancel`] makes a request and returns at once. The request goes to the await where the task is suspended, or next suspends. There it is
//! *delivered*, or the future is *dropped*:
//!
//! * If the task awaits a handle (another task, a gather, a promise), the request is **handed on** to that, and the task goes on with what comes of
//!   it. A [`shield`] takes it and lets what it shields run on. [`Task::ended`] waits without handing on.
//! * Else the innermost **region** round the await receives it: a [`catch_cancel`], a [`timeout`], a [`TaskGroup`]; the
//!   outermost region is the task itself. What the region encloses is dropped at its await: destructors run. Then whoever made
//!   the region goes on, and may await what it likes. A `catch_cancel` gives `Err(`[`Cancelled`]`)`: clean up, and
//!   [`propagate`](Cancelled::propagate), or refuse by returning.
//! * If nothing holds it up, the task ends, and whoever awaits it gets a [`TaskError`] with
//!   [`is_cancelled`](TaskError::is_cancelled) and the message. A task that has not begun never begins.
//!
//! ```
//! use heist::{catch_cancel, sleep, spawn, sync::Event};
//! use std::time::Duration;
//!
//! static BEGUN: Event = Event::new();
//!
//! # heist::run(async {
//! let task = spawn(async {
//!     let work = async {
//!         BEGUN.set();
//!         sleep(Duration::from_secs(3600)).await
//!     };
//!     if let Err(cancelled) = catch_cancel(work).await {
//!         sleep(Duration::from_millis(1)).await; // clean up, with awaits
//!         cancelled.propagate().await // and go on unwinding
//!     }
//! });
//! BEGUN.wait().await;
//! task.cancel("enough");
//! let error = task.await.unwrap_err();
//! assert_eq!(error.cancel_message(), Some("enough"));
//! # }).unwrap();
//! ```
//!
//! It works on every future, those of other crates included, and costs nothing where it is not used. A task's own cancellation is never an error that
//! `?` would pass on: an `Err` that says cancelled is about the *awaited* task. [`propagate_cancelled`] makes it one's own, as asyncio does.
//!
//! A [`timeout`] ends what it encloses by a request of its own, and waits for the cleanup. Requests are counted ([`Task::cancelling`],
//! [`Task::uncancel`]), and so it is never in doubt whose request ended what.
//!
//! *Dropping* a future is not cancelling: the losing branch of a `select!` hears nothing and cannot await. A [`Task`] that is dropped runs on. A
//! closure of [`spawn_blocking`] that runs cannot be interrupted: its task ends, cancelled, when it returns.
//!
//! # Errors
//!
//! A panic is an exception to everything. A `Result` is a value, unless the twin with `try_` is used ([`try_spawn`], [`try_gather`], [`try_wait`],
//! [`TaskGroup::try_spawn`]): to that, an `Err` is what an exception is to asyncio. A failure that no handle retrieves is reported
//! ([`Builder::exception_handler`]).
//!
//! # asyncio's names
//!
//! | asyncio | heist |
//! |---|---|
//! | `asyncio.run`, `Runner` | [`run`], [`macro@main`], [`Runtime`] |
//! | the event loop object | [`Handle`] |
//! | `create_task` | [`spawn`], [`try_spawn`], [`task::Builder`] |
//! | `ensure_future` | [`ensure_future`] |
//! | `Task` | [`Task`], [`Shared`], [`TaskRef`] |
//! | `Task.cancel`, `cancelling`, `uncancel` | [`Task::cancel`], [`Task::cancelling`], [`Task::uncancel`] |
//! | `Task.done`, `cancelled` | [`Task::is_done`], [`Task::is_cancelled`] |
//! | `Task.result`, `exception`, `add_done_callback` | [`Task::result`], [`Task::exception`], [`Task::add_done_callback`] |
//! | `Task.get_name`, `set_name`, `get_coro` | [`Task::name`], [`Task::set_name`], [`TaskRef::future_name`] |
//! | `current_task`, `all_tasks` | [`current_task`], [`all_tasks`] |
//! | `Task.get_stack`, `print_stack` | [`TaskRef::get_stack`], [`TaskRef::print_stack`] |
//! | `_register_task`, `_enter_task`, `_leave_task` | [`task::track`] |
//! | `except CancelledError` | [`catch_cancel`] |
//! | `raise`, `raise CancelledError(msg)` | [`Cancelled::propagate`], [`Cancelled::new`] |
//! | `await` that raises the awaited task's cancellation | [`propagate_cancelled`] |
//! | `InvalidStateError` | [`TaskError::is_invalid_state`] |
//! | `Future`, `create_future`, `set_result`, `set_exception` | [`Deferred`], [`promise`], [`Promise::set`], [`Promise::settle`] |
//! | `gather` | [`gather`](fn@gather), [`gather!`](macro@gather), [`try_gather`] |
//! | `gather(return_exceptions=True)` | [`Gather::return_exceptions`] |
//! | `wait`, `FIRST_COMPLETED`, ... | [`wait`], [`try_wait`], [`ReturnWhen`] |
//! | `wait_for` | [`wait_for`], [`wait_for_body`], [`try_wait_for_body`] |
//! | `as_completed` | [`as_completed`] |
//! | `shield` | [`shield`] |
//! | `TaskGroup`, `create_task`, `ExceptionGroup` | [`TaskGroup`], [`TaskGroup::spawn`], [`TaskGroup::try_spawn`], [`GroupError`] |
//! | `timeout`, `timeout_at` | [`timeout`], [`timeout_at`] |
//! | `Timeout`, `reschedule`, `when`, `expired` | [`Deadline`] |
//! | `TimeoutError` | [`Elapsed`] |
//! | `sleep`, `sleep(0)` | [`sleep`], [`task::yield_now`] |
//! | `Event`, `Lock`, `Condition`, `Semaphore`, `BoundedSemaphore`, `Barrier` | [`sync`] |
//! | `Queue`, `PriorityQueue`, `LifoQueue` | [`sync::Queue`], [`sync::PriorityQueue`], [`sync::LifoQueue`] |
//! | `to_thread`, `run_in_executor` | [`spawn_blocking`] |
//! | `run_coroutine_threadsafe`, `wrap_future` | [`run_coroutine_threadsafe`], [`concurrent::Future::wrap`] |
//! | `concurrent.futures.Future` | [`concurrent::Future`] |
//! | `loop.call_soon`, `call_soon_threadsafe` | [`Handle::call_soon`], [`Handle::call_soon_threadsafe`] |
//! | `loop.call_later`, `call_at` | [`Handle::call_later`], [`Handle::call_at`] |
//! | `Handle`, `TimerHandle` | [`CallHandle`], [`TimerHandle`] |
//! | `loop.time` | [`time::now`] |
//! | `contextvars`, `copy_context` | [`context`], [`context::copy_context`] |
//! | `create_task(context=)` | [`task::Builder::context`] |
//! | `set_exception_handler` | [`Builder::exception_handler`] |
//! | `slow_callback_duration` | [`Builder::slow_poll_threshold`] |
//! | `open_connection`, `start_server`, `Server` | [`streams::open_connection`], [`streams::start_server`], [`streams::Server`] |
//! | `StreamReader`, `StreamWriter` | [`streams::StreamReader`], [`streams::StreamWriter`] |
//! | `create_subprocess_exec`, `create_subprocess_shell`, `Process` | `process::Command`, `process::Child` |
//! | `Process.communicate`, `wait`, `send_signal`, `returncode` | `process::Child::communicate`, `wait`, `signal`, `try_wait` |
//! | `loop.add_signal_handler`, `remove_signal_handler` | `signal::signal`, dropping the `signal::Signals` |
//! | `sock_*`, `create_server` | [`net`], [`Async`] for any other pollable descriptor |
//! | `open_unix_connection`, `start_unix_server` | `streams::open_unix_connection`, `streams::start_unix_server` |
//! | `create_datagram_endpoint`, `DatagramTransport` | [`net::UdpSocket`], `net::UnixDatagram` |
//! | `connect_read_pipe`, `connect_write_pipe` | `pipe::Receiver`, `pipe::Sender` |
//! | `connect_read_pipe(..., sys.stdin)`, `connect_write_pipe(..., sys.stdout)` | [`stdio::stdin`], [`stdio::stdout`] |
//! | `to_thread(open, ...)`, aiofiles | [`fs`] |
//! | `IsolatedAsyncioTestCase` | [`macro@test`] |
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `macros` | yes | [`#[heist::main]`](macro@main) and [`#[heist::test]`](macro@test) |
//! | `hyper` | no | hyper 1's `rt::Read` and `rt::Write` on heist's streams |
//! | `tokio-compat` | no | crates that need tokio's runtime find one, in the background, on every thread of heist's |
//! | `stacks` | no | [`TaskRef::get_stack`] with the chain of async functions that a task is suspended in |
//! | `tokio-io` | no | tokio's `AsyncRead` and `AsyncWrite` on heist's streams: the traits, no tokio runtime |
//!
//! futures-io's `AsyncRead` and `AsyncWrite` are always there. Everything works on stable Rust, and nothing needs a `--cfg`.
#![cfg_attr(docsrs, feature(doc_cfg))]
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
    // Looking at a suspended task.
    #[doc(inline)]
    pub use heist_runtime::task::{Frame, GetStack, Stack, StackError, WaitsFor};
    // Tasks of other types than the runtime's own.
    #[doc(inline)]
    pub use heist_runtime::task::track;
    // For those who write handles and combinators of their own.
    #[doc(inline)]
    pub use heist_runtime::task::{
        Answer, Forward, Later, OnCancel, Region, RegionRef, Target, Unwound, deferred,
        request_all, run_in_turn,
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

// asyncio's streams.
#[doc(inline)]
pub use heist_combinators::streams;

// Signals to the process, and processes of its own.
#[cfg(unix)]
#[doc(inline)]
pub use heist_io_driver::{process, signal};

// Sockets, pipes, and any other pollable descriptor.
#[cfg(unix)]
#[doc(inline)]
pub use heist_io_driver::pipe;
#[doc(inline)]
pub use heist_io_driver::{Async, Ready, TryIo, io, net};

// Files, and the standard streams.
#[doc(inline)]
pub use heist_io_driver::{fs, stdio};

// Counters.
#[cfg(feature = "sim")]
pub use heist_runtime::sim;
#[doc(inline)]
pub use heist_runtime::{Audit, Metrics, WorkerMetrics};

// What the attributes expand to.
#[doc(hidden)]
pub use heist_runtime::__private;

/// The README's examples are tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// So are those of the guides.
#[cfg(doctest)]
#[doc = include_str!("../docs/coming-from-asyncio.md")]
struct ComingFromAsyncio;

#[cfg(doctest)]
#[doc = include_str!("../docs/coming-from-tokio.md")]
struct ComingFromTokio;

/// What must not compile, with twins that do.
#[cfg(doctest)]
#[doc = include_str!("../tests/SENDING.md")]
struct Sending;
