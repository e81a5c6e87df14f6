//! A forked child has the runtime's memory and none of its threads: what it asks of the runtime is refused, and nothing hangs.
//! A program of its own, because it forks.
#![cfg(unix)]
#![allow(unsafe_code)]

#[path = "it/limit.rs"]
mod limit;

use heist::{Builder, Runtime};
use limit::limited;
use std::time::{Duration, Instant};

/// Runs `child` in a forked process; its status must be 0, soon.
#[track_caller]
fn in_child(what: &str, child: impl FnOnce() -> bool) {
    // SAFETY: the child only runs `child` and leaves by `_exit`, whatever happens.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork failed");
    if pid == 0 {
        let held = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child));
        // SAFETY: ends the process; nothing of the parent's is run again.
        unsafe { libc::_exit(i32::from(!matches!(held, Ok(true)))) };
    }
    let began = Instant::now();
    let mut status = 0;
    loop {
        // SAFETY: `status` is valid for the call.
        let waited = unsafe { libc::waitpid(pid, &raw mut status, libc::WNOHANG) };
        if waited == pid {
            break;
        }
        if began.elapsed() > Duration::from_secs(20) {
            // SAFETY: the child just forked.
            unsafe { libc::kill(pid, libc::SIGKILL) };
            panic!("{what}: the child hangs");
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(status, 0, "{what}: the child failed");
}

fn in_each_verb(runtime: Runtime, what: &str) {
    let handle = runtime.handle().clone();
    let pending = heist::run_coroutine_threadsafe(std::future::pending::<()>(), &handle);
    in_child(&format!("{what}, spawn"), || {
        handle.spawn(async {}).is_done()
    });
    in_child(&format!("{what}, spawn_blocking"), || {
        handle.spawn_blocking(|| {}).is_done()
    });
    in_child(&format!("{what}, block_on"), || {
        handle
            .block_on(async {})
            .is_err_and(|error| error.is_refused() && error.to_string().contains("forked"))
    });
    in_child(&format!("{what}, run_coroutine_threadsafe"), || {
        let future = heist::run_coroutine_threadsafe(async {}, &handle);
        future.result(None).is_err_and(|error| error.is_refused())
    });
    in_child(&format!("{what}, a result from before"), || {
        pending.result(None).is_err_and(|error| error.is_refused())
    });
    in_child(&format!("{what}, shutdown"), || {
        let report = runtime.shutdown(Duration::MAX);
        report.forked && !report.is_complete() && report.to_string().contains("parent")
    });
    in_child(&format!("{what}, a new runtime"), || {
        let other = Builder::new().worker_threads(1).build().unwrap();
        other
            .run(async { heist::spawn(async { 2 }).await.unwrap() })
            .unwrap()
            == 2
            && other.shutdown(Duration::from_secs(10)).is_complete()
    });
    // The parent notices nothing of all that.
    assert_eq!(
        runtime
            .run(async { heist::spawn(async { 1 }).await.unwrap() })
            .unwrap(),
        1
    );
    let mut kept = Some(runtime);
    in_child(&format!("{what}, drop"), || {
        drop(kept.take());
        true
    });
    let runtime = kept.take().unwrap();
    assert!(!runtime.is_shut_down());
    assert!(runtime.shutdown(Duration::from_secs(10)).is_complete());
}

#[test]
fn a_forked_child_is_refused_and_never_hangs() {
    limited(|| {
        for workers in [1, 4] {
            let runtime = Builder::new().worker_threads(workers).build().unwrap();
            in_each_verb(runtime, &format!("{workers} workers"));
        }
        in_each_verb(
            Builder::new().current_thread().build().unwrap(),
            "current thread",
        );

        // Forked from inside a task.
        let runtime = Builder::new().worker_threads(2).build().unwrap();
        let handle = runtime.handle().clone();
        runtime
            .run(async move {
                in_child("inside a task", || {
                    let refused = heist::spawn(async {}).is_done();
                    refused && handle.block_on(async {}).is_err()
                });
            })
            .unwrap();
    });
}

/// The descriptors of this process, by number, with whether each is closed on exec.
#[cfg(target_os = "linux")]
fn descriptors() -> std::collections::BTreeMap<i32, bool> {
    let open = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    let numbers = open.filter_map(|entry| entry.file_name().to_string_lossy().parse().ok());
    let flags = numbers.filter_map(|number| {
        // SAFETY: reads the flags of a descriptor; one that has been closed meanwhile is an error.
        let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
        (flags >= 0).then_some((number, flags & libc::FD_CLOEXEC != 0))
    });
    flags.collect()
}

#[test]
#[cfg(target_os = "linux")]
fn a_program_that_is_started_inherits_none_of_the_descriptors() {
    limited(|| {
        let before = descriptors();
        for portable in [false, true] {
            let builder = Builder::new().worker_threads(2).portable_driver(portable);
            let runtime = builder.build().unwrap();
            let opened = runtime.run(async {
                let listener = heist::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                let addr = listener.local_addr().unwrap();
                let client = heist::net::TcpStream::connect(addr).await.unwrap();
                let server = listener.accept().await.unwrap();
                let opened = descriptors();
                drop((client, server));
                opened
            });
            let mut opened = opened.unwrap();
            opened.retain(|number, _| !before.contains_key(number));
            // The poller, what wakes it, and three sockets.
            assert!(opened.len() >= 5, "{opened:?}");
            assert!(opened.values().all(|closed| *closed), "{opened:?}");
        }
    });
}
