//! heist-hyper's server with a TLS handshake before each connection.

#[path = "../../../tests/it/limit.rs"]
mod limit;

use heist::net::TcpListener;
use heist::{Builder, Promise, Runtime, Task};
use heist_hyper::{Listener, ServeReport, serve};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use limit::limited;
use std::convert::Infallible;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use tls_echo::{Identity, trusting};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConnection, StreamOwned};

const LONG: Duration = Duration::from_secs(20);
const LIMIT: Duration = Duration::from_millis(500);

/// A server that says by which version it was asked.
struct Server {
    runtime: Runtime,
    identity: Identity,
    address: SocketAddr,
    /// What went wrong with connections, and whether it was that they were late.
    errors: Receiver<(bool, String)>,
    stop: Promise<()>,
    task: Task<io::Result<ServeReport>>,
}

impl Server {
    fn start() -> Self {
        let runtime = Builder::new().worker_threads(2).build().unwrap();
        let identity = Identity::new("localhost").unwrap();
        let mut config = identity.server_config().unwrap();
        config.alpn_protocols = [&b"h2"[..], b"http/1.1"].map(<[u8]>::to_vec).into();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"));
        let listener = listener.unwrap().unwrap();
        let address = listener.local_addr().unwrap();
        let listener = listener.handshake(move |stream| {
            let accepting = acceptor.accept(stream);
            async move { Ok(TokioIo::new(accepting.await?)) }
        });
        let answer = async |request: Request<Incoming>| {
            let text = format!("{:?} {}", request.version(), request.uri().path());
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(text))))
        };
        let (tell, errors) = channel();
        let (stop, stopped) = heist::promise();
        let serving = serve(listener, tower::service_fn(answer))
            .header_read_timeout(LIMIT)
            .on_error(move |error, _| {
                let error = (error.is_timeout(), error.to_string());
                tell.send(error).unwrap();
            })
            .graceful_shutdown(stopped, LONG);
        let task = runtime.spawn(serving.into_future());
        Self {
            runtime,
            identity,
            address,
            errors,
            stop,
            task,
        }
    }

    fn client(&self) -> StreamOwned<ClientConnection, TcpStream> {
        let config = trusting(self.identity.certificate().clone()).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let tls = ClientConnection::new(Arc::new(config), name).unwrap();
        let tcp = TcpStream::connect(self.address).unwrap();
        tcp.set_read_timeout(Some(LONG)).unwrap();
        StreamOwned::new(tls, tcp)
    }

    #[track_caller]
    fn stop(self) -> ServeReport {
        let _ = self.stop.set(());
        self.runtime.block_on(self.task).unwrap().unwrap().unwrap()
    }
}

#[test]
fn requests_are_answered_and_the_end_is_announced() {
    limited(|| {
        let server = Server::start();
        let mut client = server.client();
        let ask = b"GET /me HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n";
        client.write_all(ask).unwrap();
        let mut answer = String::new();
        // An end without `close_notify` would be an error.
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.ends_with("\r\n\r\nHTTP/1.1 /me"), "{answer}");

        // One that waits for nothing hears the end in the same way.
        let mut idle = server.client();
        idle.write_all(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
            .unwrap();
        idle.read_exact(&mut [0; 8]).unwrap();
        let report = server.stop();
        idle.read_to_end(&mut Vec::new()).unwrap();
        assert_eq!((report.connections(), report.requests_answered()), (2, 2));
    });
}

#[test]
fn curl_is_answered_over_both_versions() {
    limited(|| {
        let server = Server::start();
        let file = std::env::temp_dir().join(format!("tls_echo-https-{}.pem", std::process::id()));
        std::fs::write(&file, server.identity.pem()).unwrap();
        let port = server.address.port();
        let url = format!("https://localhost:{port}/me");
        let here = format!("localhost:{port}:127.0.0.1");
        for (version, expected) in [("--http1.1", "HTTP/1.1 /me"), ("--http2", "HTTP/2.0 /me")] {
            let mut command = Command::new("curl");
            command.args([
                "-sS",
                "--max-time",
                "20",
                version,
                "--resolve",
                &here,
                "--cacert",
            ]);
            match command.arg(&file).arg(&url).output() {
                Ok(output) => {
                    let told = String::from_utf8_lossy(&output.stderr).into_owned();
                    if told.contains("does not support") {
                        eprintln!("skipped: {told}");
                        continue;
                    }
                    assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{told}");
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::NotFound);
                    eprintln!("skipped: no curl");
                }
            }
        }
        std::fs::remove_file(file).unwrap();
        server.stop();
    });
}

#[test]
fn a_handshake_has_the_limit_of_a_head() {
    limited(|| {
        let server = Server::start();
        let began = Instant::now();
        let mut silent = TcpStream::connect(server.address).unwrap();
        silent.set_read_timeout(Some(LONG)).unwrap();
        assert_eq!(silent.read(&mut [0]).unwrap(), 0);
        let took = began.elapsed();
        assert!((LIMIT..LONG).contains(&took), "{took:?}");
        let (late, text) = server.errors.recv_timeout(LONG).unwrap();
        assert!(late, "{text}");

        let mut wrong = TcpStream::connect(server.address).unwrap();
        wrong.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        let (late, text) = server.errors.recv_timeout(LONG).unwrap();
        assert!(!late, "{text}");
        server.stop();
    });
}
