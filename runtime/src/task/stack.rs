//! Where a task is suspended: its chain of async functions. asyncio's `get_stack` and `print_stack`.
//!
//! A suspended task has no stack. So it is polled once more, with the leaves told to go nowhere and to note theirs
//! ([`leaf::begin_traced_poll`](heist_io_driver::leaf::begin_traced_poll)): the poll goes down the very chain that it is suspended in, and the frames
//! between the worker and the leaf are that chain.
//!
//! ```text
//!   who asks                                   who runs the task
//!   1 leaves a request in the rare box         1 finds it at the next poll, whatever woke the task
//!   2 leaves a watcher of the end              2 polls with the budget at zero; leaves note their stacks and wake the task
//!   3 wakes the task                           3 answers, and wakes the task: the poll that was due comes now
//! ```
//!
//! Such a poll is one that yielded for want of budget, and everybody knows those: it is no point of cancellation, consumes no wake-up, and no leaf of
//! heist makes progress in it. Foreign leaves are polled as usual, which is legal at any time.
//!
//! Feature `stacks`; without it (`stack/untraced.rs`) a stack is what the task says without being polled.

#[cfg(feature = "stacks")]
mod traced;
#[cfg(not(feature = "stacks"))]
mod untraced;

#[cfg(feature = "stacks")]
use traced as how;
#[cfg(not(feature = "stacks"))]
use untraced as how;

pub(super) use how::Tracing;
#[cfg(feature = "stacks")]
pub(super) use traced::Wanted;

use super::repr::WaitsFor;
use super::{Task, TaskRef};
use crate::current;
use heist_io_driver::leaf::{self, Leaf};
use std::fmt;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// Where a task is suspended, as of the moment when it was asked. asyncio's `Task.get_stack` and `print_stack`.
///
/// With the feature `stacks` it has a [frame](Self::frames) for each async function and combinator between the task and the leaf that it awaits; where it
/// awaits several at once, in a `join!`, the frames branch. Without the feature, and for a task that has not begun, there are no frames, but the name, the
/// future's type, the place of the spawn, and what it [waits for](Self::waits_for).
///
/// `Display` shows all of it, one line per frame, the most recent call last. Names and lines come from debug information: all are shown
/// with `debug = "full"`, which is what an unoptimised build has; with `"line-tables-only"`, functions that were inlined, or had others inlined in them,
/// have a line but no name (`async fn at src/net.rs:20`); with none, the inlined are missing. They are looked up when they are first asked for, which is slow: up to hundreds of milliseconds the first time.
///
/// # Examples
///
/// ```
/// # use std::time::Duration;
/// async fn lunch() {
///     heist_runtime::time::sleep(Duration::from_secs(3600)).await;
/// }
///
/// # heist_runtime::run(async {
/// let task = heist_runtime::task::Builder::new().name("lunch").spawn(lunch());
/// heist_runtime::task::yield_now().await;
/// match task.as_ref().get_stack().await {
///     Ok(stack) => println!("{stack}"),
///     Err(why) => println!("{why}"), // it runs just now
/// }
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct Stack(Arc<Inner>);

struct Inner {
    task: TaskRef,
    name: String,
    waits_for: Vec<WaitsFor>,
    chains: how::Chains,
}

impl Stack {
    fn new(task: &TaskRef, waits_for: Vec<WaitsFor>, chains: how::Chains) -> Self {
        Self(Arc::new(Inner {
            task: task.clone(),
            name: task.name(),
            waits_for,
            chains,
        }))
    }

    /// The task.
    pub fn task(&self) -> &TaskRef {
        &self.0.task
    }

    /// The handles that it awaited; see [`TaskRef::waits_for`].
    pub fn waits_for(&self) -> &[WaitsFor] {
        &self.0.waits_for
    }

    /// The frames, the outermost first. A frame belongs to the nearest one before it that has a smaller [`depth`](Frame::depth).
    pub fn frames(&self) -> &[Frame] {
        self.0.chains.frames()
    }

    /// Writes it to standard error. asyncio's `print_stack`.
    pub fn print_stack(&self) {
        eprint!("{self}");
    }
}

