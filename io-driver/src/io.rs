//! Copying from one stream to another: [`copy`], and both ways at once: [`copy_bidirectional`].
//!
//! Over futures-io's traits, so that TLS streams, compressors and files of other crates will do as
//! well as sockets.

use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncRead, AsyncWrite};

use crate::leaf;

/// How many bytes are on the way in one direction, unless told otherwise: what a proxy of ten
/// thousand connections can afford twice each, in 160 MB, and enough that a system call is a
/// small part of the cost of a byte.
const BUFFER: usize = 8 * 1024;

/// Copies everything from `reader` to `writer`, until the reader's end, and flushes. Returns how
/// many bytes. The writer stays open.
///
/// Whenever the reader has nothing for the moment, the writer is flushed: what has been read does
/// not wait in somebody's buffer for more.
///
/// # Errors
///
/// The reader's or the writer's; `WriteZero` if the writer takes nothing any more. What was read
/// before the reader failed is written first. [`CopyError::of`] tells how many bytes were.
///
/// # Cancel safety
///
/// Not safe: up to 8 KiB that were read and not yet written are lost when the future is dropped.
///
/// # Examples
///
/// ```
/// use heist_io_driver::{io, net::TcpStream};
///
/// async fn echo(stream: TcpStream) -> std::io::Result<u64> {
///     let (mut reader, mut writer) = stream.into_split();
///     io::copy(&mut reader, &mut writer).await
/// }
/// # futures_lite::future::block_on(async {
/// # let mut written = Vec::new();
/// # assert_eq!(io::copy(&mut &b"hello"[..], &mut written).await.unwrap(), 5);
/// # assert_eq!(written, b"hello");
/// # });
/// ```
#[doc(alias = "sendfile")]
pub async fn copy<R, W>(reader: &mut R, writer: &mut W) -> io::Result<u64>
where
    R: AsyncRead + Unpin + ?Sized,
    W: AsyncWrite + Unpin + ?Sized,
{
    let mut pump = Pump::new(BUFFER, false);
    match poll_fn(|cx| poll_turns(cx, |cx| pump.turn(cx, reader, writer))).await {
        Ok(()) => Ok(pump.written),
        Err(error) => Err(CopyError::wrap(error, pump.written, 0)),
    }
}

/// Copies in both directions at once, until both have ended: a proxy. Returns how many bytes went
/// from `a` to `b`, and how many from `b` to `a`.
///
/// When one of the streams ends, the other one is closed for writing (`poll_close`, which ends the
/// writing direction of a socket), and the other direction goes on. It may go on for ever: a peer
/// that has no more to say need not close. Put a [`timeout`](https://docs.rs/heist/latest/heist/fn.timeout.html)
/// round it where that must not be.
///
/// # Errors
///
/// Those of [`copy`], and of closing. The first error ends both directions; [`CopyError::of`] tells
/// how many bytes had been written in each.
///
/// # Cancel safety
///
/// Not safe: up to 8 KiB in each direction that were read and not yet written are lost when the
/// future is dropped. The streams themselves stay open.
///
/// # Examples
///
/// ```
/// use heist_io_driver::{io, net::{TcpListener, TcpStream}};
///
/// async fn proxy(listener: TcpListener, to: &str) -> std::io::Result<()> {
///     loop {
///         let (mut client, _) = listener.accept().await?;
///         let mut server = TcpStream::connect(to).await?;
///         // In a task of its own, unless one connection at a time is enough.
///         let (up, down) = io::copy_bidirectional(&mut client, &mut server).await?;
///         println!("{up} bytes up, {down} bytes down");
///     }
/// }
/// ```
pub async fn copy_bidirectional<A, B>(a: &mut A, b: &mut B) -> io::Result<(u64, u64)>
where
    A: AsyncRead + AsyncWrite + Unpin + ?Sized,
    B: AsyncRead + AsyncWrite + Unpin + ?Sized,
{
    copy_bidirectional_with_sizes(a, b, BUFFER, BUFFER).await
}

