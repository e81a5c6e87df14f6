//! System calls that fail, as `strace` makes them: what a program cannot bring about in itself. Each test starts this program again under strace,
//! which lets some calls fail with an error of our choice; where there is no strace, or it may not trace, the test says so and passes.
//!
//! Each child runs an ordinary load to its end: whatever it was told, no operation may fail or hang that has not run out of something.
#![cfg(target_os = "linux")]

#[path = "it/limit.rs"]
mod limit;

use heist::net::{TcpListener, TcpStream};
use heist::{Builder, Runtime};
use limit::limited;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Tells the child what to do.
const CHILD: &str = "HEIST_CHILD";

fn strace() -> Command {
    Command::new("strace")
}

fn can_trace() -> bool {
    let tried = strace()
        .args(["-o", "/dev/null", "true"])
        .stderr(Stdio::null())
        .status();
    match tried {
        Ok(status) if status.success() => return true,
        Ok(_) => eprintln!("skipped: strace may not trace here"),
        Err(_) => eprintln!("skipped: no strace"),
    }
    false
}

/// What strace is told: which calls fail, and how. `path` narrows them to one kind of descriptor.
struct Fault {
    path: Option<&'static str>,
    /// Any of these; not every architecture has each.
    calls: &'static str,
    error: &'static str,
    /// Which calls of each thread.
    when: &'static str,
}

const fn fault(calls: &'static str, error: &'static str, when: &'static str) -> Fault {
    Fault {
        path: None,
        calls,
        error,
        when,
    }
}

/// Runs the test in a child with these faults, and sees that there were any.
#[track_caller]
fn survives(test: &str, load: &str, faults: &[Fault]) {
    for fault in faults {
        let Fault {
            path,
            calls,
            error,
            when,
        } = fault;
        let what = format!("{load}: {calls} gives {error} at {when}");
        let log =
            std::env::temp_dir().join(format!("heist-injected-{}-{test}", std::process::id()));
        let mut strace = strace();
        strace.args(["-f", "-qq", "-o"]).arg(&log);
        // The question mark: a call that this architecture does not have is none.
        let calls = calls.split(',').map(|call| format!("?{call}"));
        let calls = calls.collect::<Vec<_>>().join(",");
        strace.arg("-e").arg(format!("trace={calls}"));
        strace
            .arg("-e")
            .arg(format!("inject={calls}:error={error}:when={when}"));
        if let Some(path) = path {
            strace.args(["-P", path]);
        }
        let mut child = strace
            .arg(std::env::current_exe().unwrap())
            .args([test, "--exact", "--nocapture", "--test-threads=1"])
            .env(CHILD, load)
            // The load says which.
            .env_remove("HEIST_PORTABLE_DRIVER")
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let began = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if began.elapsed() > Duration::from_secs(60) {
                child.kill().unwrap();
                panic!("{what}: the child hangs");
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let told = std::fs::read_to_string(&log).unwrap();
        std::fs::remove_file(&log).unwrap();
        let met = told.matches("(INJECTED)").count();
        eprintln!("{what}: {met} times, in {:?}", began.elapsed());
        assert!(status.success(), "{what}: {status}");
        assert!(met > 0, "{what}: the fault was never met");
    }
}

/// In the child, which has faults: `load`. In the test itself: `test`, which starts such children, unless there is nothing that makes faults.
fn under_faults(load: fn(&str), test: impl FnOnce() + Send + 'static) {
    limited(move || match std::env::var(CHILD) {
        Ok(what) => load(&what),
        Err(_) if can_trace() => test(),
        Err(_) => {}
    });
}

fn built(portable: bool) -> std::io::Result<Runtime> {
    Builder::new()
        .worker_threads(2)
        .portable_driver(portable)
        .build()
}

/// Connections one after the other and at once, timers, and submissions from outside: all end, and end well.
fn serve(runtime: &Runtime) {
    let ended = runtime.run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let server = heist::spawn(async move {
            for _ in 0..20 {
                let (stream, _) = listener.accept().await.unwrap();
                heist::spawn(async move {
                    let mut bytes = [0; 64];
                    while let n @ 1.. = stream.read(&mut bytes).await.unwrap() {
                        stream.write_all(&bytes[..n]).await.unwrap();
                    }
                });
            }
        });
        let clients: Vec<_> = (0..20_u8)
            .map(|n| {
                heist::spawn(async move {
                    heist::sleep(Duration::from_millis(n.into())).await;
                    let stream = TcpStream::connect(addr).await.unwrap();
                    for round in 0..5 {
                        stream.write_all(&[n, round]).await.unwrap();
                        let mut back = [0; 2];
                        stream.read_exact(&mut back).await.unwrap();
                        assert_eq!(back, [n, round]);
                        heist::sleep(Duration::from_millis(1)).await;
                    }
                })
            })
            .collect();
        for client in clients {
            client.await.unwrap();
        }
        server.await.unwrap();
    });
    ended.unwrap();
    for n in 0..20 {
        let wait = Duration::from_millis(n % 4);
        let outside = heist::run_coroutine_threadsafe(
            async move {
                heist::sleep(wait).await;
                n
            },
            runtime,
        );
        assert_eq!(outside.result(Duration::from_secs(20)).unwrap(), n);
    }
    let report = runtime.shutdown(Duration::from_secs(20));
    assert!(report.is_complete(), "{report}");
}

