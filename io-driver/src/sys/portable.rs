//! Everywhere: `polling` waits, and reports one event per arming.
//!
//! A source is registered for nothing. It is armed for exactly the directions in which somebody
//! waits; an event disarms it altogether, and the dispatch arms it again for whoever still
//! waits in the other direction, so that neither strands the other.
#![allow(unsafe_code)]

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use polling::{Event, Poller};

use super::{Fd, Interest, Token};
use crate::readiness::Bits;

pub(crate) struct Portable {
    poller: Poller,
    /// `notify` was called and the waiting thread has not seen it yet. Only changed by
    /// read-modify-write.
    notified: AtomicBool,
}

impl Portable {
    pub(crate) fn new() -> io::Result<Portable> {
        Ok(Portable {
            poller: Poller::new()?,
            notified: AtomicBool::new(false),
        })
    }

    pub(crate) fn add(&self, fd: &Fd, token: Token) -> io::Result<()> {
        // SAFETY: a registration deletes its source from the poller before the descriptor is
        // closed, see `Registration`.
        unsafe { self.poller.add(fd.raw(), Event::none(token.0)) }
    }

    pub(crate) fn arm(&self, fd: &Fd, token: Token, interest: Interest) -> io::Result<()> {
        let event = Event::new(token.0, interest.read, interest.write);
        self.poller.modify(fd.borrow(), event)
    }

    pub(crate) fn delete(&self, fd: &Fd) -> io::Result<()> {
        self.poller.delete(fd.borrow())
    }

    pub(crate) fn notify(&self) -> io::Result<()> {
        // AcqRel: the Release half pairs with the swap in `wait`.
        if self.notified.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        self.poller.notify().inspect_err(|_| {
            self.notified.swap(false, Ordering::AcqRel);
        })
    }

    pub(crate) fn wait(
        &self,
        events: &mut polling::Events,
        timeout: Option<Duration>,
    ) -> io::Result<bool> {
        events.clear();
        match self.poller.wait(events, timeout) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        // AcqRel: the Acquire half pairs with the swap in `notify`. Should the flag be taken
        // before `polling` was told, the next wait returns once for nothing.
        Ok(self.notified.swap(false, Ordering::AcqRel))
    }
}

pub(super) fn bits(event: &Event) -> Bits {
    let mut bits = Bits::NONE;
    if event.readable {
        bits |= Bits::READABLE;
    }
    if event.writable {
        bits |= Bits::WRITABLE;
    }
    if event.is_interrupt() {
        bits |= Bits::READABLE | Bits::READ_CLOSED | Bits::WRITABLE | Bits::WRITE_CLOSED;
    }
    if event.is_err() == Some(true) {
        bits |= Bits::READABLE | Bits::WRITABLE | Bits::ERROR;
    }
    bits
}
