//! What does it cost to end many tasks at once, by waiting for them or by cancelling them?

use std::future;

use super::{Countdown, Plan, repeat};
use crate::meter::Sample;
use crate::rt::Rt;

const TASKS: usize = 10_000;

pub(super) fn gather<R: Rt>(plan: Plan) -> Sample {
    repeat::<R, _, _>(plan, async |mut meter| {
        meter.start();
        let tasks = (0..TASKS).map(|n| R::spawn(async move { n })).collect();
        let outputs = R::gather(tasks).await;
        meter.stop(TASKS as u64);
        assert!(outputs.into_iter().eq(0..TASKS));
        meter
    })
}

pub(super) fn cancel<R: Rt>(plan: Plan) -> Sample {
    repeat::<R, _, _>(plan, async |mut meter| {
        let tasks = pending_tasks::<R>().await;
        meter.start();
        R::cancel_all(tasks).await;
        meter.stop(TASKS as u64);
        meter
    })
}

pub(super) fn spawn_cancel<R: Rt>(plan: Plan) -> Sample {
    repeat::<R, _, _>(plan, async |mut meter| {
        meter.start();
        R::cancel_all(pending_tasks::<R>().await).await;
        meter.stop(TASKS as u64);
        meter
    })
}

/// Tasks that have been polled and will be pending for ever.
async fn pending_tasks<R: Rt>() -> Vec<R::Task<()>> {
    let (countdown, zero) = Countdown::from(TASKS);
    let pending = || {
        let countdown = countdown.clone();
        R::spawn(async move {
            countdown.count();
            future::pending().await
        })
    };
    let tasks = (0..TASKS).map(|_| pending()).collect();
    zero.await.unwrap();
    tasks
}
