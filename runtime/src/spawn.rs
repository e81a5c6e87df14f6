//! Spawning without a handle: on the runtime of this thread. `task::Builder` for tasks that are told more than their future.

use crate::blocking::Closure;
use crate::context::{self, Context as Variables};
use crate::current;
use crate::failure::Failure;
use crate::task::{
    Ending, Header, Judge, Refusal, Results, Route, Runnable, Schedule, Task, TaskError, TaskRef,
    Values, Why, new_task,
};
use crate::trace;
use std::panic::Location;
use std::pin::Pin;
use std::ptr::NonNull;
use std::task::{Context, Poll};

/// What a task is told beside its future.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told<'n> {
    pub(crate) name: Option<&'n str>,
    /// `None`: a copy of the spawning code's.
    pub(crate) context: Option<Variables>,
}

impl Told<'_> {
    /// Tells a task that nobody else knows of yet.
    #[inline]
    pub(crate) fn tell(self, task: &Header) {
        if let Some(name) = self.name {
            task.set_name(name);
        }
        let context = self.context.unwrap_or_else(context::copy_context);
        if !context.is_empty() {
            context.become_that_of(task);
        }
    }
}

#[inline]
pub(crate) fn spawn_here<J, F>(
    at: &'static Location<'static>,
    told: Told<'_>,
    future: impl FnOnce() -> F,
) -> Task<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
    J: Judge<F::Output>,
{
    // The worker's own handle is borrowed, not cloned.
    let mut given = Some((told, future));
    let spawned = current::with_worker(|worker| {
        let worker = worker?;
        given
            .take()
            .map(|(told, future)| worker.handle().spawn_at::<J, _>(at, told, future))
    });
    match (spawned, given) {
        (Some(task), _) => task,
        (None, Some((told, future))) => match current::handle() {
            Some(handle) => handle.spawn_at::<J, _>(at, told, future),
            None => refuse(at, future),
        },
        (None, None) => unreachable!("the future is taken only to be spawned"),
    }
}

pub(crate) fn spawn_blocking_here<T, F>(
    at: &'static Location<'static>,
    told: Told<'_>,
    closure: F,
) -> Task<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    match current::handle() {
        Some(handle) => handle.spawn_blocking_at(at, told, closure),
        None => refuse(at, || Closure::new(closure)),
    }
}

/// A task that no runtime accepted.
#[cold]
fn refuse<F>(at: &'static Location<'static>, future: impl FnOnce() -> F) -> Task<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let (entry, task) = new_task::<_, _, Values>(Nowhere, at, future);
    trace::refused(entry.header());
    entry.abandon(TaskError::refused(Refusal::NoRuntime));
    task
}

/// The scheduler of tasks that were refused: they are done before anybody could wake them.
struct Nowhere;

impl Schedule for Nowhere {
    type Route = Self;

    fn route(&self) -> Self {
        Self
    }

    fn release(&self, _: NonNull<Header>, _: Ending) {}

    fn unhandled(&self, task: TaskRef, error: TaskError) {
        trace::failure(&Failure::unretrieved(Some(task), error));
    }
}

impl Route for Nowhere {
    fn submit(self, task: Runnable, _: Why) {
        task.abandon(TaskError::refused(Refusal::NoRuntime));
    }
}

/// Spawns tasks that are told more than their future.
///
/// # Examples
///
/// ```
/// # heist_runtime::run(async {
/// let task = heist_runtime::task::Builder::new()
///     .name("fetcher")
///     .spawn(async { heist_runtime::current_task().unwrap().name() });
/// assert_eq!(task.await.unwrap(), "fetcher");
/// # }).unwrap();
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a builder does nothing until it spawns"]
pub struct Builder<'n> {
    told: Told<'n>,
}

impl<'n> Builder<'n> {
    /// Nothing told yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The task's name, instead of `Task-N`. asyncio's `create_task(name=)`.
    pub fn name(mut self, name: &'n str) -> Self {
        self.told.name = Some(name);
        self
    }

    /// The task's context, instead of a copy of the spawning code's. asyncio's `create_task(context=)`.
    ///
    /// The task gets it as it is, variables that are not inherited included. What the task changes stays with the task: unlike asyncio's, a
    /// context is a value, and two tasks on two workers never run in the same one.
    ///
    /// # Examples
    ///
    /// ```
    /// use heist_runtime::context::{Context, ContextVar};
    ///
    /// static USER: ContextVar<&str> = ContextVar::new("user");
    ///
    /// # heist_runtime::run(async {
    /// let task = heist_runtime::task::Builder::new()
    ///     .context(Context::new().with(&USER, "ada"))
    ///     .spawn(async { USER.get() });
    /// assert_eq!(task.await.unwrap(), Some("ada"));
    /// # }).unwrap();
    /// ```
    pub fn context(mut self, context: Variables) -> Self {
        self.told.context = Some(context);
        self
    }

    /// See [`spawn`](crate::spawn).
    #[track_caller]
    pub fn spawn<F>(self, future: F) -> Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        spawn_here::<Values, _>(Location::caller(), self.told, || future)
    }

    /// See [`spawn_with`](crate::spawn_with).
    #[track_caller]
    pub fn spawn_with<F>(self, future: impl FnOnce() -> F) -> Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        spawn_here::<Values, _>(Location::caller(), self.told, future)
    }

    /// See [`Handle::spawn`](crate::Handle::spawn).
    #[track_caller]
    pub fn spawn_on<F>(self, handle: &crate::Handle, future: F) -> Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        handle.spawn_at::<Values, _>(Location::caller(), self.told, || future)
    }

    /// See [`try_spawn`](crate::try_spawn).
    #[track_caller]
    pub fn try_spawn<F, T, E>(self, future: F) -> Task<F::Output>
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: std::fmt::Debug + Send + 'static,
    {
        spawn_here::<Results, _>(Location::caller(), self.told, || future)
    }

    /// See [`Handle::try_spawn`](crate::Handle::try_spawn).
    #[track_caller]
    pub fn try_spawn_on<F, T, E>(self, handle: &crate::Handle, future: F) -> Task<F::Output>
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: std::fmt::Debug + Send + 'static,
    {
        handle.spawn_at::<Results, _>(Location::caller(), self.told, || future)
    }

    /// See [`spawn_blocking`](crate::spawn_blocking).
    #[track_caller]
    pub fn spawn_blocking<T, F>(self, closure: F) -> Task<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        spawn_blocking_here(Location::caller(), self.told, closure)
    }
}

/// Lets everything else that is ready run before this task goes on. asyncio's `sleep(0)`.
///
/// Suspends exactly once, always.
///
/// # Examples
///
/// ```
/// # heist_runtime::run(async {
/// heist_runtime::task::yield_now().await;
/// # }).unwrap();
/// ```
pub fn yield_now() -> YieldNow {
    YieldNow { yielded: false }
}

/// The future of [`yield_now`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct YieldNow {
    yielded: bool,
}

impl Future for YieldNow {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if heist_io_driver::leaf::poll_traced(cx).is_pending() {
            return Poll::Pending;
        }
        if self.yielded {
            // A request that arrived meanwhile is met here.
            return if heist_io_driver::leaf::interrupted() {
                Poll::Pending
            } else {
                Poll::Ready(())
            };
        }
        self.yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