impl fmt::Display for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { task, name, .. } = &*self.0;
        writeln!(
            f,
            "Stack of '{}' ({}), spawned at {} (most recent call last):",
            name.escape_debug(),
            task.future_name(),
            task.spawned_at()
        )?;
        for frame in self.frames() {
            writeln!(f, "{:indent$}{frame}", "", indent = 2 * frame.depth + 2)?;
        }
        match self.0.chains.left_out() {
            0 => {}
            more => writeln!(f, "  and {more} more places at once")?,
        }
        for handle in self.waits_for() {
            writeln!(f, "  waits for {handle:?}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stack")
            .field("task", &self.0.task)
            .field("waits_for", &self.0.waits_for)
            .field("frames", &self.frames())
            .finish()
    }
}

/// An async function, or a combinator, in a [`Stack`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    name: String,
    file: Option<String>,
    line: Option<u32>,
    depth: usize,
}

impl Frame {
    /// The function: `app::fetch` for an async function or a block in it, `<app::Retry<F> as core::future::future::Future>::poll` for a future with a name;
    /// `async fn`, `async block` or `poll` for one that was inlined, in a build with lines alone.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The source file, if that is known.
    pub fn file(&self) -> Option<&str> {
        self.file.as_deref()
    }

    /// The line of the await, if that is known.
    pub fn line(&self) -> Option<u32> {
        self.line
    }

    /// How far it lies within the task: 0 for the task's own function.
    pub fn depth(&self) -> usize {
        self.depth
    }
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        match (&self.file, self.line) {
            (Some(file), Some(line)) => write!(f, " at {file}:{line}"),
            (Some(file), None) => write!(f, " at {file}"),
            (None, _) => Ok(()),
        }
    }
}

/// Why there is no stack.
#[derive(Clone, Debug)]
pub struct StackError(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Done,
    Running { worker: Option<usize> },
    TimedOut,
    WouldDeadlock,
}

impl StackError {
    /// Whether the task had ended, or did so before it was asked.
    pub fn is_done(&self) -> bool {
        matches!(self.0, Kind::Done)
    }

    /// Whether the task was running: what it does then only its own thread knows.
    pub fn is_running(&self) -> bool {
        matches!(self.0, Kind::Running { .. })
    }

    /// The worker on which it was running, if it is one of the runtime of the thread that asked.
    pub fn worker(&self) -> Option<usize> {
        match self.0 {
            Kind::Running { worker } => worker,
            _ => None,
        }
    }

    /// Whether the task was not polled in time: its workers are busy or blocked, or nobody runs them.
    pub fn is_timeout(&self) -> bool {
        matches!(self.0, Kind::TimedOut)
    }

    /// Whether waiting for it would have blocked the only worker that could poll the task.
    pub fn would_deadlock(&self) -> bool {
        matches!(self.0, Kind::WouldDeadlock)
    }
}

impl fmt::Display for StackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Kind::Done => f.write_str("no stack: the task has ended"),
            Kind::Running { worker: None } => f.write_str("no stack: the task is running"),
            Kind::Running {
                worker: Some(worker),
            } => write!(f, "no stack: the task is running, on worker {worker}"),
            Kind::TimedOut => f.write_str("no stack: the task was not polled in time"),
            Kind::WouldDeadlock => f.write_str(
                "no stack: waiting here would block the only worker that could poll the task; await get_stack() instead",
            ),
        }
    }
}

impl std::error::Error for StackError {}

impl TaskRef {
    /// Where the task is suspended. asyncio's `get_stack`.
    ///
    /// With the feature `stacks` the task's worker polls it once, without letting it make progress: answered in the task's turn, and every foreign future that it
    /// awaits sees a spurious poll or two. Asked of itself, a task gives its own stack up to here. Of a task that has not begun there are no frames. For a
    /// thread outside there is [`get_stack_within`](Self::get_stack_within).
    ///
    /// # Errors
    ///
    /// The task runs, or has ended.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost but the answer.
    ///
    /// # Examples
    ///
    /// See [`Stack`].
    pub fn get_stack(&self) -> GetStack {
        GetStack {
            task: self.clone(),
            asked: None,
            leaf: Leaf::new(),
        }
    }

