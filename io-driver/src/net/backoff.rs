//! What `accept` does about errors that are not the listener's fault.
//!
//! * The *connection* failed while it waited in the queue (reset, network gone): take the next one
//!   at once. Each such error has used up one connection, so this ends.
//! * The *system* is out of something (descriptors, memory): the connection stays in the queue, and
//!   trying again at once would spin. Wait, longer each time up to a cap, and start over after a
//!   success. Rejected: asyncio's fixed second, which makes clients wait after the shortage is
//!   over; and waiting for readiness, which does not change.
//! * Anything else is the listener's: the caller gets it.

use std::io;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// The wait after a first failure: a few connections' worth of work on a busy server, unnoticed by
/// a client.
const FIRST_WAIT: Duration = Duration::from_millis(5);

/// The longest wait: two attempts a second cost nothing, and a client's own time limit is usually
/// longer.
const LONGEST_WAIT: Duration = Duration::from_millis(500);

/// What an error of `accept` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Verdict {
    /// Try the next connection.
    Again,
    /// Try after this time.
    After(Duration),
    /// Report it.
    Fail,
}

/// The listener's memory of its failures.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    /// Shortages since the last success.
    streak: AtomicU32,
    /// Attempts put off, ever.
    deferred: AtomicU64,
    /// Connections that failed in the queue, ever.
    aborted: AtomicU64,
}

// Relaxed throughout: these are counts, and nothing is published by them.
impl Backoff {
    /// Notes a success.
    pub(super) fn accepted(&self) {
        if self.streak.load(Ordering::Relaxed) != 0 {
            self.streak.swap(0, Ordering::Relaxed);
        }
    }

    /// Judges an error, and counts it.
    #[cold]
    pub(super) fn failed(&self, error: &io::Error) -> Verdict {
        match Cause::of(error) {
            Cause::Connection => {
                self.aborted.fetch_add(1, Ordering::Relaxed);
                Verdict::Again
            }
            Cause::Shortage => {
                self.deferred.fetch_add(1, Ordering::Relaxed);
                let earlier = self.streak.fetch_add(1, Ordering::Relaxed);
                let wait = wait_after(earlier);
                if earlier == 0 {
                    tracing::warn!(%error, ?wait, "accepting connections is put off");
                }
                Verdict::After(wait)
            }
            Cause::Interrupt => Verdict::Again,
            Cause::Other => Verdict::Fail,
        }
    }

    pub(super) fn deferred(&self) -> u64 {
        self.deferred.load(Ordering::Relaxed)
    }

    pub(super) fn aborted(&self) -> u64 {
        self.aborted.load(Ordering::Relaxed)
    }
}

/// Doubles from the first wait up to the longest.
fn wait_after(earlier_failures: u32) -> Duration {
    let factor = 1_u32.checked_shl(earlier_failures).unwrap_or(u32::MAX);
    FIRST_WAIT.saturating_mul(factor).min(LONGEST_WAIT)
}

/// Whose fault an error of `accept` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    Connection,
    Shortage,
    Interrupt,
    Other,
}

impl Cause {
    /// Linux's `accept` also reports network errors that a new connection has met already; its
    /// manual asks to treat them like a connection that is not there.
    #[cfg(unix)]
    fn of(error: &io::Error) -> Cause {
        use rustix::io::Errno;
        match error.raw_os_error().map(Errno::from_raw_os_error) {
            // NOSPC: the driver may watch no more. PERM, of Linux: a firewall's rules forbid the connection, before or after it was taken, so that it
            // need not have been used up.
            Some(
                Errno::MFILE
                | Errno::NFILE
                | Errno::NOBUFS
                | Errno::NOMEM
                | Errno::NOSPC
                | Errno::PERM,
            ) => Cause::Shortage,
            Some(
                Errno::CONNABORTED
                | Errno::CONNRESET
                | Errno::PROTO
                | Errno::NOPROTOOPT
                | Errno::NETDOWN
                | Errno::NETUNREACH
                | Errno::HOSTDOWN
                | Errno::HOSTUNREACH,
            ) => Cause::Connection,
            // A Linux name for "machine is not on the network".
            #[cfg(target_os = "linux")]
            Some(Errno::NONET) => Cause::Connection,
            Some(Errno::INTR) => Cause::Interrupt,
            Some(_) => Cause::Other,
            None => Cause::of_kind(error),
        }
    }

    #[cfg(windows)]
    fn of(error: &io::Error) -> Cause {
        const WSAEMFILE: i32 = 10024;
        const WSAENETDOWN: i32 = 10050;
        const WSAENOBUFS: i32 = 10055;
        match error.raw_os_error() {
            Some(WSAEMFILE | WSAENOBUFS) => Cause::Shortage,
            Some(WSAENETDOWN) => Cause::Connection,
            _ => Cause::of_kind(error),
        }
    }

    fn of_kind(error: &io::Error) -> Cause {
        match error.kind() {
            io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset => Cause::Connection,
            io::ErrorKind::OutOfMemory => Cause::Shortage,
            io::ErrorKind::Interrupted => Cause::Interrupt,
            _ => Cause::Other,
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use rustix::io::Errno;

    use super::*;

    fn failed(backoff: &Backoff, errno: Errno) -> Verdict {
        backoff.failed(&errno.into())
    }

    #[test]
    fn waits_double_up_to_the_cap_and_start_over_after_a_success() {
        let backoff = Backoff::default();
        let mut waits = Vec::new();
        for _ in 0..10 {
            match failed(&backoff, Errno::MFILE) {
                Verdict::After(wait) => waits.push(wait.as_millis()),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 320, 500, 500, 500]);
        backoff.accepted();
        assert_eq!(failed(&backoff, Errno::NOMEM), Verdict::After(FIRST_WAIT));
        assert_eq!(backoff.deferred(), 11);
    }

    #[test]
    fn no_number_of_failures_overflows_the_wait() {
        for failures in [31, 32, 33, u32::MAX] {
            assert_eq!(wait_after(failures), LONGEST_WAIT);
        }
    }

    #[test]
    fn what_will_pass_is_waited_for() {
        for errno in [Errno::NFILE, Errno::NOBUFS, Errno::NOSPC, Errno::PERM] {
            let backoff = Backoff::default();
            assert_eq!(failed(&backoff, errno), Verdict::After(FIRST_WAIT));
        }
    }

    #[test]
    fn a_connection_that_failed_is_skipped() {
        let backoff = Backoff::default();
        for errno in [
            Errno::CONNABORTED,
            Errno::PROTO,
            Errno::INTR,
            Errno::HOSTUNREACH,
        ] {
            assert_eq!(failed(&backoff, errno), Verdict::Again);
        }
        assert_eq!(backoff.aborted(), 3);
        assert_eq!(backoff.deferred(), 0);
    }

    #[test]
    fn the_listeners_own_errors_are_reported() {
        let backoff = Backoff::default();
        for errno in [Errno::BADF, Errno::INVAL, Errno::NOTSOCK, Errno::OPNOTSUPP] {
            assert_eq!(failed(&backoff, errno), Verdict::Fail);
        }
    }
}
