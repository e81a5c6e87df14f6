//! The trait families' names for what a [`File`] does.

use std::io::{self, SeekFrom};
use std::pin::Pin;
use std::task::{Context, Poll};

use super::file::File;
use crate::offload::poll_io_traits;

poll_io_traits!(read File);
poll_io_traits!(write File);

impl futures_io::AsyncSeek for File {
    fn poll_seek(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: SeekFrom,
    ) -> Poll<io::Result<u64>> {
        self.poll_seek_to(cx, to)
    }
}

#[cfg(feature = "tokio-io")]
impl tokio::io::AsyncSeek for File {
    fn start_seek(mut self: Pin<&mut Self>, to: SeekFrom) -> io::Result<()> {
        if (*self).start_seek(to)? {
            return Ok(());
        }
        Err(io::Error::other(
            "another operation is under way: call `poll_complete` before `start_seek`",
        ))
    }

    fn poll_complete(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<u64>> {
        self.poll_seek_ended(cx)
    }
}
