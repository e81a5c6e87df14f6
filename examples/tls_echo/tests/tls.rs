//! The server among its peers, good and bad: rustls on std's sockets, and bytes that are no TLS at all.

#[path = "../../../tests/it/limit.rs"]
mod limit;

use heist::net::TcpListener;
use heist::{Builder, Promise, Runtime, Task};
use limit::limited;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use tls_echo::{End, Identity, Reason, connect, serve, trusting};
use tokio::io::{AsyncReadExt, AsyncWriteExt, split};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, ClientConnection, Error, RootCertStore, ServerConnection,
    StreamOwned,
};

const LONG: Duration = Duration::from_secs(20);
const MS: Duration = Duration::from_millis(1);

/// A server in a runtime of its own.
struct Server {
    runtime: Runtime,
    address: SocketAddr,
    certificate: CertificateDer<'static>,
    ends: Receiver<End>,
    stop: Promise<()>,
    task: Task<io::Result<()>>,
}

impl Server {
    fn start() -> Self {
        Self::with_limit(LONG)
    }

    /// One whose handshakes may take so long.
    fn with_limit(limit: Duration) -> Self {
        let runtime = Builder::new().worker_threads(2).build().unwrap();
        let identity = Identity::new("localhost").unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"));
        let listener = listener.unwrap().unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = heist::promise();
        let (tell, ends) = channel();
        let told = move |_, end| tell.send(end).unwrap();
        let config = identity.server_config().unwrap();
        let task = runtime.spawn(serve(listener, config, limit, stopped, told));
        Self {
            runtime,
            address,
            certificate: identity.certificate().clone(),
            ends,
            stop,
            task,
        }
    }

    fn trusted(&self) -> ClientConfig {
        trusting(self.certificate.clone()).unwrap()
    }

    fn tcp(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// A client on a socket of std's.
    fn client(&self, config: ClientConfig) -> Client {
        StreamOwned::new(client(config, "localhost"), self.tcp())
    }

    /// How the next connection ended that did.
    #[track_caller]
    fn end(&self) -> End {
        self.ends.recv_timeout(LONG).expect("none has ended")
    }

    /// Whether it serves.
    #[track_caller]
    fn serves(&self) {
        let mut client = self.client(self.trusted());
        assert_eq!(ask(&mut client, b"still there?"), b"still there?");
        close(client);
        let end = self.end();
        assert!(matches!(end.reason, Reason::PeerClosed), "{end}");
    }

    /// Stops it, and waits for the end: none of its tasks is left then.
    #[track_caller]
    fn stop(self) -> Receiver<End> {
        let _ = self.stop.set(());
        self.runtime.block_on(self.task).unwrap().unwrap().unwrap();
        assert!(self.runtime.shutdown(LONG).is_complete());
        self.ends
    }
}

type Client = StreamOwned<ClientConnection, TcpStream>;

fn client(config: ClientConfig, name: &'static str) -> ClientConnection {
    ClientConnection::new(Arc::new(config), ServerName::try_from(name).unwrap()).unwrap()
}

#[track_caller]
fn ask(client: &mut Client, bytes: &[u8]) -> Vec<u8> {
    client.write_all(bytes).unwrap();
    let mut answer = vec![0; bytes.len()];
    client.read_exact(&mut answer).unwrap();
    answer
}

/// Says goodbye, and waits for the answer.
#[track_caller]
fn close(mut client: Client) {
    client.conn.send_close_notify();
    assert_eq!(client.read_to_end(&mut Vec::new()).unwrap(), 0);
}

/// The first bytes that a client sends.
fn hello(server: &Server) -> Vec<u8> {
    let mut bytes = Vec::new();
    client(server.trusted(), "localhost")
        .write_tls(&mut bytes)
        .unwrap();
    bytes
}

/// Closes by a reset.
fn reset(stream: TcpStream) {
    let socket = socket2::SockRef::from(&stream);
    socket.set_linger(Some(Duration::ZERO)).unwrap();
}

/// Reads until the server closes; gives what came. A reset is an end as well.
#[track_caller]
fn rest(mut stream: &TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("not closed: {error}"),
        _ => bytes,
    }
}

