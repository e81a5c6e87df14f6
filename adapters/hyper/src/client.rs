//! hyper-util's pooled client on heist's sockets.
//!
//! [`HeistConnector`] is what the client makes its connections by; [`client`] gives one that has it, with heist's executor and timers.
//!
//! # Examples
//!
//! ```
//! # #[cfg(feature = "http1")] {
//! use axum::{Router, routing::get};
//! use heist::net::TcpListener;
//! use http_body_util::{BodyExt, Empty};
//! use hyper::body::Bytes;
//!
//! # heist::run(async {
//! let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
//! let url = format!("http://{}/", listener.local_addr().unwrap());
//! let app = Router::new().route("/", get(|| async { "hello" }));
//! let server = heist::spawn(heist_hyper::serve(listener, app).into_future());
//!
//! let client = heist_hyper::client::client::<Empty<Bytes>>();
//! let answer = client.get(url.parse().unwrap()).await.unwrap();
//! assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "hello");
//! server.cancel(None);
//! # let _ = server.await;
//! # }).unwrap();
//! # }
//! ```

use crate::{HeistExecutor, HeistTimer};
use heist::net::TcpStream;
use http::Uri;
use http_body::Body;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection};
use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tower_service::Service;

/// How long connecting may take: shorter than the system's minutes, longer than two lost packets.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// hyper-util's client on heist: pooled connections, HTTP/1, and HTTP/2 if it is asked for.
///
/// For other settings, build one with [`Client::builder`], [`HeistExecutor`], [`HeistTimer`] (as `timer` and as `pool_timer`) and a
/// [`HeistConnector`].
///
/// # Examples
///
/// ```
/// use http_body_util::Empty;
/// use hyper::body::Bytes;
///
/// # heist::run(async {
/// let client = heist_hyper::client::client::<Empty<Bytes>>();
/// // Nobody listens there.
/// assert!(client.get("http://127.0.0.1:1/".parse().unwrap()).await.unwrap_err().is_connect());
/// # }).unwrap();
/// ```
pub fn client<B>() -> Client<HeistConnector, B>
where
    B: Body + Send,
    B::Data: Send,
{
    Client::builder(HeistExecutor::new())
        .timer(HeistTimer)
        .pool_timer(HeistTimer)
        .build(HeistConnector::new())
}

/// Connects to what a URI names, by heist's TCP: a tower service from `Uri` to a stream.
///
/// For `https`, put it into a TLS connector such as hyper-rustls's, after [`enforce_http(false)`](Self::enforce_http). By itself it refuses
/// every scheme but `http`.
#[derive(Clone, Debug)]
pub struct HeistConnector {
    timeout: Duration,
    nodelay: bool,
    enforce_http: bool,
}

impl Default for HeistConnector {
    fn default() -> Self {
        Self::new()
    }
}

impl HeistConnector {
    /// One that gives up after 10 s, and sends small packets at once.
    pub fn new() -> Self {
        Self {
            timeout: CONNECT_TIMEOUT,
            nodelay: true,
            enforce_http: true,
        }
    }

    /// How long the lookup of the name and connecting may take together.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Whether small packets are sent at once (`TCP_NODELAY`). Yes, if nothing else is said.
    pub fn tcp_nodelay(mut self, nodelay: bool) -> Self {
        self.nodelay = nodelay;
        self
    }

    /// Whether schemes other than `http` are refused. Yes, if nothing else is said.
    pub fn enforce_http(mut self, enforce: bool) -> Self {
        self.enforce_http = enforce;
        self
    }

    async fn connect(self, uri: Uri) -> io::Result<HeistStream> {
        let (host, port) = self.target(&uri)?;
        let connecting = heist::timeout(self.timeout, TcpStream::connect((host, port)));
        let stream = match connecting.await {
            Ok(connected) => connected?,
            Err(late) => return Err(io::Error::new(io::ErrorKind::TimedOut, late)),
        };
        stream.set_nodelay(self.nodelay)?;
        Ok(HeistStream(stream))
    }

    fn target<'u>(&self, uri: &'u Uri) -> io::Result<(&'u str, u16)> {
        let refused = |why| io::Error::new(io::ErrorKind::InvalidInput, format!("{uri}: {why}"));
        let port = match uri.scheme_str() {
            Some("http") => 80,
            Some("https") if !self.enforce_http => 443,
            Some(_) if self.enforce_http => return Err(refused("only http is connected to")),
            _ => 80,
        };
        let host = uri.host().ok_or_else(|| refused("no host"))?;
        // An IPv6 address stands in brackets.
        let host = host.trim_start_matches('[').trim_end_matches(']');
        Ok((host, uri.port_u16().unwrap_or(port)))
    }
}

impl Service<Uri> for HeistConnector {
    type Response = HeistStream;
    type Error = io::Error;
    type Future = Connecting;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Connecting {
        Connecting(Box::pin(self.clone().connect(uri)))
    }
}

/// The future of a [`HeistConnector`].
#[must_use = "futures do nothing unless awaited"]
pub struct Connecting(Pin<Box<dyn Future<Output = io::Result<HeistStream>> + Send>>);

impl Future for Connecting {
    type Output = io::Result<HeistStream>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for Connecting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connecting").finish_non_exhaustive()
    }
}

/// A connection of [`HeistConnector`]'s: heist's stream, under a type that hyper-util's trait can be implemented for.
#[derive(Debug)]
pub struct HeistStream(TcpStream);

impl HeistStream {
    /// heist's stream.
    pub fn into_inner(self) -> TcpStream {
        self.0
    }
}

impl AsRef<TcpStream> for HeistStream {
    fn as_ref(&self) -> &TcpStream {
        &self.0
    }
}

impl Connection for HeistStream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for HeistStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl Write for HeistStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Write::poll_write(Pin::new(&mut self.0), cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Write::poll_write_vectored(Pin::new(&mut self.0), cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        Write::is_write_vectored(&self.0)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Write::poll_flush(Pin::new(&mut self.0), cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Write::poll_shutdown(Pin::new(&mut self.0), cx)
    }
}
