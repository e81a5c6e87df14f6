//! TCP over the loopback, on both of the driver's paths.

#[path = "support/net.rs"]
mod support;

use std::future::Future;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use heist_io_driver::net::{Keepalive, TcpListener, TcpSocket, TcpStream, lookup_host};
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

#[test]
fn echo() {
    on_both_paths(|rig| {
        rig.block_on(async {
            let (server, client) = pair().await;
            let echo = async {
                let mut buf = [0; 64];
                loop {
                    match server.read(&mut buf).await.unwrap() {
                        0 => break,
                        n => server.write_all(&buf[..n]).await.unwrap(),
                    }
                }
            };
            let talk = async {
                for round in 0..500_u32 {
                    let message = round.to_le_bytes();
                    client.write_all(&message).await.unwrap();
                    let mut reply = [0; 4];
                    client.read_exact(&mut reply).await.unwrap();
                    assert_eq!(reply, message);
                }
                client.shutdown(Shutdown::Write).unwrap();
            };
            join(echo, talk).await;
        });
    });
}

#[test]
fn echo_between_threads() {
    on_both_paths(|rig| {
        let (server, client) = rig.block_on(pair());
        let echo = rig.spawn(async move {
            let mut byte = [0];
            while server.read(&mut byte).await.unwrap() == 1 {
                server.write_all(&byte).await.unwrap();
            }
        });
        rig.block_on(async {
            for round in 0..2_000_u32 {
                client.write_all(&[round as u8]).await.unwrap();
                let mut byte = [0];
                client.read_exact(&mut byte).await.unwrap();
                assert_eq!(byte[0], round as u8);
            }
        });
        drop(client);
        echo.join().unwrap();
    });
}

#[test]
fn a_megabyte_arrives_through_partial_writes() {
    on_both_paths(|rig| {
        let bytes = Arc::new(megabyte());
        let (server, client) = rig.block_on(async {
            let socket = TcpSocket::new_v4().unwrap();
            socket.set_recv_buffer_size(4096).unwrap();
            socket.set_reuseaddr(true).unwrap();
            socket.bind(LOOPBACK.into()).unwrap();
            let listener = socket.listen(1).unwrap();
            let socket = TcpSocket::new_v4().unwrap();
            socket.set_send_buffer_size(4096).unwrap();
            let client = socket.connect(listener.local_addr().unwrap());
            let (accepted, client) = join(listener.accept(), client).await;
            (accepted.unwrap().0, client.unwrap())
        });
        let to_send = bytes.clone();
        let sender = rig.spawn(async move {
            let (mut rest, mut writes) = (&to_send[..], 0);
            while !rest.is_empty() {
                let n = client.write(rest).await.unwrap();
                rest = &rest[n..];
                writes += 1;
            }
            writes
        });
        let received = rig.block_on(async {
            let mut received = Vec::new();
            let mut buf = vec![0; 3_000];
            loop {
                match server.read(&mut buf).await.unwrap() {
                    0 => return received,
                    n => received.extend_from_slice(&buf[..n]),
                }
            }
        });
        assert!(received == *bytes, "bytes were lost or changed");
        assert!(sender.join().unwrap() > 10, "the writes were not partial");
    });
}

