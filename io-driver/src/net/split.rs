//! A stream in two halves, so that two tasks can use it through the I/O traits.
//!
//! The halves have the stream's methods of their direction; `AsRef` leads to the stream for the
//! rest (addresses, options).

use std::error::Error;
use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;

use super::tcp_stream::TcpStream;

/// The reading half that [`TcpStream::split`] lends.
#[derive(Debug)]
pub struct ReadHalf<'a>(&'a TcpStream);

/// The writing half that [`TcpStream::split`] lends. Dropping it leaves the stream open.
#[derive(Debug)]
pub struct WriteHalf<'a>(&'a TcpStream);

pub(super) fn borrowed(stream: &mut TcpStream) -> (ReadHalf<'_>, WriteHalf<'_>) {
    (ReadHalf(stream), WriteHalf(stream))
}

/// The reading half that [`TcpStream::into_split`] makes.
#[derive(Debug)]
pub struct OwnedReadHalf {
    stream: Arc<TcpStream>,
}

/// The writing half that [`TcpStream::into_split`] makes.
///
/// Dropping it ends the stream for the peer (`Shutdown::Write`); [`forget`](Self::forget) does
/// not.
#[derive(Debug)]
pub struct OwnedWriteHalf {
    stream: Arc<TcpStream>,
    shutdown_on_drop: bool,
}

pub(super) fn owned(stream: TcpStream) -> (OwnedReadHalf, OwnedWriteHalf) {
    let stream = Arc::new(stream);
    let reader = OwnedReadHalf {
        stream: stream.clone(),
    };
    let writer = OwnedWriteHalf {
        stream,
        shutdown_on_drop: true,
    };
    (reader, writer)
}

impl OwnedReadHalf {
    /// Puts the two halves of one stream together again.
    ///
    /// # Errors
    ///
    /// Gives both halves back if they are not of one stream.
    pub fn reunite(self, writer: OwnedWriteHalf) -> Result<TcpStream, ReuniteError> {
        if !Arc::ptr_eq(&self.stream, &writer.stream) {
            return Err(ReuniteError(self, writer));
        }
        writer.forget();
        match Arc::try_unwrap(self.stream) {
            Ok(stream) => Ok(stream),
            Err(_) => unreachable!("a stream has two halves, and both are here"),
        }
    }
}

impl OwnedWriteHalf {
    /// Puts the two halves of one stream together again.
    ///
    /// # Errors
    ///
    /// Gives both halves back if they are not of one stream.
    pub fn reunite(self, reader: OwnedReadHalf) -> Result<TcpStream, ReuniteError> {
        reader.reunite(self)
    }

    /// Drops the half without ending the stream for the peer.
    pub fn forget(mut self) {
        self.shutdown_on_drop = false;
    }
}

impl Drop for OwnedWriteHalf {
    fn drop(&mut self) {
        if self.shutdown_on_drop {
            // An error says that the connection is gone, which is as good.
            let _ = self.stream.shutdown(Shutdown::Write);
        }
    }
}

/// Two halves that do not belong to one stream. Returned by [`OwnedReadHalf::reunite`].
#[derive(Debug)]
pub struct ReuniteError(OwnedReadHalf, OwnedWriteHalf);

impl ReuniteError {
    /// The halves, as they were passed in.
    #[must_use]
    pub fn into_halves(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        (self.0, self.1)
    }
}

impl fmt::Display for ReuniteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the two halves are of different streams; reunite those of one `into_split`")
    }
}

impl Error for ReuniteError {}

impl AsRef<TcpStream> for ReadHalf<'_> {
    fn as_ref(&self) -> &TcpStream {
        self.0
    }
}

impl AsRef<TcpStream> for WriteHalf<'_> {
    fn as_ref(&self) -> &TcpStream {
        self.0
    }
}

impl AsRef<TcpStream> for OwnedReadHalf {
    fn as_ref(&self) -> &TcpStream {
        &self.stream
    }
}

impl AsRef<TcpStream> for OwnedWriteHalf {
    fn as_ref(&self) -> &TcpStream {
        &self.stream
    }
}

macro_rules! read_methods {
    ($($half:ty),*) => {$(
        impl $half {
            /// See [`TcpStream::read`], also for errors and cancel safety.
            pub async fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
                self.as_ref().read(buf).await
            }

            /// See [`TcpStream::read_vectored`], also for errors and cancel safety.
            pub async fn read_vectored(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
                self.as_ref().read_vectored(bufs).await
            }

            /// See [`TcpStream::read_exact`], also for errors and cancel safety.
            pub async fn read_exact(&self, buf: &mut [u8]) -> io::Result<()> {
                self.as_ref().read_exact(buf).await
            }

            /// See [`TcpStream::peek`], also for errors and cancel safety.
            pub async fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
                self.as_ref().peek(buf).await
            }

            /// See [`TcpStream::readable`], also for errors and cancel safety.
            pub async fn readable(&self) -> io::Result<()> {
                self.as_ref().readable().await
            }

            /// See [`TcpStream::try_read`], also for errors.
            pub fn try_read(&self, buf: &mut [u8]) -> io::Result<usize> {
                self.as_ref().try_read(buf)
            }
        }
    )*};
}

macro_rules! write_methods {
    ($($half:ty),*) => {$(
        impl $half {
            /// See [`TcpStream::write`], also for errors and cancel safety.
            pub async fn write(&self, buf: &[u8]) -> io::Result<usize> {
                self.as_ref().write(buf).await
            }

            /// See [`TcpStream::write_vectored`], also for errors and cancel safety.
            pub async fn write_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
                self.as_ref().write_vectored(bufs).await
            }

            /// See [`TcpStream::write_all`], also for errors and cancel safety.
            pub async fn write_all(&self, buf: &[u8]) -> io::Result<()> {
                self.as_ref().write_all(buf).await
            }

            /// See [`TcpStream::writable`], also for errors and cancel safety.
            pub async fn writable(&self) -> io::Result<()> {
                self.as_ref().writable().await
            }

            /// See [`TcpStream::try_write`], also for errors.
            pub fn try_write(&self, buf: &[u8]) -> io::Result<usize> {
                self.as_ref().try_write(buf)
            }

            /// Ends the stream for the peer; see [`TcpStream::shutdown`], also for errors.
            #[doc(alias = "write_eof")]
            pub fn shutdown(&self) -> io::Result<()> {
                self.as_ref().shutdown(Shutdown::Write)
            }
        }
    )*};
}

macro_rules! both_methods {
    ($($half:ty),*) => {$(
        impl $half {
            /// This end's address; see [`TcpStream::local_addr`], also for errors.
            pub fn local_addr(&self) -> io::Result<SocketAddr> {
                self.as_ref().local_addr()
            }

            /// The other end's address; see [`TcpStream::peer_addr`], also for errors.
            pub fn peer_addr(&self) -> io::Result<SocketAddr> {
                self.as_ref().peer_addr()
            }
        }
    )*};
}

read_methods!(ReadHalf<'_>, OwnedReadHalf);
write_methods!(WriteHalf<'_>, OwnedWriteHalf);
both_methods!(ReadHalf<'_>, OwnedReadHalf, WriteHalf<'_>, OwnedWriteHalf);
