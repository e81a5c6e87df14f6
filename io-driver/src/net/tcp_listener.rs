//! The listening side: `bind`, and an `accept` that outlives shortages.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use parking_lot::Mutex;

use super::backoff::{Backoff, Verdict};
use super::lookup::{ToSocketAddrs, lookup_host};
use super::seam::{self, Listener, Stream, kernel, of_kernel};
use super::tcp_socket::TcpSocket;
use super::tcp_stream::TcpStream;
use super::transfer;
use crate::source::Async;
use crate::time::{Sleep, sleep};

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
    io: Async<Listener>,
    backoff: Backoff,
    /// What `poll_accept` waits for after a shortage.
    deferral: Mutex<Option<Pin<Box<Sleep>>>>,
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
        TcpListener {
            io,
            backoff: Backoff::default(),
            deferral: Mutex::new(None),
        }
    }

    /// Gives the listener back to std. It stays non-blocking.
    ///
    /// # Errors
    ///
    /// The driver's if it cannot be deregistered.
    pub fn into_std(self) -> io::Result<std::net::TcpListener> {
        let listener = kernel!(self.io.into_inner()?, it => seam::no_descriptor(it));
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
        loop {
            match self.judge(self.io.read_with(transfer::accept).await) {
                Ok(connection) => return Ok(connection),
                Err((_, Verdict::Again)) => {}
                Err((_, Verdict::After(wait))) => sleep(wait).await,
                Err((error, Verdict::Fail)) => return Err(error),
            }
        }
    }

    /// The poll form of [`accept`](Self::accept), for one task at a time: only the last waker is
    /// kept.
    ///
    /// # Errors
    ///
    /// Those of [`accept`](Self::accept).
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        loop {
            ready!(self.poll_deferral(cx));
            let accepted = ready!(self.io.poll_read_with(cx, transfer::accept));
            match self.judge(accepted) {
                Ok(connection) => return Poll::Ready(Ok(connection)),
                Err((_, Verdict::Again)) => {}
                Err((_, Verdict::After(wait))) => self.defer(wait),
                Err((error, Verdict::Fail)) => return Poll::Ready(Err(error)),
            }
        }
    }

    #[cold]
    fn defer(&self, wait: std::time::Duration) {
        let nap = Box::pin(sleep(wait));
        let old = self.deferral.lock().replace(nap);
        drop(old);
    }

    /// The sleep is polled outside of the lock: it clones a waker, which is foreign code.
    fn poll_deferral(&self, cx: &mut Context<'_>) -> Poll<()> {
        let deferral = self.deferral.lock().take();
        if let Some(mut nap) = deferral
            && nap.as_mut().poll(cx).is_pending()
        {
            let old = self.deferral.lock().replace(nap);
            drop(old);
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    /// Registers what was accepted, and says what to do about an error.
    fn judge(
        &self,
        accepted: io::Result<(Stream, SocketAddr)>,
    ) -> Result<(TcpStream, SocketAddr), (io::Error, Verdict)> {
        let registered =
            accepted.and_then(|(stream, peer)| Ok((TcpStream::from_nonblocking(stream)?, peer)));
        match registered {
            Ok(connection) => {
                self.backoff.accepted();
                Ok(connection)
            }
            Err(error) => {
                let verdict = self.backoff.failed(&error);
                Err((error, verdict))
            }
        }
    }

    /// How often accepting was put off, and how many connections failed in the queue.
    #[must_use]
    pub fn accept_stats(&self) -> AcceptStats {
        AcceptStats {
            deferred: self.backoff.deferred(),
            aborted: self.backoff.aborted(),
        }
    }

    /// The address that is listened on.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        kernel!(self.io.get_ref(), it => it.local_addr()).local_addr()
    }

    /// The time to live of packets that are sent to new connections.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn ttl(&self) -> io::Result<u32> {
        kernel!(self.io.get_ref(), it => it.get(|options| options.ttl)).ttl()
    }

    /// Sets the time to live of packets, in hops, up to 255.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        kernel!(self.io.get_ref(), it => it.set_ttl(ttl)).set_ttl(ttl)
    }

    /// Takes the socket's pending error (`SO_ERROR`), if there is one.
    ///
    /// # Errors
    ///
    /// The system's, if it cannot tell.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        kernel!(self.io.get_ref(), it => it.take_error()).take_error()
    }
}

/// The error for a name that has no addresses.
#[cold]
pub(super) fn no_address() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        "no address to use: the name or the list has none",
    )
}

/// What [`TcpListener::accept`] has endured. Both numbers only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AcceptStats {
    /// Attempts put off for want of descriptors or memory. Each was tried again later.
    pub deferred: u64,
    /// Connections that failed before they could be accepted.
    pub aborted: u64,
}

impl fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.io.get_ref().fmt(f)
    }
}

#[cfg(unix)]
impl std::os::fd::AsFd for TcpListener {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.io.get_ref().as_fd()
    }
}

#[cfg(unix)]
impl std::os::fd::AsRawFd for TcpListener {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        std::os::fd::AsFd::as_fd(self).as_raw_fd()
    }
}

#[cfg(windows)]
impl std::os::windows::io::AsSocket for TcpListener {
    fn as_socket(&self) -> std::os::windows::io::BorrowedSocket<'_> {
        self.io.get_ref().as_socket()
    }
}

#[cfg(windows)]
impl std::os::windows::io::AsRawSocket for TcpListener {
    fn as_raw_socket(&self) -> std::os::windows::io::RawSocket {
        std::os::windows::io::AsSocket::as_socket(self).as_raw_socket()
    }
}
