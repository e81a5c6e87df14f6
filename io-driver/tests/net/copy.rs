//! `io::copy` and `io::copy_bidirectional`.

use super::*;
use futures_io::{AsyncRead, AsyncWrite};
use heist_io_driver::io::{CopyError, copy, copy_bidirectional, copy_bidirectional_with_sizes};
use std::collections::VecDeque;
use std::pin::Pin;

/// A stream that does as it is told, and remembers what it was asked for.
#[derive(Default)]
struct Script {
    reads: VecDeque<Read>,
    /// How much each write takes; when none is left, everything.
    room: VecDeque<Poll<usize>>,
    written: Vec<u8>,
    /// How much of it was flushed.
    flushed: usize,
    closed: bool,
}

enum Read {
    Bytes(&'static [u8]),
    Wait,
    Fail(io::ErrorKind),
    /// Bytes without end.
    Endless,
}

impl Script {
    fn reading(reads: impl IntoIterator<Item = Read>) -> Script {
        Script {
            reads: reads.into_iter().collect(),
            ..Script::default()
        }
    }

    fn writing(room: impl IntoIterator<Item = Poll<usize>>) -> Script {
        Script {
            room: room.into_iter().collect(),
            ..Script::default()
        }
    }
}

impl AsyncRead for Script {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        assert!(!buf.is_empty(), "a read without room");
        match self.reads.pop_front() {
            None => Poll::Ready(Ok(0)),
            Some(Read::Wait) => Poll::Pending,
            Some(Read::Fail(kind)) => Poll::Ready(Err(kind.into())),
            Some(Read::Endless) => {
                self.reads.push_front(Read::Endless);
                Poll::Ready(Ok(buf.len()))
            }
            Some(Read::Bytes(bytes)) => {
                let (now, later) = bytes.split_at(bytes.len().min(buf.len()));
                buf[..now.len()].copy_from_slice(now);
                if !later.is_empty() {
                    self.reads.push_front(Read::Bytes(later));
                }
                Poll::Ready(Ok(now.len()))
            }
        }
    }
}

impl AsyncWrite for Script {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        assert!(!self.closed, "written to after it was closed");
        let room = self.room.pop_front().unwrap_or(Poll::Ready(usize::MAX));
        room.map(|room| {
            let n = room.min(buf.len());
            self.written.extend_from_slice(&buf[..n]);
            Ok(n)
        })
    }

    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.flushed = self.written.len();
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        assert!(!self.closed, "closed twice");
        self.closed = true;
        Poll::Ready(Ok(()))
    }
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn what_has_been_read_is_flushed_before_waiting_for_more() {
    use Read::{Bytes, Wait};

    let mut reader = Script::reading([Bytes(b"one"), Bytes(b"two"), Wait, Bytes(b"three")]);
    let mut writer = Script::writing([Poll::Ready(2)]);
    {
        let mut copying = pin!(copy(&mut reader, &mut writer));
        assert!(poll(copying.as_mut()).is_pending());
        assert!(matches!(poll(copying.as_mut()), Poll::Ready(Ok(11))));
    }
    assert_eq!(writer.written, b"onetwothree");
    assert_eq!(writer.flushed, 11);
    assert!(!writer.closed);

    // And not only at the end.
    let mut reader = Script::reading([Bytes(b"one"), Wait]);
    let mut writer = Script::default();
    assert!(poll(pin!(copy(&mut reader, &mut writer))).is_pending());
    assert_eq!(writer.flushed, 3);
}

#[test]
fn reading_goes_on_while_the_writer_waits() {
    let mut reader = Script::reading([Read::Bytes(b"one"), Read::Bytes(b"two"), Read::Wait]);
    let mut writer = Script::writing([Poll::Pending, Poll::Pending, Poll::Pending]);
    {
        let mut copying = pin!(copy(&mut reader, &mut writer));
        assert!(poll(copying.as_mut()).is_pending());
        assert!(matches!(poll(copying), Poll::Ready(Ok(6))));
    }
    assert_eq!(writer.written, b"onetwo");
}

