//! The workloads, each written once against [`Rt`], and what they share: the rounds and a countdown.
//!
//! A workload is a function from a [`Plan`] to a [`Sample`], run in a process of its own. It builds its
//! runtime, warms up and only then measures.

mod blocking;
mod channels;
mod connections;
mod echo;
mod growth;
mod http;
mod joining;
mod locks;
mod memory;
mod remote;
mod serving;
mod spawning;
mod switching;
mod timers;
mod wrk;

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
    /// What this machine lacks for it.
    pub(crate) lacking: fn() -> Option<String>,
}

impl Workload {
    fn unless(self, lacking: fn() -> Option<String>) -> Self {
        Self { lacking, ..self }
    }
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
const SERVED: &[Figure] = &[
    Figure::more("req/s"),
    Figure::less("us p50"),
    Figure::less("us p99"),
];
const CONNS_PER_S: &[Figure] = &[Figure::more("conns/s")];
const IDLE: &[Figure] = &[Figure::less("wake-ups/s"), Figure::less("cpu us/s")];

/// Every workload, for one runtime.
#[rustfmt::skip]
pub(crate) fn all<R: Rt>() -> Vec<Workload> {
    fn row(
        name: &'static str,
        figures: &'static [Figure],
        run: fn(Plan) -> Sample,
        about: &'static str,
    ) -> Workload {
        Workload { name, about, figures, run, lacking: || None }
    }
    vec![
        row("spawn_local", NS, spawning::local::<R>, "a task spawns 10,000 detached tasks; until the last has run"),
        row("spawn_join", NS, spawning::join::<R>, "a task spawns a task and awaits it, one by one"),
        row("tree", NS, spawning::tree::<R>, "recursive fork and join, a million tasks"),
        row("chained_spawn", NS, spawning::chained::<R>, "a task spawns the next one, 1,000 deep"),
        row("yield", NS, switching::yields::<R>, "200 tasks yield 1,000 times each"),
        row("ping_pong", NS, switching::ping_pong::<R>, "1,000 pairs of tasks, a round trip over two oneshots each, spawns included"),
        row("woken_delay", US_P10_P50, switching::woken_delay::<R>, "a task wakes another, then computes for 2 ms; how late the other runs"),
        row("channel_1_1", NS, channels::one_to_one::<R>, "a task sends 100,000 messages to another; the runtime's own channel, room for 64"),
        row("channel_n_1", NS, channels::many_to_one::<R>, "the same from 16 tasks to one"),
        row("mutex", NS, locks::mutex::<R>, "100 tasks lock the runtime's own mutex 1,000 times each, and keep it over a yield every 10th time"),
        row("semaphore", NS, locks::semaphore::<R>, "the same with a semaphore of 10 permits"),
        row("timer_alone", NS, timers::alone::<R>, "create, poll once and drop a sleep; no other timer"),
        row("timer_live", NS, timers::live::<R>, "the same beside 1,000 sleeping tasks"),
        row("timer_shared", NS, timers::shared::<R>, "the same done by 100 tasks at a time, beside 1,000 sleeping ones"),
        row("timeout_ready", NS, timers::timeout_ready::<R>, "a timeout round a future that is ready"),
        row("sleep_1ms", US_P50_P99, timers::sleep_1ms::<R>, "how late a sleep of 1 ms is, nothing else running"),
        row("sleep_storm", US_P50_P99, timers::storm::<R>, "how late 100,000 sleeps are that end within one second"),
        row("spawn_remote_idle", NS, remote::idle::<R>, "an OS thread spawns 10,000 tasks onto idle workers; until the last has run"),
        row("spawn_remote_busy", NS, remote::busy::<R>, "the same while twice as many tasks as workers compute 10 us at a time"),
        row("submit_wait", US_P50_P99, remote::submit_wait::<R>, "an OS thread spawns a task onto idle workers and waits for it"),
        row("submit_wait_busy", US_P50_P99, remote::submit_wait_busy::<R>, "the same while twice as many tasks as workers compute 10 us at a time"),
        row("gather", NS, joining::gather::<R>, "spawn 10,000 tasks and wait for all at once"),
        row("cancel", NS, joining::cancel::<R>, "cancel 10,000 pending tasks and wait until the last is gone"),
        row("spawn_cancel", NS, joining::spawn_cancel::<R>, "the same with the spawns and the first polls"),
        row("blocking_trip", NS, blocking::trip::<R>, "spawn_blocking of an empty job and its result, one by one"),
        row("blocking_burst", NS, blocking::burst::<R>, "spawn_blocking of 10,000 empty jobs; until the last result"),
        row("parked_bytes", BYTES, memory::parked::<R>, "resident memory per pending task, 100,000 of them"),
        row("sleeping_bytes", BYTES, memory::sleeping::<R>, "resident memory per sleeping task, 100,000 of them"),
        row("echo_64", SERVED, echo::on::<R, 64>, "TCP echo of 64 bytes, 64 connections, one request under way on each"),
        row("echo_1000", SERVED, echo::on::<R, 1_000>, "the same with 1,000 connections"),
        row("http_64", SERVED, http::own_client::<R>, "HTTP/1.1 plaintext by hyper, 64 connections, one request under way on each"),
        row("http_wrk_64", SERVED, http::wrk::<R>, "the same with wrk as the client, for whole seconds").unless(wrk::missing),
        row("churn", CONNS_PER_S, connections::churn::<R>, "connect, one TCP echo of 64 bytes, reset by the client; 64 at a time"),
        row("idle_10k", IDLE, connections::idle::<R, 10_000>, "10,000 silent connections with a task reading from each: context switches and CPU time per second").unless(serving::too_few_descriptors::<10_000>),
        row("growth_spawn_join_1k", NS, growth::spawn_join::<R, 1_000>, "spawn_join beside 1,000 parked tasks"),
        row("growth_spawn_join_10k", NS, growth::spawn_join::<R, 10_000>, "the same beside 10,000"),
        row("growth_spawn_join_100k", NS, growth::spawn_join::<R, 100_000>, "the same beside 100,000"),
        row("growth_spawn_join_1m", NS, growth::spawn_join::<R, 1_000_000>, "the same beside a million"),
        row("growth_timer_1k", NS, growth::timer::<R, 1_000>, "create, poll once and drop a sleep beside 1,000 sleeping tasks that wake earlier"),
        row("growth_timer_10k", NS, growth::timer::<R, 10_000>, "the same beside 10,000"),
        row("growth_timer_100k", NS, growth::timer::<R, 100_000>, "the same beside 100,000"),
        row("growth_timer_1m", NS, growth::timer::<R, 1_000_000>, "the same beside a million"),
        row("growth_echo_1k", SERVED, echo::in_turns::<R, 1_000>, "echo_64 with 1,000 connections that take turns: 64 requests under way at a time").unless(serving::too_few_descriptors::<1_000>),
        row("growth_echo_10k", SERVED, echo::in_turns::<R, 10_000>, "echo_64 with 10,000 connections that take turns: 64 requests under way at a time").unless(serving::too_few_descriptors::<10_000>),
        row("growth_tasks_1m", NS, growth::tasks::<R, 1_000_000>, "spawn a million tasks that park, wake all; until the last has ended"),
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
