//! Byte streams: partial transfers, both directions at once, the end of the stream.

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use heist_io_driver::{Async, Config, WakeBatch};

use crate::support::{Count, both, driver, each, poll_once, run, turn_until};

fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let a = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (b, _) = listener.accept().unwrap();
    (a, b)
}

async fn send_all<T: std::os::fd::AsFd>(io: &Async<T>, mut bytes: &[u8])
where
    for<'a> &'a T: Write,
{
    while !bytes.is_empty() {
        let n = io
            .write_some(bytes.len(), |mut io| io.write(bytes))
            .await
            .unwrap();
        bytes = &bytes[n..];
    }
}

async fn receive_all<T: std::os::fd::AsFd>(io: &Async<T>, piece: usize) -> Vec<u8>
where
    for<'a> &'a T: Read,
{
    let (mut all, mut buffer) = (Vec::new(), vec![0; piece]);
    loop {
        let n = io
            .read_some(piece, |mut io| io.read(&mut buffer))
            .await
            .unwrap();
        if n == 0 {
            return all;
        }
        all.extend_from_slice(&buffer[..n]);
    }
}

#[test]
fn megabytes_go_both_ways_in_order() {
    each(|config| {
        let mut driver = driver(&config);
        let data: Vec<u8> = (0..3_000_000_u32).map(|n| (n / 7) as u8).collect();
        for piece in [1_000, 65_536, 10_000_000] {
            run(&mut driver, async {
                let (a, b) = tcp_pair();
                let (a, b) = (Async::new(a).unwrap(), Async::new(b).unwrap());
                let there = async {
                    send_all(&a, &data).await;
                    a.get_ref().shutdown(Shutdown::Write).unwrap();
                    receive_all(&a, piece).await
                };
                let back = async {
                    let got = receive_all(&b, piece).await;
                    send_all(&b, &got).await;
                    b.get_ref().shutdown(Shutdown::Write).unwrap();
                };
                let (got, ()) = both(there, back).await;
                assert!(got == data);
            });
        }
    });
}

#[test]
fn hundreds_of_connections_are_served_at_once() {
    each(|config| {
        let mut driver = driver(&config);
        let handle = driver.handle().clone();
        let _entered = handle.enter(0);
        let sockets: Vec<_> = (0..300)
            .map(|_| {
                let (a, b) = UnixStream::pair().unwrap();
                (Async::new(a).unwrap(), Async::new(b).unwrap())
            })
            .collect();
        let mut reads: Vec<_> = sockets
            .iter()
            .map(|(a, _)| {
                let (count, waker) = Count::new();
                let mut read = a.read_with(|mut a| a.read(&mut [0; 4]));
                let mut cx = Context::from_waker(&waker);
                assert!(Pin::new(&mut read).poll(&mut cx).is_pending());
                (count, read)
            })
            .collect();
        for (_, b) in sockets.iter().rev() {
            b.get_ref().write_all(b"ping").unwrap();
        }
        turn_until(&mut driver, || {
            reads.iter().all(|(count, _)| count.get() == 1)
        });
        for (_, read) in &mut reads {
            assert!(matches!(poll_once(read), Poll::Ready(Ok(4))));
        }
    });
}

#[test]
fn after_a_short_read_the_kernel_is_not_asked_again() {
    each(|config| {
        let mut driver = driver(&config);
        let handle = driver.handle().clone();
        let _entered = handle.enter(0);
        let (a, mut b) = UnixStream::pair().unwrap();
        let a = Async::new(a).unwrap();
        let calls = Cell::new(0);
        let read = || {
            a.read_some(8, |mut a| {
                calls.set(calls.get() + 1);
                a.read(&mut [0; 8])
            })
        };
        // Let the events of registering pass.
        let mut first = read();
        assert!(poll_once(&mut first).is_pending());
        b.write_all(b"abc").unwrap();
        turn_until(&mut driver, || poll_once(&mut first).is_ready());
        calls.set(0);
        let (count, waker) = Count::new();
        let mut cx = Context::from_waker(&waker);
        let mut second = read();
        assert!(Pin::new(&mut second).poll(&mut cx).is_pending());
        assert_eq!(calls.get(), 0, "known to be drained");
        b.write_all(b"12345678").unwrap();
        turn_until(&mut driver, || count.get() > 0);
        assert!(matches!(poll_once(&mut second), Poll::Ready(Ok(8))));
        assert_eq!(calls.get(), 1);
        let mut third = read();
        assert!(poll_once(&mut third).is_pending());
        assert_eq!(calls.get(), 2, "a full read proves nothing");
    });
}

