//! Streams: reading, writing, ending.

use super::*;

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
            #[cfg(unix)]
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
