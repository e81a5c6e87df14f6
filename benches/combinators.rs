//! What do the combinators add to the 1,000 tasks that are put into them, and what to one?
//!
//! The same tasks awaited one after the other are the floor.

mod support;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use heist::{Runtime, Task, TaskGroup};
use std::future::ready;
use std::hint::black_box;
use std::time::Duration;
use support::in_task;

const TASKS: u64 = 1000;

fn tasks() -> impl Iterator<Item = Task<u64>> {
    (0..TASKS).map(|task| heist::spawn(async move { task }))
}

async fn one_after_the_other(rounds: u64) {
    for _ in 0..rounds {
        for task in tasks().collect::<Vec<_>>() {
            black_box(task.await.expect("it ends well"));
        }
    }
}

async fn gather(rounds: u64) {
    for _ in 0..rounds {
        black_box(heist::gather(tasks()).await.expect("they end well"));
    }
}

async fn wait(rounds: u64) {
    for _ in 0..rounds {
        let mut tasks = tasks().collect();
        black_box(heist::wait(&mut tasks).await.expect("there are some"));
    }
}

async fn as_completed(rounds: u64) {
    for _ in 0..rounds {
        let completed = heist::as_completed(tasks());
        while let Some(task) = completed.next().await {
            let (_, value) = task.expect("there is no deadline");
            black_box(value.expect("it ends well"));
        }
    }
}

async fn task_group(rounds: u64) {
    for _ in 0..rounds {
        let ended = TaskGroup::run(|group| async move {
            for task in 0..TASKS {
                let task = group.spawn(async move { task });
                task.expect("the group is open").detach();
            }
        });
        ended.await.expect("they end well");
    }
}

async fn shield(rounds: u64) {
    for round in 0..rounds {
        let shield = heist::shield(heist::spawn(async move { round }));
        black_box(shield.await.expect("it ends well"));
    }
}

async fn timeout_ready(rounds: u64) {
    for round in 0..rounds {
        let value = heist::timeout(Duration::from_secs(30), ready(black_box(round))).await;
        black_box(value.expect("it is ready"));
    }
}

fn many(c: &mut Criterion, runtime: &Runtime) {
    let mut group = c.benchmark_group("1000 tasks");
    group.throughput(Throughput::Elements(TASKS));
    group.bench_function("one after the other", |b| {
        b.iter_custom(|rounds| in_task(runtime, rounds, one_after_the_other));
    });
    group.bench_function("gather", |b| {
        b.iter_custom(|rounds| in_task(runtime, rounds, gather));
    });
    group.bench_function("wait", |b| {
        b.iter_custom(|rounds| in_task(runtime, rounds, wait));
    });
    group.bench_function("as_completed", |b| {
        b.iter_custom(|rounds| in_task(runtime, rounds, as_completed));
    });
    group.bench_function("TaskGroup", |b| {
        b.iter_custom(|rounds| in_task(runtime, rounds, task_group));
    });
}

fn one(c: &mut Criterion, runtime: &Runtime) {
    let mut group = c.benchmark_group("one");
    group.bench_function("shield round a task", |b| {
        b.iter_custom(|rounds| in_task(runtime, rounds, shield));
    });
    group.bench_function("timeout round a ready future", |b| {
        b.iter_custom(|rounds| in_task(runtime, rounds, timeout_ready));
    });
}

fn combinators(c: &mut Criterion) {
    // One worker: else it is the hand-over of tasks that is measured.
    let runtime = support::runtime(1);
    many(c, &runtime);
    one(c, &runtime);
}

criterion_group!(name = benches; config = support::settings(); targets = combinators);
criterion_main!(benches);