#[test]
fn an_accept_that_fails_is_tried_again() {
    const ME: &str = "an_accept_that_fails_is_tried_again";
    under_faults(
        |load| serve(&built(load == "portable").unwrap()),
        || {
            let faults = [
                fault("accept4", "EMFILE", "2..4"),
                fault("accept4", "ENFILE", "1"),
                fault("accept4", "ENOBUFS", "3"),
                fault("accept4", "ECONNABORTED", "1+3"),
                fault("accept4", "EINTR", "1+2"),
                fault("accept4", "EPROTO", "2"),
            ];
            for driver in ["own", "portable"] {
                survives(ME, driver, &faults);
            }
        },
    );
}

#[test]
fn a_wait_of_the_driver_that_fails_is_tried_again() {
    const ME: &str = "a_wait_of_the_driver_that_fails_is_tried_again";
    const WAITS: &str = "epoll_wait,epoll_pwait,epoll_pwait2";
    under_faults(
        |load| serve(&built(load == "portable").unwrap()),
        || {
            for driver in ["own", "portable"] {
                let faults = [
                    fault(WAITS, "EINTR", "1+2"),
                    // Not in our power to mend; but it may pass.
                    fault(WAITS, "EBADF", "3..5"),
                    fault(WAITS, "ENOMEM", "4"),
                ];
                survives(ME, driver, &faults);
            }
            // A kernel before 5.11, and a filter that does not know the call.
            let old = [
                fault("epoll_pwait2", "ENOSYS", "1+"),
                fault("epoll_pwait2", "EPERM", "1+"),
            ];
            survives(ME, "own", &old);
        },
    );
}

#[test]
fn a_notification_that_fails_is_tried_again() {
    const ME: &str = "a_notification_that_fails_is_tried_again";
    under_faults(
        |load| serve(&built(load == "portable").unwrap()),
        || {
            let faults = ["EAGAIN", "EINTR"].map(|error| Fault {
                path: Some("anon_inode:[eventfd]"),
                ..fault("write", error, "1+3")
            });
            survives(ME, "own", &faults);
        },
    );
}

#[test]
fn a_read_or_write_that_is_interrupted_is_tried_again() {
    const ME: &str = "a_read_or_write_that_is_interrupted_is_tried_again";
    under_faults(
        |load| serve(&built(load == "portable").unwrap()),
        || {
            let faults = [
                fault("recvfrom", "EINTR", "1+3"),
                fault("sendto", "EINTR", "1+3"),
            ];
            survives(ME, "own", &faults);
        },
    );
}

/// Descriptors and threads of this process.
fn held() -> (usize, usize) {
    let entries = |path| std::fs::read_dir(path).unwrap().count();
    (entries("/proc/self/fd"), entries("/proc/self/task"))
}

