//! What does a wake-up cost: by a yield, by another task on the same worker, by a foreign thread?

use criterion::{Criterion, criterion_group, criterion_main};
use std::time::Instant;

fn wake(c: &mut Criterion) {
    let runtime = heist::Builder::new()
        .worker_threads(2)
        .build()
        .expect("a runtime");
    c.bench_function("yield", |bencher| {
        bencher.iter_custom(|rounds| {
            let timed = runtime.run(async move {
                let began = Instant::now();
                for _ in 0..rounds {
                    heist::task::yield_now().await;
                }
                began.elapsed()
            });
            timed.expect("nobody cancels the bench")
        });
    });
    c.bench_function("submit from a thread and wait", |bencher| {
        bencher.iter(|| {
            let submitted = heist::run_coroutine_threadsafe(async { 1 }, runtime.handle());
            submitted.result(None).expect("it ends well")
        });
    });
    c.bench_function("spawn_blocking round trip", |bencher| {
        bencher.iter_custom(|rounds| {
            let timed = runtime.run(async move {
                let began = Instant::now();
                for _ in 0..rounds {
                    let done = heist::spawn_blocking(|| ());
                    done.await.expect("it ends well");
                }
                began.elapsed()
            });
            timed.expect("nobody cancels the bench")
        });
    });
}

criterion_group!(benches, wake);
criterion_main!(benches);
