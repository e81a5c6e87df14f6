//! A connection's timer.

use heist::time::Sleep;
use quinn::AsyncTimer;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

/// A sleep that is moved with nearly every packet: in its place in the timer wheel, without allocating.
#[derive(Debug)]
pub(crate) struct Timer(Sleep);

impl Timer {
    pub(crate) fn new(deadline: Instant) -> Self {
        Self(heist::sleep_until(deadline))
    }
}

impl AsyncTimer for Timer {
    fn reset(mut self: Pin<&mut Self>, deadline: Instant) {
        Pin::new(&mut self.0).reset(deadline);
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx)
    }
}
