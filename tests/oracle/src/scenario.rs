//! A scenario as read from its file: typed statements, nothing run yet.
//!
//! The reader is strict. An unknown statement, an unknown or a missing field, a value of the wrong type: each is an error that says in
//! which statement it lies (`[3] [0]`: the first statement inside the fourth). A scenario that means more than this interpreter knows must
//! not pass for one that it can run.

use serde::Deserialize;
use serde::de::{Deserializer, Error};
use serde_json::Value as Json;
use std::collections::HashMap;
use std::ops::Deref;
use std::sync::Arc;

/// A small program over tasks, and what happens once its main task has ended.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Subject and name, `cancel/suppressed`.
    pub name: String,
    /// The rule it shows, for people.
    #[serde(default)]
    pub about: String,
    /// Behaviours of asyncio 3.11 that it is known to depend on.
    #[serde(default)]
    pub quirks: Vec<String>,
    #[serde(default)]
    pub(crate) bodies: HashMap<String, Block>,
    pub(crate) main: Block,
    #[serde(default)]
    pub(crate) at_exit: AtExit,
}

impl Scenario {
    /// Reads a scenario.
    ///
    /// # Errors
    ///
    /// It is not JSON, or says something that this interpreter does not know.
    pub fn parse(text: &str) -> Result<Arc<Self>, serde_json::Error> {
        serde_json::from_str(text).map(Arc::new)
    }

    /// Reads a scenario that is JSON already.
    ///
    /// # Errors
    ///
    /// It says something that this interpreter does not know.
    pub fn from_json(json: &Json) -> Result<Arc<Self>, serde_json::Error> {
        Self::deserialize(json).map(Arc::new)
    }
}

/// What happens to the tasks that are left when main's task is done.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AtExit {
    /// They run on.
    #[default]
    Drain,
    /// They are cancelled once, and run on.
    Cancel,
}

/// Statements, one after the other. Cloning is cheap: a task holds the block that it runs.
#[derive(Clone, Debug)]
pub(crate) struct Block(Arc<[Stmt]>);

impl Default for Block {
    fn default() -> Self {
        Self(Arc::new([]))
    }
}

impl Deref for Block {
    type Target = [Stmt];

    fn deref(&self) -> &[Stmt] {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Block {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let statements = Vec::<Json>::deserialize(deserializer)?;
        let read = |(index, json): (usize, Json)| {
            Stmt::deserialize(json).map_err(|error| D::Error::custom(format!("[{index}] {error}")))
        };
        let statements: Result<Arc<[Stmt]>, _> =
            statements.into_iter().enumerate().map(read).collect();
        statements.map(Self)
    }
}

/// A block that is to be a body: a name among the scenario's bodies, or the statements themselves.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    Named(String),
    Inline(Block),
}

impl<'de> Deserialize<'de> for Body {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Json::deserialize(deserializer)? {
            Json::String(name) => Ok(Self::Named(name)),
            other => Block::deserialize(other)
                .map(Self::Inline)
                .map_err(D::Error::custom),
        }
    }
}

/// Something to await: a handle by its name, or a body that becomes a task.
#[derive(Clone, Debug)]
pub(crate) enum Arg {
    Handle(String),
    Fresh(Fresh),
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fresh {
    pub(crate) body: Body,
    pub(crate) label: Option<String>,
}

impl<'de> Deserialize<'de> for Arg {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Json::deserialize(deserializer)? {
            Json::String(name) => Ok(Self::Handle(name)),
            other => Fresh::deserialize(other)
                .map(Self::Fresh)
                .map_err(D::Error::custom),
        }
    }
}

