//! What `#[heist::main]` and `#[heist::test]` expand to: a runtime, one future, and a loud end if anything goes wrong.

use crate::builder::Builder;
use crate::runtime::Runtime;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// How long a test that was cancelled for being late may take to unwind before the process is aborted.
const UNWIND: Duration = Duration::from_secs(5);

/// Runs `main` on a new runtime.
///
/// # Panics
///
/// The runtime could not be built, or `main` was cancelled; a panic of `main` goes on here.
#[track_caller]
pub fn run_main<F: Future>(builder: Builder, main: F) -> F::Output {
    finish(&build(builder), main)
}

/// Runs a test on a new runtime, for at most `limit`.
///
/// # Panics
///
/// As for `run_main`, and if the limit passes.
#[track_caller]
pub fn run_test<F: Future>(builder: Builder, limit: Option<Duration>, test: F) -> F::Output {
    let runtime = build(builder);
    let Some(limit) = limit else {
        return finish(&runtime, test);
    };
    // Dropped when the test ends, whichever way.
    let (_running, ended) = channel::<()>();
    let handle = runtime.handle().clone();
    let watch = std::thread::spawn(move || {
        if ended.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
            handle.close(Some(&format!("the test did not end within {limit:?}")));
            if ended.recv_timeout(UNWIND) == Err(RecvTimeoutError::Timeout) {
                tracing::error!(target: "heist", ?limit, "a test is stuck in a poll");
                std::process::abort();
            }
        }
    });
    drop(watch);
    finish(&runtime, test)
}

/// What a test may give.
pub trait Outcome {
    /// Ends the test if it has failed.
    #[track_caller]
    fn check(self);
}

impl Outcome for () {
    fn check(self) {}
}

impl<E: std::fmt::Debug> Outcome for Result<(), E> {
    fn check(self) {
        if let Err(error) = self {
            panic!("the test gave an error: {error:?}");
        }
    }
}

/// Sees whether a test that runs as a task has failed.
#[track_caller]
pub fn check_outcome(outcome: impl Outcome) {
    outcome.check();
}

#[track_caller]
fn build(builder: Builder) -> Runtime {
    match builder.build() {
        Ok(runtime) => runtime,
        Err(error) => panic!("the heist runtime could not be built: {error}"),
    }
}

#[track_caller]
fn finish<F: Future>(runtime: &Runtime, future: F) -> F::Output {
    match runtime.block_on(future) {
        Ok(output) => output,
        Err(error) => error.resume(),
    }
}
