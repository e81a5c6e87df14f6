//! Sockets through the runtime, over both ways to wait for them.

use crate::support::{Gate, is_suspended, limited, threaded, until};
use heist::net::{TcpListener, TcpStream};
use heist::{Builder, Runtime};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// Runs `test` over both drivers, with several workers, with one and on the current thread.
fn on_each_driver(test: impl Fn(&str, Runtime)) {
    for portable in [false, true] {
        for workers in [0, 1, 4] {
            let builder = Builder::new()
                .portable_driver(portable)
                .shutdown_timeout(Duration::from_secs(20));
            let builder = match workers {
                0 => builder.current_thread(),
                _ => builder.worker_threads(workers),
            };
            test(
                &format!("portable: {portable}, {workers} workers"),
                builder.build().unwrap(),
            );
        }
    }
}

/// Echoes whatever comes, on every connection.
async fn echo(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        heist::spawn(async move {
            let mut buffer = [0; 1024];
            while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                if stream.write_all(&buffer[..length]).await.is_err() {
                    return;
                }
            }
        });
    }
}

async fn echo_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    heist::spawn(echo(listener));
    addr
}

async fn exchange(addr: SocketAddr, rounds: u8) -> std::io::Result<()> {
    let stream = TcpStream::connect(addr).await?;
    for round in 0..rounds {
        let message = [round; 300];
        stream.write_all(&message).await?;
        let mut back = [0; 300];
        stream.read_exact(&mut back).await?;
        assert_eq!(back, message);
    }
    Ok(())
}

/// A client of a proxy on a Unix socket; behind the proxy the TCP server, whose answers it counts.
#[cfg(unix)]
#[test]
fn a_proxy_stands_between_unix_and_tcp() {
    use heist::net::{UnixListener, UnixStream};

    limited(|| {
        on_each_driver(|what, runtime| {
            let name = format!("heist-proxy-{}", std::process::id());
            let path = std::env::temp_dir().join(name);
            let listener = runtime
                .run({
                    let path = path.clone();
                    async move { UnixListener::bind(path).unwrap() }
                })
                .unwrap();
            let to = path.clone();
            runtime
                .run(async move {
                    let addr = echo_server().await;
                    let proxy = heist::spawn(async move {
                        let (mut client, _) = listener.accept().await.unwrap();
                        let mut server = TcpStream::connect(addr).await.unwrap();
                        heist::io::copy_bidirectional(&mut client, &mut server).await
                    });
                    let client = UnixStream::connect(to).await.unwrap();
                    let (reader, writer) = client.into_split();
                    let talk = heist::spawn(async move {
                        for n in 0..100_u8 {
                            writer.write_all(&[n; 999]).await.unwrap();
                        }
                    });
                    for n in 0..100_u8 {
                        let mut back = [0; 999];
                        reader.read_exact(&mut back).await.unwrap();
                        assert_eq!(back, [n; 999]);
                    }
                    assert_eq!(reader.read(&mut [0]).await.unwrap(), 0);
                    talk.await.unwrap();
                    assert_eq!(proxy.await.unwrap().unwrap(), (99_900, 99_900));
                })
                .expect(what);
            std::fs::remove_file(path).unwrap();
        });
    });
}

#[test]
fn datagrams_and_their_answers() {
    limited(|| {
        on_each_driver(|what, runtime| {
            runtime
                .run(async {
                    let server = heist::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
                    let addr = server.local_addr().unwrap();
                    let echo = heist::spawn(async move {
                        let mut buffer = [0; 64];
                        loop {
                            let (n, from) = server.recv_from(&mut buffer).await.unwrap();
                            server.send_to(&buffer[..n], from).await.unwrap();
                        }
                    });
                    let clients: Vec<_> = (0..20_u8)
                        .map(|id| {
                            heist::spawn(async move {
                                let client =
                                    heist::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
                                client.connect(addr).await.unwrap();
                                for n in 0..20_u8 {
                                    client.send(&[id, n]).await.unwrap();
                                    let mut back = [0; 64];
                                    assert_eq!(client.recv(&mut back).await.unwrap(), 2);
                                    assert_eq!(back[..2], [id, n]);
                                }
                            })
                        })
                        .collect();
                    for client in clients {
                        client.await.unwrap();
                    }
                    echo.cancel(None);
                    assert!(echo.await.unwrap_err().is_cancelled());
                })
                .expect(what);
        });
    });
}

