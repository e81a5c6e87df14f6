//! A server: a listener, a service, and the connections between them.
//!
//! ```text
//!   Serve        what it is told, and the loop that accepts
//!   connection   one connection's life: opened, greeted, answered, told to finish
//!   links        who is connected, and what each has done
//!   brood        a connection's tasks, in the server's group; their panics end here
//!   answer       a tower service as hyper's; requests are counted until their answers are out
//!   stream       bytes read ahead, to see what is spoken; a limit on writes
//! ```
//!
//! All tasks are in two `TaskGroup`s, one in the other, whose body is the loop: HTTP/2's streams, and the connections. So the rules of groups
//! are the server's: none of its tasks outlives it, and a cancellation reaches them all and waits for them, first for the streams.
//!
//! hyper-util's `auto` is not used: a client that sends the beginning of HTTP/2's preface and then nothing is, to it, never late.

mod answer;
mod brood;
mod connection;
mod error;
mod links;
mod stream;

pub(crate) use self::brood::Brood;
pub use self::error::ConnectionError;
use self::links::{Counts, Links};
use crate::listener::{AcceptOptions, Listener};
#[cfg(feature = "http2")]
use crate::{HeistExecutor, HeistTimer};
use heist::TaskGroup;
use heist::time::{self, Sleep};
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
#[cfg(feature = "http1")]
use hyper::server::conn::http1;
#[cfg(feature = "http2")]
use hyper::server::conn::http2;
use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tower_service::Service;

/// How long a client may take to send a request's head: hyper's own choice, and long enough for a slow mobile network.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a client may leave bytes unread that were sent to it; nginx's choice.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a connection may be without requests. To HTTP/1 the header timeout is shorter; HTTP/2's clients expect to find their connection again
/// after a pause.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);

/// How long requests under way may take once the listener has failed, if nothing else was said.
const GRACE: Duration = Duration::from_secs(30);

type OnRequest<P> = Arc<dyn Fn(&mut Request<Incoming>, &P) + Send + Sync>;
type OnError<P> = Arc<dyn Fn(&ConnectionError, &P) + Send + Sync>;
#[cfg(feature = "http2")]
type SetHttp2 = Arc<dyn Fn(&mut http2::Builder<HeistExecutor>) + Send + Sync>;

/// Serves the connections of `listener` with `service`, each in a task of its own, until it is told to stop.
///
/// The service is any tower service of HTTP requests: an axum `Router` as it is, tonic's `Routes`, or a `tower::service_fn`. It is cloned for
/// each request. HTTP/1 and HTTP/2 are told apart by a connection's first bytes, where both are enabled.
///
/// Nothing happens before the server is awaited. It ends
///
/// * after [`graceful_shutdown`](Serve::graceful_shutdown)'s signal, with a [`ServeReport`];
/// * with the listener's error, if that cannot accept any more; requests under way are answered first;
/// * when the task that awaits it is cancelled. That does not drain: the connections' tasks are cancelled as well, handlers can
///   [clean up](heist::catch_cancel), and the cancellation goes on when all have ended. asyncio's task groups do the same.
///
/// A handler whose client goes away is dropped at its await, as hyper has it, and hears nothing of that: it is not cancelled. What must be brought
/// to its end all the same belongs in a task of its own, [spawned](heist::spawn) and awaited.
///
/// # Limits
///
/// | against | limit |
/// |---|---|
/// | a head that comes slowly, or never | [`header_read_timeout`](Serve::header_read_timeout), 30 s |
/// | a peer that does not read | [`write_timeout`](Serve::write_timeout), 60 s, and hyper's buffers: some 400 KiB a connection |
/// | a peer that opens no window for answers (HTTP/2) | [`idle_timeout`](Serve::idle_timeout), then `write_timeout`; and one frame of each body, of at most 200 at a time |
/// | a connection without requests | [`idle_timeout`](Serve::idle_timeout), 5 min |
/// | too many connections | [`max_connections`](Serve::max_connections), none. What is out of descriptors waits and recovers |
/// | long heads | 100 headers and hyper's buffer ([`http1`](Serve::http1)); 16 KiB ([`http2`](Serve::http2)) |
/// | a body that comes slowly, a handler that never answers | the service's own affair: [`heist::timeout`] |
///
/// A handler that panics, or a peer that breaks the rules, costs its own connection (its own request, with HTTP/2) and nothing else.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "http1")] {
/// use heist::net::{TcpListener, TcpStream};
/// use http_body_util::Full;
/// use hyper::{Request, Response, body::{Bytes, Incoming}};
/// use std::{convert::Infallible, time::Duration};
///
/// # heist::run(async {
/// let service = tower::service_fn(|request: Request<Incoming>| async move {
///     let text = format!("you asked for {}", request.uri().path());
///     Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(text))))
/// });
/// let listener = TcpListener::bind("127.0.0.1:0").await?;
/// let address = listener.local_addr()?;
/// let server = heist::spawn(heist_hyper::serve(listener, service).into_future());
///
/// let client = TcpStream::connect(address).await?;
/// client.write_all(b"GET /me HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n").await?;
/// let (mut answer, mut part) = (Vec::new(), [0; 512]);
/// while let read @ 1.. = client.read(&mut part).await? {
///     answer.extend(&part[..read]);
/// }
/// assert!(answer.ends_with(b"you asked for /me"));
///
/// server.cancel("enough");
/// assert!(server.await.unwrap_err().is_cancelled());
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap().unwrap();
/// # }
/// ```
#[doc(alias("start_server", "axum::serve"))]
pub fn serve<L, S, B>(listener: L, service: S) -> Serve<L, S>
where
    L: Listener,
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    B: Body,
{
    Serve {
        listener,
        service,
        settings: Settings {
            #[cfg(feature = "http1")]
            http1: http1::Builder::new(),
            #[cfg(feature = "http2")]
            http2: None,
            only: None,
            header_timeout: HEADER_TIMEOUT,
            write_timeout: WRITE_TIMEOUT,
            on_request: None,
        },
        accept: AcceptOptions { nodelay: true },
        max_connections: usize::MAX,
        idle_timeout: Some(IDLE_TIMEOUT),
        on_error: None,
        signal: None,
        grace: GRACE,
    }
}

