//! Linux: our own wait on the poller's epoll descriptor.
//!
//! `polling` makes the epoll instance and takes sources off it. Two things are done here instead:
//!
//! * Waiting. `Poller::wait` makes five system calls (it arms a timer, its notifier, and drains
//!   it); this makes one. Our eventfd is registered edge-triggered and never read: each write is
//!   a new edge, and the counter would take 2^64 writes to fill.
//! * Registering. `polling` does not ask for `EPOLLRDHUP`, without which the end of a stream that
//!   arrives together with its last bytes cannot be told from those bytes: after a short read
//!   readiness could not be cleared without another system call.
//!
//! Sources are registered once, edge-triggered, for both directions.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use polling::Poller;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};
use rustix::io::Errno;

use super::{EVENTS, Fd, Token};
use crate::readiness::Bits;

/// The key of our eventfd. No token has the top bit set; `polling` keeps `usize::MAX`.
const NOTIFY: u64 = u64::MAX - 1;

/// A wait longer than this is made a little shorter, see [`unslacked`].
const SLACK_MATTERS: Duration = Duration::from_secs(1);

pub(crate) struct Epoll {
    poller: Poller,
    eventfd: OwnedFd,
    /// A write to the eventfd has not been seen by the waiting thread yet. Only changed by
    /// read-modify-write.
    notified: AtomicBool,
    /// `epoll_pwait2` is not to be had: a kernel before 5.11, or a filter.
    coarse: AtomicBool,
}

pub(crate) struct Events {
    /// Invariant: the data of each is a number.
    buffer: Vec<epoll::Event>,
    /// How many of `buffer` the last wait filled.
    len: usize,
}

// SAFETY: the type is not `Send` because an event may hold a pointer; ours hold numbers.
unsafe impl Send for Events {}

impl Events {
    pub(crate) fn new() -> Events {
        let none = epoll::Event {
            flags: EventFlags::empty(),
            data: EventData::new_u64(0),
        };
        Events {
            buffer: vec![none; EVENTS],
            len: 0,
        }
    }

    pub(crate) fn for_each(&self, event: &mut impl FnMut(Token, Bits)) {
        for reported in &self.buffer[..self.len] {
            let (flags, key) = (reported.flags, reported.data.u64());
            // Also passes over our own key, and that of `polling`.
            if let Ok(token) = usize::try_from(key)
                && key < NOTIFY
            {
                event(Token(token), bits(flags));
            }
        }
    }
}

impl Epoll {
    pub(crate) fn new() -> io::Result<Epoll> {
        let poller = Poller::new()?;
        let eventfd = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        epoll::add(
            poller.as_fd(),
            &eventfd,
            EventData::new_u64(NOTIFY),
            EventFlags::IN | EventFlags::ET,
        )?;
        Ok(Epoll {
            poller,
            eventfd,
            notified: AtomicBool::new(false),
            coarse: AtomicBool::new(false),
        })
    }

    pub(crate) fn add(&self, fd: &Fd, token: Token) -> io::Result<()> {
        let both = EventFlags::IN | EventFlags::PRI | EventFlags::OUT | EventFlags::RDHUP;
        epoll::add(
            self.poller.as_fd(),
            fd.borrow(),
            EventData::new_u64(token.0 as u64),
            both | EventFlags::ET,
        )?;
        Ok(())
    }

    pub(crate) fn delete(&self, fd: &Fd) -> io::Result<()> {
        self.poller.delete(fd.borrow())
    }

    pub(crate) fn notify(&self) -> io::Result<()> {
        // AcqRel: the Release half pairs with the swap in `wait`, which thereby sees what the
        // caller did before; a caller who finds the flag set is covered by the same swap.
        if self.notified.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        loop {
            match rustix::io::write(&self.eventfd, &1_u64.to_ne_bytes()) {
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                // The counter is full: start over.
                Err(Errno::AGAIN) => {
                    let _ = rustix::io::read(&self.eventfd, &mut [0_u8; 8]);
                }
                Err(error) => {
                    self.notified.swap(false, Ordering::AcqRel);
                    return Err(error.into());
                }
            }
        }
    }

