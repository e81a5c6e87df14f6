//! What does it cost to end a task: by a request, by one that it catches, by its deadline?
//!
//! On one worker: the way of a request is measured, not who runs the task.

mod support;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use heist::task::yield_now;
use heist::{Task, catch_cancel, timeout};
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use support::{in_task, timed_in_task};

const TASKS: u64 = 1000;

/// Spawns many, and waits until all of them are suspended: one that has not begun is cancelled in another way.
async fn suspended<F>(future: fn() -> F) -> Vec<Task<F::Output>>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let begun = Arc::new(AtomicU64::new(0));
    let spawn = |_| {
        let begun = begun.clone();
        heist::spawn(async move {
            begun.fetch_add(1, Relaxed);
            future().await
        })
    };
    let tasks = (0..TASKS).map(spawn).collect();
    while begun.load(Relaxed) < TASKS {
        yield_now().await;
    }
    tasks
}

async fn pending_tasks(rounds: u64) -> Duration {
    let mut took = Duration::ZERO;
    for _ in 0..rounds {
        let tasks = suspended(pending::<()>).await;
        let began = Instant::now();
        for task in &tasks {
            task.cancel(None);
        }
        for task in tasks {
            let error = task.await.expect_err("it never ends by itself");
            assert!(error.is_cancelled());
        }
        took += began.elapsed();
    }
    took
}

async fn catching_tasks(rounds: u64) -> Duration {
    let mut took = Duration::ZERO;
    for _ in 0..rounds {
        let tasks = suspended(|| catch_cancel(pending::<()>())).await;
        let began = Instant::now();
        for task in &tasks {
            task.cancel(None);
        }
        for task in tasks {
            let caught = task.await.expect("it goes on");
            assert!(caught.is_err());
        }
        took += began.elapsed();
    }
    took
}

async fn deadlines(rounds: u64) {
    for _ in 0..rounds {
        let ended = timeout(Duration::from_millis(1), pending::<()>()).await;
        ended.expect_err("it never ends by itself");
    }
}

fn cancel(c: &mut Criterion) {
    let mut group = c.benchmark_group("cancel");
    let runtime = support::paused_runtime();
    group.bench_function("timeout strikes, on a paused clock", |b| {
        b.iter_custom(|rounds| in_task(&runtime, rounds, deadlines));
    });
    let runtime = support::runtime(1);
    group.throughput(Throughput::Elements(TASKS));
    group.bench_function("1000 pending", |b| {
        b.iter_custom(|rounds| timed_in_task(&runtime, pending_tasks(rounds)));
    });
    group.bench_function("1000 that catch it", |b| {
        b.iter_custom(|rounds| timed_in_task(&runtime, catching_tasks(rounds)));
    });
}

criterion_group!(name = benches; config = support::settings(); targets = cancel);
criterion_main!(benches);
