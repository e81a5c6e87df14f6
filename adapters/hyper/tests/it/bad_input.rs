//! Clients that mean ill, or are broken. Each costs a bounded time and memory, and itself alone.

use crate::support::{Client, GET, LONG, MS, Server, hello, http2_client, limited, until};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use axum::routing::{get, post};
use heist_hyper::ConnectionError;
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const HEADER: Duration = Duration::from_millis(300);

/// What the hook was told.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<(bool, String)>>>);

impl Told {
    fn hook<P>(&self) -> impl Fn(&ConnectionError, &P) + Send + Sync + 'static {
        let told = self.clone();
        move |error, _| {
            let error = (error.is_timeout(), error.to_string());
            told.0.lock().unwrap().push(error);
        }
    }

    /// The one error that there is, or comes.
    #[track_caller]
    fn one(&self) -> (bool, String) {
        until("an error is told", || !self.0.lock().unwrap().is_empty());
        let mut told = self.0.lock().unwrap();
        assert_eq!(told.len(), 1, "{told:?}");
        told.remove(0)
    }
}

fn hasty() -> (Server, Told) {
    let told = Told::default();
    let hook = told.hook();
    let server = Server::configured(hello(), LONG, |serve| {
        serve.header_read_timeout(HEADER).on_error(hook)
    });
    (server, told)
}

/// Sends a byte now and then until the server hangs up, and gives how long that took.
#[track_caller]
fn drip(server: &Server, bytes: &[u8]) -> Duration {
    let began = Instant::now();
    let mut client = server.connect();
    let mut sender = Client(client.0.try_clone().unwrap());
    let bytes = bytes.to_vec();
    let sending = std::thread::spawn(move || {
        for byte in bytes {
            // The server may be gone: that is what is waited for.
            if sender.0.write_all(&[byte]).is_err() {
                return;
            }
            std::thread::sleep(20 * MS);
        }
    });
    client.rest();
    let took = began.elapsed();
    sending.join().unwrap();
    took
}

#[test]
fn a_head_that_comes_byte_by_byte_is_cut_off() {
    limited(|| {
        let (server, told) = hasty();
        let head = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", "x".repeat(100));
        let took = drip(&server, head.as_bytes());
        assert!(took >= HEADER, "{took:?}");
        let (late, text) = told.one();
        assert!(late, "{text}");
        assert_eq!(server.answers("/"), "hello");
        assert_eq!(server.stop().requests(), 1);
    });
}

#[test]
fn a_client_that_begins_like_http2_and_says_no_more_is_cut_off() {
    limited(|| {
        let (server, told) = hasty();
        let took = drip(&server, b"PRI * HTTP/2");
        assert!(took >= HEADER, "{took:?}");
        let (late, text) = told.one();
        assert!(late, "{text}");
        assert_eq!(server.stop().requests(), 0);
    });
}

#[test]
fn a_client_that_says_nothing_is_cut_off() {
    limited(|| {
        for only in [false, true] {
            let told = Told::default();
            let hook = told.hook();
            let server = Server::configured(hello(), LONG, |serve| {
                let serve = if only { serve.http1_only() } else { serve };
                serve.header_read_timeout(HEADER).on_error(hook)
            });
            let took = drip(&server, b"");
            assert!(took >= HEADER, "{took:?}");
            assert!(told.one().0, "HTTP/1 only: {only}");
            server.stop();
        }
    });
}

#[test]
fn a_kept_connection_without_a_further_request_is_closed() {
    limited(|| {
        let (server, _) = hasty();
        let mut client = server.connect();
        client.send(GET);
        assert_eq!(client.answer(), "hello");
        assert_eq!(client.rest(), b"");
        server.stop();
    });
}

#[test]
fn what_is_not_http_is_refused() {
    limited(|| {
        for http2_only in [false, true] {
            let told = Told::default();
            let hook = told.hook();
            let server = Server::configured(hello(), LONG, |serve| {
                let serve = serve.on_error(hook);
                if http2_only {
                    serve.http2_only()
                } else {
                    serve
                }
            });
            let mut client = server.connect();
            client.send(b"\x16\x03\x01 this is no HTTP\r\n\r\n");
            let said = String::from_utf8(client.rest()).unwrap();
            assert_eq!(said.starts_with("HTTP/1.1 400"), !http2_only, "{said}");
            let (late, text) = told.one();
            assert!(!late, "{text}");
            server.stop();
        }
    });
}

