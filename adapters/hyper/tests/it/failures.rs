//! Services that fail: the connection pays, or the stream, and nobody else.

use crate::support::{GET, LONG, Server, bind, hello, limited, until};
use axum::Router;
use axum::body::Body;
use axum::routing::get;
use heist::net::TcpListener;
use heist::sync::Event;
use heist_hyper::{AcceptOptions, HeistExecutor, HeistTimer, Listener, serve};
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http2;
use std::future::Ready;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

fn panics() -> Router {
    let body = || async {
        Body::from_stream(futures_util::stream::repeat_with(
            || -> io::Result<Bytes> { panic!("in the body") },
        ))
    };
    hello()
        .route(
            "/panic",
            get(|| async {
                if true {
                    panic!("in the handler")
                }
            }),
        )
        .route("/body", get(body))
}

/// A server whose panics are collected.
fn told(app: Router) -> (Server, Arc<Mutex<Vec<String>>>) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let hook = told.clone();
    let server = Server::configured(app, LONG, |serve| {
        serve.on_error(move |error, peer| {
            assert!(peer.ip().is_loopback());
            if error.is_panic() {
                hook.lock().unwrap().push(error.to_string());
            }
        })
    });
    (server, told)
}

#[test]
fn a_panic_costs_its_connection() {
    limited(|| {
        let (server, told) = told(panics());
        let mut other = server.connect();
        other.send(GET);
        assert_eq!(other.answer(), "hello");
        let mut client = server.connect();
        client.ask("/panic");
        assert_eq!(client.rest(), b"");
        let mut client = server.connect();
        client.ask("/body");
        let _ = client.rest();
        until("both are told", || told.lock().unwrap().len() == 2);
        // In any order: a connection is closed before its panic is told.
        let mut told = told.lock().unwrap();
        told.sort();
        assert_eq!(
            *told,
            [
                "the service panicked: in the body",
                "the service panicked: in the handler"
            ]
        );
        // The others, and those that come.
        other.send(GET);
        assert_eq!(other.answer(), "hello");
        assert_eq!(server.answers("/"), "hello");
        drop(other);
        let report = server.stop();
        assert_eq!((report.requests(), report.requests_answered()), (5, 3));
    });
}

#[test]
fn a_panic_costs_its_stream_over_http2() {
    limited(|| {
        let (server, told) = told(panics());
        let runtime = heist::Runtime::new().unwrap();
        let address = server.address;
        let (panicked, other) = runtime
            .run(async move {
                let stream = heist::net::TcpStream::connect(address).await.unwrap();
                let mut builder = http2::Builder::new(HeistExecutor::new());
                let (client, connection) =
                    builder.timer(HeistTimer).handshake(stream).await.unwrap();
                heist::spawn(connection).detach();
                let ask = |path| {
                    let request = Request::get(format!("http://here{path}"));
                    let mut client = client.clone();
                    async move {
                        let answer = client
                            .send_request(request.body(Empty::<Bytes>::new()).unwrap())
                            .await?;
                        Ok::<_, hyper::Error>(answer.into_body().collect().await?.to_bytes())
                    }
                };
                (ask("/panic").await, ask("/").await)
            })
            .unwrap();
        assert!(panicked.is_err());
        assert_eq!(other.unwrap(), "hello");
        until("it is told", || told.lock().unwrap().len() == 1);
        drop(runtime);
        let report = server.stop();
        assert_eq!((report.connections(), report.requests()), (1, 2));
    });
}

#[test]
fn a_hook_that_panics_harms_nobody() {
    limited(|| {
        let server = Server::configured(panics(), LONG, |serve| {
            serve.on_error(|_, _| panic!("in the hook"))
        });
        for _ in 0..10 {
            let mut client = server.connect();
            client.ask("/panic");
            assert_eq!(client.rest(), b"");
        }
        assert_eq!(server.answers("/"), "hello");
        server.stop();
    });
}

/// Gives one connection, and fails once its request is under way.
struct Failing {
    listener: TcpListener,
    has_given: AtomicBool,
    begun: Arc<Event>,
}

impl Listener for Failing {
    type Stream = heist::net::TcpStream;
    type Opening = Ready<io::Result<Self::Stream>>;
    type Peer = std::net::SocketAddr;

    async fn accept(&self, options: &AcceptOptions) -> io::Result<(Self::Opening, Self::Peer)> {
        if self.has_given.swap(true, SeqCst) {
            self.begun.wait().await;
            return Err(io::Error::other("no more of these"));
        }
        Listener::accept(&self.listener, options).await
    }
}

#[test]
fn a_listener_that_fails_ends_the_server_after_what_is_under_way() {
    limited(|| {
        let runtime = heist::Runtime::new().unwrap();
        let (listener, address) = bind(&runtime);
        let begun = Arc::new(Event::new());
        let tells = begun.clone();
        let handler = || async move {
            tells.set();
            heist::sleep(Duration::from_millis(50)).await;
            "hello"
        };
        let app = Router::new().route("/", get(handler));
        let failing = Failing {
            listener,
            has_given: AtomicBool::new(false),
            begun,
        };
        let mut client = crate::support::Client::connect(address);
        client.send(GET);
        let server = runtime.spawn(serve(failing, app).into_future());
        assert_eq!(client.answer(), "hello");
        let error = runtime.block_on(server).unwrap().unwrap().unwrap_err();
        assert_eq!(error.to_string(), "no more of these");
    });
}

#[test]
fn a_handshake_is_done_beside_the_accepting() {
    limited(|| {
        let runtime = heist::Runtime::new().unwrap();
        let (listener, address) = bind(&runtime);
        // The client has to say "!" first.
        let listener = listener.handshake(|stream: heist::net::TcpStream| async move {
            let mut byte = [0];
            stream.read_exact(&mut byte).await?;
            match &byte {
                b"!" => Ok(stream),
                _ => Err(io::Error::other("what?")),
            }
        });
        let server = runtime.spawn(serve(listener, hello()).into_future());
        let mut silent = crate::support::Client::connect(address);
        let mut wrong = crate::support::Client::connect(address);
        wrong.send(b"?");
        assert_eq!(wrong.rest(), b"");
        let mut right = crate::support::Client::connect(address);
        right.send(b"!");
        right.send(GET);
        assert_eq!(right.answer(), "hello");
        server.cancel(None);
        assert!(
            runtime
                .block_on(server)
                .unwrap()
                .unwrap_err()
                .is_cancelled()
        );
        assert_eq!(silent.rest(), b"");
    });
}
