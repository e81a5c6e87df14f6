//! The listening side: `bind`, and an `accept` that outlives shortages.

use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use super::acceptor::{AcceptStats, Acceptor, Queue};
use super::lookup::{ToSocketAddrs, lookup_host};
use super::no_address;
use super::seam::{self, Listener, Stream, kernel, of_kernel};
use super::tcp_socket::TcpSocket;
use super::tcp_stream::TcpStream;
use super::transfer;
use crate::descriptor::descriptor;
use crate::source::Async;

/// How many connections may wait to be accepted: room for a burst while all workers are busy. The
/// common choice of servers; systems lower it to their own limit (4096 on Linux).
const BACKLOG: u32 = 1024;

/// A TCP socket that listens for connections.
///
/// Any number of tasks may call [`accept`](Self::accept) on one listener; each connection goes to
/// one of them.
///
/// # Shortages
///
/// `accept` does not fail when the process or the system is out of descriptors or memory. It waits
/// (5 ms, doubling up to 500 ms), leaves the connection in the kernel's queue and tries again;
/// [`accept_stats`](Self::accept_stats) counts that. A connection that failed in the queue is
/// skipped. So a server's loop may end at the first error:
///
/// ```no_run
/// # async fn serve(listener: heist_io_driver::net::TcpListener) -> std::io::Result<()> {
/// loop {
///     let (stream, peer) = listener.accept().await?;
///     // spawn a task for it
/// #   drop((stream, peer));
/// }
/// # }
/// ```
#[doc(alias = "start_server")]
pub struct TcpListener {
    acceptor: Acceptor<Listener>,
}

impl TcpListener {
    /// Listens on the first of the addresses that can be bound.
    ///
    /// Port 0 lets the system choose a port: see [`local_addr`](Self::local_addr). On Unix the
    /// address may be reused at once after an earlier listener (`SO_REUSEADDR`). For other options,
    /// and another backlog than 1024, there is [`TcpSocket`].
    ///
    /// # Errors
    ///
    /// Those of [`lookup_host`]; else the last address's, such as `AddrInUse`.
    ///
    /// # Cancel safety
    ///
    /// Safe: nothing is bound when the future is dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example() -> std::io::Result<()> {
    /// let listener = heist_io_driver::net::TcpListener::bind("127.0.0.1:0").await?;
    /// println!("listening on {}", listener.local_addr()?);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn bind<A: ToSocketAddrs>(addr: A) -> io::Result<TcpListener> {
        let mut last = None;
        for addr in lookup_host(addr).await? {
            match TcpListener::bind_one(addr) {
                Ok(listener) => return Ok(listener),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(no_address))
    }

    fn bind_one(addr: SocketAddr) -> io::Result<TcpListener> {
        let socket = TcpSocket::new_for(addr)?;
        // On Windows the option has another meaning: it lets others take the port over.
        #[cfg(not(windows))]
        socket.set_reuseaddr(true)?;
        socket.bind(addr)?;
        socket.listen(BACKLOG)
    }

    /// Takes over a listener of std's, and makes it non-blocking.
    ///
    /// # Errors
    ///
    /// The system's, or the driver's if it cannot be registered.
    pub fn from_std(listener: std::net::TcpListener) -> io::Result<TcpListener> {
        Ok(TcpListener::from_async(Async::new(of_kernel(listener))?))
    }

    pub(super) fn from_nonblocking(listener: Listener) -> io::Result<TcpListener> {
        Ok(TcpListener::from_async(seam::register(listener)?))
    }

    fn from_async(io: Async<Listener>) -> TcpListener {
        let acceptor = Acceptor::new(io);
        TcpListener { acceptor }
    }

    /// Gives the listener back to std. It stays non-blocking.
    ///
    /// # Errors
    ///
    /// The driver's if it cannot be deregistered.
    pub fn into_std(self) -> io::Result<std::net::TcpListener> {
        let listener = kernel!(self.acceptor.into_inner()?, it => seam::no_descriptor(it));
        Ok(listener)
    }

    /// Waits for a connection. Returns the stream and the peer's address.
    ///
    /// # Errors
    ///
    /// Only errors of the listener itself, or of a driver that has shut down; see
    /// [Shortages](Self#shortages). A connection is closed if it cannot be registered.
    ///
    /// # Cancel safety
    ///
    /// Safe: no connection is lost. A call that was dropped has not taken one from the queue.
    #[doc(alias = "sock_accept")]
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.acceptor.accept().await
    }

    /// The poll form of [`accept`](Self::accept), for one task at a time: only the last waker is
    /// kept.
    ///
    /// # Errors
    ///
    /// Those of [`accept`](Self::accept).
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
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
        kernel!(self.acceptor.get_ref(), it => it.local_addr()).local_addr()
    }

    /// The time to live of packets that are sent to new connections.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn ttl(&self) -> io::Result<u32> {
        kernel!(self.acceptor.get_ref(), it => it.get(|options| options.ttl)).ttl()
    }

    /// Sets the time to live of packets, in hops, up to 255.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        kernel!(self.acceptor.get_ref(), it => it.set_ttl(ttl)).set_ttl(ttl)
    }

    /// Takes the socket's pending error (`SO_ERROR`), if there is one.
    ///
    /// # Errors
    ///
    /// The system's, if it cannot tell.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        kernel!(self.acceptor.get_ref(), it => it.take_error()).take_error()
    }
}

impl Queue for Listener {
    type Taken = (Stream, SocketAddr);
    type Connection = (TcpStream, SocketAddr);

    fn take(&self) -> io::Result<(Stream, SocketAddr)> {
        transfer::accept(self)
    }

    fn admit((stream, peer): (Stream, SocketAddr)) -> io::Result<(TcpStream, SocketAddr)> {
        Ok((TcpStream::from_nonblocking(stream)?, peer))
    }
}

descriptor!(TcpListener, it => it.acceptor.get_ref());