#[test]
fn a_head_that_is_too_large_is_refused() {
    limited(|| {
        let server = Server::configured(hello(), LONG, |serve| {
            serve.http1(|http1| {
                http1.max_headers(8).max_buf_size(8192);
            })
        });
        let many: String = (0..9).map(|n| format!("X-{n}: y\r\n")).collect();
        let long = format!("X: {}\r\n", "y".repeat(10_000));
        for headers in [many, long] {
            let mut client = server.connect();
            client.send(format!("GET / HTTP/1.1\r\n{headers}\r\n").as_bytes());
            let said = String::from_utf8(client.rest()).unwrap();
            assert!(said.starts_with("HTTP/1.1 431"), "{said}");
        }
        assert_eq!(server.answers("/"), "hello");
        assert_eq!(server.stop().requests(), 1);
    });
}

#[test]
fn a_body_that_comes_byte_by_byte_is_the_handlers_to_bound() {
    limited(|| {
        let upload = post(|body: Body| async move {
            let read = axum::body::to_bytes(body, 1 << 20);
            match heist::timeout(HEADER, read).await {
                Ok(Ok(body)) => (StatusCode::OK, body.len().to_string()),
                Ok(Err(error)) => (StatusCode::BAD_REQUEST, error.to_string()),
                Err(_) => (StatusCode::REQUEST_TIMEOUT, "too slow".to_owned()),
            }
        });
        let server = Server::start(hello().route("/upload", upload));
        let request = "POST /upload HTTP/1.1\r\nHost: here\r\nContent-Length: 1000\r\n\r\n";
        let mut client = server.connect();
        client.send(request.as_bytes());
        let mut sender = Client(client.0.try_clone().unwrap());
        let began = Instant::now();
        let sending = std::thread::spawn(move || {
            for _ in 0..1000 {
                // The server may be gone: that is what is waited for.
                if sender.0.write_all(b"x").is_err() {
                    return;
                }
                std::thread::sleep(20 * MS);
            }
        });
        let (head, body) = client.whole_answer();
        let took = began.elapsed();
        assert!((HEADER..LONG).contains(&took), "{took:?}");
        assert!(head.starts_with("HTTP/1.1 408 "), "{head}");
        assert_eq!(body, "too slow");
        // What comes of the body now is nobody's: the connection is closed.
        client.rest();
        sending.join().unwrap();
        assert!(began.elapsed() < LONG, "{:?}", began.elapsed());
        assert_eq!(server.answers("/"), "hello");
        server.stop();
    });
}

/// How much a body has given. Each frame has 64 KiB.
#[derive(Clone, Default)]
struct Endless(Arc<AtomicUsize>);

impl Endless {
    fn body(&self) -> Body {
        let given = self.0.clone();
        let frames = futures_util::stream::repeat_with(move || {
            given.fetch_add(1 << 16, Ordering::SeqCst);
            Ok::<_, std::io::Error>(Bytes::from_static(&[b'x'; 1 << 16]))
        });
        Body::from_stream(frames)
    }
}

#[test]
fn a_client_that_never_reads_holds_little_memory_and_not_for_long() {
    limited(|| {
        let endless = Endless::default();
        let told = Told::default();
        let hook = told.hook();
        let app = Router::new().route(
            "/",
            get({
                let endless = endless.clone();
                move || async move { endless.body() }
            }),
        );
        let server = Server::configured(app, LONG, |serve| {
            serve.write_timeout(HEADER).on_error(hook)
        });
        let began = Instant::now();
        let mut client = server.connect();
        client.send(GET);
        let (late, text) = told.one();
        assert!(late, "{text}");
        assert!(began.elapsed() >= HEADER);
        // The kernel's buffers take some MiB.
        let given = endless.0.load(Ordering::SeqCst);
        assert!(given < 32 << 20, "{given} bytes");
        let report = server.stop();
        assert_eq!((report.requests(), report.requests_answered()), (1, 0));
    });
}

