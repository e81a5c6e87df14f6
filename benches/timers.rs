//! What does a timer cost: one that never fires, with 0 and 10,000 others alive, and one that does?

mod support;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;
use support::in_task;

async fn churn(rounds: u64) {
    for round in 0..rounds {
        let mut sleep = pin!(heist::sleep(Duration::from_secs(60)));
        poll_fn(|cx| {
            assert!(sleep.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        // A task that never yields would spend its budget, and its timers would not be made at all.
        if round.is_multiple_of(50) {
            heist::task::yield_now().await;
        }
    }
}

async fn fires(rounds: u64) {
    for _ in 0..rounds {
        heist::sleep(Duration::from_millis(1)).await;
    }
}

fn timers(c: &mut Criterion) {
    let mut group = c.benchmark_group("timers");
    let runtime = support::runtime(1);
    for others in [0, 10_000_u64] {
        for other in 0..others {
            let sleep = heist::sleep(Duration::from_secs(3600 + other));
            runtime.spawn(sleep).detach();
        }
        group.bench_function(BenchmarkId::new("churn, beside others", others), |b| {
            b.iter_custom(|rounds| in_task(&runtime, rounds, churn));
        });
    }
    let runtime = support::paused_runtime();
    group.bench_function("fire, on a paused clock", |b| {
        b.iter_custom(|rounds| in_task(&runtime, rounds, fires));
    });
}

criterion_group!(name = benches; config = support::settings(); targets = timers);
criterion_main!(benches);