/// One statement. Times are in milliseconds, and may be negative where they are counted from now.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Stmt {
    // Control flow.
    Log {
        msg: Json,
    },
    Return {
        #[serde(default)]
        value: Json,
    },
    Raise(Raised),
    Reraise {},
    Repeat {
        n: u32,
        body: Block,
    },
    Call {
        body: Body,
    },
    Try(Try),

    // Tasks and futures.
    Sleep {
        ms: i64,
        /// `null` is a result too.
        #[serde(default, deserialize_with = "present")]
        result: Option<Json>,
    },
    Spawn {
        #[serde(rename = "as")]
        bind: String,
        body: Body,
        name: Option<String>,
    },
    EnsureFuture {
        #[serde(rename = "as")]
        bind: String,
        of: Arg,
    },
    Threadsafe {
        #[serde(rename = "as")]
        bind: String,
        body: Body,
    },
    Await {
        h: String,
    },
    Cancel {
        h: String,
        msg: Option<String>,
    },
    Cancelling {
        h: String,
    },
    Uncancel {
        h: String,
    },
    Done {
        h: String,
    },
    Cancelled {
        h: String,
    },
    Result {
        h: String,
    },
    Exception {
        h: String,
    },
    OnDone {
        h: String,
        label: String,
    },
    Future {
        #[serde(rename = "as")]
        bind: String,
    },
    SetResult {
        h: String,
        #[serde(default)]
        value: Json,
    },
    SetException {
        h: String,
        kind: String,
        msg: Option<String>,
    },
    CurrentTask {},
    AllTasks {},
    GetName {
        h: String,
    },
    SetName {
        h: String,
        name: String,
    },

    // Combinators.
    Gather {
        of: Vec<Arg>,
        #[serde(default)]
        return_exceptions: bool,
        #[serde(rename = "as")]
        bind: Option<String>,
    },
    Wait {
        of: Vec<String>,
        timeout_ms: Option<i64>,
        #[serde(default)]
        return_when: ReturnWhen,
    },
    WaitFor {
        of: Arg,
        #[serde(deserialize_with = "nullable")]
        timeout_ms: Option<i64>,
    },
    AsCompleted {
        #[serde(rename = "as")]
        bind: String,
        of: Vec<Arg>,
        timeout_ms: Option<i64>,
    },
    Next {
        it: String,
    },
    Shield {
        of: Arg,
        #[serde(rename = "as")]
        bind: Option<String>,
    },

    // Blocks.
    Timeout {
        #[serde(deserialize_with = "nullable")]
        ms: Option<i64>,
        #[serde(rename = "as")]
        bind: Option<String>,
        body: Block,
    },
    Reschedule {
        scope: String,
        #[serde(deserialize_with = "nullable")]
        ms: Option<i64>,
    },
    Expired {
        scope: String,
    },
    When {
        scope: String,
    },
    Taskgroup {
        #[serde(rename = "as")]
        bind: String,
        body: Block,
    },
    TgSpawn {
        tg: String,
        #[serde(rename = "as")]
        bind: String,
        body: Body,
        name: Option<String>,
    },
    With {
        on: String,
        body: Block,
    },

    // Locks, queues, counters, context.
    New {
        #[serde(rename = "as")]
        bind: String,
        kind: Kind,
        n: Option<i64>,
        lock: Option<String>,
    },
    Do {
        on: String,
        method: Method,
        #[serde(default)]
        args: Vec<Json>,
    },
    Add {
        counter: String,
        #[serde(default = "one")]
        by: i64,
    },
    CtxSet {
        var: String,
        value: Json,
    },
    CtxGet {
        var: String,
    },
}

/// An error that a statement raises, or settles a future with.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Raised {
    pub(crate) kind: String,
    pub(crate) msg: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Try {
    pub(crate) body: Block,
    #[serde(default)]
    pub(crate) except: Vec<Clause>,
    #[serde(default, rename = "else")]
    pub(crate) otherwise: Block,
    #[serde(default)]
    pub(crate) finally: Block,
}

/// One `except` of a `try`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Clause {
    #[serde(rename = "match")]
    pub(crate) matches: Match,
    pub(crate) kind: Option<String>,
    #[serde(default)]
    pub(crate) body: Block,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Match {
    Cancelled,
    Timeout,
    Error,
    Group,
    Any,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum ReturnWhen {
    #[default]
    AllCompleted,
    FirstCompleted,
    FirstException,
}

/// What `new` makes.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub(crate) enum Kind {
    Event,
    Lock,
    Semaphore,
    BoundedSemaphore,
    Condition,
    Barrier,
    Queue,
    PriorityQueue,
    LifoQueue,
}

