//! The listening side of Unix streams.

use std::io;
use std::os::unix::net::{self, SocketAddr};
use std::path::Path;
use std::task::{Context, Poll};

use socket2::{SockAddr, SockRef};

use super::{UnixStream, of_system};
use crate::descriptor::descriptor;
use crate::net::acceptor::{AcceptStats, Acceptor, Queue};
use crate::net::syscalls;
use crate::source::Async;

/// A Unix socket that listens for connections.
///
/// Any number of tasks may call [`accept`](Self::accept) on one listener; each connection goes to
/// one of them. As [`TcpListener`](crate::net::TcpListener) it waits while the process or the
/// system is out of descriptors or memory; see [there](crate::net::TcpListener#shortages).
///
/// # Files
///
/// Binding a path makes a file there, which stays when the listener is gone, and on which binding
/// fails with `AddrInUse` from then on. Removing it is the caller's affair, at the end or before
/// binding. An abstract name (Linux) has no file.
///
/// # Examples
///
/// ```
/// use heist_io_driver::net::{UnixListener, UnixStream};
///
/// # futures_lite::future::block_on(async {
/// let path = std::env::temp_dir().join(format!("example-{}.sock", std::process::id()));
/// let _ = std::fs::remove_file(&path); // what an earlier run may have left
/// let listener = UnixListener::bind(&path)?;
///
/// let client = UnixStream::connect(&path).await?;
/// let (server, _) = listener.accept().await?;
/// println!("connected by the user {}", server.peer_cred()?.uid());
/// # drop(client);
/// # std::fs::remove_file(&path)
/// # }).unwrap();
/// ```
#[doc(alias = "start_unix_server")]
#[doc(alias = "create_unix_server")]
pub struct UnixListener {
    acceptor: Acceptor<net::UnixListener>,
}

impl UnixListener {
    /// Listens on a path. The system decides how many connections may wait to be accepted (4096
    /// on Linux).
    ///
    /// # Errors
    ///
    /// `AddrInUse` if the file exists (see [Files](Self#files)), `PermissionDenied`, `InvalidInput`
    /// if the path is longer than an address may be (107 bytes on Linux), or another of the
    /// system's.
    pub fn bind<P: AsRef<Path>>(path: P) -> io::Result<UnixListener> {
        UnixListener::make(|| net::UnixListener::bind(path))
    }

    /// As [`bind`](Self::bind), for any address: on Linux also an abstract name.
    ///
    /// # Errors
    ///
    /// Those of [`bind`](Self::bind).
    pub fn bind_addr(addr: &SocketAddr) -> io::Result<UnixListener> {
        UnixListener::make(|| net::UnixListener::bind_addr(addr))
    }

    /// Takes over a listener of std's, and makes it non-blocking.
    ///
    /// # Errors
    ///
    /// The system's, or the driver's if it cannot be registered.
    pub fn from_std(listener: net::UnixListener) -> io::Result<UnixListener> {
        UnixListener::make(|| Ok(listener))
    }

    fn make(listener: impl FnOnce() -> io::Result<net::UnixListener>) -> io::Result<UnixListener> {
        let acceptor = Acceptor::new(Async::of_kernel(listener)?);
        Ok(UnixListener { acceptor })
    }

    /// Gives the listener back to std. It stays non-blocking.
    ///
    /// # Errors
    ///
    /// The driver's if it cannot be deregistered.
    pub fn into_std(self) -> io::Result<net::UnixListener> {
        self.acceptor.into_inner()
    }

    /// Waits for a connection. Returns the stream and the peer's address, which is unnamed unless
    /// the peer has bound one.
    ///
    /// # Errors
    ///
    /// Only errors of the listener itself, or of a driver that has shut down. A connection is
    /// closed if it cannot be registered.
    ///
    /// # Cancel safety
    ///
    /// Safe: no connection is lost. A call that was dropped has not taken one from the queue.
    #[doc(alias = "sock_accept")]
    pub async fn accept(&self) -> io::Result<(UnixStream, SocketAddr)> {
        self.acceptor.accept().await
    }

    /// The poll form of [`accept`](Self::accept), for one task at a time: only the last waker is
    /// kept.
    ///
    /// # Errors
    ///
    /// Those of [`accept`](Self::accept).
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(UnixStream, SocketAddr)>> {
        self.acceptor.poll_accept(cx)
    }

    /// How often accepting was put off, and how many connections failed in the queue.
    #[must_use]
    pub fn accept_stats(&self) -> AcceptStats {
        self.acceptor.stats()
    }

    /// The address that is listened on.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.acceptor.get_ref().local_addr()
    }

    /// Takes the socket's pending error (`SO_ERROR`), if there is one.
    ///
    /// # Errors
    ///
    /// The system's, if it cannot tell.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.acceptor.get_ref().take_error()
    }
}

impl Queue for net::UnixListener {
    type Taken = (net::UnixStream, SockAddr);
    type Connection = (UnixStream, SocketAddr);

    fn take(&self) -> io::Result<(net::UnixStream, SockAddr)> {
        let (socket, peer) = syscalls::accept_unix(&SockRef::from(self))?;
        Ok((socket.into(), peer))
    }

    fn admit((stream, peer): (net::UnixStream, SockAddr)) -> io::Result<(UnixStream, SocketAddr)> {
        Ok((UnixStream::from_nonblocking(stream)?, of_system(&peer)?))
    }
}

descriptor!(UnixListener, it => it.acceptor.get_ref());
