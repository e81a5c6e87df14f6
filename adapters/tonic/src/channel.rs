//! A client's connection, which comes back.

use crate::Deadlines;
use crate::deadlines::Answering;
use heist::net::TcpStream;
use heist::sync::Lock;
use heist_hyper::{HeistExecutor, HeistTimer};
use http::{Request, Response, Uri};
use hyper::client::conn::http2;
use hyper::rt::{Read, Write};
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tonic::Status;
use tonic::body::Body;
use tower_service::Service;

/// How long connecting may take: shorter than the system's minutes, longer than two lost packets.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What generated clients take: calls to one server, over one HTTP/2 connection that is shared by all clones.
///
/// It connects when it is first used, and anew when the connection is gone; calls that hyper gives back go to the new one. A call that it does not
/// give back fails with `UNAVAILABLE`: one that was sent, and one that reaches its connection just as the server says goodbye. So do all that wait
/// for a connection, if the server cannot be reached; the next one tries again. Calls are held to their [deadlines](Deadlines).
///
/// # Examples
///
/// ```
/// use heist_tonic::Channel;
/// use std::time::Duration;
///
/// let channel = Channel::new("http://127.0.0.1:50051".parse().unwrap())
///     .connect_timeout(Duration::from_secs(1))
///     .http2(|http2| {
///         http2.keep_alive_interval(Duration::from_secs(30));
///     });
/// // let client = GreeterClient::new(channel);
/// # drop(channel);
/// ```
#[derive(Clone)]
#[doc(alias = "tonic::transport::Channel")]
pub struct Channel(Deadlines<Line>);

/// Anything that can be connected to.
trait Stream: Read + Write + Send + Unpin {}

impl<T: Read + Write + Send + Unpin> Stream for T {}

type Connecting = Pin<Box<dyn Future<Output = io::Result<Box<dyn Stream>>> + Send>>;
type Connector = Arc<dyn Fn(Uri) -> Connecting + Send + Sync>;
type Sender = http2::SendRequest<Body>;

#[derive(Clone)]
struct Line {
    uri: Uri,
    connector: Connector,
    timeout: Duration,
    settings: http2::Builder<HeistExecutor>,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    connection: Mutex<Connection>,
    /// Who holds it connects; the others wait for that, and share what comes of it.
    connecting: Lock,
}

#[derive(Default)]
struct Connection {
    sender: Option<Sender>,
    /// How often connecting has failed, and how it did last.
    failures: u64,
    failure: Option<Status>,
}

impl Channel {
    /// A channel to the server that `uri` names, by TCP without TLS.
    pub fn new(uri: Uri) -> Self {
        Self::with_connector(uri, |uri| async move {
            let host = uri.host().ok_or_else(|| refused(&uri, "no host"))?;
            if uri.scheme_str().is_some_and(|scheme| scheme != "http") {
                return Err(refused(&uri, "TLS takes a connector of its own"));
            }
            // An IPv6 address stands in brackets.
            let host = host.trim_start_matches('[').trim_end_matches(']');
            let stream = TcpStream::connect((host, uri.port_u16().unwrap_or(80))).await?;
            stream.set_nodelay(true)?;
            Ok(stream)
        })
    }

    /// A channel over what `connector` gives: TLS, or another kind of socket.
    ///
    /// # Examples
    ///
    /// ```
    /// use heist::net::TcpStream;
    /// use heist_tonic::Channel;
    ///
    /// let uri = "http://any.name".parse().unwrap();
    /// let channel = Channel::with_connector(uri, |_| TcpStream::connect("127.0.0.1:50051"));
    /// # drop(channel);
    /// ```
    pub fn with_connector<C, F, T>(uri: Uri, connector: C) -> Self
    where
        C: Fn(Uri) -> F + Send + Sync + 'static,
        F: Future<Output = io::Result<T>> + Send + 'static,
        T: Read + Write + Send + Unpin + 'static,
    {
        let connector = move |uri| -> Connecting {
            let connecting = connector(uri);
            Box::pin(async move { Ok(Box::new(connecting.await?) as Box<dyn Stream>) })
        };
        let mut settings = http2::Builder::new(HeistExecutor::new());
        settings.timer(HeistTimer);
        Self(Deadlines::new(Line {
            uri,
            connector: Arc::new(connector),
            timeout: CONNECT_TIMEOUT,
            settings,
            state: Arc::default(),
        }))
    }

    /// How long connecting may take. 10 s, if nothing else is said.
    pub fn connect_timeout(self, timeout: Duration) -> Self {
        self.changed(|line| line.timeout = timeout)
    }

