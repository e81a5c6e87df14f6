//! The task of a `block_on`: polled on the calling thread alone, so it may borrow and need not be Send.
#![allow(unsafe_code)]

use super::error::TaskError;
use super::raw::{Runnable, Values, new_task_unchecked};
use super::{Ending, Refusal, Route, Schedule, TaskRef, Why};
use crate::handle::Handle;
use crate::scheduler::Parker;
use crate::spawn::Told;
use crate::sync_switch::Mutex;
use std::panic::Location;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::AcqRel, Ordering::Acquire};

/// The run queue of a root task, one entry long, and the thread that waits on it.
///
/// The scheduler counts the root among those that can run while there is an entry, and from then until the entry's poll is over; after the
/// last poll, until `block_on` is.
pub(crate) struct Root {
    handle: Handle,
    entry: Mutex<Option<Runnable>>,
    parker: Parker,
    /// Whether the root's thread is, for the moment, the current-thread runtime's worker, and sleeps as such.
    working: AtomicBool,
}

impl Root {
    /// Blocks until the root is woken, or somebody else unparks it.
    pub(crate) fn park(&self) {
        self.parker.park();
    }

    pub(crate) fn unpark(&self) {
        self.parker.unpark(|| {});
    }

    pub(crate) fn set_working(&self, working: bool) {
        // A waker locks `entry`, then loads this; the root's thread stores this, then locks `entry`. Whoever locks second sees what the other
        // did before, so either the thread finds the entry or the waker sees that it has to wake the worker.
        self.working.swap(working, AcqRel);
    }

    fn take(&self) -> Option<Runnable> {
        self.entry.lock().take()
    }
}

struct RootScheduler(Arc<Root>);

struct RootRoute(Arc<Root>);

impl Schedule for RootScheduler {
    type Route = RootRoute;

    fn route(&self) -> RootRoute {
        RootRoute(self.0.clone())
    }

    fn release(&self, task: NonNull<super::Header>, ending: Ending) {
        self.0.handle.release(task, ending);
    }

    fn unhandled(&self, task: TaskRef, error: TaskError) {
        self.0.handle.unhandled(task, error);
    }
}

impl Route for RootRoute {
    fn submit(self, task: Runnable, _why: Why) {
        let root = self.0;
        root.handle.scheduler().root_woken();
        *root.entry.lock() = Some(task);
        // Acquire: pairs with the swap in `set_working`.
        if root.working.load(Acquire) {
            root.handle.scheduler().unpark_seat();
        }
        root.unpark();
    }
}

/// Polls the root task if it is woken; true once it is done.
pub(crate) struct PollRoot<'a>(&'a Arc<Root>, &'a dyn Fn() -> bool);

impl PollRoot<'_> {
    pub(crate) fn root(&self) -> &Arc<Root> {
        self.0
    }

    pub(crate) fn poll(&self) -> bool {
        let entry = self.0.take();
        let polled = entry.map(Runnable::run).is_some();
        let done = (self.1)();
        if polled && !done {
            self.0.handle.scheduler().root_rests();
        }
        done
    }
}

/// Runs `future` to its end on this thread, which the caller has counted as a root that can run (`Scheduler::root_woken`). `drive` is
/// called once and has to call `PollRoot::poll` until it says true; if it gives up before, the future is cancelled.
///
/// # Errors
///
/// The future was cancelled, or the runtime refused it.
pub(crate) fn run_root<F: Future>(
    handle: &Handle,
    at: &'static Location<'static>,
    future: F,
    drive: impl FnOnce(&PollRoot<'_>),
) -> Result<F::Output, TaskError> {
    let root = Arc::new(Root {
        handle: handle.clone(),
        entry: Mutex::new(None),
        parker: Parker::new(),
        working: AtomicBool::new(false),
    });
    // SAFETY: the entry only ever goes to `root`, from where only this function takes it (`PollRoot` borrows locals of it): the
    // future is polled on this thread alone. `End` ends the task before this function returns or unwinds, so nothing borrowed is used
    // later; the outcome is taken, or dropped with the handle, here.
    let (entry, mut task) =
        unsafe { new_task_unchecked::<_, _, Values>(RootScheduler(root.clone()), at, || future) };
    Told::default().tell(entry.header());
    if !handle.bind(&entry) {
        entry.abandon(TaskError::refused(Refusal::Closed));
    } else {
        *root.entry.lock() = Some(entry);
        let end = End(&root, task.as_ref());
        drive(&PollRoot(&root, &|| end.1.is_done()));
        drop(end);
    }
    match task.take_outcome() {
        Some(Ok(output)) => Ok(output),
        Some(Err(error)) if error.is_panic() => error.resume(),
        Some(Err(error)) => Err(error),
        None => unreachable!("`End` has ended the task"),
    }
}

/// Ends the root task, whatever happened.
struct End<'a>(&'a Root, TaskRef);

impl Drop for End<'_> {
    fn drop(&mut self) {
        // That queues a suspended task: the entry is in `root` then, unless the task is done.
        self.1.abort(None);
        while !self.1.is_done() {
            match self.0.take() {
                Some(entry) => entry.abandon(TaskError::cancelled(None)),
                // Only between a waker's transition and its submit, on another thread.
                None => self.0.park(),
            }
        }
    }
}
