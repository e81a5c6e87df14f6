//! The workloads, each written once against [`Rt`], and what they share: the rounds and a countdown.
//!
//! A workload is a function from a [`Plan`] to a [`Sample`], run in a process of its own. It builds its
//! runtime, warms up and only then measures.

mod blocking;
mod echo;
mod joining;
mod memory;
mod remote;
mod spawning;
mod switching;
mod timers;

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_channel::oneshot;

use crate::meter::{Figure, Meter, Sample};
use crate::rt::Rt;

pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// What the values of its samples mean. The first one stands for the workload.
    pub(crate) figures: &'static [Figure],
    pub(crate) run: fn(Plan) -> Sample,
}

/// How a sample is to be taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) workers: usize,
    pub(crate) warm_up: Duration,
    /// How long to measure; a workload of fixed size takes what it takes.
    pub(crate) time: Duration,
}

const NS: &[Figure] = &[Figure::less("ns")];
const US_P50_P99: &[Figure] = &[Figure::less("us p50"), Figure::less("us p99")];
const US_P10_P50: &[Figure] = &[Figure::less("us p10"), Figure::less("us p50")];
const BYTES: &[Figure] = &[Figure::less("bytes")];
const ECHO: &[Figure] = &[
    Figure::more("req/s"),
    Figure::less("us p50"),
    Figure::less("us p99"),
];

/// Every workload, for one runtime.
#[rustfmt::skip]
pub(crate) fn all<R: Rt>() -> Vec<Workload> {
    fn row(
        name: &'static str,
        figures: &'static [Figure],
        run: fn(Plan) -> Sample,
        about: &'static str,
    ) -> Workload {
        Workload { name, about, figures, run }
    }
    vec![
        row("spawn_local", NS, spawning::local::<R>, "a task spawns 10,000 detached tasks; until the last has run"),
        row("spawn_join", NS, spawning::join::<R>, "a task spawns a task and awaits it, one by one"),
        row("tree", NS, spawning::tree::<R>, "recursive fork and join, a million tasks"),
        row("chained_spawn", NS, spawning::chained::<R>, "a task spawns the next one, 1,000 deep"),
        row("yield", NS, switching::yields::<R>, "200 tasks yield 1,000 times each"),
        row("ping_pong", NS, switching::ping_pong::<R>, "1,000 pairs of tasks, a round trip over two oneshots each, spawns included"),
        row("woken_delay", US_P10_P50, switching::woken_delay::<R>, "a task wakes another, then computes for 2 ms; how late the other runs"),
        row("timer_alone", NS, timers::alone::<R>, "create, poll once and drop a sleep; no other timer"),
        row("timer_live", NS, timers::live::<R>, "the same beside 1,000 sleeping tasks"),
        row("timer_shared", NS, timers::shared::<R>, "the same done by 100 tasks at a time, beside 1,000 sleeping ones"),
        row("timeout_ready", NS, timers::timeout_ready::<R>, "a timeout round a future that is ready"),
        row("sleep_1ms", US_P50_P99, timers::sleep_1ms::<R>, "how late a sleep of 1 ms is, nothing else running"),
        row("sleep_storm", US_P50_P99, timers::storm::<R>, "how late 100,000 sleeps are that end within one second"),
        row("spawn_remote_idle", NS, remote::idle::<R>, "an OS thread spawns 10,000 tasks onto idle workers; until the last has run"),
        row("spawn_remote_busy", NS, remote::busy::<R>, "the same while twice as many tasks as workers compute 10 us at a time"),
        row("submit_wait", US_P50_P99, remote::submit_wait::<R>, "an OS thread spawns a task onto idle workers and waits for it"),
        row("gather", NS, joining::gather::<R>, "spawn 10,000 tasks and wait for all at once"),
        row("cancel", NS, joining::cancel::<R>, "cancel 10,000 pending tasks and wait until the last is gone"),
        row("spawn_cancel", NS, joining::spawn_cancel::<R>, "the same with the spawns and the first polls"),
        row("blocking_trip", NS, blocking::trip::<R>, "spawn_blocking of an empty job and its result, one by one"),
        row("blocking_burst", NS, blocking::burst::<R>, "spawn_blocking of 10,000 empty jobs; until the last result"),
        row("parked_bytes", BYTES, memory::parked::<R>, "resident memory per pending task, 100,000 of them"),
        row("sleeping_bytes", BYTES, memory::sleeping::<R>, "resident memory per sleeping task, 100,000 of them"),
        row("echo_64", ECHO, echo::of_64::<R>, "TCP echo of 64 bytes, 64 connections, one request under way on each"),
        row("echo_1000", ECHO, echo::of_1000::<R>, "the same with 1,000 connections"),
    ]
}

/// Repeats `round` inside the runtime, first to warm up, then to measure. A round starts and stops the
/// meter that it is handed and hands it back.
fn repeat<R, F, Fut>(plan: Plan, round: F) -> Sample
where
    R: Rt,
    F: Fn(Meter) -> Fut + Send + 'static,
    Fut: Future<Output = Meter> + Send + 'static,
{
    R::run(plan.workers, rounds(plan, round)).ns_per_op()
}

async fn rounds<F, Fut>(plan: Plan, round: F) -> Meter
where
    F: Fn(Meter) -> Fut,
    Fut: Future<Output = Meter>,
{
    let begun = Instant::now();
    let mut warm_up = Meter::new();
    while begun.elapsed() < plan.warm_up {
        warm_up = round(warm_up).await;
    }
    let mut meter = Meter::new();
    while meter.wall() < plan.time {
        meter = round(meter).await;
    }
    meter
}

/// Fires when its clones have counted it down to zero.
#[derive(Clone)]
struct Countdown(Arc<Counting>);

struct Counting {
    left: AtomicUsize,
    /// Taken by the one who reaches zero.
    zero: Mutex<Option<oneshot::Sender<()>>>,
}

impl Countdown {
    fn from(n: usize) -> (Self, oneshot::Receiver<()>) {
        let (sender, zero) = oneshot::channel();
        let counting = Counting {
            left: AtomicUsize::new(n),
            zero: Mutex::new(Some(sender)),
        };
        (Self(Arc::new(counting)), zero)
    }

    fn count(&self) {
        // AcqRel: who reaches zero has seen what the others did before they counted.
        if self.0.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            let zero = self
                .0
                .zero
                .lock()
                .unwrap()
                .take()
                .expect("counted below zero");
            zero.send(()).expect("nobody waits for zero");
        }
    }
}
