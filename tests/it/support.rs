//! What the tests share: waiting for a condition, gates, counted drops, and the flavours of the runtime.

pub(crate) use crate::limit::limited;
use heist::{Builder, Handle, Runtime};
use parking_lot::Mutex;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// Runs `body(0)`, `body(1)`.. on a thread each, side by side, to their ends. The threads are joined one by one: how a scope ends by itself
/// happens inside std, where ThreadSanitizer does not see it.
pub(crate) fn side_by_side<R: Send>(threads: usize, body: impl Fn(usize) -> R + Sync) -> Vec<R> {
    let body = &body;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads)
            .map(|number| scope.spawn(move || body(number)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    })
}

/// Whether a task is neither queued nor running, as its `Debug` says.
pub(crate) fn is_suspended<T>(task: &heist::Task<T>) -> bool {
    let shown = format!("{task:?}");
    !task.is_done() && !shown.contains(" queued> ") && !shown.contains(" running> ")
}

/// Waits until `condition` holds; fails if it does not within 20 seconds.
#[track_caller]
pub(crate) fn until(what: &str, condition: impl Fn() -> bool) {
    wait_until(what, condition, || {
        std::thread::sleep(Duration::from_millis(1))
    });
}

/// The same, with a CPU of its own.
#[track_caller]
pub(crate) fn burn_until(what: &str, condition: impl Fn() -> bool) {
    wait_until(what, condition, std::hint::spin_loop);
}

#[track_caller]
fn wait_until(what: &str, condition: impl Fn() -> bool, pause: impl Fn()) {
    let began = Instant::now();
    while !condition() {
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "still not: {what}"
        );
        pause();
    }
}

/// A multi-threaded runtime.
pub(crate) fn threaded(workers: usize) -> Runtime {
    Builder::new().worker_threads(workers).build().unwrap()
}

/// A runtime that runs on the thread of `block_on`.
pub(crate) fn seated() -> Runtime {
    Builder::new().current_thread().build().unwrap()
}

/// Runs `test` with 1, 2 and 4 workers and on the current thread.
pub(crate) fn on_each_flavour(test: impl Fn(&str, Builder)) {
    for workers in [1, 2, 4] {
        test(
            &format!("{workers} workers"),
            Builder::new().worker_threads(workers),
        );
    }
    test("current thread", Builder::new().current_thread());
}

/// Lets the runtime run until `condition` holds; works where only `block_on` runs tasks, too.
#[track_caller]
pub(crate) fn run_until(runtime: &Handle, what: &'static str, condition: impl Fn() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "still not: {what}"
        );
        runtime
            .block_on(heist::sleep(Duration::from_micros(200)))
            .unwrap();
    }
}

/// Counts values: how many were made, how many dropped.
#[derive(Clone, Default)]
pub(crate) struct Drops(Arc<(AtomicUsize, AtomicUsize)>);

/// One counted value.
pub(crate) struct Counted(Drops);

impl Drops {
    pub(crate) fn one(&self) -> Counted {
        self.0.0.fetch_add(1, SeqCst);
        Counted(self.clone())
    }

    pub(crate) fn made(&self) -> usize {
        self.0.0.load(SeqCst)
    }

    pub(crate) fn dropped(&self) -> usize {
        self.0.1.load(SeqCst)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.1.fetch_add(1, SeqCst);
    }
}

/// Closed until it is opened; any number of tasks and threads may wait.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<(AtomicBool, Mutex<Vec<Waker>>)>);

impl Gate {
    pub(crate) fn open(&self) {
        self.0.0.store(true, SeqCst);
        let wakers = std::mem::take(&mut *self.0.1.lock());
        for waker in wakers {
            waker.wake();
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.0.0.load(SeqCst)
    }

    /// Blocks the thread.
    #[track_caller]
    pub(crate) fn block(&self) {
        until("the gate is open", || self.is_open());
    }

    /// Suspends the task.
    pub(crate) fn passed(&self) -> Passed {
        Passed(self.clone())
    }
}

pub(crate) struct Passed(Gate);

impl Future for Passed {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let gate = &self.0;
        if gate.is_open() {
            return Poll::Ready(());
        }
        gate.0.1.lock().push(cx.waker().clone());
        // It may have been opened meanwhile.
        if gate.is_open() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

/// Pending for ever, and remembers the waker of every poll.
#[derive(Clone, Default)]
pub(crate) struct Stuck(pub(crate) Arc<Mutex<Vec<Waker>>>);

impl Future for Stuck {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.lock().push(cx.waker().clone());
        Poll::Pending
    }
}

/// Burns CPU for a while.
pub(crate) fn burn(duration: Duration) {
    let began = Instant::now();
    while began.elapsed() < duration {
        std::hint::spin_loop();
    }
}

/// Small numbers in a fixed order.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self((seed + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    pub(crate) fn pause(&mut self) -> Duration {
        Duration::from_micros(self.below(200))
    }
}
