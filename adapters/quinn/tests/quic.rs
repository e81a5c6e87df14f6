//! QUIC over loopback, on a sound network and on one that loses datagrams.

use heist::{Async, TaskGroup};
use heist_quinn::HeistRuntime;
use quinn::{ClientConfig, Connection, Endpoint, EndpointConfig, ServerConfig, VarInt};
use quinn_udp::UdpSocketState;
use rustls::RootCertStore;
use rustls::pki_types::PrivatePkcs8KeyDer;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const STREAMS: usize = 8;
/// Over all streams, some 500 kB each way.
const BYTES: usize = 64 * 1024;

#[heist::test(timeout_ms = 60000)]
async fn every_stream_is_echoed() {
    everything_is_echoed().await;
}

#[heist::test(flavor = "current_thread", timeout_ms = 60000)]
async fn every_stream_is_echoed_on_one_thread() {
    everything_is_echoed().await;
}

async fn everything_is_echoed() {
    let (server, client_config) = server();
    let address = server.local_addr().unwrap();
    let echo = heist::spawn(echo(server.clone()));

    let client = client(client_config);
    let connection = client.connect(address, "localhost").unwrap().await.unwrap();
    exchange(&connection).await;
    let stats = connection.stats();
    assert!(stats.udp_tx.bytes as usize > STREAMS * BYTES);
    // Many datagrams go out in one call, where the system can do that.
    let system = UdpSocketState::new((&loopback()).into()).unwrap();
    if system.max_gso_segments() > 1 {
        assert!(stats.udp_tx.ios < stats.udp_tx.datagrams);
    }

    end(connection, client, server).await;
    echo.await.unwrap();
}

#[heist::test(timeout_ms = 60000)]
async fn what_the_network_loses_arrives_all_the_same() {
    let (server, client_config) = server();
    let relay = Relay::new(server.local_addr().unwrap());
    let front = relay.front.get_ref().local_addr().unwrap();
    let echo = heist::spawn(echo(server.clone()));
    let lost = relay.lost.clone();
    let relayed = heist::spawn(relay.run());

    let client = client(client_config);
    let connection = client.connect(front, "localhost").unwrap().await.unwrap();
    exchange(&connection).await;
    assert!(lost.load(Ordering::Relaxed) > 10);

    // The news of the end may be lost too: neither side waits for the other's.
    connection.close(VarInt::from_u32(0), b"done");
    server.close(VarInt::from_u32(0), b"done");
    client.wait_idle().await;
    server.wait_idle().await;
    echo.await.unwrap();
    relayed.cancel("done");
    assert!(relayed.await.unwrap_err().is_cancelled());
}

#[heist::test(timeout_ms = 60000)]
async fn a_peer_that_is_silent_is_given_up() {
    let silent = loopback();
    let (_, mut config) = trust();
    let mut transport = quinn::TransportConfig::default();
    // Less than three probes, which quinn waits for anyhow.
    let limit = Duration::from_millis(200);
    transport.max_idle_timeout(Some(limit.try_into().unwrap()));
    config.transport_config(Arc::new(transport));
    let client = client(config);
    let begin = heist::time::now();
    let connecting = client
        .connect(silent.local_addr().unwrap(), "localhost")
        .unwrap();
    assert_eq!(
        connecting.await.unwrap_err(),
        quinn::ConnectionError::TimedOut
    );
    assert!(heist::time::now() - begin >= limit);
}

#[test]
fn endpoints_work_from_threads_outside() {
    let runtime = heist::Runtime::new().unwrap();
    let quic = Arc::new(HeistRuntime::from(runtime.handle().clone()));
    let (server_config, client_config) = trust();
    let made = |server| {
        let config = EndpointConfig::default();
        Endpoint::new(config, server, loopback(), quic.clone()).unwrap()
    };
    let (server, mut client) = (made(Some(server_config)), made(None));
    client.set_default_client_config(client_config);
    let connecting = client
        .connect(server.local_addr().unwrap(), "localhost")
        .unwrap();
    let echo = runtime.spawn(echo(server.clone()));
    let both = async {
        let connection = connecting.await.unwrap();
        exchange(&connection).await;
        end(connection, client, server).await;
        echo.await.unwrap();
    };
    let limited = runtime.block_on(heist::timeout(Duration::from_secs(60), both));
    limited.unwrap().unwrap();
}

