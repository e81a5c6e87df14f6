//! `#[heist::main]` and `#[heist::test]`, run.

use std::time::{Duration, Instant};

#[heist::main]
async fn plain() -> usize {
    heist::spawn(async { 40 }).await.unwrap() + 2
}

#[heist::main(worker_threads = 3, name = "macro")]
async fn configured() -> (usize, Option<String>) {
    let workers = heist::Handle::current().unwrap().metrics().workers;
    let name = heist::spawn(async { std::thread::current().name().map(str::to_owned) });
    (workers, name.await.unwrap())
}

#[heist::main(flavor = "current_thread")]
async fn on_this_thread(//
) -> std::thread::ThreadId {
    heist::spawn(async { std::thread::current().id() })
        .await
        .unwrap()
}

#[heist::main]
async fn fails() -> Result<(), std::num::ParseIntError> {
    "seven".parse::<u8>()?;
    Ok(())
}

#[test]
fn main_gives_what_its_body_gives() {
    assert_eq!(plain(), 42);
    let (workers, name) = configured();
    assert_eq!(workers, 3);
    assert!(name.unwrap().starts_with("macro-"));
    assert_eq!(on_this_thread(), std::thread::current().id());
    assert!(fails().is_err());
}

#[heist::main]
async fn leaves_tasks() {
    heist::spawn(std::future::pending::<()>());
}

#[test]
fn main_shuts_down_what_it_leaves() {
    let began = Instant::now();
    leaves_tasks();
    assert!(
        began.elapsed() < Duration::from_secs(4),
        "before the default deadline"
    );
}

#[heist::main]
async fn panics() {
    panic!("in main");
}

#[test]
#[should_panic(expected = "in main")]
fn a_panic_of_main_goes_on() {
    panics();
}

#[heist::test]
async fn a_test_runs_inside_a_runtime() {
    assert!(heist::Handle::current().is_some());
    assert!(heist::current_task().is_some());
}

#[heist::test(worker_threads = 2, timeout_ms = 30_000)]
async fn a_test_has_the_workers_it_asked_for() {
    assert_eq!(heist::Handle::current().unwrap().metrics().workers, 2);
}

#[heist::test(flavor = "current_thread", start_paused = true, timeout_ms = 30_000)]
async fn a_year_passes_at_once() {
    let began = heist::time::now();
    heist::sleep(Duration::from_secs(365 * 24 * 3600)).await;
    assert!(heist::time::now() - began >= Duration::from_secs(365 * 24 * 3600));
}

#[heist::test]
#[should_panic(expected = "as expected")]
async fn other_attributes_are_kept() {
    panic!("as expected");
}

#[heist::test]
async fn a_test_may_give_a_result() -> Result<(), std::io::Error> {
    let listener = heist::net::TcpListener::bind("127.0.0.1:0").await?;
    listener.local_addr()?;
    Ok(())
}

#[heist::test(timeout_ms = 50)]
#[should_panic(expected = "did not end within 50ms")]
async fn a_test_that_hangs_fails_with_its_limit() {
    std::future::pending::<()>().await;
}

#[heist::test(flavor = "current_thread", timeout_ms = 50)]
#[should_panic(expected = "did not end within 50ms")]
async fn a_test_that_hangs_on_the_current_thread_fails_too() {
    std::future::pending::<()>().await;
}
