//! The thread-local: which runtime, which worker, which task.
//!
//! Everything that asks "where am I" asks here: spawning, waking, `current_task`, the clock of a sleep. A worker's thread
//! has pointers to what lives on its own stack; any other thread can enter a runtime with a [`Handle`].
#![allow(unsafe_code)]

use crate::handle::Handle;
use crate::scheduler::Worker;
use crate::sync_switch::{LocalKey, thread_local};
use crate::system;
use crate::task::{Cancelled, Header, Key, ROOT, TaskRef};
use std::cell::{Cell, RefCell};
use std::marker::PhantomData;
use std::ptr::NonNull;

/// How many leaf operations (a read, a lock, a message, a join) a task completes before it yields. 128, as tokio has it: more than a task
/// does in a poll of 100 us, less than what would keep a worker's other tasks from running.
pub(crate) const BUDGET: u32 = 128;

struct Pointers {
    /// Invariant: null, or a worker in whose loop this thread is (`enter_worker` has not returned).
    worker: Cell<*const Worker>,
    /// What `worker` was before a task entered another runtime. Invariant: as that of `worker`.
    hidden: Cell<*const Worker>,
    /// Every worker in whose loop this thread is. Invariant: null, or a node whose `enter_worker` has not returned.
    seats: Cell<*const Seat>,
    /// Invariant: null, or a frame whose guard (`enter_task`) is alive.
    tasks: Cell<*const Frame>,
    /// The region that is being polled. Invariant: null, or a scope whose guard (`enter_task`, `enter_scope`) is alive.
    scope: Cell<*const Scope>,
    /// The budget of a poll on this thread.
    budget: Cell<u32>,
}

thread_local! {
    // No destructor: works in the destructors of other thread-locals too.
    static POINTERS: Pointers = const { Pointers::new() };
}

impl Pointers {
    const fn new() -> Self {
        Self {
            worker: Cell::new(std::ptr::null()),
            hidden: Cell::new(std::ptr::null()),
            seats: Cell::new(std::ptr::null()),
            tasks: Cell::new(std::ptr::null()),
            scope: Cell::new(std::ptr::null()),
            budget: Cell::new(BUDGET),
        }
    }
}

std::thread_local! {
    /// The runtimes entered, the one entered last on top. Invariant: the top one was not left.
    static ENTERED: RefCell<Vec<Entry>> = const { RefCell::new(Vec::new()) };
}

/// What this module keeps of a thread: for a simulation that has several of them take turns on one.
#[cfg(feature = "sim")]
#[derive(Default)]
pub(crate) struct ThreadState {
    entered: Vec<Entry>,
}

#[cfg(feature = "sim")]
impl ThreadState {
    /// Puts this in the place of what the calling thread has, and takes that. Whoever has put it there takes it away before any pointer in it
    /// ends: a simulated thread is at rest in between.
    pub(crate) fn exchange(&mut self) {
        ENTERED.with(|entered| std::mem::swap(&mut *entered.borrow_mut(), &mut self.entered));
    }
}

/// A node of the list of a thread's workers, on the stack of `enter_worker`.
struct Seat {
    /// Invariant: a worker that lives as long as the `enter_worker` that has the node.
    worker: *const Worker,
    /// Invariant: null, or a node further down this thread's stack, which so outlives this one.
    under: *const Seat,
}

/// A node of the list of the tasks that a thread runs, on the stack of the run: one, and those in whose poll it waits or shuts down.
pub(crate) struct Frame {
    /// Invariant: the run holds a reference.
    task: NonNull<Header>,
    /// Invariant: null, or the frame of a run further down this thread's stack, which so outlives this one.
    under: *const Frame,
    /// The task as its own outermost region.
    scope: Scope,
}

impl Frame {
    /// The frame of a run that begins. The caller has a reference to `task` for as long as it has the frame.
    #[inline]
    pub(crate) fn new(task: NonNull<Header>) -> Self {
        let under = POINTERS.with(|pointers| pointers.tasks.get());
        Self {
            task,
            under,
            scope: Scope {
                outer: std::ptr::null(),
                key: Cell::new(Some(ROOT)),
                unwinding: Cell::new(None),
            },
        }
    }

    /// What unwinds through the task itself.
    #[inline]
    pub(crate) fn take_unwinding(&self) -> Option<Cancelled> {
        self.scope.unwinding.take()
    }
}

/// A region that is being polled, on the stack of that poll.
pub(crate) struct Scope {
    /// The region round it. Invariant: null, or a scope further up this thread's stack.
    outer: *const Scope,
    /// Where it stands in the task's tree. Not before something needs it: most regions end in their first poll.
    key: Cell<Option<Key>>,
    /// Set by what propagates a cancellation in this poll.
    unwinding: Cell<Option<Cancelled>>,
}

