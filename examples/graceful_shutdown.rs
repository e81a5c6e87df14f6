//! How a runtime ends: every task unwinds from its await and cleans up, in bounded time, and the report names who was late.
//!
//! ```sh
//! cargo run --example graceful_shutdown
//! ```
#![allow(clippy::print_stdout)]

use heist::{Runtime, sleep, task};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, mpsc};
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
        let work = async move {
            let _tools = tools;
            loop {
                sleep(Duration::from_millis(10)).await;
            }
        };
        runtime.spawn(work).detach();
    }
    // Work that must be done is awaited before the shutdown is called for.
    let last_words = runtime.spawn(async {
        sleep(Duration::from_millis(50)).await;
        "all is written"
    });
    println!("before the shutdown: {}", runtime.block_on(last_words)??);

    let report = runtime.shutdown(Duration::from_secs(5));
    println!(
        "after it: {report}; {} tools put away",
        put_away.load(Ordering::Relaxed)
    );
    assert!(report.is_complete());
    assert_eq!(put_away.load(Ordering::Relaxed), 100);
    Ok(())
}

/// A task that blocks in its poll, and a closure that takes its time: neither can be stopped, so the report says so.
fn somebody_is_late() -> Result<(), Box<dyn std::error::Error>> {
    const FAR_TOO_LONG: Duration = Duration::from_secs(3);
    let runtime = Runtime::new()?;
    let (begun, begins) = mpsc::channel();
    let begun_too = begun.clone();
    let polite = std::future::pending::<()>();
    task::Builder::new()
        .name("polite")
        .spawn_on(&runtime, polite)
        .detach();
    let stubborn = async move {
        begun.send(()).expect("main waits for it");
        thread::sleep(FAR_TOO_LONG);
    };
    task::Builder::new()
        .name("stubborn")
        .spawn_on(&runtime, stubborn)
        .detach();
    let slow = runtime.spawn_blocking(move || {
        begun_too.send(()).expect("main waits for it");
        thread::sleep(FAR_TOO_LONG);
    });
    slow.set_name("slow");
    begins.recv()?;
    begins.recv()?;

    let began = Instant::now();
    let report = runtime.shutdown(Duration::from_millis(100));
    let took = began.elapsed();
    println!("with a deadline of 100 ms: {report}");

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
        took < FAR_TOO_LONG / 2,
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
