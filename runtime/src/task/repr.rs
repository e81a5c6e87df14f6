//! What a handle says of itself: `Debug` in the words of asyncio's repr, and what a task waits for.
//!
//! What a task waits for stands in its header and its tree, which belong to whoever runs the task or delivers to it. So a look takes a
//! suspended task as a delivery does, reads under the lock of the rare box, and lets go of it:
//!
//! ```text
//!   a look                                          whoever comes meanwhile
//!   1 takes the task: it is not polled              a worker leaves its entry (OWED), a request is kept (KEPT)
//!   2 lock; copies the targets; unlock              a handle dropped elsewhere waits for the lock (rule 8)
//!   3 puts the task back                            queued if it is owed a run, or something is kept: that is met after the poll
//! ```
//!
//! Step 3 hands nothing down itself, though a delivery would: that calls foreign code, and who formats a task may hold locks that this code wants.
//! A task that runs, or to which somebody else delivers, is left alone: it says nothing of what it waits for.

#[cfg(all(test, loom))]
mod models;

use super::cell::Header;
use super::join::Exit;
use super::tree::{RegionRef, Target};
use super::{Task, TaskError, TaskRef, Why};
use std::fmt::{self, Display};

/// How many handles `Debug` names of those that a task waits for: more than any but a fan-out has.
const NAMED: usize = 8;

/// Something that a suspended task awaits by its handle; see [`TaskRef::waits_for`].
#[derive(Clone)]
#[non_exhaustive]
pub enum WaitsFor {
    /// A task.
    Task(TaskRef),
    /// A handle of another kind, by its name: `Deferred`, `Gather`, `Shield`, `concurrent::Future`, or what a
    /// [`Forward`](super::Forward) of somebody else calls itself.
    Handle(&'static str),
}

impl WaitsFor {
    /// The task, if it is one.
    pub fn task(&self) -> Option<&TaskRef> {
        match self {
            Self::Task(task) => Some(task),
            Self::Handle(_) => None,
        }
    }

    fn of(target: Target) -> Self {
        match target {
            Target::Task(task) | Target::Region(RegionRef { task, .. }) => Self::Task(task),
            Target::Other(handle) => Self::Handle(handle.kind()),
        }
    }
}

/// A task is shown without what it waits for in turn.
impl fmt::Debug for WaitsFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Task(task) => Repr::new(task, None, false).fmt(f),
            Self::Handle(kind) => write!(f, "<{kind}>"),
        }
    }
}

impl TaskRef {
    /// The handles that the task awaits where it is suspended: one in a plain `await`, several in a `join!`, none in a sleep, a socket or a lock.
    /// asyncio's `_fut_waiter`, which `repr` shows as `wait_for`.
    ///
    /// What is awaited without forwarding a cancellation ([`ended`](TaskRef::ended), `wait`, `wait_for`, the end of a task group) is not
    /// among them. The answer is as of some moment during the call, and empty for a task that runs just then, has not begun or has ended,
    /// and while another thread cancels it or looks at it.
    ///
    /// # Examples
    ///
    /// ```
    /// # heist_runtime::run(async {
    /// let inner = heist_runtime::spawn(std::future::pending::<()>());
    /// let awaited = inner.as_ref();
    /// let outer = heist_runtime::spawn(inner);
    /// while outer.as_ref().waits_for().is_empty() {
    ///     heist_runtime::task::yield_now().await;
    /// }
    /// assert_eq!(outer.as_ref().waits_for()[0].task(), Some(&awaited));
    /// # }).unwrap();
    /// ```
    #[doc(alias = "_fut_waiter")]
    pub fn waits_for(&self) -> Vec<WaitsFor> {
        let header = self.header();
        if !header.may_wait() || !header.state.transition_to_suspended_taken() {
            return Vec::new();
        }
        let targets = header.targets();
        if let Exit::Submit(entry) = self.leave_look() {
            entry.submit(Why::Woken);
        }
        targets.into_iter().map(WaitsFor::of).collect()
    }

    /// As [`waits_for`](Self::waits_for), asked by the thread that runs the task, when its poll has ended.
    #[cfg(feature = "stacks")]
    pub(super) fn waits_for_as_runner(&self) -> Vec<WaitsFor> {
        let targets = self.header().targets();
        targets.into_iter().map(WaitsFor::of).collect()
    }
}

impl<T> Task<T> {
    /// The handles that the task awaits where it is suspended; see [`TaskRef::waits_for`].
    pub fn waits_for(&self) -> Vec<WaitsFor> {
        self.as_ref().waits_for()
    }
}

impl Header {
    /// False if nothing is awaited that stands in the header or the tree. A guess, unless the caller runs the task or delivers to it.
    fn may_wait(&self) -> bool {
        !self.is_plain()
    }

