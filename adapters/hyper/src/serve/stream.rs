//! A connection's stream: bytes that were read ahead, and a limit on writes that do not move.

use super::links::Link;
use heist::time::{self, Sleep};
use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// What every HTTP/2 connection begins with.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A stream that can look at its first bytes without using them up.
pub(super) struct Stream<T> {
    inner: T,
    ahead: Ahead,
    write_timeout: Duration,
    /// Runs while a write waits for the peer to read.
    stalled: Option<Sleep>,
    link: Arc<Link>,
}

/// Bytes that were read, and are still to be given: `bytes[given..read]`.
#[derive(Default)]
struct Ahead {
    bytes: [u8; PREFACE.len()],
    read: usize,
    given: usize,
}

/// What the first bytes of a connection say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Greeting {
    /// HTTP/2's preface.
    Http2,
    /// Something else.
    Other,
    /// The peer has closed, and said nothing.
    Nothing,
}

impl<T: Read + Write + Unpin> Stream<T> {
    pub(super) fn new(inner: T, write_timeout: Duration, link: Arc<Link>) -> Self {
        Self {
            inner,
            ahead: Ahead::default(),
            write_timeout,
            stalled: None,
            link,
        }
    }

    /// Reads until it is clear whether the peer speaks HTTP/2. What was read will be read again.
    pub(super) async fn greeting(&mut self) -> io::Result<Greeting> {
        poll_fn(|cx| {
            loop {
                let seen = &self.ahead.bytes[..self.ahead.read];
                if !PREFACE.starts_with(seen) {
                    return Poll::Ready(Ok(Greeting::Other));
                }
                if seen.len() == PREFACE.len() {
                    return Poll::Ready(Ok(Greeting::Http2));
                }
                let mut room = ReadBuf::new(&mut self.ahead.bytes[self.ahead.read..]);
                ready!(Pin::new(&mut self.inner).poll_read(cx, room.unfilled()))?;
                match room.filled().len() {
                    0 if self.ahead.read == 0 => return Poll::Ready(Ok(Greeting::Nothing)),
                    0 => return Poll::Ready(Ok(Greeting::Other)),
                    n => self.ahead.read += n,
                }
            }
        })
        .await
    }

    /// Lets a write that waits go on waiting until its time is up.
    fn limit(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.link.count_write();
            if self.stalled.is_some() {
                self.stalled = None;
                self.link.set_full(false);
            }
            return written;
        }
        let (timeout, link) = (self.write_timeout, &self.link);
        let stalled = self.stalled.get_or_insert_with(|| {
            link.set_full(true);
            time::sleep(timeout)
        });
        ready!(Pin::new(stalled).poll(cx));
        let error = "the peer has not read for as long as it may";
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, error)))
    }
}

impl<T: Read + Unpin> Read for Stream<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let ahead = &mut self.ahead;
        if ahead.given < ahead.read {
            let left = &ahead.bytes[ahead.given..ahead.read];
            let now = left.len().min(buf.remaining());
            buf.put_slice(&left[..now]);
            ahead.given += now;
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<T: Read + Write + Unpin> Write for Stream<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.limit(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.limit(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
