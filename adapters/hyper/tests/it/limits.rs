//! Bounds that a server is given: connections, and time without requests.

use crate::support::{Client, GET, Gauge, LONG, MS, Server, hello, limited};
use axum::Router;
use axum::routing::get;
use heist::net::TcpStream;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

async fn asks_once(address: SocketAddr) -> std::io::Result<Vec<u8>> {
    let stream = TcpStream::connect(address).await?;
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
        .await?;
    let (mut answer, mut part) = (Vec::new(), [0; 512]);
    loop {
        match stream.read(&mut part).await? {
            0 => return Ok(answer),
            read => answer.extend_from_slice(&part[..read]),
        }
    }
}

#[test]
fn no_more_connections_than_the_limit_are_open_and_all_are_answered() {
    limited(|| {
        const LIMIT: usize = 8;
        let gauge = Arc::new(Gauge::default());
        let inside = gauge.clone();
        let app = Router::new().route(
            "/",
            get(|| async move {
                let _inside = inside.enter();
                heist::sleep(MS).await;
                "hello"
            }),
        );
        let server = Server::configured(app, LONG, |serve| serve.max_connections(LIMIT));
        let address = server.address;
        let clients: Vec<_> = (0..1000)
            .map(|_| server.runtime.spawn(asks_once(address)))
            .collect();
        for client in clients {
            let answer = server.runtime.block_on(client).unwrap().unwrap().unwrap();
            assert!(
                answer.ends_with(b"hello"),
                "{}",
                String::from_utf8_lossy(&answer)
            );
        }
        assert!(
            (2..=LIMIT).contains(&gauge.most()),
            "{} at a time",
            gauge.most()
        );
        let report = server.stop();
        assert_eq!(
            (report.connections(), report.requests_answered()),
            (1000, 1000)
        );
    });
}

#[test]
fn a_connection_beyond_the_limit_waits_for_one_to_end() {
    limited(|| {
        let server = Server::configured(hello(), LONG, |serve| serve.max_connections(1));
        let mut first = server.connect();
        first.send(GET);
        assert_eq!(first.answer(), "hello");
        let mut second = server.connect();
        second.send(GET);
        second.0.set_read_timeout(Some(50 * MS)).unwrap();
        let early = std::io::Read::read(&mut second.0, &mut [0]);
        assert!(early.is_err(), "{early:?}");
        second.0.set_read_timeout(Some(LONG)).unwrap();
        drop(first);
        assert_eq!(second.answer(), "hello");
        drop(second);
        assert_eq!(server.stop().connections(), 2);
    });
}

#[test]
fn a_thousand_connections_are_open_at_a_time() {
    limited(|| {
        let server = Server::start(hello());
        let mut clients: Vec<Client> = (0..1000).map(|_| server.connect()).collect();
        for client in &mut clients {
            client.send(GET);
        }
        for client in &mut clients {
            assert_eq!(client.answer(), "hello");
        }
        let began = Instant::now();
        // They are idle, and closed at once.
        let report = server.stop();
        assert!(began.elapsed() < LONG / 2);
        assert_eq!(
            (report.connections(), report.requests_answered()),
            (1000, 1000)
        );
        assert_eq!(report.connections_cut_off(), 0);
    });
}

#[test]
fn a_connection_without_requests_is_closed_and_one_with_a_long_request_is_not() {
    limited(|| {
        const IDLE: Duration = Duration::from_millis(200);
        let app = hello().route(
            "/slow",
            get(|| async {
                heist::sleep(4 * IDLE).await;
                "slow"
            }),
        );
        let server = Server::configured(app, LONG, |serve| serve.idle_timeout(IDLE));
        let (mut idle, mut busy) = (server.connect(), server.connect());
        busy.ask("/slow");
        let began = Instant::now();
        idle.ask("/");
        assert_eq!(idle.answer(), "hello");
        assert_eq!(idle.rest(), b"");
        assert!(began.elapsed() >= IDLE, "{:?}", began.elapsed());
        assert_eq!(busy.answer(), "slow");
        server.stop();
    });
}

#[test]
fn a_peer_over_http2_that_never_says_goodbye_is_hung_up_on() {
    limited(|| {
        const IDLE: Duration = Duration::from_millis(100);
        let server = Server::configured(hello(), LONG, |serve| {
            serve.idle_timeout(IDLE).header_read_timeout(2 * IDLE)
        });
        let mut client = server.connect();
        let began = Instant::now();
        // The preface and empty settings; then nothing, not even an acknowledgement.
        client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        client.send(&[0, 0, 0, 4, 0, 0, 0, 0, 0]);
        client.rest();
        assert!(began.elapsed() >= 3 * IDLE, "{:?}", began.elapsed());
        assert_eq!(server.stop().connections_cut_off(), 0);
    });
}

#[test]
fn an_answer_that_is_read_slowly_is_not_without_requests() {
    limited(|| {
        const IDLE: Duration = Duration::from_millis(100);
        const LENGTH: usize = 24 << 20;
        // In one piece: it is with hyper at once, and then only the connection knows of it.
        let app = Router::new().route("/", get(|| async { vec![b'x'; LENGTH] }));
        let server = Server::configured(app, LONG, |serve| {
            serve.idle_timeout(IDLE).header_read_timeout(IDLE)
        });
        let mut client = server.connect();
        client.send(GET);
        let (mut got, mut part) = (0, vec![0; 1 << 20]);
        while got < LENGTH {
            let read = std::io::Read::read(&mut client.0, &mut part).unwrap();
            assert!(read > 0, "cut off after {got} bytes");
            got += read;
            std::thread::sleep(IDLE / 4);
        }
        assert_eq!(server.stop().requests_answered(), 1);
    });
}
