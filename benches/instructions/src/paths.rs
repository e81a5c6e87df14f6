//! The hot paths, each so many times over, on a runtime of one thread.
//!
//! What is not here cannot be counted so: a spawn or a wake from a foreign thread, steals and sockets take as many instructions as
//! the threads and the kernel happen to need.

mod cancelling;
mod many;
mod sync;
mod tasks;
mod timers;

use std::future::Future;
use std::pin::Pin;

/// How many children the combinators get at a time.
const CHILDREN: u64 = 100;

pub(crate) struct Path {
    pub(crate) name: &'static str,
    /// What one operation is.
    pub(crate) about: &'static str,
    body: Body,
    clock: Clock,
}

type Body = fn(u64) -> Pin<Box<dyn Future<Output = ()> + Send>>;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Clock {
    System,
    /// Time passes only when nothing can run, and then to the next timer: it is always the same for the wheel.
    Paused,
}

impl Path {
    const fn new(name: &'static str, about: &'static str, body: Body) -> Self {
        Self {
            name,
            about,
            body,
            clock: Clock::System,
        }
    }

    const fn paused(mut self) -> Self {
        self.clock = Clock::Paused;
        self
    }

    /// Takes the path `n` times, a multiple of 100.
    pub(crate) fn run(&self, n: u64) -> Result<(), String> {
        if !n.is_multiple_of(CHILDREN) {
            return Err(format!("{n} is no multiple of {CHILDREN}"));
        }
        let runtime = heist::Builder::new()
            .current_thread()
            .start_paused(self.clock == Clock::Paused)
            .build()
            .map_err(|error| format!("no runtime: {error}"))?;
        runtime
            .run((self.body)(n))
            .map_err(|error| format!("{}: {error}", self.name))
    }
}

pub(crate) const PATHS: &[Path] = &[
    Path::new("spawn_await", "spawn a task and await it", |n| {
        Box::pin(tasks::spawn_await(n))
    }),
    Path::new("spawn_detached", "spawn a task and let it run", |n| {
        Box::pin(tasks::spawn_detached(n))
    }),
    Path::new("yield", "yield, with nobody else there", |n| {
        Box::pin(tasks::yields(n))
    }),
    Path::new("wake", "wake a task; it is polled; yield", |n| {
        Box::pin(tasks::wake(n))
    }),
    Path::new(
        "ping_pong",
        "two promises, and a task that answers one with the other",
        |n| Box::pin(tasks::ping_pong(n)),
    ),
    Path::new("promise", "a promise made, set and awaited", |n| {
        Box::pin(tasks::promise(n))
    }),
    Path::new("context_get", "get a context variable", |n| {
        Box::pin(tasks::context_get(n))
    }),
    Path::new(
        "context_spawn",
        "as spawn_await, with a variable set",
        |n| Box::pin(tasks::context_spawn(n)),
    ),
    Path::new(
        "timer_churn",
        "a sleep made, polled once and dropped",
        |n| Box::pin(timers::churn(n)),
    ),
    Path::new("sleep", "a sleep that is alone, to its end", |n| {
        Box::pin(timers::sleeps(n))
    })
    .paused(),
    Path::new("timeout_ready", "a timeout round a ready future", |n| {
        Box::pin(timers::timeout_ready(n))
    }),
    Path::new(
        "timeout_pending",
        "a timeout round a yield, which ends in time",
        |n| Box::pin(timers::timeout_pending(n)),
    ),
    Path::new(
        "timeout_strikes",
        "a timeout that is alone, to its deadline",
        |n| Box::pin(timers::timeout_strikes(n)),
    )
    .paused(),
    Path::new(
        "cancel",
        "a task spawned, begun, cancelled and awaited",
        |n| Box::pin(cancelling::cancel(n)),
    ),
    Path::new(
        "catch_cancel",
        "as cancel, of a task that catches it and goes on",
        |n| Box::pin(cancelling::catch_cancel(n)),
    ),
    Path::new("gather", "a child spawned and gathered, of 100", |n| {
        Box::pin(many::gather(n))
    }),
    Path::new("wait", "a child spawned and waited for, of 100", |n| {
        Box::pin(many::wait(n))
    }),
    Path::new(
        "as_completed",
        "a child spawned and given at its end, of 100",
        |n| Box::pin(many::as_completed(n)),
    ),
    Path::new("task_group", "a child of a task group, of 100", |n| {
        Box::pin(many::task_group(n))
    }),
    Path::new("shield", "as spawn_await, through a shield", |n| {
        Box::pin(many::shield(n))
    }),
    Path::new("queue", "put and get, in the same task", |n| {
        Box::pin(sync::queue(n))
    }),
    Path::new(
        "queue_hand_off",
        "put in one task and get in another, through a place for one",
        |n| Box::pin(sync::queue_hand_off(n)),
    ),
    Path::new("lock", "lock and unlock, with nobody else there", |n| {
        Box::pin(sync::lock(n))
    }),
    Path::new(
        "lock_contended",
        "lock, yield and unlock, while another task does the same",
        |n| Box::pin(sync::lock_contended(n)),
    ),
    Path::new(
        "semaphore",
        "acquire and release, with nobody else there",
        |n| Box::pin(sync::semaphore(n)),
    ),
    Path::new(
        "event",
        "set an event that a task waits for, and one back",
        |n| Box::pin(sync::event(n)),
    ),
];