#[test]
fn ten_megabytes_go_there_and_back_at_once() {
    const MUCH: usize = 10 << 20;
    limited(|| {
        let server = Server::start();
        let text: Arc<[u8]> = std::iter::repeat_with(|| fastrand::u8(..))
            .take(MUCH)
            .collect();
        let sent = text.clone();
        let (address, config) = (server.address, server.trusted());
        let echoed = server.runtime.block_on(async move {
            let stream = connect(address, "localhost", config, LONG).await?;
            let (mut from, mut to) = split(stream);
            let sending = heist::spawn(async move {
                to.write_all(&sent).await?;
                to.shutdown().await
            });
            let mut echo = Vec::new();
            from.read_to_end(&mut echo).await?;
            sending.await.unwrap()?;
            io::Result::Ok(echo)
        });
        assert!(*echoed.unwrap().unwrap() == *text);
        let end = server.end();
        assert!(matches!(end.reason, Reason::PeerClosed), "{end}");
        assert_eq!(end.bytes, MUCH as u64);
        server.stop();
    });
}

#[test]
fn clients_on_other_sockets_are_served_by_both_versions() {
    limited(|| {
        let server = Server::start();
        for version in [&TLS12, &TLS13] {
            let mut roots = RootCertStore::empty();
            roots.add(server.certificate.clone()).unwrap();
            let config = ClientConfig::builder_with_protocol_versions(&[version])
                .with_root_certificates(roots)
                .with_no_client_auth();
            let mut client = server.client(config);
            let part: Vec<_> = (0..16 << 10).map(|n| n as u8).collect();
            for _ in 0..640 {
                assert!(ask(&mut client, &part) == part);
            }
            assert_eq!(client.conn.protocol_version(), Some(version.version));
            close(client);
            let end = server.end();
            assert!(matches!(end.reason, Reason::PeerClosed), "{end}");
            assert_eq!(end.bytes, 10 << 20);
        }
        server.stop();
    });
}

#[test]
fn a_certificate_that_does_not_do_is_an_error_on_both_sides() {
    limited(|| {
        let server = Server::start();
        let stranger = Identity::new("localhost").unwrap().certificate().clone();
        // Both of the same issuer, by name: the signature tells them apart.
        let cases = [
            ("elsewhere.example", server.trusted()),
            ("localhost", trusting(stranger).unwrap()),
        ];
        for (name, config) in cases {
            let (address, ours) = (server.address, config.clone());
            let connecting = async move { connect(address, name, ours, LONG).await.map(drop) };
            let error = server.runtime.block_on(connecting).unwrap().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
            let inner = error.get_ref().unwrap().downcast_ref::<Error>().unwrap();
            match (name, inner) {
                (
                    "elsewhere.example",
                    Error::InvalidCertificate(CertificateError::NotValidForNameContext { .. }),
                )
                | ("localhost", Error::InvalidCertificate(CertificateError::BadSignature)) => {}
                _ => panic!("{name}: {error}"),
            }
            assert!(
                name == "localhost" || error.to_string().contains(name),
                "which name? {error}"
            );
            // The server was told why, and has let go of the connection.
            let end = server.end();
            let Reason::NoHandshake(error) = &end.reason else {
                panic!("{end}")
            };
            let inner = error.get_ref().unwrap().downcast_ref::<Error>();
            assert!(matches!(inner, Some(Error::AlertReceived(_))), "{end}");

            // From outside: it hangs up.
            let (mut tls, mut tcp) = (client(config, name), server.tcp());
            tls.complete_io(&mut tcp).unwrap_err();
            while tls.wants_write() {
                tls.write_tls(&mut tcp).unwrap();
            }
            rest(&tcp);
            let end = server.end();
            assert!(matches!(end.reason, Reason::NoHandshake(_)), "{end}");
        }
        let (address, config) = (server.address, server.trusted());
        let connecting = async move { connect(address, "no name", config, LONG).await.map(drop) };
        let error = server.runtime.block_on(connecting).unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        server.serves();
        server.stop();
    });
}

