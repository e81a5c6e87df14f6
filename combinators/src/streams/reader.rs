//! A buffer before anything that can be read.

use futures_io::AsyncRead;
use heist_io_driver::net::OwnedReadHalf;
use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// How long a line may be unless told otherwise, in bytes: asyncio's default.
const LIMIT: usize = 64 * 1024;
/// The least that is asked for in one read.
const CHUNK: usize = 8 * 1024;

/// Reads lines, records and exact amounts from anything that can be read. asyncio's `StreamReader`.
///
/// What has been read and not been asked for stays in its buffer. It reads only when it is asked to, so that a peer that sends more than is wanted waits: there is
/// no more in the buffer than the longest record that was asked for, and a chunk of 8 KiB.
///
/// # Cancel safety
///
/// Every method may be dropped, or cancelled, at its await: not a byte is lost, and the next call finds what had come.
///
/// # Examples
///
/// ```
/// use heist_combinators::streams::StreamReader;
///
/// # heist_runtime::run(async {
/// let mut reader = StreamReader::new(&b"name: value\n\0\x04data"[..]);
/// assert_eq!(reader.read_until(b": ").await.unwrap(), b"name: ");
/// assert_eq!(reader.readline().await.unwrap(), b"value\n");
/// assert_eq!(reader.read_exactly(2).await.unwrap(), b"\0\x04");
/// assert_eq!(reader.read_to_end().await.unwrap(), b"data");
/// assert!(reader.at_eof());
/// # }).unwrap();
/// ```
pub struct StreamReader<R = OwnedReadHalf> {
    source: R,
    /// Initialised throughout; what has come and not been taken is `start..end`.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    limit: usize,
    /// The source has nothing more.
    ended: bool,
}

impl<R> StreamReader<R> {
    /// A reader with asyncio's limit of 64 KiB.
    pub fn new(source: R) -> Self {
        Self::with_limit(LIMIT, source)
    }

    /// A reader whose [`read_until`](Self::read_until) and [`readline`](Self::readline) give up where there is no separator within so many bytes.
    pub fn with_limit(limit: usize, source: R) -> Self {
        Self {
            source,
            buffer: Vec::new(),
            start: 0,
            end: 0,
            limit,
            ended: false,
        }
    }

    /// Whether the stream has ended, and all of it has been taken. asyncio's `at_eof`.
    pub fn at_eof(&self) -> bool {
        self.ended && self.buffered().is_empty()
    }

    /// What has come and has not been taken yet.
    pub fn buffered(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// What it reads from. For a TCP connection, `get_ref().as_ref()` is the stream, with its addresses and options. asyncio's `get_extra_info`.
    #[doc(alias = "get_extra_info")]
    pub fn get_ref(&self) -> &R {
        &self.source
    }

    /// Takes the first `n` bytes of the buffer.
    fn take(&mut self, n: usize) -> Vec<u8> {
        let taken = self.buffered()[..n].to_vec();
        self.consume(n);
        taken
    }

    fn consume(&mut self, n: usize) {
        self.start += n;
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            // One long record does not keep its memory for ever.
            if self.buffer.len() > LIMIT.max(self.limit) {
                self.buffer = Vec::new();
            }
        }
    }

    /// Room for a read, behind what is there.
    fn make_room(&mut self) {
        if self.buffer.len() - self.end >= CHUNK / 2 {
            return;
        }
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.buffer.len() - self.end < CHUNK / 2 {
            let length = (self.buffer.len() * 2).max(CHUNK);
            self.buffer.resize(length, 0);
        }
    }
}

