//! Registered sources: the table that turns a token into a source, and the registration that
//! keeps an entry in it.
//!
//! A token is an index and the generation of the entry. An event that was collected before its
//! source was dropped, and is dispatched after, names a generation that is gone and reaches
//! nobody, whatever the kernel does with the descriptor's number.
#![allow(unsafe_code)]

mod adapter;
mod operation;

use std::sync::Arc;
use std::{fmt, io};

use parking_lot::Mutex;

pub use adapter::Async;
pub use operation::{Ready, TryIo};

use crate::batch::WakeBatch;
use crate::handle::Handle;
use crate::readiness::Source;
use crate::sys::{BorrowedSource, Events, Fd, Selector, Token};

/// Bits of a token that are the index: 32 of 64, or 20 of 32 (a million sources).
const INDEX_BITS: u32 = if usize::BITS >= 64 { 32 } else { 20 };
const INDEX_MASK: usize = (1 << INDEX_BITS) - 1;
/// What is left for the generation, below the top bit, which stays clear. It need only outlast
/// one turn: no event is held for longer.
const GENERATION_MASK: usize = (1 << (usize::BITS - 1 - INDEX_BITS)) - 1;
/// After how many events a dispatch lets others at the table: some microseconds.
const DISPATCH: usize = 64;

/// All sources of a driver.
#[derive(Default)]
pub(crate) struct Sources {
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    entries: Vec<Entry>,
    free: Vec<usize>,
    /// The driver is gone: no source is registered any more.
    closed: bool,
}

struct Entry {
    generation: usize,
    source: Option<Arc<Source>>,
}

impl Sources {
    fn insert(&self, source: Arc<Source>) -> io::Result<Token> {
        let mut table = self.table.lock();
        if table.closed {
            return Err(driver_gone());
        }
        let index = match table.free.pop() {
            Some(index) => index,
            None if table.entries.len() > INDEX_MASK => {
                return Err(io::ErrorKind::OutOfMemory.into());
            }
            None => {
                table.entries.push(Entry {
                    generation: 0,
                    source: None,
                });
                table.entries.len() - 1
            }
        };
        let entry = &mut table.entries[index];
        entry.source = Some(source);
        Ok(Token(entry.generation << INDEX_BITS | index))
    }

    fn remove(&self, token: Token) {
        let removed = {
            let mut table = self.table.lock();
            let index = token.0 & INDEX_MASK;
            let Some(entry) = table.entries.get_mut(index) else {
                return;
            };
            if entry.generation != token.0 >> INDEX_BITS {
                return;
            }
            entry.generation = (entry.generation + 1) & GENERATION_MASK;
            let source = entry.source.take();
            table.free.push(index);
            source
        };
        drop(removed);
    }

    /// Takes in a wait's events and returns how many reached a source.
    pub(crate) fn dispatch(
        &self,
        events: &Events,
        selector: &Selector,
        batch: &mut WakeBatch,
    ) -> usize {
        let mut reached = 0;
        let mut seen = 0_usize;
        let mut table = None;
        events.for_each(|token, bits| {
            if seen.is_multiple_of(DISPATCH) {
                table = None;
            }
            seen += 1;
            let table = table.get_or_insert_with(|| self.table.lock());
            // The lock is held while the source is used: should it be armed again, its descriptor
            // is open, since it leaves the table before it is closed.
            if let Some(source) = table.get(token) {
                reached += 1;
                source.report(bits, selector, token, batch);
            }
        });
        reached
    }

    /// Refuses sources from now on and ends all waiting.
    pub(crate) fn close(&self, batch: &mut WakeBatch) {
        let mut table = self.table.lock();
        table.closed = true;
        for source in table.entries.iter().filter_map(|e| e.source.as_ref()) {
            source.shut(batch);
        }
    }
}

impl Table {
    fn get(&self, token: Token) -> Option<&Source> {
        let entry = self.entries.get(token.0 & INDEX_MASK)?;
        if entry.generation != token.0 >> INDEX_BITS {
            return None;
        }
        entry.source.as_deref()
    }
}

/// What an operation that would have to wait returns when there is nobody to end the wait.
pub(crate) fn driver_gone() -> io::Error {
    io::Error::other("the I/O driver of this source has shut down")
}

/// A source's entry in a driver's table and in the kernel's.
///
/// Invariant: the descriptor is open from `new` until the registration has been dropped.
pub(crate) struct Registration {
    pub(crate) source: Arc<Source>,
    pub(crate) token: Token,
    pub(crate) handle: Handle,
}

impl Registration {
    /// Registers a descriptor. On an error nothing is left behind.
    ///
    /// # Safety
    ///
    /// The descriptor must stay open until the registration has been dropped.
    unsafe fn new(handle: Handle, descriptor: BorrowedSource<'_>) -> io::Result<Registration> {
        // SAFETY: as the caller promises.
        unsafe { Registration::with(handle, descriptor, Selector::add) }
    }

    /// As [`new`](Registration::new), for a source that a simulation reports. Its descriptor only stands for one.
    ///
    /// # Safety
    ///
    /// As for [`new`](Registration::new).
    #[cfg(feature = "sim")]
    unsafe fn simulated(handle: Handle, place: BorrowedSource<'_>) -> io::Result<Registration> {
        // SAFETY: as the caller promises.
        unsafe { Registration::with(handle, place, |selector, _, _| selector.add_simulated()) }
    }

    /// # Safety
    ///
    /// As for [`new`](Registration::new).
    #[inline]
    unsafe fn with(
        handle: Handle,
        descriptor: BorrowedSource<'_>,
        add: impl FnOnce(&Selector, &Fd, Token) -> io::Result<()>,
    ) -> io::Result<Registration> {
        // SAFETY: used by this registration and by dispatches that find the source in the table,
        // where it is no longer than the registration lives.
        let fd = unsafe { Fd::new(descriptor) };
        let source = Arc::new(Source::new(fd));
        let token = handle.sources().insert(Arc::clone(&source))?;
        if let Err(error) = add(handle.selector(), &source.fd, token) {
            handle.sources().remove(token);
            return Err(error);
        }
        Ok(Registration {
            source,
            token,
            handle,
        })
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.handle.sources().remove(self.token);
        // In a forked child the poller is the parent's still: what is taken off here, the parent would
        // never hear of again. Fails if somebody closed the descriptor behind our back: then the
        // kernel has dropped it by itself.
        if !self.handle.is_forked()
            && let Err(error) = self.handle.selector().delete(&self.source.fd)
        {
            tracing::debug!(%error, "a source could not be deregistered");
        }
        let mut batch = WakeBatch::new();
        self.source.take_all(&mut batch);
        batch.wake_all();
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration")
            .field("fd", &self.source.fd)
            .field("token", &self.token)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
