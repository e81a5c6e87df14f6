//! Where simulated sockets take the place of the kernel's (feature `sim`): at the system calls, so that all else in [`net`](super) is what runs in production.
//!
//! Without the feature a socket is std's or socket2's own type, and [`kernel!`] is the expression that it is given. With it, a socket is one of two, and what
//! is simulated leaves the calling function through the macro's second half. Which of the two a socket is was decided where it was made:
//! whether the thread simulates.
//!
//! A simulated socket has no descriptor. Where one is asked for (`AsFd` and its like) it shows one that stands for all of them: a socket of the process that is
//! never connected. Reading and writing it fails, as on any such socket, and what is set on it changes nothing in the simulation.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

use socket2::{Domain, Protocol};

use super::syscalls;
use crate::source::Async;

#[cfg(not(feature = "sim"))]
pub(super) use kernel_only::*;
#[cfg(feature = "sim")]
pub(super) use simulated::*;

/// The kernel's socket in `$socket`; for a simulated one, named `$it`, the calling function returns `$simulated`.
#[cfg(not(feature = "sim"))]
macro_rules! kernel {
    ($socket:expr, $it:ident => $simulated:expr) => {
        $socket
    };
}

/// The kernel's socket in `$socket`; for a simulated one, named `$it`, the calling function returns `$simulated`.
#[cfg(feature = "sim")]
macro_rules! kernel {
    ($socket:expr, $it:ident => $simulated:expr) => {
        match $socket {
            $crate::net::seam::Socket::Kernel(socket) => socket,
            $crate::net::seam::Socket::Simulated($it) => return $simulated,
        }
    };
}

pub(super) use kernel;

/// Blocks.
fn resolve_by_system(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    (host, port).to_socket_addrs().map(Iterator::collect)
}

#[cfg(not(feature = "sim"))]
mod kernel_only {
    use super::{Async, Domain, Protocol, SocketAddr, io, resolve_by_system, syscalls};
    use crate::handle::Handle;
    use crate::source::Ready;

    pub(in crate::net) type Stream = std::net::TcpStream;
    pub(in crate::net) type Listener = std::net::TcpListener;
    pub(in crate::net) type Fresh = socket2::Socket;

    /// A socket of the kernel's.
    #[inline(always)]
    pub(in crate::net) fn of_kernel<K>(socket: K) -> K {
        socket
    }

    /// A new socket, non-blocking.
    #[inline(always)]
    pub(in crate::net) fn tcp_socket(domain: Domain) -> io::Result<Fresh> {
        syscalls::stream_socket(domain, Some(Protocol::TCP))
    }

    /// The system's answer.
    pub(in crate::net) fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        resolve_by_system(host, port)
    }

    /// The driver that whatever waits here waits in.
    pub(in crate::net) fn driver() -> io::Result<Handle> {
        Handle::current()
    }

    /// Registers a socket that is known to be non-blocking.
    pub(in crate::net) fn register<K: crate::sys::AsSource>(socket: K) -> io::Result<Async<K>> {
        Async::new_nonblocking(socket)
    }

    pub(in crate::net) fn readable(stream: &Async<Stream>) -> Ready<'_, Stream> {
        stream.readable()
    }

    pub(in crate::net) fn writable(stream: &Async<Stream>) -> Ready<'_, Stream> {
        stream.writable()
    }
}

#[cfg(feature = "sim")]
mod simulated {
    use std::fmt;

    use super::{Async, Domain, Protocol, SocketAddr, io, resolve_by_system, syscalls};
    use crate::handle::Handle;
    use crate::sim::{self, Simulated};
    use crate::sys::{AsSource, BorrowedSource, no_simulation};

    pub(in crate::net) type Stream = Socket<std::net::TcpStream>;
    pub(in crate::net) type Listener = Socket<std::net::TcpListener>;
    pub(in crate::net) type Fresh = Socket<socket2::Socket>;

    pub enum Socket<K> {
        Kernel(K),
        Simulated(Simulated),
    }

    /// A socket of the kernel's.
    pub(in crate::net) fn of_kernel<K>(socket: K) -> Socket<K> {
        Socket::Kernel(socket)
    }

    /// A new socket, non-blocking. What it is, is decided here.
    pub(in crate::net) fn tcp_socket(domain: Domain) -> io::Result<Fresh> {
        match sim::here() {
            Some(network) => {
                let socket = Simulated::socket(network, domain == Domain::IPV6)?;
                Ok(Socket::Simulated(socket))
            }
            None => syscalls::stream_socket(domain, Some(Protocol::TCP)).map(Socket::Kernel),
        }
    }

    /// The system's answer, or that of the simulation.
    pub(in crate::net) fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        match sim::here() {
            Some(network) => network.resolve(host, port),
            None => resolve_by_system(host, port),
        }
    }

    /// The driver that whatever waits here waits in. The driver of last resort is no part of a simulation.
    pub(in crate::net) fn driver() -> io::Result<Handle> {
        match Handle::try_current() {
            Some(handle) => Ok(handle),
            None if sim::here().is_some() => Err(no_simulation()),
            None => Handle::current(),
        }
    }

    /// Registers a socket that is known to be non-blocking.
    pub(in crate::net) fn register<K: AsSource>(socket: Socket<K>) -> io::Result<Async<Socket<K>>> {
        match &socket {
            Socket::Kernel(_) => Async::new_nonblocking(socket),
            Socket::Simulated(_) => Async::simulated(socket, driver()?, |socket, handle, token| {
                if let Socket::Simulated(socket) = socket {
                    socket.register(handle, token);
                }
            }),
        }
    }

    pub(in crate::net) async fn readable(stream: &Async<Stream>) -> io::Result<()> {
        match stream.get_ref() {
            Socket::Kernel(_) => stream.readable().await,
            Socket::Simulated(it) => stream.read_with(|_| it.probe_read()).await,
        }
    }

    pub(in crate::net) async fn writable(stream: &Async<Stream>) -> io::Result<()> {
        match stream.get_ref() {
            Socket::Kernel(_) => stream.writable().await,
            Socket::Simulated(it) => stream.write_with(|_| it.probe_write()).await,
        }
    }

    /// A simulated socket asked to become std's.
    pub(in crate::net) fn no_descriptor<T>(_: Simulated) -> io::Result<T> {
        Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "a simulated socket has no descriptor that std could take over",
        ))
    }

    impl<K: fmt::Debug> fmt::Debug for Socket<K> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            match self {
                Self::Kernel(socket) => socket.fmt(f),
                Self::Simulated(socket) => socket.fmt(f),
            }
        }
    }

    #[cfg(unix)]
    impl<K: AsSource> AsSource for Socket<K> {
        fn as_fd(&self) -> BorrowedSource<'_> {
            match self {
                Self::Kernel(socket) => socket.as_fd(),
                Self::Simulated(socket) => socket.as_fd(),
            }
        }
    }

    #[cfg(windows)]
    impl<K: AsSource> AsSource for Socket<K> {
        fn as_socket(&self) -> BorrowedSource<'_> {
            match self {
                Self::Kernel(socket) => socket.as_socket(),
                Self::Simulated(socket) => socket.as_socket(),
            }
        }
    }
}
