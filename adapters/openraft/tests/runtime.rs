//! openraft-rt's own conformance tests, and what is said of heist beyond them.

use heist::sync::Event;
use heist_openraft::{HeistInstant, HeistRuntime};
use openraft_rt::testing::Suite;
use openraft_rt::{AsyncRuntime, Instant};
use std::future::pending;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// The suite takes half a second.
const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn the_suite_of_openraft_passes() {
    within(LIMIT, Suite::<HeistRuntime>::test_all);
}

#[test]
fn it_passes_on_many_workers() {
    within(LIMIT, || {
        Suite::<HeistRuntime>::test_all_on(&mut HeistRuntime::new(4));
    });
}

#[heist::test(timeout_ms = 20000)]
async fn a_handle_that_is_dropped_lets_its_task_run_on() {
    let begin = Arc::new(Event::new());
    let done = Arc::new(Event::new());
    drop(HeistRuntime::spawn({
        let (begin, done) = (begin.clone(), done.clone());
        async move {
            begin.wait().await;
            done.set();
        }
    }));
    begin.set();
    done.wait().await;
}

#[heist::test(timeout_ms = 20000)]
async fn whoever_awaits_a_handle_is_cancelled_alone() {
    let begin = Arc::new(Event::new());
    let mut core = HeistRuntime::spawn({
        let begin = begin.clone();
        async move {
            begin.wait().await;
            42
        }
    });
    let late = heist::timeout(Duration::from_millis(5), &mut core).await;
    assert!(late.is_err());
    begin.set();
    assert_eq!(core.await.unwrap(), 42);
}

#[heist::test(timeout_ms = 20000)]
async fn errors_say_whether_it_was_a_panic() {
    let panicked: Result<(), _> = HeistRuntime::spawn(async { panic!("meant") }).await;
    assert!(HeistRuntime::is_panic(&panicked.unwrap_err()));

    let cancelled = HeistRuntime::spawn(async {
        heist::current_task().unwrap().cancel("enough");
        pending::<()>().await;
    });
    let error = cancelled.await.unwrap_err();
    assert!(error.is_cancelled() && !HeistRuntime::is_panic(&error));

    let blocking: Result<(), _> = HeistRuntime::spawn_blocking(|| panic!("meant")).await;
    assert!(blocking.unwrap_err().to_string().contains("meant"));
}

#[heist::test(timeout_ms = 20000)]
async fn a_timeout_does_not_wait_for_who_catches_cancellations() {
    let stubborn = async {
        loop {
            let _ = heist::catch_cancel(pending::<()>()).await;
        }
    };
    let late = HeistRuntime::timeout(Duration::from_millis(5), stubborn).await;
    assert!(late.is_err());
}

#[heist::test(timeout_ms = 20000)]
async fn a_timeout_ends_what_is_never_out_of_work() {
    let ready = Event::new();
    ready.set();
    let busy = async {
        loop {
            ready.wait().await;
        }
    };
    let late = HeistRuntime::timeout(Duration::from_millis(5), busy).await;
    assert!(late.is_err());
}

#[heist::test(timeout_ms = 20000, start_paused = true)]
async fn time_is_the_runtimes() {
    let real = std::time::Instant::now();
    let begin = HeistInstant::now();
    let hour = Duration::from_secs(3600);
    HeistRuntime::sleep(hour).await;
    HeistRuntime::sleep_until(begin + hour * 2).await;
    let late = HeistRuntime::timeout_at(begin + hour * 3, pending::<()>()).await;
    assert!(late.is_err());
    assert!(begin.elapsed() >= hour * 3);
    assert!(real.elapsed() < hour);
}

/// Runs `test`, which makes its own runtimes, on a thread of its own.
#[track_caller]
fn within(limit: Duration, test: impl FnOnce() + Send + 'static) {
    let (alive, ended) = mpsc::channel::<()>();
    let thread = thread::spawn(move || {
        let _alive = alive;
        test();
    });
    let waited = ended.recv_timeout(limit);
    assert_eq!(waited, Err(RecvTimeoutError::Disconnected), "it hangs");
    assert!(thread.join().is_ok(), "it failed: see above");
}
