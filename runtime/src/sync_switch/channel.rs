//! crossbeam's channel, with nothing sent through it: that its sender is dropped is the message, which any number of receivers learn, any number of times. A
//! simulation's threads wait for it too.

use crate::system::{self, Signal};
use crossbeam_channel::{RecvTimeoutError, TryRecvError};
use std::convert::Infallible;
use std::time::Instant;

pub(crate) fn oneway() -> (End, Ended) {
    let (sender, receiver) = crossbeam_channel::bounded(0);
    let signal = Signal::new();
    let end = End {
        sender: Some(sender),
        signal: signal.clone(),
    };
    (end, Ended { receiver, signal })
}

/// Dropping it is the message.
pub(crate) struct End {
    /// `None` only while it is dropped.
    sender: Option<crossbeam_channel::Sender<Infallible>>,
    signal: Signal,
}

/// The receiving end.
pub(crate) struct Ended {
    receiver: crossbeam_channel::Receiver<Infallible>,
    signal: Signal,
}

impl Drop for End {
    fn drop(&mut self) {
        drop(self.sender.take());
        self.signal.notify(true);
    }
}

impl Ended {
    /// Waits for the message until `deadline` at the latest; true if it has come.
    pub(crate) fn wait_until(&self, deadline: Option<Instant>) -> bool {
        let Some(world) = system::here() else {
            return match deadline {
                Some(deadline) => {
                    let received = self.receiver.recv_deadline(deadline);
                    matches!(received, Err(RecvTimeoutError::Disconnected))
                }
                None => self.receiver.recv().is_err(),
            };
        };
        let mut timed_out = false;
        loop {
            match self.receiver.try_recv() {
                Ok(never) => match never {},
                Err(TryRecvError::Disconnected) => return true,
                Err(TryRecvError::Empty) if timed_out => return false,
                Err(TryRecvError::Empty) => timed_out = world.wait(self.signal.key(), deadline),
            }
        }
    }
}
