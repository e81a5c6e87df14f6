//! A descriptor held by number, and the one place that turns the number back into a descriptor.
#![allow(unsafe_code)]

#[cfg(unix)]
use std::os::fd::{AsRawFd, RawFd as Raw};
#[cfg(windows)]
use std::os::windows::io::{AsRawSocket, RawSocket as Raw};

use super::BorrowedSource;

/// The number of an open descriptor.
///
/// Invariant: open whenever [`borrow`](Fd::borrow) is called. Whoever makes one guarantees it.
#[derive(Debug)]
pub(crate) struct Fd {
    raw: Raw,
}

impl Fd {
    /// # Safety
    ///
    /// The descriptor must be open at every later call of [`borrow`](Fd::borrow).
    pub(crate) unsafe fn new(source: BorrowedSource<'_>) -> Fd {
        Fd {
            #[cfg(unix)]
            raw: source.as_raw_fd(),
            #[cfg(windows)]
            raw: source.as_raw_socket(),
        }
    }

    /// One whose descriptor the test keeps open.
    #[cfg(test)]
    pub(crate) fn for_test(source: BorrowedSource<'_>) -> Fd {
        // SAFETY: each test keeps the descriptor open beside it.
        unsafe { Fd::new(source) }
    }

    /// The number itself.
    pub(crate) fn raw(&self) -> Raw {
        self.raw
    }

    pub(crate) fn borrow(&self) -> BorrowedSource<'_> {
        // SAFETY: open, by the invariant, and not -1, since it came from a borrowed descriptor.
        unsafe { BorrowedSource::borrow_raw(self.raw) }
    }
}