#[test]
fn the_end_of_a_stream_is_seen_behind_its_last_bytes() {
    each(|config| {
        let mut driver = driver(&config);
        for unix in [false, true] {
            for _ in 0..50 {
                let mut got = 0;
                let ends: [std::os::fd::OwnedFd; 2] = if unix {
                    let (a, mut b) = UnixStream::pair().unwrap();
                    b.write_all(b"last").unwrap();
                    [a.into(), b.into()]
                } else {
                    let (a, mut b) = tcp_pair();
                    b.write_all(b"last").unwrap();
                    [a.into(), b.into()]
                };
                let [a, b] = ends.map(std::fs::File::from);
                run(&mut driver, async {
                    let a = Async::new(a).unwrap();
                    // The end arrives while the bytes are still to be read.
                    let mut b = Some(b);
                    loop {
                        drop(b.take());
                        let n = a.read_some(64, |mut a| a.read(&mut [0; 64])).await.unwrap();
                        got += n;
                        if n == 0 {
                            break;
                        }
                    }
                });
                assert_eq!(got, 4);
            }
        }
    });
}

#[test]
fn a_connection_can_be_made_on_a_registered_socket() {
    each(|config| {
        let mut driver = driver(&config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        run(&mut driver, async {
            use socket2::{Domain, Socket, Type};
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            // Registered before it is connected, it is reported as hung up at once.
            let socket = Async::new(socket).unwrap();
            let mut read = socket.read_with(|s| s.peek(&mut [std::mem::MaybeUninit::uninit(); 1]));
            let not_connected = poll_once(&mut read);
            assert!(matches!(not_connected, Poll::Ready(Err(_))));
            if let Err(error) = socket.get_ref().connect(&address.into()) {
                assert_eq!(error.raw_os_error(), Some(115), "in progress: {error}");
            }
            socket.writable().await.unwrap();
            assert!(socket.get_ref().take_error().unwrap().is_none());
            let (mut peer, _) = listener.accept().unwrap();
            peer.write_all(b"hi").unwrap();
            let got = socket
                .read_with(|s| s.recv(&mut [std::mem::MaybeUninit::uninit(); 8]))
                .await;
            assert_eq!(got.unwrap(), 2);
        });
    });
}

#[test]
fn tasks_on_several_threads_share_a_driver() {
    each(|config: Config| {
        let mut driver = driver(&config);
        let handle = driver.handle().clone();
        let threads: Vec<_> = (0..4)
            .map(|n| {
                let handle = handle.clone();
                thread::spawn(move || {
                    let _entered = handle.enter(n);
                    for round in 0..100_u32 {
                        let (a, b) = UnixStream::pair().unwrap();
                        let (a, b) = (Async::new(a).unwrap(), Async::new(b).unwrap());
                        let echo = async {
                            let mut bytes = [0; 4];
                            for _ in 0..5 {
                                a.read_some(8, |mut a| a.read(&mut bytes)).await.unwrap();
                                send_all(&a, &bytes).await;
                            }
                        };
                        let ask = async {
                            for _ in 0..5 {
                                send_all(&b, &round.to_ne_bytes()).await;
                                let mut bytes = [0; 4];
                                b.read_some(4, |mut b| b.read(&mut bytes)).await.unwrap();
                                assert_eq!(bytes, round.to_ne_bytes());
                            }
                        };
                        crate::support::park_on(both(echo, ask));
                    }
                })
            })
            .collect();
        turn_until(&mut driver, || {
            threads.iter().all(|thread| thread.is_finished())
        });
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

#[test]
fn one_that_is_always_ready_starves_none_of_a_thousand_others() {
    // More than the driver takes from the kernel in one turn.
    const OTHERS: usize = 1_100;
    each(|config| {
        let mut driver = driver(&config);
        let handle = driver.handle().clone();
        let _entered = handle.enter(0);
        let pair = || {
            let (a, b) = UnixStream::pair().unwrap();
            (Async::new(a).unwrap(), Async::new(b).unwrap())
        };
        let (hot, feeder) = pair();
        let others: Vec<_> = (0..OTHERS).map(|_| pair()).collect();
        let mut reads: Vec<_> = others
            .iter()
            .map(|(a, _)| {
                let (count, waker) = Count::new();
                let mut read = a.read_with(|mut a| a.read(&mut [0; 4]));
                let mut cx = Context::from_waker(&waker);
                assert!(Pin::new(&mut read).poll(&mut cx).is_pending());
                (count, read)
            })
            .collect();
        for (_, b) in &others {
            b.get_ref().write_all(b"x").unwrap();
        }
        // At each turn the hot one has a new event.
        let (mut turns, mut batch) = (0, WakeBatch::new());
        while reads.iter().any(|(count, _)| count.get() == 0) {
            feeder.get_ref().write_all(b"y").unwrap();
            driver
                .turn(Some(Duration::from_secs(1)), false, &mut batch)
                .unwrap();
            batch.wake_all();
            while hot.try_read_with(|mut hot| hot.read(&mut [0; 64])).is_ok() {}
            turns += 1;
            assert!(turns < 20, "others wait for the {turns}th turn");
        }
        for (_, read) in &mut reads {
            assert!(matches!(poll_once(read), Poll::Ready(Ok(1))));
        }
    });
}
