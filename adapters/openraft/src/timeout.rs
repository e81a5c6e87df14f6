//! A future and a timer; whichever ends first.

use heist::time::Sleep;
use pin_project_lite::pin_project;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

pin_project! {
    /// Gives a future until a moment, then drops it. What `HeistRuntime::timeout` and `timeout_at` give.
    ///
    /// Not [`heist::timeout`]: that asks, and waits until what it encloses has cleaned up. This is over when the time is up. A future that is ready is
    /// never late.
    ///
    /// # Cancel safety
    ///
    /// As that of the enclosed future: dropping this drops it.
    ///
    /// # Examples
    ///
    /// ```
    /// use heist_openraft::HeistRuntime;
    /// use openraft_rt::AsyncRuntime;
    /// use std::time::Duration;
    ///
    /// # heist::run(async {
    /// let late = HeistRuntime::timeout(Duration::from_millis(5), std::future::pending::<()>());
    /// assert!(late.await.is_err());
    /// let early = HeistRuntime::timeout(Duration::from_secs(5), async { 42 });
    /// assert_eq!(early.await, Ok(42));
    /// # }).unwrap();
    /// ```
    #[must_use = "futures do nothing unless awaited"]
    pub struct HeistTimeout<F> {
        #[pin]
        future: F,
        sleep: Sleep,
    }
}

impl<F> HeistTimeout<F> {
    pub(crate) fn new(sleep: Sleep, future: F) -> Self {
        Self { future, sleep }
    }
}

impl<F: Future> Future for HeistTimeout<F> {
    type Output = Result<F::Output, TimedOut>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(value) = this.future.poll(cx) {
            return Poll::Ready(Ok(value));
        }
        // A future that always has something to do uses up the task's budget in each poll, and the timer then yields too. The clock does not.
        if Pin::new(&mut *this.sleep).poll(cx).is_ready() || this.sleep.is_elapsed() {
            return Poll::Ready(Err(TimedOut(())));
        }
        Poll::Pending
    }
}

impl<F> fmt::Debug for HeistTimeout<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeistTimeout")
            .field("deadline", &self.sleep.deadline())
            .finish_non_exhaustive()
    }
}

/// The time was up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimedOut(());

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the time was up")
    }
}

impl std::error::Error for TimedOut {}
