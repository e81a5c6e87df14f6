//! `Runtime`: the owner. Dropping it shuts the runtime down.

use crate::builder::Builder;
use crate::handle::Handle;
use crate::spawn::Told;
use crate::task::{Refusal, Results, Task, TaskError, Values};
use std::ops::Deref;

/// A runtime: everything that a [`Handle`] can, and its end.
///
/// asyncio's `Runner`. Dropping it asks every task to end, waits for them and for the threads for as long as
/// [`Builder::shutdown_timeout`] says, and may be done on any thread, the runtime's own workers included.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// let runtime = heist_runtime::Runtime::new()?;
/// let task = runtime.spawn(async { "hello" });
/// assert_eq!(runtime.block_on(task).unwrap().unwrap(), "hello");
/// let report = runtime.shutdown(Duration::from_secs(1));
/// assert!(report.is_complete());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
#[doc(alias = "Runner")]
pub struct Runtime {
    handle: Handle,
}

impl Runtime {
    pub(crate) fn from_handle(handle: Handle) -> Self {
        Self { handle }
    }

    /// A multi-threaded runtime with a worker for each core.
    ///
    /// # Errors
    ///
    /// Those of [`Builder::build`].
    pub fn new() -> std::io::Result<Self> {
        Builder::new().build()
    }

    /// A reference to this runtime for other threads.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Runs `main` as a task of this runtime and gives its value. The calling thread waits.
    ///
    /// # Errors
    ///
    /// `main` was cancelled, or the runtime shut down under it.
    ///
    /// # Panics
    ///
    /// A panic of `main` goes on here.
    #[track_caller]
    pub fn run<F>(&self, main: F) -> Result<F::Output, TaskError>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let main = self.spawn(main);
        match self.block_on(main)? {
            Err(error) if error.is_panic() => error.resume(),
            outcome => outcome,
        }
    }
}

impl Deref for Runtime {
    type Target = Handle;

    fn deref(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        let deadline = self.handle.config().shutdown;
        drop(self.handle.shutdown(deadline));
    }
}

/// Runs `main` as the first task of a new runtime with a worker for each core, shuts the runtime down, and gives `main`'s value.
///
/// asyncio's `run`. Tasks that are left when `main` ends are cancelled, and waited for.
///
/// # Errors
///
/// The runtime could not be built ([`TaskError::is_refused`]), or `main` was cancelled.
///
/// # Panics
///
/// A panic of `main` goes on here.
///
/// # Examples
///
/// ```
/// let sum = heist_runtime::run(async {
///     let task = heist_runtime::spawn(async { 40 });
///     task.await.unwrap() + 2
/// });
/// assert_eq!(sum.unwrap(), 42);
/// ```
#[doc(alias = "asyncio.run")]
#[track_caller]
pub fn run<F>(main: F) -> Result<F::Output, TaskError>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    Runtime::new()
        .map_err(|error| TaskError::refused(Refusal::Build(error)))?
        .run(main)
}

/// Spawns a task on this thread's runtime. asyncio's `create_task`.
///
/// The task takes its first step later, never inside `spawn`. On a thread that is in no runtime (see [`Handle::enter`]) the future is
/// dropped and the task's outcome is an error ([`TaskError::is_refused`]). It starts with a copy of the calling code's context (see
/// [`context`](crate::context)).
///
/// # Examples
///
/// ```
/// # heist_runtime::run(async {
/// let task = heist_runtime::spawn(async { 6 * 7 });
/// assert_eq!(task.await.unwrap(), 42);
/// # }).unwrap();
/// ```
#[doc(alias = "create_task")]
#[track_caller]
#[inline]
pub fn spawn<F>(future: F) -> Task<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    crate::spawn::spawn_here::<Values, _>(std::panic::Location::caller(), Told::default(), || {
        future
    })
}

/// As [`spawn`], but makes the future in its place: an optimised build does not put a large one on the stack.
#[track_caller]
#[inline]
pub fn spawn_with<F>(future: impl FnOnce() -> F) -> Task<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    crate::spawn::spawn_here::<Values, _>(std::panic::Location::caller(), Told::default(), future)
}

/// As [`spawn`], for a coroutine whose `Err` is a failure to the runtime, as an exception is to asyncio: it stands where a value would give way
/// to a cancellation, and is reported if nobody takes the outcome.
///
/// # Examples
///
/// ```
/// # heist_runtime::run(async {
/// let task = heist_runtime::try_spawn(async { "twelve".parse::<u32>() });
/// assert!(task.await.unwrap().is_err());
/// # }).unwrap();
/// ```
#[track_caller]
pub fn try_spawn<F, T, E>(future: F) -> Task<F::Output>
where
    F: Future<Output = Result<T, E>> + Send + 'static,
    T: Send + 'static,
    E: std::fmt::Debug + Send + 'static,
{
    crate::spawn::spawn_here::<Results, _>(std::panic::Location::caller(), Told::default(), || {
        future
    })
}

/// Runs a closure that blocks on a thread made for that. asyncio's `to_thread`; see [`Handle::spawn_blocking`].
///
/// # Examples
///
/// ```
/// # heist_runtime::run(async {
/// let text = heist_runtime::spawn_blocking(|| std::fs::read_to_string("Cargo.toml"));
/// assert!(text.await.unwrap().unwrap().contains("heist"));
/// # }).unwrap();
/// ```
#[doc(alias = "to_thread")]
#[track_caller]
pub fn spawn_blocking<T, F>(closure: F) -> Task<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    crate::spawn::spawn_blocking_here(std::panic::Location::caller(), Told::default(), closure)
}
