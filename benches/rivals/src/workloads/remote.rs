//! What does a spawn cost a thread that is no worker?

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use futures_channel::oneshot;

use super::{Countdown, Plan, repeat};
use crate::meter::{Meter, Sample, us_p50_p99};
use crate::rt::Rt;

pub(super) fn idle<R: Rt>(plan: Plan) -> Sample {
    repeat::<R, _, _>(plan, spawn_many::<R>)
}

pub(super) fn busy<R: Rt>(plan: Plan) -> Sample {
    beside_computing::<R, _>(plan, super::rounds(plan, spawn_many::<R>)).ns_per_op()
}

/// Runs it beside twice as many tasks as there are workers, which compute for 10 us at a time.
fn beside_computing<R, F>(plan: Plan, measured: F) -> F::Output
where
    R: Rt,
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    const COMPUTE: Duration = Duration::from_micros(10);
    R::run(plan.workers, async move {
        let going_on = Arc::new(AtomicBool::new(true));
        for _ in 0..2 * plan.workers {
            let going_on = going_on.clone();
            R::detach(async move {
                while going_on.load(Ordering::Relaxed) {
                    R::yield_now().await;
                    let begun = Instant::now();
                    while begun.elapsed() < COMPUTE {}
                }
            });
        }
        let output = measured.await;
        going_on.store(false, Ordering::Relaxed);
        output
    })
}

/// One round: a new thread spawns the tasks and this one waits, so that it keeps no worker busy.
async fn spawn_many<R: Rt>(mut meter: Meter) -> Meter {
    const TASKS: usize = 10_000;
    on_a_thread::<R, _>(move |remote| {
        let (countdown, zero) = Countdown::from(TASKS);
        let (all_ran, wait) = mpsc::sync_channel(1);
        meter.start();
        for _ in 0..TASKS {
            let countdown = countdown.clone();
            R::spawn_remote(&remote, async move { countdown.count() });
        }
        R::spawn_remote(&remote, async move {
            zero.await.unwrap();
            all_ran.send(()).unwrap();
        });
        wait.recv().unwrap();
        meter.stop(TASKS as u64);
        meter
    })
    .await
}

pub(super) fn submit_wait<R: Rt>(plan: Plan) -> Sample {
    R::run(plan.workers, trips::<R>(plan))
}

pub(super) fn submit_wait_busy<R: Rt>(plan: Plan) -> Sample {
    beside_computing::<R, _>(plan, trips::<R>(plan))
}

async fn trips<R: Rt>(plan: Plan) -> Sample {
    on_a_thread::<R, _>(move |remote| {
        let mut meter = Meter::new();
        let mut trips = Vec::new();
        meter.start();
        let begun = Instant::now();
        while begun.elapsed() < plan.time {
            let (done, wait) = mpsc::sync_channel(1);
            let now = Instant::now();
            R::spawn_remote(&remote, async move { done.send(()).unwrap() });
            wait.recv().unwrap();
            trips.push(now.elapsed().as_nanos() as u64);
        }
        meter.stop(trips.len() as u64);
        meter.sample(us_p50_p99(trips))
    })
    .await
}

async fn on_a_thread<R: Rt, T: Send + 'static>(
    job: impl FnOnce(R::Remote) -> T + Send + 'static,
) -> T {
    let remote = R::remote();
    let (sender, output) = oneshot::channel();
    thread::spawn(move || {
        sender
            .send(job(remote))
            .ok()
            .expect("nobody waits for the thread")
    });
    output.await.unwrap()
}
