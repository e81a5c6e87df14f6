//! `cancel_with`: a request, a grace, then force.

use super::TaskRef;
use heist_io_driver::time::sleep;
use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

/// How long an aborted task, which is dropped at its next suspension, is waited for: as long as a poll should never last.
const ABORTED: Duration = Duration::from_millis(100);

/// What a task is told that has to end in bounded time; see [`Task::cancel_with`](super::Task::cancel_with).
///
/// # Examples
///
/// ```
/// use heist_runtime::task::{Cancel, CancelOutcome, catch_cancel};
/// use std::time::Duration;
/// # heist_runtime::run(async {
/// let stubborn = heist_runtime::spawn(async {
///     loop {
///         let _ = catch_cancel(std::future::pending::<()>()).await;
///     }
/// });
/// heist_runtime::task::yield_now().await;
/// let cancel = Cancel::new().reason("closing").grace(Duration::from_millis(20));
/// let outcome = stubborn.cancel_with(cancel).await;
/// assert!(matches!(outcome, CancelOutcome::Forced { ended: true, .. }));
/// # }).unwrap();
/// ```
#[derive(Clone, Debug, Default)]
pub struct Cancel {
    reason: Option<String>,
    grace: Option<Duration>,
}

impl Cancel {
    /// No reason given, and as long as it takes.
    pub fn new() -> Self {
        Self::default()
    }

    /// The message of the request.
    pub fn reason(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }

    /// How long the task may clean up before it is aborted; zero aborts it at once.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = Some(grace);
        self
    }
}

/// How a task ended that was told to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CancelOutcome {
    /// With a value or an error of its own: it had ended before, or it suppressed the request.
    Completed,
    /// Cancelled, within the grace.
    CleanedUp,
    /// It was aborted.
    Forced {
        /// The task as it was when the grace was over: its name, spawn site, and what it did.
        stuck: String,
        /// Whether it has ended since. If not, it sits in a poll that does not return.
        ended: bool,
    },
}

impl fmt::Display for CancelOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Completed => f.write_str("completed"),
            Self::CleanedUp => f.write_str("cancelled, and cleaned up"),
            Self::Forced { stuck, ended: true } => write!(f, "aborted: {stuck}"),
            Self::Forced {
                stuck,
                ended: false,
            } => write!(f, "aborted, and still running: {stuck}"),
        }
    }
}

impl TaskRef {
    /// Asks the task to end, gives it the grace to clean up, then [aborts](super::Task::abort) it; says how it ended.
    ///
    /// Returns within the grace and a tenth of a second.
    ///
    /// # Cancel safety
    ///
    /// A request that has been made stays made; an abort that was to come does not.
    pub async fn cancel_with(&self, cancel: Cancel) -> CancelOutcome {
        let reason = cancel.reason.as_deref();
        self.cancel(reason);
        if self.has_ended_within(cancel.grace).await {
            return if self.is_cancelled() {
                CancelOutcome::CleanedUp
            } else {
                CancelOutcome::Completed
            };
        }
        let stuck = format!("{self:?}");
        self.abort(reason);
        let ended = self.has_ended_within(Some(ABORTED)).await;
        CancelOutcome::Forced { stuck, ended }
    }

    /// Waits for the end, for so long at most.
    async fn has_ended_within(&self, limit: Option<Duration>) -> bool {
        if self.is_done() {
            return true;
        }
        let mut ended = pin!(self.ended());
        let mut time = pin!(sleep(limit.unwrap_or(Duration::MAX)));
        poll_fn(|cx| {
            if ended.as_mut().poll(cx).is_ready() {
                return Poll::Ready(true);
            }
            time.as_mut().poll(cx).map(|()| self.is_done())
        })
        .await
    }
}
