//! A connected TCP stream. Its addresses and options are in `options`.

mod options;

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::{Shutdown, SocketAddr};
use std::task::{Context, Poll};

use super::lookup::{ToSocketAddrs, lookup_host};
use super::seam::{self, Stream, kernel, of_kernel};
use super::split::{self, OwnedReadHalf, OwnedWriteHalf, ReadHalf, WriteHalf};
use super::tcp_listener::no_address;
use super::tcp_socket::TcpSocket;
use super::{transfer, uninit};
use crate::source::Async;

/// A TCP connection.
///
/// Methods take `&self`, so one task can read while another writes; with both through the I/O
/// traits, [`split`](Self::split) the stream or take it apart with
/// [`into_split`](Self::into_split). Dropping the stream closes the connection.
///
/// The stream implements futures-io's `AsyncRead` and `AsyncWrite`, hyper's `rt::Read` and
/// `rt::Write` with feature `hyper`, and tokio's `AsyncRead` and `AsyncWrite` with feature
/// `tokio-io`. There is no buffer in it: flushing does nothing, and a write that has returned has
/// handed its bytes to the kernel.
///
/// # Examples
///
/// ```
/// use heist_io_driver::net::TcpStream;
///
/// # async fn example() -> std::io::Result<()> {
/// let stream = TcpStream::connect("localhost:7").await?;
/// stream.set_nodelay(true)?;
/// stream.write_all(b"hello").await?;
/// let mut reply = [0; 5];
/// stream.read_exact(&mut reply).await?;
/// # Ok(())
/// # }
/// ```
#[doc(alias = "open_connection")]
#[doc(alias = "StreamReader")]
#[doc(alias = "StreamWriter")]
pub struct TcpStream {
    io: Async<Stream>,
}

/// Making and unmaking.
impl TcpStream {
    /// Connects to the first of the addresses that answers. They are tried one after the other.
    ///
    /// # Errors
    ///
    /// Those of [`lookup_host`](super::lookup_host); else the last address's, such as
    /// `ConnectionRefused`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives up the attempt and closes its socket.
    pub async fn connect<A: ToSocketAddrs>(addr: A) -> io::Result<TcpStream> {
        let mut last = None;
        for addr in lookup_host(addr).await? {
            match TcpStream::connect_one(addr).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(no_address))
    }

    async fn connect_one(addr: SocketAddr) -> io::Result<TcpStream> {
        TcpSocket::new_for(addr)?.connect(addr).await
    }

    /// Takes over a stream of std's, which must be connected, and makes it non-blocking.
    ///
    /// # Errors
    ///
    /// The system's, or the driver's if it cannot be registered.
    pub fn from_std(stream: std::net::TcpStream) -> io::Result<TcpStream> {
        let io = Async::new(of_kernel(stream))?;
        Ok(TcpStream { io })
    }

    /// For a stream that is known to be non-blocking: saves a system call.
    pub(super) fn from_nonblocking(stream: Stream) -> io::Result<TcpStream> {
        let io = seam::register(stream)?;
        Ok(TcpStream { io })
    }

    /// Gives the stream back to std. It stays non-blocking; `set_nonblocking(false)` changes that.
    ///
    /// # Errors
    ///
    /// The driver's if it cannot be deregistered.
    pub fn into_std(self) -> io::Result<std::net::TcpStream> {
        let stream = kernel!(self.io.into_inner()?, it => seam::no_descriptor(it));
        Ok(stream)
    }

    /// Waits for a connect that goes on in the background.
    pub(super) async fn connected(&self) -> io::Result<()> {
        self.io.write_with(transfer::connected).await
    }

