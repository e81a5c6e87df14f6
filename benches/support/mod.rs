//! What the benches share: settings, a runtime, and a clock round what runs inside a task.
//!
//! They are for finding out whether a change made something slower, so they take seconds, not minutes; criterion's options
//! (`--measurement-time`, `--sample-size`, `--save-baseline`, ..) say otherwise.
#![allow(dead_code)] // Each bench takes what it needs.

use criterion::Criterion;
use heist::Runtime;
use std::time::{Duration, Instant};

/// Short, unless the command line says otherwise.
pub(crate) fn settings() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(20)
}

pub(crate) fn runtime(workers: usize) -> Runtime {
    heist::Builder::new()
        .worker_threads(workers)
        .build()
        .expect("a runtime")
}

/// One worker, and a clock that goes on by itself to the next timer: a timer costs what it costs, without the wait for it.
pub(crate) fn paused_runtime() -> Runtime {
    heist::Builder::new()
        .worker_threads(1)
        .start_paused(true)
        .build()
        .expect("a runtime")
}

/// How long `body` takes for so many rounds, inside a task.
pub(crate) fn in_task<F>(
    runtime: &Runtime,
    rounds: u64,
    body: impl FnOnce(u64) -> F + Send + 'static,
) -> Duration
where
    F: Future<Output = ()> + Send + 'static,
{
    timed_in_task(runtime, async move {
        let began = Instant::now();
        body(rounds).await;
        began.elapsed()
    })
}

/// As [`in_task`], where the body keeps the time: not all that it does counts.
pub(crate) fn timed_in_task(
    runtime: &Runtime,
    body: impl Future<Output = Duration> + Send + 'static,
) -> Duration {
    runtime.run(body).expect("nobody cancels the bench")
}
