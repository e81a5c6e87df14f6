//! `Shared<T>`: a handle of any kind that can be cloned, and gives its outcome any number of times.

use super::awaitable::{Await, Awaitable, Watched, leave_waker};
use super::cell::Watcher;
use super::in_turn::drop_in_turn;
use super::repr::Phase;
use super::tree::{RegionRef, Target};
use super::{Task, TaskError, TaskRef};
use crate::sync_switch::Mutex;
use once_cell::sync::OnceCell;
use std::fmt;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

type Outcome<T> = Result<T, TaskError>;

/// A handle that can be cloned: each clone can be awaited, by tasks or threads of any number, and gives a clone of the outcome. Made from a
/// [`Task`] or a [`Deferred`](super::Deferred) by `shared()`.
///
/// What asyncio's handles all are. Cancelling any clone cancels the one thing that they stand for.
///
/// # Cancel safety
///
/// Awaiting may be given up and taken up again.
///
/// # Examples
///
/// ```
/// # heist_runtime::run(async {
/// let config = heist_runtime::spawn(async { String::from("fast") }).shared();
/// let same = config.clone();
/// let other = heist_runtime::spawn(async move { same.await.unwrap().len() });
/// assert_eq!(config.await.unwrap(), "fast");
/// assert_eq!(other.await.unwrap(), 4);
/// # }).unwrap();
/// ```
#[must_use = "a handle does nothing by itself"]
pub struct Shared<T> {
    source: Arc<dyn Source<T>>,
    /// The key of the waker that this clone left.
    watch: Option<usize>,
    waits: Await,
}

/// The handle behind the clones.
trait Source<T>: Watched + Send + Sync {
    fn is_done(&self) -> bool;
    fn is_cancelled(&self) -> bool;
    fn error(&self) -> Option<TaskError>;
    fn has_value(&self, holds: fn(&T) -> bool) -> bool;
    fn outcome(&self) -> Outcome<T>;
    fn target(&self) -> Target;
}

struct Origin<A: Awaitable> {
    handle: Mutex<A>,
    target: Target,
    /// Taken from the handle by who asks first.
    ///
    /// Invariant: set under the handle's lock, in which the outcome is taken. So whoever holds that finds it in one of the two.
    outcome: OnceCell<Outcome<A::Value>>,
}

impl<A: Awaitable> Drop for Origin<A> {
    fn drop(&mut self) {
        if let Some(outcome) = self.outcome.take() {
            drop_in_turn(outcome);
        }
    }
}

impl<A: Awaitable<Value: Clone + Sync> + Watched> Source<A::Value> for Origin<A> {
    fn is_done(&self) -> bool {
        self.outcome.get().is_some() || self.handle.lock().is_done()
    }

    fn is_cancelled(&self) -> bool {
        self.handle.lock().is_cancelled()
    }

    fn error(&self) -> Option<TaskError> {
        let handle = self.handle.lock();
        match self.outcome.get() {
            Some(outcome) => outcome.as_ref().err().cloned(),
            None => handle.error(),
        }
    }

    fn has_value(&self, holds: fn(&A::Value) -> bool) -> bool {
        self.is_done() && self.kept().as_ref().is_ok_and(holds)
    }

    fn outcome(&self) -> Outcome<A::Value> {
        if !self.is_done() {
            return Err(TaskError::invalid_state());
        }
        // A clone is foreign code: made of what nobody holds a lock for.
        self.kept().clone()
    }

    fn target(&self) -> Target {
        self.target.clone()
    }
}

impl<A: Awaitable> Origin<A> {
    /// The outcome of a handle that has ended, taken over from it.
    fn kept(&self) -> &Outcome<A::Value> {
        if let Some(outcome) = self.outcome.get() {
            return outcome;
        }
        let mut handle = self.handle.lock();
        self.outcome.get_or_init(|| handle.take())
    }
}

impl<A: Awaitable + Watched> Watched for Origin<A> {
    fn watch(&self, watcher: Watcher) -> Result<usize, Watcher> {
        self.handle.lock().watch(watcher)
    }

    fn rewatch(&self, key: usize, watcher: Watcher) -> Result<Watcher, Watcher> {
        self.handle.lock().rewatch(key, watcher)
    }

    fn unwatch(&self, key: usize) -> Option<Watcher> {
        self.handle.lock().unwatch(key)
    }
}

