//! What the tests of sockets, files and standard streams share: a driver on a thread of its own, and a bounded `block_on`.

#![allow(dead_code)] // each test binary uses a part

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

use heist_io_driver::{Config, Driver, Handle, WakeBatch};

use crate::limit::Limit;

/// After this long a test hangs.
const LIMIT: Duration = Duration::from_secs(30);

/// A driver, turned by a thread until the rig is dropped.
pub(crate) struct Rig {
    handle: Handle,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    /// The test's, whose waits are all bounded by it.
    _limit: Limit,
}

impl Rig {
    pub(crate) fn new(config: Config) -> Rig {
        let mut driver = Driver::new(config).expect("a driver");
        let handle = driver.handle().clone();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            let mut batch = WakeBatch::default();
            // Acquire: pairs with the Release in `drop`.
            while !stopped.load(Ordering::Acquire) {
                driver
                    .turn(Some(Duration::from_secs(1)), false, &mut batch)
                    .expect("a turn");
                batch.wake_all();
            }
            driver.shutdown(&mut batch);
            batch.wake_all();
        });
        Rig {
            handle,
            stop,
            thread: Some(thread),
            _limit: Limit::new(),
        }
    }

    /// Runs a future on this thread.
    #[track_caller]
    pub(crate) fn block_on<F: Future>(&self, future: F) -> F::Output {
        let _entered = self.handle.enter(0);
        block_on(future)
    }

    /// Runs a future on another thread.
    pub(crate) fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let handle = self.handle.clone();
        thread::spawn(move || {
            let _entered = handle.enter(0);
            block_on(future)
        })
    }

    /// Stops the driver, with everything that waits on it.
    pub(crate) fn stop(&mut self) {
        // Release: pairs with the Acquire in the driver's thread.
        self.stop.store(true, Ordering::Release);
        self.handle.notify();
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the driver's thread");
        }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Runs the test on the system's own driver, then on the portable one.
#[track_caller]
pub(crate) fn on_both_paths(test: impl Fn(&Rig)) {
    for portable in [false, true] {
        let config = Config {
            portable,
            ..Config::default()
        };
        test(&Rig::new(config));
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[track_caller]
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut cx = Context::from_waker(&waker);
    let mut future = pin!(future);
    let end = Instant::now() + LIMIT;
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
        let left = end.saturating_duration_since(Instant::now());
        assert!(!left.is_zero(), "still pending after {LIMIT:?}");
        thread::park_timeout(left);
    }
}

/// Runs two futures at once on one thread.
pub(crate) async fn join<A: Future, B: Future>(a: A, b: B) -> (A::Output, B::Output) {
    let (mut a, mut b) = (pin!(a), pin!(b));
    let (mut out_a, mut out_b) = (None, None);
    std::future::poll_fn(|cx| {
        if out_a.is_none()
            && let Poll::Ready(output) = a.as_mut().poll(cx)
        {
            out_a = Some(output);
        }
        if out_b.is_none()
            && let Poll::Ready(output) = b.as_mut().poll(cx)
        {
            out_b = Some(output);
        }
        if out_a.is_some() && out_b.is_some() {
            return Poll::Ready((out_a.take().unwrap(), out_b.take().unwrap()));
        }
        Poll::Pending
    })
    .await
}

/// A directory of its own, removed with what is in it.
pub(crate) struct Directory(std::path::PathBuf);

impl Directory {
    pub(crate) fn new() -> Directory {
        use std::sync::atomic::AtomicUsize;
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        // Relaxed: each gets a different number, which is all that counts.
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("heist-io-{}-{n}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).expect("a directory");
        Directory(path)
    }

    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.join(name)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs the test on both paths, each time with a directory.
#[track_caller]
pub(crate) fn in_a_directory(test: impl AsyncFn(&Directory)) {
    on_both_paths(|rig| {
        let directory = Directory::new();
        rig.block_on(test(&directory));
    });
}
