//! A limit for each test: none can hang. The programs beside this directory include this file.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// No test takes as long as this on a machine that works, however busy; one that does hangs. Under a checker that slows everything down
/// `HEIST_TEST_LIMIT` says how many seconds it may take there.
pub(crate) fn limit() -> Duration {
    let seconds = std::env::var("HEIST_TEST_LIMIT").map(|seconds| seconds.parse().unwrap());
    Duration::from_secs(seconds.unwrap_or(120))
}

/// Runs `body` on a thread of its own and fails if that has not ended within [`limit`].
#[track_caller]
pub(crate) fn limited<R: Send + 'static>(body: impl FnOnce() -> R + Send + 'static) -> R {
    let (send, ended) = channel();
    let thread = std::thread::spawn(move || {
        let value = body();
        // Nobody listens any more if the limit has passed.
        let _ = send.send(());
        value
    });
    let limit = limit();
    if ended.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
        panic!("no end within {limit:?}");
    }
    match thread.join() {
        Ok(value) => value,
        Err(payload) => std::panic::resume_unwind(payload),
    }
}
