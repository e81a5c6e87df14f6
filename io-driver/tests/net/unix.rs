//! Unix streams and listeners.

use super::*;
use std::os::unix::net::SocketAddr;
use support::in_a_directory;

/// A connected pair, made by a listener: the accepting end, and the connecting one.
async fn through(listener: &UnixListener) -> (UnixStream, UnixStream) {
    let addr = listener.local_addr().unwrap();
    let (accepted, connected) = join(listener.accept(), UnixStream::connect_addr(&addr)).await;
    (accepted.unwrap().0, connected.unwrap())
}

#[test]
fn a_listener_and_its_clients() {
    in_a_directory(async |directory| {
        let path = directory.path("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let bound = listener.local_addr().unwrap();
        assert_eq!(bound.as_pathname(), Some(path.as_path()));
        let (accepted, client) = join(listener.accept(), UnixStream::connect(&path)).await;
        let ((server, peer), client) = (accepted.unwrap(), client.unwrap());
        assert!(peer.is_unnamed());
        assert!(client.local_addr().unwrap().is_unnamed());
        assert_eq!(
            client.peer_addr().unwrap().as_pathname(),
            Some(path.as_path())
        );

        for round in 0..200_u32 {
            client.write_all(&round.to_le_bytes()).await.unwrap();
            let mut bytes = [0; 4];
            server.read_exact(&mut bytes).await.unwrap();
            server.write_all(&bytes).await.unwrap();
            let mut back = [0; 4];
            client.read_exact(&mut back).await.unwrap();
            assert_eq!(back, round.to_le_bytes());
        }

        // Half of it ends; the other half goes on.
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(server.read(&mut [0; 4]).await.unwrap(), 0);
        server.write_all(b"bye").await.unwrap();
        drop(server);
        let mut bytes = [0; 3];
        client.read_exact(&mut bytes).await.unwrap();
        assert_eq!(client.read(&mut bytes).await.unwrap(), 0);
        assert_eq!(kind(client.write(b"x").await), io::ErrorKind::BrokenPipe);
    });
}

#[cfg(target_os = "linux")]
#[test]
fn an_abstract_name_needs_no_file() {
    use std::os::linux::net::SocketAddrExt;

    on_both_paths(|rig| {
        rig.block_on(async {
            let name = format!("heist-test-{}-{rig:p}", std::process::id());
            let addr = SocketAddr::from_abstract_name(&name).unwrap();
            let listener = UnixListener::bind_addr(&addr).unwrap();
            let (server, client) = through(&listener).await;
            let seen = client.peer_addr().unwrap();
            assert_eq!(seen.as_abstract_name(), Some(name.as_bytes()));
            client.write_all(b"x").await.unwrap();
            server.read_exact(&mut [0]).await.unwrap();

            // A client that is bound has a name too.
            let named = format!("{name}-client");
            let socket =
                socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
            let own = socket2::SockAddr::unix(format!("\0{named}")).unwrap();
            socket.bind(&own).unwrap();
            let to = socket2::SockAddr::unix(format!("\0{name}")).unwrap();
            socket.connect(&to).unwrap();
            let (_, peer) = listener.accept().await.unwrap();
            assert_eq!(peer.as_abstract_name(), Some(named.as_bytes()));
        });
    });
}

#[test]
fn credentials_are_the_peers() {
    on_both_paths(|rig| {
        rig.block_on(async {
            let (a, _b) = UnixStream::pair().unwrap();
            let cred = a.peer_cred().unwrap();
            assert_eq!(cred.uid(), rustix::process::geteuid().as_raw());
            assert_eq!(cred.gid(), rustix::process::getegid().as_raw());
            #[cfg(target_os = "linux")]
            assert_eq!(cred.pid(), Some(std::process::id() as i32));
        });
    });
}

#[test]
fn errors_say_what_is_wrong() {
    in_a_directory(async |directory| {
        let path = directory.path("socket");
        assert_eq!(
            kind(UnixStream::connect(&path).await),
            io::ErrorKind::NotFound
        );
        let listener = UnixListener::bind(&path).unwrap();
        assert_eq!(kind(UnixListener::bind(&path)), io::ErrorKind::AddrInUse);
        drop(listener);
        // The file stays, and nobody listens.
        assert_eq!(
            kind(UnixStream::connect(&path).await),
            io::ErrorKind::ConnectionRefused
        );
        assert_eq!(kind(UnixListener::bind(&path)), io::ErrorKind::AddrInUse);
        std::fs::remove_file(&path).unwrap();
        UnixListener::bind(&path).unwrap();

        let long = directory.path(&"x".repeat(200));
        for result in [
            UnixListener::bind(&long).map(drop),
            UnixStream::connect(&long).await.map(drop),
        ] {
            let error = result.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            assert!(error.to_string().contains("SUN_LEN"), "{error}");
        }
        let unnamed = SocketAddr::from_pathname("").unwrap();
        assert_eq!(
            kind(UnixStream::connect_addr(&unnamed).await),
            io::ErrorKind::InvalidInput
        );
    });
}

#[test]
fn connecting_waits_for_room_in_the_queue() {
    in_a_directory(async |directory| {
        let path = directory.path("socket");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        // The queue as short as it can be.
        socket2::SockRef::from(&listener).listen(0).unwrap();
        let listener = UnixListener::from_std(listener).unwrap();
        let first = UnixStream::connect(&path).await.unwrap();
        let mut cx = Context::from_waker(Waker::noop());
        let mut second = Box::pin(UnixStream::connect(&path));
        assert!(second.as_mut().poll(&mut cx).is_pending());
        let (accepted, second) = join(listener.accept(), second).await;
        let (of_first, of_second) = (accepted.unwrap().0, listener.accept().await.unwrap().0);
        for (server, client) in [(of_first, first), (of_second, second.unwrap())] {
            client.write_all(b"x").await.unwrap();
            server.read_exact(&mut [0]).await.unwrap();
        }
        assert_eq!(listener.accept_stats().deferred, 0);
    });
}

#[test]
fn a_dropped_accept_and_a_dropped_read_lose_nothing() {
    in_a_directory(async |directory| {
        let path = directory.path("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let mut cx = Context::from_waker(Waker::noop());
        for n in 0..50_u8 {
            let mut accept = Box::pin(listener.accept());
            assert!(accept.as_mut().poll(&mut cx).is_pending());
            let client = UnixStream::connect(&path).await.unwrap();
            drop(accept);
            let (server, _) = listener.accept().await.unwrap();
            let mut byte = [0];
            {
                let mut read = pin!(server.read(&mut byte));
                assert!(read.as_mut().poll(&mut cx).is_pending());
                client.write_all(&[n]).await.unwrap();
            }
            server.peek(&mut byte).await.unwrap();
            assert_eq!(byte[0], n);
            assert_eq!(server.try_read(&mut byte).unwrap(), 1);
            assert_eq!(byte[0], n);
        }
    });
}

#[test]
fn halves_reunite_and_vectored_calls_work() {
    on_both_paths(|rig| {
        rig.block_on(async {
            let (mut a, b) = UnixStream::pair().unwrap();
            {
                let (reader, writer) = a.split();
                let parts = [b"one".as_slice(), b"two"].map(IoSlice::new);
                assert_eq!(writer.write_vectored(&parts).await.unwrap(), 6);
                assert!(reader.local_addr().unwrap().is_unnamed());
            }
            let (mut x, mut y) = ([0; 2], [0; 4]);
            let mut bufs = [IoSliceMut::new(&mut x), IoSliceMut::new(&mut y)];
            assert_eq!(b.read_vectored(&mut bufs).await.unwrap(), 6);
            assert_eq!((&x, &y), (b"on", b"etwo"));

            let (reader, writer) = a.into_split();
            let (other, _writer) = b.into_split();
            let (other, writer) = other.reunite(writer).unwrap_err().into_halves();
            let a = reader.reunite(writer).unwrap();
            a.write_all(b"still open").await.unwrap();
            other.read_exact(&mut [0; 10]).await.unwrap();
        });
    });
}

#[test]
fn streams_and_listeners_go_to_std_and_back() {
    in_a_directory(async |directory| {
        let listener = UnixListener::bind(directory.path("socket")).unwrap();
        let listener = UnixListener::from_std(listener.into_std().unwrap()).unwrap();
        let (server, client) = through(&listener).await;
        let client = client.into_std().unwrap();
        client.set_nonblocking(false).unwrap();
        (&client).write_all(b"x").unwrap();
        server.read_exact(&mut [0]).await.unwrap();
        let client = UnixStream::from_std(client).unwrap();
        let mut byte = [0];
        let (read, written) = join(client.read(&mut byte), server.write_all(b"y")).await;
        assert_eq!(read.unwrap(), 1);
        written.unwrap();
        assert!(client.take_error().unwrap().is_none());
        assert!(listener.take_error().unwrap().is_none());
    });
}
