//! `timeout`: a future and a deadline, whichever comes first.

use heist_runtime::time::{self, Sleep};
use pin_project_lite::pin_project;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// Gives `future` until `after` from now; then it is dropped at its await, and the answer is [`Elapsed`].
///
/// asyncio's `wait_for` and `timeout`. A future that is ready when the time is up wins. `Duration::MAX` means never.
///
/// # Cancel safety
///
/// As that of `future`: dropping this drops it.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// # heist_runtime::run(async {
/// let late = heist_combinators::timeout(Duration::from_millis(5), std::future::pending::<()>()).await;
/// assert!(late.is_err());
/// let early = heist_combinators::timeout(Duration::from_secs(5), async { 42 }).await;
/// assert_eq!(early, Ok(42));
/// # }).unwrap();
/// ```
#[doc(alias = "wait_for")]
pub fn timeout<F: Future>(after: Duration, future: F) -> Timeout<F> {
    Timeout {
        future: Some(future),
        deadline: Deadline::After { after },
    }
}

/// As [`timeout`], with the moment instead of the time from now. asyncio's `timeout_at`.
pub fn timeout_at<F: Future>(deadline: Instant, future: F) -> Timeout<F> {
    Timeout {
        future: Some(future),
        deadline: Deadline::At {
            sleep: time::sleep_until(deadline),
        },
    }
}

pin_project! {
    /// The future of [`timeout`] and [`timeout_at`].
    #[must_use = "futures do nothing unless awaited"]
    pub struct Timeout<F> {
        // Gone once the time was up.
        #[pin]
        future: Option<F>,
        deadline: Deadline,
    }
}

/// The clock is not read, and no timer made, before the future has been pending once.
enum Deadline {
    After { after: Duration },
    At { sleep: Sleep },
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let Some(future) = this.future.as_mut().as_pin_mut() else {
            return Poll::Ready(Err(Elapsed(())));
        };
        if let Poll::Ready(value) = future.poll(cx) {
            return Poll::Ready(Ok(value));
        }
        if let Deadline::After { after } = *this.deadline {
            *this.deadline = Deadline::At {
                sleep: time::sleep(after),
            };
        }
        let Deadline::At { sleep } = this.deadline else {
            return Poll::Pending;
        };
        if Pin::new(sleep).poll(cx).is_pending() {
            return Poll::Pending;
        }
        this.future.set(None);
        Poll::Ready(Err(Elapsed(())))
    }
}

impl<F> fmt::Debug for Timeout<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timeout")
            .field("elapsed", &self.future.is_none())
            .finish_non_exhaustive()
    }
}

/// The time was up. asyncio's `TimeoutError`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed(());

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the time was up")
    }
}

impl std::error::Error for Elapsed {}

impl From<Elapsed> for io::Error {
    fn from(elapsed: Elapsed) -> Self {
        Self::new(io::ErrorKind::TimedOut, elapsed)
    }
}
