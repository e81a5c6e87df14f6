//! Who is at the other end of a Unix stream.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// The process at the other end of a [`UnixStream`](super::UnixStream), as it was when the
/// connection was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UCred {
    uid: u32,
    gid: u32,
    pid: Option<i32>,
}

impl UCred {
    /// Its effective user.
    #[must_use]
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// Its effective group.
    #[must_use]
    pub fn gid(&self) -> u32 {
        self.gid
    }

    /// Its process id. `None` where the system does not say (only Linux does), or if the process
    /// is outside of this one's PID namespace.
    #[must_use]
    pub fn pid(&self) -> Option<i32> {
        self.pid
    }

    /// `rustix` has this call, but with a process id that must not be 0, which it may be.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(super) fn of_peer(socket: BorrowedFd<'_>) -> io::Result<UCred> {
        let mut cred = libc::ucred {
            pid: 0,
            uid: u32::MAX,
            gid: u32::MAX,
        };
        let mut len = size_of::<libc::ucred>() as libc::socklen_t;
        // SAFETY: the descriptor is open, and the system writes at most `len` bytes to `cred`,
        // which has so many; any bytes are a `ucred`.
        let result = unsafe {
            libc::getsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERCRED,
                (&raw mut cred).cast(),
                &raw mut len,
            )
        };
        match result {
            0 => Ok(UCred {
                uid: cred.uid,
                gid: cred.gid,
                pid: (cred.pid != 0).then_some(cred.pid),
            }),
            _ => Err(io::Error::last_os_error()),
        }
    }

    #[cfg(any(
        target_vendor = "apple",
        target_os = "dragonfly",
        target_os = "freebsd",
        target_os = "netbsd",
        target_os = "openbsd",
    ))]
    pub(super) fn of_peer(socket: BorrowedFd<'_>) -> io::Result<UCred> {
        let (mut uid, mut gid) = (libc::uid_t::MAX, libc::gid_t::MAX);
        // SAFETY: the descriptor is open, and the two places are written to alone.
        match unsafe { libc::getpeereid(socket.as_raw_fd(), &raw mut uid, &raw mut gid) } {
            0 => Ok(UCred {
                uid,
                gid,
                pid: None,
            }),
            _ => Err(io::Error::last_os_error()),
        }
    }

    #[cfg(not(any(
        target_vendor = "apple",
        target_os = "android",
        target_os = "dragonfly",
        target_os = "freebsd",
        target_os = "linux",
        target_os = "netbsd",
        target_os = "openbsd",
    )))]
    pub(super) fn of_peer(_: BorrowedFd<'_>) -> io::Result<UCred> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
