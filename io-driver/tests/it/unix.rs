//! Unix sockets and pipes, where readiness says less than with TCP.

use std::future::Future;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use heist_io_driver::Driver;
use heist_io_driver::net::{UnixDatagram, UnixStream};
use heist_io_driver::pipe::{Receiver, Sender};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::support::{Count, driver, each, run, turn_idly, turn_until};

/// Expects two messages of three bytes, sent together, from reads that stop between them: that a
/// read got less than it asked for says nothing about what is there.
fn reads_do_not_hide_what_follows<F>(
    driver: &mut Driver,
    mut read: impl FnMut() -> F,
    send_two: impl FnOnce(),
) where
    F: Future<Output = io::Result<usize>>,
{
    let (count, waker) = Count::new();
    let mut cx = Context::from_waker(&waker);
    {
        let mut waiting = pin!(read());
        assert!(waiting.as_mut().poll(&mut cx).is_pending());
        send_two();
        turn_until(driver, || count.get() > 0);
        // Every event has been seen: no later one makes up for what is forgotten now.
        turn_idly(driver, Duration::from_millis(20), false);
        assert!(matches!(waiting.poll(&mut cx), Poll::Ready(Ok(3))));
    }
    assert!(matches!(pin!(read()).poll(&mut cx), Poll::Ready(Ok(3))));
}

#[test]
fn a_read_that_stops_at_a_descriptor_does_not_hide_what_follows() {
    each(|config| {
        let mut driver = driver(&config);
        let _entered = driver.handle().clone().enter(0);
        let (a, b) = UnixStream::pair().unwrap();
        let send_two = || {
            let stdin = io::stdin();
            for message in [b"one", b"two"] {
                let descriptors = [stdin.as_fd()];
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
                let mut control = SendAncillaryBuffer::new(&mut space);
                assert!(control.push(SendAncillaryMessage::ScmRights(&descriptors)));
                let parts = [IoSlice::new(message)];
                sendmsg(&a, &parts, &mut control, SendFlags::empty()).unwrap();
            }
        };
        let read = || async { b.read(&mut [0; 64]).await };
        reads_do_not_hide_what_follows(&mut driver, read, send_two);
    });
}

#[test]
fn a_read_that_stops_at_a_packet_does_not_hide_what_follows() {
    each(|config| {
        let mut driver = driver(&config);
        let _entered = driver.handle().clone().enter(0);
        let (reader, writer) = pipe_with(PipeFlags::DIRECT).unwrap();
        let receiver = Receiver::from_owned_fd(reader).unwrap();
        let sender = Sender::from_owned_fd(writer).unwrap();
        let send_two = || {
            for message in [b"one", b"two"] {
                assert_eq!(sender.try_write(message).unwrap(), 3);
            }
        };
        let read = || async { receiver.read(&mut [0; 64]).await };
        reads_do_not_hide_what_follows(&mut driver, read, send_two);
    });
}

/// A refused datagram frees room in its sender's own buffer, which the kernel reports as an event.
/// Whoever tried again at each would never sleep.
#[test]
fn waiting_for_a_full_socket_that_is_not_the_peer_does_not_spin() {
    each(|config| {
        let mut driver = driver(&config);
        let _entered = driver.handle().clone().enter(0);
        let name = format!("heist-full-{}-{}", std::process::id(), config.portable);
        let path = std::env::temp_dir().join(name);
        let receiver = UnixDatagram::bind(&path).unwrap();
        let others = UnixDatagram::unbound().unwrap();
        let mut sent = 0;
        while others.try_send_to(b"full", &path).is_ok() {
            sent += 1;
        }

        let sender = UnixDatagram::unbound().unwrap();
        let (count, waker) = Count::new();
        let mut cx = Context::from_waker(&waker);
        let mut send = pin!(sender.send_to(b"late", &path));
        // Once the waits have grown, an attempt every 50 ms.
        for _ in 0..10 {
            let before = count.get();
            assert!(send.as_mut().poll(&mut cx).is_pending());
            turn_until(&mut driver, || count.get() > before);
        }
        let start = std::time::Instant::now();
        for _ in 0..3 {
            let before = count.get();
            assert!(send.as_mut().poll(&mut cx).is_pending());
            turn_until(&mut driver, || count.get() > before);
        }
        assert!(start.elapsed() >= Duration::from_millis(100), "it spins");

        for _ in 0..sent {
            run(&mut driver, receiver.recv(&mut [0; 8])).unwrap();
        }
        assert_eq!(run(&mut driver, send).unwrap(), 4);
        let noop = &mut Context::from_waker(Waker::noop());
        let last = pin!(receiver.recv(&mut [0; 8])).poll(noop);
        assert!(matches!(last, Poll::Ready(Ok(4))));
        std::fs::remove_file(&path).unwrap();
    });
}
