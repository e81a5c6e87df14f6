//! What happens to a whole process: signals, a broken pipe, a stop, its end. Each test starts this program again, as a child that only runs that
//! test's other half.
#![cfg(target_os = "linux")]
#![allow(unsafe_code)]

#[path = "it/limit.rs"]
mod limit;

use heist::net::{TcpListener, TcpStream};
use heist::time::{MissedTick, interval};
use heist::{Builder, Runtime};
use limit::limited;
use std::io::{BufRead, BufReader, ErrorKind, IoSlice};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

const MS: Duration = Duration::from_millis(1);
/// Tells the child which half of the test it is.
const CHILD: &str = "HEIST_CHILD";

/// What the child was told, in the child.
fn told() -> Option<String> {
    std::env::var(CHILD).ok()
}

fn start(test: &str, tell: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD, tell)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

#[track_caller]
fn ends(mut child: Child, what: &str) -> ExitStatus {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if began.elapsed() > Duration::from_secs(60) {
            child.kill().unwrap();
            panic!("{what}: the child hangs");
        }
        std::thread::sleep(MS);
    }
}

fn runtime(portable: bool) -> Runtime {
    let builder = Builder::new().worker_threads(2).portable_driver(portable);
    builder.build().unwrap()
}

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await;
    (client.unwrap(), listener.accept().await.unwrap().0)
}

static SIGNALS: AtomicUsize = AtomicUsize::new(0);

extern "C" fn count(_: libc::c_int) {
    SIGNALS.fetch_add(1, SeqCst);
}

/// Sends a signal to every thread but this one, again and again.
fn pester(stop: &AtomicBool) {
    // SAFETY: asks for a number.
    let me = unsafe { libc::syscall(libc::SYS_gettid) };
    while !stop.load(SeqCst) {
        for thread in std::fs::read_dir("/proc/self/task").unwrap().flatten() {
            let id: libc::c_long = thread.file_name().to_string_lossy().parse().unwrap();
            if id != me {
                // SAFETY: sends a signal that is handled to a thread of this process; one that has ended is an error.
                unsafe {
                    libc::syscall(libc::SYS_tgkill, libc::getpid(), id, libc::SIGUSR1);
                }
            }
        }
        std::thread::sleep(MS / 5);
    }
}

fn wait_in_every_way(runtime: &Runtime) {
    let later = |wait| async move {
        let began = Instant::now();
        heist::sleep(wait).await;
        let took = began.elapsed();
        assert!(took >= wait, "{took:?} for {wait:?}");
        5
    };
    // A thread of another kind: on a result, with and without a limit.
    let submit = |wait| heist::run_coroutine_threadsafe(later(wait), runtime);
    assert_eq!(submit(100 * MS).result(None).unwrap(), 5);
    assert_eq!(submit(100 * MS).result(Duration::from_secs(20)).unwrap(), 5);
    let (never, began) = (submit(Duration::MAX), Instant::now());
    assert!(never.result(100 * MS).unwrap_err().is_timeout());
    assert!(began.elapsed() >= 100 * MS);
    never.cancel_and_wait(None).unwrap();
    // A root; a worker in its poll; a closure.
    assert_eq!(runtime.block_on(later(100 * MS)).unwrap(), 5);
    let handle = runtime.handle().clone();
    let nested = runtime.run(async move { handle.block_on(later(50 * MS)).unwrap() });
    assert_eq!(nested.unwrap(), 5);
    let handle = runtime.handle().clone();
    let closure = runtime.spawn_blocking(move || handle.block_on(later(50 * MS)).unwrap());
    assert_eq!(runtime.block_on(closure).unwrap().unwrap(), 5);
    // Sockets and timers.
    let echoed = runtime.run(async move {
        let (client, server) = pair().await;
        let echo = heist::spawn(async move {
            let mut byte = [0];
            while server.read(&mut byte).await.unwrap() == 1 {
                server.write_all(&byte).await.unwrap();
            }
        });
        for n in 0..100 {
            heist::sleep(MS / 2).await;
            client.write_all(&[n]).await.unwrap();
            let mut byte = [0];
            client.read_exact(&mut byte).await.unwrap();
            assert_eq!(byte, [n]);
        }
        drop(client);
        echo.await.unwrap();
    });
    echoed.unwrap();
}

