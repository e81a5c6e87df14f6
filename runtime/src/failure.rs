//! What went wrong and nobody was there to hear it: each such failure reaches the exception handler, once.

use crate::current;
use crate::task::{TaskError, TaskRef, contain};
use crate::trace;
use std::fmt;
use std::panic::Location;

/// A failure that no handle has retrieved: what [`Builder::exception_handler`](crate::Builder::exception_handler) is called with. asyncio's
/// exception handler context.
#[derive(Debug)]
#[non_exhaustive]
pub struct Failure {
    /// The task that failed; none if it was the outcome of another handle (a gather's, a promise's).
    pub task: Option<TaskRef>,
    /// What happened.
    pub kind: FailureKind,
    /// The error; where the kind has none of its own, one that says so.
    pub error: TaskError,
}

/// What happened to a task that failed unheard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FailureKind {
    /// It panicked, or, made by a `try_spawn`, gave an `Err`, and its handle was dropped without taking that. asyncio's "exception was never
    /// retrieved".
    Unretrieved,
    /// It was still pending when its runtime had waited long enough, and was aborted. asyncio's "destroyed but it is pending".
    Pending,
    /// In debug mode: it caught a cancellation and then neither propagated it nor took the request back, but went on and gave a value. The place is the
    /// `catch_cancel` that caught it.
    SwallowedCancel(&'static Location<'static>),
}

impl Failure {
    pub(crate) fn unretrieved(task: Option<TaskRef>, error: TaskError) -> Self {
        let kind = FailureKind::Unretrieved;
        Self { task, kind, error }
    }
}

impl Failure {
    pub(crate) fn pending(task: TaskRef) -> Self {
        Self {
            task: Some(task),
            kind: FailureKind::Pending,
            error: TaskError::failed("it was still pending".to_owned()),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(task) = &self.task {
            write!(f, "{}, spawned at {}: ", task.name(), task.spawned_at())?;
        }
        match self.kind {
            FailureKind::Unretrieved => self.error.fmt(f),
            FailureKind::Pending => f.write_str("still pending when its runtime ended"),
            FailureKind::SwallowedCancel(at) => {
                write!(
                    f,
                    "swallowed a cancellation at {at}: propagate it, or take it back with uncancel"
                )
            }
        }
    }
}

/// Reports the failure of a handle that is no task's, to the runtime of this thread.
pub(crate) fn report(error: TaskError) {
    let failure = Failure::unretrieved(None, error);
    match current::handle() {
        Some(handle) => handle.tell(failure),
        None => tell(None, failure),
    }
}

/// In debug mode, reports that a task of this thread's runtime has swallowed a cancellation.
#[cold]
pub(crate) fn swallowed(task: TaskRef, at: &'static Location<'static>) {
    if let Some(handle) = current::handle()
        && handle.config().debug
    {
        let error = TaskError::failed(format!("a cancellation was swallowed at {at}"));
        handle.tell(Failure {
            task: Some(task),
            kind: FailureKind::SwallowedCancel(at),
            error,
        });
    }
}

/// Calls the handler, or, if there is none, emits a tracing event.
pub(crate) fn tell(handler: Option<&(dyn Fn(&Failure) + Send + Sync)>, failure: Failure) {
    match handler {
        // A panic in it is contained.
        Some(handler) => contain(|| handler(&failure)),
        None => trace::failure(&failure),
    }
    contain(|| drop(failure));
}
