//! UDP.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::task::{Context, Poll};

use socket2::SockAddr;

use super::datagram::Datagrams;
use super::lookup::{ToSocketAddrs, lookup_host};
use super::no_address;
use crate::descriptor::descriptor;
use crate::source::Async;

/// A UDP socket.
///
/// Methods take `&self`: any number of tasks may send and receive on one socket, each call has a
/// datagram of its own. Share it by an `Arc`; there is nothing to split. The `poll_*` methods have
/// one waiting place per direction.
///
/// There is no transport with callbacks, as asyncio has: a task in a loop round
/// [`recv_from`](Self::recv_from) is one. What the system knows beyond this (segmentation offload,
/// ancillary data) is reached through [`try_read_with`](Self::try_read_with) and its like, which
/// lend std's socket; with [`poll_recv_ready`](Self::poll_recv_ready) that is what QUIC
/// implementations ask for. A simulation has no UDP: there, making a socket fails.
///
/// # Examples
///
/// ```
/// use heist_io_driver::net::UdpSocket;
///
/// # futures_lite::future::block_on(async {
/// let server = UdpSocket::bind("127.0.0.1:0").await?;
/// let client = UdpSocket::bind("127.0.0.1:0").await?;
/// client.send_to(b"ping", server.local_addr()?).await?;
///
/// let mut datagram = [0; 1500];
/// let (n, from) = server.recv_from(&mut datagram).await?;
/// assert_eq!(&datagram[..n], b"ping");
/// server.send_to(&datagram[..n], from).await?;
/// # std::io::Result::Ok(())
/// # }).unwrap();
/// ```
#[doc(alias = "DatagramTransport")]
#[doc(alias = "DatagramProtocol")]
#[doc(alias = "create_datagram_endpoint")]
pub struct UdpSocket {
    pub(super) io: Async<std::net::UdpSocket>,
}

impl Datagrams for std::net::UdpSocket {
    type Addr = SocketAddr;

    fn addr(of: &SockAddr) -> io::Result<SocketAddr> {
        of.as_socket()
            .ok_or_else(|| io::Error::other("a datagram from an address of another family"))
    }
}