#[test]
fn errors_keep_their_kind_and_tell_how_far_it_was() {
    // What was read before the reader failed is written, however slowly.
    let fail = Read::Fail(io::ErrorKind::ConnectionReset);
    let mut reader = Script::reading([Read::Bytes(b"before"), fail]);
    let mut writer = Script::writing([Poll::Ready(1), Poll::Pending]);
    let error = {
        let mut copying = pin!(copy(&mut reader, &mut writer));
        match poll(copying.as_mut()) {
            Poll::Ready(result) => result.unwrap_err(),
            Poll::Pending => match poll(copying) {
                Poll::Ready(result) => result.unwrap_err(),
                Poll::Pending => panic!("still pending"),
            },
        }
    };
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    assert_eq!(CopyError::of(&error).unwrap().copied(), (6, 0));
    assert_eq!(
        (writer.written.as_slice(), writer.flushed),
        (&b"before"[..], 6)
    );

    let mut reader = Script::reading([Read::Bytes(b"abc")]);
    let mut writer = Script::writing([Poll::Ready(2), Poll::Ready(0)]);
    let copied = poll(pin!(copy(&mut reader, &mut writer)));
    let Poll::Ready(Err(error)) = copied else {
        panic!("it took nothing: {copied:?}");
    };
    assert_eq!(error.kind(), io::ErrorKind::WriteZero);
    assert_eq!(CopyError::of(&error).unwrap().copied(), (2, 0));
    assert!(CopyError::of(&io::ErrorKind::WriteZero.into()).is_none());

    // Both directions are counted.
    let mut a = Script::reading([Read::Bytes(b"up"), Read::Wait]);
    let fail = Read::Fail(io::ErrorKind::TimedOut);
    let mut b = Script::reading([Read::Bytes(b"down"), fail]);
    let Poll::Ready(Err(error)) = poll(pin!(copy_bidirectional(&mut a, &mut b))) else {
        panic!("no error");
    };
    let inner = CopyError::of(&error).unwrap();
    assert_eq!(inner.error().kind(), io::ErrorKind::TimedOut);
    assert_eq!(inner.copied(), (2, 4));
    assert_eq!(a.written, b"down");
    assert!(!b.closed);
}

#[test]
fn each_end_is_passed_on_once_and_the_other_direction_goes_on() {
    let mut a = Script::reading([Read::Bytes(b"request")]);
    // The answer comes long after the request has ended.
    let waits = (0..20).map(|_| Read::Wait);
    let mut b = Script::reading(waits.chain([Read::Bytes(b"a long answer")]));
    {
        let mut copying = pin!(copy_bidirectional_with_sizes(&mut a, &mut b, 0, 3));
        assert!(poll(copying.as_mut()).is_pending());
        let counts = (0..20).find_map(|_| match poll(copying.as_mut()) {
            Poll::Ready(result) => Some(result.unwrap()),
            Poll::Pending => None,
        });
        assert_eq!(counts, Some((7, 13)));
    }
    assert!(a.closed && b.closed);
    assert_eq!(a.written, b"a long answer");
    assert_eq!(b.written, b"request");
}

#[test]
fn streams_that_never_wait_leave_room_for_others() {
    // One that has no end yields when the budget is spent, and keeps the other direction from
    // nothing.
    let mut a = Script::reading([Read::Endless]);
    let mut b = Script::reading([Read::Bytes(b"answer")]);
    {
        let mut copying = pin!(copy_bidirectional(&mut a, &mut b));
        leaf::begin_poll(32, false);
        assert!(poll(copying.as_mut()).is_pending());
        assert!(leaf::end_poll().forced_yield);
    }
    assert_eq!(a.written, b"answer");
    assert!(a.closed);
}

/// A client and a server with a proxy of sockets between them: a megabyte in each direction at
/// once, through small buffers, then the ends.
#[test]
fn a_proxy_passes_everything_on_in_both_directions() {
    on_both_paths(|rig| {
        let bytes = Arc::new(megabyte());
        let (server, mut outer) = rig.block_on(pair());
        let (mut inner, client) = rig.block_on(pair());
        for stream in [&server, &outer, &inner, &client] {
            let socket = socket2::SockRef::from(stream);
            socket.set_send_buffer_size(4096).unwrap();
        }
        let proxy = rig.spawn(async move { copy_bidirectional(&mut inner, &mut outer).await });
        let talk = |stream: TcpStream| {
            let (reader, writer) = stream.into_split();
            let (to_send, expected) = (bytes.clone(), bytes.clone());
            [
                rig.spawn(async move { writer.write_all(&to_send).await.unwrap() }),
                rig.spawn(async move {
                    let mut received = vec![0; expected.len()];
                    reader.read_exact(&mut received).await.unwrap();
                    assert!(received == *expected);
                    assert_eq!(reader.read(&mut [0]).await.unwrap(), 0);
                }),
            ]
        };
        for thread in talk(client).into_iter().chain(talk(server)) {
            thread.join().unwrap();
        }
        let megabyte = 1 << 20;
        assert_eq!(proxy.join().unwrap().unwrap(), (megabyte, megabyte));
    });
}

#[test]
fn a_peer_that_resets_ends_the_copy() {
    on_both_paths(|rig| {
        rig.block_on(async {
            let (server, mut outer) = pair().await;
            let (mut inner, client) = pair().await;
            client.write_all(b"request").await.unwrap();
            let break_off = async {
                server.read_exact(&mut [0; 7]).await.unwrap();
                server.set_linger(Some(Duration::ZERO)).unwrap();
                drop(server);
            };
            let (copied, ()) = join(copy_bidirectional(&mut inner, &mut outer), break_off).await;
            let error = copied.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
            let inner = CopyError::of(&error).unwrap();
            assert_eq!(inner.copied(), (7, 0));
            assert!(inner.error().raw_os_error().is_some());
        });
    });
}
