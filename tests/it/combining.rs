//! What the tests of the combinators share.

use crate::support::{Gate, limited, on_each_flavour};
use heist::{catch_cancel, sleep};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

/// Runs `test` as a task with 1, 2 and 4 workers and on the current thread, with the clock paused: time passes when nothing can run.
pub(crate) fn on_each<F, T>(test: F)
where
    F: Fn() -> T + Send + 'static,
    T: Future<Output = ()> + Send + 'static,
{
    limited(move || {
        on_each_flavour(|flavour, builder| {
            let runtime = builder.start_paused(true).build().unwrap();
            let ended = runtime.run(test());
            ended.unwrap_or_else(|error| panic!("{flavour}: {error}"));
        });
    });
}

pub(crate) fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Until all others have gone as far as they can.
pub(crate) async fn settled() {
    sleep(ms(1)).await;
}

/// Counts its requests and suppresses every one, until the gate is open.
pub(crate) async fn stubborn(gate: Gate, requests: Arc<AtomicUsize>) -> &'static str {
    while catch_cancel(gate.passed()).await.is_err() {
        requests.fetch_add(1, SeqCst);
    }
    "suppressed"
}

/// A value whose destructor panics, and which cannot be cloned without a panic.
#[derive(Debug)]
pub(crate) struct Touchy;

impl Clone for Touchy {
    fn clone(&self) -> Self {
        panic!("touched");
    }
}

impl Drop for Touchy {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("dropped");
        }
    }
}

/// A waker that panics when it is called.
pub(crate) fn touchy_waker() -> std::task::Waker {
    struct Panics;
    impl std::task::Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("woken");
        }
    }
    Arc::new(Panics).into()
}
