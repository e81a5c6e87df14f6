//! `Task<T>`: the handle of a spawned task, and `TaskRef`, its untyped twin.
#![allow(unsafe_code)]

use super::cell::{Header, Outcome};
use super::error::TaskError;
use super::id::TaskId;
use super::raw;
use super::state::{Request, Snapshot};
use crate::trace;
use heist_io_driver::leaf::{self, Leaf};
use std::fmt;
use std::marker::PhantomData;
use std::panic::Location;
use std::pin::Pin;
use std::ptr::NonNull;
use std::task::{Context, Poll};

/// A spawned task. Awaiting it gives its outcome; dropping it lets the task run on by itself (it *detaches*).
///
/// asyncio's `Task`. The runtime keeps every unfinished task alive, so unlike there nothing is lost when the last handle goes.
///
/// # Cancel safety
///
/// Awaiting by `&mut task` may be given up and taken up again; the outcome is not lost.
///
/// # Examples
///
/// ```
/// # heist_runtime::run(async {
/// let task = heist_runtime::spawn(async { 6 * 7 });
/// assert_eq!(task.await.unwrap(), 42);
/// # }).unwrap();
/// ```
#[doc(alias = "asyncio.Task")]
pub struct Task<T> {
    task: NonNull<Header>,
    taken: bool,
    leaf: Leaf,
    _outcome: PhantomData<fn() -> T>,
}

// SAFETY: the handle gives the outcome, a `T`, to whichever thread it is on, and nothing else of the task; the header is Sync.
unsafe impl<T: Send> Send for Task<T> {}
// SAFETY: through `&Task<T>` only the header can be reached, never the outcome.
unsafe impl<T: Send> Sync for Task<T> {}
impl<T> Unpin for Task<T> {}

impl<T> Task<T> {
    /// # Safety
    ///
    /// The caller hands over the handle's reference to a task whose future gives a `T`; there is no other handle.
    pub(super) unsafe fn from_raw(task: NonNull<Header>) -> Self {
        Self {
            task,
            taken: false,
            leaf: Leaf::new(),
            _outcome: PhantomData,
        }
    }

    fn header(&self) -> &Header {
        // SAFETY: the handle holds a reference.
        unsafe { self.task.as_ref() }
    }

    /// An untyped reference to the same task.
    pub fn as_ref(&self) -> TaskRef {
        // SAFETY: the handle holds a reference.
        unsafe { TaskRef::new(self.task) }
    }

    /// Identifies the task, for the life of the process.
    pub fn id(&self) -> TaskId {
        self.header().id
    }

    /// The task's name: the one it was given, else `Task-N`. asyncio's `get_name`.
    #[doc(alias = "get_name")]
    pub fn name(&self) -> String {
        self.header().name()
    }

    /// Names the task. asyncio's `set_name`.
    pub fn set_name(&self, name: &str) {
        self.header().set_name(name);
    }

    /// Where the task was spawned.
    pub fn spawned_at(&self) -> &'static Location<'static> {
        self.header().spawned_at
    }

    /// Whether the task has ended: with a value, an error, or by a cancellation. asyncio's `done`.
    #[doc(alias = "done")]
    pub fn is_done(&self) -> bool {
        self.header().state.load().is_done()
    }

    /// Whether the task has ended by a cancellation. asyncio's `cancelled`.
    #[doc(alias = "cancelled")]
    pub fn is_cancelled(&self) -> bool {
        self.header().state.load().is_cancelled()
    }

    /// Requests that the task end, and returns at once: false if it has ended already.
    ///
    /// The task is dropped at the await where it is suspended, or will next suspend: its destructors run, and its outcome
    /// is [`TaskError`] with [`is_cancelled`](TaskError::is_cancelled) and `message`. If it returns before it suspends
    /// again, it ends cancelled as well and the value is dropped; a panic stands. One that has not been polled is never polled.
    /// A task made by `spawn_blocking` is cancelled only while it waits for its thread; once it runs, its value is dropped.
    ///
    /// asyncio's `cancel(msg)`.
    ///
    /// # Examples
    ///
    /// ```
    /// # heist_runtime::run(async {
    /// let task = heist_runtime::spawn(std::future::pending::<()>());
    /// assert!(task.cancel("no longer needed"));
    /// let error = task.await.unwrap_err();
    /// assert!(error.is_cancelled());
    /// assert_eq!(error.cancel_message(), Some("no longer needed"));
    /// # }).unwrap();
    /// ```
    pub fn cancel<'m>(&self, message: impl Into<Option<&'m str>>) -> bool {
        // SAFETY: the handle holds a reference.
        unsafe { cancel(self.task, message.into()) }
    }

    /// Lets the task run on by itself. The same as dropping the handle, for code that wants to say so.
    pub fn detach(self) {}

    /// Leaves a waker to be woken at the task's end; true if the task is done already.
    pub(crate) fn leave_waker(&mut self, cx: &Context<'_>) -> bool {
        // SAFETY: this is the only handle.
        unsafe { raw::poll_done(self.task, cx) }
    }

    /// Takes the outcome of a task that is done; once.
    pub(crate) fn take_outcome(&mut self) -> Option<Outcome<T>> {
        if !self.is_done() {
            return None;
        }
        if std::mem::replace(&mut self.taken, true) {
            return Some(Err(TaskError::taken()));
        }
        // SAFETY: this is the only handle, the task is done, and the outcome has not been taken.
        unsafe { raw::take(self.task) }
    }
}

