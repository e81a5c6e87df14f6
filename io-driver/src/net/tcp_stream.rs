//! A connected TCP stream. Its addresses and options are in `options`.

mod options;

use std::io;
use std::net::{Shutdown, SocketAddr};

use super::lookup::{ToSocketAddrs, lookup_host};
use super::no_address;
use super::seam::{self, Stream, kernel, of_kernel};
use super::split::{self, OwnedReadHalf, OwnedWriteHalf, ReadHalf, WriteHalf};
use super::tcp_socket::TcpSocket;
use super::transfer;
use crate::bytes::{Reader, Writer};
use crate::descriptor::descriptor;
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

/// Ending.
impl TcpStream {
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
}

impl Reader for TcpStream {
    type Calls = Stream;

    fn read_end(&self) -> &Async<Stream> {
        &self.io
    }
}

impl Writer for TcpStream {
    type Calls = Stream;

    fn write_end(&self) -> &Async<Stream> {
        &self.io
    }
}

impl AsRef<TcpStream> for TcpStream {
    fn as_ref(&self) -> &TcpStream {
        self
    }
}

descriptor!(TcpStream, it => it.io.get_ref());
