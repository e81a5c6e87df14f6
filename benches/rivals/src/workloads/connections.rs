//! What does a connection cost that does next to nothing, or nothing at all?

use std::thread;
use std::time::{Duration, Instant};

use super::serving::{self, Client};
use super::{Plan, Sample};
use crate::load::Kind;
use crate::meter::Meter;
use crate::rt::Rt;
use crate::usage::Usage;

pub(super) fn churn<R: Rt>(plan: Plan) -> Sample {
    let client = Client::all_active(Kind::Churn, 64);
    serving::serve::<R, _>(plan, serving::echo::<R>, move |address| {
        let (meter, counted) = client.measure(plan, address);
        meter.sample(vec![counted.per_second()])
    })
}

pub(super) fn idle<R: Rt, const CONNECTIONS: usize>(plan: Plan) -> Sample {
    /// From the last accept to the silence that is measured: all that is still going on has ended by then.
    const SETTLE: Duration = Duration::from_millis(500);
    let silence = plan
        .time
        .clamp(Duration::from_secs(2), Duration::from_secs(10));
    let client = Client::all_active(Kind::Silence, CONNECTIONS);
    serving::serve::<R, _>(plan, serving::echo::<R>, move |address| {
        let mut client = client.start(plan, address);
        client.wait_until_ready();
        thread::sleep(SETTLE);
        let mut meter = Meter::new();
        meter.start();
        // This thread is not the runtime's: what it costs is taken off. Its counters are read before and after
        // those of the whole, so that no part of its cost is left in there.
        let (own_before, before) = (Usage::of_this_thread(), Usage::now());
        let begun = Instant::now();
        thread::sleep(silence);
        let seconds = begun.elapsed().as_secs_f64();
        let all = Usage::now() - before;
        let own = Usage::of_this_thread() - own_before;
        meter.stop(CONNECTIONS as u64);
        client.end();
        let switches =
            (all.voluntary + all.involuntary).saturating_sub(own.voluntary + own.involuntary);
        let cpu = all.cpu.saturating_sub(own.cpu);
        meter.sample(vec![
            switches as f64 / seconds,
            cpu.as_secs_f64() * 1e6 / seconds,
        ])
    })
}
