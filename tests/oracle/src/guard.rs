//! The hang guard: a scenario runs on a thread of its own, and one that does not end in time is reported with what is stuck in it.
//!
//! Such a thread cannot be ended, so whoever gets [`Failure::Stuck`] should report it and leave the process.

use crate::run::{self, Bounds, Run};
use crate::scenario::Scenario;
use parking_lot::Mutex;
use serde_json::Value as Json;
use std::fmt;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

/// How long a scenario may take by the real clock. One takes a millisecond or two; a machine has to be very busy to make it a second.
pub const LIMIT: Duration = Duration::from_secs(20);

/// Why a run has no log.
#[derive(Debug)]
pub enum Failure {
    /// The scenario, the interpreter or the runtime is at fault.
    Broken(String),
    /// It did not end within [`LIMIT`]. What has not ended, a line for each.
    Stuck(Vec<String>),
}

/// Runs a scenario on a fresh runtime and gives its log. `seed`: in a simulation, which needs the feature `sim`.
///
/// # Errors
///
/// There is no log: see [`Failure`].
///
/// # Panics
///
/// A panic of the interpreter goes on here.
pub fn run(scenario: &Arc<Scenario>, workers: usize, seed: Option<u64>) -> Result<Json, Failure> {
    let seen: Arc<Mutex<Option<Arc<Run>>>> = Arc::default();
    let (send, ended) = channel();
    let bounds = Bounds {
        workers: Some(workers),
        statements: u64::MAX,
    };
    let body = {
        let (scenario, seen) = (scenario.clone(), seen.clone());
        move || {
            let log = match seed {
                None => run::execute(&scenario, bounds, |run| *seen.lock() = Some(run)),
                Some(seed) => run::simulate(&scenario, bounds, seed),
            };
            // Nobody listens any more if the limit has passed.
            let _ = send.send(log);
        }
    };
    let thread = match thread::Builder::new()
        .name("scenario".to_owned())
        .spawn(body)
    {
        Ok(thread) => thread,
        Err(error) => return Err(Failure::Broken(format!("no thread: {error}"))),
    };
    match ended.recv_timeout(LIMIT) {
        Ok(log) => {
            // The thread has only to return: nothing of a run outlives it.
            if let Err(panic) = thread.join() {
                resume_unwind(panic);
            }
            log.map_err(|fault| Failure::Broken(fault.to_string()))
        }
        Err(RecvTimeoutError::Disconnected) => match thread.join() {
            Err(panic) => resume_unwind(panic),
            Ok(()) => Err(Failure::Broken("the run ended without a word".to_owned())),
        },
        Err(RecvTimeoutError::Timeout) => {
            let run = seen.lock().clone();
            let stuck = run.map_or_else(|| vec!["nothing has begun".to_owned()], |run| run.stuck());
            Err(Failure::Stuck(stuck))
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(why) => f.write_str(why),
            Self::Stuck(what) => {
                write!(f, "no end within {LIMIT:?}:")?;
                what.iter().try_for_each(|line| write!(f, "\n    {line}"))
            }
        }
    }
}

impl std::error::Error for Failure {}
