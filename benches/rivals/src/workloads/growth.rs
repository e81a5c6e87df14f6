//! Does anything become dearer when there is more of everything?

use std::future;
use std::time::Duration;

use futures_channel::oneshot;

use super::{Countdown, Plan, Sample, memory, repeat, rounds, spawning, timers};
use crate::rt::Rt;

pub(super) fn spawn_join<R: Rt, const PARKED: usize>(plan: Plan) -> Sample {
    R::run(plan.workers, async move {
        memory::spawn_waiting::<R, _>(PARKED, future::pending).await;
        rounds(plan, spawning::one_joins::<R>).await
    })
    .ns_per_op()
}

pub(super) fn timer<R: Rt, const ASLEEP: usize>(plan: Plan) -> Sample {
    /// However long it takes to start a million sleeps, none ends before the measurement does.
    const FIRST: Duration = Duration::from_secs(3_600);
    /// Later than all of them, so that none of these is ever the next to fire.
    const CHURNED: Duration = Duration::from_secs(7_200);
    R::run(plan.workers, async move {
        timers::sleepers::<R>(ASLEEP, FIRST).await;
        rounds(plan, |meter| timers::one_churns::<R>(CHURNED, meter)).await
    })
    .ns_per_op()
}

pub(super) fn tasks<R: Rt, const TASKS: usize>(plan: Plan) -> Sample {
    repeat::<R, _, _>(plan, async |mut meter| {
        let (parked, all_parked) = Countdown::from(TASKS);
        let (ended, all_ended) = Countdown::from(TASKS);
        meter.start();
        let mut wakes = Vec::with_capacity(TASKS);
        for _ in 0..TASKS {
            let (parked, ended) = (parked.clone(), ended.clone());
            let (wake, woken) = oneshot::channel();
            wakes.push(wake);
            R::detach(async move {
                parked.count();
                woken.await.unwrap();
                ended.count();
            });
        }
        all_parked.await.unwrap();
        for wake in wakes {
            wake.send(()).unwrap();
        }
        all_ended.await.unwrap();
        meter.stop(TASKS as u64);
        meter
    })
}