impl Scope {
    /// The scope of a region's poll that begins.
    #[inline]
    pub(crate) fn new(key: Option<Key>) -> Self {
        Self {
            outer: POINTERS.with(|pointers| pointers.scope.get()),
            key: Cell::new(key),
            unwinding: Cell::new(None),
        }
    }

    #[inline]
    pub(crate) fn take_unwinding(&self) -> Option<Cancelled> {
        self.unwinding.take()
    }

    /// Whether it is a task itself.
    #[inline]
    pub(crate) fn is_root(&self) -> bool {
        self.key.get() == Some(ROOT)
    }

    /// The region's place in `task`'s tree, made if it has none yet, and those of the regions round it.
    pub(crate) fn key_in(&self, task: &TaskRef) -> Key {
        if let Some(key) = self.key.get() {
            return key;
        }
        // SAFETY: by the invariant of `outer`. The outermost scope of a task has a key.
        let parent = unsafe { self.outer.as_ref() }.map_or(ROOT, |outer| outer.key_in(task));
        let key = task.enter_region(parent);
        self.key.set(Some(key));
        key
    }

    /// The place of the innermost region round here that has one.
    #[inline]
    fn nearest_key(&self) -> Key {
        let mut scope = self;
        loop {
            // SAFETY: by the invariant of `outer`. The outermost scope of a task has a key.
            match (scope.key.get(), unsafe { scope.outer.as_ref() }) {
                (Some(key), _) => return key,
                (None, Some(outer)) => scope = outer,
                (None, None) => return ROOT,
            }
        }
    }

    /// Where it stands, if it has a place in the current task's tree.
    #[inline]
    pub(crate) fn place(&self) -> Option<(TaskRef, Key)> {
        self.key.get().and_then(|key| Some((current_task()?, key)))
    }
}

/// Makes `scope` the innermost region until the guard is dropped.
#[inline]
pub(crate) fn enter_scope(scope: &Scope) -> impl Drop {
    let before = POINTERS.with(|pointers| pointers.scope.replace(scope));
    Restore(&POINTERS, |pointers| &pointers.scope, before)
}

/// The innermost region that is being polled on this thread, if any is.
#[inline]
pub(crate) fn with_scope<R>(f: impl FnOnce(Option<&Scope>) -> R) -> R {
    let scope = POINTERS.with(|pointers| pointers.scope.get());
    // SAFETY: by the invariant of `scope`, which cannot end before `f` does: both are on this thread's stack.
    f(unsafe { scope.as_ref() })
}

/// Marks the innermost region as unwinding; gives the cancellation back if there is none.
pub(crate) fn unwind(cancelled: Cancelled) -> Result<(), Cancelled> {
    caught(None);
    with_scope(|scope| match scope {
        Some(scope) => {
            scope.unwinding.set(Some(cancelled));
            Ok(())
        }
        None => Err(cancelled),
    })
}

/// The current task has caught a cancellation there, or answers the one that it had caught.
pub(crate) fn caught(at: Option<&'static std::panic::Location<'static>>) {
    let frame = POINTERS.with(|pointers| pointers.tasks.get());
    // SAFETY: by the invariants of `tasks` and `Frame::task`.
    if let Some(frame) = unsafe { frame.as_ref() } {
        // SAFETY: as above.
        unsafe { frame.task.as_ref() }.caught(at);
    }
}

/// How many requests the current task counts that concern what is being polled.
#[inline]
pub(crate) fn cancelling() -> u32 {
    let region = with_scope(|scope| scope.map_or(ROOT, Scope::nearest_key));
    with_task(|task| task.map_or(0, |task| task.cancelling_in(region)))
}

/// Whether the task at `task` is the one that this thread runs. The pointer is only compared.
#[inline]
pub(crate) fn is_running(task: NonNull<Header>) -> bool {
    let frame = POINTERS.with(|pointers| pointers.tasks.get());
    // SAFETY: by the invariant of `tasks`.
    unsafe { frame.as_ref() }.is_some_and(|frame| frame.task == task)
}

/// Whether `task` is the one that this thread runs.
#[inline]
pub(crate) fn is_current(task: &TaskRef) -> bool {
    let frame = POINTERS.with(|pointers| pointers.tasks.get());
    // SAFETY: by the invariant of `tasks`.
    unsafe { frame.as_ref() }.is_some_and(|frame| task.is(frame.task))
}

/// Puts a value back when dropped.
struct Restore<T: Copy + 'static>(&'static LocalKey<Pointers>, fn(&Pointers) -> &Cell<T>, T);