#[test]
fn a_client_that_opens_no_window_holds_little_memory_and_not_for_long() {
    limited(|| {
        const STREAMS: usize = 50;
        let endless = Endless::default();
        let told = Told::default();
        let hook = told.hook();
        let app = hello().route(
            "/endless",
            get({
                let endless = endless.clone();
                move || async move { endless.body() }
            }),
        );
        let server = Server::configured(app, LONG, |serve| {
            serve
                .idle_timeout(HEADER)
                .write_timeout(HEADER)
                .on_error(hook)
        });
        let began = Instant::now();
        let address = server.address;
        let client = server.runtime.spawn(async move {
            let (mut client, connection) = http2_client(address).await;
            let mut answers = Vec::new();
            for _ in 0..STREAMS {
                let request = Request::get("http://here/endless").body(Empty::<Bytes>::new());
                answers.push(client.send_request(request.unwrap()).await.unwrap());
            }
            // It reads what comes and answers pings; the bodies are left alone.
            drop(connection.await);
            answers
        });
        let (late, text) = told.one();
        assert!(late, "{text}");
        assert!(began.elapsed() >= 2 * HEADER, "{:?}", began.elapsed());
        // The client's window, and a frame for each.
        let given = endless.0.load(Ordering::SeqCst);
        assert!(given < (8 << 20) + (STREAMS << 16), "{given} bytes");
        server.runtime.block_on(client).unwrap().unwrap();
        let report = server.stop();
        assert_eq!((report.requests(), report.requests_answered()), (50, 0));
    });
}

#[test]
fn a_service_that_takes_its_time_is_not_held_up_by_its_peer() {
    limited(|| {
        // One answer that the peer does not want, and beside it one that is long in coming.
        let app = hello()
            .route("/endless", get(|| async { Endless::default().body() }))
            .route(
                "/slow",
                get(|| async {
                    heist::sleep(6 * HEADER).await;
                    "slow"
                }),
            );
        let server = Server::configured(app, LONG, |serve| {
            serve.idle_timeout(HEADER).write_timeout(HEADER)
        });
        let address = server.address;
        let asked = server.runtime.run(async move {
            let (mut client, _connection) = http2_client(address).await;
            let request = |path| Request::get(path).body(Empty::<Bytes>::new()).unwrap();
            let endless = client.send_request(request("http://here/endless")).await;
            let slow = client
                .send_request(request("http://here/slow"))
                .await
                .unwrap();
            let slow = slow.into_body().collect().await.unwrap().to_bytes();
            drop(endless);
            slow
        });
        assert_eq!(asked.unwrap(), "slow");
        server.stop();
    });
}

#[test]
fn a_client_that_reads_slowly_gets_everything() {
    limited(|| {
        const LENGTH: usize = 8 << 20;
        let app = Router::new().route("/", get(|| async { vec![b'x'; LENGTH] }));
        let server = Server::configured(app, LONG, |serve| serve.write_timeout(HEADER));
        let mut client = server.connect();
        client.send(b"GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n");
        // Longer than a write may stall, but never without reading for so long.
        let mut got = 0;
        while got < LENGTH {
            let mut part = vec![0; 1 << 20];
            let read = std::io::Read::read(&mut client.0, &mut part).unwrap();
            assert!(read > 0, "cut off after {got} bytes");
            got += read;
            std::thread::sleep(HEADER / 8);
        }
        drop(client);
        assert_eq!(server.stop().requests_answered(), 1);
    });
}

#[test]
fn resets_in_the_middle_of_requests_cost_nobody_else() {
    limited(|| {
        let app = hello().route(
            "/upload",
            post(|body: Bytes| async move { body.len().to_string() }),
        );
        let server = Server::start(app);
        let upload =
            b"POST /upload HTTP/1.1\r\nHost: here\r\nContent-Length: 100000\r\n\r\nsome of it";
        for round in 0..100 {
            let mut client = server.connect();
            client.send(&upload[..1 + round * (upload.len() - 1) / 99]);
            client.reset();
            let mut client = server.connect();
            client.send(GET);
            client.reset();
        }
        assert_eq!(server.answers("/"), "hello");
        let report = server.stop();
        assert_eq!(report.connections(), 201);
        assert_eq!(report.requests_cut_off(), 0);
    });
}

#[test]
fn requests_sent_at_once_are_answered_in_turn() {
    limited(|| {
        let server = Server::start(hello());
        let mut client = server.connect();
        client.send(&GET.repeat(50));
        for _ in 0..50 {
            assert_eq!(client.answer(), "hello");
        }
        drop(client);
        assert_eq!(server.stop().requests_answered(), 50);
    });
}