impl UdpSocket {
    /// A socket bound to the first of the addresses that can be. Port 0 lets the system choose a
    /// port: see [`local_addr`](Self::local_addr).
    ///
    /// For options that must be set before, bind a socket2 socket and take it over with
    /// [`from_std`](Self::from_std).
    ///
    /// # Errors
    ///
    /// Those of [`lookup_host`]; else the last address's, such as `AddrInUse`.
    ///
    /// # Cancel safety
    ///
    /// Safe: nothing is bound when the future is dropped.
    pub async fn bind<A: ToSocketAddrs>(addr: A) -> io::Result<UdpSocket> {
        let mut last = None;
        for addr in lookup_host(addr).await? {
            match Async::of_kernel(|| std::net::UdpSocket::bind(addr)) {
                Ok(io) => return Ok(UdpSocket { io }),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(no_address))
    }

    /// Makes the first of the addresses that can be the peer's: [`send`](Self::send) goes there, and
    /// only its datagrams are received. Sends nothing, so that nothing says whether somebody is
    /// there. May be called again.
    ///
    /// # Errors
    ///
    /// Those of [`lookup_host`]; else the last address's, for example if it cannot be reached from
    /// the address that is bound.
    ///
    /// # Cancel safety
    ///
    /// Safe: the peer is what it was when the future is dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// use heist_io_driver::net::UdpSocket;
    ///
    /// # futures_lite::future::block_on(async {
    /// let (here, there) = (UdpSocket::bind("127.0.0.1:0").await?, UdpSocket::bind("127.0.0.1:0").await?);
    /// here.connect(there.local_addr()?).await?;
    /// here.send(b"ping").await?;
    /// let mut datagram = [0; 16];
    /// assert_eq!(there.recv_from(&mut datagram).await?, (4, here.local_addr()?));
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    #[doc(alias = "sock_connect")]
    pub async fn connect<A: ToSocketAddrs>(&self, addr: A) -> io::Result<()> {
        let mut last = None;
        for addr in lookup_host(addr).await? {
            match self.io.get_ref().connect(addr) {
                Ok(()) => return Ok(()),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(no_address))
    }

    /// Sends a datagram to the first of the addresses, and returns how long it is.
    ///
    /// # Errors
    ///
    /// Those of [`lookup_host`]; an error that says so if the datagram is longer than the system
    /// sends (65,507 bytes at the most with IPv4); or another of the system's.
    ///
    /// # Cancel safety
    ///
    /// Safe: nothing has been sent when the future is dropped.
    #[doc(alias = "sock_sendto")]
    pub async fn send_to<A: ToSocketAddrs>(&self, buf: &[u8], addr: A) -> io::Result<usize> {
        let addr = lookup_host(addr).await?.next().ok_or_else(no_address)?;
        self.io.write_with(|io| io.send_to(buf, addr)).await
    }

    /// Sends to an address if the system takes it now.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if it does not; those of [`send_to`](Self::send_to).
    pub fn try_send_to(&self, buf: &[u8], addr: SocketAddr) -> io::Result<usize> {
        self.io.get_ref().send_to(buf, addr)
    }

    /// The poll form of [`send_to`](Self::send_to), for one task at a time: only the last waker is
    /// kept.
    ///
    /// # Errors
    ///
    /// Those of [`send_to`](Self::send_to).
    pub fn poll_send_to(
        &self,
        cx: &mut Context<'_>,
        buf: &[u8],
        addr: SocketAddr,
    ) -> Poll<io::Result<usize>> {
        self.io.poll_write_with(cx, |io| io.send_to(buf, addr))
    }
}

/// Methods of std's socket, under their own names.
macro_rules! options {
    ($($(#[$doc:meta])* $name:ident($($arg:ident: $type:ty),*) -> $result:ty;)*) => {
        /// Options.
        impl UdpSocket {$(
            $(#[$doc])*
            ///
            /// # Errors
            ///
            /// The system's.
            pub fn $name(&self, $($arg: $type),*) -> io::Result<$result> {
                self.io.get_ref().$name($($arg),*)
            }
        )*}
    };
}

options! {
    /// Whether datagrams may be sent to broadcast addresses (`SO_BROADCAST`).
    broadcast() -> bool;
    /// Allows datagrams to broadcast addresses (`SO_BROADCAST`), or does not.
    set_broadcast(on: bool) -> ();
    /// The time to live of datagrams, in hops.
    ttl() -> u32;
    /// Sets the time to live of datagrams, in hops, up to 255.
    set_ttl(ttl: u32) -> ();
    /// Receives what is sent to a multicast group, through the interface that has the address
    /// (unspecified: the system chooses one).
    join_multicast_v4(group: &Ipv4Addr, interface: &Ipv4Addr) -> ();
    /// Receives what is sent to a multicast group, through the interface with this index (0: the
    /// system chooses one).
    join_multicast_v6(group: &Ipv6Addr, interface: u32) -> ();
    /// Ends what [`join_multicast_v4`](Self::join_multicast_v4) began.
    leave_multicast_v4(group: &Ipv4Addr, interface: &Ipv4Addr) -> ();
    /// Ends what [`join_multicast_v6`](Self::join_multicast_v6) began.
    leave_multicast_v6(group: &Ipv6Addr, interface: u32) -> ();
    /// Whether this machine receives what it sends to IPv4 groups.
    multicast_loop_v4() -> bool;
    /// Sets whether this machine receives what it sends to IPv4 groups.
    set_multicast_loop_v4(on: bool) -> ();
    /// Whether this machine receives what it sends to IPv6 groups.
    multicast_loop_v6() -> bool;
    /// Sets whether this machine receives what it sends to IPv6 groups.
    set_multicast_loop_v6(on: bool) -> ();
    /// The time to live of datagrams to IPv4 groups, in hops. The system's default is 1.
    multicast_ttl_v4() -> u32;
    /// Sets the time to live of datagrams to IPv4 groups, in hops, up to 255.
    set_multicast_ttl_v4(ttl: u32) -> ();
}

descriptor!(UdpSocket, it => it.io.get_ref());
