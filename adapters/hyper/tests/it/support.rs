//! A server in a runtime of its own, and clients that send what they are told, byte by byte.

pub(crate) use crate::limit::limited;
use axum::Router;
use axum::routing::get;
use heist::net::TcpListener;
use heist::{Builder, Promise, Runtime, Task};
use heist_hyper::{HeistExecutor, HeistTimer, Serve, ServeReport, serve};
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::client::conn::http2;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

pub(crate) const LONG: Duration = Duration::from_secs(20);
pub(crate) const MS: Duration = Duration::from_millis(1);

/// A request that keeps its connection.
pub(crate) const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n";

/// `/` answers "hello".
pub(crate) fn hello() -> Router {
    Router::new().route("/", get(|| async { "hello" }))
}

/// A listener on a free port.
pub(crate) fn bind(runtime: &Runtime) -> (TcpListener, SocketAddr) {
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"));
    let listener = listener.unwrap().unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// A server that runs.
pub(crate) struct Server {
    pub(crate) runtime: Runtime,
    pub(crate) address: SocketAddr,
    pub(crate) stop: Promise<()>,
    pub(crate) task: Task<io::Result<ServeReport>>,
}

impl Server {
    pub(crate) fn start(app: Router) -> Self {
        Self::configured(app, LONG, |serve| serve)
    }

    /// A server with `grace` to drain in.
    pub(crate) fn configured(
        app: Router,
        grace: Duration,
        configure: impl FnOnce(Serve<TcpListener, Router>) -> Serve<TcpListener, Router>,
    ) -> Self {
        let runtime = Builder::new().worker_threads(2).build().unwrap();
        let (listener, address) = bind(&runtime);
        let (stop, stopped) = heist::promise();
        let server = configure(serve(listener, app)).graceful_shutdown(stopped, grace);
        let task = runtime.spawn(server.into_future());
        Self {
            runtime,
            address,
            stop,
            task,
        }
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    /// One request on a connection of its own.
    #[track_caller]
    pub(crate) fn answers(&self, path: &str) -> String {
        let mut client = self.connect();
        client.ask(path);
        client.answer()
    }

    /// Stops it and waits for the end. Nothing of it is left then.
    #[track_caller]
    pub(crate) fn stop(self) -> ServeReport {
        let _ = self.stop.set(());
        let report = self.runtime.block_on(self.task).unwrap().unwrap().unwrap();
        assert!(self.runtime.shutdown(LONG).is_complete());
        report
    }
}

/// A client.
pub(crate) struct Client(pub(crate) TcpStream);

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(stream)
    }

    #[track_caller]
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    #[track_caller]
    pub(crate) fn ask(&mut self, path: &str) {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: here\r\n\r\n").as_bytes());
    }

    /// Reads one answer with a `content-length`; gives head and body.
    #[track_caller]
    pub(crate) fn whole_answer(&mut self) -> (String, String) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.0.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            (name == "content-length").then(|| value.parse().unwrap())
        });
        let mut body = vec![0; length.unwrap_or(0)];
        self.0.read_exact(&mut body).unwrap();
        (head, String::from_utf8(body).unwrap())
    }

    #[track_caller]
    pub(crate) fn answer(&mut self) -> String {
        self.whole_answer().1
    }

    /// Reads until the server closes; gives what came. A reset is an end as well.
    #[track_caller]
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self.0.read_to_end(&mut bytes) {
            Ok(_) => bytes,
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => bytes,
            Err(error) => panic!("not closed: {error}"),
        }
    }

    /// Closes by a reset.
    pub(crate) fn reset(self) {
        let socket = socket2::SockRef::from(&self.0);
        socket.set_linger(Some(Duration::ZERO)).unwrap();
    }
}

/// Waits until `condition` holds; fails if it does not within 20 seconds.
#[track_caller]
pub(crate) fn until(what: &str, condition: impl Fn() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < LONG, "still not: {what}");
        std::thread::sleep(MS);
    }
}

/// How many there are at a time, and how many there were at most.
#[derive(Default)]
pub(crate) struct Gauge {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Gauge {
    pub(crate) fn enter(&self) -> impl Drop + '_ {
        struct Inside<'a>(&'a Gauge);
        impl Drop for Inside<'_> {
            fn drop(&mut self) {
                self.0.now.fetch_sub(1, Ordering::SeqCst);
            }
        }
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        Inside(self)
    }

    pub(crate) fn now(&self) -> usize {
        self.now.load(Ordering::SeqCst)
    }

    pub(crate) fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }
}

/// A client over HTTP/2; its connection's task ends with it.
pub(crate) async fn http2_client(
    address: SocketAddr,
) -> (
    http2::SendRequest<Empty<Bytes>>,
    heist::Task<hyper::Result<()>>,
) {
    let stream = heist::net::TcpStream::connect(address).await.unwrap();
    let mut builder = http2::Builder::new(HeistExecutor::new());
    let (sender, connection) = builder.timer(HeistTimer).handshake(stream).await.unwrap();
    (sender, heist::spawn(connection))
}
