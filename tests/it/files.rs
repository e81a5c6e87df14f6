//! Files through the runtime: what tasks, cancellation, the clock and a shutdown make of calls that block.

use crate::support::{limited, on_each_flavour, threaded, until};
use heist::fs::{self, File};
use heist::{Builder, catch_cancel, gather, sleep, spawn};
use std::future::poll_fn;
use std::io::{Read, Write, pipe};
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

/// A file whose bytes come when the test writes them.
fn piped() -> (File, std::io::PipeWriter) {
    let (reader, writer) = pipe().unwrap();
    let file = std::fs::File::from(OwnedFd::from(reader));
    (File::from_std(file), writer)
}

/// Polls once, and gives the future up.
async fn begin_and_drop(future: impl Future) {
    let mut future = pin!(future);
    poll_fn(|cx| {
        assert!(future.as_mut().poll(cx).is_pending());
        Poll::Ready(())
    })
    .await;
}

#[test]
fn tasks_read_and_write_files() {
    limited(|| {
        on_each_flavour(|flavour, builder| {
            let name = format!("heist-it-files-{}-{flavour}", std::process::id());
            let dir = std::env::temp_dir().join(name);
            builder
                .build()
                .unwrap()
                .block_on(async {
                    fs::create_dir(&dir).await.unwrap();
                    let copies = (0..50).map(|n| {
                        let path = dir.join(n.to_string());
                        spawn(async move {
                            fs::write(&path, [n; 100]).await?;
                            fs::read(&path).await
                        })
                    });
                    for (n, read) in (0..50).zip(gather(copies).await.unwrap()) {
                        assert_eq!(read.unwrap(), [n; 100]);
                    }
                    fs::remove_dir_all(&dir).await.unwrap();
                })
                .unwrap();
        });
    });
}

#[test]
fn a_cancelled_read_leaves_its_bytes_to_the_next() {
    limited(|| {
        on_each_flavour(|_, builder| {
            let (mut file, mut writer) = piped();
            let runtime = builder.build().unwrap();
            let task = runtime.handle().spawn(async move {
                let mut bytes = [0; 5];
                let Err(cancelled) = catch_cancel(file.read(&mut bytes)).await else {
                    panic!("read nothing")
                };
                assert_eq!(cancelled.message(), Some("enough"));
                writer.write_all(b"bytes").unwrap();
                file.read_exact(&mut bytes).await.unwrap();
                bytes
            });
            let pool = runtime.handle().clone();
            let bytes = runtime.block_on(async move {
                while pool.metrics().blocking_threads == 0 {
                    sleep(Duration::from_millis(1)).await;
                }
                task.cancel("enough");
                task.await.unwrap()
            });
            assert_eq!(&bytes.unwrap(), b"bytes");
        });
    });
}

#[test]
fn a_paused_clock_waits_for_a_file_and_then_goes_on() {
    limited(|| {
        on_each_flavour(|_, builder| {
            let (mut file, mut writer) = piped();
            let runtime = builder.start_paused(true).build().unwrap();
            let ended = runtime.block_on(async move {
                let began = heist::time::now();
                begin_and_drop(file.read(&mut [0; 5])).await;
                let real = std::thread::spawn(move || {
                    // Long enough for a clock that does not wait.
                    std::thread::sleep(Duration::from_millis(20));
                    writer.write_all(b"bytes").unwrap();
                });
                sleep(Duration::from_secs(3600)).await;
                // Nobody was woken by the end of the read; the clock has gone on all the same.
                assert_eq!(heist::time::now() - began, Duration::from_secs(3600));
                real.join().unwrap();
            });
            ended.unwrap();
        });
    });
}

#[test]
fn after_a_shutdown_files_are_errors() {
    limited(|| {
        let runtime = threaded(2);
        let handle = runtime.handle().clone();
        let (mut file, _writer) = piped();
        drop(runtime);
        let _entered = handle.enter();
        let mut read = pin!(async { file.read(&mut [0; 5]).await });
        let Poll::Ready(read) = read
            .as_mut()
            .poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
        else {
            panic!("waits for a runtime that is gone")
        };
        let error = read.unwrap_err();
        assert!(error.to_string().contains("no thread"), "{error}");
    });
}

#[test]
fn a_shutdown_leaves_a_call_that_has_begun_to_its_end() {
    limited(|| {
        const BYTES: usize = 200_000;
        // More than the pipe takes: the call waits for the reader.
        let (mut reader, writer) = pipe().unwrap();
        let mut file = File::from_std(std::fs::File::from(OwnedFd::from(writer)));
        let builder = Builder::new().worker_threads(1);
        let runtime = builder
            .shutdown_timeout(Duration::from_millis(50))
            .build()
            .unwrap();
        let handle = runtime.handle().clone();
        let task = handle.spawn(async move { file.write(&[1; BYTES]).await });
        // The call has begun when its first byte is there.
        reader.read_exact(&mut [0]).unwrap();
        drop(runtime);
        assert!(task.is_cancelled());
        assert_eq!(handle.metrics().blocking_busy, 1);
        // All of it, and the file is closed.
        assert_eq!(reader.read_to_end(&mut Vec::new()).unwrap(), BYTES - 1);
        until("the thread has ended", || {
            handle.metrics().blocking_threads == 0
        });
    });
}
