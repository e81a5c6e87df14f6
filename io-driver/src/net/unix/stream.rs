//! A connected Unix stream.

use std::io::{self, IoSlice, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::{self, SocketAddr};
use std::path::Path;

use socket2::{Domain, SockAddr, SockRef};

use super::{UCred, persist, to_system};
use crate::bytes::{PeekCalls, ReadCalls, Reader, WriteCalls, Writer, uninit};
use crate::descriptor::descriptor;
use crate::handle::Handle;
use crate::net::split::{self, OwnedReadHalf, OwnedWriteHalf, ReadHalf, WriteHalf};
use crate::net::syscalls;
use crate::source::Async;

/// A connection over a Unix socket.
///
/// It is used as a [`TcpStream`](crate::net::TcpStream) is, by the same methods, halves and traits:
/// methods take `&self`, there is no buffer, nothing raises a signal, and dropping it closes the
/// connection. A simulation has no Unix sockets: there, making one fails.
///
/// # Examples
///
/// ```
/// use heist_io_driver::net::UnixStream;
///
/// # futures_lite::future::block_on(async {
/// let (here, there) = UnixStream::pair()?;
/// here.write_all(b"hello").await?;
/// let mut bytes = [0; 5];
/// there.read_exact(&mut bytes).await?;
/// assert_eq!(&bytes, b"hello");
/// # std::io::Result::Ok(())
/// # }).unwrap();
/// ```
#[doc(alias = "open_unix_connection")]
#[doc(alias = "create_unix_connection")]
pub struct UnixStream {
    io: Async<net::UnixStream>,
}

/// Making and unmaking.
impl UnixStream {
    /// Connects to the socket that listens on a path.
    ///
    /// While the listener's queue is full it waits, as a connect that blocks does: for ever, if
    /// nobody sets a time limit. The system does not say when there is room again; it is tried
    /// again after 1 ms, doubling up to 50 ms.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is no such file, `ConnectionRefused` if nobody listens on it any more,
    /// `PermissionDenied`, `InvalidInput` if the path is longer than an address may be (107 bytes
    /// on Linux), or another of the system's.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives up the attempt and closes its socket.
    pub async fn connect<P: AsRef<Path>>(path: P) -> io::Result<UnixStream> {
        UnixStream::connect_to(SockAddr::unix(path)?).await
    }

    /// As [`connect`](Self::connect), for any address: on Linux also an abstract name.
    ///
    /// # Errors
    ///
    /// Those of [`connect`](Self::connect); `InvalidInput` if the address is unnamed.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives up the attempt and closes its socket.
    pub async fn connect_addr(addr: &SocketAddr) -> io::Result<UnixStream> {
        UnixStream::connect_to(to_system(addr)?).await
    }

    /// The driver is asked before the socket is made, for the sake of simulations, but it is only
    /// registered when it is connected: before, it is reported as hung up.
    async fn connect_to(addr: SockAddr) -> io::Result<UnixStream> {
        let handle = Handle::of_kernel()?;
        let socket = syscalls::stream_socket(Domain::UNIX, None)?;
        let connected = persist(|| match socket.connect(&addr) {
            Ok(()) => Ok(true),
            Err(error) if syscalls::connect_goes_on(&error) => Ok(false),
            Err(error) => Err(error),
        });
        let connected = connected.await?;
        let io = Async::with_handle(net::UnixStream::from(socket), handle)?;
        if !connected {
            io.write_with(|io| syscalls::connected(&SockRef::from(io)))
                .await?;
        }
        Ok(UnixStream { io })
    }

    /// Two streams that are connected to each other.
    ///
    /// # Errors
    ///
    /// The system's, or the driver's if they cannot be registered.
    #[doc(alias = "socketpair")]
    pub fn pair() -> io::Result<(UnixStream, UnixStream)> {
        let (here, there) = Async::pair_of_kernel(net::UnixStream::pair)?;
        Ok((UnixStream { io: here }, UnixStream { io: there }))
    }

    /// Takes over a stream of std's, which must be connected, and makes it non-blocking.
    ///
    /// # Errors
    ///
    /// The system's, or the driver's if it cannot be registered.
    pub fn from_std(stream: net::UnixStream) -> io::Result<UnixStream> {
        let io = Async::of_kernel(|| Ok(stream))?;
        Ok(UnixStream { io })
    }

    /// For a stream that is known to be non-blocking: saves a system call.
    pub(super) fn from_nonblocking(stream: net::UnixStream) -> io::Result<UnixStream> {
        let io = Async::with_handle(stream, Handle::of_kernel()?)?;
        Ok(UnixStream { io })
    }

    /// Gives the stream back to std. It stays non-blocking; `set_nonblocking(false)` changes that.
    ///
    /// # Errors
    ///
    /// The driver's if it cannot be deregistered.
    pub fn into_std(self) -> io::Result<net::UnixStream> {
        self.io.into_inner()
    }

    /// Two borrowed halves, one to read and one to write, for use within one task.
    pub fn split(&mut self) -> (ReadHalf<'_, UnixStream>, WriteHalf<'_, UnixStream>) {
        split::borrowed(self)
    }

    /// Two owned halves, for two tasks. Dropping the write half ends the stream for the peer; the
    /// connection closes when both are gone. [`OwnedReadHalf::reunite`] puts them together again.
    pub fn into_split(self) -> (OwnedReadHalf<UnixStream>, OwnedWriteHalf<UnixStream>) {
        split::owned(self)
    }
}

/// The other end, and the end.
impl UnixStream {
    /// Ends one direction, or both. After `Shutdown::Write` the peer reads the end of the stream,
    /// and this side can still read.
    ///
    /// # Errors
    ///
    /// `NotConnected` if the connection is gone already, or another of the system's.
    #[doc(alias = "write_eof")]
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.io.get_ref().shutdown(how)
    }

    /// This end's address. That of an end that connected is unnamed.
    ///
    /// # Errors
    ///
    /// The system's.
    #[doc(alias = "sockname")]
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.get_ref().local_addr()
    }

    /// The other end's address. That of an end that connected is unnamed.
    ///
    /// # Errors
    ///
    /// `NotConnected` if the connection is gone, or another of the system's.
    #[doc(alias = "peername")]
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.io.get_ref().peer_addr()
    }

    /// Whose process is at the other end: who connected, or who listens.
    ///
    /// # Errors
    ///
    /// The system's; `Unsupported` where it cannot tell (other systems than Linux, the BSDs and
    /// Apple's).
    #[doc(alias = "peercred")]
    #[doc(alias = "SO_PEERCRED")]
    pub fn peer_cred(&self) -> io::Result<UCred> {
        UCred::of_peer(self.io.as_fd())
    }

    /// Takes the socket's pending error (`SO_ERROR`), if there is one.
    ///
    /// # Errors
    ///
    /// The system's, if it cannot tell.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.io.get_ref().take_error()
    }
}

