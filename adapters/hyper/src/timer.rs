//! hyper's clock: its timeouts run on heist's timers.

use heist::time::{self, Sleep};
use hyper::rt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// hyper's clock: what its builders take as their timer.
///
/// Its time is [`heist::time::now`], which stands still in tests that pause the clock. Timers have a resolution of 4,000 ns and are never
/// early. [`reset`](rt::Timer::reset) moves a [`HeistSleep`] in place, without allocation.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "http1")] {
/// use heist_hyper::HeistTimer;
/// use std::time::Duration;
///
/// let mut builder = hyper::server::conn::http1::Builder::new();
/// builder.timer(HeistTimer).header_read_timeout(Duration::from_secs(10));
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct HeistTimer;

/// A sleep of [`HeistTimer`]: heist's, under a type that hyper's trait can be implemented for.
///
/// # Examples
///
/// ```
/// use heist_hyper::{HeistSleep, HeistTimer};
/// use hyper::rt::Timer;
/// use std::time::Duration;
///
/// let mut sleep = HeistTimer.sleep(Duration::from_secs(60));
/// let place = std::ptr::from_ref(&*sleep).cast::<()>();
/// let at = HeistTimer.now() + Duration::from_secs(3);
/// HeistTimer.reset(&mut sleep, at);
///
/// assert_eq!(place, std::ptr::from_ref(&*sleep).cast::<()>());
/// let sleep = sleep.as_mut().downcast_mut_pin::<HeistSleep>().unwrap();
/// assert_eq!(sleep.deadline(), Some(at));
/// ```
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct HeistSleep(Sleep);

impl HeistSleep {
    /// When the sleep ends; `None` if never.
    pub fn deadline(&self) -> Option<Instant> {
        self.0.deadline()
    }

    fn boxed(sleep: Sleep) -> Pin<Box<dyn rt::Sleep>> {
        Box::pin(Self(sleep))
    }
}

impl rt::Timer for HeistTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn rt::Sleep>> {
        HeistSleep::boxed(time::sleep(duration))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn rt::Sleep>> {
        HeistSleep::boxed(time::sleep_until(deadline))
    }

    fn now(&self) -> Instant {
        time::now()
    }

    fn reset(&self, sleep: &mut Pin<Box<dyn rt::Sleep>>, deadline: Instant) {
        match sleep.as_mut().downcast_mut_pin::<HeistSleep>() {
            Some(mut sleep) => Pin::new(&mut sleep.0).reset(deadline),
            // Somebody else's.
            None => *sleep = self.sleep_until(deadline),
        }
    }
}

impl Future for HeistSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx)
    }
}

impl rt::Sleep for HeistSleep {}
