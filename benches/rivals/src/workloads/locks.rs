//! What does it cost to wait for one's turn, at a mutex or for a permit?

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Countdown, Plan, repeat};
use crate::meter::{Meter, Sample};
use crate::rt::Rt;

const TASKS: u64 = 100;
/// In each task.
const TURNS: u64 = 1_000;
/// Every so many turns it is kept over a yield: from the first of them on, others are in line.
const TURNS_BETWEEN_YIELDS: u64 = 10;

pub(super) fn mutex<R: Rt>(plan: Plan) -> Sample {
    repeat::<R, _, _>(plan, async |meter| {
        let shared = Arc::new((R::mutex(), AtomicU64::new(0)));
        let turn = {
            let shared = shared.clone();
            move |n| {
                let shared = shared.clone();
                async move {
                    let (mutex, count) = &*shared;
                    let section = async {
                        // In two steps on purpose, and in no order with others: the mutex has to see to both.
                        let before = count.load(Ordering::Relaxed);
                        keep::<R>(n).await;
                        count.store(before + 1, Ordering::Relaxed);
                    };
                    R::with_mutex(mutex, section).await;
                }
            }
        };
        let meter = contend::<R, _>(meter, turn).await;
        let (_, count) = &*shared;
        let turns = count.load(Ordering::Relaxed);
        assert_eq!(turns, TASKS * TURNS, "the mutex let two in at a time");
        meter
    })
}

pub(super) fn semaphore<R: Rt>(plan: Plan) -> Sample {
    const PERMITS: u64 = 10;
    repeat::<R, _, _>(plan, async |meter| {
        let shared = Arc::new((R::semaphore(PERMITS as usize), AtomicU64::new(0)));
        let turn = move |n| {
            let shared = shared.clone();
            async move {
                let (semaphore, inside) = &*shared;
                let section = async {
                    let others = inside.fetch_add(1, Ordering::Relaxed);
                    assert!(others < PERMITS, "more were let in than there are permits");
                    keep::<R>(n).await;
                    inside.fetch_sub(1, Ordering::Relaxed);
                };
                R::with_permit(semaphore, section).await;
            }
        };
        contend::<R, _>(meter, turn).await
    })
}

/// What is done in the `n`th turn of a task.
async fn keep<R: Rt>(n: u64) {
    if n.is_multiple_of(TURNS_BETWEEN_YIELDS) {
        R::yield_now().await;
    }
}

/// One round: all tasks take all their turns.
async fn contend<R, Fut>(
    mut meter: Meter,
    turn: impl Fn(u64) -> Fut + Clone + Send + 'static,
) -> Meter
where
    R: Rt,
    Fut: Future<Output = ()> + Send + 'static,
{
    let (countdown, zero) = Countdown::from(TASKS as usize);
    meter.start();
    for _ in 0..TASKS {
        let (countdown, turn) = (countdown.clone(), turn.clone());
        R::detach(async move {
            for n in 0..TURNS {
                turn(n).await;
            }
            countdown.count();
        });
    }
    zero.await.unwrap();
    meter.stop(TASKS * TURNS);
    meter
}
