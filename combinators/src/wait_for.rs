//! `wait_for`: one handle, for so long; then it is asked to end, and waited for.
//!
//! ```text
//!   time up                 cancel the handle, wait for its end: a value and an error pass, a cancellation is Elapsed
//!   caller cancelled        the handle has not ended: cancel it, wait for its end, then the caller's cancellation goes on
//!                           it has: the cancellation goes on at once, with the handle's message if it ended cancelled
//!   caller cancelled while  it goes on at once
//!     it waits for the end
//! ```
//!
//! None of these waits forwards: what interrupts them is the caller's own affair, and the handle hears of it from here alone.

use crate::timeout::Elapsed;
use heist_runtime::leaf::{self, Leaf};
use heist_runtime::task::{Awaitable, Cancelled, catch_cancel, request_all};
use heist_runtime::time::{self, Sleep};
use heist_runtime::{TaskError, spawn, try_spawn};
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// What a wait that can run out of time gives.
pub type TimedOutcome<T> = Result<Result<T, TaskError>, Elapsed>;

/// Waits for `handle`, and after `after` cancels it and says [`Elapsed`] when it has ended. asyncio's `wait_for`.
///
/// `after` counts from the first poll. `None` is exactly `handle.await`; [`Duration::MAX`] is never. With more than zero this suspends at
/// least once, even if the handle has ended. With zero, a handle that has ended gives its outcome, without suspending; any other is cancelled. A task that was just
/// spawned may have begun on another worker by then: [`wait_for_body`] keeps it from that.
///
/// A handle that is cancelled for the time's sake is waited for as long as it takes to clean up. If it ends with a value or an error nevertheless, that is the
/// outcome; that it was cancelled becomes `Elapsed`.
///
/// If the calling task is cancelled while it waits, the handle is cancelled (without message) and waited for, and the caller's
/// cancellation goes on whatever became of it; a second one does so at once. Where the handle has ended already, the cancellation goes on,
/// with the handle's message if that ended cancelled. (asyncio 3.11 gave the outcome and lost the request.) To keep the handle from being cancelled, wait for
/// a [`shield`](crate::shield) of it.
///
/// To enclose a part of a body rather than a handle: [`timeout`](crate::timeout()).
///
/// # Errors
///
/// The time was up, and the handle ended by that.
///
/// # Cancel safety
///
/// As said above. Dropped rather than cancelled, it lets go of the handle, which goes on by itself.
///
/// # Examples
///
/// ```
/// use heist_combinators::wait_for;
/// use std::time::Duration;
/// # heist_runtime::run(async {
/// let quick = heist_runtime::spawn(async { 42 });
/// assert_eq!(wait_for(quick, Duration::from_secs(5)).await.unwrap().unwrap(), 42);
/// let slow = heist_runtime::spawn(std::future::pending::<()>());
/// assert!(wait_for(slow, Duration::from_millis(5)).await.is_err());
/// # }).unwrap();
/// ```
#[doc(alias = "asyncio.wait_for")]
pub fn wait_for<A: Awaitable>(handle: A, after: impl Into<Option<Duration>>) -> WaitFor<A::Value> {
    WaitFor::new(wait(handle, after.into()))
}

async fn wait<A: Awaitable>(mut handle: A, after: Option<Duration>) -> TimedOutcome<A::Value> {
    match after {
        None => Ok(handle.await),
        Some(Duration::ZERO) if handle.is_done() => Ok(handle.take()),
        Some(Duration::ZERO) => cancel_late(&mut handle).await,
        Some(after) => {
            let wait = EndOrTime {
                handle: &mut handle,
                sleep: time::sleep(after),
                leaf: Leaf::new(),
            };
            match catch_cancel(wait).await {
                Ok(()) if handle.is_done() => Ok(handle.take()),
                Ok(()) => cancel_late(&mut handle).await,
                Err(cancelled) => give_way(&mut handle, cancelled).await,
            }
        }
    }
}

