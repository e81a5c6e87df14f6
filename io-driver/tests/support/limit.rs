//! No test hangs: one that takes too long is named, and ends its program.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

/// Far beyond what a test takes on a machine that works, however busy.
const LIMIT: Duration = Duration::from_secs(120);

/// Held by a test for as long as it runs.
pub(crate) struct Limit {
    _over: Sender<()>,
}

impl Limit {
    pub(crate) fn new() -> Limit {
        let name = thread::current().name().unwrap_or("a test").to_owned();
        let (over, ended) = channel();
        thread::spawn(move || {
            if ended.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout) {
                eprintln!("{name}: no end within {LIMIT:?}");
                std::process::abort();
            }
        });
        Limit { _over: over }
    }
}
