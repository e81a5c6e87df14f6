//! The clock that deadlines are measured by: the system's monotonic one, or a virtual one.
//!
//! Paused, the clock stands still until it is advanced; a driver whose caller says that nothing
//! else can run jumps it to the next deadline, so that a test with hour-long sleeps runs at once.
//! Resumed, it goes on from where it stood.
//!
//! A point in time is a count of nanoseconds since the clock's *epoch*, or of *ticks* of
//! [`TICK_NANOS`]. Deadlines round up to a tick, the present rounds down: a timer is never early.
//! Whatever lies beyond 2^64 ns (584 years) is *never*, [`NEVER`].
//!
//! Knows nothing of drivers but that some want to hear of a change ([`Watcher`]).

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Nanoseconds in a tick: far below the kernel's 50 us of timer slack, so that rounding up to it costs
/// nothing that can be seen; coarse enough that the bottom levels of the wheel are of use; and a
/// divisor of every whole number of milliseconds, so that under a paused clock `sleep(1 s)` takes
/// exactly one second.
pub(crate) const TICK_NANOS: u64 = 4_000;
/// The tick of a deadline that never comes.
pub(crate) const NEVER: u64 = u64::MAX;
/// Where the virtual clock stops advancing: 292 years after the epoch.
const VIRTUAL_END: u64 = u64::MAX / 2;

/// Somebody who sleeps by this clock and must look again when it was changed by hand.
pub(crate) trait Watcher: Send + Sync {
    fn clock_changed(&self);
}

/// A source of the present, shared by all its clones.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use heist_io_driver::Clock;
///
/// let clock = Clock::new();
/// clock.pause();
/// let before = clock.now();
/// clock.advance(Duration::from_secs(3_600))?;
/// assert_eq!(clock.now() - before, Duration::from_secs(3_600));
/// clock.resume();
/// assert!(clock.advance(Duration::ZERO).is_err());
/// # Ok::<(), heist_io_driver::NotPaused>(())
/// ```
#[derive(Clone)]
pub struct Clock {
    inner: Arc<Inner>,
}

struct Inner {
    /// Tick 0.
    epoch: Instant,
    /// False until the first pause: then the system's clock is the answer and `face` is not
    /// looked at. Never goes back to false, so that no reader mixes two answers.
    touched: AtomicBool,
    auto_advance: AtomicBool,
    face: Mutex<Face>,
    watchers: Mutex<Vec<Weak<dyn Watcher>>>,
}

/// What the clock shows.
#[derive(Clone, Copy)]
enum Face {
    /// Stands still, at so many nanoseconds since the epoch.
    Paused(u64),
    /// Runs since `at`, when it showed `shown` nanoseconds since the epoch.
    Running { at: Instant, shown: u64 },
}

impl Clock {
    /// A running clock whose epoch is the present.
    #[must_use]
    pub fn new() -> Clock {
        let epoch = Instant::now();
        Clock {
            inner: Arc::new(Inner {
                epoch,
                touched: AtomicBool::new(false),
                auto_advance: AtomicBool::new(true),
                face: Mutex::new(Face::Running {
                    at: epoch,
                    shown: 0,
                }),
                watchers: Mutex::new(Vec::new()),
            }),
        }
    }

    /// A clock that stands still from the start, at the beginning of a tick.
    #[must_use]
    pub fn stopped() -> Clock {
        let clock = Clock::new();
        *clock.inner.face.lock() = Face::Paused(0);
        clock.inner.touched.store(true, Ordering::Release);
        clock
    }

    /// The present by this clock.
    #[inline]
    #[must_use]
    pub fn now(&self) -> Instant {
        // Acquire: pairs with the Release in `pause`.
        if self.inner.touched.load(Ordering::Acquire) {
            return self.instant(self.shown());
        }
        Instant::now()
    }

    /// Stops the clock at what it shows (rounded up to the next 4 us). Does nothing if it is stopped already.
    pub fn pause(&self) {
        {
            let mut face = self.inner.face.lock();
            // At the beginning of a tick, so that deadlines are met to the nanosecond.
            let shown = face.nanos().min(VIRTUAL_END);
            let shown = shown.next_multiple_of(TICK_NANOS);
            *face = Face::Paused(shown);
            // Release: pairs with the Acquire in `now`, which then takes the lock.
            self.inner.touched.store(true, Ordering::Release);
        }
        self.tell();
    }

