//! Datagrams.

use heist::Async;
use hickory_net::runtime::DnsUdpSocket;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::task::{Context, Poll};

use crate::HeistTime;

/// A UDP socket that waits in heist's driver.
///
/// # Examples
///
/// ```
/// use heist_hickory::HeistUdpSocket;
/// use hickory_net::runtime::DnsUdpSocket;
///
/// # heist::run(async {
/// let server = std::net::UdpSocket::bind("127.0.0.1:0")?;
/// let client = HeistUdpSocket::bind("127.0.0.1:0".parse().unwrap())?;
/// assert_eq!(client.send_to(b"hello", server.local_addr()?).await?, 5);
///
/// let (_, from) = server.recv_from(&mut [0; 8])?;
/// server.send_to(b"hi", from)?;
/// let (len, from) = client.recv_from(&mut [0; 8]).await?;
/// assert_eq!((len, from), (2, server.local_addr()?));
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap().unwrap();
/// ```
#[derive(Debug)]
pub struct HeistUdpSocket(Async<UdpSocket>);

impl HeistUdpSocket {
    /// Binds a socket, and registers it with the current driver.
    ///
    /// # Errors
    ///
    /// The system's, if the address cannot be had; those of [`heist::Async::new`].
    pub fn bind(local: SocketAddr) -> io::Result<Self> {
        Async::new(UdpSocket::bind(local)?).map(Self)
    }
}

impl DnsUdpSocket for HeistUdpSocket {
    type Time = HeistTime;

    fn poll_recv_from(
        &self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        self.0.poll_read_with(cx, |socket| socket.recv_from(buf))
    }

    fn poll_send_to(
        &self,
        cx: &mut Context<'_>,
        buf: &[u8],
        target: SocketAddr,
    ) -> Poll<io::Result<usize>> {
        self.0
            .poll_write_with(cx, |socket| socket.send_to(buf, target))
    }
}
