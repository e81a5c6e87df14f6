//! Pipes, anonymous and named.

use super::*;
use heist_io_driver::pipe::{self, OpenOptions, Receiver, Sender, pipe};
use std::os::fd::OwnedFd;
use support::{Directory, in_a_directory};

#[test]
fn bytes_go_through_and_the_pipe_ends() {
    on_both_paths(|rig| {
        rig.block_on(async {
            let (sender, receiver) = pipe().unwrap();
            let mut bytes = [0; 16];
            assert_eq!(
                kind(receiver.try_read(&mut bytes)),
                io::ErrorKind::WouldBlock
            );
            let (n, sent) = join(receiver.read(&mut bytes), sender.write(b"hello")).await;
            assert_eq!((n.unwrap(), sent.unwrap()), (5, 5));

            let parts = [b"one".as_slice(), b"two"].map(IoSlice::new);
            assert_eq!(sender.write_vectored(&parts).await.unwrap(), 6);
            drop(sender);
            let (mut x, mut y) = ([0; 2], [0; 2]);
            let mut bufs = [IoSliceMut::new(&mut x), IoSliceMut::new(&mut y)];
            assert_eq!(receiver.read_vectored(&mut bufs).await.unwrap(), 4);
            assert_eq!(
                kind(receiver.read_exact(&mut bytes).await),
                io::ErrorKind::UnexpectedEof
            );
            assert_eq!(receiver.read(&mut bytes).await.unwrap(), 0);

            let (sender, receiver) = pipe().unwrap();
            drop(receiver);
            assert_eq!(kind(sender.write(b"x").await), io::ErrorKind::BrokenPipe);
        });
    });
}

#[test]
fn a_full_pipe_makes_writers_wait() {
    on_both_paths(|rig| {
        let (sender, receiver) = rig.block_on(async { pipe().unwrap() });
        let mut full = 0;
        let refused = loop {
            match sender.try_write(&[0; 1 << 16]) {
                Ok(n) => full += n,
                Err(error) => break error,
            }
        };
        assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);

        // Several wait; what each writes stays together, since it is no more than `PIPE_BUF`.
        let sender = Arc::new(sender);
        let writers: Vec<_> = (1..=4_u8)
            .map(|n| {
                let sender = sender.clone();
                rig.spawn(async move {
                    for _ in 0..100 {
                        sender.write_all(&[n; 500]).await.unwrap();
                    }
                })
            })
            .collect();
        drop(sender);
        let counts = rig.block_on(async {
            receiver.read_exact(&mut vec![0; full]).await.unwrap();
            let (mut counts, mut block) = ([0; 5], [0; 500]);
            while receiver.read_exact(&mut block).await.is_ok() {
                assert!(block.iter().all(|byte| *byte == block[0]));
                counts[usize::from(block[0])] += 1;
            }
            counts
        });
        assert_eq!(counts, [0, 100, 100, 100, 100]);
        for writer in writers {
            writer.join().unwrap();
        }
    });
}

#[test]
fn a_megabyte_arrives_through_partial_writes() {
    on_both_paths(|rig| {
        let bytes = Arc::new(megabyte());
        let (sender, receiver) = rig.block_on(async { pipe().unwrap() });
        let to_send = bytes.clone();
        let writing = rig.spawn(async move {
            let first = sender.write(&to_send).await.unwrap();
            assert!((1..to_send.len()).contains(&first), "not partial: {first}");
            sender.write_all(&to_send[first..]).await.unwrap();
        });
        rig.block_on(async {
            let mut received = vec![0; bytes.len()];
            receiver.read_exact(&mut received).await.unwrap();
            assert!(received == *bytes);
            assert_eq!(receiver.read(&mut [0]).await.unwrap(), 0);
        });
        writing.join().unwrap();
    });
}

#[test]
fn a_dropped_read_loses_no_byte() {
    on_both_paths(|rig| {
        rig.block_on(async {
            let (sender, receiver) = pipe().unwrap();
            for n in 0..50_u8 {
                let mut byte = [0];
                {
                    let mut read = pin!(receiver.read(&mut byte));
                    let mut cx = Context::from_waker(Waker::noop());
                    assert!(read.as_mut().poll(&mut cx).is_pending());
                    sender.write_all(&[n]).await.unwrap();
                }
                receiver.read_exact(&mut byte).await.unwrap();
                assert_eq!(byte[0], n);
            }
        });
    });
}

