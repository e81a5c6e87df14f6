//! Scenarios of the oracle: any bytes are refused or read, and what is read runs to its end, on a current-thread runtime and with a bound on
//! its statements. Nothing panics, nothing hangs.
//!
//! The corpus has scenarios that were recorded on asyncio; [`mutate`] makes others of them.

mod mutate;

use heist_oracle::bounded;
use heist_oracle::scenario::Scenario;

pub use mutate::{crossed, mutated};

/// How many statements a scenario may take.
const STATEMENTS: u64 = 150;

/// Reads the bytes as a scenario, and runs it.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Ok(scenario) = Scenario::parse(text) else {
        return;
    };
    crate::show(&scenario);
    if let Err(why) = bounded::run(&scenario, STATEMENTS) {
        panic!("{why}");
    }
}
