//! How many requests does a TCP echo server answer, and how long do they wait?

use super::serving::{self, Client};
use super::{Plan, Sample};
use crate::load::Kind;
use crate::rt::Rt;

/// A request is under way on every connection, all the time.
pub(super) fn on<R: Rt, const CONNECTIONS: usize>(plan: Plan) -> Sample {
    echo::<R>(plan, Client::all_active(Kind::Echo, CONNECTIONS))
}

/// 64 requests are under way, the connections take turns: most have nothing to do at any time.
pub(super) fn in_turns<R: Rt, const CONNECTIONS: usize>(plan: Plan) -> Sample {
    let client = Client {
        kind: Kind::Echo,
        connections: CONNECTIONS,
        active: 64,
    };
    echo::<R>(plan, client)
}

fn echo<R: Rt>(plan: Plan, client: Client) -> Sample {
    serving::serve::<R, _>(plan, serving::echo::<R>, move |address| {
        client.sample(plan, address)
    })
}
