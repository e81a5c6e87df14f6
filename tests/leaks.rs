//! Runtimes come and go without leaving threads or descriptors. A program of its own, so that nothing else makes any.
#![cfg(target_os = "linux")]

#[path = "it/limit.rs"]
mod limit;

use heist::net::{TcpListener, TcpStream};
use heist::{Builder, Runtime};
use limit::limited;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{self, Sender};
use std::time::{Duration, Instant};

fn entries(path: &str) -> usize {
    std::fs::read_dir(path).unwrap().count()
}

/// Threads and descriptors of this process.
fn held() -> (usize, usize) {
    (entries("/proc/self/task"), entries("/proc/self/fd"))
}

/// A thread that was waited for may still be on its way out of the kernel's list.
#[track_caller]
fn settle(to: (usize, usize), what: &str) {
    let began = Instant::now();
    while held() != to {
        assert!(
            began.elapsed() < Duration::from_secs(10),
            "{what}: {:?} instead of {to:?}",
            held()
        );
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn use_everything(runtime: &Runtime) {
    let blocked = runtime.spawn(async { std::thread::sleep(Duration::from_millis(15)) });
    runtime
        .run(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let client = TcpStream::connect(listener.local_addr().unwrap())
                .await
                .unwrap();
            let (server, _) = listener.accept().await.unwrap();
            client.write_all(b"x").await.unwrap();
            server.read_exact(&mut [0]).await.unwrap();
            heist::spawn(async move { server.read(&mut [0]).await });
            heist::spawn(async move {
                let _client = client;
                heist::sleep(Duration::from_secs(3600)).await;
            });
            heist::spawn_blocking(|| {}).await.unwrap();
            heist::sleep(Duration::from_millis(1)).await;
        })
        .unwrap();
    drop(blocked);
}

/// Says that it has begun, and burns until it is released.
fn until(released: &Arc<AtomicBool>, begin: &Sender<()>) -> impl FnOnce() + Send + 'static {
    let (released, begin) = (Arc::clone(released), begin.clone());
    move || {
        begin.send(()).unwrap();
        while !released.load(Relaxed) {
            std::hint::spin_loop();
        }
    }
}

#[test]
fn runtimes_leave_no_threads_and_no_descriptors() {
    limited(|| {
        let before = held();
        for n in 0..200 {
            let builder = Builder::new()
                .worker_threads(1 + n % 4)
                .portable_driver(n % 2 == 0);
            let builder = if n % 5 == 0 {
                builder.current_thread()
            } else {
                builder
            };
            let runtime = builder.build().unwrap();
            if n % 3 > 0 {
                use_everything(&runtime);
            }
            if n % 2 == 0 {
                let report = runtime.shutdown(Duration::from_secs(20));
                assert!(report.is_complete(), "{report}");
            }
            drop(runtime);
            settle(before, &format!("round {n}"));
        }

        // One that cannot start leaves nothing either.
        for _ in 0..20 {
            assert!(
                Builder::new()
                    .worker_threads(4)
                    .thread_stack_size(1 << 46)
                    .build()
                    .is_err()
            );
        }
        settle(before, "no thread could be started");

        // What was late at shutdown goes when it ends.
        for _ in 0..10 {
            let runtime = Builder::new().worker_threads(2).build().unwrap();
            let (begin, begun) = mpsc::channel();
            let released = Arc::new(AtomicBool::new(false));
            let late = runtime.spawn_blocking(until(&released, &begin));
            let burn = until(&released, &begin);
            let burning = runtime.spawn(async { burn() });
            for _ in 0..20 {
                runtime.spawn(std::future::pending::<()>());
            }
            for _ in 0..2 {
                begun.recv().unwrap();
            }
            assert!(!runtime.shutdown(Duration::ZERO).is_complete());
            released.store(true, Relaxed);
            drop((late, burning, runtime));
        }
        settle(before, "after late ones");

        // Dropped by its own task, closure or root.
        for n in 0..30 {
            let runtime = Builder::new().worker_threads(1 + n % 3).build().unwrap();
            let handle = runtime.handle().clone();
            match n % 3 {
                0 => drop(handle.spawn(async move { drop(runtime) })),
                1 => drop(handle.spawn_blocking(move || drop(runtime))),
                _ => {
                    let _ = handle.block_on(async move { drop(runtime) });
                }
            }
        }
        settle(before, "dropped from inside");

        // Spares that stood in for blocked workers.
        let runtime = Builder::new().worker_threads(2).build().unwrap();
        for _ in 0..20 {
            runtime.spawn(async { std::thread::sleep(Duration::from_millis(30)) });
        }
        runtime
            .block_on(heist::sleep(Duration::from_millis(50)))
            .unwrap();
        drop(runtime);
        settle(before, "with spares");
    });
}
