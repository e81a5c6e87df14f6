//! A process that is out of descriptors or of memory for threads: building a runtime is an error, and leaves nothing behind. A program of
//! its own, because it lowers the limits of the whole process.
#![cfg(target_os = "linux")]
#![allow(unsafe_code)]

#[path = "it/limit.rs"]
mod limit;

use heist::Builder;
use heist::net::{TcpListener, TcpStream};
use limit::limited;
use std::fs::File;
use std::time::{Duration, Instant};

fn entries(path: &str) -> usize {
    std::fs::read_dir(path).unwrap().count()
}

/// Sets a limit and gives what it was.
fn limit(what: libc::__rlimit_resource_t, to: libc::rlim_t) -> libc::rlim_t {
    let mut old = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `old` is valid for the call.
    assert_eq!(unsafe { libc::getrlimit(what, &raw mut old) }, 0);
    let new = libc::rlimit {
        rlim_cur: to.min(old.rlim_max),
        rlim_max: old.rlim_max,
    };
    // SAFETY: `new` is valid for the call.
    assert_eq!(unsafe { libc::setrlimit(what, &raw const new) }, 0);
    old.rlim_cur
}

fn threads_settle_at(count: usize, what: &str) {
    let began = Instant::now();
    while entries("/proc/self/task") != count {
        assert!(
            began.elapsed() < Duration::from_secs(10),
            "{what}: {} threads instead of {count}",
            entries("/proc/self/task")
        );
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn without_descriptors() {
    let before = (entries("/proc/self/task"), entries("/proc/self/fd"));
    let old = limit(libc::RLIMIT_NOFILE, 64);
    for left in 0..8 {
        for portable in [false, true] {
            let mut files = Vec::new();
            while let Ok(file) = File::open("/dev/null") {
                files.push(file);
            }
            files.truncate(files.len() - left);
            let built = Builder::new()
                .worker_threads(2)
                .portable_driver(portable)
                .build();
            if left == 0 {
                assert!(built.is_err(), "with no descriptor left");
            }
            if let Ok(runtime) = built {
                assert_eq!(
                    runtime
                        .run(async { heist::spawn(async { 1 }).await.unwrap() })
                        .unwrap(),
                    1
                );
                // Sockets may be errors, and nothing else.
                runtime
                    .run(async {
                        let Ok(listener) = TcpListener::bind("127.0.0.1:0").await else {
                            return;
                        };
                        let addr = listener.local_addr().unwrap();
                        let client = heist::spawn(TcpStream::connect(addr));
                        let _ = heist::timeout(Duration::from_millis(20), listener.accept()).await;
                        client.cancel(None);
                        let _ = client.await;
                    })
                    .unwrap();
                assert!(runtime.shutdown(Duration::from_secs(10)).is_complete());
            }
            drop(files);
            threads_settle_at(before.0, "descriptors");
            assert_eq!(
                entries("/proc/self/fd"),
                before.1,
                "{left} left, portable: {portable}"
            );
        }
    }
    limit(libc::RLIMIT_NOFILE, old);
}

/// The address space that this process has, in bytes.
fn address_space() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').next().unwrap().parse::<u64>().unwrap() * 4096
}

fn without_room_for_threads() {
    const STACK: usize = 256 << 20;
    let before = (entries("/proc/self/task"), entries("/proc/self/fd"));
    let (mut built, mut failed) = (0, 0);
    // Room for none, one, two ... stacks: three workers and the monitor need four.
    for room in 0..8_u64 {
        let space = address_space() + (64 << 20) + room * STACK as u64;
        let old = limit(libc::RLIMIT_AS, space);
        let runtime = Builder::new()
            .worker_threads(3)
            .thread_stack_size(STACK)
            .build();
        match &runtime {
            Ok(runtime) => {
                built += 1;
                assert_eq!(
                    runtime
                        .run(async { heist::spawn(async { 1 }).await.unwrap() })
                        .unwrap(),
                    1
                );
                // A blocking closure runs or is refused; a blocked worker is replaced or not; nobody hangs.
                let closure = runtime.block_on(runtime.spawn_blocking(|| 2)).unwrap();
                assert!(closure.is_ok_and(|value| value == 2) || room < 6);
                let handle = runtime.handle().clone();
                let nested = runtime.run(async move { handle.block_on(async { 3 }).is_ok() });
                assert!(nested.unwrap() || room < 8);
            }
            Err(_) => failed += 1,
        }
        drop(runtime);
        limit(libc::RLIMIT_AS, old);
        threads_settle_at(before.0, &format!("room for {room} stacks"));
        assert_eq!(entries("/proc/self/fd"), before.1, "room for {room} stacks");
    }
    assert!(built > 0 && failed > 3, "{built} built, {failed} failed");
}

#[test]
fn a_runtime_that_cannot_be_built_is_an_error_and_leaves_nothing() {
    limited(|| {
        without_descriptors();
        without_room_for_threads();
    });
}