impl ReadCalls for net::UnixStream {
    /// A read stops where a descriptor was sent along with the bytes, and where the sender
    /// changes, if anybody wants to know.
    const DRAINS: bool = false;

    fn recv(&self, buf: &mut [MaybeUninit<u8>]) -> io::Result<usize> {
        SockRef::from(self).recv(buf)
    }

    fn recv_vectored(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let mut socket = self;
        socket.read_vectored(bufs)
    }
}

impl PeekCalls for net::UnixStream {
    fn recv_peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        SockRef::from(self).peek(uninit::of_init(buf))
    }
}

/// Nothing here raises SIGPIPE.
impl WriteCalls for net::UnixStream {
    fn send(&self, buf: &[u8]) -> io::Result<usize> {
        syscalls::send(&SockRef::from(self), buf)
    }

    fn send_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        syscalls::send_vectored(&SockRef::from(self), bufs)
    }

    fn end(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

impl Reader for UnixStream {
    type Calls = net::UnixStream;

    fn read_end(&self) -> &Async<net::UnixStream> {
        &self.io
    }
}

impl Writer for UnixStream {
    type Calls = net::UnixStream;

    fn write_end(&self) -> &Async<net::UnixStream> {
        &self.io
    }
}

descriptor!(UnixStream, it => it.io.get_ref());
