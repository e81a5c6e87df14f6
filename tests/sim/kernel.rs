//! Whatever Linux's sockets say, the simulated ones say too: scenes that are played on the kernel's loopback and on simulated networks, and told the same way.
//!
//! What a scene tells must not depend on when things arrive: it waits for them.

use heist::net::{TcpListener, TcpSocket, TcpStream};
use heist::sim::{Builder, NetConfig};
use std::fmt::Debug;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::Duration;

/// What a scene has seen, in order.
#[derive(Default)]
struct Told(Vec<String>);

impl Told {
    fn tell(&mut self, what: &str, seen: impl Debug) {
        self.0.push(format!("{what}: {seen:?}"));
    }

    /// A result, with the system's number of an error.
    fn result<T: Debug>(&mut self, what: &str, result: io::Result<T>) {
        self.tell(
            what,
            result.map_err(|error| error.raw_os_error().ok_or(error)),
        );
    }
}

/// Plays a scene on the kernel, and on simulated networks; all must tell the same.
fn same_as_the_kernel<Fut>(scene: fn() -> Fut)
where
    Fut: Future<Output = Told> + Send + 'static,
{
    let real = Arc::new(heist::run(scene()).unwrap().0);
    let smooth = NetConfig::new().short_reads(0.0).short_writes(0.0);
    for network in [NetConfig::new(), smooth] {
        let real = real.clone();
        let seeds = Builder::new().network(network).seeds(0..60, move |_| {
            let real = real.clone();
            async move { assert_eq!(scene().await.0, *real) }
        });
        if let Err(failure) = seeds {
            panic!("{failure}");
        }
    }
}

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap());
    let client = client.await.unwrap();
    (client, listener.accept().await.unwrap().0)
}

/// Writes until that fails.
async fn write_until_it_fails(stream: &TcpStream) -> io::Result<()> {
    loop {
        stream.write(b"x").await?;
        heist::task::yield_now().await;
    }
}

/// Everything that can be asked of a stream without waiting.
async fn afterwards(told: &mut Told, stream: &TcpStream) {
    told.result("read", stream.read(&mut [0]).await);
    told.result("read again", stream.read(&mut [0]).await);
    told.result("write", stream.write(b"x").await);
    told.result("shutdown", stream.shutdown(Shutdown::Write));
    told.result("peer", stream.peer_addr());
    told.tell(
        "pending",
        stream.take_error().unwrap().map(|error| error.kind()),
    );
}

#[test]
fn the_peer_closes() {
    same_as_the_kernel(|| async {
        let mut told = Told::default();
        let (client, server) = pair().await;
        drop(server);
        told.result("end", client.read(&mut [0]).await);
        told.result("write", write_until_it_fails(&client).await);
        afterwards(&mut told, &client).await;
        told
    });
}

#[test]
fn the_peer_closes_with_bytes_unread() {
    same_as_the_kernel(|| async {
        let mut told = Told::default();
        for writes in [false, true] {
            let (client, server) = pair().await;
            client.write_all(b"unread").await.unwrap();
            server.readable().await.unwrap();
            drop(server);
            if writes {
                told.result("write", write_until_it_fails(&client).await);
            }
            afterwards(&mut told, &client).await;
        }
        told
    });
}

#[test]
fn a_reset_comes_behind_bytes() {
    same_as_the_kernel(|| async {
        let mut told = Told::default();
        let (client, server) = pair().await;
        server.write_all(b"abc").await.unwrap();
        client.readable().await.unwrap();
        server.set_linger(Some(Duration::ZERO)).unwrap();
        drop(server);
        let mut bytes = [0; 3];
        told.result("bytes", client.read_exact(&mut bytes).await.map(|()| bytes));
        client.readable().await.unwrap();
        told.tell(
            "error",
            client.take_error().unwrap().map(|error| error.kind()),
        );
        afterwards(&mut told, &client).await;
        told
    });
}

#[test]
fn both_ends_end_their_direction() {
    same_as_the_kernel(|| async {
        let mut told = Told::default();
        let (client, server) = pair().await;
        told.result("shutdown", client.shutdown(Shutdown::Write));
        told.result("once more", client.shutdown(Shutdown::Write));
        told.result("write", client.write(b"x").await);
        told.result("end", server.read(&mut [0]).await);
        told.result("answer", server.write(b"a").await);
        told.result("heard", client.read(&mut [0]).await);
        told.result("shutdown", server.shutdown(Shutdown::Write));
        told.result("end", client.read(&mut [0]).await);
        afterwards(&mut told, &client).await;
        afterwards(&mut told, &server).await;
        told
    });
}

