//! The future that waits for a deadline.
//!
//! It registers with the current shard at its first pending poll and not before, reads the clock
//! only when it is made, and learns from the wheel whether it has fired: entry gone means due.
//! The wheel owns the waker, so a sleep that is leaked harms nobody.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use super::wheel::Key;
use super::{Shard, Status, Unregistered};
use crate::clock::NEVER;
use crate::fallback;
use crate::handle;
use crate::leaf::{self, Leaf};

/// How long a poll blocks before it asks to be polled again, while no driver can be had for a
/// timer (no memory, threads or descriptors left): long enough not to burn a processor, short
/// enough to be within the lateness that timers promise.
const ADRIFT_PAUSE: Duration = Duration::from_millis(1);

/// Waits for `duration`; `asyncio.sleep`.
///
/// Always suspends at least once: `sleep(Duration::ZERO)` lets other tasks run and goes on.
/// `Duration::MAX`, like anything beyond what an [`Instant`] can hold, never ends. Timers have a
/// resolution of 4,000 ns, rounded up: a sleep is never early.
///
/// # Cancel safety
///
/// Dropping the future ends the wait; nothing is lost.
///
/// # Examples
///
/// ```
/// use heist_io_driver::time::sleep;
/// use std::time::Duration;
/// let nap = sleep(Duration::from_millis(20));
/// assert!(nap.deadline().is_some());
/// assert!(sleep(Duration::MAX).deadline().is_none());
/// ```
#[inline]
pub fn sleep(duration: Duration) -> Sleep {
    let deadline = match duration {
        Duration::MAX => None,
        _ => handle::now().checked_add(duration),
    };
    Sleep {
        deadline,
        state: match duration {
            Duration::ZERO => State::Due,
            _ => State::Idle,
        },
        leaf: Leaf::new(),
    }
}

/// Waits until `deadline`; asyncio's `loop.call_at` as a future.
///
/// Always suspends at least once, even if the deadline has passed.
///
/// # Cancel safety
///
/// Dropping the future ends the wait; nothing is lost.
///
/// # Examples
///
/// ```
/// use heist_io_driver::time::{now, sleep_until};
/// let at = now() + std::time::Duration::from_secs(3);
/// assert_eq!(sleep_until(at).deadline(), Some(at));
/// ```
#[inline]
pub fn sleep_until(deadline: Instant) -> Sleep {
    Sleep {
        deadline: Some(deadline),
        state: State::Idle,
        leaf: Leaf::new(),
    }
}

/// The future of [`sleep`] and [`sleep_until`].
///
/// Ready again and again once it has ended, until it is [`reset`](Sleep::reset).
#[must_use = "futures do nothing unless awaited"]
pub struct Sleep {
    /// `None`: never.
    deadline: Option<Instant>,
    state: State,
    leaf: Leaf,
}

enum State {
    /// Not registered with any wheel.
    Idle,
    /// Due when made: yields once, without bothering a wheel.
    Due,
    /// Due when made, and has yielded.
    Yielded,
    /// In a wheel until it fires.
    Registered { shard: Arc<Shard>, key: Key },
    /// Waiting, but no wheel took it.
    Adrift,
    /// Ended.
    Done,
}

impl Sleep {
    /// A sleep that yields once and ends, for deadlines known to have passed.
    pub(crate) fn due(deadline: Instant) -> Sleep {
        Sleep {
            deadline: Some(deadline),
            state: State::Due,
            leaf: Leaf::new(),
        }
    }

    /// A sleep without end.
    pub(crate) fn never() -> Sleep {
        Sleep {
            deadline: None,
            state: State::Idle,
            leaf: Leaf::new(),
        }
    }

