//! Lookups over loopback: servers that answer, that make one ask again over TCP, that are silent, that flood.

use heist::net::{TcpListener, TcpSocket, TcpStream};
use heist::sync::Event;
use heist_hickory::{HeistProvider, HeistTime};
use hickory_resolver::Resolver;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::Time;
use hickory_resolver::proto::op::{Message, OpCode};
use hickory_resolver::proto::rr::rdata::A;
use hickory_resolver::proto::rr::{RData, Record, RecordType};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_millis(300);

#[heist::test(timeout_ms = 30000)]
async fn many_names_are_looked_up_at_once() {
    many_names().await;
}

#[heist::test(flavor = "current_thread", timeout_ms = 30000)]
async fn many_names_are_looked_up_at_once_on_one_thread() {
    many_names().await;
}

async fn many_names() {
    let server = Server::new(|socket, datagram, client| reply(socket, client, &answer(datagram)));
    let resolver = resolver(&[ConnectionConfig::udp()], server.port);
    let lookups = (0..50).map(|n| {
        let resolver = resolver.clone();
        heist::spawn(async move { address(&resolver, n).await.unwrap() })
    });
    let addresses = heist::gather(lookups).await.unwrap();
    let expected: Vec<_> = (0..50).map(number).collect();
    assert_eq!(addresses, expected);
}

#[heist::test(timeout_ms = 30000)]
async fn an_answer_too_long_for_a_datagram_comes_over_tcp() {
    let server = Server::new(|socket, datagram, client| {
        let mut truncated = Message::from_vec(&answer(datagram)).unwrap().truncate();
        truncated.metadata.truncation = true;
        reply(socket, client, &truncated.to_vec().unwrap());
    });
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let tcp_port = listener.local_addr().unwrap().port();
    let serving = heist::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        serve(stream).await
    });

    let udp = ConnectionConfig::udp();
    let mut tcp = ConnectionConfig::tcp();
    tcp.port = tcp_port;
    let resolver = resolver(&[udp, tcp], server.port);
    assert_eq!(address(&resolver, 7).await.unwrap(), number(7));
    assert_eq!(address(&resolver, 8).await.unwrap(), number(8));
    assert!(!serving.is_done());

    // With the last resolver the connection ends, and the task that hickory had for it.
    drop(resolver);
    assert_eq!(serving.await.unwrap().kind(), io::ErrorKind::UnexpectedEof);
}

#[heist::test(timeout_ms = 30000)]
async fn a_server_that_is_silent_is_given_up() {
    let server = Server::new(|_, _, _| {});
    let resolver = resolver(&[ConnectionConfig::udp()], server.port);
    let begin = heist::time::now();
    let error = address(&resolver, 1).await.unwrap_err();
    assert!(matches!(error, NetError::Timeout), "{error}");
    let took = heist::time::now() - begin;
    assert!((LIMIT..LIMIT * 20).contains(&took), "{took:?}");
}

#[heist::test(timeout_ms = 60000)]
async fn a_server_that_floods_is_given_up() {
    let given_up = Arc::new(AtomicBool::new(false));
    let limit = Duration::from_secs(20);
    let begin = Instant::now();
    let enough = given_up.clone();
    let server = Server::new(move |socket, datagram, client| {
        // Answers to what nobody asked.
        let mut forged = answer(datagram);
        forged[0] ^= 0xff;
        while !enough.load(Ordering::Relaxed) && begin.elapsed() < limit {
            reply(socket, client, &forged);
        }
    });
    let resolver = resolver(&[ConnectionConfig::udp()], server.port);
    let error = address(&resolver, 1).await.unwrap_err();
    given_up.store(true, Ordering::Relaxed);
    assert!(matches!(error, NetError::Timeout), "{error}");
    assert!(begin.elapsed() < limit);
}

#[heist::test(timeout_ms = 30000)]
async fn a_limit_ends_what_is_never_out_of_work() {
    let busy = async {
        let ready = Event::new();
        ready.set();
        loop {
            ready.wait().await;
        }
    };
    let late = HeistTime::timeout(Duration::from_millis(5), busy).await;
    assert_eq!(late.unwrap_err().kind(), io::ErrorKind::TimedOut);
}

