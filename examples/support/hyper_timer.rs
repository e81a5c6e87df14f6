//! hyper's clock: its timeouts run on heist's timers.

use heist::time::{self, Sleep};
use hyper::rt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// What hyper's builders take as their `timer`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeistTimer;

/// hyper wants a type of its own crate's trait around the sleep.
struct HyperSleep(Sleep);

impl rt::Timer for HeistTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn rt::Sleep>> {
        Box::pin(HyperSleep(time::sleep(duration)))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn rt::Sleep>> {
        Box::pin(HyperSleep(time::sleep_until(deadline)))
    }

    fn now(&self) -> Instant {
        time::now()
    }

    fn reset(&self, sleep: &mut Pin<Box<dyn rt::Sleep>>, deadline: Instant) {
        match sleep.as_mut().downcast_mut_pin::<HyperSleep>() {
            Some(mut sleep) => Pin::new(&mut sleep.0).reset(deadline),
            None => *sleep = self.sleep_until(deadline),
        }
    }
}

impl Future for HyperSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx)
    }
}

impl rt::Sleep for HyperSleep {}
