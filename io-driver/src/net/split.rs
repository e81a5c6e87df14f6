//! A stream in two halves, so that two tasks can use it through the I/O traits.
//!
//! The halves have the stream's methods of their direction; `AsRef` leads to the stream for the
//! rest (addresses, options). What stream it is, TCP's or Unix's, makes no difference.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use super::tcp_stream::TcpStream;
use crate::bytes::{Duplex, Reader, WriteCalls, Writer};
use crate::source::Async;

/// The reading half that [`TcpStream::split`] lends, or another stream's `split`.
#[derive(Debug)]
pub struct ReadHalf<'a, S: Duplex = TcpStream>(&'a S);

/// The writing half that [`TcpStream::split`] lends, or another stream's `split`. Dropping it leaves the stream open.
#[derive(Debug)]
pub struct WriteHalf<'a, S: Duplex = TcpStream>(&'a S);

pub(super) fn borrowed<S: Duplex>(stream: &mut S) -> (ReadHalf<'_, S>, WriteHalf<'_, S>) {
    (ReadHalf(stream), WriteHalf(stream))
}

/// The reading half that [`TcpStream::into_split`] makes, or another stream's `into_split`.
#[derive(Debug)]
pub struct OwnedReadHalf<S: Duplex = TcpStream> {
    stream: Arc<S>,
}

/// The writing half that [`TcpStream::into_split`] makes, or another stream's `into_split`.
///
/// Dropping it ends the stream for the peer (`Shutdown::Write`); [`forget`](Self::forget) does
/// not.
#[derive(Debug)]
pub struct OwnedWriteHalf<S: Duplex = TcpStream> {
    stream: Arc<S>,
    shutdown_on_drop: bool,
}

pub(super) fn owned<S: Duplex>(stream: S) -> (OwnedReadHalf<S>, OwnedWriteHalf<S>) {
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

impl<S: Duplex> OwnedReadHalf<S> {
    /// Puts the two halves of one stream together again.
    ///
    /// # Errors
    ///
    /// Gives both halves back if they are not of one stream.
    ///
    /// # Examples
    ///
    /// ```
    /// use heist_io_driver::net::{TcpListener, TcpStream};
    ///
    /// # futures_lite::future::block_on(async {
    /// let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// let (peer, _) = listener.accept().await?;
    ///
    /// let (reader, writer) = stream.into_split();
    /// writer.write_all(b"question").await?; // in one task, say
    /// peer.write_all(b"answer").await?;
    /// let mut answer = [0; 6];
    /// reader.read_exact(&mut answer).await?; // in another
    /// let stream = reader.reunite(writer).unwrap();
    /// stream.set_nodelay(true)?;
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub fn reunite(self, writer: OwnedWriteHalf<S>) -> Result<S, ReuniteError<S>> {
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

impl<S: Duplex> OwnedWriteHalf<S> {
    /// Puts the two halves of one stream together again.
    ///
    /// # Errors
    ///
    /// Gives both halves back if they are not of one stream.
    pub fn reunite(self, reader: OwnedReadHalf<S>) -> Result<S, ReuniteError<S>> {
        reader.reunite(self)
    }

    /// Drops the half without ending the stream for the peer.
    pub fn forget(mut self) {
        self.shutdown_on_drop = false;
    }
}

impl<S: Duplex> Drop for OwnedWriteHalf<S> {
    fn drop(&mut self) {
        if self.shutdown_on_drop {
            // An error says that the connection is gone, which is as good.
            let _ = self.shutdown();
        }
    }
}

/// Two halves that do not belong to one stream. Returned by [`OwnedReadHalf::reunite`].
#[derive(Debug)]
pub struct ReuniteError<S: Duplex = TcpStream>(OwnedReadHalf<S>, OwnedWriteHalf<S>);

impl<S: Duplex> ReuniteError<S> {
    /// The halves, as they were passed in.
    #[must_use]
    pub fn into_halves(self) -> (OwnedReadHalf<S>, OwnedWriteHalf<S>) {
        (self.0, self.1)
    }
}

impl<S: Duplex> fmt::Display for ReuniteError<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the two halves are of different streams; reunite those of one `into_split`")
    }
}

impl<S: Duplex + fmt::Debug> Error for ReuniteError<S> {}

/// Leads from a half to its stream.
macro_rules! half {
    ([$half:ty] $side:ident::$end:ident, $it:ident => $stream:expr) => {
        impl<S: Duplex> AsRef<S> for $half {
            fn as_ref(&self) -> &S {
                let $it = self;
                $stream
            }
        }

        impl<S: Duplex> $side for $half {
            type Calls = <S as $side>::Calls;

            fn $end(&self) -> &Async<Self::Calls> {
                self.as_ref().$end()
            }
        }
    };
}

half!([ReadHalf<'_, S>] Reader::read_end, it => it.0);
half!([OwnedReadHalf<S>] Reader::read_end, it => &it.stream);
half!([WriteHalf<'_, S>] Writer::write_end, it => it.0);
half!([OwnedWriteHalf<S>] Writer::write_end, it => &it.stream);

macro_rules! shutdown {
    ($($half:ty),*) => {$(
        impl<S: Duplex> $half {
            /// Ends the stream for the peer; see [`TcpStream::shutdown`], also for errors.
            #[doc(alias = "write_eof")]
            pub fn shutdown(&self) -> io::Result<()> {
                self.write_end().get_ref().end()
            }
        }
    )*};
}

shutdown!(WriteHalf<'_, S>, OwnedWriteHalf<S>);

macro_rules! addresses {
    ($stream:ty, $addr:ty: $($half:ty),*) => {$(
        impl $half {
            /// This end's address; see the stream's `local_addr`, also for errors.
            pub fn local_addr(&self) -> io::Result<$addr> {
                self.as_ref().local_addr()
            }

            /// The other end's address; see the stream's `peer_addr`, also for errors.
            pub fn peer_addr(&self) -> io::Result<$addr> {
                self.as_ref().peer_addr()
            }
        }
    )*};
    ($stream:ty, $addr:ty) => {
        addresses!(
            $stream, $addr: ReadHalf<'_, $stream>, OwnedReadHalf<$stream>,
            WriteHalf<'_, $stream>, OwnedWriteHalf<$stream>
        );
    };
}

addresses!(TcpStream, SocketAddr);
#[cfg(unix)]
addresses!(super::UnixStream, std::os::unix::net::SocketAddr);