#[test]
fn one_end_stops_reading() {
    same_as_the_kernel(|| async {
        let mut told = Told::default();
        let (client, server) = pair().await;
        told.result("nothing there", client.try_read(&mut [0]).map(|_| ()));
        server.write_all(b"a").await.unwrap();
        client.readable().await.unwrap();
        told.result("shutdown", client.shutdown(Shutdown::Read));
        told.result("what was there", client.read(&mut [0; 8]).await);
        told.result("and then", client.read(&mut [0; 8]).await);
        told.result("write", client.write(b"b").await);
        told.result("heard", server.read(&mut [0; 8]).await);
        told
    });
}

#[test]
fn a_client_gives_up_in_the_queue() {
    same_as_the_kernel(|| async {
        let mut told = Told::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        for linger in [None, Some(Duration::ZERO)] {
            let client = TcpStream::connect(addr).await.unwrap();
            client.write_all(b"bye").await.unwrap();
            client.set_linger(linger).unwrap();
            drop(client);
            let (server, _) = listener.accept().await.unwrap();
            let mut bytes = [0; 3];
            told.result("bytes", server.read_exact(&mut bytes).await.map(|()| bytes));
            told.result("then", server.read(&mut [0]).await);
        }
        let client = TcpStream::connect(addr).await.unwrap();
        drop(listener);
        told.result("the listener is gone", client.read(&mut [0]).await);
        told.result("nobody listens", TcpStream::connect(addr).await.map(|_| ()));
        told
    });
}

#[test]
fn addresses() {
    same_as_the_kernel(|| async {
        let mut told = Told::default();
        let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        told.tell("listens at", addr.ip());
        told.tell("port", addr.port() != 0);
        for target in ["0.0.0.0", "127.0.0.1", "127.0.0.5"] {
            let client = TcpStream::connect((target.to_owned(), addr.port()));
            let client = client.await.unwrap();
            let (server, peer) = listener.accept().await.unwrap();
            told.tell("from", client.local_addr().unwrap().ip());
            told.tell("to", client.peer_addr().unwrap().ip());
            told.tell("at", server.local_addr().unwrap().ip());
            told.tell("peer", peer == client.local_addr().unwrap());
            told.tell("peer", peer == server.peer_addr().unwrap());
        }
        let fresh = TcpSocket::new_v4().unwrap();
        told.result("unbound", fresh.local_addr());
        told.result("v6", fresh.bind("[::1]:0".parse().unwrap()));
        told.result("bind", fresh.bind("127.0.0.2:0".parse().unwrap()));
        told.result("again", fresh.bind("127.0.0.2:0".parse().unwrap()));
        told.result("only v6", fresh.set_only_v6(true));
        let client = fresh.connect(addr).await.unwrap();
        told.tell("from", client.local_addr().unwrap().ip());
        told.result("ttl", client.set_ttl(0));
        told.result("ttl", client.set_ttl(300));
        told.result("write nothing", client.write(b"").await);
        told
    });
}

#[test]
fn an_address_in_use() {
    same_as_the_kernel(|| async {
        let mut told = Told::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let bind = async |ip: &str| TcpListener::bind((ip, addr.port())).await.map(|_| ());
        told.result("the same", bind("127.0.0.1").await);
        told.result("all", bind("0.0.0.0").await);
        told.result("another", bind("127.0.0.2").await);
        let client = TcpStream::connect(addr).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        drop(listener);
        let plain = TcpSocket::new_v4().unwrap();
        told.result("a connection has it", plain.bind(addr));
        told.result("it may be shared", bind("127.0.0.1").await);
        drop((client, server));
        told
    });
}

#[test]
fn several_buffers_and_a_look_ahead() {
    same_as_the_kernel(|| async {
        let mut told = Told::default();
        let (client, server) = pair().await;
        let parts = [
            IoSlice::new(b"ab"),
            IoSlice::new(b""),
            IoSlice::new(b"cdef"),
        ];
        let written = client.write_vectored(&parts).await.unwrap();
        told.tell("some", (1..=6).contains(&written));
        client.write_all(&b"abcdef"[written..]).await.unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut all: Vec<u8> = Vec::new();
        loop {
            let (mut one, mut other) = ([0; 1], [0; 2]);
            let looked = server.peek(&mut one).await.unwrap();
            let first = one[0];
            let mut bufs = [IoSliceMut::new(&mut one), IoSliceMut::new(&mut other)];
            let length = server.read_vectored(&mut bufs).await.unwrap();
            if length == 0 {
                told.tell("looked", looked);
                break;
            }
            assert_eq!(first, one[0]);
            all.extend([one[0], other[0], other[1]].iter().take(length));
        }
        told.tell("all", all);
        told
    });
}