#[test]
fn signals_end_no_wait_and_fail_no_operation() {
    limited(|| {
        if told().is_none() {
            let child = start("signals_end_no_wait_and_fail_no_operation", "wait");
            assert!(ends(child, "signals").success());
            return;
        }
        // SAFETY: the handler does one atomic addition. Without SA_RESTART: calls are interrupted.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = count as *const () as usize;
            assert_eq!(
                libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut()),
                0
            );
        }
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let pestering = std::thread::spawn(move || pester(&stopped));
        for portable in [false, true] {
            let runtime = runtime(portable);
            wait_in_every_way(&runtime);
            let report = runtime.shutdown(Duration::from_secs(20));
            assert!(report.is_complete(), "{report}");
        }
        stop.store(true, SeqCst);
        pestering.join().unwrap();
        assert!(SIGNALS.load(SeqCst) > 1000);
    });
}

#[test]
fn a_broken_pipe_is_an_error_where_its_signal_would_kill() {
    limited(|| {
        if told().is_none() {
            let child = start(
                "a_broken_pipe_is_an_error_where_its_signal_would_kill",
                "write",
            );
            let status = ends(child, "a broken pipe");
            assert!(status.success(), "{status}");
            return;
        }
        // SAFETY: the default action, as in a program whose main function is not Rust's.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
        for portable in [false, true] {
            let runtime = runtime(portable);
            for way in ["write", "vectored", "try_write", "half"] {
                let kind = runtime.run(async move {
                    let (mut client, server) = pair().await;
                    drop(server);
                    loop {
                        let bytes = [IoSlice::new(b"one"), IoSlice::new(b"two")];
                        let written = match way {
                            "write" => client.write(b"bytes").await,
                            "vectored" => client.write_vectored(&bytes).await,
                            "try_write" => client.try_write(b"bytes"),
                            _ => client.split().1.write(b"bytes").await,
                        };
                        if let Err(error) = written {
                            if error.kind() == ErrorKind::BrokenPipe {
                                return error.kind();
                            }
                            // The first of them may hear of the reset.
                            assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{way}");
                        }
                        heist::sleep(MS).await;
                    }
                });
                assert_eq!(kind.unwrap(), ErrorKind::BrokenPipe, "{way}");
            }
        }
    });
}

const PERIOD: Duration = Duration::from_millis(20);

/// Ticks until the process has been stopped for a second, and some way on.
async fn tick_on(missed: MissedTick, begun: &AtomicUsize) {
    let mut pulse = interval(PERIOD).on_missed(missed);
    pulse.tick().await;
    let mut last = Instant::now();
    begun.fetch_add(1, SeqCst);
    loop {
        pulse.tick().await;
        if last.elapsed() > Duration::from_secs(1) {
            break;
        }
        last = Instant::now();
    }
    let (mut ticks, began) = (0, Instant::now());
    while ticks < 30 {
        pulse.tick().await;
        ticks += 1;
        let most = began.elapsed().as_micros() / PERIOD.as_micros() + 2;
        assert!(ticks <= most, "{ticks} ticks instead of {most}: a burst");
    }
}