/// A server that is not yet awaited; see [`serve`].
#[must_use = "a server does nothing unless awaited"]
pub struct Serve<L: Listener, S> {
    listener: L,
    service: S,
    settings: Settings<L::Peer>,
    accept: AcceptOptions,
    max_connections: usize,
    idle_timeout: Option<Duration>,
    on_error: Option<OnError<L::Peer>>,
    signal: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    grace: Duration,
}

/// What every connection is told.
struct Settings<P> {
    #[cfg(feature = "http1")]
    http1: http1::Builder,
    #[cfg(feature = "http2")]
    http2: Option<SetHttp2>,
    only: Option<Version>,
    header_timeout: Duration,
    write_timeout: Duration,
    on_request: Option<OnRequest<P>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    #[cfg(feature = "http1")]
    Http1,
    #[cfg(feature = "http2")]
    Http2,
}

impl<L: Listener, S> Serve<L, S> {
    /// Speaks HTTP/1 alone.
    #[cfg(feature = "http1")]
    #[cfg_attr(docsrs, doc(cfg(feature = "http1")))]
    pub fn http1_only(mut self) -> Self {
        self.settings.only = Some(Version::Http1);
        self
    }

    /// Speaks HTTP/2 alone, as gRPC does; a client that begins with something else is hung up on.
    #[cfg(feature = "http2")]
    #[cfg_attr(docsrs, doc(cfg(feature = "http2")))]
    pub fn http2_only(mut self) -> Self {
        self.settings.only = Some(Version::Http2);
        self
    }

    /// hyper's settings of HTTP/1 connections: how many headers, how large the buffers. The timer and the header timeout are set already.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(listener: heist::net::TcpListener, app: axum::Router) {
    /// let server = heist_hyper::serve(listener, app).http1(|http1| {
    ///     http1.max_headers(32).max_buf_size(16 * 1024);
    /// });
    /// # drop(server);
    /// # }
    /// ```
    #[cfg(feature = "http1")]
    #[cfg_attr(docsrs, doc(cfg(feature = "http1")))]
    pub fn http1(mut self, set: impl FnOnce(&mut http1::Builder)) -> Self {
        set(&mut self.settings.http1);
        self
    }

