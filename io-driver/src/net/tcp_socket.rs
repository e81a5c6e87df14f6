//! A TCP socket before it becomes a listener or a stream, for options that must be set early.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, SockRef, TcpKeepalive};

use super::seam::{self, Fresh, kernel, of_kernel};
use super::syscalls;
use super::tcp_listener::TcpListener;
use super::tcp_stream::TcpStream;
use crate::descriptor::descriptor;

/// A TCP socket that is not yet connected and does not yet listen.
///
/// [`TcpStream::connect`] and [`TcpListener::bind`] do for most; this type is for options that
/// have to be set before.
///
/// # Examples
///
/// ```
/// use heist_io_driver::net::TcpSocket;
///
/// let socket = TcpSocket::new_v4()?;
/// socket.set_recv_buffer_size(1 << 20)?;
/// socket.bind("127.0.0.1:0".parse().unwrap())?;
/// let listener = socket.listen(16)?;
/// assert_ne!(listener.local_addr()?.port(), 0);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct TcpSocket {
    /// Invariant: non-blocking.
    socket: Fresh,
}

impl TcpSocket {
    /// A new IPv4 socket.
    ///
    /// # Errors
    ///
    /// The system's, for example when the process is out of descriptors.
    pub fn new_v4() -> io::Result<TcpSocket> {
        TcpSocket::new(Domain::IPV4)
    }

    /// A new IPv6 socket.
    ///
    /// # Errors
    ///
    /// The system's, for example on a machine without IPv6.
    pub fn new_v6() -> io::Result<TcpSocket> {
        TcpSocket::new(Domain::IPV6)
    }

    /// A new socket of the family that `addr` belongs to.
    ///
    /// # Errors
    ///
    /// Those of [`new_v4`](Self::new_v4) and [`new_v6`](Self::new_v6).
    pub fn new_for(addr: SocketAddr) -> io::Result<TcpSocket> {
        TcpSocket::new(Domain::for_address(addr))
    }

    fn new(domain: Domain) -> io::Result<TcpSocket> {
        let socket = seam::tcp_socket(domain)?;
        Ok(TcpSocket { socket })
    }

    /// Allows the address to be bound although connections of an earlier socket linger on it
    /// (`SO_REUSEADDR`). Not for Windows, where it lets two sockets share a port.
    ///
    /// # Errors
    ///
    /// The system's, for any of the options.
    pub fn set_reuseaddr(&self, reuse: bool) -> io::Result<()> {
        let socket = kernel!(&self.socket, it => it.set(|options| options.reuse_address = reuse));
        socket.set_reuse_address(reuse)
    }