    /// What is awaited. The caller runs the task or has taken it. Calls nothing foreign.
    fn targets(&self) -> Vec<Target> {
        if !self.may_wait() {
            return Vec::new();
        }
        let rare = self.rare_or_new();
        let mut fields = rare.lock();
        let direct = self.wait().map(Target::Task);
        let awaited = fields.requests.tree.awaited(rare.poll_number());
        drop(fields);
        direct.into_iter().chain(awaited).collect()
    }
}

/// What has become of a handle.
#[derive(Debug)]
pub(super) enum Phase {
    Pending,
    /// It was asked to end.
    Cancelling,
    Cancelled,
    Finished,
    /// The error, as far as the handle may look at it.
    Failed(Option<TaskError>),
}

impl Phase {
    fn of_task(task: &TaskRef, error: Option<TaskError>) -> Self {
        let state = task.state();
        if state.is_cancelled() {
            Self::Cancelled
        } else if state.is_failed() || state.is_done() && error.is_some() {
            Self::Failed(error)
        } else if state.is_done() {
            Self::Finished
        } else if task.cancelling() > 0 {
            Self::Cancelling
        } else {
            Self::Pending
        }
    }

    pub(super) fn of_handle(done: bool, cancelled: bool, error: Option<TaskError>) -> Self {
        match (done, cancelled, error) {
            (false, ..) => Self::Pending,
            (_, true, _) => Self::Cancelled,
            (_, _, None) => Self::Finished,
            (_, _, error) => Self::Failed(error),
        }
    }

    fn word(&self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Cancelling => "cancelling",
            Self::Cancelled => "cancelled",
            Self::Finished | Self::Failed(_) => "finished",
        }
    }

    fn fmt_error(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(Some(error)) => write!(f, " exception={error:?}"),
            Self::Failed(None) => f.write_str(" exception"),
            _ => Ok(()),
        }
    }

    /// The whole of a handle that is no task.
    pub(super) fn fmt_handle(&self, kind: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{kind} {}", self.word())?;
        self.fmt_error(f)?;
        f.write_str(">")
    }
}

/// A task as it is shown. Everything that is asked of the task is asked before anything is written: a formatter is foreign code.
struct Repr<'t> {
    task: &'t TaskRef,
    phase: Phase,
    name: String,
    /// What it does, unless it is suspended.
    does: &'static str,
    waits_for: Vec<WaitsFor>,
}

impl<'t> Repr<'t> {
    fn new(task: &'t TaskRef, error: Option<TaskError>, deep: bool) -> Self {
        let waits_for = if deep { task.waits_for() } else { Vec::new() };
        Self {
            task,
            phase: Phase::of_task(task, error),
            name: task.name(),
            does: match task.state() {
                state if state.is_done() => "",
                state if state.is_running() => " running",
                state if state.is_queued() => " queued",
                _ => "",
            },
            waits_for,
        }
    }
}

impl Display for Repr<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let task = self.task;
        write!(f, "<Task {}", self.phase.word())?;
        write!(f, " name='{}'", self.name.escape_debug())?;
        write!(f, " coro=<{}{}>", task.future_name(), self.does)?;
        match &self.waits_for[..] {
            [] => {}
            [one] => write!(f, " wait_for={one:?}")?,
            several => {
                f.write_str(" wait_for=[")?;
                for (index, one) in several.iter().take(NAMED).enumerate() {
                    let comma = if index > 0 { ", " } else { "" };
                    write!(f, "{comma}{one:?}")?;
                }
                match several.len().saturating_sub(NAMED) {
                    0 => f.write_str("]")?,
                    more => write!(f, ", and {more} more]")?,
                }
            }
        }
        self.phase.fmt_error(f)?;
        write!(f, " spawned at {}>", task.spawned_at())
    }
}

impl TaskRef {
    /// As `Debug`, with the error that a handle may look at.
    pub(super) fn fmt_with(
        &self,
        error: Option<TaskError>,
        f: &mut fmt::Formatter<'_>,
    ) -> fmt::Result {
        Repr::new(self, error, true).fmt(f)
    }
}

/// `<Task pending name='Task-7' coro=<crate::fetch::{{closure}}> wait_for=<Task ...> spawned at src/main.rs:10:5>`: asyncio's repr.
///
/// The word is `pending`, `cancelling` (asked to end, and it has not), `cancelled` or `finished`, that one with `exception` if the task failed.
/// A task that is not suspended is `queued` or `running`, which stands behind the type of its future. What a task waits for is shown one level deep. May be called on any thread, and on the task that runs.
impl fmt::Debug for TaskRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_with(None, f)
    }
}

/// As that of [`TaskRef`], with the error of a task that failed: `exception=Panicked(Some("out of cheese"))`.
impl<T> fmt::Debug for Task<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let error = self.exception().ok().flatten();
        self.as_ref().fmt_with(error, f)
    }
}
