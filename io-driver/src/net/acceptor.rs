//! A listener's `accept` that outlives shortages, for every kind of listener.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use parking_lot::Mutex;

use super::backoff::{Backoff, Verdict};
use crate::source::Async;
use crate::sys::AsSource;
use crate::time::{Sleep, sleep};

/// A listener, as the kernel has it.
pub(super) trait Queue: AsSource {
    /// What the system call takes from the queue.
    type Taken;
    /// What the caller gets.
    type Connection;

    /// Takes a connection, non-blocking.
    fn take(&self) -> io::Result<Self::Taken>;

    /// Registers what was taken.
    fn admit(taken: Self::Taken) -> io::Result<Self::Connection>;
}

/// A listener that any number of tasks accept from.
pub(super) struct Acceptor<L: Queue> {
    io: Async<L>,
    backoff: Backoff,
    /// What `poll_accept` waits for after a shortage.
    deferral: Mutex<Option<Pin<Box<Sleep>>>>,
}

impl<L: Queue> Acceptor<L> {
    pub(super) fn new(io: Async<L>) -> Acceptor<L> {
        Acceptor {
            io,
            backoff: Backoff::default(),
            deferral: Mutex::new(None),
        }
    }

    pub(super) fn get_ref(&self) -> &L {
        self.io.get_ref()
    }

    pub(super) fn into_inner(self) -> io::Result<L> {
        self.io.into_inner()
    }

    pub(super) async fn accept(&self) -> io::Result<L::Connection> {
        loop {
            match self.judge(self.io.read_with(L::take).await) {
                Ok(connection) => return Ok(connection),
                Err((_, Verdict::Again)) => {}
                Err((_, Verdict::After(wait))) => sleep(wait).await,
                Err((error, Verdict::Fail)) => return Err(error),
            }
        }
    }

    pub(super) fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<L::Connection>> {
        loop {
            ready!(self.poll_deferral(cx));
            let taken = ready!(self.io.poll_read_with(cx, L::take));
            match self.judge(taken) {
                Ok(connection) => return Poll::Ready(Ok(connection)),
                Err((_, Verdict::Again)) => {}
                Err((_, Verdict::After(wait))) => self.defer(wait),
                Err((error, Verdict::Fail)) => return Poll::Ready(Err(error)),
            }
        }
    }

    #[cold]
    fn defer(&self, wait: Duration) {
        let nap = Box::pin(sleep(wait));
        let old = self.deferral.lock().replace(nap);
        drop(old);
    }

    /// The sleep is polled outside of the lock: it clones a waker, which is foreign code.
    fn poll_deferral(&self, cx: &mut Context<'_>) -> Poll<()> {
        let deferral = self.deferral.lock().take();
        if let Some(mut nap) = deferral
            && nap.as_mut().poll(cx).is_pending()
        {
            let old = self.deferral.lock().replace(nap);
            drop(old);
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    /// Registers what was accepted, and says what to do about an error.
    fn judge(&self, taken: io::Result<L::Taken>) -> Result<L::Connection, (io::Error, Verdict)> {
        match taken.and_then(L::admit) {
            Ok(connection) => {
                self.backoff.accepted();
                Ok(connection)
            }
            Err(error) => {
                let verdict = self.backoff.failed(&error);
                Err((error, verdict))
            }
        }
    }

    pub(super) fn stats(&self) -> AcceptStats {
        AcceptStats {
            deferred: self.backoff.deferred(),
            aborted: self.backoff.aborted(),
        }
    }
}

/// What a listener's `accept` has endured. Both numbers only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AcceptStats {
    /// Attempts put off for want of descriptors or memory. Each was tried again later.
    pub deferred: u64,
    /// Connections that failed before they could be accepted.
    pub aborted: u64,
}
