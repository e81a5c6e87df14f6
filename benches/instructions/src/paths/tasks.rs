//! Tasks, their wake-ups, and what follows them about.

use super::CHILDREN;
use heist::context::ContextVar;
use heist::task::yield_now;
use std::future::poll_fn;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Poll, Waker};

pub(super) async fn spawn_await(n: u64) {
    for round in 0..n {
        let task = heist::spawn(async move { round });
        black_box(task.await.expect("it ends well"));
    }
}

pub(super) async fn spawn_detached(n: u64) {
    let ended = Arc::new(AtomicU64::new(0));
    for round in 1..=n {
        let count = ended.clone();
        heist::spawn(async move {
            count.fetch_add(1, Relaxed);
        })
        .detach();
        if round.is_multiple_of(CHILDREN) {
            while ended.load(Relaxed) < round {
                yield_now().await;
            }
        }
    }
}

pub(super) async fn yields(n: u64) {
    for _ in 0..n {
        yield_now().await;
    }
}

pub(super) async fn wake(n: u64) {
    let polls = Arc::new(AtomicU64::new(0));
    let (here_it_is, waker) = heist::promise::<Waker>();
    let count = polls.clone();
    let sleeper = heist::spawn(poll_fn(move |cx| {
        if count.fetch_add(1, Relaxed) == 0 {
            let given = here_it_is.set(cx.waker().clone());
            given.expect("nobody has set it");
        }
        Poll::<()>::Pending
    }));
    let waker = waker.await.expect("it is set");
    for _ in 0..n {
        waker.wake_by_ref();
        yield_now().await;
    }
    assert_eq!(polls.load(Relaxed), n + 1, "a poll for each wake-up");
    sleeper.abort(None);
}

pub(super) async fn ping_pong(n: u64) {
    for round in 0..n {
        let (ping, pinged) = heist::promise();
        let (pong, ponged) = heist::promise();
        heist::spawn(async move {
            let answer: u64 = pinged.await.expect("it is set");
            pong.set(answer).expect("nobody has set it");
        })
        .detach();
        ping.set(round).expect("nobody has set it");
        black_box(ponged.await.expect("it is set"));
    }
}

pub(super) async fn promise(n: u64) {
    for round in 0..n {
        let (promise, deferred) = heist::promise();
        promise.set(round).expect("nobody has set it");
        black_box(deferred.await.expect("it is set"));
    }
}

static VARIABLE: ContextVar<u64> = ContextVar::new("variable");

pub(super) async fn context_get(n: u64) {
    VARIABLE.set(7);
    for _ in 0..n {
        black_box(VARIABLE.get());
    }
}

pub(super) async fn context_spawn(n: u64) {
    VARIABLE.set(7);
    spawn_await(n).await;
}
