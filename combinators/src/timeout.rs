//! Deadlines: a future and a moment, whichever comes first.
//!
//! What is enclosed is a region ([`Region`]). When the time is up and it is still pending, the region requests its own end: counted with the
//! task, handed down to where it is suspended, so that what is inside can clean up with awaits. Only if it ends by that is the answer
//! [`Elapsed`]; a value, or an error, passes; somebody else's cancellation goes on.

use heist_runtime::task::{Region, Unwound};
use heist_runtime::time::{self, Sleep};
use parking_lot::Mutex;
use pin_project_lite::pin_project;
use std::fmt;
use std::io;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// Gives `future` until `after` from now; then asks it to end, and says [`Elapsed`] when it has.
///
/// asyncio's `timeout`, and its `wait_for` of a coroutine. `future` is cancelled as a task is: it is dropped at its await, destructors and all, unless something
/// inside catches that and cleans up first, which is waited for. If it ends with a value nevertheless, that is the answer. `Duration::MAX` means never; zero strikes at the
/// first suspension.
///
/// As in asyncio, it can strike only where `future` suspends: a body that computes, blocks, or awaits only what is ready already is never cut off. (After 128
/// operations of heist's own in a row, reads of a socket for one, the next suspends even so.)
///
/// A task that is awaited directly in `future`, as in `timeout(d, task)`, is asked to end with it, as in asyncio; to give up waiting alone, use
/// `timeout(d, task.ended())`, or a shield.
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
pub fn timeout<F: Future>(after: Duration, future: F) -> Timeout<F> {
    Timeout::new(Source::After(after), future)
}

/// As [`timeout`], with the moment instead of the time from now. asyncio's `timeout_at`.
///
/// # Examples
///
/// ```
/// use heist_combinators::timeout_at;
/// use heist_runtime::time::{now, sleep};
/// use std::time::Duration;
///
/// # heist_runtime::run(async {
/// let soon = now() + Duration::from_millis(5); // for both
/// assert!(timeout_at(soon, sleep(Duration::MAX)).await.is_err());
/// assert!(timeout_at(soon, sleep(Duration::MAX)).await.is_err());
/// # }).unwrap();
/// ```
pub fn timeout_at<F: Future>(deadline: Instant, future: F) -> Timeout<F> {
    Timeout::new(Source::At(deadline), future)
}

/// A deadline that can be looked at and moved, while it encloses something. asyncio's `Timeout` object.
///
/// Clones are of the same deadline. It encloses one future, once.
///
/// # Examples
///
/// ```
/// use heist_combinators::Deadline;
/// use std::time::Duration;
/// # heist_runtime::run(async {
/// let deadline = Deadline::after(Duration::from_millis(5));
/// let extend = deadline.clone();
/// let value = deadline.enclose(async move {
///     extend.reschedule(None).unwrap(); // it takes as long as it takes
///     heist_runtime::time::sleep(Duration::from_millis(10)).await;
///     42
/// });
/// assert_eq!(value.await, Ok(42));
/// assert!(!deadline.expired());
/// # }).unwrap();
/// ```
#[derive(Clone)]
#[doc(alias = "asyncio.Timeout")]
pub struct Deadline(Arc<Mutex<State>>);

struct State {
    when: Option<Instant>,
    phase: Phase,
    /// Of whoever polls the enclosed future: to be woken when the deadline moves.
    waker: Option<Waker>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Encloses nothing yet.
    New,
    Active,
    /// The time was up, and the future was asked to end.
    Struck,
    Over {
        expired: bool,
    },
}

impl Deadline {
    /// `after` from now; `Duration::MAX` is never.
    pub fn after(after: Duration) -> Self {
        Self::new(moment(after))
    }

    /// At `deadline`. One that has passed strikes at the first suspension.
    pub fn at(deadline: Instant) -> Self {
        Self::new(Some(deadline))
    }

    /// Never, unless it is [moved](Self::reschedule).
    pub fn never() -> Self {
        Self::new(None)
    }

    fn new(when: Option<Instant>) -> Self {
        Self(Arc::new(Mutex::new(State {
            when,
            phase: Phase::New,
            waker: None,
        })))
    }

    /// Runs `future` under this deadline, as [`timeout`] does.
    ///
    /// A deadline that has enclosed something before does not come again: `future` runs without any.
    pub fn enclose<F: Future>(&self, future: F) -> Timeout<F> {
        Timeout::new(Source::Shared(self.clone()), future)
    }

    /// Moves the deadline; `None` is never. From inside, or from any other task or thread. asyncio's `reschedule`.
    ///
    /// # Errors
    ///
    /// It does not enclose a running future, or has struck already.
    pub fn reschedule(&self, when: impl Into<Option<Instant>>) -> Result<(), DeadlineError> {
        let waker = {
            let mut state = self.0.lock();
            if state.phase != Phase::Active {
                return Err(DeadlineError(state.phase));
            }
            state.when = when.into();
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    /// Moves the deadline to `after` from now, by the runtime's clock; `Duration::MAX` is never.
    ///
    /// # Errors
    ///
    /// As with [`reschedule`](Self::reschedule).
    pub fn reschedule_after(&self, after: Duration) -> Result<(), DeadlineError> {
        self.reschedule(moment(after))
    }

    /// When it strikes; `None` is never. asyncio's `when`.
    pub fn when(&self) -> Option<Instant> {
        self.0.lock().when
    }

    fn enter(&self) -> bool {
        let mut state = self.0.lock();
        let is_new = state.phase == Phase::New;
        if is_new {
            state.phase = Phase::Active;
        }
        is_new
    }

    fn leave(&self, expired: bool) {
        let mut state = self.0.lock();
        state.phase = Phase::Over { expired };
        let waker = state.waker.take();
        drop(state);
        drop(waker);
    }

    /// Whether the time was up while the future ran. asyncio's `expired`.
    pub fn expired(&self) -> bool {
        let phase = self.0.lock().phase;
        matches!(phase, Phase::Struck | Phase::Over { expired: true })
    }
}

impl fmt::Debug for Deadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.lock();
        f.debug_struct("Deadline")
            .field("when", &state.when)
            .field("phase", &state.phase)
            .finish()
    }
}

