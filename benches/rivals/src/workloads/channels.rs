//! What does a message cost that goes from one task to another through the runtime's own bounded channel?

use super::{Plan, repeat};
use crate::meter::{Meter, Sample};
use crate::rt::Rt;

const CAPACITY: usize = 64;
const MESSAGES: u64 = 100_000;

pub(super) fn one_to_one<R: Rt>(plan: Plan) -> Sample {
    repeat::<R, _, _>(plan, send_from::<R, 1>)
}

pub(super) fn many_to_one<R: Rt>(plan: Plan) -> Sample {
    repeat::<R, _, _>(plan, send_from::<R, 16>)
}

/// One round: each of the producers sends its share, one task receives all.
async fn send_from<R: Rt, const PRODUCERS: u64>(mut meter: Meter) -> Meter {
    let share = MESSAGES / PRODUCERS;
    let sent = share * PRODUCERS;
    meter.start();
    let (sender, mut receiver) = R::channel::<u64>(CAPACITY);
    let received = R::spawn(async move {
        let mut sum = 0;
        for _ in 0..sent {
            sum += R::receive(&mut receiver).await;
        }
        sum
    });
    for producer in 0..PRODUCERS {
        let sender = sender.clone();
        R::detach(async move {
            for n in 0..share {
                R::send(&sender, producer * share + n).await;
            }
        });
    }
    let sum = received.await;
    meter.stop(sent);
    assert_eq!(
        sum,
        (0..sent).sum::<u64>(),
        "other messages came than were sent"
    );
    meter
}
