//! What goes wrong on a simulated network, in the system's words.

use std::io;

/// An error that the system has a number for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Aborted,
    Family,
    InUse,
    Invalid,
    NoOption,
    NotAvailable,
    NotConnected,
    Pipe,
    Refused,
    Reset,
    Shortage,
    TimedOut,
    Unreachable,
    WouldBlock,
}

impl From<Fault> for io::Error {
    #[cfg(unix)]
    fn from(fault: Fault) -> Self {
        use rustix::io::Errno;
        let errno = match fault {
            Fault::Aborted => Errno::CONNABORTED,
            Fault::Family => Errno::AFNOSUPPORT,
            Fault::InUse => Errno::ADDRINUSE,
            Fault::Invalid => Errno::INVAL,
            Fault::NoOption => Errno::NOPROTOOPT,
            Fault::NotAvailable => Errno::ADDRNOTAVAIL,
            Fault::NotConnected => Errno::NOTCONN,
            Fault::Pipe => Errno::PIPE,
            Fault::Refused => Errno::CONNREFUSED,
            Fault::Reset => Errno::CONNRESET,
            Fault::Shortage => Errno::MFILE,
            Fault::TimedOut => Errno::TIMEDOUT,
            Fault::Unreachable => Errno::NETUNREACH,
            Fault::WouldBlock => Errno::AGAIN,
        };
        errno.into()
    }

    #[cfg(windows)]
    fn from(fault: Fault) -> Self {
        // Winsock's numbers.
        Self::from_raw_os_error(match fault {
            Fault::Aborted => 10053,
            Fault::Family => 10047,
            Fault::InUse => 10048,
            Fault::Invalid => 10022,
            Fault::NoOption => 10042,
            Fault::NotAvailable => 10049,
            Fault::NotConnected => 10057,
            // Windows has no broken pipes in sockets: a connection that is shut for sending.
            Fault::Pipe => return io::ErrorKind::BrokenPipe.into(),
            Fault::Refused => 10061,
            Fault::Reset => 10054,
            Fault::Shortage => 10024,
            Fault::TimedOut => 10060,
            Fault::Unreachable => 10051,
            Fault::WouldBlock => 10035,
        })
    }
}
