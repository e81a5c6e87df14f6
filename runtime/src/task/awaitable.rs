//! What all handles have in common, and how a task awaits one.
//!
//! An await that suspends is written down in the task's tree, in the region that it stands in: a request for cancellation is then
//! forwarded to the handle instead of ending the region. What the handle ends with decides:
//!
//! ```text
//!   the handle ended    nothing asked of this await   forwarded to the handle       the region received a request itself
//!   with a value        the value                     the value: it was suppressed  pending; the region ends, the value stays
//!   with an error       the error                     the error                     pending; likewise
//!   cancelled           Err(cancelled)                unwinds, with its message     unwinds, with its message
//! ```

use super::cell::{Direct, Watcher};
use super::tree::{Key, Polled, Target};
use super::{TaskError, TaskRef, waker};
use crate::current::{self, Scope};
use heist_io_driver::leaf::{self, Leaf};
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A handle that can be awaited, cancelled, and forwarded to: [`Task`](super::Task), [`Deferred`](super::Deferred),
/// [`Shared`](super::Shared). Every combinator takes them alike.
pub trait Awaitable:
    Future<Output = Result<Self::Value, TaskError>> + Unpin + Send + 'static
{
    /// What it gives.
    type Value: Send + 'static;

    /// The handle as something that can be cancelled.
    fn target(&self) -> Target;

    /// Whether it has ended.
    fn is_done(&self) -> bool;

    /// Whether it has ended by a cancellation.
    fn is_cancelled(&self) -> bool;

    /// The error that it has ended with, which stays where it is; none before the end, and once it was taken.
    fn error(&self) -> Option<TaskError>;

    /// Whether it has ended with a value, which stays where it is, of which `holds` is true; not before the end, and once it was taken.
    fn has_value(&mut self, holds: fn(&Self::Value) -> bool) -> bool;

    /// Whether it has ended with a cancellation as its outcome; differs from [`is_cancelled`](Self::is_cancelled) for a gather, which is never
    /// cancelled itself.
    fn ends_cancelled(&self) -> bool {
        self.error().is_some_and(|error| error.is_cancelled())
    }

    /// Whether it has ended; if not, the waker is woken when it does. Only the last waker of each handle counts.
    ///
    /// Not an await: it forwards nothing, and is no point of cancellation.
    fn poll_ended(&mut self, cx: &mut Context<'_>) -> bool;

    /// Takes the outcome, or clones it where the handle can give it many times.
    ///
    /// # Errors
    ///
    /// That of the outcome; [`is_invalid_state`](TaskError::is_invalid_state) before the end.
    fn take(&mut self) -> Result<Self::Value, TaskError>;

    /// A number that two handles share exactly if they are of the same thing.
    fn identity(&self) -> usize;

    /// Waits for the end, by any way, and leaves the outcome where it is. Does not forward: a request ends this await alone.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost.
    fn ended(&mut self) -> Ended<'_, Self>
    where
        Self: Sized,
    {
        Ended {
            handle: self,
            leaf: Leaf::new(),
        }
    }
}

/// The future of [`Awaitable::ended`].
#[must_use = "futures do nothing unless awaited"]
pub struct Ended<'a, A> {
    handle: &'a mut A,
    leaf: Leaf,
}

impl<A: Awaitable> Future for Ended<'_, A> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.leaf.poll_enter(cx).is_pending() {
            return Poll::Pending;
        }
        if self.handle.poll_ended(cx) {
            leaf::spend();
            return Poll::Ready(());
        }
        self.leaf.suspend();
        Poll::Pending
    }
}

impl<A> fmt::Debug for Ended<'_, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ended").finish_non_exhaustive()
    }
}

/// A handle of whose end many can be told.
pub(crate) trait Watched {
    /// Leaves somebody to be told; gives him back if the end has come.
    fn watch(&self, watcher: Watcher) -> Result<usize, Watcher>;

    /// Exchanges who was left under `key`; gives back the new one if the old was told already, else the old one, to be dropped.
    fn rewatch(&self, key: usize, watcher: Watcher) -> Result<Watcher, Watcher>;

    /// Takes back who was left under `key`, to be dropped.
    fn unwatch(&self, key: usize) -> Option<Watcher>;
}

/// Leaves a waker under `watch`; true if the end has come.
pub(crate) fn leave_waker(
    handle: &(impl Watched + ?Sized),
    watch: &mut Option<usize>,
    cx: &Context<'_>,
) -> bool {
    let waker = Watcher::Waker(cx.waker().clone());
    let left = match *watch {
        Some(key) => handle.rewatch(key, waker).map(drop),
        None => handle.watch(waker).map(|key| *watch = Some(key)),
    };
    if left.is_err() {
        *watch = None;
    }
    left.is_err()
}

