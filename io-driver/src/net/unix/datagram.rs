//! Unix datagrams.

use std::io;
use std::net::Shutdown;
use std::os::unix::net::{self, SocketAddr};
use std::path::Path;

use socket2::SockAddr;

use super::{of_system, persist};
use crate::descriptor::descriptor;
use crate::net::datagram::Datagrams;
use crate::source::Async;

/// A Unix datagram socket.
///
/// Methods take `&self`: any number of tasks may send and receive on one socket. Datagrams are kept
/// in order and none is lost; whoever sends to a socket that is full waits (on Linux ten datagrams
/// may be waiting, by default). About the files of paths see
/// [`UnixListener`](super::UnixListener#files). A simulation has no Unix sockets: there, making one
/// fails.
///
/// # Examples
///
/// ```
/// use heist_io_driver::net::UnixDatagram;
///
/// # futures_lite::future::block_on(async {
/// let (here, there) = UnixDatagram::pair()?;
/// here.send(b"one").await?;
/// here.send(b"two").await?;
/// let mut datagram = [0; 16];
/// assert_eq!(there.recv(&mut datagram).await?, 3);
/// assert_eq!(&datagram[..3], b"one");
/// # std::io::Result::Ok(())
/// # }).unwrap();
/// ```
#[doc(alias = "DatagramTransport")]
#[doc(alias = "create_datagram_endpoint")]
pub struct UnixDatagram {
    pub(in crate::net) io: Async<net::UnixDatagram>,
}

impl Datagrams for net::UnixDatagram {
    type Addr = SocketAddr;

    fn addr(of: &SockAddr) -> io::Result<SocketAddr> {
        of_system(of)
    }
}

impl UnixDatagram {
    /// A socket bound to a path.
    ///
    /// # Errors
    ///
    /// `AddrInUse` if the file exists, `InvalidInput` if the path is longer than an address may be
    /// (107 bytes on Linux), or another of the system's.
    pub fn bind<P: AsRef<Path>>(path: P) -> io::Result<UnixDatagram> {
        UnixDatagram::make(|| net::UnixDatagram::bind(path))
    }

    /// As [`bind`](Self::bind), for any address: on Linux also an abstract name.
    ///
    /// # Errors
    ///
    /// Those of [`bind`](Self::bind).
    pub fn bind_addr(addr: &SocketAddr) -> io::Result<UnixDatagram> {
        UnixDatagram::make(|| net::UnixDatagram::bind_addr(addr))
    }

    /// A socket without an address: it can send, and nobody can answer.
    ///
    /// # Errors
    ///
    /// The system's, or the driver's if it cannot be registered.
    pub fn unbound() -> io::Result<UnixDatagram> {
        UnixDatagram::make(net::UnixDatagram::unbound)
    }

    /// Two sockets that are connected to each other.
    ///
    /// # Errors
    ///
    /// The system's, or the driver's if they cannot be registered.
    #[doc(alias = "socketpair")]
    pub fn pair() -> io::Result<(UnixDatagram, UnixDatagram)> {
        let (here, there) = Async::pair_of_kernel(net::UnixDatagram::pair)?;
        Ok((UnixDatagram { io: here }, UnixDatagram { io: there }))
    }

    fn make(socket: impl FnOnce() -> io::Result<net::UnixDatagram>) -> io::Result<UnixDatagram> {
        let io = Async::of_kernel(socket)?;
        Ok(UnixDatagram { io })
    }

    /// Makes the socket on a path the peer: [`send`](Self::send) goes there, and only its datagrams
    /// are received. May be called again.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is no such file, `ConnectionRefused` if its socket is gone, or another of
    /// the system's.
    #[doc(alias = "sock_connect")]
    pub fn connect<P: AsRef<Path>>(&self, path: P) -> io::Result<()> {
        self.io.get_ref().connect(path)
    }

    /// As [`connect`](Self::connect), for any address: on Linux also an abstract name.
    ///
    /// # Errors
    ///
    /// Those of [`connect`](Self::connect).
    pub fn connect_addr(&self, addr: &SocketAddr) -> io::Result<()> {
        self.io.get_ref().connect_addr(addr)
    }

    /// Sends a datagram to the socket on a path, and returns how long it is.
    ///
    /// While that socket is full it waits. The system does not say when there is room again, except
    /// to a socket that has [connected](Self::connect): it is tried again after 1 ms, doubling up
    /// to 50 ms. Connect where that matters, and [`send`](Self::send).
    ///
    /// # Errors
    ///
    /// `NotFound` if there is no such file, `ConnectionRefused` if its socket is gone, an error that
    /// says so if the datagram is longer than the system sends (`EMSGSIZE`), or another of the
    /// system's.
    ///
    /// # Cancel safety
    ///
    /// Safe: nothing has been sent when the future is dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// use heist_io_driver::net::UnixDatagram;
    ///
    /// # futures_lite::future::block_on(async {
    /// let path = std::env::temp_dir().join(format!("example-{}.datagrams", std::process::id()));
    /// # let _ = std::fs::remove_file(&path);
    /// let server = UnixDatagram::bind(&path)?;
    /// UnixDatagram::unbound()?.send_to(b"hello", &path).await?;
    /// let mut datagram = [0; 16];
    /// let (n, _from) = server.recv_from(&mut datagram).await?;
    /// assert_eq!(&datagram[..n], b"hello");
    /// # std::fs::remove_file(&path)?;
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    #[doc(alias = "sock_sendto")]
    pub async fn send_to<P: AsRef<Path>>(&self, buf: &[u8], path: P) -> io::Result<usize> {
        self.send_to_addr(buf, &SocketAddr::from_pathname(path)?)
            .await
    }

    /// As [`send_to`](Self::send_to), for any address: on Linux also an abstract name.
    ///
    /// # Errors
    ///
    /// Those of [`send_to`](Self::send_to).
    ///
    /// # Cancel safety
    ///
    /// Safe: nothing has been sent when the future is dropped.
    pub async fn send_to_addr(&self, buf: &[u8], addr: &SocketAddr) -> io::Result<usize> {
        persist(|| self.io.get_ref().send_to_addr(buf, addr)).await
    }

    /// Sends to the socket on a path if the system takes it now.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if it does not; those of [`send_to`](Self::send_to).
    pub fn try_send_to<P: AsRef<Path>>(&self, buf: &[u8], path: P) -> io::Result<usize> {
        self.io.get_ref().send_to(buf, path)
    }

    /// Ends one direction, or both.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.io.get_ref().shutdown(how)
    }
}

descriptor!(UnixDatagram, it => it.io.get_ref());