/// As [`copy_bidirectional`], with buffers of the given sizes, in bytes (at least one each).
///
/// # Errors
///
/// Those of [`copy_bidirectional`].
///
/// # Cancel safety
///
/// As that of [`copy_bidirectional`].
pub async fn copy_bidirectional_with_sizes<A, B>(
    a: &mut A,
    b: &mut B,
    a_to_b_size: usize,
    b_to_a_size: usize,
) -> io::Result<(u64, u64)>
where
    A: AsyncRead + AsyncWrite + Unpin + ?Sized,
    B: AsyncRead + AsyncWrite + Unpin + ?Sized,
{
    let mut there = Pump::new(a_to_b_size, true);
    let mut back = Pump::new(b_to_a_size, true);
    // Turn by turn: a direction that always has something to do keeps the other one from nothing.
    let both = poll_fn(|cx| {
        poll_turns(cx, |cx| {
            let there = there.turn(cx, a, b)?;
            Ok(there.and(back.turn(cx, b, a)?))
        })
    });
    match both.await {
        Ok(()) => Ok((there.written, back.written)),
        Err(error) => Err(CopyError::wrap(error, there.written, back.written)),
    }
}

/// Takes turns until one moves nothing.
fn poll_turns(
    cx: &mut Context<'_>,
    mut turn: impl FnMut(&mut Context<'_>) -> io::Result<Turn>,
) -> Poll<io::Result<()>> {
    loop {
        // Streams that never wait (memory, what decompresses it) would keep the thread.
        ready!(leaf::poll_budget(cx));
        match turn(cx)? {
            Turn::Moved => leaf::spend(),
            Turn::Waits => return Poll::Pending,
            Turn::Done => return Poll::Ready(Ok(())),
        }
    }
}

/// What a turn has come to.
#[must_use]
enum Turn {
    /// Something was read: the next turn may have something to do.
    Moved,
    /// A stream wakes the task when there is something to do.
    Waits,
    Done,
}

impl Turn {
    fn and(self, other: Turn) -> Turn {
        match (self, other) {
            (Turn::Moved, _) | (_, Turn::Moved) => Turn::Moved,
            (Turn::Done, Turn::Done) => Turn::Done,
            (Turn::Waits, _) | (_, Turn::Waits) => Turn::Waits,
        }
    }
}

/// One direction: the bytes on their way, and how far it is.
struct Pump {
    buffer: Box<[u8]>,
    /// Read and not yet written. `0..0` when there is nothing.
    pending: Range<usize>,
    written: u64,
    /// The reader has ended, or failed: reported when all that was read is written.
    ended: Option<io::Result<()>>,
    /// Something was written since the last flush.
    unflushed: bool,
    /// The writer is to be closed after the reader's end.
    closes: bool,
}

impl Pump {
    fn new(size: usize, closes: bool) -> Pump {
        Pump {
            buffer: vec![0; size.max(1)].into_boxed_slice(),
            pending: 0..0,
            written: 0,
            ended: None,
            unflushed: false,
            closes,
        }
    }

    /// Writes what was read, and reads more. After `Done` it is done again.
    fn turn<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut R,
        writer: &mut W,
    ) -> io::Result<Turn>
    where
        R: AsyncRead + Unpin + ?Sized,
        W: AsyncWrite + Unpin + ?Sized,
    {
        let drained = self.poll_drain(cx, writer)?;
        // While the writer waits, what fits into the buffer is read nevertheless.
        if self.poll_fill(cx, reader).is_ready() {
            return Ok(Turn::Moved);
        }
        if drained.is_pending() || self.poll_settle(cx, writer)?.is_pending() {
            return Ok(Turn::Waits);
        }
        Ok(Turn::Done)
    }

    /// Writes what is pending. Ready if all of it is written.
    fn poll_drain<W>(&mut self, cx: &mut Context<'_>, writer: &mut W) -> io::Result<Poll<()>>
    where
        W: AsyncWrite + Unpin + ?Sized,
    {
        while !self.pending.is_empty() {
            let bytes = &self.buffer[self.pending.clone()];
            match Pin::new(&mut *writer).poll_write(cx, bytes)? {
                Poll::Ready(0) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(n) => {
                    self.pending.start += n;
                    self.written += n as u64;
                    self.unflushed = true;
                }
                Poll::Pending => return Ok(Poll::Pending),
            }
        }
        self.pending = 0..0;
        Ok(Poll::Ready(()))
    }

    /// Reads what fits behind what is pending. Ready if there was something, or the end.
    fn poll_fill<R>(&mut self, cx: &mut Context<'_>, reader: &mut R) -> Poll<()>
    where
        R: AsyncRead + Unpin + ?Sized,
    {
        let room = &mut self.buffer[self.pending.end..];
        if self.ended.is_some() || room.is_empty() {
            return Poll::Pending;
        }
        match ready!(Pin::new(reader).poll_read(cx, room)) {
            Ok(0) => self.ended = Some(Ok(())),
            Ok(n) => self.pending.end += n,
            Err(error) => self.ended = Some(Err(error)),
        }
        Poll::Ready(())
    }

    /// With everything written and nothing to read: flushes, and ends after the reader's end.
    fn poll_settle<W>(&mut self, cx: &mut Context<'_>, writer: &mut W) -> io::Result<Poll<()>>
    where
        W: AsyncWrite + Unpin + ?Sized,
    {
        if self.unflushed {
            if Pin::new(&mut *writer).poll_flush(cx)?.is_pending() {
                return Ok(Poll::Pending);
            }
            self.unflushed = false;
        }
        match &mut self.ended {
            None => return Ok(Poll::Pending),
            Some(end) => std::mem::replace(end, Ok(()))?,
        }
        if self.closes {
            if Pin::new(writer).poll_close(cx)?.is_pending() {
                return Ok(Poll::Pending);
            }
            self.closes = false;
        }
        Ok(Poll::Ready(()))
    }
}

/// Why a copy has failed, and how far it had come. The [`io::Error`] that a copy returns has the
/// kind of what went wrong, and this inside: [`CopyError::of`] finds it.
///
/// # Examples
///
/// ```
/// use heist_io_driver::io::{self, CopyError};
/// use heist_io_driver::net::TcpStream;
///
/// async fn proxy(mut client: TcpStream, mut server: TcpStream) {
///     if let Err(error) = io::copy_bidirectional(&mut client, &mut server).await {
///         let (up, down) = CopyError::of(&error).map_or((0, 0), CopyError::copied);
///         eprintln!("{error}: {up} bytes up, {down} bytes down");
///     }
/// }
/// ```
#[derive(Debug)]
pub struct CopyError {
    error: io::Error,
    there: u64,
    back: u64,
}

impl CopyError {
    /// What a failed copy's error says beyond its kind. `None` if it is of something else.
    ///
    /// # Examples
    ///
    /// ```
    /// use heist_io_driver::io::{self, CopyError};
    ///
    /// # futures_lite::future::block_on(async {
    /// let mut room = [0; 3];
    /// let mut writer = futures_lite::io::Cursor::new(&mut room[..]);
    /// let error = io::copy(&mut &b"hello"[..], &mut writer).await.unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::WriteZero);
    /// assert_eq!(CopyError::of(&error).unwrap().copied(), (3, 0));
    /// # });
    /// ```
    #[must_use]
    pub fn of(error: &io::Error) -> Option<&CopyError> {
        error.get_ref()?.downcast_ref()
    }

    /// How many bytes had been written: from `a` to `b` (from the reader to the writer), and from
    /// `b` to `a`. All of them were taken by the writers; whether they have arrived, nobody knows.
    #[must_use]
    pub fn copied(&self) -> (u64, u64) {
        (self.there, self.back)
    }

    /// The stream's own error, with the system's number if it has one.
    #[must_use]
    pub fn error(&self) -> &io::Error {
        &self.error
    }

    #[cold]
    fn wrap(error: io::Error, there: u64, back: u64) -> io::Error {
        io::Error::new(error.kind(), CopyError { error, there, back })
    }
}

impl fmt::Display for CopyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl Error for CopyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}
