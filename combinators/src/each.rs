//! What the combinators share: a waker for each child, and foreign code whose panic ends here.
//!
//! A combinator learns of a child's end by the waker that it leaves with the child's handle, which names the child: nobody polls all
//! children because one woke. The waker is called on the thread that ends the child.

use heist_runtime::task::run_in_turn;
use heist_runtime::{Handle, TaskError};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Wake, Waker};

/// Who is told of the end of each of its children.
pub(crate) trait Parent: Send + Sync + 'static {
    /// Child `index` has, most likely, ended. `waker` is the one that said so.
    fn child_ended(self: Arc<Self>, index: usize, waker: &Waker);
}

/// A child, as its parent is told of it.
struct Child<P> {
    parent: Arc<P>,
    index: usize,
}

/// The waker to leave with child `index`.
pub(crate) fn waker_of<P: Parent>(parent: &Arc<P>, index: usize) -> Waker {
    let parent = parent.clone();
    Waker::from(Arc::new(Child { parent, index }))
}

impl<P: Parent> Wake for Child<P> {
    fn wake(self: Arc<Self>) {
        run_in_turn(move || {
            let waker = Waker::from(self.clone());
            self.parent.clone().child_ended(self.index, &waker);
        });
    }
}

/// Calls `notice` soon: of children that had ended before a combinator is told as asyncio's are, when whoever begins it has suspended.
pub(crate) fn soon(notice: impl FnOnce() + Send + 'static) {
    match Handle::current() {
        Some(handle) if !handle.is_shut_down() => drop(handle.call_soon(notice)),
        // Nobody else would call it.
        _ => notice(),
    }
}

/// Calls foreign code; gives its panic.
pub(crate) fn caught<R>(foreign: impl FnOnce() -> R) -> Result<R, Box<dyn Any + Send>> {
    catch_unwind(AssertUnwindSafe(foreign))
}

/// Drops a foreign value whose destructor's panic has nowhere to go. The payload of that panic may panic in turn, and is leaked then: it
/// has to end somewhere.
pub(crate) fn discard<T>(value: T) {
    if let Err(payload) = caught(|| drop(value))
        && let Err(again) = caught(|| drop(payload))
    {
        std::mem::forget(again);
    }
}

/// An error that came when nobody waited for it any more. The one place where combinators report such.
///
/// A child whose handle they have let go of reports its failure itself: the runtime does so for every detached task. This is for the outcome that was
/// taken from the handle already.
#[cold]
pub(crate) fn unretrieved(error: &TaskError) {
    if !error.is_cancelled() {
        // A subscriber is foreign code too.
        discard(caught(|| {
            tracing::error!(target: "heist", %error, "a task failed when nobody waited for it any more");
        }));
    }
}