/// Until the process has been stopped for a second, and some way on: ticks come late, but not in a burst, and nothing comes early.
fn stopped_and_continued(portable: bool) {
    let runtime = runtime(portable);
    let begun = Arc::new(AtomicUsize::new(0));
    let (ticks, sleeps) = (begun.clone(), begun.clone());
    let ticking = |missed| {
        let begun = ticks.clone();
        async move { tick_on(missed, &begun).await }
    };
    let sleeping = async move {
        let mut began = Instant::now();
        sleeps.fetch_add(1, SeqCst);
        let stopped = loop {
            heist::sleep(PERIOD).await;
            let took = began.elapsed();
            assert!(took >= PERIOD, "early");
            if took > Duration::from_secs(1) {
                break took;
            }
            began = Instant::now();
        };
        assert!(
            heist::timeout(PERIOD, std::future::pending::<()>())
                .await
                .is_err()
        );
        stopped
    };
    let tasks = [MissedTick::Skip, MissedTick::Delay].map(|missed| runtime.spawn(ticking(missed)));
    let sleeping = heist::run_coroutine_threadsafe(sleeping, &runtime);
    // Whoever is stopped from here on has a stop to see.
    while begun.load(SeqCst) < 3 {
        std::thread::sleep(MS);
    }
    #[expect(clippy::print_stdout, reason = "for the parent")]
    let () = println!("ready");
    sleeping.result(None).unwrap();
    for task in tasks {
        runtime.block_on(task).unwrap().unwrap();
    }
    // Others that a stopped clock might have led to believe that a worker is blocked.
    assert!(runtime.metrics().per_worker.len() <= 2 + 8);
    let report = runtime.shutdown(Duration::from_secs(20));
    assert!(report.is_complete(), "{report}");
}

#[test]
fn a_process_that_was_stopped_goes_on_late_and_without_a_burst() {
    limited(|| {
        if let Some(driver) = told() {
            return stopped_and_continued(driver == "portable");
        }
        for driver in ["own", "portable"] {
            let test = "a_process_that_was_stopped_goes_on_late_and_without_a_burst";
            let mut child = start(test, driver);
            let output = BufReader::new(child.stdout.take().unwrap());
            let mut lines = output.lines().map_while(Result::ok);
            assert!(
                lines.any(|line| line.ends_with("ready")),
                "{driver}: it never began"
            );
            let pid = child.id() as libc::pid_t;
            let send = |signal| {
                // SAFETY: to the child, which nobody has waited for.
                assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
            };
            std::thread::sleep(100 * MS);
            send(libc::SIGSTOP);
            std::thread::sleep(1500 * MS);
            send(libc::SIGCONT);
            assert!(ends(child, driver).success(), "{driver}");
        }
    });
}

static RUNTIME: OnceLock<Runtime> = OnceLock::new();

extern "C" fn use_it_at_exit() {
    let runtime = RUNTIME.get().unwrap();
    // Through the handle: the variables of this thread may be gone by now.
    let value = runtime.block_on(runtime.spawn(async { 3 }));
    assert_eq!(value.unwrap().unwrap(), 3);
}

/// Ends the process from `place`, with a runtime in a static that is busy in every way.
fn end_the_process(place: &str) {
    const STATUS: i32 = 7;
    let runtime = RUNTIME.get_or_init(|| runtime(false));
    runtime.spawn(async { heist::sleep(Duration::from_secs(3600)).await });
    runtime.spawn(async {
        loop {
            heist::task::yield_now().await;
        }
    });
    drop(runtime.spawn_blocking(|| std::thread::sleep(Duration::from_secs(3600))));
    std::thread::spawn(|| {
        let never = heist::run_coroutine_threadsafe(std::future::pending::<()>(), runtime);
        never.result(None)
    });
    // SAFETY: the function may be called at any time.
    assert_eq!(unsafe { libc::atexit(use_it_at_exit) }, 0);
    match place {
        "a task" => drop(runtime.spawn(async { std::process::exit(STATUS) })),
        "a closure" => drop(runtime.spawn_blocking(|| std::process::exit(STATUS))),
        "a root" => runtime
            .block_on(async { std::process::exit(STATUS) })
            .unwrap(),
        _ => std::process::exit(STATUS),
    }
    loop {
        std::thread::park();
    }
}

#[test]
fn a_process_may_end_while_its_runtime_is_busy() {
    limited(|| {
        if let Some(place) = told() {
            return end_the_process(&place);
        }
        for place in ["a thread", "a root", "a closure"] {
            let child = start("a_process_may_end_while_its_runtime_is_busy", place);
            assert_eq!(ends(child, place).code(), Some(7), "{place}");
        }
    });
}
