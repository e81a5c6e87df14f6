//! Sockets for any executor, and name lookup: TCP ([`TcpListener`], [`TcpStream`], [`TcpSocket`]),
//! UDP ([`UdpSocket`]), on Unix its own (`UnixListener`, `UnixStream`, `UnixDatagram`).
//!
//! Every operation tries its system call first and waits for readiness only if the kernel says
//! "would block". Methods take `&self`: any number of tasks may read, write or accept on one socket
//! at a time, each call gets its own bytes or its own connection. The `poll_*` methods and the I/O
//! traits have one waiting place per direction, so at most one task may read and one may write
//! through them (split the stream for that).
//!
//! How a stream is read and written is no affair of this module: connections are byte streams, as
//! pipes are, and bring only their system calls. The rooms: `transfer` has those of TCP, `unix` the
//! Unix sockets, `datagram` what UDP's and theirs have in common, `split` the halves of any stream,
//! `syscalls` what differs between systems, `seam` what is simulated (TCP alone), `acceptor` the
//! `accept` of any listener, `backoff` what it does when the system is out of descriptors, `lookup`
//! turns names into addresses.
//!
//! This module knows nothing of tasks: a cancelled operation is a future that is dropped, or one
//! that the leaf rules keep pending. Neither loses a byte or a connection, which stay in the kernel
//! until a call returns them.
//!
//! # Examples
//!
//! ```
//! use std::io;
//!
//! use heist_io_driver::net::{TcpListener, TcpStream};
//!
//! async fn echo_once() -> io::Result<()> {
//!     let listener = TcpListener::bind("127.0.0.1:0").await?;
//!     let client = TcpStream::connect(listener.local_addr()?).await?;
//!     client.write_all(b"ping").await?;
//!
//!     let (server, _peer) = listener.accept().await?;
//!     let mut bytes = [0; 4];
//!     server.read_exact(&mut bytes).await?;
//!     assert_eq!(&bytes, b"ping");
//!     Ok(())
//! }
//! # // Any executor will do; this one parks the thread until its waker unparks it.
//! # fn block_on<F: Future>(future: F) -> F::Output {
//! #     struct Unpark(std::thread::Thread);
//! #     impl std::task::Wake for Unpark {
//! #         fn wake(self: std::sync::Arc<Self>) { self.0.unpark() }
//! #     }
//! #     let waker = std::sync::Arc::new(Unpark(std::thread::current())).into();
//! #     let mut cx = std::task::Context::from_waker(&waker);
//! #     let mut future = std::pin::pin!(future);
//! #     loop {
//! #         match future.as_mut().poll(&mut cx) {
//! #             std::task::Poll::Ready(output) => return output,
//! #             std::task::Poll::Pending => std::thread::park(),
//! #         }
//! #     }
//! # }
//! # block_on(echo_once()).unwrap();
//! ```

mod acceptor;
mod backoff;
mod datagram;
mod lookup;
mod seam;
mod split;
pub(crate) mod syscalls;
mod tcp_listener;
mod tcp_socket;
mod tcp_stream;
mod transfer;
mod udp;
#[cfg(unix)]
mod unix;

use std::io;

pub use acceptor::AcceptStats;
pub use lookup::{Addrs, ToSocketAddrs, lookup_host};
pub use split::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, ReuniteError, WriteHalf};
pub use tcp_listener::TcpListener;
pub use tcp_socket::{Keepalive, TcpSocket};
pub use tcp_stream::TcpStream;
pub use udp::UdpSocket;
#[cfg(unix)]
pub use unix::{UCred, UnixDatagram, UnixListener, UnixStream};

pub(crate) use datagram::Datagrams;

/// The error for a name that has no addresses.
#[cold]
fn no_address() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        "no address to use: the name or the list has none",
    )
}