#[test]
fn a_handshake_that_does_not_come_or_comes_slowly_is_given_up() {
    const LIMIT: Duration = Duration::from_millis(300);
    limited(|| {
        let server = Server::with_limit(LIMIT);
        let hello = hello(&server);
        let dripped = (0..hello.len()).map(|at| &hello[at..=at]);
        let cases: [Vec<&[u8]>; 3] = [vec![], vec![&hello[..hello.len() / 2]], dripped.collect()];
        for parts in cases {
            let began = Instant::now();
            let stream = server.tcp();
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    for part in parts {
                        // The server may be gone: that is what is waited for.
                        if (&stream).write_all(part).is_err() {
                            return;
                        }
                        std::thread::sleep(20 * MS);
                    }
                });
                server.serves();
                assert_eq!(rest(&stream), b"");
                let took = began.elapsed();
                assert!((LIMIT..LONG).contains(&took), "{took:?}");
                let end = server.end();
                assert!(matches!(end.reason, Reason::HandshakeTookTooLong), "{end}");
            });
        }
        server.stop();
    });
}

#[test]
fn a_client_does_not_wait_for_a_server_that_says_nothing() {
    const LIMIT: Duration = Duration::from_millis(100);
    limited(|| {
        let runtime = Runtime::new().unwrap();
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = silent.local_addr().unwrap();
        let config = trusting(Identity::new("localhost").unwrap().certificate().clone()).unwrap();
        let began = Instant::now();
        let connecting =
            async move { connect(address, "localhost", config, LIMIT).await.map(drop) };
        let error = runtime.block_on(connecting).unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
        assert!((LIMIT..LONG).contains(&began.elapsed()));
    });
}

#[test]
fn a_reset_in_the_middle_of_a_handshake_costs_its_connection() {
    limited(|| {
        let server = Server::start();
        let hello = hello(&server);
        for sent in [0, 1, 5, hello.len() / 2, hello.len() - 1] {
            let mut stream = server.tcp();
            stream.write_all(&hello[..sent]).unwrap();
            reset(stream);
            let end = server.end();
            let Reason::NoHandshake(error) = &end.reason else {
                panic!("{end}")
            };
            assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{sent}: {end}");
        }
        // When the server has answered, and waits for the client's last word.
        let mut stream = server.tcp();
        stream.write_all(&hello).unwrap();
        stream.read_exact(&mut [0]).unwrap();
        reset(stream);
        let end = server.end();
        let Reason::NoHandshake(error) = &end.reason else {
            panic!("{end}")
        };
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{end}");
        server.serves();
        server.stop();
    });
}

#[test]
fn what_is_not_tls_is_refused() {
    limited(|| {
        let server = Server::start();
        let mut stream = server.tcp();
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
            .unwrap();
        // A fatal alert, perhaps, and the end.
        assert!(rest(&stream).len() <= 7);
        let end = server.end();
        let Reason::NoHandshake(error) = &end.reason else {
            panic!("{end}")
        };
        assert_eq!(error.kind(), ErrorKind::InvalidData, "{end}");
        server.serves();
        server.stop();
    });
}