    /// As [`get_stack`](Self::get_stack), for threads outside: waits for at most `timeout`.
    ///
    /// On a worker it blocks that worker meanwhile, and another thread takes its place.
    ///
    /// # Errors
    ///
    /// The task runs, has ended, or was not polled in time; or waiting here would never end.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::time::Duration;
    /// let runtime = heist_runtime::Runtime::new()?;
    /// let task = runtime.spawn(std::future::pending::<()>());
    /// match task.as_ref().get_stack_within(Duration::from_secs(1)) {
    ///     Ok(stack) => println!("{stack}"),
    ///     Err(why) => println!("{why}"),
    /// }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn get_stack_within(&self, timeout: Duration) -> Result<Stack, StackError> {
        let until = Instant::now().checked_add(timeout);
        let waiting = match self.ask() {
            Asked::Break(answer) => return answer,
            Asked::Continue(waiting) => waiting,
        };
        let here = current::handle();
        let _blocking = here
            .as_ref()
            .map(|handle| handle.begin_blocking())
            .transpose()
            .map_err(|_| StackError(Kind::WouldDeadlock))?;
        let _aside = leaf::set_aside();
        let answer = current::without_worker(|| waiting.wait_until(until));
        answer.unwrap_or(Err(StackError(Kind::TimedOut)))
    }

    /// Writes where the task is suspended to standard error. asyncio's `print_stack`.
    ///
    /// # Errors
    ///
    /// As [`get_stack`](Self::get_stack).
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost.
    ///
    /// # Examples
    ///
    /// ```
    /// # heist_runtime::run(async {
    /// heist_runtime::current_task().unwrap().print_stack().await.unwrap();
    /// # }).unwrap();
    /// ```
    pub async fn print_stack(&self) -> Result<(), StackError> {
        self.get_stack().await.map(|stack| stack.print_stack())
    }

    #[inline(never)]
    fn ask(&self) -> Asked {
        let state = self.state();
        let answer = if current::is_current(self) {
            Ok(Stack::new(self, Vec::new(), how::Chains::of_here()))
        } else if state.is_done() {
            Err(StackError(Kind::Done))
        } else if state.is_running() {
            let worker = self.worker();
            Err(StackError(Kind::Running { worker }))
        } else if state.is_started() {
            return how::ask(self);
        } else {
            Ok(Stack::new(self, Vec::new(), how::Chains::none()))
        };
        Asked::Break(answer)
    }

    /// The worker of this thread's runtime that runs the task.
    fn worker(&self) -> Option<usize> {
        let handle = current::handle()?;
        let mut slots = handle.scheduler().slots();
        let runs = |slot: &crate::scheduler::Slot| {
            let poll = slot.counters.poll_now();
            poll.is_some_and(|(task, _)| task == self.id().get())
        };
        slots.find(|(_, slot)| runs(slot)).map(|(index, _)| index)
    }
}

impl<T> Task<T> {
    /// Where the task is suspended; see [`TaskRef::get_stack`].
    pub fn get_stack(&self) -> GetStack {
        self.as_ref().get_stack()
    }
}

type Answer = Result<Stack, StackError>;

/// What comes of asking: the answer at once, or somebody who waits for it.
type Asked = ControlFlow<Answer, how::Waiting>;

/// The future of [`TaskRef::get_stack`].
#[must_use = "futures do nothing unless awaited"]
pub struct GetStack {
    task: TaskRef,
    asked: Option<how::Waiting>,
    leaf: Leaf,
}

impl Future for GetStack {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if this.leaf.poll_enter(cx).is_pending() {
            return Poll::Pending;
        }
        let answer = match &this.asked {
            Some(waiting) => waiting.poll(cx),
            None => match this.task.ask() {
                Asked::Break(answer) => Poll::Ready(answer),
                Asked::Continue(waiting) => this.asked.insert(waiting).poll(cx),
            },
        };
        match answer {
            Poll::Ready(answer) => {
                this.asked = None;
                leaf::spend();
                Poll::Ready(answer)
            }
            Poll::Pending => {
                this.leaf.suspend();
                Poll::Pending
            }
        }
    }
}

impl fmt::Debug for GetStack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("GetStack").field(&self.task).finish()
    }
}
