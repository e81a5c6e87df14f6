//! The trait families' names for what reads and writes by blocking calls.
//!
//! A reader has `poll_read_with`, which lends the bytes; a writer has `poll_write_some` and `poll_flushed`.

/// `poll_io_traits!(read Type)`, `poll_io_traits!(write Type)`. Expects `io`, `Pin`, `Context` and `Poll`.
macro_rules! poll_io_traits {
    (read $type:ty) => {
        impl futures_io::AsyncRead for $type {
            fn poll_read(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut [u8],
            ) -> Poll<io::Result<usize>> {
                self.poll_read_with(cx, buf.len(), crate::offload::copy_to(buf))
            }
        }

        #[cfg(feature = "tokio-io")]
        impl tokio::io::AsyncRead for $type {
            fn poll_read(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut tokio::io::ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                self.poll_read_with(cx, buf.remaining(), |bytes| buf.put_slice(bytes))
                    .map_ok(drop)
            }
        }
    };
    (write $type:ty) => {
        impl futures_io::AsyncWrite for $type {
            fn poll_write(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &[u8],
            ) -> Poll<io::Result<usize>> {
                self.poll_write_some(cx, buf)
            }

            fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.poll_flushed(cx)
            }

            fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.poll_flushed(cx)
            }
        }

        #[cfg(feature = "tokio-io")]
        impl tokio::io::AsyncWrite for $type {
            fn poll_write(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &[u8],
            ) -> Poll<io::Result<usize>> {
                self.poll_write_some(cx, buf)
            }

            fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.poll_flushed(cx)
            }

            fn poll_shutdown(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
            ) -> Poll<io::Result<()>> {
                self.poll_flushed(cx)
            }
        }
    };
}

pub(crate) use poll_io_traits;

/// Takes lent bytes into a buffer that is large enough.
pub(crate) fn copy_to(buf: &mut [u8]) -> impl FnOnce(&[u8]) {
    |bytes| buf[..bytes.len()].copy_from_slice(bytes)
}