    pub(crate) fn wait(&self, events: &mut Events, timeout: Option<Duration>) -> io::Result<bool> {
        events.len = 0;
        events.len = match self.wait_events(&mut events.buffer, timeout) {
            Ok(len) => len,
            Err(Errno::INTR) => 0,
            Err(error) => return Err(error.into()),
        };
        let filled = &events.buffer[..events.len];
        let told = filled.iter().any(|event| event.data.u64() == NOTIFY);
        // AcqRel: the Acquire half pairs with the swap in `notify`. Only once the edge was seen:
        // otherwise a notification whose edge is still to come would be written twice.
        Ok(told && self.notified.swap(false, Ordering::AcqRel))
    }

    #[inline]
    fn wait_events(
        &self,
        buffer: &mut [epoll::Event],
        timeout: Option<Duration>,
    ) -> rustix::io::Result<usize> {
        let timeout = match timeout {
            None => return epoll::wait(self.poller.as_fd(), buffer, None),
            Some(timeout) => unslacked(timeout),
        };
        // Relaxed: a hint; whoever misses it finds out by itself.
        if !timeout.is_zero() && !self.coarse.load(Ordering::Relaxed) {
            match self.wait_fine(buffer, timeout) {
                Err(Errno::NOSYS | Errno::PERM) => self.coarse.store(true, Ordering::Relaxed),
                result => return result,
            }
        }
        // Rounded up to a millisecond by this call.
        let timeout = Timespec {
            tv_sec: timeout.as_secs() as i64,
            tv_nsec: timeout.subsec_nanos().into(),
        };
        epoll::wait(self.poller.as_fd(), buffer, Some(&timeout))
    }

    /// A wait with a timeout in nanoseconds. Made by hand because rustix calls `epoll_pwait2`
    /// either never or, built for kernels from 5.11 on, always.
    fn wait_fine(
        &self,
        buffer: &mut [epoll::Event],
        timeout: Duration,
    ) -> rustix::io::Result<usize> {
        /// The kernel's `struct __kernel_timespec`: 64 bits each, on every architecture.
        #[repr(C)]
        struct KernelTimespec {
            sec: i64,
            nsec: i64,
        }
        let timeout = KernelTimespec {
            sec: timeout.as_secs() as i64,
            nsec: timeout.subsec_nanos().into(),
        };
        // SAFETY: the descriptor is open; the kernel writes at most `buffer.len()` events, whose
        // layout rustix's type has, reads the timespec, and gets no signal mask.
        let filled = unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait2,
                self.poller.as_fd().as_raw_fd(),
                buffer.as_mut_ptr(),
                buffer.len() as libc::c_int,
                &raw const timeout,
                std::ptr::null::<libc::sigset_t>(),
                0_usize,
            )
        };
        usize::try_from(filled)
            .map_err(|_| Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::INVAL))
    }
}

/// Shortens a long wait so that the kernel's slack, a thousandth of the timeout and at most
/// 100 ms, ends before the deadline does. The rest, waited for by the next turn, is short enough
/// for the slack not to matter: ten seconds become two waits instead of one that is 10 ms late.
fn unslacked(timeout: Duration) -> Duration {
    if timeout < SLACK_MATTERS {
        return timeout;
    }
    timeout - (timeout / 512).min(Duration::from_millis(200))
}

fn bits(flags: EventFlags) -> Bits {
    let mut bits = Bits::NONE;
    if flags.intersects(EventFlags::IN | EventFlags::PRI) {
        bits |= Bits::READABLE;
    }
    if flags.contains(EventFlags::OUT) {
        bits |= Bits::WRITABLE;
    }
    if flags.contains(EventFlags::RDHUP) {
        bits |= Bits::READABLE | Bits::READ_CLOSED;
    }
    if flags.contains(EventFlags::HUP) {
        bits |= Bits::READABLE | Bits::READ_CLOSED | Bits::WRITABLE | Bits::WRITE_CLOSED;
    }
    if flags.contains(EventFlags::ERR) {
        bits |= Bits::READABLE | Bits::WRITABLE | Bits::ERROR;
    }
    bits
}
