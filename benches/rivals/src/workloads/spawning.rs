//! What does a task cost, from its spawn to its end?

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_channel::oneshot;

use super::{Countdown, Plan, repeat};
use crate::meter::{Meter, Sample};
use crate::rt::Rt;

pub(super) fn local<R: Rt>(plan: Plan) -> Sample {
    const TASKS: usize = 10_000;
    repeat::<R, _, _>(plan, async |mut meter| {
        let (countdown, zero) = Countdown::from(TASKS);
        meter.start();
        for _ in 0..TASKS {
            let countdown = countdown.clone();
            R::detach(async move { countdown.count() });
        }
        zero.await.unwrap();
        meter.stop(TASKS as u64);
        meter
    })
}

pub(super) fn join<R: Rt>(plan: Plan) -> Sample {
    repeat::<R, _, _>(plan, one_joins::<R>)
}

/// One round: this task spawns others, one by one.
pub(super) async fn one_joins<R: Rt>(mut meter: Meter) -> Meter {
    const TASKS: u64 = 10_000;
    meter.start();
    for n in 0..TASKS {
        assert_eq!(R::spawn(async move { n }).await, n);
    }
    meter.stop(TASKS);
    meter
}

pub(super) fn tree<R: Rt>(plan: Plan) -> Sample {
    /// A tree of 2^20 - 1 tasks.
    const DEPTH: u32 = 19;
    repeat::<R, _, _>(plan, async |mut meter| {
        meter.start();
        let tasks = R::spawn(Tree::<R>::new(DEPTH)).await;
        meter.stop(tasks);
        meter
    })
}

/// Spawns its two halves, awaits them and yields the number of tasks from itself down.
///
/// By hand rather than as an `async fn`, which would have to box itself to be recursive.
struct Tree<R: Rt> {
    depth: u32,
    halves: Option<[R::Task<u64>; 2]>,
    /// How many halves are done, and the tasks that they count.
    done: usize,
    tasks: u64,
}

impl<R: Rt> Tree<R> {
    fn new(depth: u32) -> Self {
        Self {
            depth,
            halves: None,
            done: 0,
            tasks: 1,
        }
    }
}

impl<R: Rt> Future for Tree<R> {
    type Output = u64;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<u64> {
        let Self {
            depth,
            halves,
            done,
            tasks,
        } = &mut *self;
        if *depth > 0 {
            let half = |_| R::spawn(Self::new(*depth - 1));
            let halves = halves.get_or_insert_with(|| [0, 1].map(half));
            while let Some(half) = halves.get_mut(*done) {
                *tasks += ready!(Pin::new(half).poll(cx));
                *done += 1;
            }
        }
        Poll::Ready(*tasks)
    }
}

pub(super) fn chained<R: Rt>(plan: Plan) -> Sample {
    const DEPTH: u64 = 1_000;
    fn link<R: Rt>(depth: u64, end: oneshot::Sender<()>) {
        match depth {
            0 => end.send(()).unwrap(),
            _ => R::detach(async move { link::<R>(depth - 1, end) }),
        }
    }
    repeat::<R, _, _>(plan, async |mut meter| {
        meter.start();
        let (sender, end) = oneshot::channel();
        link::<R>(DEPTH, sender);
        end.await.unwrap();
        meter.stop(DEPTH);
        meter
    })
}
