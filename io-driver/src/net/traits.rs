//! The trait families' names for [`TcpStream`]'s read path and write path.
//!
//! Each trait has its macro, applied to the stream and to the halves that have that direction. All
//! of these types lead to the stream by `AsRef`.

use std::io::{self, IoSlice, IoSliceMut};
use std::pin::Pin;
use std::task::{Context, Poll};

use super::split::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, WriteHalf};
use super::tcp_stream::TcpStream;
use super::uninit;

macro_rules! readers {
    ($($type:ty),*) => {$(
        impl futures_io::AsyncRead for $type {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut [u8],
            ) -> Poll<io::Result<usize>> {
                stream(&*self).poll_recv(cx, uninit::of_init(buf))
            }

            fn poll_read_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &mut [IoSliceMut<'_>],
            ) -> Poll<io::Result<usize>> {
                stream(&*self).poll_recv_vectored(cx, bufs)
            }
        }

        #[cfg(feature = "hyper")]
        impl hyper::rt::Read for $type {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: hyper::rt::ReadBufCursor<'_>,
            ) -> Poll<io::Result<()>> {
                uninit::poll_fill_hyper(stream(&*self), cx, buf)
            }
        }

        #[cfg(feature = "tokio-io")]
        impl tokio::io::AsyncRead for $type {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut tokio::io::ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                uninit::poll_fill_tokio(stream(&*self), cx, buf)
            }
        }
    )*};
}

/// The methods that the three write traits share, word for word.
macro_rules! write_methods {
    () => {
        fn poll_write(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &[u8],
        ) -> Poll<io::Result<usize>> {
            stream(&*self).poll_send(cx, buf)
        }

        fn poll_write_vectored(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bufs: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            stream(&*self).poll_send_vectored(cx, bufs)
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    };
}

macro_rules! writers {
    ($($type:ty),*) => {$(
        impl futures_io::AsyncWrite for $type {
            write_methods!();

            fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(stream(&*self).close_write())
            }
        }

        #[cfg(feature = "hyper")]
        impl hyper::rt::Write for $type {
            write_methods!();

            fn is_write_vectored(&self) -> bool {
                true
            }

            fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(stream(&*self).close_write())
            }
        }

        #[cfg(feature = "tokio-io")]
        impl tokio::io::AsyncWrite for $type {
            write_methods!();

            fn is_write_vectored(&self) -> bool {
                true
            }

            fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(stream(&*self).close_write())
            }
        }
    )*};
}

readers!(TcpStream, ReadHalf<'_>, OwnedReadHalf);
writers!(TcpStream, WriteHalf<'_>, OwnedWriteHalf);

fn stream(of: &impl AsRef<TcpStream>) -> &TcpStream {
    of.as_ref()
}