/// A deadline could not be moved. asyncio's `RuntimeError`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeadlineError(Phase);

impl fmt::Display for DeadlineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Phase::New | Phase::Active => {
                "the deadline encloses nothing yet: await what `enclose` gives first"
            }
            Phase::Struck => "the deadline has struck: what it encloses is ending",
            Phase::Over { .. } => "what the deadline enclosed has ended",
        })
    }
}

impl std::error::Error for DeadlineError {}

fn moment(after: Duration) -> Option<Instant> {
    match after {
        Duration::MAX => None,
        _ => time::now().checked_add(after),
    }
}

/// Where the deadline comes from.
enum Source {
    /// From the first suspension on: the clock is not read before.
    After(Duration),
    At(Instant),
    Shared(Deadline),
}

pin_project! {
    /// The future of [`timeout`], [`timeout_at`] and [`Deadline::enclose`].
    #[must_use = "futures do nothing unless awaited"]
    pub struct Timeout<F> {
        #[pin]
        region: Region<F>,
        source: Source,
        // The timer, and the deadline that it was made for.
        timer: Option<(Option<Instant>, Option<Sleep>)>,
        phase: Phase,
    }

    impl<F> PinnedDrop for Timeout<F> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            this.source.leave(*this.phase);
        }
    }
}

impl<F: Future> Timeout<F> {
    fn new(source: Source, future: F) -> Self {
        Self {
            region: Region::new(future),
            source,
            timer: None,
            phase: Phase::New,
        }
    }
}

impl Source {
    /// Begins to enclose; false if it has done so before.
    #[inline]
    fn enter(&self) -> bool {
        match self {
            Self::Shared(deadline) => deadline.enter(),
            Self::After(_) | Self::At(_) => true,
        }
    }

    /// The deadline as it is now.
    fn when(&self, cx: &Context<'_>) -> Option<Instant> {
        match self {
            Self::After(after) => moment(*after),
            Self::At(deadline) => Some(*deadline),
            Self::Shared(deadline) => {
                let waker = cx.waker().clone();
                let mut state = deadline.0.lock();
                let old = state.waker.replace(waker);
                let when = state.when;
                drop(state);
                drop(old);
                when
            }
        }
    }

    fn strike(&self) {
        if let Self::Shared(deadline) = self {
            deadline.0.lock().phase = Phase::Struck;
        }
    }

    /// Says that what was enclosed is over, if it had begun.
    #[inline]
    fn leave(&self, phase: Phase) {
        if let (Self::Shared(deadline), Phase::Active | Phase::Struck) = (self, phase) {
            deadline.leave(phase == Phase::Struck);
        }
    }
}

/// Whether the time is up; if not, the timer wakes the task when it is.
fn is_up(
    source: &Source,
    timer: &mut Option<(Option<Instant>, Option<Sleep>)>,
    cx: &mut Context<'_>,
) -> bool {
    let fixed = matches!(source, Source::After(_) | Source::At(_)) && timer.is_some();
    if !fixed {
        let when = source.when(cx);
        if timer.as_ref().is_none_or(|(made_for, _)| *made_for != when) {
            let sleep = when.map(time::sleep_until);
            if sleep.as_ref().is_some_and(Sleep::is_elapsed) {
                return true;
            }
            *timer = Some((when, sleep));
        }
    }
    match timer {
        Some((_, Some(sleep))) => Pin::new(sleep).poll(cx).is_ready(),
        _ => false,
    }
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if *this.phase == Phase::New && this.source.enter() {
            *this.phase = Phase::Active;
        }
        let mut ended = this.region.as_mut().poll(cx);
        if ended.is_pending() && *this.phase == Phase::Active && is_up(this.source, this.timer, cx)
        {
            *this.phase = Phase::Struck;
            *this.timer = None;
            this.source.strike();
            this.region.as_mut().request();
            if this.region.target().is_none() {
                // Outside of any task nobody hands the request down: it is met here and now.
                ended = this.region.as_mut().poll(cx);
            }
        }
        let Poll::Ready(ended) = ended else {
            return Poll::Pending;
        };
        let struck = *this.phase == Phase::Struck;
        let phase = mem::replace(this.phase, Phase::Over { expired: struck });
        this.source.leave(phase);
        *this.timer = None;
        match ended {
            Ok(value) => Poll::Ready(Ok(value)),
            Err(Unwound { count, .. }) if struck && count <= this.region.count_at_entry() => {
                Poll::Ready(Err(Elapsed(())))
            }
            // Somebody else's cancellation: on it goes. There is a region to take it, since one sent it.
            Err(unwound) => {
                unwound.cancelled.unwind();
                Poll::Pending
            }
        }
    }
}

impl<F> fmt::Debug for Timeout<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timeout")
            .field("phase", &self.phase)
            .finish_non_exhaustive()
    }
}

/// The time was up. asyncio's `TimeoutError`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[doc(alias = "TimeoutError")]
pub struct Elapsed(pub(crate) ());

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
