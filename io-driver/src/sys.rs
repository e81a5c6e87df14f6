//! The kernel's poller, chosen when a driver is made.
//!
//! Two selectors speak to the kernel. On Linux [`epoll`] waits by itself: one system call per turn,
//! edge-triggered, nothing to re-arm. Everywhere else, and where asked for, [`portable`] leaves
//! the waiting to `polling`, one event at a time per source. They differ in one thing that the
//! rest of the crate must know: the portable one reports only what it was *armed* for
//! ([`Selector::arm`]). With feature `sim` there is a third, [`simulated`], that speaks to no kernel at all;
//! under Miri it waits on a condition variable.
//!
//! Knows tokens and descriptors, and nothing of wakers.

#[cfg(all(miri, feature = "sim"))]
mod condition;
#[cfg(target_os = "linux")]
mod epoll;
mod fd;
mod portable;
#[cfg(feature = "sim")]
mod simulated;

use std::io;
use std::time::Duration;

pub(crate) use fd::Fd;
#[cfg(feature = "sim")]
pub(crate) use simulated::{no_descriptors, no_simulation};
#[cfg(unix)]
pub(crate) use std::os::fd::{AsFd as AsSource, BorrowedFd as BorrowedSource};
#[cfg(windows)]
pub(crate) use std::os::windows::io::{AsSocket as AsSource, BorrowedSocket as BorrowedSource};

use crate::readiness::Bits;

/// Fails in a simulation: for what nothing stands in for there.
pub(crate) fn real_world() -> io::Result<()> {
    #[cfg(feature = "sim")]
    if crate::sim::here().is_some() {
        return Err(simulated::no_files());
    }
    Ok(())
}

/// How many events one wait takes at most: a thousand connections that are all ready are
/// reported by one system call; 12 KiB.
const EVENTS: usize = 1024;

/// The longest wait asked of the kernel, 20 days: fits the 31 bits of milliseconds that the
/// oldest call takes. A longer wait ends early and finds nothing to do.
const LONGEST_WAIT: Duration = Duration::from_secs(20 * 86_400);

/// Names a registered source to the kernel and back. The top bit is never set, so that no token
/// equals the keys that selectors keep for themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token(pub(crate) usize);

/// Which events a source is armed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Interest {
    pub(crate) read: bool,
    pub(crate) write: bool,
}

/// The side of a poller that all threads share.
pub(crate) enum Selector {
    #[cfg(target_os = "linux")]
    Epoll(epoll::Epoll),
    Portable(portable::Portable),
    #[cfg(feature = "sim")]
    Simulated(simulated::Simulated),
}

/// The side of a poller that the waiting thread owns: where the kernel puts events.
pub(crate) enum Events {
    #[cfg(target_os = "linux")]
    Epoll(epoll::Events),
    Portable(polling::Events),
    #[cfg(feature = "sim")]
    Simulated(simulated::Events),
}

impl Selector {
    #[cfg(all(miri, feature = "sim"))]
    pub(crate) fn new(_portable: bool) -> io::Result<(Selector, Events)> {
        let condition = std::sync::Arc::new(condition::Condition::default());
        Ok(Self::simulated(condition))
    }

    #[cfg(not(all(miri, feature = "sim")))]
    pub(crate) fn new(portable: bool) -> io::Result<(Selector, Events)> {
        #[cfg(target_os = "linux")]
        if !portable {
            let epoll = epoll::Epoll::new()?;
            return Ok((Selector::Epoll(epoll), Events::Epoll(epoll::Events::new())));
        }
        let _ = portable;
        let events = match std::num::NonZeroUsize::new(EVENTS) {
            Some(capacity) => polling::Events::with_capacity(capacity),
            None => polling::Events::new(),
        };
        let portable = portable::Portable::new()?;
        Ok((Selector::Portable(portable), Events::Portable(events)))
    }

    /// One that waits as `kernel` says.
    #[cfg(feature = "sim")]
    pub(crate) fn simulated(kernel: std::sync::Arc<dyn crate::sim::Kernel>) -> (Selector, Events) {
        let simulated = simulated::Simulated::new(kernel);
        (
            Selector::Simulated(simulated),
            Events::Simulated(simulated::Events::default()),
        )
    }

