//! Where a blocking call goes: to a closure that the runtime supplies, or to a thread of its own.
//!
//! `call` makes a future of one; `write` is one that writes, with the bytes it writes; `traits` spells
//! reading and writing in each trait family's words.

mod call;
mod traits;
mod write;

pub(crate) use call::{Call, offloaded, uninterrupted};
pub(crate) use traits::{copy_to, poll_io_traits};
pub(crate) use write::{MOST, Write};

use std::sync::Arc;
use std::{fmt, io};

/// A blocking call to be made on some other thread.
pub type Job = Box<dyn FnOnce() + Send + 'static>;

/// Takes a blocking call elsewhere. Must not run it on the calling thread.
pub type Offload = Arc<dyn Fn(Job) -> Result<(), Refused> + Send + Sync>;

/// A job was not taken on and will not run; it was dropped.
#[derive(Debug)]
pub struct Refused {
    cause: io::Error,
}

impl Refused {
    /// A refusal for this reason.
    #[must_use]
    pub fn new(cause: io::Error) -> Refused {
        Refused { cause }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no thread for a blocking call: {}", self.cause)
    }
}

impl std::error::Error for Refused {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.cause)
    }
}

impl From<Refused> for io::Error {
    fn from(refused: Refused) -> io::Error {
        io::Error::new(refused.cause.kind(), refused)
    }
}

/// The default: a thread per job.
pub(crate) fn thread_per_job() -> Offload {
    Arc::new(|job| {
        std::thread::Builder::new()
            .name("heist-offload".to_owned())
            .spawn(job)
            .map(drop)
            .map_err(Refused::new)
    })
}