    /// Lets the clock run on from what it shows. Does nothing if it is running.
    pub fn resume(&self) {
        {
            let mut face = self.inner.face.lock();
            if let Face::Paused(shown) = *face {
                *face = Face::Running {
                    at: Instant::now(),
                    shown,
                };
            }
        }
        self.tell();
    }

    /// Whether the clock stands still.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        // Acquire: pairs with the Release in `pause`.
        self.inner.touched.load(Ordering::Acquire)
            && matches!(*self.inner.face.lock(), Face::Paused(_))
    }

    /// Moves a paused clock forward. Timers that thereby fall due fire at the next turn of their
    /// driver, which is notified. Advancing saturates 292 years after the clock was made.
    ///
    /// # Errors
    ///
    /// [`NotPaused`] if the clock is running: call [`pause`](Clock::pause) first.
    pub fn advance(&self, by: Duration) -> Result<(), NotPaused> {
        self.advance_untold(by)?;
        self.tell();
        Ok(())
    }

    /// As [`advance`](Clock::advance); who waits by this clock is not told.
    pub(crate) fn advance_untold(&self, by: Duration) -> Result<(), NotPaused> {
        let mut face = self.inner.face.lock();
        let Face::Paused(shown) = *face else {
            return Err(NotPaused(()));
        };
        *face = Face::Paused(shown.saturating_add(nanos(by)).min(VIRTUAL_END));
        Ok(())
    }

    /// Whether an idle driver jumps a paused clock to the next deadline (it does by default).
    pub fn set_auto_advance(&self, on: bool) {
        // Relaxed: a switch that publishes nothing; `tell` makes drivers look again.
        self.inner.auto_advance.store(on, Ordering::Relaxed);
        self.tell();
    }

    /// Jumps a paused clock forward to `tick`, without telling watchers (the caller is one).
    /// False if it was not moved: it is running, may not be moved, or ends before.
    pub(crate) fn jump_to(&self, tick: u64) -> bool {
        // Relaxed: a switch that publishes nothing.
        if !self.inner.auto_advance.load(Ordering::Relaxed) {
            return false;
        }
        let target = nanos_of_tick(tick);
        let mut face = self.inner.face.lock();
        match *face {
            Face::Paused(shown) if target <= VIRTUAL_END => {
                *face = Face::Paused(shown.max(target));
                true
            }
            _ => false,
        }
    }

    /// Nanoseconds from the epoch to the present.
    #[inline]
    pub(crate) fn nanos(&self) -> u64 {
        // Acquire: pairs with the Release in `pause`.
        if self.inner.touched.load(Ordering::Acquire) {
            return self.shown();
        }
        nanos(Instant::now().saturating_duration_since(self.inner.epoch))
    }

    /// The first tick that is not before `deadline`; [`NEVER`] for what cannot be counted.
    #[inline]
    pub(crate) fn tick_of(&self, deadline: Instant) -> u64 {
        let since = nanos(deadline.saturating_duration_since(self.inner.epoch));
        if since == u64::MAX {
            return NEVER;
        }
        since.div_ceil(TICK_NANOS)
    }

    /// The instant at which `tick` begins; `None` for [`NEVER`].
    pub(crate) fn instant_of_tick(&self, tick: u64) -> Option<Instant> {
        (tick != NEVER).then(|| self.instant(nanos_of_tick(tick)))
    }

    /// Has `watcher` told whenever the clock is paused, resumed or advanced.
    pub(crate) fn watch(&self, watcher: Weak<dyn Watcher>) {
        let mut watchers = self.inner.watchers.lock();
        watchers.retain(|w| w.strong_count() > 0);
        watchers.push(watcher);
    }

    fn tell(&self) {
        let watchers: Vec<_> = {
            let watchers = self.inner.watchers.lock();
            watchers.iter().filter_map(Weak::upgrade).collect()
        };
        for watcher in watchers {
            watcher.clock_changed();
        }
    }

    #[cold]
    fn shown(&self) -> u64 {
        self.inner.face.lock().nanos()
    }

    fn instant(&self, nanos: u64) -> Instant {
        let mut since = Duration::from_nanos(nanos);
        loop {
            // Some platforms' instants end before ours do; halving finds one they have.
            match self.inner.epoch.checked_add(since) {
                Some(instant) => return instant,
                None => since /= 2,
            }
        }
    }
}

