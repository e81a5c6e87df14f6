//! TCP sockets for any executor: [`TcpListener`], [`TcpStream`], [`TcpSocket`], and name lookup.
//!
//! Every operation tries its system call first and waits for readiness only if the kernel says
//! "would block". Methods take `&self`: any number of tasks may read, write or accept on one socket
//! at a time, each call gets its own bytes or its own connection. The `poll_*` methods and the I/O
//! traits have one waiting place per direction, so at most one task may read and one may write
//! through them (split the stream for that).
//!
//! One function reads from a stream, into memory that need not be initialised: [`TcpStream::read`]
//! and the traits of futures-io, hyper and tokio all end there. One function writes. The rooms:
//! `transfer` is those two, `uninit` lends them other crates' buffers (the only unsafe code here),
//! `traits` spells them in each trait family's words, `syscalls` holds what differs between
//! systems, `seam` what is simulated, `backoff` what `accept` does when the system is out of descriptors, `lookup` turns
//! names into addresses.
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

mod backoff;
mod lookup;
mod seam;
mod split;
mod syscalls;
mod tcp_listener;
mod tcp_socket;
mod tcp_stream;
mod traits;
mod transfer;
mod uninit;

pub use lookup::{Addrs, ToSocketAddrs, lookup_host};
pub use split::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, ReuniteError, WriteHalf};
pub use tcp_listener::{AcceptStats, TcpListener};
pub use tcp_socket::{Keepalive, TcpSocket};
pub use tcp_stream::TcpStream;
