//! What a server accepts connections from.

use heist::net::{TcpListener, TcpStream};
#[cfg(unix)]
use heist::net::{UnixListener, UnixStream};
use hyper::rt::{Read, Write};
use std::fmt;
use std::future::{Ready, ready};
use std::io;
use std::net::SocketAddr;

/// What [`serve`](crate::serve()) accepts connections from: heist's `TcpListener` and `UnixListener`, or anything else that gives streams.
///
/// A connection comes in two steps. [`accept`](Self::accept) waits for one, in the server's own task. What it gives is a future,
/// [`Opening`](Self::Opening), which is awaited in the connection's task and there gives the stream: a TLS handshake belongs there, where
/// it holds nobody up. See [`handshake`](Self::handshake).
///
/// # Examples
///
/// A listener whose connections come from somewhere else in the program:
///
/// ```
/// use heist::net::TcpStream;
/// use heist::sync::Queue;
/// use heist_hyper::{AcceptOptions, Listener};
/// use std::{future::{Ready, ready}, io, sync::Arc};
///
/// struct Handed(Arc<Queue<TcpStream>>);
///
/// impl Listener for Handed {
///     type Stream = TcpStream;
///     type Opening = Ready<io::Result<TcpStream>>;
///     type Peer = ();
///
///     async fn accept(&self, options: &AcceptOptions) -> io::Result<(Self::Opening, ())> {
///         let stream = self.0.get().await.map_err(io::Error::other)?;
///         stream.set_nodelay(options.nodelay())?;
///         Ok((ready(Ok(stream)), ()))
///     }
/// }
/// ```
pub trait Listener: Send + Sync + 'static {
    /// What bytes are read from and written to.
    type Stream: Read + Write + Unpin + Send + 'static;
    /// What is still to be done before there is a stream. Bounded in time by the server's
    /// [header timeout](crate::Serve::header_read_timeout).
    type Opening: Future<Output = io::Result<Self::Stream>> + Send + 'static;
    /// Who the other side is.
    type Peer: fmt::Debug + Send + Sync + 'static;

    /// Waits for a connection.
    ///
    /// # Errors
    ///
    /// Only those after which there is no point in accepting any more: they end the server. Failed connections and shortages of descriptors
    /// or memory are the listener's to sit out, as heist's listeners do.
    ///
    /// # Cancel safety
    ///
    /// The future is dropped when the server stops. A connection that it had taken may be lost, since nobody would have answered.
    fn accept(
        &self,
        options: &AcceptOptions,
    ) -> impl Future<Output = io::Result<(Self::Opening, Self::Peer)>> + Send;

    /// The same listener, whose connections go through `handshake` first, each in its own task: TLS, a proxy's header, a setting of the
    /// socket.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example() -> std::io::Result<()> {
    /// use heist::net::{TcpListener, TcpStream};
    /// use heist_hyper::Listener;
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// // With tokio-rustls this is `Ok(TokioIo::new(acceptor.accept(stream).await?))`, with hyper-util's `TokioIo`.
    /// let listener = listener.handshake(|stream: TcpStream| async move {
    ///     stream.set_ttl(32)?;
    ///     Ok(stream)
    /// });
    /// # drop(listener);
    /// # Ok(())
    /// # }
    /// ```
    fn handshake<H, F, T>(self, handshake: H) -> Handshake<Self, H>
    where
        Self: Sized,
        H: Fn(Self::Stream) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = io::Result<T>> + Send + 'static,
        T: Read + Write + Unpin + Send + 'static,
    {
        Handshake {
            listener: self,
            handshake,
        }
    }
}

/// What the server wants of a new connection.
#[derive(Clone, Copy, Debug)]
pub struct AcceptOptions {
    pub(crate) nodelay: bool,
}

impl AcceptOptions {
    /// Whether small packets are to be sent at once (`TCP_NODELAY`); of no concern to other sockets than TCP's.
    pub fn nodelay(&self) -> bool {
        self.nodelay
    }
}

impl Listener for TcpListener {
    type Stream = TcpStream;
    type Opening = Ready<io::Result<TcpStream>>;
    type Peer = SocketAddr;

    async fn accept(&self, options: &AcceptOptions) -> io::Result<(Self::Opening, SocketAddr)> {
        let (stream, peer) = TcpListener::accept(self).await?;
        if options.nodelay {
            // One that refuses is already gone: reading will say so.
            let _ = stream.set_nodelay(true);
        }
        Ok((ready(Ok(stream)), peer))
    }
}

/// Peers are known by the address that they have bound, which is seldom any: who they are, a stream's `peer_cred` knows.
#[cfg(unix)]
impl Listener for UnixListener {
    type Stream = UnixStream;
    type Opening = Ready<io::Result<UnixStream>>;
    type Peer = std::os::unix::net::SocketAddr;

    async fn accept(&self, _: &AcceptOptions) -> io::Result<(Self::Opening, Self::Peer)> {
        let (stream, peer) = UnixListener::accept(self).await?;
        Ok((ready(Ok(stream)), peer))
    }
}

/// A listener with a handshake; see [`Listener::handshake`].
pub struct Handshake<L, H> {
    listener: L,
    handshake: H,
}

impl<L, H, F, T> Listener for Handshake<L, H>
where
    L: Listener,
    H: Fn(L::Stream) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = io::Result<T>> + Send + 'static,
    T: Read + Write + Unpin + Send + 'static,
{
    type Stream = T;
    type Opening = std::pin::Pin<Box<dyn Future<Output = io::Result<T>> + Send>>;
    type Peer = L::Peer;

    async fn accept(&self, options: &AcceptOptions) -> io::Result<(Self::Opening, L::Peer)> {
        let (opening, peer) = self.listener.accept(options).await?;
        let handshake = self.handshake.clone();
        let opening = Box::pin(async move { handshake(opening.await?).await });
        Ok((opening, peer))
    }
}

impl<L: fmt::Debug, H> fmt::Debug for Handshake<L, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Handshake").field(&self.listener).finish()
    }
}
