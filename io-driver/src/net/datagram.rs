//! Datagrams: what UDP and Unix sockets of that kind have in common.
//!
//! A datagram is received whole or cut, never in parts, so that nothing of how much was received
//! tells whether more is there: each operation asks the kernel.

use std::io;
use std::mem::MaybeUninit;
use std::task::{Context, Poll};

use socket2::{SockAddr, SockRef};

use super::udp::UdpSocket;
#[cfg(unix)]
use super::unix::UnixDatagram;
use crate::bytes::uninit;
use crate::source::{Async, TryIo};
use crate::sys::AsSource;

/// A kind of datagram socket.
pub(crate) trait Datagrams: AsSource + Sized {
    type Addr;

    fn addr(of: &SockAddr) -> io::Result<Self::Addr>;

    /// Receives into the front of `buf`, and says how many of its bytes that initialised.
    ///
    /// Invariant: on `Ok(n)`, the first `n` bytes of `buf` are initialised; no byte is ever made
    /// uninitialised.
    fn receive(&self, buf: &mut [MaybeUninit<u8>]) -> io::Result<usize> {
        SockRef::from(self).recv(buf)
    }

    /// Like [`receive`](Datagrams::receive), also in its invariant, and says who sent it.
    fn receive_from(&self, buf: &mut [MaybeUninit<u8>]) -> io::Result<(usize, Self::Addr)> {
        let (n, from) = SockRef::from(self).recv_from(buf)?;
        Ok((n, Self::addr(&from)?))
    }

    /// Like [`receive`](Datagrams::receive), leaving the datagram where it is.
    fn look(&self, buf: &mut [u8]) -> io::Result<usize> {
        SockRef::from(self).peek(uninit::of_init(buf))
    }

    /// Like [`receive_from`](Datagrams::receive_from), leaving the datagram where it is.
    fn look_from(&self, buf: &mut [u8]) -> io::Result<(usize, Self::Addr)> {
        let (n, from) = SockRef::from(self).peek_from(uninit::of_init(buf))?;
        Ok((n, Self::addr(&from)?))
    }

    /// Sends to the peer, without ever raising SIGPIPE.
    fn transmit(&self, buf: &[u8]) -> io::Result<usize> {
        super::syscalls::send(&SockRef::from(self), buf)
    }
}

