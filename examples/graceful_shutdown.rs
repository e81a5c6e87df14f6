//! How a runtime ends: every task is dropped at its await and cleans up, in bounded time, and the report names who was late.
//!
//! ```sh
//! cargo run --example graceful_shutdown
//! ```
#![allow(clippy::print_stdout)]

use heist::{Runtime, ShutdownReport, sleep, task};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    all_in_time()?;
    somebody_is_late()
}

/// A hundred tasks with something to put away.
fn all_in_time() -> Result<(), Box<dyn std::error::Error>> {
    let runtime = Runtime::new()?;
    let put_away = Arc::new(AtomicU32::new(0));
    for _ in 0..100 {
        let tools = Tools(put_away.clone());
        runtime.spawn(async move {
            let _tools = tools;
            loop {
                sleep(Duration::from_millis(10)).await;
            }
        });
    }
    // Work that must be done is awaited before the shutdown is called for.
    let last_words = runtime.spawn(async {
        sleep(Duration::from_millis(50)).await;
        "all is written"
    });
    println!("before the shutdown: {}", runtime.block_on(last_words)??);

    let report = runtime.shutdown(Duration::from_secs(5));
    println!("after it: {report}; {put_away:?} tools put away");
    assert!(report.is_complete());
    assert_eq!(put_away.load(Ordering::Relaxed), 100);
    Ok(())
}

/// A task that blocks in its poll, and a closure that takes its time: neither can be stopped, so the report says so.
fn somebody_is_late() -> Result<(), Box<dyn std::error::Error>> {
    let runtime = Runtime::new()?;
    task::Builder::new()
        .name("polite")
        .spawn_on(&runtime, std::future::pending::<()>());
    task::Builder::new()
        .name("stubborn")
        .spawn_on(&runtime, async {
            thread::sleep(Duration::from_millis(600));
        });
    runtime
        .spawn_blocking(|| thread::sleep(Duration::from_millis(600)))
        .set_name("slow");
    // Both have begun by then.
    thread::sleep(Duration::from_millis(50));

    let began = Instant::now();
    let report: ShutdownReport = runtime.shutdown(Duration::from_millis(100));
    let took = began.elapsed();
    println!("with a deadline of 100 ms, {report}");

    let late: Vec<String> = report
        .late_tasks
        .iter()
        .map(|late| late.task.name())
        .collect();
    assert!(
        late.contains(&"stubborn".to_owned()),
        "who was late is in the report"
    );
    assert!(!late.contains(&"polite".to_owned()), "who was not, is not");
    assert_eq!(report.late_blocking_threads, 1);
    assert!(
        took < Duration::from_millis(500),
        "the shutdown waited for longer than it was told"
    );
    Ok(())
}

struct Tools(Arc<AtomicU32>);

impl Drop for Tools {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}
