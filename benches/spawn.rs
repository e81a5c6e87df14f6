//! What does it cost to spawn a task and await it, one by one, from inside a task?

use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Runs `rounds` of `body` inside a task and gives the time they took.
fn in_task<F>(
    runtime: &heist::Runtime,
    rounds: u64,
    body: impl FnOnce(u64) -> F + Send + 'static,
) -> Duration
where
    F: Future<Output = ()> + Send + 'static,
{
    let timed = runtime.run(async move {
        let began = Instant::now();
        body(rounds).await;
        began.elapsed()
    });
    timed.expect("nobody cancels the bench")
}

fn spawn(c: &mut Criterion) {
    for workers in [1, 2] {
        let runtime = heist::Builder::new()
            .worker_threads(workers)
            .build()
            .expect("a runtime");
        c.bench_function(&format!("spawn and join, {workers} workers"), |bencher| {
            bencher.iter_custom(|rounds| {
                in_task(&runtime, rounds, |rounds| async move {
                    for round in 0..rounds {
                        let task = heist::spawn(async move { round });
                        black_box(task.await.expect("it ends well"));
                    }
                })
            });
        });
        c.bench_function(&format!("spawn detached, {workers} workers"), |bencher| {
            bencher.iter_custom(|rounds| {
                in_task(&runtime, rounds, |rounds| async move {
                    for round in 0..rounds {
                        heist::spawn(async move { black_box(round) }).detach();
                        // Now and then, so that the queue stays of a size.
                        if round.is_multiple_of(1024) {
                            heist::task::yield_now().await;
                        }
                    }
                })
            });
        });
    }
}

criterion_group!(benches, spawn);
criterion_main!(benches);
