//! `Handle`: a runtime, from any thread.

use crate::blocking::{BlockingPool, BlockingScheduler, Closure};
use crate::builder::{Config, PanicPolicy};
use crate::callbacks::Line;
use crate::current::{self, EnterGuard};
use crate::failure::{self, Failure};
use crate::metrics::Metrics;
use crate::scheduler::{Scheduler, Worker};
use crate::shutdown::Shutdown;
use crate::spawn::Told;
use crate::sync_switch::Mutex;
use crate::system;
use crate::task::{
    Ending, Header, Judge, PollRoot, Refusal, Registry, Results, Root, Route, Runnable, Schedule,
    Task, TaskError, TaskRef, Values, Why, new_task, run_root,
};
use crate::trace;
use heist_io_driver::{Clock, fork, leaf};
use std::fmt;
use std::marker::PhantomData;
use std::panic::Location;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A reference to a runtime, for any thread: `Clone`, `Send` and `Sync`, and everything on it works without a context.
///
/// asyncio's event loop object, as far as callers use it. It does not keep the runtime running: once that is shut down, what is submitted
/// is refused with an error ([`TaskError::is_refused`]).
///
/// # Examples
///
/// ```
/// let runtime = heist_runtime::Builder::new().worker_threads(2).build()?;
/// let handle = runtime.handle().clone();
/// let thread = std::thread::spawn(move || handle.block_on(async { 6 * 7 }).unwrap());
/// assert_eq!(thread.join().unwrap(), 42);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
#[doc(alias = "AbstractEventLoop")]
pub struct Handle(Arc<Anchor>);

/// What a task holds of its runtime. Every worker has one of its own, so that spawning and ending tasks counts references on a line that
/// only this worker writes.
struct Anchor {
    core: Arc<Core>,
    /// The registry's shard for tasks spawned through this handle.
    shard: usize,
}

/// A runtime's parts.
pub(crate) struct Core {
    scheduler: Scheduler,
    registry: Registry,
    pool: BlockingPool,
    config: Config,
    pub(crate) shutdown: Shutdown,
    /// The process that built it.
    generation: u64,
    /// How many tasks were not accepted.
    refused: AtomicU64,
    /// Of a current-thread runtime: the roots whose threads wait for the seat.
    waiting_roots: Mutex<Vec<Arc<Root>>>,
    /// Of a current-thread runtime: the callbacks of `call_soon`, in order.
    line: Line,
}

impl Handle {
    pub(crate) fn new(scheduler: Scheduler, pool: BlockingPool, config: Config) -> Self {
        let core = Core {
            // The workers' shards, and one for everybody else.
            registry: Registry::new(scheduler.workers() + 1),
            scheduler,
            pool,
            config,
            shutdown: Shutdown::new(),
            generation: fork::generation(),
            refused: AtomicU64::new(0),
            waiting_roots: Mutex::new(Vec::new()),
            line: Line::default(),
        };
        let shard = core.scheduler.workers();
        Self(Arc::new(Anchor {
            core: Arc::new(core),
            shard,
        }))
    }

    /// The same runtime, with an anchor of its own.
    pub(crate) fn anchored(&self, shard: usize) -> Self {
        Self(Arc::new(Anchor {
            core: self.0.core.clone(),
            shard,
        }))
    }

    /// The runtime of this thread: the one whose task or blocking closure runs here, or that the thread has entered. asyncio's
    /// `get_running_loop`.
    #[doc(alias = "get_running_loop")]
    pub fn current() -> Option<Self> {
        current::handle()
    }

    #[inline]
    pub(crate) fn scheduler(&self) -> &Scheduler {
        &self.0.core.scheduler
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.0.core.registry
    }

    pub(crate) fn pool(&self) -> &BlockingPool {
        &self.0.core.pool
    }

    pub(crate) fn config(&self) -> &Config {
        &self.0.core.config
    }

    pub(crate) fn refused(&self) -> u64 {
        self.0.core.refused.load(Relaxed)
    }

    pub(crate) fn shutdown_state(&self) -> &Shutdown {
        &self.0.core.shutdown
    }