/// What `do` calls. Whether the object has such a method shows when it is called.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Method {
    Set,
    Clear,
    IsSet,
    Wait,
    Acquire,
    Release,
    Locked,
    Notify,
    NotifyAll,
    WaitFor,
    Reset,
    Abort,
    Broken,
    NWaiting,
    Parties,
    Put,
    PutNowait,
    Get,
    GetNowait,
    TaskDone,
    Join,
    Qsize,
    Empty,
    Full,
}

impl Method {
    /// As the language spells it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Set => "set",
            Self::Clear => "clear",
            Self::IsSet => "is_set",
            Self::Wait => "wait",
            Self::Acquire => "acquire",
            Self::Release => "release",
            Self::Locked => "locked",
            Self::Notify => "notify",
            Self::NotifyAll => "notify_all",
            Self::WaitFor => "wait_for",
            Self::Reset => "reset",
            Self::Abort => "abort",
            Self::Broken => "broken",
            Self::NWaiting => "n_waiting",
            Self::Parties => "parties",
            Self::Put => "put",
            Self::PutNowait => "put_nowait",
            Self::Get => "get",
            Self::GetNowait => "get_nowait",
            Self::TaskDone => "task_done",
            Self::Join => "join",
            Self::Qsize => "qsize",
            Self::Empty => "empty",
            Self::Full => "full",
        }
    }
}

/// A field that is there, be it `null`: serde alone takes `null` for an absent one.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Json>, D::Error> {
    Json::deserialize(deserializer).map(Some)
}

/// A field that must be there, and may be `null`: serde alone takes an absent one for `null`.
fn nullable<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    Option::deserialize(deserializer)
}

fn one() -> i64 {
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn main_of(statement: &str) -> Result<Arc<Scenario>, String> {
        let text = format!(r#"{{"name": "n", "main": [{{"op": "current_task"}}, {statement}]}}"#);
        Scenario::parse(&text).map_err(|error| error.to_string())
    }

    #[test]
    fn an_unknown_statement_is_refused_with_its_place() {
        let error = main_of(r#"{"op": "repeat", "n": 2, "body": [{"op": "nap"}]}"#).unwrap_err();
        assert!(error.contains("[1] [0]"), "{error}");
        assert!(error.contains("nap"), "{error}");
    }

    #[test]
    fn unknown_and_missing_fields_are_refused() {
        let refused = [
            r#"{"op": "sleep", "ms": 1, "msg": "x"}"#,
            r#"{"op": "sleep"}"#,
            r#"{"op": "sleep", "ms": "1"}"#,
            r#"{"op": "timeout", "body": []}"#,
            r#"{"op": "wait_for", "of": "h"}"#,
            r#"{"op": "wait_for", "of": {"label": "x"}, "timeout_ms": 1}"#,
            r#"{"op": "wait", "of": [], "return_when": "SOMETIME"}"#,
            r#"{"op": "current_task", "h": "x"}"#,
            r#"{"op": "raise", "kind": "E", "message": "x"}"#,
            r#"{"op": "try", "body": [], "except": [{"match": "most"}]}"#,
            r#"{"op": "try", "body": [], "except": [{"match": "any", "as": "e"}]}"#,
            r#"{"op": "do", "on": "x", "method": "jump"}"#,
            r#"{"op": "new", "as": "x", "kind": "Mutex"}"#,
        ];
        for statement in refused {
            assert!(main_of(statement).is_err(), "{statement}");
        }
    }

    #[test]
    fn null_and_absent_are_told_apart() {
        let read = |statement| main_of(statement).unwrap().main[1].clone();
        let Stmt::Sleep { result, .. } = read(r#"{"op": "sleep", "ms": 1, "result": null}"#) else {
            panic!("a sleep");
        };
        assert_eq!(result, Some(Json::Null));
        let Stmt::Sleep { result, .. } = read(r#"{"op": "sleep", "ms": 1}"#) else {
            panic!("a sleep");
        };
        assert_eq!(result, None);
        let Stmt::Timeout { ms, .. } = read(r#"{"op": "timeout", "ms": null, "body": []}"#) else {
            panic!("a timeout");
        };
        assert_eq!(ms, None);
    }
}