    /// hyper's settings of HTTP/2 connections: streams, windows, pings. Called for each connection, whose executor and timer are set already.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(listener: heist::net::TcpListener, app: axum::Router) {
    /// use std::time::Duration;
    /// let server = heist_hyper::serve(listener, app).http2(|http2| {
    ///     http2.max_concurrent_streams(64);
    ///     // A peer that does not answer a ping is gone.
    ///     http2.keep_alive_interval(Duration::from_secs(60));
    /// });
    /// # drop(server);
    /// # }
    /// ```
    #[cfg(feature = "http2")]
    #[cfg_attr(docsrs, doc(cfg(feature = "http2")))]
    pub fn http2(
        mut self,
        set: impl Fn(&mut http2::Builder<HeistExecutor>) + Send + Sync + 'static,
    ) -> Self {
        self.settings.http2 = Some(Arc::new(set));
        self
    }

    /// How long a handshake may take together with the first bytes, then each request's head with HTTP/1, the wait for it included; and at the
    /// end, how long an idle peer may take to say goodbye. 30 s, if nothing else is said.
    pub fn header_read_timeout(mut self, timeout: Duration) -> Self {
        self.settings.header_timeout = timeout;
        self
    }

    /// How long a write may wait for the peer to read. Then the connection is cut off. 60 s, if nothing else is said.
    pub fn write_timeout(mut self, timeout: Duration) -> Self {
        self.settings.write_timeout = timeout;
        self
    }

    /// How long a connection may be without requests. Then it is closed, in the way of its protocol, at the latest after half as long again.
    /// 5 minutes, if nothing else is said; `None`: for ever. HTTP/1 waits for the next request no longer than
    /// [`header_read_timeout`](Self::header_read_timeout) either.
    ///
    /// Requests whose answers wait for nothing but the peer, which opens no window for them while nothing else is written, do not count: if it
    /// still does not after [`write_timeout`](Self::write_timeout), the connection is cut off. A consumer of a gRPC stream that rests for
    /// longer wants more time here.
    pub fn idle_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.idle_timeout = timeout.into();
        self
    }

    /// At most `n` connections at a time, at least one. Further ones wait in the kernel's queue until one ends. One that was upgraded (a
    /// WebSocket) is its handler's, and no longer counts.
    pub fn max_connections(mut self, n: usize) -> Self {
        self.max_connections = n.max(1);
        self
    }

    /// Whether TCP sends small packets at once (`TCP_NODELAY`). Yes, if nothing else is said: answers are written whole, so that nothing is
    /// gained by waiting for more.
    pub fn tcp_nodelay(mut self, nodelay: bool) -> Self {
        self.accept.nodelay = nodelay;
        self
    }

    /// Called with each request before the service has it, and with its connection's peer.
    ///
    /// # Examples
    ///
    /// The peer's address for axum's handlers. (Its own `ConnectInfo`, a type of its feature `tokio`, is inserted in the same way.)
    ///
    /// ```
    /// # async fn example(listener: heist::net::TcpListener) {
    /// use axum::{Router, extract::Extension, routing::get};
    /// use std::net::SocketAddr;
    ///
    /// async fn who(Extension(peer): Extension<SocketAddr>) -> String {
    ///     peer.to_string()
    /// }
    /// let app = Router::new().route("/", get(who));
    /// let server = heist_hyper::serve(listener, app).on_request(|request, peer| {
    ///     request.extensions_mut().insert(*peer);
    /// });
    /// # drop(server);
    /// # }
    /// ```
    pub fn on_request(
        mut self,
        hook: impl Fn(&mut Request<Incoming>, &L::Peer) + Send + Sync + 'static,
    ) -> Self {
        self.settings.on_request = Some(Arc::new(hook));
        self
    }

    /// Called with what goes wrong with a connection. Without a hook panics are `tracing` events at the level of errors, all else, which any
    /// client can bring about, at that of debugging.
    pub fn on_error(
        mut self,
        hook: impl Fn(&ConnectionError, &L::Peer) + Send + Sync + 'static,
    ) -> Self {
        self.on_error = Some(Arc::new(hook));
        self
    }

    /// Ends the server when `signal` is ready: no more connections are accepted and the listener is closed; connections without requests are
    /// closed; those with some finish them, and take no more. What is left after `deadline` is cancelled as any task of heist's, and waited
    /// for: a handler that [catches](heist::catch_cancel) it holds the server up until it has cleaned up.
    ///
    /// `Duration::MAX` is no deadline.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(listener: heist::net::TcpListener, app: axum::Router) -> std::io::Result<()> {
    /// use heist::signal::{self, SignalKind};
    /// use std::time::Duration;
    ///
    /// let mut signals = signal::any([SignalKind::INTERRUPT, SignalKind::TERMINATE])?;
    /// let report = heist_hyper::serve(listener, app)
    ///     .graceful_shutdown(async move { signals.recv().await }, Duration::from_secs(10))
    ///     .await?;
    /// println!("{} requests were cut off", report.requests_cut_off());
    /// # Ok(())
    /// # }
    /// ```
    pub fn graceful_shutdown<F>(mut self, signal: F, deadline: Duration) -> Self
    where
        F: Future + Send + 'static,
    {
        self.signal = Some(Box::pin(async move { drop(signal.await) }));
        self.grace = deadline;
        self
    }
}