    /// Two borrowed halves, one to read and one to write, for use within one task.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(mut stream: heist_io_driver::net::TcpStream) -> std::io::Result<()> {
    /// let (reader, writer) = stream.split();
    /// let mut bytes = [0; 16];
    /// let n = reader.read(&mut bytes).await?;
    /// writer.write_all(&bytes[..n]).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn split(&mut self) -> (ReadHalf<'_>, WriteHalf<'_>) {
        split::borrowed(self)
    }

    /// Two owned halves, for two tasks. Dropping the write half ends the stream for the peer; the
    /// connection closes when both are gone. [`OwnedReadHalf::reunite`] puts them together again.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(stream: heist_io_driver::net::TcpStream) -> std::io::Result<()> {
    /// let (reader, writer) = stream.into_split();
    /// writer.write_all(b"request").await?;
    /// drop(writer); // the peer reads the end of the stream
    /// let mut reply = [0; 64];
    /// let n = reader.read(&mut reply).await?;
    /// # let _ = n;
    /// # Ok(())
    /// # }
    /// ```
    pub fn into_split(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        split::owned(self)
    }
}

/// Reading.
impl TcpStream {
    /// Reads at most `buf.len()` bytes, and returns how many. 0 is the end of the stream, unless
    /// `buf` is empty.
    ///
    /// # Errors
    ///
    /// `ConnectionReset`, or another of the system's.
    ///
    /// # Cancel safety
    ///
    /// Safe: nothing has been read when the future is dropped.
    #[doc(alias = "sock_recv")]
    #[doc(alias = "sock_recv_into")]
    pub async fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        let buf = uninit::of_init(buf);
        let len = buf.len();
        self.io.read_some(len, |io| transfer::recv(io, buf)).await
    }

    /// Reads into several buffers, one after the other, with one call. Returns how many bytes.
    ///
    /// # Errors
    ///
    /// Those of [`read`](Self::read).
    ///
    /// # Cancel safety
    ///
    /// Safe: nothing has been read when the future is dropped.
    pub async fn read_vectored(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let (bufs, len) = transfer::acceptable_mut(bufs);
        if len == 0 {
            return Ok(0);
        }
        self.io
            .read_some(len, |io| transfer::recv_vectored(io, bufs))
            .await
    }

    /// Fills all of `buf`.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` if the stream ends before; those of [`read`](Self::read).
    ///
    /// # Cancel safety
    ///
    /// Not safe: bytes that have arrived before the drop are in `buf`, and nobody knows how many.
    #[doc(alias = "readexactly")]
    pub async fn read_exact(&self, mut buf: &mut [u8]) -> io::Result<()> {
        while !buf.is_empty() {
            match self.read(buf).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => buf = &mut buf[n..],
            }
        }
        Ok(())
    }

    /// Reads without taking: the next read gets the same bytes. Returns how many; 0 is the end of
    /// the stream, unless `buf` is empty.
    ///
    /// # Errors
    ///
    /// Those of [`read`](Self::read).
    ///
    /// # Cancel safety
    ///
    /// Safe.
    pub async fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        self.io.read_with(|io| transfer::peek(io, buf)).await
    }

    /// Waits until reading would probably not have to wait: bytes, the end of the stream, or an
    /// error are there.
    ///
    /// # Errors
    ///
    /// The driver's, when it has shut down.
    ///
    /// # Cancel safety
    ///
    /// Safe.
    #[doc(alias = "add_reader")]
    pub async fn readable(&self) -> io::Result<()> {
        seam::readable(&self.io).await
    }

    /// Reads what is there, without waiting. For use after [`readable`](Self::readable), but it
    /// always asks the kernel, and so also finds what the driver has not heard of yet.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if nothing is there; those of [`read`](Self::read).
    pub fn try_read(&self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        transfer::recv(self.io.get_ref(), uninit::of_init(buf))
    }

    /// The one read path of the I/O traits. On `Ok(n)`, the first `n` bytes of `buf` are
    /// initialised.
    pub(super) fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buf: &mut [MaybeUninit<u8>],
    ) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let len = buf.len();
        self.io
            .poll_read_some(cx, len, |io| transfer::recv(io, buf))
    }

    pub(super) fn poll_recv_vectored(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        let (bufs, len) = transfer::acceptable_mut(bufs);
        if len == 0 {
            return Poll::Ready(Ok(0));
        }
        self.io
            .poll_read_some(cx, len, |io| transfer::recv_vectored(io, bufs))
    }
}

