//! What of tokio's is found where on a heist runtime, and that none of it is left when that ends.

use heist::{Builder, Runtime};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Handle;

const SECOND: Duration = Duration::from_secs(1);

fn each_flavour(check: impl Fn(&Runtime)) {
    for builder in [
        Builder::new().worker_threads(1),
        Builder::new().worker_threads(4),
        Builder::new().current_thread(),
    ] {
        let runtime = builder.build().unwrap();
        check(&runtime);
        let report = runtime.shutdown(20 * SECOND);
        assert!(report.is_complete(), "{report}");
    }
}

fn threads() -> Vec<String> {
    let all = std::fs::read_dir("/proc/self/task").unwrap();
    all.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok())
        .collect()
}

#[test]
fn it_is_found_in_tasks_closures_roots_and_destructors() {
    struct Looks;
    impl Drop for Looks {
        fn drop(&mut self) {
            Handle::current();
        }
    }
    each_flavour(|runtime| {
        runtime
            .block_on(async {
                Handle::current();
                let looks = Looks;
                let task = heist::spawn(async move {
                    Handle::current();
                    heist::task::yield_now().await;
                    drop(looks);
                });
                task.await.unwrap();
                heist::spawn_blocking(|| drop(Handle::current()))
                    .await
                    .unwrap();
                // Dropped by the shutdown.
                let looks = Looks;
                heist::spawn(async move {
                    let _looks = looks;
                    std::future::pending::<()>().await
                });
            })
            .unwrap();
        assert!(Handle::try_current().is_err(), "not on this thread");
    });
}

#[test]
fn its_sockets_timers_and_tasks_work() {
    each_flavour(|runtime| {
        runtime
            .block_on(async {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                let address = listener.local_addr().unwrap();
                let server = heist::spawn(async move {
                    let (mut stream, _) = listener.accept().await.unwrap();
                    let (mut reader, mut writer) = stream.split();
                    tokio::io::copy(&mut reader, &mut writer).await.unwrap()
                });
                let client = tokio::spawn(async move {
                    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
                    stream.write_all(b"hello").await.unwrap();
                    stream.shutdown().await.unwrap();
                    let mut echo = String::new();
                    stream.read_to_string(&mut echo).await.unwrap();
                    echo
                });
                assert_eq!(client.await.unwrap(), "hello");
                assert_eq!(server.await.unwrap(), 5);

                let began = Instant::now();
                tokio::time::sleep(Duration::from_millis(5)).await;
                assert!(began.elapsed() >= Duration::from_millis(5));
                let never =
                    tokio::time::timeout(Duration::from_millis(5), std::future::pending::<()>());
                assert!(never.await.is_err());
            })
            .unwrap();
    });
}

#[test]
fn a_task_that_waits_for_something_of_tokios_is_cancelled_and_may_clean_up_with_it() {
    each_flavour(|runtime| {
        runtime
            .block_on(async {
                let (begun, begins) = tokio::sync::oneshot::channel();
                let task = heist::spawn(async {
                    let work = async {
                        begun.send(()).unwrap();
                        tokio::time::sleep(3600 * SECOND).await;
                    };
                    let cancelled = heist::catch_cancel(work).await.unwrap_err();
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    cancelled.message().map(ToOwned::to_owned)
                });
                begins.await.unwrap();
                task.cancel("enough");
                assert_eq!(task.await.unwrap().as_deref(), Some("enough"));
            })
            .unwrap();
    });
}

#[test]
fn a_runtime_without_it_says_so_and_one_may_be_given() {
    let without = Builder::new().tokio_compat(false).build().unwrap();
    without
        .run(async { assert!(Handle::try_current().is_err()) })
        .unwrap();

    let given = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("the-callers")
        .enable_all()
        .build()
        .unwrap();
    let runtime = Builder::new()
        .tokio_handle(given.handle().clone())
        .build()
        .unwrap();
    let thread = runtime
        .run(async {
            let named = async { std::thread::current().name().map(ToOwned::to_owned) };
            tokio::spawn(named).await.unwrap()
        })
        .unwrap();
    assert_eq!(thread.as_deref(), Some("the-callers"));
    drop(runtime);
    // It is not ours to end.
    given.block_on(async { tokio::spawn(async {}).await.unwrap() });
}

#[test]
fn it_ends_with_the_runtime_wherever_that_ends() {
    let builder = || Builder::new().worker_threads(2).thread_name("ends-here");
    let is_gone = || {
        let began = Instant::now();
        while threads().iter().any(|name| name.starts_with("ends-here")) {
            assert!(began.elapsed() < 10 * SECOND, "{:?}", threads());
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    // On a thread outside: when `shutdown` has returned there is none left.
    let runtime = builder().build().unwrap();
    runtime
        .run(async { tokio::spawn(async {}).await.unwrap() })
        .unwrap();
    assert!(
        threads()
            .iter()
            .any(|name| name.starts_with("ends-here-tokio"))
    );
    assert!(runtime.shutdown(20 * SECOND).is_complete());
    is_gone();
    // Inside a runtime of tokio's, where tokio itself would panic.
    let other = tokio::runtime::Runtime::new().unwrap();
    other.block_on(async { drop(builder().build().unwrap()) });
    is_gone();
    // By its own task, its own closure, and a task of its own tokio's.
    let runtime = builder().build().unwrap();
    drop(runtime.handle().clone().spawn(async move { drop(runtime) }));
    is_gone();
    let runtime = builder().build().unwrap();
    drop(
        runtime
            .handle()
            .clone()
            .spawn_blocking(move || drop(runtime)),
    );
    is_gone();
    let runtime = builder().build().unwrap();
    let handle = runtime.handle().clone();
    drop(handle.spawn(async move { drop(tokio::spawn(async move { drop(runtime) })) }));
    drop(handle);
    is_gone();
}

#[test]
fn a_thread_of_tokios_that_is_late_does_not_hold_up_a_shutdown() {
    let runtime = Builder::new().worker_threads(1).build().unwrap();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let (begin, begun) = std::sync::mpsc::channel();
    runtime
        .run(async move {
            drop(tokio::task::spawn_blocking(move || {
                begin.send(()).unwrap();
                released.recv()
            }));
        })
        .unwrap();
    begun.recv().unwrap();
    let began = Instant::now();
    let report = runtime.shutdown(Duration::from_millis(100));
    assert!(report.is_complete(), "{report}");
    assert!(began.elapsed() < 10 * SECOND);
    drop(release);
}