/// Builds a few runtimes, then serves with one; those that could not be built are errors, and leave nothing.
fn build_and_serve(load: &str) {
    let portable = load.contains("portable");
    let before = held();
    let mut failed = 0;
    for _ in 0..6 {
        failed += usize::from(built(portable).is_err());
        settle(before);
    }
    assert!(failed > 0 || load.contains("may do without"), "none failed");
    let runtime = built(portable).unwrap();
    if load.contains("sockets") {
        serve(&runtime);
    } else {
        let slept = runtime.run(heist::sleep(Duration::from_millis(1)));
        slept.unwrap();
    }
    drop(runtime);
    settle(before);
}

/// A thread that was waited for may still be on its way out of the kernel's list.
#[track_caller]
fn settle(to: (usize, usize)) {
    let began = Instant::now();
    while held() != to {
        assert!(
            began.elapsed() < Duration::from_secs(10),
            "{:?} instead of {to:?}",
            held()
        );
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn what_a_runtime_needs_and_does_not_get_is_an_error_of_build() {
    const ME: &str = "what_a_runtime_needs_and_does_not_get_is_an_error_of_build";
    under_faults(build_and_serve, || {
        // Every thread counts its own calls: the one that builds makes its first here.
        for driver in ["own", "portable"] {
            survives(ME, driver, &[fault("epoll_ctl", "ENOSPC", "1")]);
        }
        let load = "own, sockets";
        survives(ME, load, &[fault("epoll_create1", "EMFILE", "1")]);
        // The second is ours; for the first `polling` takes a pipe instead.
        survives(ME, load, &[fault("eventfd2", "ENFILE", "2..4+2")]);
        let load = "portable, sockets";
        survives(ME, load, &[fault("epoll_create1", "EMFILE", "1")]);
        let load = "portable, sockets, may do without";
        survives(ME, load, &[fault("eventfd2", "ENFILE", "1..3")]);
        // The first worker, the second, the monitor; and those of the next attempts. They are all started by the thread of the test.
        let faults =
            ["1", "2", "3", "1..9+4", "2..7"].map(|when| fault("clone3,clone", "EAGAIN", when));
        survives(ME, "own, sockets", &faults);
    });
}

/// Those alone: the runtime may open other files as it likes.
fn sockets() -> usize {
    let open = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    let targets = open.filter_map(|entry| std::fs::read_link(entry.path()).ok());
    targets
        .filter(|target| target.to_string_lossy().starts_with("socket:"))
        .count()
}

/// A registration that fails is an error of that operation, and leaves nothing; the next one works.
fn register(runtime: &Runtime) {
    let failed = runtime.run(async {
        let mut failed = 0;
        for _ in 0..20 {
            let before = sockets();
            let tried = async {
                let listener = TcpListener::bind("127.0.0.1:0").await?;
                let addr = listener.local_addr()?;
                let stream = TcpStream::connect(addr).await?;
                let (peer, _) = listener.accept().await?;
                stream.write_all(b"x").await?;
                peer.read_exact(&mut [0]).await
            };
            let tried: std::io::Result<()> = tried.await;
            if let Err(error) = tried {
                assert_eq!(error.kind(), std::io::ErrorKind::StorageFull, "{error}");
                failed += 1;
            }
            assert_eq!(sockets(), before, "a socket stays");
        }
        failed
    });
    let failed = failed.unwrap();
    assert!((1..20).contains(&failed), "{failed} failed");
    let report = runtime.shutdown(Duration::from_secs(20));
    assert!(report.is_complete(), "{report}");
}

#[test]
fn a_registration_that_fails_is_an_error_and_leaves_nothing() {
    const ME: &str = "a_registration_that_fails_is_an_error_and_leaves_nothing";
    under_faults(
        |load| register(&built(load == "portable").unwrap()),
        || {
            // The first are the driver's own; then listeners, clients and accepted connections by turns, each time another.
            for driver in ["own", "portable"] {
                survives(ME, driver, &[fault("epoll_ctl", "ENOSPC", "6+7")]);
            }
        },
    );
}
