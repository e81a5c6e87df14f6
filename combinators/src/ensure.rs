//! `ensure_future`: whatever can be awaited as a task, as a handle.

use heist_runtime::task::{Awaitable, Deferred, Shared, Task};

/// A handle is returned itself; a closure that gives a future becomes a task. asyncio's `ensure_future`.
///
/// For code that takes either: a task that runs already, or a body that it should start. The task is spawned here and now, as by [`spawn`](heist_runtime::spawn); outside of
/// any runtime its handle says that it was refused.
///
/// # Examples
///
/// ```
/// use heist_combinators::ensure_future;
/// # heist_runtime::run(async {
/// let started = ensure_future(|| async { 42 });
/// let id = started.id();
/// let same = ensure_future(started);
/// assert_eq!(same.id(), id);
/// assert_eq!(same.await.unwrap(), 42);
/// # }).unwrap();
/// ```
#[doc(alias = "asyncio.ensure_future")]
#[track_caller]
pub fn ensure_future<X: EnsureFuture>(x: X) -> X::Handle {
    x.ensure_future()
}

/// What [`ensure_future`] takes: every handle, and every closure that gives a future.
pub trait EnsureFuture {
    /// What it becomes.
    type Handle: Awaitable;

    /// Makes a handle of it; see [`ensure_future`].
    #[track_caller]
    fn ensure_future(self) -> Self::Handle;
}

impl<T: Send + 'static> EnsureFuture for Task<T> {
    type Handle = Self;

    fn ensure_future(self) -> Self {
        self
    }
}

impl<T: Send + 'static> EnsureFuture for Deferred<T> {
    type Handle = Self;

    fn ensure_future(self) -> Self {
        self
    }
}

impl<T: Clone + Send + Sync + 'static> EnsureFuture for Shared<T> {
    type Handle = Self;

    fn ensure_future(self) -> Self {
        self
    }
}

// `Fn` traits are fundamental: that the handles above are no closures is for good.
impl<F, Fut> EnsureFuture for F
where
    F: FnOnce() -> Fut,
    Fut: Future + Send + 'static,
    Fut::Output: Send + 'static,
{
    type Handle = Task<Fut::Output>;

    #[track_caller]
    fn ensure_future(self) -> Task<Fut::Output> {
        heist_runtime::spawn(self())
    }
}