/// What [`Await`] asks of a handle, or of the rest of one.
pub(crate) trait Awaited {
    type Value;

    fn target(&self) -> Target;

    /// If it is the one handle of a task.
    fn direct(&self) -> Option<Direct>;

    fn error(&self) -> Option<TaskError>;

    fn ends_cancelled(&self) -> bool;

    fn poll_ended(&mut self, cx: &mut Context<'_>) -> bool;

    fn take(&mut self) -> Result<Self::Value, TaskError>;
}

impl<A: Awaitable> Awaited for A {
    type Value = A::Value;

    fn target(&self) -> Target {
        Awaitable::target(self)
    }

    fn direct(&self) -> Option<Direct> {
        None
    }

    fn error(&self) -> Option<TaskError> {
        Awaitable::error(self)
    }

    fn ends_cancelled(&self) -> bool {
        Awaitable::ends_cancelled(self)
    }

    fn poll_ended(&mut self, cx: &mut Context<'_>) -> bool {
        Awaitable::poll_ended(self, cx)
    }

    fn take(&mut self) -> Result<A::Value, TaskError> {
        Awaitable::take(self)
    }
}

/// The await of a handle, as a part of the handle's future.
#[derive(Debug, Default)]
pub(crate) struct Await {
    leaf: Leaf,
    wait: Option<Wait>,
    /// It suspends although the handle has ended.
    at_least_once: bool,
}

impl Await {
    pub(crate) const fn new() -> Self {
        Self {
            leaf: Leaf::new(),
            wait: None,
            at_least_once: false,
        }
    }

    /// One that suspends at least once, and so is a point of cancellation.
    pub(crate) fn suspending(mut self) -> Self {
        self.at_least_once = true;
        self
    }

    /// Polls `handle`, of which this is a part.
    #[inline]
    pub(crate) fn poll<A: Awaited>(
        &mut self,
        handle: &mut A,
        cx: &mut Context<'_>,
    ) -> Poll<Result<A::Value, TaskError>> {
        if !self.leaf.is_suspended() {
            return self.begin(handle, cx);
        }
        // Traced, it stays where it stands even if the handle has ended.
        if leaf::poll_traced(cx).is_pending() || !handle.poll_ended(cx) {
            self.settle_in(handle, cx);
            return Poll::Pending;
        }
        let interrupted = leaf::interrupted();
        if handle.ends_cancelled() {
            let forwarded = self.wait.take().is_some_and(Wait::end);
            if forwarded || interrupted {
                return self.unwind(handle, interrupted);
            }
        } else if interrupted {
            return Poll::Pending;
        }
        if leaf::poll_budget(cx).is_pending() {
            return Poll::Pending;
        }
        leaf::spend();
        *self = Self::new();
        Poll::Ready(handle.take())
    }

    #[inline]
    fn begin<A: Awaited>(
        &mut self,
        handle: &mut A,
        cx: &mut Context<'_>,
    ) -> Poll<Result<A::Value, TaskError>> {
        if leaf::poll_budget(cx).is_pending() {
            return Poll::Pending;
        }
        if handle.poll_ended(cx) {
            if self.at_least_once {
                self.leaf.suspend();
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            leaf::spend();
            return Poll::Ready(handle.take());
        }
        let itself = match handle.direct() {
            Some(direct) => direct.is_running(),
            None => matches!(handle.target(), Target::Task(task) if current::is_current(&task)),
        };
        if itself {
            return Poll::Ready(Err(TaskError::self_await()));
        }
        self.leaf.suspend();
        self.settle_in(handle, cx);
        Poll::Pending
    }

    /// Sees to it that the await stands in the tree of the task that polls it, in the region that it is in.
    fn settle_in<A: Awaited>(&mut self, handle: &A, cx: &Context<'_>) {
        let is_here = self.wait.as_ref().is_some_and(|wait| wait.touch(cx));
        if !is_here {
            self.wait = None;
            self.wait = Wait::begin(handle, cx);
        }
    }

    /// The handle ended cancelled, as this await's task was asked to: that cancellation goes on from here.
    #[cold]
    fn unwind<A: Awaited, T>(
        &mut self,
        handle: &mut A,
        interrupted: bool,
    ) -> Poll<Result<T, TaskError>> {
        // By the region that it is in now: the await may have begun in another one.
        if interrupted
            && let Some(task) = current::current_task()
            && let Some(region) = region_here(&task)
        {
            // One cancellation, not two: what the region has received ends here as well.
            task.consume_received(region);
        }
        match handle.error().map(TaskError::into_cancelled) {
            Some(Ok(cancelled)) => {
                // If it is polled once more, against all custom, it begins anew.
                *self = Self::new();
                cancelled.unwind();
                Poll::Pending
            }
            Some(Err(error)) => Poll::Ready(Err(error)),
            // Taken between the two looks.
            None => Poll::Ready(Err(TaskError::taken())),
        }
    }
}

/// An await's entry in the task that awaits. Taken out when dropped.
#[derive(Debug)]
struct Wait {
    task: TaskRef,
    place: Place,
}

#[derive(Debug)]
enum Place {
    /// In the header: `Header::wait`.
    Inline(Direct),
    Tree {
        region: Key,
        entry: u32,
    },
}

impl Wait {
    fn begin<A: Awaited>(handle: &A, cx: &Context<'_>) -> Option<Self> {
        let task = current::current_task()?;
        if let Some(direct) = handle.direct()
            && task.set_inline(direct, cx)
        {
            task.begin_inline();
            let place = Place::Inline(direct);
            return Some(Self { task, place });
        }
        let region = region_here(&task)?;
        let entry = task.add_wait(region, handle.target(), cx)?;
        let place = Place::Tree { region, entry };
        Some(Self { task, place })
    }

