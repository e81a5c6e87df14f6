//! Unix datagrams.

use super::*;
use std::mem::MaybeUninit;
use support::in_a_directory;

/// Sends until the receiver is full; how many that took.
fn fill(mut send: impl FnMut() -> io::Result<usize>) -> usize {
    for sent in 0..100_000 {
        if let Err(error) = send() {
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
            return sent;
        }
    }
    panic!("it is never full");
}

#[test]
fn datagrams_arrive_whole_and_say_who_sent_them() {
    in_a_directory(async |directory| {
        let (to, from) = (directory.path("to"), directory.path("from"));
        let receiver = UnixDatagram::bind(&to).unwrap();
        let sender = UnixDatagram::bind(&from).unwrap();
        let nobody = UnixDatagram::unbound().unwrap();
        let mut buf = [0; 16];

        sender.send_to(b"one", &to).await.unwrap();
        let (n, addr) = receiver.peek_from(&mut buf).await.unwrap();
        assert_eq!((n, addr.as_pathname()), (3, Some(from.as_path())));
        let (n, addr) = receiver.recv_from(&mut buf).await.unwrap();
        assert_eq!((n, addr.as_pathname()), (3, Some(from.as_path())));

        assert_eq!(nobody.try_send_to(b"", &to).unwrap(), 0);
        let mut memory = [MaybeUninit::uninit(); 16];
        let (bytes, addr) = receiver.recv_from_uninit(&mut memory).await.unwrap();
        assert!(bytes.is_empty() && addr.is_unnamed());

        receiver.connect(&from).unwrap();
        let (sent, n) = join(receiver.send(b"back"), sender.recv(&mut buf)).await;
        assert_eq!((sent.unwrap(), n.unwrap()), (4, 4));
        // A socket that has a peer takes nothing from others.
        assert_eq!(
            kind(nobody.send_to(b"x", &to).await),
            io::ErrorKind::PermissionDenied
        );
    });
}

#[test]
fn errors_say_what_is_wrong() {
    in_a_directory(async |directory| {
        let path = directory.path("socket");
        let sender = UnixDatagram::unbound().unwrap();
        assert_eq!(
            kind(sender.send_to(b"x", &path).await),
            io::ErrorKind::NotFound
        );
        drop(UnixDatagram::bind(&path).unwrap());
        assert_eq!(
            kind(sender.send_to(b"x", &path).await),
            io::ErrorKind::ConnectionRefused
        );
        assert_eq!(kind(UnixDatagram::bind(&path)), io::ErrorKind::AddrInUse);
        assert_eq!(kind(sender.send(b"x").await), io::ErrorKind::NotConnected);

        let (a, b) = UnixDatagram::pair().unwrap();
        let long = vec![0; 8 << 20];
        let error = a.send(&long).await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EMSGSIZE), "{error}");
        drop(b);
        assert_eq!(kind(a.send(b"x").await), io::ErrorKind::ConnectionRefused);
    });
}

#[test]
fn whoever_sends_to_a_full_socket_waits() {
    in_a_directory(async |directory| {
        let path = directory.path("socket");
        let receiver = UnixDatagram::bind(&path).unwrap();
        let peer = UnixDatagram::unbound().unwrap();
        peer.connect(&path).unwrap();
        let stranger = UnixDatagram::unbound().unwrap();
        let mut cx = Context::from_waker(Waker::noop());
        let mut buf = [0; 16];

        // The kernel says when the peer has room again...
        let sent = fill(|| peer.try_send(b"full"));
        let mut waiting = Box::pin(peer.send(b"last"));
        assert!(waiting.as_mut().poll(&mut cx).is_pending());
        let drain = async {
            for _ in 0..=sent {
                receiver.recv(&mut buf).await.unwrap();
            }
        };
        assert_eq!(join(waiting, drain).await.0.unwrap(), 4);
        assert_eq!(&buf[..4], b"last");

        // ... and does not where there is no peer, not even when others filled the queue.
        let sent = fill(|| peer.try_send(b"full"));
        let mut waiting = Box::pin(stranger.send_to(b"late", &path));
        assert!(waiting.as_mut().poll(&mut cx).is_pending());
        let drain = async {
            for _ in 0..=sent {
                receiver.recv(&mut buf).await.unwrap();
            }
        };
        assert_eq!(join(waiting, drain).await.0.unwrap(), 4);
        assert_eq!(&buf[..4], b"late");
    });
}

#[test]
fn a_send_that_always_succeeds_yields_when_the_budget_is_spent() {
    in_a_directory(async |directory| {
        let path = directory.path("socket");
        let _receiver = UnixDatagram::bind(&path).unwrap();
        let sender = UnixDatagram::unbound().unwrap();
        let mut cx = Context::from_waker(Waker::noop());
        leaf::begin_poll(1, false);
        let first = pin!(sender.send_to(b"x", &path)).poll(&mut cx);
        assert!(matches!(first, Poll::Ready(Ok(1))));
        assert!(pin!(sender.send_to(b"x", &path)).poll(&mut cx).is_pending());
        assert!(leaf::end_poll().forced_yield);
    });
}
