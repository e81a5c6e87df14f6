//! What does it cost to go from one task to another, and how long may that take?

use std::time::{Duration, Instant};

use futures_channel::oneshot;

use super::{Countdown, Plan, repeat};
use crate::meter::{self, Meter, Sample};
use crate::rt::Rt;

pub(super) fn yields<R: Rt>(plan: Plan) -> Sample {
    const TASKS: usize = 200;
    const YIELDS: usize = 1_000;
    repeat::<R, _, _>(plan, async |mut meter| {
        let (countdown, zero) = Countdown::from(TASKS);
        meter.start();
        for _ in 0..TASKS {
            let countdown = countdown.clone();
            R::detach(async move {
                for _ in 0..YIELDS {
                    R::yield_now().await;
                }
                countdown.count();
            });
        }
        zero.await.unwrap();
        meter.stop((TASKS * YIELDS) as u64);
        meter
    })
}

pub(super) fn ping_pong<R: Rt>(plan: Plan) -> Sample {
    const PAIRS: usize = 1_000;
    repeat::<R, _, _>(plan, async |mut meter| {
        let (countdown, zero) = Countdown::from(PAIRS);
        meter.start();
        // From a task of its own, so that the pairs are spawned by a worker's ordinary task.
        R::detach(async move {
            for _ in 0..PAIRS {
                let countdown = countdown.clone();
                R::detach(async move {
                    let (ping, pinged) = oneshot::channel();
                    let (pong, ponged) = oneshot::channel();
                    R::detach(async move {
                        pinged.await.unwrap();
                        pong.send(()).unwrap();
                    });
                    ping.send(()).unwrap();
                    ponged.await.unwrap();
                    countdown.count();
                });
            }
        });
        zero.await.unwrap();
        meter.stop(PAIRS as u64);
        meter
    })
}

pub(super) fn woken_delay<R: Rt>(plan: Plan) -> Sample {
    const COMPUTE: Duration = Duration::from_millis(2);
    R::run(plan.workers, async move {
        let mut meter = Meter::new();
        let mut delays = Vec::new();
        meter.start();
        let begun = Instant::now();
        while begun.elapsed() < plan.time {
            let (wake, woken) = oneshot::channel::<Instant>();
            let waiting = R::spawn(async move { woken.await.unwrap().elapsed() });
            let computing = R::spawn(async move {
                // The other one is waiting by now, and all workers have gone to sleep.
                R::sleep(COMPUTE).await;
                let now = Instant::now();
                wake.send(now).unwrap();
                while now.elapsed() < COMPUTE {}
            });
            delays.push(waiting.await.as_nanos() as u64);
            computing.await;
        }
        meter.stop(delays.len() as u64);
        meter.sample(meter::us(delays, [0.1, 0.5]))
    })
}
