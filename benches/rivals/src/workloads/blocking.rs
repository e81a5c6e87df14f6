//! What does a blocking job cost?

use super::{Plan, repeat};
use crate::meter::Sample;
use crate::rt::Rt;

pub(super) fn trip<R: Rt>(plan: Plan) -> Sample {
    const JOBS: u64 = 1_000;
    repeat::<R, _, _>(plan, async |mut meter| {
        meter.start();
        for n in 0..JOBS {
            assert_eq!(R::spawn_blocking(move || n).await, n);
        }
        meter.stop(JOBS);
        meter
    })
}

pub(super) fn burst<R: Rt>(plan: Plan) -> Sample {
    const JOBS: u64 = 10_000;
    repeat::<R, _, _>(plan, async |mut meter| {
        meter.start();
        let jobs: Vec<_> = (0..JOBS).map(|n| R::spawn_blocking(move || n)).collect();
        for (n, job) in (0..).zip(jobs) {
            assert_eq!(job.await, n);
        }
        meter.stop(JOBS);
        meter
    })
}
