//! The socket calls that differ between systems, behind one name each.
//!
//! Most Unixes make a descriptor non-blocking and close-on-exec in the call that creates it, and
//! can keep a vectored write from raising SIGPIPE. Elsewhere (Apple's systems, Windows) the
//! portable calls are used, and two more.

use std::io;

use socket2::SockRef;

#[cfg(unix)]
pub(super) use imp::accept_unix;
pub(crate) use imp::send;
pub(super) use imp::{accept, send_vectored, stream_socket};

/// Whether a failed `connect` goes on in the background. An interrupted one does, too.
#[cfg(unix)]
pub(super) fn connect_goes_on(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::INPROGRESS | Errno::INTR))
}

/// Whether a failed `connect` goes on in the background.
#[cfg(windows)]
pub(super) fn connect_goes_on(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

/// Asks whether a connect in the background has ended: "would block" as long as it has not.
pub(super) fn connected(socket: &SockRef<'_>) -> io::Result<()> {
    if let Some(error) = socket.take_error()? {
        return Err(error);
    }
    match socket.peer_addr() {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotConnected => {
            Err(io::ErrorKind::WouldBlock.into())
        }
        Err(error) => Err(error),
    }
}

/// Where one call makes the descriptor as it is needed.
#[cfg(any(
    target_os = "android",
    target_os = "dragonfly",
    target_os = "freebsd",
    target_os = "illumos",
    target_os = "linux",
    target_os = "netbsd",
    target_os = "openbsd",
))]
mod imp {
    use std::io::{self, IoSlice};
    use std::net::{SocketAddr, TcpListener, TcpStream};

    use rustix::net::{SendFlags, SocketFlags, acceptfrom_with};
    use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};

    /// A new stream socket, non-blocking and close-on-exec.
    pub(in super::super) fn stream_socket(
        domain: Domain,
        protocol: Option<Protocol>,
    ) -> io::Result<Socket> {
        Socket::new(domain, Type::STREAM.nonblocking(), protocol)
    }

    /// Takes a connection from the listener's queue, non-blocking and close-on-exec.
    pub(in super::super) fn accept(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let (socket, peer) = acceptfrom_with(listener, flags)?;
        let stream = TcpStream::from(socket);
        // Some systems give no address to a connection that was reset in the queue.
        let peer = peer.ok_or(io::ErrorKind::ConnectionAborted)?;
        Ok((stream, SocketAddr::try_from(peer)?))
    }

    /// Takes a connection from the listener's queue, non-blocking and close-on-exec.
    pub(in super::super) fn accept_unix(listener: &SockRef<'_>) -> io::Result<(Socket, SockAddr)> {
        listener.accept4(libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC)
    }

    pub(crate) fn send(socket: &SockRef<'_>, buf: &[u8]) -> io::Result<usize> {
        socket.send_with_flags(buf, SendFlags::NOSIGNAL.bits() as _)
    }

    pub(in super::super) fn send_vectored(
        socket: &SockRef<'_>,
        bufs: &[IoSlice<'_>],
    ) -> io::Result<usize> {
        socket.send_vectored_with_flags(bufs, SendFlags::NOSIGNAL.bits() as _)
    }
}

/// Where it takes more than one.
#[cfg(not(any(
    target_os = "android",
    target_os = "dragonfly",
    target_os = "freebsd",
    target_os = "illumos",
    target_os = "linux",
    target_os = "netbsd",
    target_os = "openbsd",
)))]
mod imp {
    use std::io::{self, IoSlice};
    use std::net::{SocketAddr, TcpListener, TcpStream};

    #[cfg(unix)]
    use socket2::SockAddr;
    use socket2::{Domain, Protocol, SockRef, Socket, Type};

    /// A new stream socket, non-blocking and close-on-exec.
    pub(in super::super) fn stream_socket(
        domain: Domain,
        protocol: Option<Protocol>,
    ) -> io::Result<Socket> {
        let socket = Socket::new(domain, Type::STREAM, protocol)?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    }

    /// Takes a connection from the listener's queue, non-blocking and close-on-exec.
    pub(in super::super) fn accept(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
        let (socket, peer) = SockRef::from(listener).accept()?;
        socket.set_nonblocking(true)?;
        let peer = peer.as_socket().ok_or(io::ErrorKind::ConnectionAborted)?;
        Ok((socket.into(), peer))
    }

    /// Takes a connection from the listener's queue, non-blocking and close-on-exec.
    #[cfg(unix)]
    pub(in super::super) fn accept_unix(listener: &SockRef<'_>) -> io::Result<(Socket, SockAddr)> {
        let (socket, peer) = listener.accept()?;
        socket.set_nonblocking(true)?;
        Ok((socket, peer))
    }

    /// Relies on `SO_NOSIGPIPE` where there is SIGPIPE: std and socket2 set it on every socket.
    pub(crate) fn send(socket: &SockRef<'_>, buf: &[u8]) -> io::Result<usize> {
        socket.send(buf)
    }

    /// Like [`send`].
    pub(in super::super) fn send_vectored(
        socket: &SockRef<'_>,
        bufs: &[IoSlice<'_>],
    ) -> io::Result<usize> {
        socket.send_vectored(bufs)
    }
}