    /// hyper's settings of the connection: windows, pings. Executor and timer are set already.
    pub fn http2(self, set: impl FnOnce(&mut http2::Builder<HeistExecutor>)) -> Self {
        self.changed(|line| set(&mut line.settings))
    }

    /// No call may take longer than this, whatever it says.
    pub fn limit(self, limit: Duration) -> Self {
        Self(self.0.limit(limit))
    }

    /// A line that is set otherwise has a connection of its own.
    fn changed(self, change: impl FnOnce(&mut Line)) -> Self {
        Self(self.0.map(|mut line| {
            change(&mut line);
            line.state = Arc::default();
            line
        }))
    }
}

impl Service<Request<Body>> for Channel {
    type Response = Response<Body>;
    type Error = Status;
    type Future = Answering<Status>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Answering<Status> {
        self.0.call(request)
    }
}

impl Service<Request<Body>> for Line {
    type Response = Response<Body>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Status>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.clone().send(request))
    }
}

impl Line {
    async fn send(self, request: Request<Body>) -> Result<Response<Body>, Status> {
        let mut request = self.addressed(request)?;
        // A connection may end while a request is on its way to it. The second one is new.
        let mut is_second = false;
        loop {
            let mut sender = self.sender().await?;
            let mut error = match sender.try_send_request(request).await {
                Ok(answer) => return Ok(answer.map(Body::new)),
                Err(error) => error,
            };
            match error.take_message() {
                Some(unsent) if !is_second => {
                    request = unsent;
                    is_second = true;
                }
                _ => return Err(unavailable(error.into_error())),
            }
        }
    }

    /// The request with the server's name in its URI, as HTTP/2 wants it.
    fn addressed(&self, request: Request<Body>) -> Result<Request<Body>, Status> {
        let (mut head, body) = request.into_parts();
        let mut uri = head.uri.into_parts();
        let server = self.uri.clone().into_parts();
        uri.scheme = server.scheme.or(Some(http::uri::Scheme::HTTP));
        uri.authority = server.authority;
        head.uri =
            Uri::from_parts(uri).map_err(|error| Status::invalid_argument(error.to_string()))?;
        Ok(Request::from_parts(head, body))
    }

    /// The connection that there is, or a new one.
    async fn sender(&self) -> Result<Sender, Status> {
        let failures = {
            let connection = self.state.lock();
            if let Some(sender) = connection.sender() {
                return Ok(sender);
            }
            connection.failures
        };
        let _turn = self.state.connecting.lock().await;
        {
            let connection = self.state.lock();
            if let Some(sender) = connection.sender() {
                return Ok(sender);
            }
            // One has failed meanwhile. If each tried for itself, the last would wait for all of them.
            if let Some(failure) = &connection.failure
                && connection.failures > failures
            {
                return Err(failure.clone());
            }
        }
        let connected = heist::timeout(self.timeout, self.connect()).await;
        let late = || Status::unavailable(format!("{}: connecting took too long", self.uri));
        let connected = connected.unwrap_or_else(|_| Err(late()));
        self.state.lock().set(&connected);
        connected
    }

    async fn connect(&self) -> Result<Sender, Status> {
        let stream = (self.connector)(self.uri.clone()).await;
        let stream = stream.map_err(|error| unavailable(Failed(self.uri.clone(), error)))?;
        let (sender, connection) = self.settings.handshake(stream).await.map_err(unavailable)?;
        // It ends when all senders are gone. How it ends is told to the calls.
        heist::spawn(async move { drop(connection.await) }).detach();
        Ok(sender)
    }
}

impl State {
    fn lock(&self) -> std::sync::MutexGuard<'_, Connection> {
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    fn sender(&self) -> Option<Sender> {
        let sender = self.sender.as_ref();
        sender.filter(|sender| !sender.is_closed()).cloned()
    }

    fn set(&mut self, connected: &Result<Sender, Status>) {
        match connected {
            Ok(sender) => (self.sender, self.failure) = (Some(sender.clone()), None),
            Err(failure) => {
                self.failures += 1;
                self.failure = Some(failure.clone());
            }
        }
    }
}

/// Which server, and why.
#[derive(Debug)]
struct Failed(Uri, io::Error);

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0, self.1)
    }
}

impl std::error::Error for Failed {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.1)
    }
}

fn unavailable(error: impl std::error::Error + Send + Sync + 'static) -> Status {
    let mut status = Status::unavailable(error.to_string());
    status.set_source(Arc::new(error));
    status
}

fn refused(uri: &Uri, why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("{uri}: {why}"))
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Channel")
            .field(&self.0.get_ref().uri)
            .finish()
    }
}