    /// It is polled again; false if that is in another task or region now.
    fn touch(&self, cx: &Context<'_>) -> bool {
        if !current::is_current(&self.task) {
            return false;
        }
        match self.place {
            Place::Inline(direct) => self.task.set_inline(direct, cx),
            Place::Tree { region, entry } => {
                region_here(&self.task) == Some(region) && self.task.touch_wait(region, entry, cx)
            }
        }
    }

    /// Takes it out; says whether a request to the task that polls it was forwarded by it. (One to another task, in which the await had
    /// begun, is no affair of this one.)
    fn end(self) -> bool {
        self.take_out() && current::is_current(&self.task)
    }

    fn take_out(&self) -> bool {
        match self.place {
            Place::Inline(direct) => {
                let runs = current::is_current(&self.task);
                self.task.header().clear_wait(direct, runs);
                runs && self.task.take_inline_forwarded()
            }
            Place::Tree { region, entry } => {
                let removed = self.task.remove_wait(region, entry);
                removed.is_some_and(|(forwarded, _)| forwarded)
            }
        }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.take_out();
    }
}

/// The region that is being polled, in the current task.
fn region_here(task: &TaskRef) -> Option<Key> {
    current::with_scope(|scope| scope.map(|scope| scope.key_in(task)))
}

impl TaskRef {
    /// Puts the await of `direct` into the header, if it is of the plain kind: not within a region, nor within another executor.
    fn set_inline(&self, direct: Direct, cx: &Context<'_>) -> bool {
        current::with_scope(|scope| scope.is_some_and(Scope::is_root))
            && waker::is_of(cx.waker(), self.header())
            && self.header().set_wait(direct)
    }

    /// The await that stands in the header begins now.
    fn begin_inline(&self) {
        if let Some(rare) = self.header().rare() {
            rare.lock().requests.tree.begin_inline(rare.poll_number());
        }
    }

    /// Whether what stands in the header has forwarded a request; it has not from now on.
    fn take_inline_forwarded(&self) -> bool {
        let rare = self.header().rare();
        rare.is_some_and(|rare| rare.lock().requests.tree.take_inline_forwarded())
    }

    fn polled(&self, cx: &Context<'_>) -> Polled {
        Polled {
            number: self.header().rare_or_new().poll_number(),
            by_other: !waker::is_of(cx.waker(), self.header()),
        }
    }

    fn add_wait(&self, region: Key, target: Target, cx: &Context<'_>) -> Option<u32> {
        let polled = self.polled(cx);
        let mut fields = self.header().rare_or_new().lock();
        let entry = fields.requests.tree.add_wait(region, target, polled)?;
        u32::try_from(entry).ok()
    }

    fn touch_wait(&self, region: Key, entry: u32, cx: &Context<'_>) -> bool {
        let polled = self.polled(cx);
        let mut fields = self.header().rare_or_new().lock();
        let tree = &mut fields.requests.tree;
        tree.touch_wait(region, entry as usize, polled)
    }

    fn remove_wait(&self, region: Key, entry: u32) -> Option<(bool, Target)> {
        let mut fields = self.header().rare_or_new().lock();
        fields.requests.tree.remove_wait(region, entry as usize)
    }
}
