//! What does it cost to spawn a task from inside a task?

mod support;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use heist::task::yield_now;
use std::hint::black_box;
use support::in_task;

async fn one_by_one(rounds: u64) {
    for round in 0..rounds {
        let task = heist::spawn(async move { round });
        black_box(task.await.expect("it ends well"));
    }
}

async fn detached(rounds: u64) {
    for round in 0..rounds {
        heist::spawn(async move {
            black_box(round);
        })
        .detach();
        // Now and then, so that the queue stays of a size.
        if round.is_multiple_of(1024) {
            yield_now().await;
        }
    }
}

fn spawn(c: &mut Criterion) {
    let mut group = c.benchmark_group("spawn");
    for workers in [1, 2] {
        let runtime = support::runtime(workers);
        group.bench_function(BenchmarkId::new("and await, on workers", workers), |b| {
            b.iter_custom(|rounds| in_task(&runtime, rounds, one_by_one));
        });
        group.bench_function(BenchmarkId::new("detached, on workers", workers), |b| {
            b.iter_custom(|rounds| in_task(&runtime, rounds, detached));
        });
    }
}

criterion_group!(name = benches; config = support::settings(); targets = spawn);
criterion_main!(benches);
