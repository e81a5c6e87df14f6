//! Ticks at a steady pace, and what to do about ticks that were missed.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use super::sleep::{Sleep, sleep_until};
use crate::handle;

/// Ticks every `period`, for the first time at once.
///
/// Each tick suspends at least once. A period of zero is taken as 1 ns: it ticks at every await,
/// yielding. `Duration::MAX`, like anything beyond what an [`Instant`] can hold, ticks once.
///
/// # Examples
///
/// ```
/// use heist_io_driver::time::{MissedTick, interval};
/// use std::time::Duration;
///
/// async fn beat() {
///     let mut pulse = interval(Duration::from_secs(1)).on_missed(MissedTick::Skip);
///     loop {
///         let due = pulse.tick().await;
/// #       let _ = due;
///     }
/// }
/// # let _ = beat;
/// ```
pub fn interval(period: Duration) -> Interval {
    interval_at(handle::now(), period)
}

/// Ticks every `period`, for the first time at `start`. Otherwise as [`interval`].
pub fn interval_at(start: Instant, period: Duration) -> Interval {
    Interval {
        due: Some(start),
        period: period.max(Duration::from_nanos(1)),
        missed: MissedTick::Burst,
        wait: None,
    }
}

/// What an [`Interval`] does when more than a period has gone by since a tick was due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum MissedTick {
    /// Tick as often as needed to catch up.
    #[default]
    Burst,
    /// Tick once; the next tick is due a period after this one.
    Delay,
    /// Tick once; the next tick is due at the next multiple of the period.
    Skip,
}

/// A stream of ticks: see [`interval`].
#[derive(Debug)]
pub struct Interval {
    /// When the next tick is due; `None` if never.
    due: Option<Instant>,
    period: Duration,
    missed: MissedTick,
    /// The wait for `due`, once it has begun.
    wait: Option<Sleep>,
}

impl Interval {
    /// Chooses what happens to missed ticks.
    #[must_use]
    pub fn on_missed(mut self, missed: MissedTick) -> Interval {
        self.missed = missed;
        self
    }

    /// The time between ticks, at least 1 ns.
    #[must_use]
    pub fn period(&self) -> Duration {
        self.period
    }

    /// Waits for the next tick and returns when it was due. Suspends at least once.
    ///
    /// # Cancel safety
    ///
    /// A tick that was not returned has not happened: the next call returns it.
    ///
    /// # Examples
    ///
    /// ```
    /// use heist_io_driver::time::interval;
    /// use std::time::Duration;
    ///
    /// # futures_lite::future::block_on(async {
    /// let period = Duration::from_millis(2);
    /// let mut pulse = interval(period);
    /// let first = pulse.tick().await; // at once
    /// assert_eq!(pulse.tick().await, first + period); // when it was due
    /// # });
    /// ```
    pub async fn tick(&mut self) -> Instant {
        poll_fn(|cx| self.poll_tick(cx)).await
    }

    /// Polls for the next tick.
    pub fn poll_tick(&mut self, cx: &mut Context<'_>) -> Poll<Instant> {
        let wait = self.wait.get_or_insert_with(|| match self.due {
            None => Sleep::never(),
            Some(due) if due <= handle::now() => Sleep::due(due),
            Some(due) => sleep_until(due),
        });
        ready!(Pin::new(wait).poll(cx));
        self.wait = None;
        let now = handle::now();
        let due = self.due.unwrap_or(now);
        self.due = self.after(due, now);
        Poll::Ready(due)
    }

    /// Starts over: the next tick is due a period from now.
    pub fn reset(&mut self) {
        self.wait = None;
        self.due = handle::now().checked_add(self.period);
    }

    /// The deadline of the tick after the one that was due at `due` and is taken at `now`.
    fn after(&self, due: Instant, now: Instant) -> Option<Instant> {
        let next = due.checked_add(self.period)?;
        if next > now {
            return Some(next);
        }
        match self.missed {
            MissedTick::Burst => Some(next),
            MissedTick::Delay => now.checked_add(self.period),
            MissedTick::Skip => {
                let into = now.saturating_duration_since(due).as_nanos() % self.period.as_nanos();
                // The remainder is less than a period, which fits.
                let left = self.period - nanos(into);
                now.checked_add(left)
            }
        }
    }
}

/// A count of nanoseconds that is known to fit.
fn nanos(count: u128) -> Duration {
    let secs = u64::try_from(count / 1_000_000_000).unwrap_or(u64::MAX);
    let subsec = (count % 1_000_000_000) as u32;
    Duration::new(secs, subsec)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(missed: MissedTick, period: u64, late: u64) -> u64 {
        let due = Instant::now();
        let pulse = interval_at(due, Duration::from_nanos(period)).on_missed(missed);
        let next = pulse.after(due, due + Duration::from_nanos(late));
        (next.unwrap() - due).as_nanos() as u64
    }

    #[test]
    fn missed_ticks_are_made_up_for_as_asked() {
        for missed in [MissedTick::Burst, MissedTick::Delay, MissedTick::Skip] {
            assert_eq!(after(missed, 100, 0), 100);
            assert_eq!(after(missed, 100, 99), 100);
        }
        assert_eq!(after(MissedTick::Burst, 100, 250), 100);
        assert_eq!(after(MissedTick::Delay, 100, 250), 350);
        assert_eq!(after(MissedTick::Skip, 100, 250), 300);
        assert_eq!(after(MissedTick::Skip, 100, 200), 300);
        assert_eq!(after(MissedTick::Skip, 0, 7), 8);
    }

    #[test]
    fn absurd_periods_saturate() {
        let due = Instant::now();
        let pulse = interval_at(due, Duration::MAX);
        assert_eq!(pulse.after(due, due), None);
        assert_eq!(interval(Duration::ZERO).period(), Duration::from_nanos(1));
    }
}
