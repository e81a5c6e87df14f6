//! Connecting, binding, and the addresses for it.

use super::*;

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