    /// When the sleep ends; `None` if never.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Whether the deadline has passed by the clock of the driver that the sleep is registered
    /// with, or else of the current one.
    #[must_use]
    pub fn is_elapsed(&self) -> bool {
        let now = match &self.state {
            State::Done => return true,
            State::Registered { shard, .. } => shard.clock.now(),
            _ => handle::now(),
        };
        self.deadline.is_some_and(|deadline| deadline <= now)
    }

    /// Moves the deadline. A task that waits for this sleep keeps waiting and is woken at the new
    /// deadline; a sleep that had ended can be awaited anew.
    ///
    /// # Examples
    ///
    /// ```
    /// use heist_io_driver::time::{now, sleep};
    /// use std::{pin::pin, time::Duration};
    ///
    /// # futures_lite::future::block_on(async {
    /// let mut alarm = pin!(sleep(Duration::MAX));
    /// alarm.as_mut().reset(now() + Duration::from_millis(1));
    /// alarm.await;
    /// # });
    /// ```
    pub fn reset(mut self: Pin<&mut Self>, deadline: Instant) {
        let sleep = &mut *self;
        sleep.deadline = Some(deadline);
        if let State::Registered { shard, key } = &mut sleep.state
            && let Some(moved) = shard.reset(*key, shard.clock.tick_of(deadline))
        {
            *key = moved;
            return;
        }
        sleep.leaf.reset();
        sleep.state = State::Idle;
    }

    /// Registers with the current shard, else with the fallback driver's.
    #[inline]
    fn register(&mut self, cx: &Context<'_>) {
        let mut waker = cx.waker().clone();
        if let Some(shard) = handle::current_shard() {
            match self.enlist(shard, waker, true) {
                Ok(()) => return,
                Err(back) => waker = back,
            }
        }
        self.register_with_fallback(waker);
    }

    #[cold]
    fn register_with_fallback(&mut self, waker: Waker) {
        let refused = match fallback::handle() {
            Ok(handle) => match self.enlist(handle.any_shard(), waker, false) {
                Ok(()) => return,
                Err(waker) => waker,
            },
            Err(error) => {
                tracing::warn!(%error, "no driver for a timer");
                waker
            }
        };
        // Poll by poll, then: never lost, and not spinning.
        self.state = State::Adrift;
        std::thread::sleep(ADRIFT_PAUSE);
        refused.wake();
    }

    #[inline]
    fn enlist(&mut self, shard: Arc<Shard>, waker: Waker, current: bool) -> Result<(), Waker> {
        let deadline = match self.deadline {
            Some(deadline) => shard.clock.tick_of(deadline),
            None => NEVER,
        };
        match shard.register(deadline, waker, current) {
            Ok(key) => {
                self.state = State::Registered { shard, key };
                Ok(())
            }
            Err(Unregistered::Closed(waker) | Unregistered::Full(waker)) => Err(waker),
        }
    }

    fn end(&mut self) -> Poll<()> {
        self.state = State::Done;
        leaf::spend();
        Poll::Ready(())
    }
}

impl Future for Sleep {
    type Output = ();

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        ready!(self.leaf.poll_enter(cx));
        match &self.state {
            State::Idle => self.register(cx),
            State::Due => {
                self.state = State::Yielded;
                cx.waker().wake_by_ref();
            }
            State::Registered { shard, key } => match shard.check(*key, cx.waker()) {
                Status::Waiting => {}
                Status::Fired => return self.end(),
                Status::Closed => self.register(cx),
            },
            State::Adrift if self.is_elapsed() => return self.end(),
            State::Adrift => self.register(cx),
            State::Yielded => return self.end(),
            State::Done => return Poll::Ready(()),
        }
        self.leaf.suspend();
        Poll::Pending
    }
}

impl Drop for Sleep {
    #[inline]
    fn drop(&mut self) {
        if let State::Registered { shard, key } = &self.state {
            drop(shard.deregister(*key));
        }
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleep")
            .field("deadline", &self.deadline)
            .field("ended", &matches!(self.state, State::Done))
            .finish_non_exhaustive()
    }
}
