//! The thread-local: which runtime, which worker, which task.
//!
//! Everything that asks "where am I" asks here: spawning, waking, `current_task`, the clock of a sleep. A worker's thread
//! has pointers to what lives on its own stack; any other thread can enter a runtime with a [`Handle`].
#![allow(unsafe_code)]

use crate::handle::Handle;
use crate::scheduler::Worker;
use crate::task::{Header, TaskRef};
use std::cell::{Cell, RefCell};
use std::marker::PhantomData;
use std::ptr::NonNull;

/// How many leaf operations (a read, a lock, a message, a join) a task completes before it yields. 128, as tokio has it: more than a task
/// does in a poll of 100 us, less than what would keep a worker's other tasks from running.
pub(crate) const BUDGET: u32 = 128;

struct Pointers {
    /// Invariant: null, or a worker in whose loop this thread is (`enter_worker` has not returned).
    worker: Cell<*const Worker>,
    /// Invariant: `None`, or a task that this thread runs (its guard is alive, and the run holds a reference).
    task: Cell<Option<NonNull<Header>>>,
    /// The budget of a poll on this thread.
    budget: Cell<u32>,
}

thread_local! {
    // No destructor: works in the destructors of other thread-locals too.
    static POINTERS: Pointers = const {
        Pointers {
            worker: Cell::new(std::ptr::null()),
            task: Cell::new(None),
            budget: Cell::new(BUDGET),
        }
    };
    static ENTERED: RefCell<Option<Handle>> = const { RefCell::new(None) };
}

/// Puts a value back when dropped.
struct Restore<T: Copy + 'static>(&'static std::thread::LocalKey<Pointers>, fn(&Pointers) -> &Cell<T>, T);

impl<T: Copy> Drop for Restore<T> {
    fn drop(&mut self) {
        self.0.with(|pointers| self.1(pointers).set(self.2));
    }
}

/// Makes `worker` this thread's worker for the length of `f`.
pub(crate) fn enter_worker<R>(worker: &Worker, f: impl FnOnce() -> R) -> R {
    // The I/O driver's leaves find their driver, and their timer shard, by a thread-local of its own.
    let _io = worker.handle().scheduler().io().enter(worker.index());
    let budget = worker.handle().config().budget;
    let before = POINTERS.with(|pointers| pointers.budget.replace(budget));
    let _restore = Restore(&POINTERS, |pointers| &pointers.budget, before);
    with_worker_set(worker, f)
}

/// Runs `f` as if this thread were no worker: what it spawns and wakes goes to the injector.
pub(crate) fn without_worker<R>(f: impl FnOnce() -> R) -> R {
    with_worker_set(std::ptr::null(), f)
}

fn with_worker_set<R>(worker: *const Worker, f: impl FnOnce() -> R) -> R {
    let before = POINTERS.with(|pointers| pointers.worker.replace(worker));
    let _restore = Restore(&POINTERS, |pointers| &pointers.worker, before);
    f()
}

/// This thread's worker, if it is one.
#[inline]
pub(crate) fn with_worker<R>(f: impl FnOnce(Option<&Worker>) -> R) -> R {
    let worker = POINTERS.with(|pointers| pointers.worker.get());
    // SAFETY: by the invariant of `worker`, which cannot end before `f` does: both are on this thread's stack.
    f(unsafe { worker.as_ref() })
}

/// How many leaf operations a poll on this thread may complete.
#[inline]
pub(crate) fn budget() -> u32 {
    POINTERS.with(|pointers| pointers.budget.get())
}

/// Makes a task the current one until the guard is dropped.
pub(crate) fn enter_task(task: NonNull<Header>) -> impl Drop {
    let before = POINTERS.with(|pointers| pointers.task.replace(Some(task)));
    Restore(&POINTERS, |pointers| &pointers.task, before)
}

/// The task that this thread runs now. asyncio's `current_task`.
///
/// `None` outside of any task.
///
/// # Examples
///
/// ```
/// # heist_runtime::run(async {
/// let task = heist_runtime::current_task().unwrap();
/// task.set_name("main");
/// assert_eq!(heist_runtime::current_task().unwrap().name(), "main");
/// # }).unwrap();
/// assert!(heist_runtime::current_task().is_none());
/// ```
pub fn current_task() -> Option<TaskRef> {
    let task = POINTERS.with(|pointers| pointers.task.get())?;
    // SAFETY: by the invariant of `task`.
    Some(unsafe { TaskRef::new(task) })
}

/// The index of the worker that this thread is, if it is one: a number from 0, unique among the runtime's live workers.
///
/// A task may see another one after each await.
pub fn current_worker() -> Option<usize> {
    with_worker(|worker| worker.map(Worker::index))
}

/// Every unfinished task of this thread's runtime; empty where there is none. asyncio's `all_tasks`.
pub fn all_tasks() -> Vec<TaskRef> {
    handle().map(|handle| handle.all_tasks()).unwrap_or_default()
}

/// This thread's runtime: the one whose worker it is, or that it has entered.
pub(crate) fn handle() -> Option<Handle> {
    let of_worker = with_worker(|worker| worker.map(|worker| worker.handle().clone()));
    of_worker.or_else(|| {
        // Fails only while the thread-local is being destroyed: then there is no runtime here any more.
        ENTERED.try_with(|entered| entered.borrow().clone()).ok().flatten()
    })
}

/// This thread is inside the runtime until the guard is dropped; see [`Handle::enter`].
#[must_use = "the thread leaves the runtime when the guard is dropped"]
pub struct EnterGuard {
    before: Option<Handle>,
    _io: heist_io_driver::EnterGuard,
    /// Belongs to its thread.
    _not_send: PhantomData<*const ()>,
}

/// A thread's timer shard: any number does, so that threads spread over the shards.
fn shard_of_thread() -> usize {
    thread_local! {
        static SHARD: usize = fastrand::usize(..);
    }
    SHARD.try_with(|shard| *shard).unwrap_or(0)
}

pub(crate) fn enter(handle: &Handle) -> EnterGuard {
    let before = ENTERED
        .try_with(|entered| entered.borrow_mut().replace(handle.clone()))
        .ok()
        .flatten();
    EnterGuard {
        before,
        _io: handle.scheduler().io().enter(shard_of_thread()),
        _not_send: PhantomData,
    }
}

impl Drop for EnterGuard {
    fn drop(&mut self) {
        let before = self.before.take();
        // The handle left may be the runtime's last: it is dropped outside of the borrow.
        let left = ENTERED.try_with(|entered| std::mem::replace(&mut *entered.borrow_mut(), before));
        drop(left);
    }
}

impl std::fmt::Debug for EnterGuard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EnterGuard").finish_non_exhaustive()
    }
}
