//! What do locks, events and queues cost: with nobody else there, and with tasks that wait for each other?

mod support;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use heist::sync::{Event, Lock, Queue, Semaphore};
use heist::task::yield_now;
use std::hint::black_box;
use std::sync::Arc;
use support::in_task;

/// How many tasks want the same.
const TASKS: u64 = 4;

/// How many of `rounds` each of [`TASKS`] takes; together they are `rounds`.
fn shares(rounds: u64) -> impl Iterator<Item = u64> {
    (0..TASKS).map(move |task| rounds / TASKS + u64::from(task < rounds % TASKS))
}

/// `producers` tasks put, this one gets.
async fn hand_off(rounds: u64, places: usize, producers: impl Iterator<Item = u64>) {
    let queue = Arc::new(Queue::new(places));
    for share in producers {
        let queue = queue.clone();
        heist::spawn(async move {
            for round in 0..share {
                queue.put(round).await.expect("it is open");
            }
        })
        .detach();
    }
    for _ in 0..rounds {
        black_box(queue.get().await.expect("it is open"));
    }
}

async fn one_place(rounds: u64) {
    hand_off(rounds, 1, [rounds].into_iter()).await;
}

async fn one_to_one(rounds: u64) {
    hand_off(rounds, 64, [rounds].into_iter()).await;
}

async fn four_to_one(rounds: u64) {
    hand_off(rounds, 64, shares(rounds)).await;
}

async fn lock_alone(rounds: u64) {
    let lock = Lock::new();
    for _ in 0..rounds {
        drop(black_box(lock.lock().await));
    }
}

/// Each yields while it has the lock, so that the others stand in line.
async fn lock_contended(rounds: u64) {
    let lock = Arc::new(Lock::new());
    let contend = |share| {
        let lock = lock.clone();
        heist::spawn(async move {
            for _ in 0..share {
                let _guard = lock.lock().await;
                yield_now().await;
            }
        })
    };
    let tasks: Vec<_> = shares(rounds).map(contend).collect();
    for task in tasks {
        task.await.expect("it ends well");
    }
}

async fn semaphore_alone(rounds: u64) {
    let semaphore = Semaphore::new(2);
    for _ in 0..rounds {
        drop(black_box(semaphore.permit().await));
    }
}

/// Two of four have a permit.
async fn semaphore_contended(rounds: u64) {
    let semaphore = Arc::new(Semaphore::new(2));
    let contend = |share| {
        let semaphore = semaphore.clone();
        heist::spawn(async move {
            for _ in 0..share {
                let _permit = semaphore.permit().await;
                yield_now().await;
            }
        })
    };
    let tasks: Vec<_> = shares(rounds).map(contend).collect();
    for task in tasks {
        task.await.expect("it ends well");
    }
}

async fn event_set(rounds: u64) {
    let event = Event::new();
    for _ in 0..rounds {
        event.set();
        event.wait().await;
        black_box(&event).clear();
    }
}

fn alone(c: &mut Criterion) {
    let runtime = support::runtime(1);
    let mut group = c.benchmark_group("alone");
    group.bench_function("Lock", |b| {
        b.iter_custom(|rounds| in_task(&runtime, rounds, lock_alone));
    });
    group.bench_function("Semaphore", |b| {
        b.iter_custom(|rounds| in_task(&runtime, rounds, semaphore_alone));
    });
    group.bench_function("Event", |b| {
        b.iter_custom(|rounds| in_task(&runtime, rounds, event_set));
    });
}

fn contended(c: &mut Criterion) {
    let mut group = c.benchmark_group("contended");
    for workers in [1, 2] {
        let runtime = support::runtime(workers);
        let mut bench = |name: &str, body: fn(u64) -> Body| {
            group.bench_function(BenchmarkId::new(name, workers), |b| {
                b.iter_custom(|rounds| in_task(&runtime, rounds, body));
            });
        };
        bench("Queue 1:1, one place, on workers", |n| {
            Box::pin(one_place(n))
        });
        bench("Queue 1:1, 64 places, on workers", |n| {
            Box::pin(one_to_one(n))
        });
        bench("Queue 4:1, 64 places, on workers", |n| {
            Box::pin(four_to_one(n))
        });
        bench("Lock, on workers", |n| Box::pin(lock_contended(n)));
        bench("Semaphore, on workers", |n| {
            Box::pin(semaphore_contended(n))
        });
    }
}

type Body = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

criterion_group!(name = benches; config = support::settings(); targets = alone, contended);
criterion_main!(benches);
