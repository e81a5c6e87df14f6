//! Code that blocks: in `spawn_blocking` where it belongs; in a task by mistake, where it costs one worker for a moment
//! and not the program; and `block_on` inside a task.
//!
//! ```sh
//! cargo run --release --example blocking
//! ```
#![allow(clippy::print_stdout)]

use heist::{Builder, Handle, TaskError, sleep, spawn, spawn_blocking};
use std::error::Error;
use std::time::{Duration, Instant};
use std::{panic, thread};

const NAP: Duration = Duration::from_millis(100);

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let runtime = Builder::new()
        .worker_threads(2)
        .max_blocking_threads(64)
        .build()?;
    runtime.run(async {
        many_at_once().await?;
        a_panic_is_an_error().await;
        by_mistake().await?;
        inside_a_task().await
    })??;
    let metrics = runtime.metrics();
    println!(
        "{} workers, {} of them spares that stood in; {} blocking threads",
        metrics.per_worker.len(),
        metrics.per_worker.len() - metrics.workers,
        metrics.blocking_threads,
    );
    Ok(())
}

/// 128 closures on up to 64 threads.
async fn many_at_once() -> Result<(), TaskError> {
    let began = Instant::now();
    let naps: Vec<_> = (0..128u64)
        .map(|n| spawn_blocking(move || nap(n)))
        .collect();
    let mut sum = 0;
    for nap in naps {
        sum += nap.await?;
    }
    assert_eq!(sum, 127 * 128 / 2);
    println!(
        "128 closures of 100 ms on 64 threads: {} ms",
        began.elapsed().as_millis()
    );
    Ok(())
}

fn nap(n: u64) -> u64 {
    thread::sleep(NAP);
    n
}

/// What goes wrong in the closure is its task's error.
async fn a_panic_is_an_error() {
    // In place of the default hook, which would print more.
    panic::set_hook(Box::new(|panic| println!("the panic hook: {panic}")));
    let number = spawn_blocking(|| -> u32 { "forty-two".parse().expect("a number") });
    let error = number.await.expect_err("it panicked");
    drop(panic::take_hook());
    assert!(error.is_panic());
    println!("a closure's panic: {error}");
}

/// Four tasks block both workers for 100 ms each, while another one wants to go on every 5 ms.
async fn by_mistake() -> Result<(), TaskError> {
    let blockers: Vec<_> = (0..4)
        .map(|_| {
            spawn(async {
                thread::sleep(NAP);
            })
        })
        .collect();
    let ticker = spawn(async {
        let mut longest = Duration::ZERO;
        for _ in 0..20 {
            let began = Instant::now();
            sleep(Duration::from_millis(5)).await;
            longest = longest.max(began.elapsed());
        }
        longest
    });
    let longest = ticker.await?;
    for blocker in blockers {
        blocker.await?;
    }
    println!("with every worker blocked, sleeps of 5 ms took {longest:?} at most");
    Ok(())
}

/// Synchronous code that was called by a task may wait for other tasks.
async fn inside_a_task() -> Result<(), Box<dyn Error + Send + Sync>> {
    let handle = Handle::current().ok_or("this runs on a runtime")?;
    let answer = spawn(async move {
        let other = spawn(async {
            sleep(Duration::from_millis(10)).await;
            42
        });
        handle.block_on(other)
    });
    println!("block_on inside a task: {}", answer.await???);
    Ok(())
}
