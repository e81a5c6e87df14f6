//! A run of a scenario that nobody has looked at: on the calling thread alone, and bounded.
//!
//! A scenario may say what has no end, and be right (`repeat` a billion times, a body that spawns itself). So a run has a number of
//! statements; a task that would begin one more waits instead, and is aborted at the end as all that are left are.

use crate::run::{Bounds, Fault, execute};
use crate::scenario::Scenario;
use serde_json::Value as Json;
use std::sync::Arc;

/// Runs a scenario on a current-thread runtime, where it may take so many statements in all, and gives its log. A scenario that is at fault has none.
///
/// # Errors
///
/// The runtime is at fault: it could not be built, or did not end.
pub fn run(scenario: &Arc<Scenario>, statements: u64) -> Result<Option<Json>, String> {
    let bounds = Bounds {
        workers: None,
        statements,
    };
    match execute(scenario, bounds, |_| ()) {
        Ok(log) => Ok(Some(log)),
        Err(Fault::Scenario(_)) => Ok(None),
        Err(Fault::Runtime(why)) => Err(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_has_no_end_is_cut_off() {
        let endless = json!({
            "name": "n",
            "bodies": {"again": [{"op": "call", "body": "again"}]},
            "main": [
                {"op": "spawn", "as": "a", "body": [{"op": "repeat", "n": 4_000_000_000_u32, "body": []}]},
                {"op": "spawn", "as": "b", "body": [{"op": "repeat", "n": 4_000_000_000_u32, "body": [{"op": "current_task"}]}]},
                {"op": "call", "body": "again"},
            ],
        });
        let log = run(&Scenario::from_json(&endless).unwrap(), 20).unwrap();
        assert_eq!(log.unwrap()["status"], "deadlock");
    }

    #[test]
    fn a_scenario_at_fault_has_no_log() {
        let unbound = json!({"name": "n", "main": [{"op": "await", "h": "nobody"}]});
        assert_eq!(run(&Scenario::from_json(&unbound).unwrap(), 200), Ok(None));
    }
}