#[test]
fn descriptors_are_taken_over_if_they_are_the_right_end_of_a_pipe() {
    on_both_paths(|rig| {
        rig.block_on(async {
            let ends = || -> (OwnedFd, OwnedFd) {
                let (reader, writer) = io::pipe().unwrap();
                (reader.into(), writer.into())
            };
            let blocking = |fd: &OwnedFd| {
                !rustix::fs::fcntl_getfl(fd)
                    .unwrap()
                    .contains(rustix::fs::OFlags::NONBLOCK)
            };

            let (reader, writer) = ends();
            assert!(blocking(&reader) && blocking(&writer));
            let receiver = Receiver::from_owned_fd(reader).unwrap();
            let sender = Sender::from_owned_fd(writer).unwrap();
            let mut byte = [0];
            let (n, sent) = join(receiver.read(&mut byte), sender.write(b"x")).await;
            assert_eq!((n.unwrap(), sent.unwrap()), (1, 1));
            assert!(!blocking(&sender.into_nonblocking_fd().unwrap()));
            assert!(blocking(&receiver.into_blocking_fd().unwrap()));

            let (reader, writer) = ends();
            let wrong = Sender::from_owned_fd(reader).unwrap_err();
            assert_eq!(wrong.kind(), io::ErrorKind::InvalidInput);
            assert!(wrong.to_string().contains("only read from"), "{wrong}");
            let wrong = Receiver::from_owned_fd(writer).unwrap_err();
            assert!(wrong.to_string().contains("only written to"), "{wrong}");
            let (socket, _) = std::os::unix::net::UnixStream::pair().unwrap();
            let wrong = Receiver::from_owned_fd(socket.into()).unwrap_err();
            assert_eq!(wrong.kind(), io::ErrorKind::InvalidInput);
            assert!(wrong.to_string().contains("not a pipe"), "{wrong}");
        });
    });
}

/// A named pipe.
fn fifo(directory: &Directory) -> std::path::PathBuf {
    let path = directory.path("fifo");
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    assert!(made.unwrap().success());
    path
}

#[test]
fn a_named_pipe_is_read_when_a_sender_has_come() {
    in_a_directory(async |directory| {
        let path = fifo(directory);
        let refused = OpenOptions::new().open_sender(&path).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::ENXIO), "{refused}");

        let receiver = OpenOptions::new().open_receiver(&path).unwrap();
        let mut bytes = [0; 16];
        let mut cx = Context::from_waker(Waker::noop());
        {
            // Nobody has come: that is not the end.
            let mut read = pin!(receiver.read(&mut bytes));
            assert!(read.as_mut().poll(&mut cx).is_pending());
            let sender = OpenOptions::new().open_sender(&path).unwrap();
            let (n, sent) = join(read, sender.write(b"first")).await;
            assert_eq!((n.unwrap(), sent.unwrap()), (5, 5));
        }
        assert_eq!(receiver.read(&mut bytes).await.unwrap(), 0);
        // Another one comes after the end.
        let sender = OpenOptions::new().open_sender(&path).unwrap();
        let (n, sent) = join(receiver.read(&mut bytes), sender.write(b"again")).await;
        assert_eq!((n.unwrap(), sent.unwrap()), (5, 5));

        // One that has come before the receiver was opened is noticed too.
        sender.write_all(b"early").await.unwrap();
        let late = OpenOptions::new().open_receiver(&path).unwrap();
        assert_eq!(late.read(&mut bytes).await.unwrap(), 5);
    });
}

#[cfg(target_os = "linux")]
#[test]
fn a_named_pipe_open_in_both_directions_needs_nobody() {
    in_a_directory(async |directory| {
        let path = fifo(directory);
        let mut both = OpenOptions::new();
        both.read_write(true);
        let sender = both.open_sender(&path).unwrap();
        sender.write_all(b"x").await.unwrap();
        let receiver = both.open_receiver(&path).unwrap();
        let mut byte = [0];
        receiver.read_exact(&mut byte).await.unwrap();
        drop(sender);
        // No end: the receiver could write itself.
        assert_eq!(
            kind(receiver.try_read(&mut byte)),
            io::ErrorKind::WouldBlock
        );
    });
}

#[test]
fn what_is_opened_must_be_a_pipe() {
    on_both_paths(|rig| {
        let directory = Directory::new();
        let path = directory.path("file");
        rig.block_on(async {
            let options = pipe::OpenOptions::new();
            assert_eq!(kind(options.open_receiver(&path)), io::ErrorKind::NotFound);
            std::fs::write(&path, "x").unwrap();
            assert_eq!(
                kind(options.open_receiver(&path)),
                io::ErrorKind::InvalidInput
            );
            assert_eq!(
                kind(options.open_sender(&path)),
                io::ErrorKind::InvalidInput
            );
        });
    });
}
