//! crossbeam's channel, on whose receiving end a simulation's threads wait too.

use crate::system::{self, Signal};
use crossbeam_channel::{RecvTimeoutError, TryRecvError};
use std::time::Instant;

/// A channel without bounds.
pub(crate) fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
    with_signal(crossbeam_channel::unbounded())
}

/// A channel that nothing is sent through: dropping the sender is the message.
pub(crate) fn oneway<T>() -> (Sender<T>, Receiver<T>) {
    with_signal(crossbeam_channel::bounded(0))
}

fn with_signal<T>(
    (sender, receiver): (crossbeam_channel::Sender<T>, crossbeam_channel::Receiver<T>),
) -> (Sender<T>, Receiver<T>) {
    let signal = Signal::new();
    let sender = Sender {
        inner: Some(sender),
        signal: signal.clone(),
    };
    let receiver = Receiver {
        inner: receiver,
        signal,
    };
    (sender, receiver)
}

/// The sending end; there is one.
pub(crate) struct Sender<T> {
    /// `None` only while it is dropped.
    inner: Option<crossbeam_channel::Sender<T>>,
    signal: Signal,
}

/// The receiving end.
pub(crate) struct Receiver<T> {
    inner: crossbeam_channel::Receiver<T>,
    signal: Signal,
}

impl<T> Sender<T> {
    /// Sends, or gives it back if nobody can receive it any more.
    pub(crate) fn send(&self, value: T) -> Result<(), T> {
        match &self.inner {
            Some(inner) => inner.send(value).map_err(|unsent| unsent.0)?,
            None => return Err(value),
        }
        self.signal.notify(false);
        Ok(())
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        drop(self.inner.take());
        self.signal.notify(true);
    }
}

impl<T> Receiver<T> {
    /// The next value, waited for until `deadline` at the latest.
    pub(crate) fn recv_until(&self, deadline: Option<Instant>) -> Result<T, RecvTimeoutError> {
        let Some(world) = system::here() else {
            return match deadline {
                Some(deadline) => self.inner.recv_deadline(deadline),
                None => self.inner.recv().map_err(RecvTimeoutError::from),
            };
        };
        loop {
            match self.inner.try_recv() {
                Ok(value) => return Ok(value),
                Err(TryRecvError::Disconnected) => return Err(RecvTimeoutError::Disconnected),
                Err(TryRecvError::Empty) => {
                    if world.wait(self.signal.key(), deadline) {
                        return Err(RecvTimeoutError::Timeout);
                    }
                }
            }
        }
    }

    /// What is there.
    pub(crate) fn try_iter(&self) -> impl Iterator<Item = T> {
        self.inner.try_iter()
    }
}
