//! A write under way: it owns a copy of what it writes, and so outlives the future that asked.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::call::{Call, offloaded};

/// How many bytes one call reads or writes at most. The copy is made on the thread of the task, and
/// takes some 20 us for so many; the way to another thread and back is by then a small part.
pub(crate) const MOST: usize = 256 << 10;

/// A write under way.
///
/// Traits cannot say whether a poll goes on with the write of the poll before, or is a new one after
/// that was dropped. The bytes say it: if they are the same, what is under way is what is asked for.
pub(crate) struct Write {
    bytes: Arc<[u8]>,
    call: Call<usize>,
}

impl Write {
    /// Writes the beginning of `buf`; `write` gives how much of it was written.
    pub(crate) fn start(
        buf: &[u8],
        write: impl FnOnce(&[u8]) -> io::Result<usize> + Send + 'static,
    ) -> io::Result<Write> {
        let bytes: Arc<[u8]> = buf[..buf.len().min(MOST)].into();
        let written = bytes.clone();
        let call = offloaded(move || write(&written))?;
        Ok(Write { bytes, call })
    }

    /// Whether this is what a write of `buf` would do.
    pub(crate) fn is_of(&self, buf: &[u8]) -> bool {
        buf.starts_with(&self.bytes)
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.call).poll(cx)
    }
}