    pub(crate) fn line(&self) -> &Line {
        &self.0.core.line
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0.core, &other.0.core)
    }

    /// Tells the exception handler.
    pub(crate) fn tell(&self, failure: Failure) {
        failure::tell(self.config().exception_handler.as_deref(), failure);
    }

    /// Whether this process is a child, forked after the runtime was built.
    pub(crate) fn is_forked(&self) -> bool {
        self.0.core.generation != fork::generation()
    }

    /// Spawns a task: it runs on the workers, from soon on, whether or not its handle is awaited. asyncio's `create_task`.
    ///
    /// If the runtime is shut down, the future is dropped and the task's outcome is an error
    /// ([`TaskError::is_refused`]). The task starts with a copy of the calling code's [context](crate::context): that of a task, or, on a thread
    /// outside, what that thread has set.
    ///
    /// # Examples
    ///
    /// ```
    /// let runtime = heist_runtime::Runtime::new()?;
    /// let handle = runtime.handle().clone(); // for any thread
    /// let task = handle.spawn(async { 6 * 7 });
    /// assert_eq!(runtime.block_on(task).unwrap().unwrap(), 42);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "create_task")]
    #[track_caller]
    #[inline]
    pub fn spawn<F>(&self, future: F) -> Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.spawn_at::<Values, _>(Location::caller(), Told::default(), || future)
    }

    /// As [`spawn`](Self::spawn), but makes the future in its place: an optimised build does not put a large one on the stack.
    #[track_caller]
    #[inline]
    pub fn spawn_with<F>(&self, future: impl FnOnce() -> F) -> Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.spawn_at::<Values, _>(Location::caller(), Told::default(), future)
    }

    /// As [`spawn`](Self::spawn), for a coroutine whose `Err` is a failure; see [`try_spawn`](crate::try_spawn).
    #[track_caller]
    pub fn try_spawn<F, T, E>(&self, future: F) -> Task<F::Output>
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: fmt::Debug + Send + 'static,
    {
        self.spawn_at::<Results, _>(Location::caller(), Told::default(), || future)
    }

    #[inline]
    pub(crate) fn spawn_at<J, F>(
        &self,
        at: &'static Location<'static>,
        told: Told<'_>,
        future: impl FnOnce() -> F,
    ) -> Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
        J: Judge<F::Output>,
    {
        system::preempt();
        let (entry, task) = new_task::<_, _, J>(self.clone(), at, future);
        told.tell(entry.header());
        if let Some(entry) = self.accept(entry) {
            self.route().submit(entry, Why::Spawned);
        }
        task
    }

    /// Registers a new task, or refuses it.
    #[inline]
    pub(crate) fn accept(&self, entry: Runnable) -> Option<Runnable> {
        trace::task_spawned(entry.header());
        let refusal = if self.is_forked() {
            Refusal::Forked
        } else if self.bind(&entry) {
            return Some(entry);
        } else {
            Refusal::Closed
        };
        // Relaxed: a count.
        self.0.core.refused.fetch_add(1, Relaxed);
        entry.abandon(TaskError::refused(refusal));
        None
    }

    /// Runs a closure that blocks on a thread made for that. asyncio's `run_in_executor` and `to_thread`.
    ///
    /// The closure's task can be awaited, named, and cancelled as long as it waits for its thread. A panic becomes the task's error. If the
    /// runtime is shut down, or no thread can be had, the task is refused. The closure has a copy of the calling code's
    /// [context](crate::context).
    #[doc(alias = "to_thread")]
    #[doc(alias = "run_in_executor")]
    #[track_caller]
    pub fn spawn_blocking<T, F>(&self, closure: F) -> Task<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.spawn_blocking_at(Location::caller(), Told::default(), closure)
    }

    pub(crate) fn spawn_blocking_at<T, F>(
        &self,
        at: &'static Location<'static>,
        told: Told<'_>,
        closure: F,
    ) -> Task<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let scheduler = BlockingScheduler(self.clone());
        let (entry, task) = new_task::<_, _, Values>(scheduler, at, || Closure::new(closure));
        told.tell(entry.header());
        if let Some(entry) = self.accept(entry) {
            self.pool().submit(self, entry);
        }
        task
    }

    /// Runs a future on the calling thread, to its end, and gives its value. asyncio's `run_until_complete`.
    ///
    /// Legal on any thread. On a worker, that one counts as blocked meanwhile: another thread takes its place. On a thread of a
    /// current-thread runtime that is inside one of its own tasks there is nobody to take the place, and the answer is an error.
    ///
    /// The future has a copy of the calling code's [context](crate::context): what it sets is not set here.
    ///
    /// # Errors
    ///
    /// The runtime is shut down or was left behind in the parent of a fork, or shuts down before the future ends, or a wait here would
    /// never end.
    ///
    /// # Panics
    ///
    /// A panic of the future goes on here.
    ///
    /// # Examples
    ///
    /// ```
    /// # heist_runtime::run(async {
    /// let handle = heist_runtime::Handle::current().unwrap();
    /// // In a callback of C's, say, that knows nothing of `async`:
    /// let sum = handle.block_on(async { 1 + 1 }).unwrap();
    /// assert_eq!(sum, 2);
    /// # }).unwrap();
    /// ```
    #[doc(alias = "run_until_complete")]
    #[track_caller]
    pub fn block_on<F: Future>(&self, future: F) -> Result<F::Output, TaskError> {
        let at = Location::caller();
        if self.is_forked() {
            return Err(TaskError::refused(Refusal::Forked));
        }
        // Before this thread, if it is a worker, counts as blocked, and until it counts as astray: a paused clock does not jump in between.
        let _counted = CountedRoot::new(self.scheduler());
        let _blocking = self.begin_blocking()?;
        let _entered = self.enter();
        let _shown = self.config().shown.enter();
        let _aside = leaf::set_aside();
        current::without_worker(|| {
            run_root(self, at, future, |root| {
                if self.scheduler().is_threaded() {
                    self.drive_threaded(root);
                } else {
                    self.drive_seat(root);
                }
            })
        })
    }

    /// This thread is about to block. If it is a worker, of whichever runtime, a spare takes its place; the error says that it cannot.
    pub(crate) fn begin_blocking(&self) -> Result<Blocking, TaskError> {
        let mut refused = false;
        current::ask_workers(|worker| {
            // Another runtime's only worker may block on this one: this one goes on.
            refused |= worker.begin_blocking().is_err() && worker.handle().is_same(self);
            None::<()>
        });
        let blocking = Blocking(PhantomData);
        if refused {
            return Err(TaskError::refused(Refusal::WouldDeadlock));
        }
        Ok(blocking)
    }

    fn drive_threaded(&self, root: &PollRoot<'_>) {
        while !root.poll() {
            root.root().park();
        }
    }

    /// A current-thread runtime has one seat, and `block_on`'s threads take turns on it.
    fn drive_seat(&self, root: &PollRoot<'_>) {
        let is_mine = |waiting: &Arc<Root>| Arc::ptr_eq(waiting, root.root());
        loop {
            if root.poll() {
                // In the list it would keep the runtime alive.
                let mut waiting = self.0.core.waiting_roots.lock();
                waiting.retain(|waiting| !is_mine(waiting));
                return;
            }
            match Worker::take_seat(self, 0) {
                Some(worker) => {
                    root.root().set_working(true);
                    current::enter_worker(&worker, || worker.run_until(|| root.poll()));
                    root.root().set_working(false);
                    worker.leave_seat();
                    // Whoever waits for the seat may have it now.
                    for waiting in self.0.core.waiting_roots.lock().drain(..) {
                        waiting.unpark();
                    }
                    if self.scheduler().is_stopping() {
                        // A shutdown from inside one of the tasks could not do it.
                        self.scheduler().clear();
                        return;
                    }
                }
                None => {
                    let mut waiting = self.0.core.waiting_roots.lock();
                    if !waiting.iter().any(is_mine) {
                        waiting.push(root.root().clone());
                    }
                    drop(waiting);
                    // The seat may have been left before this root stood in the list.
                    if !self.scheduler().is_seat_free() {
                        root.root().park();
                    }
                }
            }
        }
    }

    /// Makes this runtime the thread's own until the guard is dropped: `spawn`, `sleep`, sockets and `Handle::current` find it.
    pub fn enter(&self) -> EnterGuard {
        current::enter(self)
    }

    /// Every unfinished task, as of some moment during the call. asyncio's `all_tasks(loop)`.
    ///
    /// Callbacks ([`call_soon`](Self::call_soon), [`call_later`](Self::call_later)) are not among them.
    ///
    /// # Examples
    ///
    /// ```
    /// use heist_runtime::{Handle, task};
    ///
    /// # heist_runtime::run(async {
    /// let sleeper = task::Builder::new().name("sleeper").spawn(std::future::pending::<()>());
    /// let tasks = Handle::current().unwrap().all_tasks();
    /// assert!(tasks.iter().any(|task| task.name() == "sleeper"));
    /// # drop(sleeper);
    /// # }).unwrap();
    /// ```
    pub fn all_tasks(&self) -> Vec<TaskRef> {
        let mut tasks = self.registry().tasks();
        tasks.retain(|task| !task.is_callback());
        tasks
    }

    pub(crate) fn task_by_id(&self, id: u64) -> Option<TaskRef> {
        self.registry()
            .tasks()
            .into_iter()
            .find(|task| task.id().get() == id)
    }

    /// What worker `index` runs at this moment, asked from any thread; `None` if it runs nothing or there is no such worker.
    ///
    /// asyncio's `current_task(loop)`.
    pub fn current_task_of(&self, index: usize) -> Option<TaskRef> {
        let (_, slot) = self.scheduler().slots().nth(index)?;
        let (task, _) = slot.counters.poll_now()?;
        self.task_by_id(task).filter(|task| !task.is_callback())
    }

    /// The runtime's clock, which tests can pause and move.
    pub fn clock(&self) -> &Clock {
        self.scheduler().io().clock()
    }

    /// The runtime's counters, as of some moment during the call.
    ///
    /// # Examples
    ///
    /// ```
    /// # heist_runtime::run(async {
    /// let handle = heist_runtime::Handle::current().unwrap();
    /// let before = handle.metrics().tasks_spawned;
    /// heist_runtime::spawn(async {}).await.unwrap();
    /// assert!(handle.metrics().tasks_spawned > before);
    /// # }).unwrap();
    /// ```
    pub fn metrics(&self) -> Metrics {
        Metrics::of(self)
    }

    /// Whether the runtime refuses new tasks: it is shutting down or shut down.
    pub fn is_shut_down(&self) -> bool {
        self.registry().is_closed()
    }

    pub(crate) fn bind(&self, entry: &Runnable) -> bool {
        self.registry().bind(self.0.shard, entry)
    }
}