macro_rules! datagram_methods {
    ($type:ident, $system:ty, $addr:ty) => {
        /// Receiving.
        impl $type {
            /// Receives a datagram, and returns how long it is. What does not fit into `buf` is
            /// lost. 0 is an empty datagram.
            ///
            /// # Errors
            ///
            /// `ConnectionRefused` if the peer has said that nobody receives there, or another of
            /// the system's. On Windows also if the datagram does not fit.
            ///
            /// # Cancel safety
            ///
            /// Safe: nothing has been received when the future is dropped.
            #[doc(alias = "sock_recv")]
            pub async fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
                self.io
                    .read_with(|io| io.receive(uninit::of_init(buf)))
                    .await
            }

            /// As [`recv`](Self::recv), into memory that need not be initialised. Returns the part
            /// that is now.
            ///
            /// # Errors
            ///
            /// Those of [`recv`](Self::recv).
            ///
            /// # Cancel safety
            ///
            /// Safe: nothing has been received when the future is dropped.
            pub async fn recv_uninit<'b>(
                &self,
                buf: &'b mut [MaybeUninit<u8>],
            ) -> io::Result<&'b mut [u8]> {
                uninit::receive(&self.io, buf).await
            }

            /// Receives a datagram, and returns how long it is and who sent it. What does not fit
            /// into `buf` is lost.
            ///
            /// # Errors
            ///
            /// Those of [`recv`](Self::recv).
            ///
            /// # Cancel safety
            ///
            /// Safe: nothing has been received when the future is dropped.
            #[doc(alias = "sock_recvfrom")]
            #[doc(alias = "sock_recvfrom_into")]
            #[doc(alias = "datagram_received")]
            pub async fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, $addr)> {
                self.io
                    .read_with(|io| io.receive_from(uninit::of_init(buf)))
                    .await
            }

            /// As [`recv_from`](Self::recv_from), into memory that need not be initialised. Returns
            /// the part that is now.
            ///
            /// # Errors
            ///
            /// Those of [`recv`](Self::recv).
            ///
            /// # Cancel safety
            ///
            /// Safe: nothing has been received when the future is dropped.
            pub async fn recv_from_uninit<'b>(
                &self,
                buf: &'b mut [MaybeUninit<u8>],
            ) -> io::Result<(&'b mut [u8], $addr)> {
                uninit::receive_from(&self.io, buf).await
            }

            /// Receives without taking: the next call gets the same datagram.
            ///
            /// # Errors
            ///
            /// Those of [`recv`](Self::recv).
            ///
            /// # Cancel safety
            ///
            /// Safe.
            pub async fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
                self.io.read_with(|io| io.look(buf)).await
            }

            /// As [`peek`](Self::peek), and says who sent it.
            ///
            /// # Errors
            ///
            /// Those of [`recv`](Self::recv).
            ///
            /// # Cancel safety
            ///
            /// Safe.
            pub async fn peek_from(&self, buf: &mut [u8]) -> io::Result<(usize, $addr)> {
                self.io.read_with(|io| io.look_from(buf)).await
            }

            /// Receives what is there, without waiting.
            ///
            /// # Errors
            ///
            /// `WouldBlock` if nothing is there; those of [`recv`](Self::recv).
            pub fn try_recv(&self, buf: &mut [u8]) -> io::Result<usize> {
                self.io.get_ref().receive(uninit::of_init(buf))
            }

            /// Receives what is there, without waiting, and says who sent it.
            ///
            /// # Errors
            ///
            /// `WouldBlock` if nothing is there; those of [`recv`](Self::recv).
            pub fn try_recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, $addr)> {
                self.io.get_ref().receive_from(uninit::of_init(buf))
            }

            /// The poll form of [`recv`](Self::recv), for one task at a time: only the last waker
            /// is kept.
            ///
            /// # Errors
            ///
            /// Those of [`recv`](Self::recv).
            pub fn poll_recv(
                &self,
                cx: &mut Context<'_>,
                buf: &mut [u8],
            ) -> Poll<io::Result<usize>> {
                self.io
                    .poll_read_with(cx, |io| io.receive(uninit::of_init(buf)))
            }

            /// The poll form of [`recv_from`](Self::recv_from), for one task at a time: only the
            /// last waker is kept.
            ///
            /// # Errors
            ///
            /// Those of [`recv`](Self::recv).
            pub fn poll_recv_from(
                &self,
                cx: &mut Context<'_>,
                buf: &mut [u8],
            ) -> Poll<io::Result<(usize, $addr)>> {
                self.io
                    .poll_read_with(cx, |io| io.receive_from(uninit::of_init(buf)))
            }
        }

        /// Sending.
        impl $type {
            /// Sends a datagram to the peer of `connect`, and returns how long it is.
            ///
            /// # Errors
            ///
            /// `NotConnected` (on some systems another) if there is no peer; an error that
            /// says so if the datagram is longer than the system sends (`EMSGSIZE`);
            /// `ConnectionRefused` if nobody receives there; or another of the system's.
            ///
            /// # Cancel safety
            ///
            /// Safe: nothing has been sent when the future is dropped.
            #[doc(alias = "sock_sendall")]
            pub async fn send(&self, buf: &[u8]) -> io::Result<usize> {
                self.io.write_with(|io| io.transmit(buf)).await
            }

            /// Sends to the peer if the system takes it now.
            ///
            /// # Errors
            ///
            /// `WouldBlock` if it does not; those of [`send`](Self::send).
            pub fn try_send(&self, buf: &[u8]) -> io::Result<usize> {
                self.io.get_ref().transmit(buf)
            }

            /// The poll form of [`send`](Self::send), for one task at a time: only the last waker
            /// is kept.
            ///
            /// # Errors
            ///
            /// Those of [`send`](Self::send).
            pub fn poll_send(&self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
                self.io.poll_write_with(cx, |io| io.transmit(buf))
            }
        }

        /// Readiness, and std's socket for what is not here.
        impl $type {
            /// Waits until receiving would probably not have to wait: a datagram or an error is
            /// there.
            ///
            /// # Errors
            ///
            /// The driver's, when it has shut down.
            ///
            /// # Cancel safety
            ///
            /// Safe.
            #[doc(alias = "add_reader")]
            pub async fn readable(&self) -> io::Result<()> {
                self.io.readable().await
            }

            /// Waits until sending would probably not have to wait.
            ///
            /// # Errors
            ///
            /// The driver's, when it has shut down.
            ///
            /// # Cancel safety
            ///
            /// Safe.
            #[doc(alias = "add_writer")]
            pub async fn writable(&self) -> io::Result<()> {
                self.io.writable().await
            }

            /// The poll form of [`readable`](Self::readable), for one task at a time: only the last
            /// waker is kept. Shares its place with the other `poll_recv` forms.
            ///
            /// # Errors
            ///
            /// Those of [`readable`](Self::readable).
            pub fn poll_recv_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.io.poll_readable(cx)
            }

            /// The poll form of [`writable`](Self::writable), for one task at a time: only the last
            /// waker is kept. Shares its place with the other `poll_send` forms.
            ///
            /// # Errors
            ///
            /// Those of [`writable`](Self::writable).
            pub fn poll_send_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.io.poll_writable(cx)
            }

            /// Tries an operation of one's own on std's socket until it does not block: see
            /// [`Async::read_with`], also for errors and cancel safety.
            #[doc(alias = "async_io")]
            pub fn read_with<R, F>(&self, operation: F) -> TryIo<'_, $system, F, R>
            where
                F: FnMut(&$system) -> io::Result<R>,
            {
                self.io.read_with(operation)
            }

            /// Tries an operation of one's own on std's socket until it does not block: see
            /// [`Async::write_with`], also for errors and cancel safety.
            #[doc(alias = "async_io")]
            pub fn write_with<R, F>(&self, operation: F) -> TryIo<'_, $system, F, R>
            where
                F: FnMut(&$system) -> io::Result<R>,
            {
                self.io.write_with(operation)
            }

            /// The poll form of [`read_with`](Self::read_with): see [`Async::poll_read_with`], also
            /// for errors.
            pub fn poll_read_with<R>(
                &self,
                cx: &mut Context<'_>,
                operation: impl FnMut(&$system) -> io::Result<R>,
            ) -> Poll<io::Result<R>> {
                self.io.poll_read_with(cx, operation)
            }

            /// The poll form of [`write_with`](Self::write_with): see [`Async::poll_write_with`],
            /// also for errors.
            pub fn poll_write_with<R>(
                &self,
                cx: &mut Context<'_>,
                operation: impl FnMut(&$system) -> io::Result<R>,
            ) -> Poll<io::Result<R>> {
                self.io.poll_write_with(cx, operation)
            }

            /// Tries a receiving operation of one's own on std's socket once: see
            /// [`Async::try_read_with`], also for errors.
            #[doc(alias = "try_io")]
            pub fn try_read_with<R>(
                &self,
                operation: impl FnMut(&$system) -> io::Result<R>,
            ) -> io::Result<R> {
                self.io.try_read_with(operation)
            }

            /// Tries a sending operation of one's own on std's socket once: see
            /// [`Async::try_write_with`], also for errors.
            #[doc(alias = "try_io")]
            pub fn try_write_with<R>(
                &self,
                operation: impl FnMut(&$system) -> io::Result<R>,
            ) -> io::Result<R> {
                self.io.try_write_with(operation)
            }
        }

        /// Making and unmaking.
        impl $type {
            /// Takes over a socket of std's, and makes it non-blocking.
            ///
            /// # Errors
            ///
            /// The system's, or the driver's if it cannot be registered.
            pub fn from_std(socket: $system) -> io::Result<$type> {
                let io = Async::of_kernel(|| Ok(socket))?;
                Ok($type { io })
            }

            /// Gives the socket back to std. It stays non-blocking; `set_nonblocking(false)`
            /// changes that.
            ///
            /// # Errors
            ///
            /// The driver's if it cannot be deregistered.
            pub fn into_std(self) -> io::Result<$system> {
                self.io.into_inner()
            }

            /// This end's address.
            ///
            /// # Errors
            ///
            /// The system's.
            #[doc(alias = "sockname")]
            pub fn local_addr(&self) -> io::Result<$addr> {
                self.io.get_ref().local_addr()
            }

            /// The peer's address, if there is one.
            ///
            /// # Errors
            ///
            /// `NotConnected` if there is none, or another of the system's.
            #[doc(alias = "peername")]
            pub fn peer_addr(&self) -> io::Result<$addr> {
                self.io.get_ref().peer_addr()
            }

            /// Takes the socket's pending error (`SO_ERROR`), if there is one.
            ///
            /// # Errors
            ///
            /// The system's, if it cannot tell.
            pub fn take_error(&self) -> io::Result<Option<io::Error>> {
                self.io.get_ref().take_error()
            }
        }
    };
}

datagram_methods!(UdpSocket, std::net::UdpSocket, std::net::SocketAddr);
#[cfg(unix)]
datagram_methods!(
    UnixDatagram,
    std::os::unix::net::UnixDatagram,
    std::os::unix::net::SocketAddr
);