#[test]
fn a_stream_that_was_cut_short_is_not_one_that_was_closed() {
    limited(|| {
        let server = Server::start();
        let talking = || {
            let mut client = server.client(server.trusted());
            assert_eq!(ask(&mut client, b"four"), b"four");
            client
        };
        close(talking());
        let end = server.end();
        assert!(matches!(end.reason, Reason::PeerClosed), "{end}");
        assert_eq!(end.bytes, 4);

        // Between two records.
        let client = talking();
        client.sock.shutdown(Shutdown::Write).unwrap();
        let end = server.end();
        assert!(matches!(end.reason, Reason::Truncated), "{end}");
        assert_eq!(end.bytes, 4);

        // Within one: nothing of it is echoed.
        let mut client = talking();
        client.conn.writer().write_all(b"more").unwrap();
        let mut record = Vec::new();
        client.conn.write_tls(&mut record).unwrap();
        client.sock.write_all(&record[..record.len() - 1]).unwrap();
        client.sock.shutdown(Shutdown::Write).unwrap();
        let end = server.end();
        assert!(matches!(end.reason, Reason::Truncated), "{end}");
        assert_eq!(end.bytes, 4);

        reset(talking().sock);
        let end = server.end();
        let Reason::Broken(error) = &end.reason else {
            panic!("{end}")
        };
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{end}");
        server.stop();
    });
}

#[test]
fn a_client_too_tells_the_end_from_a_cut() {
    limited(|| {
        let identity = Identity::new("localhost").unwrap();
        for says_goodbye in [true, false] {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let config = Arc::new(identity.server_config().unwrap());
            let server = std::thread::spawn(move || {
                let (stream, _) = listener.accept().unwrap();
                let tls = ServerConnection::new(config).unwrap();
                let mut stream = StreamOwned::new(tls, stream);
                stream.write_all(b"half of").unwrap();
                if says_goodbye {
                    stream.conn.send_close_notify();
                }
                stream.flush().unwrap();
                stream.sock.shutdown(Shutdown::Write).unwrap();
                // A socket that is closed with bytes unread would be a reset.
                rest(&stream.sock);
            });
            let config = trusting(identity.certificate().clone()).unwrap();
            let runtime = Runtime::new().unwrap();
            let reading = async move {
                let mut stream = connect(address, "localhost", config, LONG).await.unwrap();
                let mut text = Vec::new();
                let read = stream.read_to_end(&mut text).await;
                (read.map_err(|error| error.kind()), text)
            };
            let (read, text) = runtime.block_on(reading).unwrap();
            assert_eq!(text, b"half of");
            let expected = match says_goodbye {
                true => Ok(7),
                false => Err(ErrorKind::UnexpectedEof),
            };
            assert_eq!(read, expected);
            server.join().unwrap();
        }
    });
}

#[test]
fn at_the_end_all_are_told_goodbye_and_nobody_is_waited_for_long() {
    limited(|| {
        let server = Server::start();
        let mut idle = server.client(server.trusted());
        assert_eq!(ask(&mut idle, b"hello"), b"hello");
        // One that sends and never reads: the server waits for room to write.
        let mut deaf = server.client(server.trusted());
        assert_eq!(ask(&mut deaf, b"hello"), b"hello");
        deaf.sock.set_write_timeout(Some(300 * MS)).unwrap();
        let stuck = deaf.write_all(&vec![0; 64 << 20]).unwrap_err();
        // rustls' buffer is full, and so is the socket's.
        assert_eq!(stuck.kind(), ErrorKind::WriteZero, "{stuck}");
        // And one in its handshake, of which nothing is told.
        let silent = server.tcp();
        let address = server.address;

        let began = Instant::now();
        let ends = server.stop();
        assert!(began.elapsed() < LONG / 2, "{:?}", began.elapsed());
        let ends: Vec<_> = ends.iter().collect();
        assert!(
            ends.iter()
                .all(|end| matches!(end.reason, Reason::ServerEnds)),
            "{ends:?}"
        );
        assert_eq!(ends.len(), 2, "{ends:?}");
        assert_eq!(idle.read_to_end(&mut Vec::new()).unwrap(), 0);
        assert_eq!(rest(&silent), b"");
        let refused = TcpStream::connect(address).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    });
}