#[test]
fn a_hundred_connections_are_echoed() {
    limited(|| {
        on_each_driver(|what, runtime| {
            runtime
                .run(async {
                    let addr = echo_server().await;
                    let clients: Vec<_> =
                        (0..100).map(|_| heist::spawn(exchange(addr, 20))).collect();
                    for client in clients {
                        client.await.unwrap().unwrap();
                    }
                })
                .expect(what);
            assert!(runtime.metrics().total().io_events > 0);
            let report = runtime.shutdown(Duration::from_secs(20));
            assert!(report.is_complete(), "{what}: {report}");
        });
    });
}

#[test]
fn a_socket_moves_to_another_runtime() {
    limited(|| {
        on_each_driver(|what, first| {
            let second = threaded(2);
            let addr = first.run(echo_server()).unwrap();
            // Made and registered there, read here.
            let stream = first
                .run(async move {
                    let stream = TcpStream::connect(addr).await.unwrap();
                    stream.write_all(b"one").await.unwrap();
                    stream
                })
                .unwrap();
            let handle = first.handle().clone();
            let driving = std::thread::spawn(move || {
                // A current-thread runtime echoes only while somebody runs it.
                let _ = handle.block_on(heist::sleep(Duration::from_secs(2)));
            });
            let stream = second
                .run(async move {
                    let mut back = [0; 3];
                    stream.read_exact(&mut back).await.unwrap();
                    assert_eq!(&back, b"one");
                    stream.write_all(b"two").await.unwrap();
                    stream.read_exact(&mut back).await.unwrap();
                    assert_eq!(&back, b"two");
                    stream
                })
                .expect(what);
            drop(first);
            driving.join().unwrap();
            // Its driver is gone: an error or the end of the stream, and no hang.
            let ended = second.run(async move {
                heist::timeout(Duration::from_secs(20), stream.read(&mut [0]))
                    .await
                    .expect("a hang")
            });
            assert!(matches!(ended.unwrap(), Ok(0) | Err(_)), "{what}");
        });
    });
}

#[test]
fn sockets_of_a_runtime_that_is_shut_down_give_errors_where_they_would_wait() {
    limited(|| {
        on_each_driver(|what, runtime| {
            let (listener, client, server) = runtime
                .run(async {
                    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                    let client = TcpStream::connect(listener.local_addr().unwrap())
                        .await
                        .unwrap();
                    let (server, _) = listener.accept().await.unwrap();
                    (listener, client, server)
                })
                .unwrap();
            // One waits already, on a thread of its own, under another runtime.
            let server = Arc::new(server);
            let (waiting, polled) = (server.clone(), Gate::default());
            let seen = polled.clone();
            let other = threaded(1);
            let late = other.spawn(async move {
                let mut read = Box::pin(async { waiting.read(&mut [0]).await });
                poll_fn(|cx| {
                    let result = read.as_mut().poll(cx);
                    seen.open();
                    result
                })
                .await
            });
            until("waiting", || polled.is_open());
            assert!(
                runtime.shutdown(Duration::from_secs(20)).is_complete(),
                "{what}"
            );
            let woken = other.block_on(late).unwrap().unwrap();
            assert!(woken.is_err(), "{what}: {woken:?}");
            drop(runtime);
            other
                .run(async move {
                    let limit = Duration::from_secs(20);
                    assert!(
                        heist::timeout(limit, client.read(&mut [0]))
                            .await
                            .expect("a hang")
                            .is_err()
                    );
                    assert!(
                        heist::timeout(limit, listener.accept())
                            .await
                            .expect("a hang")
                            .is_err()
                    );
                    // What does not wait works still.
                    client.write_all(b"x").await.unwrap();
                    heist::sleep(Duration::from_millis(20)).await;
                    assert_eq!(server.read(&mut [0]).await.unwrap(), 1);
                    // And the descriptor can be taken to a living driver.
                    let client = TcpStream::from_std(client.into_std().unwrap()).unwrap();
                    drop(server);
                    assert_eq!(client.read(&mut [0]).await.unwrap_or(0), 0);
                })
                .expect(what);
        });
    });
}

#[test]
fn a_socket_polled_outside_of_any_runtime_works_by_the_driver_of_last_resort() {
    limited(|| {
        let runtime = threaded(1);
        let addr = runtime.run(echo_server()).unwrap();
        let began = std::time::Instant::now();
        let mut all = Box::pin(exchange(addr, 3));
        let mut cx = Context::from_waker(Waker::noop());
        loop {
            match all.as_mut().poll(&mut cx) {
                Poll::Ready(result) => break result.unwrap(),
                Poll::Pending => std::thread::sleep(Duration::from_millis(1)),
            }
            assert!(began.elapsed() < Duration::from_secs(20));
        }
    });
}

