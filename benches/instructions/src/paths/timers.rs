//! Timers and deadlines.

use heist::task::yield_now;
use heist::{sleep, timeout};
use std::future::{pending, poll_fn, ready};
use std::hint::black_box;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

/// As a timeout of everyday use: it is never reached.
const FAR: Duration = Duration::from_secs(30);
const NEAR: Duration = Duration::from_millis(1);
/// Yields this often between timers: a task that never yields spends its budget, and its timers are not made at all.
const BETWEEN_YIELDS: u64 = 50;

pub(super) async fn churn(n: u64) {
    for round in 0..n {
        {
            let mut sleep = pin!(sleep(FAR));
            poll_fn(|cx| {
                assert!(sleep.as_mut().poll(cx).is_pending());
                Poll::Ready(())
            })
            .await;
        }
        if round.is_multiple_of(BETWEEN_YIELDS) {
            yield_now().await;
        }
    }
}

pub(super) async fn sleeps(n: u64) {
    for _ in 0..n {
        sleep(NEAR).await;
    }
}

pub(super) async fn timeout_ready(n: u64) {
    for round in 0..n {
        let value = timeout(FAR, ready(black_box(round))).await;
        black_box(value.expect("it is ready"));
    }
}

pub(super) async fn timeout_pending(n: u64) {
    for _ in 0..n {
        let ended = timeout(FAR, yield_now()).await;
        ended.expect("it takes no 30 seconds");
    }
}

pub(super) async fn timeout_strikes(n: u64) {
    for _ in 0..n {
        let ended = timeout(NEAR, pending::<()>()).await;
        ended.expect_err("it never ends by itself");
    }
}
