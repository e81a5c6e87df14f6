//! Moments by the runtime's clock.

use openraft_rt::Instant;
use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::time::Duration;

/// A moment by the clock of the runtime that asks: a paused clock's, if it is paused.
///
/// # Panics
///
/// Sums and differences panic where those of [`std::time::Instant`] do.
///
/// # Examples
///
/// ```
/// use heist_openraft::HeistInstant;
/// use openraft_rt::Instant;
/// use std::time::Duration;
///
/// # heist::run(async {
/// let begin = HeistInstant::now();
/// heist::sleep(Duration::from_millis(2)).await;
/// assert!(begin.elapsed() >= Duration::from_millis(2));
/// # }).unwrap();
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HeistInstant(std::time::Instant);

impl Instant for HeistInstant {
    fn now() -> Self {
        Self(heist::time::now())
    }
}

impl From<std::time::Instant> for HeistInstant {
    fn from(instant: std::time::Instant) -> Self {
        Self(instant)
    }
}

impl From<HeistInstant> for std::time::Instant {
    fn from(instant: HeistInstant) -> Self {
        instant.0
    }
}

impl Add<Duration> for HeistInstant {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0 + duration)
    }
}

impl AddAssign<Duration> for HeistInstant {
    fn add_assign(&mut self, duration: Duration) {
        self.0 += duration;
    }
}

impl Sub<Duration> for HeistInstant {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        Self(self.0 - duration)
    }
}

impl Sub for HeistInstant {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.0 - earlier.0
    }
}

impl SubAssign<Duration> for HeistInstant {
    fn sub_assign(&mut self, duration: Duration) {
        self.0 -= duration;
    }
}