impl<T: Copy> Drop for Restore<T> {
    #[inline]
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
    let under = POINTERS.with(|pointers| pointers.seats.get());
    let seat = Seat { worker, under };
    POINTERS.with(|pointers| pointers.seats.set(&raw const seat));
    let _left = Restore(&POINTERS, |pointers| &pointers.seats, under);
    with_worker_set(worker, f)
}

/// Runs `f` as if this thread were no worker: what it spawns and wakes goes to the injector.
pub(crate) fn without_worker<R>(f: impl FnOnce() -> R) -> R {
    with_worker_set(std::ptr::null(), f)
}

fn with_worker_set<R>(worker: *const Worker, f: impl FnOnce() -> R) -> R {
    let before = POINTERS.with(|pointers| pointers.worker.replace(worker));
    let _restore = Restore(&POINTERS, |pointers| &pointers.worker, before);
    let hidden = POINTERS.with(|pointers| pointers.hidden.replace(std::ptr::null()));
    let _hidden = Restore(&POINTERS, |pointers| &pointers.hidden, hidden);
    f()
}

/// Asks the workers in whose loops this thread is, the innermost first, until one gives an answer. Those count that this thread has left
/// for the moment, for a `block_on` or another runtime.
pub(crate) fn ask_workers<R>(mut ask: impl FnMut(&Worker) -> Option<R>) -> Option<R> {
    let mut next = POINTERS.with(|pointers| pointers.seats.get());
    // SAFETY: by the invariant of `seats`: the nodes are further up this thread's stack.
    while let Some(seat) = unsafe { next.as_ref() } {
        // SAFETY: as above, `enter_worker` borrows the worker.
        if let Some(answer) = unsafe { seat.worker.as_ref() }.and_then(&mut ask) {
            return Some(answer);
        }
        next = seat.under;
    }
    None
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

/// Makes the frame's task the current one, and its region the innermost, until the guard is dropped.
#[inline]
pub(crate) fn enter_task(frame: &Frame) -> impl Drop {
    POINTERS.with(|pointers| LeaveTask {
        task: pointers.tasks.replace(frame),
        scope: pointers.scope.replace(&raw const frame.scope),
    })
}

struct LeaveTask {
    task: *const Frame,
    scope: *const Scope,
}

impl Drop for LeaveTask {
    #[inline]
    fn drop(&mut self) {
        POINTERS.with(|pointers| {
            pointers.tasks.set(self.task);
            pointers.scope.set(self.scope);
        });
    }
}

/// The innermost run of a task on this thread, null if there is none. Only to be compared, and only while that run lasts.
#[inline]
pub(crate) fn frame() -> *const Frame {
    POINTERS.with(|pointers| pointers.tasks.get())
}

/// The task that this thread runs now, a callback or not, borrowed.
#[inline]
pub(crate) fn with_task<R>(f: impl FnOnce(Option<&Header>) -> R) -> R {
    // SAFETY: by the invariant of `tasks`, which cannot end before `f` does: both are on this thread's stack.
    let frame = unsafe { frame().as_ref() };
    // SAFETY: by the invariant of `Frame::task`.
    f(frame.map(|frame| unsafe { frame.task.as_ref() }))
}

/// The tasks that this thread runs, the innermost first: the current one, and those that it would keep from ending by waiting for them.
pub(crate) fn tasks_here() -> impl Iterator<Item = TaskRef> {
    let mut next = POINTERS.with(|pointers| pointers.tasks.get());
    std::iter::from_fn(move || {
        // SAFETY: by the invariant of `tasks`: the frames are further up this thread's stack.
        let frame = unsafe { next.as_ref() }?;
        next = frame.under;
        // SAFETY: by the invariant of `Frame::task`.
        Some(unsafe { TaskRef::new(frame.task) })
    })
}

/// The task that this thread runs now. asyncio's `current_task`.
///
/// `None` outside of any task, and in a callback ([`Handle::call_soon`] and its like), as in asyncio.
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
    tasks_here().next().filter(|task| !task.is_callback())
}

/// The index of the worker that this thread is, if it is one: a number from 0, unique among the runtime's live workers.
///
/// A task may see another one after each await.
pub fn current_worker() -> Option<usize> {
    with_worker(|worker| worker.map(Worker::index))
}

