//! A server on a Unix socket.

use crate::support::{GET, LONG, hello, limited};
use axum::extract::Extension;
use axum::routing::get;
use heist::net::{UnixListener, UnixStream};
use heist_hyper::{Listener, serve};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// A socket's file, which goes with its test.
struct Socket(PathBuf);

impl Socket {
    fn new(name: &str) -> Self {
        let file = format!("heist-hyper-{}-{name}", std::process::id());
        Self(std::env::temp_dir().join(file))
    }

    /// One request on a connection that ends with it.
    #[track_caller]
    fn answers(&self, path: &str) -> String {
        let mut client = connect(&self.0);
        let request = format!("GET {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n");
        client.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 "), "{answer}");
        body.to_owned()
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // A test that has failed may not have come to make it.
        let _ = std::fs::remove_file(&self.0);
    }
}

fn connect(path: &Path) -> net::UnixStream {
    let client = net::UnixStream::connect(path).unwrap();
    client.set_read_timeout(Some(LONG)).unwrap();
    client
}

#[test]
fn requests_come_through_a_unix_socket() {
    limited(|| {
        let runtime = heist::Runtime::new().unwrap();
        let socket = Socket::new("requests");
        let path = socket.0.clone();
        let listener = runtime.block_on(async { UnixListener::bind(path) });
        let (stop, stopped) = heist::promise::<()>();
        let app = hello().route(
            "/who",
            get(|Extension(peer): Extension<net::SocketAddr>| async move {
                format!("unnamed: {}", peer.is_unnamed())
            }),
        );
        let server = serve(listener.unwrap().unwrap(), app)
            .on_request(|request, peer: &net::SocketAddr| {
                request.extensions_mut().insert(peer.clone());
            })
            .graceful_shutdown(stopped, LONG);
        let server = runtime.spawn(server.into_future());

        assert_eq!(socket.answers("/"), "hello");
        assert_eq!(socket.answers("/who"), "unnamed: true");
        let mut expected = 3;
        let curl = Command::new("curl")
            .args(["-sS", "--max-time", "20", "--unix-socket"])
            .arg(&socket.0)
            .arg("http://here/")
            .output();
        match curl {
            Ok(curl) => {
                assert_eq!(curl.stdout, b"hello", "{curl:?}");
                expected += 1;
            }
            Err(_) => eprintln!("skipped: no curl"),
        }

        // One that is idle when the end comes.
        let mut kept = connect(&socket.0);
        kept.write_all(GET).unwrap();
        let mut answer = [0; 8];
        kept.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1");
        let began = Instant::now();
        let _ = stop.set(());
        let report = runtime.block_on(server).unwrap().unwrap().unwrap();
        assert!(began.elapsed() < LONG / 2, "{:?}", began.elapsed());
        kept.read_to_end(&mut Vec::new()).unwrap();
        assert_eq!(
            (report.connections(), report.requests_answered()),
            (expected, expected)
        );
        let refused = net::UnixStream::connect(&socket.0).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn a_handshake_knows_who_is_at_the_other_end() {
    limited(|| {
        let runtime = heist::Runtime::new().unwrap();
        let socket = Socket::new("handshake");
        let path = socket.0.clone();
        let listener = runtime.block_on(async { UnixListener::bind(path) });
        let us = rustix::process::geteuid().as_raw();
        let listener = listener
            .unwrap()
            .unwrap()
            .handshake(move |stream: UnixStream| async move {
                match stream.peer_cred()?.uid() == us {
                    true => Ok(stream),
                    false => Err(ErrorKind::PermissionDenied.into()),
                }
            });
        let server = runtime.spawn(serve(listener, hello()).into_future());
        assert_eq!(socket.answers("/"), "hello");
        server.cancel(None);
        let ended = runtime.block_on(server).unwrap();
        assert!(ended.unwrap_err().is_cancelled());
    });
}
