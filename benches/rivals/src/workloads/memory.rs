//! How much memory does a task take that does nothing?

use std::future::{self, Future};
use std::time::Duration;

use super::{Countdown, Plan};
use crate::meter::{Meter, Sample};
use crate::rt::Rt;
use crate::usage;

pub(super) fn parked<R: Rt>(plan: Plan) -> Sample {
    grown_by::<R, _>(plan, future::pending)
}

pub(super) fn sleeping<R: Rt>(plan: Plan) -> Sample {
    grown_by::<R, _>(plan, || R::sleep(Duration::from_secs(3_600)))
}

fn grown_by<R, Fut>(plan: Plan, wait: fn() -> Fut) -> Sample
where
    R: Rt,
    Fut: Future<Output = ()> + Send + 'static,
{
    /// So that what the runtime and the allocator need once is there already.
    const BEFORE: usize = 1_000;
    const TASKS: usize = 100_000;
    R::run(plan.workers, async move {
        spawn_waiting::<R, _>(BEFORE, wait).await;
        let before = usage::resident_kib();
        let mut meter = Meter::new();
        meter.start();
        spawn_waiting::<R, _>(TASKS, wait).await;
        meter.stop(TASKS as u64);
        let grown = usage::resident_kib().saturating_sub(before) * 1024;
        meter.sample(vec![grown as f64 / TASKS as f64])
    })
}

pub(super) async fn spawn_waiting<R, Fut>(tasks: usize, wait: fn() -> Fut)
where
    R: Rt,
    Fut: Future<Output = ()> + Send + 'static,
{
    let (countdown, zero) = Countdown::from(tasks);
    for _ in 0..tasks {
        let countdown = countdown.clone();
        R::detach(async move {
            countdown.count();
            drop(countdown);
            wait().await;
        });
    }
    zero.await.unwrap();
}
