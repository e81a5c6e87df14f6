//! A small executor on a driver, one on no driver, and what the tests share.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use heist_io_driver::{Config, Driver, WakeBatch};

pub(crate) use crate::limit::Limit;

/// After which a test has failed: far beyond what a loaded machine needs.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// Counts its wakes.
#[derive(Default)]
pub(crate) struct Count(AtomicUsize);

impl Count {
    pub(crate) fn new() -> (Arc<Count>, Waker) {
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        (count, waker)
    }

    pub(crate) fn get(&self) -> usize {
        // Acquire: pairs with the Release in `wake`.
        self.0.load(Ordering::Acquire)
    }
}

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        // Release: pairs with the Acquire in `get`.
        self.0.fetch_add(1, Ordering::Release);
    }
}

/// Runs `test` on a driver of each kind.
pub(crate) fn each(test: impl Fn(Config)) {
    let _limit = Limit::new();
    for portable in [false, true] {
        test(Config {
            portable,
            shards: 2,
            ..Config::default()
        });
    }
}

pub(crate) fn driver(config: &Config) -> Driver {
    Driver::new(config.clone()).unwrap()
}

/// Runs a future on this thread, turning the driver in between.
pub(crate) fn run<F: Future>(driver: &mut Driver, future: F) -> F::Output {
    let handle = driver.handle().clone();
    let _entered = handle.enter(0);
    let (woken, waker) = Count::new();
    let mut cx = Context::from_waker(&waker);
    let mut future = pin!(future);
    let mut batch = WakeBatch::new();
    let start = Instant::now();
    let mut seen = usize::MAX;
    loop {
        while seen != woken.get() {
            seen = woken.get();
            if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
                return output;
            }
        }
        assert!(start.elapsed() < LIMIT, "not ready in time");
        driver
            .turn(Some(Duration::from_secs(5)), true, &mut batch)
            .unwrap();
        assert_eq!(batch.wake_all(), 0);
    }
}

/// Turns the driver until `done`, waking everybody.
pub(crate) fn turn_until(driver: &mut Driver, mut done: impl FnMut() -> bool) {
    let mut batch = WakeBatch::new();
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < LIMIT, "not done in time");
        driver
            .turn(Some(Duration::from_millis(50)), false, &mut batch)
            .unwrap();
        batch.wake_all();
    }
}

/// Runs a future by parking the thread: somebody else's driver must wake it.
pub(crate) fn park_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut cx = Context::from_waker(&waker);
    let mut future = pin!(future);
    let start = Instant::now();
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
        assert!(start.elapsed() < LIMIT, "not ready in time");
        thread::park_timeout(LIMIT);
    }
}

/// Waits until `done`.
pub(crate) fn wait_until(mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < LIMIT, "not done in time");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Both futures, polled in turn until both are ready.
pub(crate) async fn both<A: Future, B: Future>(a: A, b: B) -> (A::Output, B::Output) {
    let (mut a, mut b) = (pin!(a), pin!(b));
    let (mut x, mut y) = (None, None);
    std::future::poll_fn(move |cx| {
        if x.is_none()
            && let Poll::Ready(output) = a.as_mut().poll(cx)
        {
            x = Some(output);
        }
        if y.is_none()
            && let Poll::Ready(output) = b.as_mut().poll(cx)
        {
            y = Some(output);
        }
        match (x.take(), y.take()) {
            (Some(a), Some(b)) => Poll::Ready((a, b)),
            (a, b) => {
                (x, y) = (a, b);
                Poll::Pending
            }
        }
    })
    .await
}

/// Polls once, with a waker that does nothing.
pub(crate) fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    std::pin::Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// Turns a driver that has nothing to do until `wait` is over. A turn may return early (a signal
/// came), but must not do so again and again.
pub(crate) fn turn_idly(driver: &mut Driver, wait: Duration, idle: bool) {
    let mut batch = WakeBatch::new();
    let (start, mut turns) = (Instant::now(), 0);
    while let Some(left) = wait.checked_sub(start.elapsed()) {
        let turned = driver.turn(Some(left), idle, &mut batch).unwrap();
        assert_eq!((turned.events, turned.timers), (0, 0));
        turns += 1;
        assert!(turns < 50, "spins");
    }
}