    /// Whether sources must be armed to be reported.
    #[inline]
    pub(crate) fn must_arm(&self) -> bool {
        matches!(self, Selector::Portable(_))
    }

    /// Registers what has no descriptor. Whoever has it reports its events.
    #[cfg(feature = "sim")]
    pub(crate) fn add_simulated(&self) -> io::Result<()> {
        match self {
            Selector::Simulated(_) => Ok(()),
            _ => Err(simulated::no_simulation()),
        }
    }

    /// An event of a source without a descriptor.
    #[cfg(feature = "sim")]
    pub(crate) fn report(&self, token: Token, bits: Bits) {
        if let Selector::Simulated(simulated) = self {
            simulated.report(token, bits);
        }
    }

    pub(crate) fn add(&self, fd: &Fd, token: Token) -> io::Result<()> {
        match self {
            #[cfg(target_os = "linux")]
            Selector::Epoll(epoll) => epoll.add(fd, token),
            Selector::Portable(portable) => portable.add(fd, token),
            #[cfg(feature = "sim")]
            Selector::Simulated(_) => Err(simulated::no_descriptors()),
        }
    }

    /// Asks for one event of this interest, instead of whatever was asked for before. Where
    /// sources need not be armed, nothing to do.
    pub(crate) fn arm(&self, fd: &Fd, token: Token, interest: Interest) -> io::Result<()> {
        match self {
            #[cfg(target_os = "linux")]
            Selector::Epoll(_) => Ok(()),
            Selector::Portable(portable) => portable.arm(fd, token, interest),
            #[cfg(feature = "sim")]
            Selector::Simulated(_) => Ok(()),
        }
    }

    pub(crate) fn delete(&self, fd: &Fd) -> io::Result<()> {
        match self {
            #[cfg(target_os = "linux")]
            Selector::Epoll(epoll) => epoll.delete(fd),
            Selector::Portable(portable) => portable.delete(fd),
            #[cfg(feature = "sim")]
            Selector::Simulated(_) => Ok(()),
        }
    }

    /// Makes the wait in progress, or else the next one, return at once. Whatever the caller wrote
    /// before is seen by the thread that returns. Cannot fail in a way that the caller could do
    /// anything about; a failure is reported as a `tracing` error.
    pub(crate) fn notify(&self) {
        let result = match self {
            #[cfg(target_os = "linux")]
            Selector::Epoll(epoll) => epoll.notify(),
            Selector::Portable(portable) => portable.notify(),
            #[cfg(feature = "sim")]
            Selector::Simulated(simulated) => {
                simulated.notify();
                Ok(())
            }
        };
        if let Err(error) = result {
            tracing::error!(%error, "the driver could not be notified");
        }
    }

    /// Waits for events; true if somebody called [`notify`](Selector::notify). May return early.
    pub(crate) fn wait(&self, events: &mut Events, timeout: Option<Duration>) -> io::Result<bool> {
        let timeout = timeout.map(|timeout| timeout.min(LONGEST_WAIT));
        match (self, events) {
            #[cfg(target_os = "linux")]
            (Selector::Epoll(epoll), Events::Epoll(events)) => epoll.wait(events, timeout),
            (Selector::Portable(portable), Events::Portable(events)) => {
                portable.wait(events, timeout)
            }
            #[cfg(feature = "sim")]
            (Selector::Simulated(simulated), Events::Simulated(events)) => {
                Ok(simulated.wait(events, timeout))
            }
            // Made together, in `new`; only the types do not know it.
            #[cfg(any(target_os = "linux", feature = "sim"))]
            _ => Err(io::ErrorKind::InvalidInput.into()),
        }
    }
}

impl Events {
    /// What the last wait reported, source by source.
    pub(crate) fn for_each(&self, mut event: impl FnMut(Token, Bits)) {
        match self {
            #[cfg(target_os = "linux")]
            Events::Epoll(events) => events.for_each(&mut event),
            Events::Portable(events) => {
                for reported in events.iter() {
                    event(Token(reported.key), portable::bits(&reported));
                }
            }
            #[cfg(feature = "sim")]
            Events::Simulated(events) => events.for_each(&mut event),
        }
    }
}
