//! Sockets over the loopback, and pipes, on both of the driver's paths.

#[path = "net/accept.rs"]
mod accept;
#[path = "net/connect.rs"]
mod connect;
#[path = "net/copy.rs"]
mod copy;
#[path = "support/limit.rs"]
mod limit;
#[path = "net/lookup.rs"]
mod lookup;
#[cfg(unix)]
#[path = "net/pipes.rs"]
mod pipes;
#[path = "net/split.rs"]
mod split;
#[path = "net/stream.rs"]
mod stream;
#[path = "support/net.rs"]
mod support;
#[path = "net/traits.rs"]
mod traits;
#[path = "net/udp.rs"]
mod udp;
#[cfg(unix)]
#[path = "net/unix.rs"]
mod unix;
#[cfg(unix)]
#[path = "net/unix_datagram.rs"]
mod unix_datagram;
#[path = "net/waiting.rs"]
mod waiting;

use std::future::Future;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use heist_io_driver::net::{Keepalive, TcpListener, TcpSocket, TcpStream, UdpSocket, lookup_host};
#[cfg(unix)]
use heist_io_driver::net::{UnixDatagram, UnixListener, UnixStream};
use heist_io_driver::{Config, Refused, leaf};
use support::{Rig, join, on_both_paths};

const LOOPBACK: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

/// A connected pair: the accepting end, and the connecting one.
async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(LOOPBACK).await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (accepted, connected) = join(listener.accept(), TcpStream::connect(addr)).await;
    let (server, peer) = accepted.unwrap();
    let client = connected.unwrap();
    assert_eq!(peer, client.local_addr().unwrap());
    assert_eq!(client.peer_addr().unwrap(), server.local_addr().unwrap());
    (server, client)
}

/// A port that is taken, and on which nobody listens.
struct Refusing(socket2::Socket);

impl Refusing {
    fn new() -> Refusing {
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(LOOPBACK).into()).unwrap();
        Refusing(socket)
    }

    fn addr(&self) -> SocketAddr {
        self.0.local_addr().unwrap().as_socket().unwrap()
    }
}

/// Counts wakes.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        // Relaxed: a count.
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn kind<T>(result: io::Result<T>) -> io::ErrorKind {
    match result {
        Ok(_) => panic!("should have failed"),
        Err(error) => error.kind(),
    }
}

/// A megabyte in which every position is told apart from its neighbours.
fn megabyte() -> Vec<u8> {
    (0..1_u32 << 20).map(|n| (n ^ (n >> 8)) as u8).collect()
}