impl<L, S, B> Serve<L, S>
where
    L: Listener,
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    S::Future: Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    async fn run(self) -> io::Result<ServeReport> {
        let links = &Arc::new(Links::default());
        let mut ended = None;
        let outcome = &mut ended;
        // Children end well, whatever happens to them: see `brood`. If destructors panic as a cancellation drops them, that is told below.
        let options = TaskGroup::options().collect_all();
        let group = options.run(|connections| async move {
            let within = &connections;
            let streams = options.run(|streams| async move {
                *outcome = Some(self.accept_and_drain(within, &streams, links).await);
            });
            let streams = streams.await;
            if links.counts().open > 0 {
                // The deadline has passed. No await follows: the body ends by itself, and only its children are asked to end.
                connections.cancel();
            }
            streams
        });
        if let Ok(Err(error)) | Err(error) = group.await {
            tracing::error!(%error, "connections did not end well");
        }
        let Some(ended) = ended else {
            return Err(io::Error::other("the server's tasks were cancelled"));
        };
        ended.map(|mut report: ServeReport| {
            report.at_end = links.counts();
            report
        })
    }

    /// The body of the server's groups. It ends by itself, or at its await if the task is cancelled.
    async fn accept_and_drain(
        self,
        connections: &TaskGroup,
        streams: &TaskGroup,
        links: &Arc<Links>,
    ) -> io::Result<ServeReport> {
        let grace = self.grace;
        let accepted = self.accept(connections, streams, links).await;
        let mut report = ServeReport {
            at_signal: links.counts(),
            ..ServeReport::default()
        };
        links.tell_all();
        if heist::timeout(grace, links.none_left()).await.is_err() {
            report.at_deadline = links.counts();
            // No await follows here either.
            streams.cancel();
        }
        accepted.map(|()| report)
    }

    /// Accepts until the signal; the listener is closed then.
    async fn accept(
        self,
        connections: &TaskGroup,
        streams: &TaskGroup,
        links: &Arc<Links>,
    ) -> io::Result<()> {
        let Self {
            listener,
            service,
            mut settings,
            accept,
            max_connections,
            idle_timeout,
            on_error,
            signal,
            ..
        } = self;
        settings.prepare();
        let settings = Arc::new(settings);
        let mut stop = Stop(signal);
        let mut sweeper = idle_timeout.map(|idle| Sweeper::new(links, idle / 2));
        loop {
            let mut accepting = pin!(listener.accept(&accept));
            let accepted = poll_fn(|cx| {
                if stop.poll(cx).is_ready() {
                    return Poll::Ready(None);
                }
                if let Some(sweeper) = &mut sweeper {
                    sweeper.poll(cx);
                }
                match links.poll_fewer_than(max_connections, cx) {
                    Poll::Ready(()) => accepting.as_mut().poll(cx).map(Some),
                    Poll::Pending => Poll::Pending,
                }
            });
            let Some(accepted) = accepted.await else {
                return Ok(());
            };
            let (opening, peer) = accepted?;
            let peer = Arc::new(peer);
            let brood = Brood {
                connections: connections.clone(),
                streams: streams.clone(),
                report: reporter(on_error.clone(), peer.clone()),
            };
            let connection = connection::Connection {
                settings: settings.clone(),
                service: service.clone(),
                peer,
                guard: links.enter(),
                brood: brood.clone(),
            };
            brood.spawn_connection(connection.run(opening));
        }
    }
}

