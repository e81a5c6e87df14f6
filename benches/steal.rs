//! What do other workers make of a fan-out: 1,000 tasks of about 1 us, spawned by one task, on 1 worker and on 2?
//!
//! The work alone, in a loop, is the floor: what 1 worker needs beyond it is what the tasks cost, what 2 workers need beyond half of it
//! is that and the stealing.

mod support;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use support::in_task;

const TASKS: u64 = 1000;
/// A multiplication waits for the one before it: about 1 us on a machine of 3 GHz or so. It asks no clock and shares nothing.
const STEPS: u64 = 700;

fn work(seed: u64) -> u64 {
    (0..STEPS).fold(black_box(seed), |x, step| {
        (x ^ step).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    })
}

async fn alone(rounds: u64) {
    for _ in 0..rounds {
        for task in 0..TASKS {
            black_box(work(task));
        }
    }
}

async fn fan_out(rounds: u64) {
    for _ in 0..rounds {
        let tasks: Vec<_> = (0..TASKS)
            .map(|task| heist::spawn(async move { work(task) }))
            .collect();
        for task in tasks {
            black_box(task.await.expect("it ends well"));
        }
    }
}

fn steal(c: &mut Criterion) {
    let mut group = c.benchmark_group("steal");
    group.throughput(Throughput::Elements(TASKS));
    for workers in [1, 2] {
        let runtime = support::runtime(workers);
        if workers == 1 {
            group.bench_function("the work alone", |b| {
                b.iter_custom(|rounds| in_task(&runtime, rounds, alone));
            });
        }
        group.bench_function(BenchmarkId::new("fan-out, on workers", workers), |b| {
            b.iter_custom(|rounds| in_task(&runtime, rounds, fan_out));
        });
    }
}

criterion_group!(name = benches; config = support::settings(); targets = steal);
criterion_main!(benches);