#[heist::test(timeout_ms = 30000)]
async fn a_server_that_refuses_connections_is_an_error() {
    // Bound, so that nobody else gets the port; not listening.
    let deaf = TcpSocket::new_v4().unwrap();
    deaf.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let port = deaf.local_addr().unwrap().port();
    let resolver = resolver(&[ConnectionConfig::tcp()], port);
    let error = address(&resolver, 1).await.unwrap_err();
    assert!(!matches!(error, NetError::Timeout), "{error}");
}

#[test]
fn a_resolver_works_from_threads_outside() {
    let server = Server::new(|socket, datagram, client| reply(socket, client, &answer(datagram)));
    let runtime = heist::Runtime::new().unwrap();
    let provider = HeistProvider::from(runtime.handle().clone());
    let resolver = resolver_of(provider, &[ConnectionConfig::udp()], server.port);
    let looked_up = runtime.block_on(address(&resolver, 3)).unwrap();
    assert_eq!(looked_up.unwrap(), number(3));
}

/// The address of name `n`.
async fn address(resolver: &Resolver<HeistProvider>, n: u8) -> Result<IpAddr, NetError> {
    let found = resolver.lookup_ip(format!("n{n}.example.")).await?;
    Ok(found.iter().next().unwrap())
}

fn number(n: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, n))
}

/// What an honest server says: that the address of `n7.example.` ends in 7, and that it has no other records.
fn answer(request: &[u8]) -> Vec<u8> {
    let request = Message::from_vec(request).unwrap();
    let query = request.queries[0].clone();
    let mut response = Message::response(request.metadata.id, OpCode::Query);
    if query.query_type() == RecordType::A {
        let name = query.name().to_ascii();
        let n = name[1..].split('.').next().unwrap().parse().unwrap();
        let data = RData::A(A::new(192, 0, 2, n));
        response.add_answer(Record::from_rdata(query.name().clone(), 60, data));
    }
    response.add_query(query);
    response.to_vec().unwrap()
}

fn reply(socket: &UdpSocket, client: SocketAddr, datagram: &[u8]) {
    socket.send_to(datagram, client).unwrap();
}

/// Answers what comes over a connection, until it is closed.
async fn serve(stream: TcpStream) -> io::Error {
    loop {
        let mut len = [0; 2];
        if let Err(error) = stream.read_exact(&mut len).await {
            return error;
        }
        let mut request = vec![0; u16::from_be_bytes(len).into()];
        stream.read_exact(&mut request).await.unwrap();
        let response = answer(&request);
        let len = u16::try_from(response.len()).unwrap();
        stream.write_all(&len.to_be_bytes()).await.unwrap();
        stream.write_all(&response).await.unwrap();
    }
}

fn resolver(connections: &[ConnectionConfig], port: u16) -> Resolver<HeistProvider> {
    resolver_of(HeistProvider::current().unwrap(), connections, port)
}

/// A resolver that knows one server, on loopback; on `port`, where the connection names none of its own.
fn resolver_of(
    provider: HeistProvider,
    connections: &[ConnectionConfig],
    port: u16,
) -> Resolver<HeistProvider> {
    let mut connections = connections.to_vec();
    for connection in &mut connections {
        if connection.port == 53 {
            connection.port = port;
        }
    }
    let server = NameServerConfig::new(IpAddr::V4(Ipv4Addr::LOCALHOST), true, connections);
    let config = ResolverConfig::from_name_servers(vec![server]);
    let mut builder = Resolver::builder_with_config(config, provider);
    let options: &mut ResolverOpts = builder.options_mut();
    options.timeout = LIMIT;
    options.attempts = 1;
    options.use_hosts_file = ResolveHosts::Never;
    builder.build().unwrap()
}

/// A server on a thread of its own, which does with each datagram what it is told. Dropped, it is gone.
struct Server {
    port: u16,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn new(serve: impl Fn(&UdpSocket, &[u8], SocketAddr) + Send + 'static) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = socket.local_addr().unwrap().port();
        let thread = thread::spawn(move || {
            let mut datagram = [0; 4096];
            loop {
                let (len, client) = socket.recv_from(&mut datagram).unwrap();
                if len == 0 {
                    return; // from `drop`
                }
                serve(&socket, &datagram[..len], client);
            }
        });
        Self {
            port,
            thread: Some(thread),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket
            .send_to(&[], (Ipv4Addr::LOCALHOST, self.port))
            .unwrap();
        let served = self.thread.take().unwrap().join();
        assert!(served.is_ok() || thread::panicking());
    }
}