impl Face {
    fn nanos(self) -> u64 {
        match self {
            Face::Paused(shown) => shown,
            Face::Running { at, shown } => {
                shown.saturating_add(nanos(Instant::now().saturating_duration_since(at)))
            }
        }
    }
}

impl Default for Clock {
    fn default() -> Clock {
        Clock::new()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock")
            .field("now", &self.now())
            .field("paused", &self.is_paused())
            .finish_non_exhaustive()
    }
}

/// The tick that has begun `nanos` after the epoch.
#[inline]
pub(crate) fn tick_of_nanos(nanos: u64) -> u64 {
    nanos / TICK_NANOS
}

/// When `tick` begins, in nanoseconds since the epoch.
#[inline]
pub(crate) fn nanos_of_tick(tick: u64) -> u64 {
    tick.saturating_mul(TICK_NANOS)
}

/// A duration in nanoseconds, saturating.
#[inline]
pub(crate) fn nanos(duration: Duration) -> u64 {
    duration
        .as_secs()
        .saturating_mul(1_000_000_000)
        .saturating_add(u64::from(duration.subsec_nanos()))
}

/// The clock is running, and only a paused one can be advanced: see [`Clock::advance`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotPaused(());

impl fmt::Display for NotPaused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the clock is running: pause it before advancing it")
    }
}

impl std::error::Error for NotPaused {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_paused_clock_moves_only_by_hand_and_runs_on_from_there() {
        let clock = Clock::new();
        assert_eq!(clock.advance(Duration::from_secs(1)), Err(NotPaused(())));
        clock.pause();
        let start = clock.now();
        assert_eq!(clock.now(), start);
        clock.pause();
        clock.advance(Duration::from_secs(10)).unwrap();
        assert_eq!(clock.now(), start + Duration::from_secs(10));
        clock.resume();
        clock.resume();
        let resumed = clock.now();
        assert!(resumed >= start + Duration::from_secs(10));
        assert!(clock.now() >= resumed);
        clock.pause();
        assert!(clock.now() >= resumed);
    }

    #[test]
    fn absurd_durations_saturate() {
        let clock = Clock::new();
        clock.pause();
        clock.advance(Duration::MAX).unwrap();
        let end = clock.now();
        clock.advance(Duration::MAX).unwrap();
        clock.advance(Duration::from_nanos(1)).unwrap();
        assert_eq!(clock.now(), end);
        clock.resume();
        assert!(clock.now() >= end);
        assert!(clock.nanos() >= VIRTUAL_END);
    }

    #[test]
    fn deadlines_round_up_and_the_present_rounds_down() {
        let clock = Clock::new();
        let epoch = clock.inner.epoch;
        let at = |n| clock.tick_of(epoch + Duration::from_nanos(n));
        assert_eq!(at(0), 0);
        assert_eq!(at(1), 1);
        assert_eq!(at(TICK_NANOS), 1);
        assert_eq!(at(TICK_NANOS + 1), 2);
        assert_eq!(tick_of_nanos(TICK_NANOS - 1), 0);
        assert_eq!(tick_of_nanos(TICK_NANOS), 1);
        if let Some(past) = epoch.checked_sub(Duration::from_secs(1)) {
            assert_eq!(clock.tick_of(past), 0);
        }
        if let Some(far) = epoch.checked_add(Duration::from_secs(u64::MAX / 1_000_000_000 + 1)) {
            assert_eq!(clock.tick_of(far), NEVER);
        }
        for nanos in [0, 1, 3999, 4000, 123_456_789, u64::MAX / 2] {
            assert!(nanos_of_tick(tick_of_nanos(nanos)) <= nanos);
        }
        assert_eq!(clock.instant_of_tick(NEVER), None);
        assert_eq!(
            clock.instant_of_tick(1),
            Some(epoch + Duration::from_nanos(4000))
        );
    }

    #[test]
    fn a_jump_never_goes_back() {
        let clock = Clock::new();
        assert!(!clock.jump_to(1 << 30), "a running clock does not jump");
        clock.pause();
        assert!(clock.jump_to(1 << 30));
        let there = clock.nanos();
        assert_eq!(there, (1 << 30) * TICK_NANOS);
        assert!(clock.jump_to(5));
        assert!(!clock.jump_to(NEVER - 1), "beyond the end");
        clock.set_auto_advance(false);
        assert!(!clock.jump_to(1 << 31));
        assert_eq!(clock.nanos(), there);
    }
}
