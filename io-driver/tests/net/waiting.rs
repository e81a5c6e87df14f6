//! Operations that are dropped, held back, or cut off while they wait.

use super::*;

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

#[cfg(unix)]
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
#[cfg(unix)]
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
