//! What does a spawn cost a thread that is no worker, with the workers asleep and with both of them busy?

mod support;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use heist::task::yield_now;
use heist::{Handle, run_coroutine_threadsafe};
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::AcqRel, Ordering::Relaxed};
use std::thread;

const TASKS: u64 = 1000;
const WORKERS: usize = 2;
/// How long a busy worker's tasks go on between two yields: a few microseconds.
const STEPS: u64 = 3000;

/// Spawns many, and waits until the last one has run.
fn spawn_many(handle: &Handle) {
    let left = Arc::new(AtomicU64::new(TASKS));
    for _ in 0..TASKS {
        let (left, me) = (left.clone(), thread::current());
        let task = handle.spawn(async move {
            if left.fetch_sub(1, AcqRel) == 1 {
                me.unpark();
            }
        });
        task.detach();
    }
    while left.load(Relaxed) > 0 {
        thread::park();
    }
}

fn round_trip(handle: &Handle) -> u64 {
    let submitted = run_coroutine_threadsafe(async { 1 }, handle);
    submitted.result(None).expect("it ends well")
}

async fn compute(going_on: Arc<AtomicBool>) {
    while going_on.load(Relaxed) {
        black_box((0..STEPS).fold(1, |x: u64, step| black_box(x ^ step)));
        yield_now().await;
    }
}

fn inject(c: &mut Criterion) {
    let runtime = support::runtime(WORKERS);
    let going_on = Arc::new(AtomicBool::new(true));
    for state in ["idle", "busy"] {
        if state == "busy" {
            for _ in 0..2 * WORKERS {
                runtime.spawn(compute(going_on.clone())).detach();
            }
        }
        let mut group = c.benchmark_group("inject");
        group.bench_function(
            BenchmarkId::new("run_coroutine_threadsafe and wait", state),
            |b| b.iter(|| round_trip(&runtime)),
        );
        group.throughput(Throughput::Elements(TASKS));
        group.bench_function(BenchmarkId::new("spawn 1000", state), |b| {
            b.iter(|| spawn_many(&runtime));
        });
    }
    going_on.store(false, Relaxed);
}

criterion_group!(name = benches; config = support::settings(); targets = inject);
criterion_main!(benches);
