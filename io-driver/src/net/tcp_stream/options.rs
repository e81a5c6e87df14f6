//! What can be asked and set of a connected stream.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::SockRef;

use super::TcpStream;
use crate::net::Keepalive;
use crate::net::seam::kernel;

/// Addresses and options.
impl TcpStream {
    /// This end's address.
    ///
    /// # Errors
    ///
    /// The system's.
    #[doc(alias = "sockname")]
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        kernel!(self.io.get_ref(), it => it.local_addr()).local_addr()
    }

    /// The other end's address.
    ///
    /// # Errors
    ///
    /// `NotConnected` if the connection is gone, or another of the system's.
    #[doc(alias = "peername")]
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        kernel!(self.io.get_ref(), it => it.peer_addr()).peer_addr()
    }

    /// Takes the socket's pending error (`SO_ERROR`), if there is one.
    ///
    /// # Errors
    ///
    /// The system's, if it cannot tell.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        kernel!(self.io.get_ref(), it => it.take_error()).take_error()
    }

    /// Whether small writes are sent at once (`TCP_NODELAY`).
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn nodelay(&self) -> io::Result<bool> {
        kernel!(self.io.get_ref(), it => it.get(|options| options.nodelay)).nodelay()
    }

    /// Sends small writes at once (true), or gathers them while an answer is outstanding (false,
    /// the system's default; asyncio's is true).
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        let stream = kernel!(self.io.get_ref(), it => it.set(|options| options.nodelay = nodelay));
        stream.set_nodelay(nodelay)
    }

    /// What closing does with unsent bytes: see [`set_linger`](Self::set_linger).
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn linger(&self) -> io::Result<Option<Duration>> {
        let stream = kernel!(self.io.get_ref(), it => it.get(|options| options.linger));
        SockRef::from(stream).linger()
    }

    /// What closing does with unsent bytes (`SO_LINGER`).
    ///
    /// `None`, the default: they are sent in the background. `Some(Duration::ZERO)`: they are
    /// dropped and the peer sees a reset. `Some` of more, in whole seconds: closing **blocks the
    /// thread** until they are sent, at most that long.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn set_linger(&self, linger: Option<Duration>) -> io::Result<()> {
        let stream = kernel!(self.io.get_ref(), it => it.set(|options| options.linger = linger));
        SockRef::from(stream).set_linger(linger)
    }

    /// The time to live of packets, in hops.
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

    /// Whether an idle connection is probed.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn keepalive(&self) -> io::Result<bool> {
        let stream = kernel!(self.io.get_ref(), it => it.get(|options| options.keepalive));
        SockRef::from(stream).keepalive()
    }

    /// Whether, and how, an idle connection is probed.
    ///
    /// # Errors
    ///
    /// The system's, for example if a duration is out of its range.
    pub fn set_keepalive(&self, keepalive: Option<Keepalive>) -> io::Result<()> {
        let stream = kernel!(self.io.get_ref(), it => it.set(|options| options.keepalive = keepalive.is_some()));
        Keepalive::set(&SockRef::from(stream), keepalive)
    }
}
