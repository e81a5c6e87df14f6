//! The methods of everything that is a byte stream: streams, their halves, ends of pipes.
//!
//! Each macro gives one direction's to the types named, with their generics in brackets before.

use std::io::{self, IoSlice, IoSliceMut};

use super::{
    Duplex, PeekCalls, ReadCalls, Reader, WriteCalls, Writer, acceptable, acceptable_mut, uninit,
};
use crate::net::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, TcpStream, WriteHalf};
#[cfg(unix)]
use crate::{
    net::UnixStream,
    pipe::{Receiver, Sender},
};

macro_rules! read_methods {
    ($([$($generics:tt)*] $type:ty),* $(,)?) => {$(
        /// Reading.
        impl<$($generics)*> $type {
            /// Reads at most `buf.len()` bytes, and returns how many. 0 is the end of the stream,
            /// unless `buf` is empty.
            ///
            /// # Errors
            ///
            /// `ConnectionReset`, or another of the system's.
            ///
            /// # Cancel safety
            ///
            /// Safe: nothing has been read when the future is dropped.
            #[doc(alias = "sock_recv")]
            #[doc(alias = "sock_recv_into")]
            pub async fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
                if buf.is_empty() {
                    return Ok(0);
                }
                super::recv(self.read_end(), buf).await
            }

            /// Reads into several buffers, one after the other, with one call. Returns how many
            /// bytes.
            ///
            /// # Errors
            ///
            /// Those of [`read`](Self::read).
            ///
            /// # Cancel safety
            ///
            /// Safe: nothing has been read when the future is dropped.
            pub async fn read_vectored(
                &self,
                bufs: &mut [IoSliceMut<'_>],
            ) -> io::Result<usize> {
                let (bufs, len) = acceptable_mut(bufs);
                if len == 0 {
                    return Ok(0);
                }
                let io = self.read_end();
                super::recv_vectored(io, bufs, len).await
            }

            /// Fills all of `buf`.
            ///
            /// # Errors
            ///
            /// `UnexpectedEof` if the stream ends before; those of [`read`](Self::read).
            ///
            /// # Cancel safety
            ///
            /// Not safe: bytes that have arrived before the drop are in `buf`, and nobody knows
            /// how many.
            #[doc(alias = "readexactly")]
            pub async fn read_exact(&self, mut buf: &mut [u8]) -> io::Result<()> {
                while !buf.is_empty() {
                    match self.read(buf).await? {
                        0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                        n => buf = &mut buf[n..],
                    }
                }
                Ok(())
            }

            /// Waits until reading would probably not have to wait: bytes, the end of the stream,
            /// or an error are there.
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
                ReadCalls::readable(self.read_end()).await
            }

            /// Reads what is there, without waiting. For use after [`readable`](Self::readable),
            /// but it always asks the kernel, and so also finds what the driver has not heard of
            /// yet.
            ///
            /// # Errors
            ///
            /// `WouldBlock` if nothing is there; those of [`read`](Self::read).
            pub fn try_read(&self, buf: &mut [u8]) -> io::Result<usize> {
                if buf.is_empty() {
                    return Ok(0);
                }
                let io = self.read_end().get_ref();
                io.recv(uninit::of_init(buf))
            }
        }
    )*};
}

macro_rules! peek_methods {
    ($([$($generics:tt)*] $type:ty),* $(,)?) => {$(
        impl<$($generics)*> $type {
            /// Reads without taking: the next read gets the same bytes. Returns how many; 0 is the
            /// end of the stream, unless `buf` is empty.
            ///
            /// # Errors
            ///
            /// Those of [`read`](Self::read).
            ///
            /// # Cancel safety
            ///
            /// Safe.
            pub async fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
                if buf.is_empty() {
                    return Ok(0);
                }
                self.read_end()
                    .read_with(|io| io.recv_peek(buf))
                    .await
            }
        }
    )*};
}

macro_rules! write_methods {
    ($([$($generics:tt)*] $type:ty),* $(,)?) => {$(
        /// Writing.
        impl<$($generics)*> $type {
            /// Writes a part of `buf`, as much as fits, and returns how many bytes.
            ///
            /// # Errors
            ///
            /// `BrokenPipe` or `ConnectionReset` if the peer is gone, or another of the system's.
            /// A socket that is written to raises no signal.
            ///
            /// # Cancel safety
            ///
            /// Safe: nothing has been written when the future is dropped.
            pub async fn write(&self, buf: &[u8]) -> io::Result<usize> {
                self.write_end()
                    .write_some(buf.len(), |io| io.send(buf))
                    .await
            }

            /// Writes a part of several buffers, one after the other, with one call. Returns how
            /// many bytes.
            ///
            /// # Errors
            ///
            /// Those of [`write`](Self::write).
            ///
            /// # Cancel safety
            ///
            /// Safe: nothing has been written when the future is dropped.
            #[doc(alias = "writelines")]
            pub async fn write_vectored(
                &self,
                bufs: &[IoSlice<'_>],
            ) -> io::Result<usize> {
                let (bufs, len) = acceptable(bufs);
                self.write_end()
                    .write_some(len, |io| io.send_vectored(bufs))
                    .await
            }

            /// Writes all of `buf`.
            ///
            /// # Errors
            ///
            /// `WriteZero` if the system takes nothing any more; those of [`write`](Self::write).
            ///
            /// # Cancel safety
            ///
            /// Not safe: a part of `buf` may have been written before the drop, and nobody knows
            /// how much.
            #[doc(alias = "sock_sendall")]
            #[doc(alias = "drain")]
            pub async fn write_all(&self, mut buf: &[u8]) -> io::Result<()> {
                while !buf.is_empty() {
                    match self.write(buf).await? {
                        0 => return Err(io::ErrorKind::WriteZero.into()),
                        n => buf = &buf[n..],
                    }
                }
                Ok(())
            }

            /// Waits until writing would probably not have to wait: there is room, or an error.
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
                WriteCalls::writable(self.write_end()).await
            }

            /// Writes what fits, without waiting. For use after [`writable`](Self::writable), but
            /// it always asks the kernel.
            ///
            /// # Errors
            ///
            /// `WouldBlock` if nothing fits; those of [`write`](Self::write).
            pub fn try_write(&self, buf: &[u8]) -> io::Result<usize> {
                let io = self.write_end().get_ref();
                io.send(buf)
            }
        }
    )*};
}

read_methods!([] TcpStream, [S: Duplex] ReadHalf<'_, S>, [S: Duplex] OwnedReadHalf<S>);
peek_methods!([] TcpStream, [S: Duplex] ReadHalf<'_, S>, [S: Duplex] OwnedReadHalf<S>);
write_methods!([] TcpStream, [S: Duplex] WriteHalf<'_, S>, [S: Duplex] OwnedWriteHalf<S>);

#[cfg(unix)]
read_methods!([] UnixStream, [] Receiver);
#[cfg(unix)]
peek_methods!([] UnixStream);
#[cfg(unix)]
write_methods!([] UnixStream, [] Sender);
