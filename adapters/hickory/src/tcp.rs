//! Connections.

use futures_io::{AsyncRead, AsyncWrite};
use heist::net::{TcpSocket, TcpStream};
use hickory_net::runtime::DnsTcpStream;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::HeistTime;

/// A [`heist::net::TcpStream`] that hickory knows.
///
/// # Examples
///
/// ```
/// use heist::net::TcpListener;
/// use heist_hickory::HeistTcpStream;
///
/// # heist::run(async {
/// let listener = TcpListener::bind("127.0.0.1:0").await?;
/// let from = "127.0.0.1:0".parse().unwrap();
/// let _stream = HeistTcpStream::connect(listener.local_addr()?, Some(from)).await?;
/// let (_, client) = listener.accept().await?;
/// assert!(client.ip().is_loopback());
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap().unwrap();
/// ```
#[derive(Debug)]
pub struct HeistTcpStream(TcpStream);

impl HeistTcpStream {
    /// Connects to `server`, from `bind` if that is given.
    ///
    /// # Errors
    ///
    /// The system's, if the address cannot be had or the server refuses.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, there is no connection.
    pub async fn connect(server: SocketAddr, bind: Option<SocketAddr>) -> io::Result<Self> {
        let socket = TcpSocket::new_for(server)?;
        if let Some(local) = bind {
            socket.bind(local)?;
        }
        socket.set_nodelay(true)?;
        socket.connect(server).await.map(Self)
    }
}

impl DnsTcpStream for HeistTcpStream {
    type Time = HeistTime;
}

impl AsyncRead for HeistTcpStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }

    fn poll_read_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read_vectored(cx, bufs)
    }
}

impl AsyncWrite for HeistTcpStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(cx)
    }
}