impl<T> Future for Task<T> {
    type Output = Result<T, TaskError>;

    /// A task awaited again after its outcome was given says so with an error.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.leaf.poll_enter(cx).is_pending() {
            return Poll::Pending;
        }
        // SAFETY: this is the only handle.
        if !unsafe { raw::poll_done(self.task, cx) } {
            self.leaf.suspend();
            return Poll::Pending;
        }
        leaf::spend();
        let outcome = self.take_outcome();
        Poll::Ready(outcome.unwrap_or_else(|| Err(TaskError::taken())))
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        if self.taken {
            // The task is done and its outcome was given away: nothing is left to clear.
            // SAFETY: the handle's reference.
            unsafe { raw::drop_reference(self.task) }
        } else {
            // SAFETY: the only handle, gone after this.
            unsafe { raw::drop_handle(self.task) }
        }
    }
}

impl<T> fmt::Debug for Task<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.header().fmt_as("Task", f)
    }
}

/// A reference to a task of whatever type: what `current_task` and `all_tasks` give. Cloning is cheap; it keeps the
/// task's memory, not the task, alive.
pub struct TaskRef(NonNull<Header>);

// SAFETY: only the header is reached, which is Send and Sync.
unsafe impl Send for TaskRef {}
// SAFETY: as above.
unsafe impl Sync for TaskRef {}

impl TaskRef {
    /// # Safety
    ///
    /// `task` is alive: the caller holds a reference, or the lock of the registry shard in which the task stands.
    pub(crate) unsafe fn new(task: NonNull<Header>) -> Self {
        // SAFETY: by the caller's word.
        unsafe { task.as_ref() }.state.add_reference();
        Self(task)
    }

    fn header(&self) -> &Header {
        // SAFETY: this holds a reference.
        unsafe { self.0.as_ref() }
    }

    /// Identifies the task, for the life of the process.
    pub fn id(&self) -> TaskId {
        self.header().id
    }

    /// The task's name: the one it was given, else `Task-N`.
    pub fn name(&self) -> String {
        self.header().name()
    }

    /// Names the task.
    pub fn set_name(&self, name: &str) {
        self.header().set_name(name);
    }

    /// Whether the task has ended.
    pub fn is_done(&self) -> bool {
        self.header().state.load().is_done()
    }

    /// Whether the task has ended by a cancellation.
    pub fn is_cancelled(&self) -> bool {
        self.header().state.load().is_cancelled()
    }

    /// Where the task was spawned.
    pub fn spawned_at(&self) -> &'static Location<'static> {
        self.header().spawned_at
    }

    /// The type name of the task's future. asyncio's `get_coro`, as far as a compiled language has one.
    #[doc(alias = "get_coro")]
    pub fn future_name(&self) -> &'static str {
        (self.header().vtable.future_name)()
    }

    /// Requests that the task end; see [`Task::cancel`].
    pub fn cancel<'m>(&self, message: impl Into<Option<&'m str>>) -> bool {
        // SAFETY: this holds a reference.
        unsafe { cancel(self.0, message.into()) }
    }

    pub(crate) fn state(&self) -> Snapshot {
        self.header().state.load()
    }
}

impl Clone for TaskRef {
    fn clone(&self) -> Self {
        // SAFETY: this holds a reference.
        unsafe { Self::new(self.0) }
    }
}

impl Drop for TaskRef {
    fn drop(&mut self) {
        // SAFETY: this holds a reference, and gives it back.
        unsafe { raw::drop_reference(self.0) }
    }
}

impl PartialEq for TaskRef {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for TaskRef {}

impl std::hash::Hash for TaskRef {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.id().hash(state);
    }
}

impl fmt::Debug for TaskRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.header().fmt_as("TaskRef", f)
    }
}

/// # Safety
///
/// The caller holds a reference.
unsafe fn cancel(task: NonNull<Header>, message: Option<&str>) -> bool {
    // SAFETY: by the caller's reference.
    let header = unsafe { task.as_ref() };
    if header.state.load().is_done() {
        return false;
    }
    match header.request_cancel(message) {
        Request::Refused => return false,
        Request::Kept => {}
        // SAFETY: the transition made the queue's reference.
        Request::Submit => unsafe { raw::submit_queued(task) },
    }
    trace::cancel_requested(header);
    true
}

impl Header {
    pub(crate) fn name(&self) -> String {
        match self.explicit_name() {
            Some(name) => String::from(&*name),
            None => format!("Task-{}", self.id),
        }
    }

    pub(crate) fn id(&self) -> TaskId {
        self.id
    }

    pub(crate) fn spawned_at(&self) -> &'static Location<'static> {
        self.spawned_at
    }

    /// One word for what the task does now.
    pub(crate) fn phase(state: Snapshot) -> &'static str {
        if state.is_cancelled() {
            "cancelled"
        } else if state.is_done() {
            "done"
        } else if state.is_running() {
            "running"
        } else if state.is_queued() {
            "queued"
        } else {
            "suspended"
        }
    }

    fn fmt_as(&self, kind: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.load();
        write!(f, "<{kind} {} name={:?}", Self::phase(state), self.name())?;
        if state.is_cancel_kept() {
            f.write_str(" cancelling")?;
        }
        write!(f, " spawned at {}>", self.spawned_at)
    }
}
