//! Listeners: who gets which connection.

use super::*;

/// Connections, each told apart by a byte, go to several who accept on one listener.
macro_rules! acceptors_share {
    ($rig:ident, $listener:expr, $connect:expr) => {
        const ACCEPTORS: usize = 8;
        const CONNECTIONS: usize = 200;
        let listener = Arc::new($listener);
        let claimed = Arc::new(AtomicUsize::new(0));
        let acceptors: Vec<_> = (0..ACCEPTORS)
            .map(|_| {
                let (listener, claimed) = (listener.clone(), claimed.clone());
                $rig.spawn(async move {
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
        $rig.block_on(async {
            for n in 0..CONNECTIONS {
                let stream = $connect(&*listener).await.unwrap();
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
    };
}

#[test]
fn many_acceptors_share_a_listener() {
    on_both_paths(|rig| {
        acceptors_share!(
            rig,
            rig.block_on(TcpListener::bind(LOOPBACK)).unwrap(),
            |listener: &TcpListener| TcpStream::connect(listener.local_addr().unwrap())
        );
    });
}

#[cfg(unix)]
#[test]
fn many_acceptors_share_a_unix_listener() {
    on_both_paths(|rig| {
        let directory = support::Directory::new();
        let path = directory.path("socket");
        acceptors_share!(
            rig,
            rig.block_on(async { UnixListener::bind(&path).unwrap() }),
            |_: &UnixListener| UnixStream::connect(&path)
        );
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