/// Sends on all streams at once, and reads back.
async fn exchange(connection: &Connection) {
    let streams = (0..STREAMS).map(|n| {
        let connection = connection.clone();
        heist::spawn(async move {
            let bytes: Vec<u8> = (0..BYTES).map(|at| (at * 31 + n) as u8).collect();
            let (mut send, mut receive) = connection.open_bi().await.unwrap();
            let sent = bytes.clone();
            let sender = heist::spawn(async move {
                send.write_all(&sent).await.unwrap();
                send.finish().unwrap();
            });
            let received = receive.read_to_end(2 * BYTES).await.unwrap();
            sender.await.unwrap();
            assert!(received == bytes);
        })
    });
    heist::gather(streams).await.unwrap();
}

/// Sends back what comes, stream by stream, until the endpoint is closed.
async fn echo(endpoint: Endpoint) {
    while let Some(incoming) = endpoint.accept().await {
        heist::spawn(async move {
            let connection = incoming.await.unwrap();
            while let Ok((mut send, mut receive)) = connection.accept_bi().await {
                heist::spawn(async move {
                    while let Some(chunk) = receive.read_chunk(usize::MAX, true).await.unwrap() {
                        send.write_chunk(chunk.bytes).await.unwrap();
                    }
                    send.finish().unwrap();
                });
            }
        });
    }
}

/// Says goodbye, and waits until both sides have heard it.
async fn end(connection: Connection, client: Endpoint, server: Endpoint) {
    connection.close(VarInt::from_u32(0), b"done");
    client.wait_idle().await;
    server.wait_idle().await;
    server.close(VarInt::from_u32(0), b"done");
}

fn server() -> (Endpoint, ClientConfig) {
    let (server_config, client_config) = trust();
    (endpoint(Some(server_config)), client_config)
}

fn client(config: ClientConfig) -> Endpoint {
    let mut endpoint = endpoint(None);
    endpoint.set_default_client_config(config);
    endpoint
}

fn endpoint(server: Option<ServerConfig>) -> Endpoint {
    let runtime = Arc::new(HeistRuntime::current().unwrap());
    Endpoint::new(EndpointConfig::default(), server, loopback(), runtime).unwrap()
}

fn loopback() -> UdpSocket {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()
}

/// A server with a certificate that it signed itself, and clients that trust it.
fn trust() -> (ServerConfig, ClientConfig) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let certificate = made.cert.der().clone();
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let server = ServerConfig::with_single_cert(vec![certificate], key.into()).unwrap();
    let client = ClientConfig::with_root_certificates(Arc::new(roots)).unwrap();
    (server, client)
}

/// Stands between one client and a server, and loses every tenth datagram of each.
struct Relay {
    front: Arc<Async<UdpSocket>>,
    back: Arc<Async<UdpSocket>>,
    lost: Arc<AtomicUsize>,
}

impl Relay {
    fn new(server: SocketAddr) -> Self {
        let back = loopback();
        back.connect(server).unwrap();
        Self {
            front: Arc::new(Async::new(loopback()).unwrap()),
            back: Arc::new(Async::new(back).unwrap()),
            lost: Arc::default(),
        }
    }

    async fn run(self) {
        // A look at the first datagram says who the client is.
        let (_, client) = self
            .front
            .read_with(|front| front.peek_from(&mut [0; 1]))
            .await
            .unwrap();
        self.front.get_ref().connect(client).unwrap();

        let there = forward(self.front.clone(), self.back.clone(), self.lost.clone());
        let back = forward(self.back, self.front, self.lost);
        let both = TaskGroup::run(|group| async move {
            group.spawn(there).unwrap();
            back.await;
        });
        both.await.unwrap();
    }
}

async fn forward(from: Arc<Async<UdpSocket>>, to: Arc<Async<UdpSocket>>, lost: Arc<AtomicUsize>) {
    let mut datagram = vec![0; 65536];
    for n in 1.. {
        // A side that has closed its socket is no concern of the other.
        let len = match from.read_with(|from| from.recv(&mut datagram)).await {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => continue,
            len => len.unwrap(),
        };
        if n % 10 == 0 {
            lost.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        match to.write_with(|to| to.send(&datagram[..len])).await {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            sent => assert_eq!(sent.unwrap(), len),
        }
    }
}