impl<T: Clone + Send + Sync + 'static> Shared<T> {
    /// `waits`: as far as the handle has been awaited.
    pub(super) fn new<A: Awaitable<Value = T> + Watched>(handle: A, waits: Await) -> Self {
        let origin = Origin {
            target: handle.target(),
            handle: Mutex::new(handle),
            outcome: OnceCell::new(),
        };
        Self {
            source: Arc::new(origin),
            watch: None,
            waits,
        }
    }

    /// Whether it has ended. asyncio's `done`.
    #[doc(alias = "done")]
    pub fn is_done(&self) -> bool {
        self.source.is_done()
    }

    /// Whether it has ended by a cancellation. asyncio's `cancelled`.
    #[doc(alias = "cancelled")]
    pub fn is_cancelled(&self) -> bool {
        self.source.is_cancelled()
    }

    /// Asks it to end; false if it has ended. See [`Task::cancel`] and [`Deferred::cancel`](super::Deferred::cancel).
    pub fn cancel<'m>(&self, message: impl Into<Option<&'m str>>) -> bool {
        super::request_all(vec![self.source.target()], message.into()) > 0
    }

    /// The value, without waiting. asyncio's `result`.
    ///
    /// # Errors
    ///
    /// Why there is none; [`is_invalid_state`](TaskError::is_invalid_state) before the end.
    pub fn result(&self) -> Result<T, TaskError> {
        self.source.outcome()
    }

    /// The error, without waiting; `None` if there is a value. asyncio's `exception`.
    ///
    /// # Errors
    ///
    /// It was cancelled, or has not ended.
    pub fn exception(&self) -> Result<Option<TaskError>, TaskError> {
        match self.source.outcome() {
            Ok(_) => Ok(None),
            Err(error) if error.is_invalid_state() => Err(error),
            Err(error) if error.is_cancelled() && self.is_cancelled() => Err(error),
            Err(error) => Ok(Some(error)),
        }
    }

    /// Calls `callback` at the end: on the thread that brings it, or here and now if it has come; in a copy of the calling code's
    /// [context](crate::context). asyncio's `add_done_callback`.
    pub fn add_done_callback(&self, callback: impl FnOnce() + Send + 'static) {
        if let Err(callback) = self.source.watch(Watcher::call(callback)) {
            callback.tell();
        }
    }

    /// Whether both stand for the same thing.
    pub fn ptr_eq(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }

    /// The task that it stands for, if it is one's.
    pub fn task(&self) -> Option<TaskRef> {
        match self.source.target() {
            Target::Task(task) => Some(task),
            Target::Region(_) | Target::Other(_) => None,
        }
    }
}

impl<T: Clone + Send + Sync + 'static> Awaitable for Shared<T> {
    type Value = T;

    fn target(&self) -> Target {
        self.source.target()
    }

    fn is_done(&self) -> bool {
        self.source.is_done()
    }

    fn is_cancelled(&self) -> bool {
        self.source.is_cancelled()
    }

    fn error(&self) -> Option<TaskError> {
        self.source.error()
    }

    fn has_value(&mut self, holds: fn(&T) -> bool) -> bool {
        self.source.has_value(holds)
    }

    fn poll_ended(&mut self, cx: &mut Context<'_>) -> bool {
        self.source.is_done() || leave_waker(&*self.source, &mut self.watch, cx)
    }

    fn take(&mut self) -> Outcome<T> {
        self.source.outcome()
    }

    fn identity(&self) -> usize {
        Arc::as_ptr(&self.source).cast::<()>().addr()
    }
}

impl<T: Clone + Send + Sync + 'static> Future for Shared<T> {
    type Output = Outcome<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome<T>> {
        let mut waits = mem::take(&mut self.waits);
        let polled = waits.poll(&mut *self, cx);
        self.waits = waits;
        polled
    }
}

impl<T> Unpin for Shared<T> {}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self {
            source: self.source.clone(),
            watch: None,
            waits: Await::new(),
        }
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        if let Some(key) = self.watch.take() {
            drop(self.source.unwatch(key));
        }
    }
}

/// As that of the handle that it was made from.
impl<T> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = &self.source;
        match source.target() {
            Target::Other(handle) => {
                Phase::of_handle(source.is_done(), source.is_cancelled(), source.error())
                    .fmt_handle(handle.kind(), f)
            }
            Target::Task(task) | Target::Region(RegionRef { task, .. }) => {
                task.fmt_with(source.error(), f)
            }
        }
    }
}

impl<T: Clone + Send + Sync + 'static> From<Task<T>> for Shared<T> {
    fn from(task: Task<T>) -> Self {
        Self::new(task, Await::new())
    }
}