    /// Lets several sockets listen on one address, each with a queue of its own
    /// (`SO_REUSEPORT`).
    ///
    /// # Errors
    ///
    /// The system's.
    #[cfg(all(
        unix,
        not(any(target_os = "solaris", target_os = "illumos", target_os = "cygwin"))
    ))]
    pub fn set_reuseport(&self, reuse: bool) -> io::Result<()> {
        let socket = kernel!(&self.socket, it => it.set(|options| options.reuse_port = reuse));
        socket.set_reuse_port(reuse)
    }

    /// Limits an IPv6 socket to IPv6, or lets it take IPv4 connections as well (`IPV6_V6ONLY`).
    ///
    /// # Errors
    ///
    /// The system's, for example on an IPv4 socket.
    pub fn set_only_v6(&self, only: bool) -> io::Result<()> {
        let socket = kernel!(&self.socket, it => it.set_only_v6(only));
        socket.set_only_v6(only)
    }

    /// Sends small writes at once instead of gathering them (`TCP_NODELAY`). Accepted streams
    /// inherit it from their listener.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        let socket = kernel!(&self.socket, it => it.set(|options| options.nodelay = nodelay));
        socket.set_tcp_nodelay(nodelay)
    }

    /// Whether, and how, an idle connection is probed. Accepted streams inherit it.
    ///
    /// # Errors
    ///
    /// The system's, for example if a duration is out of its range.
    pub fn set_keepalive(&self, keepalive: Option<Keepalive>) -> io::Result<()> {
        let socket =
            kernel!(&self.socket, it => it.set(|options| options.keepalive = keepalive.is_some()));
        Keepalive::set(&SockRef::from(socket), keepalive)
    }

    /// What closing does with unsent bytes: see [`TcpStream::set_linger`].
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn set_linger(&self, linger: Option<Duration>) -> io::Result<()> {
        let socket = kernel!(&self.socket, it => it.set(|options| options.linger = linger));
        socket.set_linger(linger)
    }

    /// Asks for a send buffer of this many bytes; systems round and limit it.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn set_send_buffer_size(&self, bytes: usize) -> io::Result<()> {
        let socket =
            kernel!(&self.socket, it => it.set(|options| options.send_buffer = bytes.max(1)));
        socket.set_send_buffer_size(bytes)
    }

    /// The size of the send buffer in bytes; Linux says twice of what was asked for.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn send_buffer_size(&self) -> io::Result<usize> {
        let socket = kernel!(&self.socket, it => it.get(|options| options.send_buffer));
        socket.send_buffer_size()
    }

    /// Asks for a receive buffer of this many bytes; set before connecting or listening, it also
    /// bounds the TCP window.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn set_recv_buffer_size(&self, bytes: usize) -> io::Result<()> {
        let socket =
            kernel!(&self.socket, it => it.set(|options| options.recv_buffer = bytes.max(1)));
        socket.set_recv_buffer_size(bytes)
    }

    /// The size of the receive buffer in bytes; Linux says twice of what was asked for.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn recv_buffer_size(&self) -> io::Result<usize> {
        let socket = kernel!(&self.socket, it => it.get(|options| options.recv_buffer));
        socket.recv_buffer_size()
    }

    /// Gives the socket a local address; port 0 lets the system choose one.
    ///
    /// # Errors
    ///
    /// `AddrInUse`, `AddrNotAvailable`, `PermissionDenied`, or another of the system's.
    pub fn bind(&self, addr: SocketAddr) -> io::Result<()> {
        let socket = kernel!(&self.socket, it => it.bind(addr));
        socket.bind(&addr.into())
    }

    /// The address that the socket is bound to.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        let socket = kernel!(&self.socket, it => it.local_addr());
        let addr = socket.local_addr()?;
        addr.as_socket()
            .ok_or_else(|| io::ErrorKind::Unsupported.into())
    }

    /// Starts listening. At most `backlog` connections wait to be accepted; the system may lower
    /// that.
    ///
    /// # Errors
    ///
    /// The system's, or the driver's if the socket cannot be registered.
    pub fn listen(self, backlog: u32) -> io::Result<TcpListener> {
        let socket = kernel!(self.socket, it => {
            it.listen(backlog)?;
            TcpListener::from_nonblocking(seam::Socket::Simulated(it))
        });
        socket.listen(backlog.try_into().unwrap_or(i32::MAX))?;
        TcpListener::from_nonblocking(of_kernel(socket.into()))
    }

    /// Connects to `addr`.
    ///
    /// # Errors
    ///
    /// `ConnectionRefused`, `TimedOut`, or another of the system's.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the socket, and gives up the attempt.
    #[doc(alias = "sock_connect")]
    pub async fn connect(self, addr: SocketAddr) -> io::Result<TcpStream> {
        // The kernel is asked first and the driver second: a socket that is registered before it
        // connects is reported as hung up.
        let socket = kernel!(self.socket, it => {
            it.connect(addr)?;
            let stream = TcpStream::from_nonblocking(seam::Socket::Simulated(it))?;
            stream.connected().await.map(|()| stream)
        });
        match socket.connect(&addr.into()) {
            Ok(()) => TcpStream::from_nonblocking(of_kernel(socket.into())),
            Err(error) if syscalls::connect_goes_on(&error) => {
                let stream = TcpStream::from_nonblocking(of_kernel(socket.into()))?;
                stream.connected().await?;
                Ok(stream)
            }
            Err(error) => Err(error),
        }
    }
}

descriptor!(TcpSocket, it => &it.socket);

/// How an idle connection is probed, so that a peer that has vanished is noticed.
///
/// What is not set is the system's default (two hours of silence on most).
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use heist_io_driver::net::Keepalive;
///
/// let keepalive = Keepalive::new().idle(Duration::from_secs(60)).retries(4);
/// # let _ = keepalive;
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keepalive {
    idle: Option<Duration>,
    interval: Option<Duration>,
    retries: Option<u32>,
}

impl Keepalive {
    /// The system's defaults.
    #[must_use]
    pub const fn new() -> Keepalive {
        Keepalive {
            idle: None,
            interval: None,
            retries: None,
        }
    }

    /// How long a connection is silent before the first probe, in whole seconds on most systems.
    #[must_use]
    pub const fn idle(self, idle: Duration) -> Keepalive {
        let idle = Some(idle);
        Keepalive { idle, ..self }
    }

    /// The time between probes, in whole seconds on most systems.
    #[must_use]
    pub const fn interval(self, interval: Duration) -> Keepalive {
        let interval = Some(interval);
        Keepalive { interval, ..self }
    }

    /// How many probes go unanswered before the connection fails with `TimedOut`. Older versions
    /// of Windows have a fixed number.
    #[must_use]
    pub const fn retries(self, retries: u32) -> Keepalive {
        let retries = Some(retries);
        Keepalive { retries, ..self }
    }

    pub(super) fn set(socket: &SockRef<'_>, keepalive: Option<Keepalive>) -> io::Result<()> {
        match keepalive {
            None => socket.set_keepalive(false),
            // Without a parameter, there is nothing that `set_tcp_keepalive` would pass on.
            Some(keepalive) if keepalive == Keepalive::new() => socket.set_keepalive(true),
            Some(keepalive) => socket.set_tcp_keepalive(&keepalive.parameters()),
        }
    }

    fn parameters(self) -> TcpKeepalive {
        let mut parameters = TcpKeepalive::new();
        if let Some(idle) = self.idle {
            parameters = parameters.with_time(idle);
        }
        #[cfg(any(
            target_os = "android",
            target_os = "dragonfly",
            target_os = "freebsd",
            target_os = "illumos",
            target_os = "linux",
            target_os = "macos",
            target_os = "netbsd",
            target_os = "windows",
        ))]
        {
            if let Some(interval) = self.interval {
                parameters = parameters.with_interval(interval);
            }
            if let Some(retries) = self.retries {
                parameters = parameters.with_retries(retries);
            }
        }
        parameters
    }
}
