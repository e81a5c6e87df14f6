//! What does a timer cost that never fires: made, polled once and dropped, with 0 and 10,000 others alive?

use criterion::{Criterion, criterion_group, criterion_main};
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

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

fn timers(c: &mut Criterion) {
    let runtime = heist::Builder::new()
        .worker_threads(1)
        .build()
        .expect("a runtime");
    for others in [0, 10_000_u64] {
        for other in 0..others {
            let sleep = heist::sleep(Duration::from_secs(3600 + other));
            runtime.spawn(sleep).detach();
        }
        c.bench_function(&format!("timer churn, {others} others"), |bencher| {
            bencher.iter_custom(|rounds| {
                let timed = runtime.run(async move {
                    let began = Instant::now();
                    churn(rounds).await;
                    began.elapsed()
                });
                timed.expect("nobody cancels the bench")
            });
        });
    }
}

criterion_group!(benches, timers);
criterion_main!(benches);