#[test]
fn a_cancelled_read_takes_nothing_from_the_socket() {
    limited(|| {
        on_each_driver(|what, runtime| {
            runtime
                .run(async {
                    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                    let client = TcpStream::connect(listener.local_addr().unwrap())
                        .await
                        .unwrap();
                    let (server, _) = listener.accept().await.unwrap();
                    let server = Arc::new(server);
                    for n in 0..50_u8 {
                        let mine = server.clone();
                        let reader = heist::spawn(async move {
                            let mut byte = [0];
                            mine.read_exact(&mut byte).await.map(|()| byte[0])
                        });
                        // Not while it runs: what a body returns in the poll during which it is cancelled is dropped, the byte with it.
                        while !is_suspended(&reader) {
                            heist::task::yield_now().await;
                        }
                        assert!(reader.cancel(None));
                        client.write_all(&[n]).await.unwrap();
                        let byte = match reader.await {
                            Ok(byte) => byte.unwrap(),
                            Err(error) => {
                                assert!(error.is_cancelled());
                                let mut byte = [0];
                                server.read_exact(&mut byte).await.unwrap();
                                byte[0]
                            }
                        };
                        assert_eq!(byte, n);
                    }
                })
                .expect(what);
        });
    });
}

#[test]
fn names_are_resolved_on_the_blocking_pool_and_bad_ones_are_errors() {
    limited(|| {
        on_each_driver(|what, runtime| {
            runtime
                .run(async {
                    let addrs = heist::net::lookup_host("localhost:80").await.unwrap();
                    assert!(addrs.into_iter().count() > 0);
                    for bad in ["localhost", "", ":::", "no such host:80", "127.0.0.1:99999"] {
                        assert!(TcpStream::connect(bad).await.is_err(), "{bad}");
                        assert!(TcpListener::bind(bad).await.is_err(), "{bad}");
                    }
                })
                .expect(what);
        });
    });
}

#[test]
fn connections_come_and_go_while_the_runtime_ends() {
    limited(|| {
        for round in 0..50 {
            let runtime = Builder::new()
                .worker_threads(1 + round % 3)
                .portable_driver(round % 2 == 0)
                .build()
                .unwrap();
            let addr = runtime.run(echo_server()).unwrap();
            for _ in 0..20 {
                runtime.spawn(async move {
                    loop {
                        if exchange(addr, 5).await.is_err() {
                            return;
                        }
                    }
                });
            }
            std::thread::sleep(Duration::from_millis(3));
            let report = runtime.shutdown(Duration::from_secs(20));
            assert!(report.is_complete(), "{report}");
        }
    });
}

#[test]
fn slow_readers_and_slow_writers_hold_up_themselves_and_nobody_else() {
    const IDLE: usize = 200;
    /// More than the kernel's buffers at both ends of a connection of the loopback.
    const MUCH: usize = 64 << 20;
    limited(|| {
        on_each_driver(|what, runtime| {
            let written = Arc::new(std::sync::atomic::AtomicUsize::new(0));
            let count = written.clone();
            runtime
                .run(async move {
                    let addr = echo_server().await;
                    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                    let flooded = listener.local_addr().unwrap();
                    // It writes whatever fits to a client that hardly reads.
                    let flood = heist::spawn(async move {
                        let (stream, _) = listener.accept().await.unwrap();
                        let piece = vec![0; 1 << 16];
                        while let Ok(length) = stream.write(&piece).await {
                            count.fetch_add(length, std::sync::atomic::Ordering::SeqCst);
                        }
                    });
                    let slow_reader = TcpStream::connect(flooded).await.unwrap();
                    let mut idle = Vec::new();
                    for _ in 0..IDLE {
                        idle.push(TcpStream::connect(addr).await.unwrap());
                    }
                    // One byte at a time, and never a whole request.
                    for n in 0..20_u8 {
                        for stream in &idle {
                            stream.write_all(&[n]).await.unwrap();
                        }
                        slow_reader.read(&mut [0; 16]).await.unwrap();
                        let served = heist::timeout(Duration::from_secs(20), exchange(addr, 2));
                        served.await.expect("not served").unwrap();
                    }
                    while !is_suspended(&flood) {
                        heist::sleep(Duration::from_millis(1)).await;
                    }
                    drop(slow_reader);
                    flood.await.unwrap();
                    for stream in idle {
                        let mut bytes = [0; 20];
                        stream.read_exact(&mut bytes).await.unwrap();
                        assert!(bytes.iter().copied().eq(0..20));
                    }
                })
                .expect(what);
            let written = written.load(std::sync::atomic::Ordering::SeqCst);
            assert!(
                written < MUCH,
                "{what}: {written} bytes were taken that nobody reads"
            );
        });
    });
}