impl<P> Settings<P> {
    /// Gives hyper's builder what is the same for all connections.
    fn prepare(&mut self) {
        #[cfg(feature = "http1")]
        self.http1
            .timer(crate::HeistTimer)
            .header_read_timeout(self.header_timeout);
    }

    #[cfg(feature = "http2")]
    fn http2(&self, brood: &Brood) -> http2::Builder<HeistExecutor> {
        let mut builder = http2::Builder::new(HeistExecutor::of_brood(brood.clone()));
        builder.timer(HeistTimer);
        if let Some(set) = &self.http2 {
            set(&mut builder);
        }
        builder
    }
}

/// The signal to stop, if there is to be one.
struct Stop(Option<Pin<Box<dyn Future<Output = ()> + Send>>>);

impl Stop {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.0 {
            Some(signal) => signal.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }
}

/// Closes what has been idle from one look to the next but one. It looks twice within the time, so that requests need not look at the clock.
struct Sweeper<'a> {
    links: &'a Links,
    every: Duration,
    next: Sleep,
}

impl<'a> Sweeper<'a> {
    fn new(links: &'a Links, every: Duration) -> Self {
        Self {
            links,
            every,
            next: time::sleep(every),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) {
        while Pin::new(&mut self.next).poll(cx).is_ready() {
            self.links.sweep();
            self.next = time::sleep(self.every);
        }
    }
}

/// Where a connection's errors go.
fn reporter<P: fmt::Debug + Send + Sync + 'static>(
    hook: Option<OnError<P>>,
    peer: Arc<P>,
) -> brood::Report {
    Arc::new(move |error| match &hook {
        Some(hook) => hook(error, &peer),
        None if error.is_panic() => tracing::error!(?peer, %error, "a connection has failed"),
        None => tracing::debug!(?peer, %error, "a connection has failed"),
    })
}

impl<L, S, B> IntoFuture for Serve<L, S>
where
    L: Listener,
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    S::Future: Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Output = io::Result<ServeReport>;
    type IntoFuture = Serving;

    fn into_future(self) -> Serving {
        Serving(Box::pin(self.run()))
    }
}

impl<L: Listener + fmt::Debug, S> fmt::Debug for Serve<L, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serve")
            .field("listener", &self.listener)
            .finish_non_exhaustive()
    }
}

/// The future of a server; see [`serve`].
///
/// # Cancel safety
///
/// Cancelled, it cancels its connections and waits for them. Dropped (a `select!` gave it up, or its task was aborted), it aborts them and
/// cannot wait.
#[must_use = "futures do nothing unless awaited"]
pub struct Serving(Pin<Box<dyn Future<Output = io::Result<ServeReport>> + Send>>);

impl Future for Serving {
    type Output = io::Result<ServeReport>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serving").finish_non_exhaustive()
    }
}

/// What a server has done, and how it ended.
#[derive(Clone, Copy, Default)]
pub struct ServeReport {
    at_signal: Counts,
    at_deadline: Counts,
    at_end: Counts,
}

impl ServeReport {
    /// How many connections were accepted.
    pub fn connections(&self) -> u64 {
        self.at_end.accepted
    }

    /// How many requests were begun.
    pub fn requests(&self) -> u64 {
        self.at_end.begun
    }

    /// How many requests were answered, to the last byte of the answer's body. Of the others, the peer went away, the handler failed, or they
    /// were [cut off](Self::requests_cut_off).
    pub fn requests_answered(&self) -> u64 {
        self.at_end.answered
    }

    /// How many of these after the signal.
    pub fn requests_drained(&self) -> u64 {
        self.at_end.answered - self.at_signal.answered
    }

    /// How many requests were under way at the deadline, and cancelled.
    pub fn requests_cut_off(&self) -> u64 {
        self.at_deadline.under_way
    }

    /// How many connections were open at the deadline, and cut off: with requests, or with answers that their peers had not read.
    pub fn connections_cut_off(&self) -> u64 {
        self.at_deadline.open
    }
}

impl fmt::Debug for ServeReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServeReport")
            .field("connections", &self.connections())
            .field("requests", &self.requests())
            .field("requests_answered", &self.requests_answered())
            .field("requests_drained", &self.requests_drained())
            .field("requests_cut_off", &self.requests_cut_off())
            .field("connections_cut_off", &self.connections_cut_off())
            .finish()
    }
}
