//! What a body raises, and how it stands in a log.

use heist::{Cancelled, TaskError};
use serde_json::{Value as Json, json};
use std::fmt;

/// An error as the language knows it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Exc {
    /// With the message of whoever cancelled. An empty one counts as none.
    Cancelled(Option<String>),
    Timeout,
    /// Kind and message; the library's own errors have no message.
    Error(String, Option<String>),
    /// A task group's errors, in the order in which they were recorded.
    Group(Vec<Exc>),
}

/// How a body ends, unless it ends cancelled: a cancellation never stands here, it is propagated.
pub(crate) type Outcome = Result<Json, Exc>;

impl Exc {
    pub(crate) fn cancelled(message: Option<&str>) -> Self {
        Self::Cancelled(
            message
                .filter(|message| !message.is_empty())
                .map(str::to_owned),
        )
    }

    /// An error of the library: its kind is promised, its wording is not.
    pub(crate) fn library(kind: &str) -> Self {
        Self::Error(kind.to_owned(), None)
    }

    /// What `raise` raises and `set_exception` settles with.
    pub(crate) fn raised(kind: &str, message: Option<&str>) -> Self {
        match kind {
            "CancelledError" => Self::cancelled(message),
            "TimeoutError" => Self::Timeout,
            kind => Self::Error(kind.to_owned(), message.map(str::to_owned)),
        }
    }

    pub(crate) fn to_json(&self) -> Json {
        match self {
            Self::Cancelled(message) => json!(["cancelled", message]),
            Self::Timeout => json!(["timeout"]),
            Self::Error(kind, message) => json!(["error", kind, message]),
            Self::Group(errors) => {
                let errors: Vec<_> = errors.iter().map(Self::to_json).collect();
                json!(["group", errors])
            }
        }
    }
}

impl From<Cancelled> for Exc {
    fn from(cancelled: Cancelled) -> Self {
        Self::cancelled(cancelled.message())
    }
}

impl From<TaskError> for Exc {
    /// What no scenario may lead to (a panic, a refusal) becomes an error of a kind that no log expects.
    fn from(error: TaskError) -> Self {
        if error.is_cancelled() {
            Self::cancelled(error.cancel_message())
        } else if error.is_self_await() {
            Self::library("RuntimeError")
        } else if error.is_invalid_state() {
            Self::library("InvalidStateError")
        } else {
            Self::Error("unexpected".to_owned(), Some(error.to_string()))
        }
    }
}

impl fmt::Display for Exc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_json().fmt(f)
    }
}

impl std::error::Error for Exc {}

/// What awaiting a handle gave, as one result.
pub(crate) fn flatten(outcome: Result<Outcome, TaskError>) -> Outcome {
    outcome?
}

/// One result in the list of a gather that returns errors. A cancellation there says nothing of its message.
pub(crate) fn listed(outcome: Result<Outcome, TaskError>) -> Json {
    match flatten(outcome) {
        Ok(value) => value,
        Err(Exc::Cancelled(_)) => json!({"exc": ["cancelled", null]}),
        Err(exc) => json!({"exc": exc.to_json()}),
    }
}

/// An outcome in a log: `["value", VALUE]` or an error.
pub(crate) fn logged(outcome: Outcome) -> Json {
    match outcome {
        Ok(value) => json!(["value", value]),
        Err(exc) => exc.to_json(),
    }
}