#[test]
fn both_directions_at_once_through_halves() {
    on_both_paths(|rig| {
        let bytes = Arc::new(megabyte());
        let (server, client) = rig.block_on(pair());
        let mut threads = Vec::new();
        for stream in [server, client] {
            let (reader, writer) = stream.into_split();
            let (to_send, expected) = (bytes.clone(), bytes.clone());
            threads.push(rig.spawn(async move {
                writer.write_all(&to_send).await.unwrap();
                // The drop ends the stream for the other side.
            }));
            threads.push(rig.spawn(async move {
                let mut received = vec![0; expected.len()];
                reader.read_exact(&mut received).await.unwrap();
                assert!(received == *expected);
                assert_eq!(reader.read(&mut [0]).await.unwrap(), 0);
            }));
        }
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

#[test]
fn vectored() {
    on_both_paths(|rig| {
        rig.block_on(async {
            let (server, client) = pair().await;
            let parts = [b"one".as_slice(), b"", b"two", b"three"].map(IoSlice::new);
            assert_eq!(client.write_vectored(&parts).await.unwrap(), 11);
            let (mut a, mut b) = ([0; 4], [0; 7]);
            server.peek(&mut [0]).await.unwrap();
            let mut bufs = [IoSliceMut::new(&mut a), IoSliceMut::new(&mut b)];
            assert_eq!(server.read_vectored(&mut bufs).await.unwrap(), 11);
            assert_eq!((&a, &b), (b"onet", b"wothree"));

            // More buffers than the system takes in one call: a partial write, not an error.
            let many = vec![IoSlice::new(b"x"); 5_000];
            let written = client.write_vectored(&many).await.unwrap();
            assert!((1..5_000).contains(&written), "{written}");
            let mut bytes = vec![0; written];
            server.read_exact(&mut bytes).await.unwrap();
            assert_eq!(bytes, vec![b'x'; written]);
            // And no sign that the socket is full: the next write does not wait.
            let parts = [IoSlice::new(b"y"); 2];
            assert_eq!(client.write_vectored(&parts).await.unwrap(), 2);
            server.read_exact(&mut [0; 2]).await.unwrap();

            // Nothing to fill is no reason to wait.
            assert_eq!(server.read_vectored(&mut []).await.unwrap(), 0);
            assert_eq!(server.read(&mut []).await.unwrap(), 0);
            assert_eq!(server.peek(&mut []).await.unwrap(), 0);
        });
    });
}

#[test]
fn peeked_bytes_stay() {
    on_both_paths(|rig| {
        rig.block_on(async {
            let (server, client) = pair().await;
            let mut first = [0; 3];
            let (peeked, ()) = join(server.peek(&mut first), async {
                client.write_all(b"abc").await.unwrap();
            })
            .await;
            assert!(peeked.unwrap() >= 1);
            let mut again = [0; 3];
            server.read_exact(&mut again).await.unwrap();
            assert_eq!(&again, b"abc");
        });
    });
}

#[test]
fn half_closed_streams_still_read() {
    on_both_paths(|rig| {
        rig.block_on(async {
            let (server, client) = pair().await;
            client.write_all(b"question").await.unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            let mut question = [0; 8];
            server.read_exact(&mut question).await.unwrap();
            assert_eq!(server.read(&mut [0]).await.unwrap(), 0);
            assert_eq!(server.peek(&mut [0]).await.unwrap(), 0);
            // The other direction is open, and can wait.
            let mut answer = [0; 6];
            let (read, ()) = join(client.read_exact(&mut answer), async {
                server.write_all(b"answer").await.unwrap();
            })
            .await;
            read.unwrap();
            assert_eq!(&answer, b"answer");
            assert_eq!(kind(client.write(b"x").await), io::ErrorKind::BrokenPipe);
            let parts = [IoSlice::new(b"x"), IoSlice::new(b"y")];
            assert_eq!(
                kind(client.write_vectored(&parts).await),
                io::ErrorKind::BrokenPipe
            );
        });
    });
}

#[test]
fn read_exact_reports_an_early_end() {
    on_both_paths(|rig| {
        rig.block_on(async {
            let (server, client) = pair().await;
            client.write_all(b"ab").await.unwrap();
            drop(client);
            let read = server.read_exact(&mut [0; 3]).await;
            assert_eq!(kind(read), io::ErrorKind::UnexpectedEof);
        });
    });
}

#[test]
fn a_reset_reaches_a_waiting_reader() {
    on_both_paths(|rig| {
        rig.block_on(async {
            let (server, client) = pair().await;
            client.set_linger(Some(Duration::ZERO)).unwrap();
            let mut byte = [0];
            let reset = async { drop(client) };
            let (read, ()) = join(server.read(&mut byte), reset).await;
            assert_eq!(kind(read), io::ErrorKind::ConnectionReset);
            assert_eq!(kind(server.write(b"x").await), io::ErrorKind::BrokenPipe);
        });
    });
}

#[test]
fn a_full_buffer_and_a_reset_end_a_waiting_writer() {
    on_both_paths(|rig| {
        let (server, client) = rig.block_on(pair());
        let writer = rig.spawn(async move {
            loop {
                if let Err(error) = client.write(&[0; 65_536]).await {
                    return error.kind();
                }
            }
        });
        thread::sleep(Duration::from_millis(50));
        server.set_linger(Some(Duration::ZERO)).unwrap();
        drop(server);
        let ended = writer.join().unwrap();
        assert!(matches!(
            ended,
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
        ));
    });
}

#[test]
fn a_refused_connect_fails() {
    on_both_paths(|rig| {
        let refusing = Refusing::new();
        let result = rig.block_on(TcpStream::connect(refusing.addr()));
        assert_eq!(kind(result), io::ErrorKind::ConnectionRefused);
    });
}

/// A listener whose queue is full leaves a connect unanswered, until the kernel tries again (after
/// a second) and finds room.
#[cfg(target_os = "linux")]
#[test]
fn a_connect_that_takes_time_waits() {
    on_both_paths(|rig| {
        rig.block_on(async {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind(LOOPBACK.into()).unwrap();
            let addr = socket.local_addr().unwrap();
            let listener = socket.listen(0).unwrap();
            let mut cx = Context::from_waker(Waker::noop());
            let mut queued = Vec::new();
            let mut connect = loop {
                let mut connect = Box::pin(TcpStream::connect(addr));
                match connect.as_mut().poll(&mut cx) {
                    Poll::Ready(stream) => queued.push(stream.unwrap()),
                    Poll::Pending => break connect,
                }
                assert!(queued.len() < 100, "the queue has no end");
            };
            // Another one is given up while it waits.
            let mut given_up = Box::pin(TcpStream::connect(addr));
            assert!(given_up.as_mut().poll(&mut cx).is_pending());
            drop(given_up);
            thread::sleep(Duration::from_millis(50));
            assert!(connect.as_mut().poll(&mut cx).is_pending());

            for _ in &queued {
                listener.accept().await.unwrap();
            }
            let (accepted, connected) = join(listener.accept(), connect).await;
            let (accepted, connected) = (accepted.unwrap(), connected.unwrap());
            assert_eq!(accepted.1, connected.local_addr().unwrap());
        });
    });
}

#[test]
fn addresses_are_tried_in_order() {
    on_both_paths(|rig| {
        rig.block_on(async {
            let listener = TcpListener::bind(LOOPBACK).await.unwrap();
            let good = listener.local_addr().unwrap();
            let refusing = Refusing::new();
            let bad = refusing.addr();
            let stream = TcpStream::connect([bad, bad, good]).await.unwrap();
            assert_eq!(stream.peer_addr().unwrap(), good);
            let failed = TcpStream::connect(vec![bad, bad]).await;
            assert_eq!(kind(failed), io::ErrorKind::ConnectionRefused);
            let none: &[SocketAddr] = &[];
            assert_eq!(
                kind(TcpStream::connect(none).await),
                io::ErrorKind::InvalidInput
            );
            assert_eq!(
                kind(TcpListener::bind(none).await),
                io::ErrorKind::InvalidInput
            );

            // An address in use is passed over by `bind`, too.
            let other = SocketAddr::from(LOOPBACK);
            let second = TcpListener::bind([good, other]).await.unwrap();
            assert_ne!(second.local_addr().unwrap(), good);
            assert_eq!(
                kind(TcpListener::bind(good).await),
                io::ErrorKind::AddrInUse
            );
        });
    });
}

#[test]
fn a_port_can_be_bound_again_at_once() {
    on_both_paths(|rig| {
        rig.block_on(async {
            let listener = TcpListener::bind(LOOPBACK).await.unwrap();
            let addr = listener.local_addr().unwrap();
            let (accepted, client) = join(listener.accept(), TcpStream::connect(addr)).await;
            // The server closes first, so that its end lingers on the port.
            drop(accepted.unwrap());
            drop((client.unwrap(), listener));
            TcpListener::bind(addr).await.unwrap();
        });
    });
}

#[test]
fn ip_version_6() {
    let loopback = (Ipv6Addr::LOCALHOST, 0);
    if std::net::TcpListener::bind(loopback).is_err() {
        return; // not on this machine
    }
    on_both_paths(|rig| {
        rig.block_on(async {
            let listener = TcpListener::bind(loopback).await.unwrap();
            let addr = listener.local_addr().unwrap();
            assert!(addr.is_ipv6());
            let (accepted, client) = join(listener.accept(), TcpStream::connect(addr)).await;
            let ((server, peer), client) = (accepted.unwrap(), client.unwrap());
            assert!(peer.is_ipv6());
            client.write_all(b"six").await.unwrap();
            let mut bytes = [0; 3];
            server.read_exact(&mut bytes).await.unwrap();
            assert_eq!(&bytes, b"six");
        });
    });
}

#[test]
fn borrowed_halves_work_at_once() {
    on_both_paths(|rig| {
        rig.block_on(async {
            let (server, mut client) = pair().await;
            {
                let (reader, writer) = client.split();
                let mut bytes = [0; 4];
                let (read, ()) = join(reader.read_exact(&mut bytes), async {
                    writer.write_all(b"ping").await.unwrap();
                    let mut ping = [0; 4];
                    server.read_exact(&mut ping).await.unwrap();
                    server.write_all(&ping).await.unwrap();
                })
                .await;
                read.unwrap();
                assert_eq!(&bytes, b"ping");
                assert_eq!(reader.local_addr().unwrap(), writer.local_addr().unwrap());
            }
            // Halves that were lent have not ended anything.
            client.write_all(b"more").await.unwrap();
        });
    });
}

#[test]
fn owned_halves_reunite_with_their_own_only() {
    on_both_paths(|rig| {
        rig.block_on(async {
            let (server, client) = pair().await;
            let (server_reader, server_writer) = server.into_split();
            let (client_reader, client_writer) = client.into_split();
            let error = server_reader.reunite(client_writer).unwrap_err();
            assert!(error.to_string().contains("different streams"));
            let (server_reader, client_writer) = error.into_halves();
            let server = server_writer.reunite(server_reader).unwrap();
            let client = client_reader.reunite(client_writer).unwrap();
            client.write_all(b"still open").await.unwrap();
            let mut bytes = [0; 10];
            server.read_exact(&mut bytes).await.unwrap();

            // A write half that is forgotten ends nothing; one that is dropped does.
            let (_reader, writer) = client.into_split();
            writer.forget();
            server.write_all(b"x").await.unwrap();
            let waiting = server.try_read(&mut [0]);
            assert_eq!(kind(waiting), io::ErrorKind::WouldBlock);
            let (reader, writer) = server.into_split();
            drop(writer);
            let mut byte = [0];
            _reader.read_exact(&mut byte).await.unwrap();
            assert_eq!(_reader.read(&mut byte).await.unwrap(), 0);
            drop(reader);
        });
    });
}

#[test]
fn many_acceptors_share_a_listener() {
    const ACCEPTORS: usize = 8;
    const CONNECTIONS: usize = 200;
    on_both_paths(|rig| {
        let listener = Arc::new(rig.block_on(TcpListener::bind(LOOPBACK)).unwrap());
        let addr = listener.local_addr().unwrap();
        let claimed = Arc::new(AtomicUsize::new(0));
        let acceptors: Vec<_> = (0..ACCEPTORS)
            .map(|_| {
                let (listener, claimed) = (listener.clone(), claimed.clone());
                rig.spawn(async move {
                    // Relaxed: each claims a different number, which is all that counts.
                    while claimed.fetch_add(1, Ordering::Relaxed) < CONNECTIONS {
                        let (stream, _) = listener.accept().await.unwrap();
                        let mut byte = [0];
                        stream.read_exact(&mut byte).await.unwrap();
                        stream.write_all(&byte).await.unwrap();
                    }
                })
            })
            .collect();
        rig.block_on(async {
            for n in 0..CONNECTIONS {
                let stream = TcpStream::connect(addr).await.unwrap();
                stream.write_all(&[n as u8]).await.unwrap();
                let mut byte = [0];
                stream.read_exact(&mut byte).await.unwrap();
                assert_eq!(byte[0], n as u8);
            }
        });
        for acceptor in acceptors {
            acceptor.join().unwrap();
        }
        assert_eq!(listener.accept_stats().deferred, 0);
    });
}

#[test]
fn a_dropped_accept_loses_no_connection() {
    on_both_paths(|rig| {
        rig.block_on(async {
            let listener = TcpListener::bind(LOOPBACK).await.unwrap();
            let addr = listener.local_addr().unwrap();
            let mut clients = Vec::new();
            for n in 0..50_u8 {
                // One waits, is overtaken by a connection, and dropped.
                let count = Arc::new(Count::default());
                let waker = Waker::from(count.clone());
                {
                    let mut accept = pin!(listener.accept());
                    let poll = accept.as_mut().poll(&mut Context::from_waker(&waker));
                    assert!(poll.is_pending());
                    let client = std::net::TcpStream::connect(addr).unwrap();
                    (&client).write_all(&[n]).unwrap();
                    clients.push(client);
                    if n % 2 == 0 {
                        // Let the event arrive, so that the waiter has been chosen and woken.
                        while count.0.load(Ordering::Relaxed) == 0 {
                            thread::yield_now();
                        }
                    }
                }
                let (stream, _) = listener.accept().await.unwrap();
                let mut byte = [0];
                stream.read_exact(&mut byte).await.unwrap();
                assert_eq!(byte[0], n);
            }
        });
    });
}

#[test]
fn a_dropped_read_loses_no_byte() {
    on_both_paths(|rig| {
        rig.block_on(async {
            let (server, client) = pair().await;
            for n in 0..50_u8 {
                let mut byte = [0];
                {
                    let mut read = pin!(server.read(&mut byte));
                    let mut cx = Context::from_waker(Waker::noop());
                    assert!(read.as_mut().poll(&mut cx).is_pending());
                    client.write_all(&[n]).await.unwrap();
                }
                server.read_exact(&mut byte).await.unwrap();
                assert_eq!(byte[0], n);
            }
        });
    });
}

#[test]
fn poll_accept_wakes_its_task() {
    on_both_paths(|rig| {
        rig.block_on(async {
            let listener = TcpListener::bind(LOOPBACK).await.unwrap();
            let addr = listener.local_addr().unwrap();
            for _ in 0..20 {
                let accept = std::future::poll_fn(|cx| listener.poll_accept(cx));
                let (accepted, client) = join(accept, TcpStream::connect(addr)).await;
                assert_eq!(accepted.unwrap().1, client.unwrap().local_addr().unwrap());
            }
        });
    });
}

#[test]
fn several_tasks_read_one_stream() {
    on_both_paths(|rig| {
        let (server, client) = rig.block_on(pair());
        let server = Arc::new(server);
        let readers: Vec<_> = (0..4)
            .map(|_| {
                let server = server.clone();
                rig.spawn(async move {
                    let mut byte = [0];
                    let mut got = 0_usize;
                    while server.read(&mut byte).await.unwrap() == 1 {
                        got += 1;
                    }
                    got
                })
            })
            .collect();
        rig.block_on(async {
            for _ in 0..1_000 {
                client.write_all(b"x").await.unwrap();
            }
        });
        drop(client);
        let total: usize = readers
            .into_iter()
            .map(|reader| reader.join().unwrap())
            .sum();
        assert_eq!(total, 1_000);
    });
}

#[test]
fn try_operations_follow_readiness() {
    on_both_paths(|rig| {
        rig.block_on(async {
            let (server, client) = pair().await;
            let mut buf = [0; 16];
            assert_eq!(kind(server.try_read(&mut buf)), io::ErrorKind::WouldBlock);
            let read = async {
                loop {
                    server.readable().await.unwrap();
                    match server.try_read(&mut buf) {
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                        result => return result,
                    }
                }
            };
            let write = async {
                client.writable().await.unwrap();
                client.try_write(b"now").unwrap()
            };
            let (read, written) = join(read, write).await;
            assert_eq!((read.unwrap(), written), (3, 3));

            // Until nothing fits, and then until something does again.
            let mut filled = 0;
            loop {
                match client.try_write(&[0; 65_536]) {
                    Ok(n) => filled += n,
                    Err(error) => {
                        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                        break;
                    }
                }
            }
            let drain = async {
                let mut left = filled;
                let mut buf = vec![0; 65_536];
                while left > 0 {
                    left -= server.read(&mut buf).await.unwrap();
                }
            };
            let (writable, ()) = join(client.writable(), drain).await;
            writable.unwrap();
            assert!(client.try_write(b"x").is_ok());
        });
    });
}

#[test]
fn a_spent_budget_yields_and_takes_nothing() {
    on_both_paths(|rig| {
        rig.block_on(async {
            let (server, client) = pair().await;
            client.write_all(b"ab").await.unwrap();
            server.peek(&mut [0; 2]).await.unwrap();
            let count = Arc::new(Count::default());
            let waker = Waker::from(count.clone());
            let mut cx = Context::from_waker(&waker);

            leaf::begin_poll(1, false);
            let mut byte = [0];
            let first = pin!(server.read(&mut byte)).poll(&mut cx);
            assert!(matches!(first, Poll::Ready(Ok(1))));
            let second = pin!(server.read(&mut byte)).poll(&mut cx);
            assert!(second.is_pending());
            assert!(leaf::end_poll().forced_yield);
            assert_eq!(count.0.load(Ordering::Relaxed), 1);

            server.read_exact(&mut byte).await.unwrap();
            assert_eq!(&byte, b"b");
        });
    });
}

#[test]
fn an_interrupted_read_stays_pending_and_its_bytes_stay() {
    on_both_paths(|rig| {
        rig.block_on(async {
            let (server, client) = pair().await;
            let mut byte = [0];
            {
                let mut read = pin!(server.read(&mut byte));
                let mut cx = Context::from_waker(Waker::noop());
                assert!(read.as_mut().poll(&mut cx).is_pending());
                client.write_all(b"a").await.unwrap();
                server.peek(&mut [0]).await.unwrap();
                leaf::begin_poll(leaf::UNLIMITED, true);
                assert!(read.as_mut().poll(&mut cx).is_pending());
                leaf::end_poll();
            }
            assert_eq!(server.try_read(&mut byte).unwrap(), 1);
        });
    });
}

#[test]
fn a_descriptor_closed_under_us_is_an_error_not_a_hang() {
    on_both_paths(|rig| {
        rig.block_on(async {
            let (server, client) = pair().await;
            // What a foreign library may do to a connection that it has a duplicate of.
            let foreign = std::net::TcpStream::from(rustix::io::dup(&server).unwrap());
            let mut byte = [0];
            let (read, ()) = join(server.read(&mut byte), async {
                foreign.shutdown(Shutdown::Both).unwrap();
            })
            .await;
            assert_eq!(read.unwrap(), 0);
            assert_eq!(kind(server.write(b"x").await), io::ErrorKind::BrokenPipe);
            drop((server, client));

            // The descriptor is replaced by another file's: calls fail, dropping works.
            let (server, client) = pair().await;
            replace(&server);
            assert!(server.try_read(&mut byte).is_err());
            assert!(server.read(&mut byte).await.is_err());
            assert!(server.write(b"x").await.is_err());
            drop(server);
            assert_eq!(client.read(&mut byte).await.unwrap(), 0);

            // Nobody else's registration has suffered.
            let (server, client) = pair().await;
            let (read, ()) = join(server.read(&mut byte), async {
                client.write_all(b"x").await.unwrap();
            })
            .await;
            assert_eq!(read.unwrap(), 1);
        });
    });
}

/// Closes a stream's descriptor behind its back and puts another file in its place.
#[allow(unsafe_code)]
fn replace(stream: &TcpStream) {
    use std::mem::ManuallyDrop;
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

    let null = std::fs::File::open("/dev/null").unwrap();
    // SAFETY: the descriptor is open, stays open, and is not closed from here.
    let place = unsafe { OwnedFd::from_raw_fd(stream.as_raw_fd()) };
    rustix::io::dup2(&null, &mut ManuallyDrop::new(place)).unwrap();
}

#[test]
fn a_stopped_driver_ends_waiting() {
    for portable in [false, true] {
        let mut rig = Rig::new(Config {
            portable,
            ..Config::default()
        });
        let listener = rig.block_on(TcpListener::bind(LOOPBACK)).unwrap();
        let accept = rig.spawn(async move { listener.accept().await.map(drop) });
        let (server, client) = rig.block_on(pair());
        let read = rig.spawn(async move { server.read(&mut [0]).await });
        thread::sleep(Duration::from_millis(50));
        rig.stop();
        accept.join().unwrap().unwrap_err();
        read.join().unwrap().unwrap_err();
        drop(client);
    }
}

#[test]
fn std_sockets_come_and_go() {
    on_both_paths(|rig| {
        rig.block_on(async {
            let listener = std::net::TcpListener::bind(LOOPBACK).unwrap();
            let addr = listener.local_addr().unwrap();
            let listener = TcpListener::from_std(listener).unwrap();
            let client = std::net::TcpStream::connect(addr).unwrap();
            let client = TcpStream::from_std(client).unwrap();
            let (server, _) = listener.accept().await.unwrap();
            client.write_all(b"a").await.unwrap();
            let mut client = client.into_std().unwrap();
            client.write_all(b"b").unwrap();
            let mut bytes = [0; 2];
            server.read_exact(&mut bytes).await.unwrap();
            assert_eq!(&bytes, b"ab");

            // Back and forth, on another registration each time.
            let mut server = server;
            for _ in 0..10 {
                server = TcpStream::from_std(server.into_std().unwrap()).unwrap();
            }
            server.write_all(b"c").await.unwrap();
            client.set_nonblocking(false).unwrap();
            let mut byte = [0];
            client.read_exact(&mut byte).unwrap();
            let listener = listener.into_std().unwrap();
            assert_eq!(listener.local_addr().unwrap(), addr);
        });
    });
}

#[test]
fn options_are_kept() {
    on_both_paths(|rig| {
        rig.block_on(async {
            let (_server, client) = pair().await;
            client.set_nodelay(true).unwrap();
            assert!(client.nodelay().unwrap());
            client.set_linger(Some(Duration::from_secs(2))).unwrap();
            assert_eq!(client.linger().unwrap(), Some(Duration::from_secs(2)));
            client.set_linger(None).unwrap();
            assert_eq!(client.linger().unwrap(), None);
            client.set_ttl(55).unwrap();
            assert_eq!(client.ttl().unwrap(), 55);
            assert!(!client.keepalive().unwrap());
            let keepalive = Keepalive::new()
                .idle(Duration::from_secs(60))
                .interval(Duration::from_secs(10))
                .retries(3);
            client.set_keepalive(Some(keepalive)).unwrap();
            assert!(client.keepalive().unwrap());
            client.set_keepalive(None).unwrap();
            client.set_keepalive(Some(Keepalive::new())).unwrap();
            assert!(client.keepalive().unwrap());
            assert!(client.take_error().unwrap().is_none());

            let socket = TcpSocket::new_v4().unwrap();
            socket.set_nodelay(true).unwrap();
            socket.set_reuseport(true).unwrap();
            socket.set_linger(None).unwrap();
            socket.set_keepalive(Some(keepalive)).unwrap();
            socket.set_send_buffer_size(32_768).unwrap();
            assert!(socket.send_buffer_size().unwrap() >= 32_768);
            socket.set_recv_buffer_size(32_768).unwrap();
            assert!(socket.recv_buffer_size().unwrap() >= 32_768);
            socket.bind(LOOPBACK.into()).unwrap();
            let addr = socket.local_addr().unwrap();
            let listener = socket.listen(u32::MAX).unwrap();
            assert_eq!(listener.local_addr().unwrap(), addr);
            listener.set_ttl(44).unwrap();
            assert_eq!(listener.ttl().unwrap(), 44);
            assert!(listener.take_error().unwrap().is_none());
            let (accepted, _client) = join(listener.accept(), TcpStream::connect(addr)).await;
            assert!(accepted.unwrap().0.nodelay().unwrap());
        });
    });
}

/// A rig whose blocking calls end as told.
fn with_offload(
    offload: impl Fn(heist_io_driver::Job) -> Result<(), Refused> + Send + Sync + 'static,
) -> Rig {
    Rig::new(Config {
        offload: Arc::new(offload),
        ..Config::default()
    })
}

fn refused() -> Refused {
    Refused::new(io::Error::other("no pool"))
}

#[test]
fn addresses_need_no_lookup() {
    let rig = with_offload(|_| Err(refused()));
    rig.block_on(async {
        let v4: SocketAddr = "127.0.0.1:80".parse().unwrap();
        let v6: SocketAddr = "[::1]:80".parse().unwrap();
        let (ip4, ip6) = (Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST);
        let found = async |host| lookup_host::<&str>(host).await.unwrap().collect::<Vec<_>>();
        assert_eq!(found("127.0.0.1:80").await, [v4]);
        assert_eq!(found("[::1]:80").await, [v6]);
        let mut all = Vec::new();
        all.extend(lookup_host(v4).await.unwrap());
        all.extend(lookup_host((ip4, 80)).await.unwrap());
        all.extend(lookup_host((v4.ip(), 80)).await.unwrap());
        all.extend(lookup_host(("127.0.0.1", 80)).await.unwrap());
        all.extend(lookup_host(("127.0.0.1".to_owned(), 80)).await.unwrap());
        all.extend(lookup_host("127.0.0.1:80".to_owned()).await.unwrap());
        all.extend(lookup_host(&&v4).await.unwrap());
        assert_eq!(all, [v4; 7]);
        let all: Vec<_> = lookup_host((ip6, 80)).await.unwrap().collect();
        assert_eq!(all, [v6]);
        let both = lookup_host([v4, v6]).await.unwrap();
        assert_eq!(both.len(), 2);
        assert_eq!(both.collect::<Vec<_>>(), [v4, v6]);
        let slice = lookup_host(&[v4, v6][..]).await.unwrap();
        assert_eq!(slice.collect::<Vec<_>>(), [v4, v6]);

        for text in [
            "127.0.0.1",
            "localhost",
            "localhost:",
            "localhost:http",
            "a:99999",
            "",
        ] {
            assert_eq!(
                kind(lookup_host(text).await),
                io::ErrorKind::InvalidInput,
                "{text}"
            );
        }
        let error = lookup_host("localhost:80").await.unwrap_err();
        assert!(error.to_string().contains("no pool"), "{error}");
    });
}

#[test]
fn names_are_looked_up_elsewhere() {
    on_both_paths(|rig| {
        rig.block_on(async {
            let addrs: Vec<_> = lookup_host("localhost:80").await.unwrap().collect();
            assert!(!addrs.is_empty());
            assert!(
                addrs
                    .iter()
                    .all(|addr| addr.ip().is_loopback() && addr.port() == 80)
            );
            let listener = TcpListener::bind("localhost:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            let (accepted, client) =
                join(listener.accept(), TcpStream::connect(("localhost", port))).await;
            accepted.unwrap();
            client.unwrap();
            // A name that the resolver refuses before it asks any server.
            lookup_host("local\0host:80").await.unwrap_err();
        });
    });
}

#[test]
fn a_lookup_that_is_given_up_is_an_error() {
    let rig = with_offload(|job| {
        drop(job);
        Ok(())
    });
    let error = rig.block_on(lookup_host("localhost:80")).unwrap_err();
    assert!(error.to_string().contains("given up"), "{error}");
    // The same when it happens later, to a lookup that waits.
    let rig = with_offload(|job| {
        thread::spawn(move || {
            thread::sleep(Duration::from_millis(20));
            drop(job);
        });
        Ok(())
    });
    rig.block_on(lookup_host("localhost:80")).unwrap_err();
}

/// A stream is used through a trait family by copying what it reads back, with tiny buffers.
async fn traits_echo(echo: impl AsyncFnOnce(TcpStream), bytes: &'static [u8]) {
    let (server, client) = pair().await;
    let talk = async {
        client.write_all(bytes).await.unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut received = Vec::new();
        let mut buf = [0; 7];
        loop {
            match client.read(&mut buf).await.unwrap() {
                0 => return received,
                n => received.extend_from_slice(&buf[..n]),
            }
        }
    };
    let ((), received) = join(echo(server), talk).await;
    assert_eq!(received, bytes);
}

const TEXT: &[u8] = b"the quick brown fox jumps over the lazy dog";

#[test]
fn futures_io_traits() {
    use futures_io::{AsyncRead, AsyncWrite};
    use std::future::poll_fn;
    use std::pin::Pin;

    async fn copy(mut reader: impl AsyncRead + Unpin, mut writer: impl AsyncWrite + Unpin) {
        let (mut a, mut b) = ([0; 3], [0; 2]);
        loop {
            let n = poll_fn(|cx| {
                let mut bufs = [IoSliceMut::new(&mut a), IoSliceMut::new(&mut b)];
                Pin::new(&mut reader).poll_read_vectored(cx, &mut bufs)
            })
            .await
            .unwrap();
            if n == 0 {
                break;
            }
            let all = [a.as_slice(), b.as_slice()].concat();
            let mut rest = &all[..n];
            while !rest.is_empty() {
                let (head, tail) = rest.split_at(rest.len() / 2);
                let bufs = [IoSlice::new(head), IoSlice::new(tail)];
                let n = poll_fn(|cx| Pin::new(&mut writer).poll_write_vectored(cx, &bufs)).await;
                rest = &rest[n.unwrap()..];
            }
            poll_fn(|cx| Pin::new(&mut writer).poll_flush(cx))
                .await
                .unwrap();
        }
        let n = poll_fn(|cx| Pin::new(&mut reader).poll_read(cx, &mut a)).await;
        assert_eq!(n.unwrap(), 0);
        poll_fn(|cx| Pin::new(&mut writer).poll_close(cx))
            .await
            .unwrap();
    }

    on_both_paths(|rig| {
        rig.block_on(async {
            traits_echo(
                async |stream| {
                    let (reader, writer) = stream.into_split();
                    copy(reader, writer).await;
                },
                TEXT,
            )
            .await;
            traits_echo(
                async |mut stream| {
                    let (reader, writer) = stream.split();
                    copy(reader, writer).await;
                },
                TEXT,
            )
            .await;
        });
    });
}

#[cfg(feature = "hyper")]
#[test]
fn hyper_traits() {
    use hyper::rt::{Read, ReadBuf, Write};
    use std::future::poll_fn;
    use std::mem::MaybeUninit;
    use std::pin::Pin;

    async fn copy(mut stream: impl Read + Write + Unpin) {
        assert!(stream.is_write_vectored());
        loop {
            let mut memory = [MaybeUninit::uninit(); 5];
            let mut buf = ReadBuf::uninit(&mut memory);
            poll_fn(|cx| Pin::new(&mut stream).poll_read(cx, buf.unfilled()))
                .await
                .unwrap();
            let mut rest = buf.filled();
            if rest.is_empty() {
                break;
            }
            while !rest.is_empty() {
                let n = poll_fn(|cx| {
                    let bufs = [IoSlice::new(&[]), IoSlice::new(rest)];
                    Pin::new(&mut stream).poll_write_vectored(cx, &bufs)
                });
                rest = &rest[n.await.unwrap()..];
            }
        }
        poll_fn(|cx| Pin::new(&mut stream).poll_flush(cx))
            .await
            .unwrap();
        poll_fn(|cx| Pin::new(&mut stream).poll_shutdown(cx))
            .await
            .unwrap();
    }
    on_both_paths(|rig| rig.block_on(traits_echo(async |stream| copy(stream).await, TEXT)));
}

#[cfg(feature = "tokio-io")]
#[test]
fn tokio_traits() {
    use std::future::poll_fn;
    use std::mem::MaybeUninit;
    use std::pin::Pin;
    use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

    async fn copy(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        assert!(stream.is_write_vectored());
        loop {
            let mut memory = [MaybeUninit::uninit(); 5];
            let mut buf = ReadBuf::uninit(&mut memory);
            buf.put_slice(b"-");
            poll_fn(|cx| Pin::new(&mut stream).poll_read(cx, &mut buf))
                .await
                .unwrap();
            let mut rest = &buf.filled()[1..];
            if rest.is_empty() {
                break;
            }
            while !rest.is_empty() {
                let n = poll_fn(|cx| Pin::new(&mut stream).poll_write(cx, rest)).await;
                rest = &rest[n.unwrap()..];
            }
        }
        poll_fn(|cx| Pin::new(&mut stream).poll_flush(cx))
            .await
            .unwrap();
        poll_fn(|cx| Pin::new(&mut stream).poll_shutdown(cx))
            .await
            .unwrap();
    }
    on_both_paths(|rig| rig.block_on(traits_echo(async |stream| copy(stream).await, TEXT)));
}

#[test]
fn closing_a_stream_that_is_gone_is_no_error() {
    use futures_io::AsyncWrite;
    use std::pin::Pin;

    on_both_paths(|rig| {
        rig.block_on(async {
            let (server, mut client) = pair().await;
            server.set_linger(Some(Duration::ZERO)).unwrap();
            drop(server);
            client.read(&mut [0]).await.unwrap_err();
            assert_eq!(
                kind(client.shutdown(Shutdown::Write)),
                io::ErrorKind::NotConnected
            );
            let mut cx = Context::from_waker(Waker::noop());
            let closed = Pin::new(&mut client).poll_close(&mut cx);
            assert!(matches!(closed, Poll::Ready(Ok(()))));
        });
    });
}

#[test]
fn without_a_driver_of_its_own_a_thread_uses_the_fallback() {
    support::block_on(async {
        let (server, client) = pair().await;
        let mut byte = [0];
        let (read, ()) = join(server.read(&mut byte), async {
            client.write_all(b"x").await.unwrap();
        })
        .await;
        assert_eq!(read.unwrap(), 1);
    });
}