/// One root that can run.
struct CountedRoot<'a>(&'a Scheduler);

impl<'a> CountedRoot<'a> {
    fn new(scheduler: &'a Scheduler) -> Self {
        scheduler.root_woken();
        Self(scheduler)
    }
}

impl Drop for CountedRoot<'_> {
    fn drop(&mut self) {
        self.0.root_rests();
    }
}

/// What this thread blocks for. When that is over it goes on in the poll that it was in.
pub(crate) struct Blocking(PhantomData<*const ()>);

impl Drop for Blocking {
    fn drop(&mut self) {
        current::ask_workers(|worker| {
            worker.end_blocking();
            None::<()>
        });
    }
}

impl Schedule for Handle {
    type Route = HandleRoute;

    #[inline]
    fn route(&self) -> HandleRoute {
        let is_local = current::with_worker(|worker| {
            worker.is_some_and(|worker| worker.handle().is_same(self))
        });
        if is_local {
            HandleRoute::Local
        } else {
            HandleRoute::Injected(self.clone())
        }
    }

    #[inline]
    fn release(&self, task: NonNull<Header>, ending: Ending) {
        self.registry().release(self.0.shard, task, ending);
    }

    #[cold]
    fn unhandled(&self, task: TaskRef, error: TaskError) {
        let is_panic = error.is_panic();
        self.tell(Failure::unretrieved(Some(task), error));
        if is_panic {
            match self.config().panic_policy {
                PanicPolicy::Report => {}
                PanicPolicy::Shutdown => self.close(Some("a task of this runtime panicked")),
                PanicPolicy::Abort => std::process::abort(),
            }
        }
    }
}

/// The way to a run queue.
pub(crate) enum HandleRoute {
    /// This thread's own, which is a worker of the runtime.
    Local,
    /// The injector; the handle keeps the runtime's memory for as long as it takes to wake a worker.
    Injected(Handle),
}

impl Route for HandleRoute {
    #[inline]
    fn submit(self, task: Runnable, why: Why) {
        match self {
            Self::Local => current::with_worker(|worker| match worker {
                Some(worker) => worker.push(task, why),
                None => unreachable!("the thread was a worker when the route was found"),
            }),
            Self::Injected(handle) => handle.scheduler().inject(task),
        }
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("workers", &self.scheduler().workers())
            .field("tasks", &self.registry().len())
            .field("shut_down", &self.is_shut_down())
            .finish_non_exhaustive()
    }
}