/// Whether the current task was asked to end and has not met that yet: for closures of `spawn_blocking`, and loops that do not await.
///
/// # Errors
///
/// It was: return as soon as can be, the value is dropped anyway.
///
/// # Examples
///
/// ```
/// # heist_runtime::run(async {
/// let digits = heist_runtime::spawn_blocking(|| {
///     for _ in 0..1_000 {
///         heist_runtime::task::check_cancelled()?;
///         // a piece of work
///     }
///     Ok::<_, heist_runtime::Cancelled>(42)
/// });
/// assert_eq!(digits.await.unwrap(), Ok(42));
/// # }).unwrap();
/// ```
pub fn check_cancelled() -> Result<(), Cancelled> {
    let frame = POINTERS.with(|pointers| pointers.tasks.get());
    // SAFETY: by the invariants of `tasks` and `Frame::task`.
    match unsafe { frame.as_ref() }.map(|frame| unsafe { frame.task.as_ref() }) {
        Some(task) if task.is_requested() => Err(Cancelled::from_message(task.requested_message())),
        _ => Ok(()),
    }
}

/// Every unfinished task of this thread's runtime, that of a `block_on` included (as asyncio lists `main`); empty where there is no
/// runtime. asyncio's `all_tasks`.
pub fn all_tasks() -> Vec<TaskRef> {
    handle()
        .map(|handle| handle.all_tasks())
        .unwrap_or_default()
}

/// This thread's runtime: the one whose worker it is, or that it has entered.
pub(crate) fn handle() -> Option<Handle> {
    let of_worker = with_worker(|worker| worker.map(|worker| worker.handle().clone()));
    of_worker.or_else(|| {
        // Fails only while the thread-local is being destroyed: then there is no runtime here any more.
        ENTERED
            .try_with(|entered| entered.borrow().last().map(|entry| entry.handle.clone()))
            .ok()
            .flatten()
    })
}

/// A runtime that this thread has entered.
struct Entry {
    /// Invariant: unique among the thread's entries.
    id: u64,
    handle: Handle,
    _io: heist_io_driver::EnterGuard,
    /// Whether the thread was another runtime's worker, which is hidden meanwhile.
    hides_worker: bool,
    /// Its guard was dropped before one that was made later: it goes with that.
    left: bool,
}

/// This thread is inside the runtime until the guard is dropped; see [`Handle::enter`]. Guards may be dropped in any order.
#[must_use = "the thread leaves the runtime when the guard is dropped"]
pub struct EnterGuard {
    /// `None` while the thread's last destructors run.
    id: Option<u64>,
    /// Belongs to its thread.
    _not_send: PhantomData<*const ()>,
}

/// A thread's timer shard: any number does, so that threads spread over the shards.
fn shard_of_thread() -> usize {
    std::thread_local! {
        static SHARD: usize = fastrand::usize(..);
    }
    if system::here().is_some() {
        // A simulation's next run is to be as this one.
        return 0;
    }
    SHARD.try_with(|shard| *shard).unwrap_or(0)
}

pub(crate) fn enter(handle: &Handle) -> EnterGuard {
    let enter = |entered: &RefCell<Vec<Entry>>| {
        let mut entered = entered.borrow_mut();
        let id = entered.last().map_or(0, |top| top.id + 1);
        entered.push(Entry {
            id,
            handle: handle.clone(),
            _io: handle.scheduler().io().enter(shard_of_thread()),
            hides_worker: hide_worker_of_another(handle),
            left: false,
        });
        id
    };
    EnterGuard {
        id: ENTERED.try_with(enter).ok(),
        _not_send: PhantomData,
    }
}

/// In a task of another runtime, that one's worker steps back: what is spawned goes to the runtime entered.
fn hide_worker_of_another(handle: &Handle) -> bool {
    let hides = with_worker(|worker| worker.is_some_and(|worker| !worker.handle().is_same(handle)));
    if hides {
        POINTERS.with(|pointers| {
            let worker = pointers.worker.replace(std::ptr::null());
            pointers.hidden.set(worker);
        });
    }
    hides
}

fn show_worker() {
    POINTERS.with(|pointers| {
        let hidden = pointers.hidden.replace(std::ptr::null());
        if !hidden.is_null() {
            pointers.worker.set(hidden);
        }
    });
}

impl Drop for EnterGuard {
    fn drop(&mut self) {
        let Some(id) = self.id else { return };
        let leave = |entered: &RefCell<Vec<Entry>>| {
            let mut entered = entered.borrow_mut();
            if let Some(entry) = entered.iter_mut().rfind(|entry| entry.id == id) {
                entry.left = true;
            }
        };
        let pop = |entered: &RefCell<Vec<Entry>>| entered.borrow_mut().pop_if(|top| top.left);
        let _ = ENTERED.try_with(leave);
        // The handle left may be the runtime's last: it is dropped outside of the borrow.
        while let Ok(Some(entry)) = ENTERED.try_with(pop) {
            if entry.hides_worker {
                show_worker();
            }
            drop(entry);
        }
    }
}

impl std::fmt::Debug for EnterGuard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EnterGuard").finish_non_exhaustive()
    }
}