impl<R: AsyncRead + Unpin> StreamReader<R> {
    /// Reads once. False: the stream has ended.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if self.ended {
            return Poll::Ready(Ok(false));
        }
        self.make_room();
        let room = &mut self.buffer[self.end..];
        let length = room.len();
        let read = ready!(Pin::new(&mut self.source).poll_read(cx, room))?;
        if read > length {
            let lie = "a reader says that it has read more than there was room for";
            return Poll::Ready(Err(io::Error::other(lie)));
        }
        self.end += read;
        self.ended = read == 0;
        Poll::Ready(Ok(read > 0))
    }

    async fn fill(&mut self) -> io::Result<bool> {
        poll_fn(|cx| self.poll_fill(cx)).await
    }

    /// Up to `n` bytes, as soon as there are some; none if the stream has ended, or if `n` is zero. asyncio's `read(n)`.
    ///
    /// # Errors
    ///
    /// The source's.
    pub async fn read(&mut self, n: usize) -> io::Result<Vec<u8>> {
        if n > 0 && self.buffered().is_empty() {
            self.fill().await?;
        }
        Ok(self.take(n.min(self.buffered().len())))
    }

    /// All that comes until the stream ends. asyncio's `read()`.
    ///
    /// However much it is: this has no limit.
    ///
    /// # Errors
    ///
    /// The source's. What came before stays in the buffer.
    pub async fn read_to_end(&mut self) -> io::Result<Vec<u8>> {
        while self.fill().await? {}
        Ok(self.take(self.buffered().len()))
    }

    /// Exactly `n` bytes. asyncio's `readexactly`.
    ///
    /// The limit does not count here: `n` is the caller's word. Memory is taken as the bytes come.
    ///
    /// # Errors
    ///
    /// [`ReadError::Incomplete`], with what there was, if the stream ends before; the source's.
    #[doc(alias = "readexactly")]
    pub async fn read_exactly(&mut self, n: usize) -> Result<Vec<u8>, ReadError> {
        while self.buffered().len() < n {
            if !self.fill().await? {
                return Err(self.incomplete(Some(n)));
            }
        }
        Ok(self.take(n))
    }

    /// Everything up to the separator, and the separator. asyncio's `readuntil`.
    ///
    /// # Errors
    ///
    /// * [`ReadError::Incomplete`], with what there was, if the stream ends before.
    /// * [`ReadError::Limit`] if what stands before the separator is longer than the limit. It stays in the buffer: [`read_exactly`](Self::read_exactly) so many
    ///   bytes as the error says are no part of a separator.
    /// * The source's; an empty separator is [`InvalidInput`](io::ErrorKind::InvalidInput).
    #[doc(alias = "readuntil")]
    pub async fn read_until(&mut self, separator: &[u8]) -> Result<Vec<u8>, ReadError> {
        if separator.is_empty() {
            let why = "a separator has at least one byte";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why).into());
        }
        let finder = memchr::memmem::Finder::new(separator);
        // Before this there is none.
        let mut searched = 0;
        loop {
            if let Some(at) = finder.find(&self.buffered()[searched..]) {
                let before = searched + at;
                if before > self.limit {
                    return Err(ReadError::Limit { consumed: before });
                }
                return Ok(self.take(before + separator.len()));
            }
            // A separator may have come in part.
            let length = self.buffered().len();
            searched = searched.max((length + 1).saturating_sub(separator.len()));
            if searched > self.limit {
                return Err(ReadError::Limit { consumed: searched });
            }
            if !self.fill().await? {
                return Err(self.incomplete(None));
            }
        }
    }

    /// A line with its `\n`; what is left, if the stream ends without one; nothing at its end. asyncio's `readline`.
    ///
    /// # Errors
    ///
    /// [`InvalidData`](io::ErrorKind::InvalidData) if the line is longer than the limit: as much of it as has come is thrown away, so that the next call goes on
    /// behind it, or further on in it. The source's.
    pub async fn readline(&mut self) -> io::Result<Vec<u8>> {
        match self.read_until(b"\n").await {
            Ok(line) => Ok(line),
            Err(ReadError::Incomplete { partial, .. }) => Ok(partial),
            Err(ReadError::Io(error)) => Err(error),
            Err(error @ ReadError::Limit { consumed }) => {
                let whole = self.buffered().get(consumed) == Some(&b'\n');
                self.consume(if whole {
                    consumed + 1
                } else {
                    self.buffered().len()
                });
                Err(error.into())
            }
        }
    }

    fn incomplete(&mut self, expected: Option<usize>) -> ReadError {
        ReadError::Incomplete {
            partial: self.take(self.buffered().len()),
            expected,
        }
    }
}

/// What is in the buffer comes first. For code that wants to go on with the bare stream's traits: a codec, a TLS handshake.
impl<R: AsyncRead + Unpin> AsyncRead for StreamReader<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.buffered().is_empty() && !buf.is_empty() {
            ready!(this.poll_fill(cx))?;
        }
        let n = buf.len().min(this.buffered().len());
        buf[..n].copy_from_slice(&this.buffered()[..n]);
        this.consume(n);
        Poll::Ready(Ok(n))
    }
}

impl<R: fmt::Debug> fmt::Debug for StreamReader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamReader")
            .field("source", &self.source)
            .field("buffered", &self.buffered().len())
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

/// Why a record could not be read.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReadError {
    /// The stream ended before. asyncio's `IncompleteReadError`.
    Incomplete {
        /// What there was: it has been taken.
        partial: Vec<u8>,
        /// How many bytes were asked for, if it was a number.
        expected: Option<usize>,
    },
    /// No separator within the limit. asyncio's `LimitOverrunError`.
    Limit {
        /// So many bytes of the buffer are no part of a separator.
        consumed: usize,
    },
    /// The source's.
    Io(io::Error),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Incomplete {
                partial,
                expected: Some(expected),
            } => {
                let came = partial.len();
                write!(f, "the stream ended after {came} of {expected} bytes")
            }
            Self::Incomplete { partial, .. } => {
                let came = partial.len();
                write!(
                    f,
                    "the stream ended after {came} bytes, without the separator"
                )
            }
            Self::Limit { consumed } => write!(
                f,
                "no separator within the reader's limit: {consumed} bytes stand before it at least"
            ),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl Error for ReadError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            _ => None,
        }
    }
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<ReadError> for io::Error {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Io(error) => error,
            ReadError::Incomplete { .. } => Self::new(io::ErrorKind::UnexpectedEof, error),
            ReadError::Limit { .. } => Self::new(io::ErrorKind::InvalidData, error),
        }
    }
}