/// Writing.
impl TcpStream {
    /// Writes a part of `buf`, as much as fits, and returns how many bytes.
    ///
    /// # Errors
    ///
    /// `BrokenPipe` or `ConnectionReset` if the peer is gone, or another of the system's. There is
    /// no signal.
    ///
    /// # Cancel safety
    ///
    /// Safe: nothing has been written when the future is dropped.
    pub async fn write(&self, buf: &[u8]) -> io::Result<usize> {
        let len = buf.len();
        self.io.write_some(len, |io| transfer::send(io, buf)).await
    }

    /// Writes a part of several buffers, one after the other, with one call. Returns how many
    /// bytes.
    ///
    /// # Errors
    ///
    /// Those of [`write`](Self::write).
    ///
    /// # Cancel safety
    ///
    /// Safe: nothing has been written when the future is dropped.
    #[doc(alias = "writelines")]
    pub async fn write_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let (bufs, len) = transfer::acceptable(bufs);
        self.io
            .write_some(len, |io| transfer::send_vectored(io, bufs))
            .await
    }

    /// Writes all of `buf`.
    ///
    /// # Errors
    ///
    /// `WriteZero` if the system takes nothing any more; those of [`write`](Self::write).
    ///
    /// # Cancel safety
    ///
    /// Not safe: a part of `buf` may have been written before the drop, and nobody knows how much.
    #[doc(alias = "sock_sendall")]
    #[doc(alias = "drain")]
    pub async fn write_all(&self, mut buf: &[u8]) -> io::Result<()> {
        while !buf.is_empty() {
            match self.write(buf).await? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                n => buf = &buf[n..],
            }
        }
        Ok(())
    }

    /// Waits until writing would probably not have to wait: there is room, or an error.
    ///
    /// # Errors
    ///
    /// The driver's, when it has shut down.
    ///
    /// # Cancel safety
    ///
    /// Safe.
    #[doc(alias = "add_writer")]
    pub async fn writable(&self) -> io::Result<()> {
        seam::writable(&self.io).await
    }

    /// Writes what fits, without waiting. For use after [`writable`](Self::writable), but it
    /// always asks the kernel.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if nothing fits; those of [`write`](Self::write).
    pub fn try_write(&self, buf: &[u8]) -> io::Result<usize> {
        transfer::send(self.io.get_ref(), buf)
    }

    /// Ends one direction, or both. After `Shutdown::Write` the peer reads the end of the stream,
    /// and this side can still read.
    ///
    /// # Errors
    ///
    /// `NotConnected` if the connection is gone already, or another of the system's.
    #[doc(alias = "write_eof")]
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        kernel!(self.io.get_ref(), it => it.shutdown(how)).shutdown(how)
    }

    /// The one write path of the I/O traits.
    pub(super) fn poll_send(&self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let len = buf.len();
        self.io
            .poll_write_some(cx, len, |io| transfer::send(io, buf))
    }

    pub(super) fn poll_send_vectored(
        &self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let (bufs, len) = transfer::acceptable(bufs);
        self.io
            .poll_write_some(cx, len, |io| transfer::send_vectored(io, bufs))
    }

    /// The I/O traits' way to end a stream: all is well if the connection is gone already.
    pub(super) fn close_write(&self) -> io::Result<()> {
        match self.shutdown(Shutdown::Write) {
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            result => result,
        }
    }
}

impl AsRef<TcpStream> for TcpStream {
    fn as_ref(&self) -> &TcpStream {
        self
    }
}

impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.io.get_ref().fmt(f)
    }
}

#[cfg(unix)]
impl std::os::fd::AsFd for TcpStream {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.io.get_ref().as_fd()
    }
}

#[cfg(unix)]
impl std::os::fd::AsRawFd for TcpStream {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        std::os::fd::AsFd::as_fd(self).as_raw_fd()
    }
}

#[cfg(windows)]
impl std::os::windows::io::AsSocket for TcpStream {
    fn as_socket(&self) -> std::os::windows::io::BorrowedSocket<'_> {
        self.io.get_ref().as_socket()
    }
}

#[cfg(windows)]
impl std::os::windows::io::AsRawSocket for TcpStream {
    fn as_raw_socket(&self) -> std::os::windows::io::RawSocket {
        std::os::windows::io::AsSocket::as_socket(self).as_raw_socket()
    }
}
