//! Requests for cancellation, dropped at and caught.

use heist::Task;
use heist::task::yield_now;
use std::future::{Future, pending, poll_fn};
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::Poll;

/// Whether the task in question has begun: one that has not is cancelled in another way.
static BEGUN: AtomicBool = AtomicBool::new(false);

async fn begin<F>(future: F) -> Task<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    BEGUN.store(false, Relaxed);
    let task = heist::spawn(future);
    while !BEGUN.load(Relaxed) {
        yield_now().await;
    }
    task
}

async fn never() {
    poll_fn(|_| {
        BEGUN.store(true, Relaxed);
        Poll::Ready(())
    })
    .await;
    pending().await
}

pub(super) async fn cancel(n: u64) {
    for _ in 0..n {
        let task = begin(never()).await;
        task.cancel(None);
        let error = task.await.expect_err("it never ends by itself");
        assert!(black_box(error).is_cancelled());
    }
}

pub(super) async fn catch_cancel(n: u64) {
    for _ in 0..n {
        let task = begin(async { heist::catch_cancel(never()).await.is_err() }).await;
        task.cancel(None);
        assert!(task.await.expect("it goes on"), "it is caught");
    }
}