/// As [`wait_for`], of a future: it runs as a task of its own, or, with `None`, right here. asyncio's `wait_for` of a coroutine.
///
/// With zero, no line of it runs: the task is cancelled before it begins.
///
/// # Errors
///
/// The time was up, and the task ended by that.
///
/// # Cancel safety
///
/// As [`wait_for`].
///
/// # Examples
///
/// ```
/// use heist_combinators::wait_for_body;
/// use std::time::Duration;
/// # heist_runtime::run(async {
/// let value = wait_for_body(async { 42 }, Duration::from_secs(5)).await;
/// assert_eq!(value.unwrap().unwrap(), 42);
/// let never = wait_for_body(async { unreachable!() }, Duration::ZERO).await;
/// assert!(never.is_err());
/// # }).unwrap();
/// ```
#[doc(alias = "asyncio.wait_for")]
pub fn wait_for_body<F>(body: F, after: impl Into<Option<Duration>>) -> WaitFor<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let after = after.into();
    WaitFor::new(async move {
        match after {
            None => Ok(Ok(body.await)),
            Some(Duration::ZERO) => wait(spawn(unbegun(body)), Some(Duration::ZERO)).await,
            after => wait(spawn(body), after).await,
        }
    })
}

/// As [`wait_for_body`], where an `Err` is a failure of the task, as with [`try_spawn`]: it stands against a cancellation that came
/// meanwhile.
///
/// # Errors
///
/// The time was up, and the task ended by that.
///
/// # Cancel safety
///
/// As [`wait_for`].
///
/// # Examples
///
/// ```
/// use heist_combinators::try_wait_for_body;
/// use std::time::Duration;
/// # heist_runtime::run(async {
/// let parsed = try_wait_for_body(async { "12".parse::<u32>() }, Duration::from_secs(5)).await;
/// assert_eq!(parsed.unwrap().unwrap(), Ok(12));
/// # }).unwrap();
/// ```
#[doc(alias = "asyncio.wait_for")]
pub fn try_wait_for_body<F, T, E>(
    body: F,
    after: impl Into<Option<Duration>>,
) -> WaitFor<Result<T, E>>
where
    F: Future<Output = Result<T, E>> + Send + 'static,
    T: Send + 'static,
    E: std::fmt::Debug + Send + 'static,
{
    let after = after.into();
    WaitFor::new(async move {
        match after {
            None => Ok(Ok(body.await)),
            Some(Duration::ZERO) => wait(try_spawn(unbegun(body)), Some(Duration::ZERO)).await,
            after => wait(try_spawn(body), after).await,
        }
    })
}

/// The future of [`wait_for`], [`wait_for_body`] and [`try_wait_for_body`].
#[must_use = "futures do nothing unless awaited"]
// Boxed, so that a future that holds it is seen to be `Send` whatever lifetimes stand in `T`, which the compiler forgets.
pub struct WaitFor<T>(Pin<Box<dyn Future<Output = TimedOutcome<T>> + Send>>);

impl<T> WaitFor<T> {
    fn new(wait: impl Future<Output = TimedOutcome<T>> + Send + 'static) -> Self {
        Self(Box::pin(wait))
    }
}

impl<T> Future for WaitFor<T> {
    type Output = TimedOutcome<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl<T> fmt::Debug for WaitFor<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitFor").finish_non_exhaustive()
    }
}

/// Holds `body` and never begins it. A worker that is faster than the cancel finds nothing to run.
async fn unbegun<F: Future>(body: F) -> F::Output {
    let _held = body;
    std::future::pending().await
}

/// The time is up.
async fn cancel_late<A: Awaitable>(handle: &mut A) -> TimedOutcome<A::Value> {
    request_all(vec![handle.target()], None);
    handle.ended().await;
    match handle.take() {
        Err(error) if error.is_cancelled() => Err(Elapsed(())),
        outcome => Ok(outcome),
    }
}

/// The caller is cancelled.
async fn give_way<A: Awaitable>(handle: &mut A, cancelled: Cancelled) -> ! {
    let cancelled = if handle.is_done() {
        let own = handle.error().map(TaskError::into_cancelled);
        own.and_then(Result::ok).unwrap_or(cancelled)
    } else {
        request_all(vec![handle.target()], None);
        handle.ended().await;
        cancelled
    };
    cancelled.propagate().await
}

/// Suspends until the handle has ended or the time is up.
struct EndOrTime<'a, A> {
    handle: &'a mut A,
    sleep: Sleep,
    leaf: Leaf,
}

impl<A: Awaitable> Future for EndOrTime<'_, A> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if this.leaf.poll_enter(cx).is_pending() {
            return Poll::Pending;
        }
        let is_over = this.handle.poll_ended(cx) || Pin::new(&mut this.sleep).poll(cx).is_ready();
        if is_over && this.leaf.is_suspended() {
            leaf::spend();
            return Poll::Ready(());
        }
        this.leaf.suspend();
        if is_over {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}
