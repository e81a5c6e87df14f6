//! What does a wake-up cost: by a yield, by another task, by a thread of the blocking pool?

mod support;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use heist::sync::Event;
use heist::task::yield_now;
use std::sync::Arc;
use support::in_task;

async fn yields(rounds: u64) {
    for _ in 0..rounds {
        yield_now().await;
    }
}

/// A round is two wake-ups, there and back.
async fn ping_pong(rounds: u64) {
    let events = Arc::new((Event::new(), Event::new()));
    let answering = events.clone();
    let answerer = heist::spawn(async move {
        let (ping, pong) = &*answering;
        for _ in 0..rounds {
            ping.wait().await;
            ping.clear();
            pong.set();
        }
    });
    let (ping, pong) = &*events;
    for _ in 0..rounds {
        ping.set();
        pong.wait().await;
        pong.clear();
    }
    answerer.await.expect("it ends well");
}

async fn blocking(rounds: u64) {
    for _ in 0..rounds {
        let done = heist::spawn_blocking(|| ());
        done.await.expect("it ends well");
    }
}

fn wake(c: &mut Criterion) {
    let mut group = c.benchmark_group("wake");
    for workers in [1, 2] {
        let runtime = support::runtime(workers);
        group.bench_function(BenchmarkId::new("yield, on workers", workers), |b| {
            b.iter_custom(|rounds| in_task(&runtime, rounds, yields));
        });
        group.bench_function(BenchmarkId::new("ping-pong, on workers", workers), |b| {
            b.iter_custom(|rounds| in_task(&runtime, rounds, ping_pong));
        });
    }
    let runtime = support::runtime(1);
    group.bench_function("spawn_blocking and await", |b| {
        b.iter_custom(|rounds| in_task(&runtime, rounds, blocking));
    });
}

criterion_group!(name = benches; config = support::settings(); targets = wake);
criterion_main!(benches);
