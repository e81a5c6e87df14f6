//! What does a timer cost that never fires, and how late is one that does?

use std::future::{self, Future};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use super::{Countdown, Plan, repeat};
use crate::meter::{Meter, Sample, us_p50_p99};
use crate::rt::Rt;

/// As long as a timeout of everyday use: never reached, and later than [`SLEEPERS_WAKE`].
const CHURNED: Duration = Duration::from_secs(30);
const SLEEPERS: usize = 1_000;
const SLEEPERS_WAKE: Duration = Duration::from_secs(20);

/// Yields this often between timers: a task that never yields uses up its budget in tokio, and polling
/// a sleep then registers nothing.
const CHURN_BETWEEN_YIELDS: u64 = 50;

pub(super) fn alone<R: Rt>(plan: Plan) -> Sample {
    repeat::<R, _, _>(plan, |meter| one_churns::<R>(CHURNED, meter))
}

pub(super) fn live<R: Rt>(plan: Plan) -> Sample {
    R::run(plan.workers, async move {
        sleepers::<R>(SLEEPERS, SLEEPERS_WAKE).await;
        super::rounds(plan, |meter| one_churns::<R>(CHURNED, meter)).await
    })
    .ns_per_op()
}

pub(super) fn shared<R: Rt>(plan: Plan) -> Sample {
    const TASKS: usize = 100;
    const TIMERS: u64 = 1_000;
    R::run(plan.workers, async move {
        sleepers::<R>(SLEEPERS, SLEEPERS_WAKE).await;
        let round = async |mut meter: Meter| {
            let (countdown, zero) = Countdown::from(TASKS);
            meter.start();
            for _ in 0..TASKS {
                let countdown = countdown.clone();
                R::detach(async move {
                    churn::<R>(TIMERS, CHURNED).await;
                    countdown.count();
                });
            }
            zero.await.unwrap();
            meter.stop(TASKS as u64 * TIMERS);
            meter
        };
        super::rounds(plan, round).await
    })
    .ns_per_op()
}

/// One round: this task makes timers, one by one.
pub(super) async fn one_churns<R: Rt>(duration: Duration, mut meter: Meter) -> Meter {
    const TIMERS: u64 = 10_000;
    meter.start();
    churn::<R>(TIMERS, duration).await;
    meter.stop(TIMERS);
    meter
}

async fn churn<R: Rt>(timers: u64, duration: Duration) {
    for n in 0..timers {
        {
            let mut sleep = pin!(R::sleep(duration));
            future::poll_fn(|cx| {
                assert!(sleep.as_mut().poll(cx).is_pending());
                Poll::Ready(())
            })
            .await;
        }
        if n % CHURN_BETWEEN_YIELDS == 0 {
            R::yield_now().await;
        }
    }
}

/// Tasks that sleep until `first` and after, a millisecond apart.
pub(super) async fn sleepers<R: Rt>(tasks: usize, first: Duration) {
    let (countdown, zero) = Countdown::from(tasks);
    for n in 0..tasks {
        let countdown = countdown.clone();
        R::detach(async move {
            countdown.count();
            R::sleep(first + Duration::from_millis(n as u64)).await;
        });
    }
    zero.await.unwrap();
}

pub(super) fn timeout_ready<R: Rt>(plan: Plan) -> Sample {
    const TIMEOUTS: u64 = 10_000;
    repeat::<R, _, _>(plan, async |mut meter| {
        meter.start();
        for n in 0..TIMEOUTS {
            assert_eq!(R::timeout(CHURNED, future::ready(n)).await, Some(n));
        }
        meter.stop(TIMEOUTS);
        meter
    })
}

pub(super) fn sleep_1ms<R: Rt>(plan: Plan) -> Sample {
    const ASLEEP: Duration = Duration::from_millis(1);
    R::run(plan.workers, async move {
        let mut meter = Meter::new();
        let mut late = Vec::new();
        meter.start();
        let begun = Instant::now();
        while begun.elapsed() < plan.time {
            let now = Instant::now();
            R::sleep(ASLEEP).await;
            late.push((now.elapsed() - ASLEEP).as_nanos() as u64);
        }
        meter.stop(late.len() as u64);
        meter.sample(us_p50_p99(late))
    })
}

pub(super) fn storm<R: Rt>(plan: Plan) -> Sample {
    const SLEEPS: usize = 100_000;
    /// Long enough to spawn them all before the first one ends.
    const LEAD: Duration = Duration::from_millis(500);
    const SPREAD: Duration = Duration::from_secs(1);
    /// A prime, so that neighbours in spawn order are none in time.
    const STRIDE: usize = 7_919;
    R::run(plan.workers, async move {
        let late: Arc<[AtomicU64]> = (0..SLEEPS).map(|_| AtomicU64::new(0)).collect();
        let (countdown, zero) = Countdown::from(SLEEPS);
        let mut meter = Meter::new();
        meter.start();
        let first = Instant::now() + LEAD;
        for n in 0..SLEEPS {
            let (countdown, late) = (countdown.clone(), late.clone());
            let until = first + SPREAD.mul_f64((n * STRIDE % SLEEPS) as f64 / SLEEPS as f64);
            R::detach(async move {
                R::sleep(until.saturating_duration_since(Instant::now())).await;
                // Relaxed: the countdown makes it visible.
                late[n].store(until.elapsed().as_nanos() as u64, Ordering::Relaxed);
                countdown.count();
            });
        }
        zero.await.unwrap();
        meter.stop(SLEEPS as u64);
        let late = late.iter().map(|ns| ns.load(Ordering::Relaxed)).collect();
        meter.sample(us_p50_p99(late))
    })
}
