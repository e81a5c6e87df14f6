//! The blocking pool: threads for closures that block.
//!
//! A blocking task is a task like any other, whose future calls the closure and whose queue is the pool's; names, ids, panics,
//! the registry and cancellation while it waits come with that.
//!
//! All of it under one lock, so a thread never ends with a job in the queue, and a job never waits for a thread that was not started:
//!
//! ```text
//!   Submit                                   Thread
//!   1  queue the job, notify one thread      1  a job: take it, count this thread as busy; run; count it as waiting; back to 1
//!   2  more jobs than waiting threads,       2  wait, for as long as the keep-alive
//!      and fewer threads than allowed:       3  that has passed, and there is no job: uncount this thread and end; else back to 1
//!      count one more thread, start it
//! ```

use crate::handle::Handle;
use crate::scheduler::ThreadConfig;
use crate::sync_switch::{Bug, Condvar, Mutex, planted, thread_local, wait_until};
use crate::system::{self, Thread};
use crate::task::{
    Ending, Header, Refusal, Route, Runnable, Schedule, TaskError, TaskRef, Why, contain,
};
use heist_io_driver::{Clock, leaf};
use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::ptr::NonNull;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// The pool. Cloning gives the same one.
#[derive(Clone)]
pub(crate) struct BlockingPool(Arc<Pool>);

struct Pool {
    state: Mutex<State>,
    /// Notified, under `state`, when a job is queued, and when the pool is closed.
    work: Condvar,
    /// Notified, under `state`, when a thread ends.
    ended: Condvar,
    max_threads: usize,
    keep_alive: Duration,
    thread: ThreadConfig,
    /// The runtime's; one that is paused waits for jobs.
    clock: Clock,
}

thread_local! {
    /// The pool that this thread belongs to; only compared.
    static POOL: Cell<*const Pool> = const { Cell::new(std::ptr::null()) };
}

struct State {
    /// Then no job is queued any more, and the threads end when there is none.
    closed: bool,
    jobs: VecDeque<Job>,
    /// Threads that live; `busy` of them run a job.
    threads: usize,
    busy: usize,
}

enum Job {
    /// A task, and the runtime in which its closure runs.
    Task(Runnable, Handle),
    /// Work of the driver: resolving a name, reading a file.
    Offloaded(Box<dyn FnOnce() + Send>),
}

/// The pool is closed, or has no thread and can start none.
#[derive(Debug)]
pub(crate) struct NoThread(Option<Arc<io::Error>>);

impl NoThread {
    fn refusal(&self) -> TaskError {
        TaskError::refused(match &self.0 {
            Some(error) => Refusal::NoThread(error.clone()),
            None => Refusal::Closed,
        })
    }
}

impl From<NoThread> for io::Error {
    fn from(no_thread: NoThread) -> Self {
        let kind = no_thread.0.as_ref().map(|error| error.kind());
        Self::new(kind.unwrap_or(io::ErrorKind::Other), no_thread.refusal())
    }
}

impl BlockingPool {
    pub(crate) fn new(
        max_threads: usize,
        keep_alive: Duration,
        thread: ThreadConfig,
        clock: Clock,
    ) -> Self {
        Self(Arc::new(Pool {
            state: Mutex::new(State {
                closed: false,
                jobs: VecDeque::new(),
                threads: 0,
                busy: 0,
            }),
            work: Condvar::new(),
            ended: Condvar::new(),
            max_threads,
            keep_alive,
            thread,
            clock,
        }))
    }

    /// Queues a blocking task; one that cannot be run is refused.
    pub(crate) fn submit(&self, handle: &Handle, task: Runnable) {
        // Refused by then, if there is no thread.
        let _ = self.0.submit(Job::Task(task, handle.clone()));
    }

    pub(crate) fn offload(&self) -> Offload {
        Offload(self.0.clone())
    }

    /// Threads that live, and how many of them are busy.
    pub(crate) fn threads(&self) -> (usize, usize) {
        let state = self.0.state.lock();
        (state.threads, state.busy)
    }

    /// Whether the calling thread is one of this pool's.
    pub(crate) fn is_own_thread(&self) -> bool {
        POOL.with(|pool| pool.get() == Arc::as_ptr(&self.0))
    }

    pub(crate) fn queued(&self) -> usize {
        self.0.state.lock().jobs.len()
    }

    /// Whether a job runs or waits.
    pub(crate) fn is_busy(&self) -> bool {
        let state = self.0.state.lock();
        state.busy + state.jobs.len() > 0
    }

    /// Accepts no more jobs, and ends the tasks that wait for a thread; the threads end with what they run.
    pub(crate) fn close(&self) {
        let mut state = self.0.state.lock();
        state.closed = true;
        let jobs = std::mem::take(&mut state.jobs);
        if !planted(Bug::PoolCloseUnheard) {
            self.0.work.notify_all();
        }
        drop(state);
        for job in jobs {
            if let Job::Task(task, _) = job {
                task.abandon(TaskError::cancelled(Some(
                    "the runtime was shut down".into(),
                )));
            }
        }
    }

    /// Waits until at most `left` threads remain, or the deadline; true in the first case. The pool must be closed.
    pub(crate) fn wait_ended(&self, left: usize, deadline: Instant) -> bool {
        let mut state = self.0.state.lock();
        while state.threads > left {
            let timed_out;
            (state, timed_out) = wait_until(&self.0.ended, state, Some(deadline));
            if timed_out {
                return state.threads <= left;
            }
        }
        true
    }
}

/// What the driver has of the pool.
pub(crate) struct Offload(Arc<Pool>);

impl Offload {
    pub(crate) fn run(&self, job: Box<dyn FnOnce() + Send>) -> Result<(), NoThread> {
        self.0.submit(Job::Offloaded(job))
    }
}

impl Pool {
    /// Queues a job; refuses it if there is no thread for it.
    fn submit(self: &Arc<Self>, job: Job) -> Result<(), NoThread> {
        let mut state = self.state.lock();
        if state.closed {
            drop(state);
            let closed = NoThread(None);
            job.refuse(&closed);
            return Err(closed);
        }
        state.jobs.push_back(job);
        let waiting = state.threads - state.busy;
        if waiting > 0 {
            self.work.notify_one();
        }
        if state.jobs.len() <= waiting || state.threads >= self.max_threads {
            return Ok(());
        }
        state.threads += 1;
        drop(state);
        let pool = self.clone();
        let started = Thread::start(&self.thread, "-blocking", move || pool.run_thread());
        let Err(error) = started else { return Ok(()) };
        let mut state = self.state.lock();
        state.threads -= 1;
        self.ended.notify_all();
        if state.threads > 0 {
            // Another thread will get to the job; or it does not start either, and whoever wanted it gets here later.
            return Ok(());
        }
        // Nobody will get to what waits: this job, unless a thread came and went meanwhile, and those of others who relied on this thread.
        let stranded = match planted(Bug::OneStrandedRefused) {
            true => state.jobs.pop_back().into_iter().collect(),
            false => std::mem::take(&mut state.jobs),
        };
        drop(state);
        if stranded.is_empty() {
            return Ok(());
        }
        let none = NoThread(Some(Arc::new(error)));
        for job in stranded {
            job.refuse(&none);
        }
        Err(none)
    }

    fn run_thread(&self) {
        POOL.with(|pool| pool.set(self));
        while let Some(job) = self.next_job() {
            job.run();
            self.state.lock().busy -= 1;
            // Has the driver look whether all is quiet now. Fails for a clock that runs: nothing waits for this then.
            let _ = self.clock.advance(Duration::ZERO);
        }
    }

    /// The next job, for which the thread is counted as busy; `None`, and it is uncounted, if none came for as long as the keep-alive, or will.
    fn next_job(&self) -> Option<Job> {
        let until = system::now().checked_add(self.keep_alive);
        let mut state = self.state.lock();
        let mut gave_up = false;
        loop {
            if !(gave_up && planted(Bug::GivesUpOverAJob))
                && let Some(job) = state.jobs.pop_front()
            {
                state.busy += 1;
                return Some(job);
            }
            if gave_up || state.closed {
                state.threads -= 1;
                if !planted(Bug::PoolEndUnheard) {
                    self.ended.notify_all();
                }
                return None;
            }
            (state, gave_up) = wait_until(&self.work, state, until);
        }
    }
}

impl Job {
    fn refuse(self, why: &NoThread) {
        match self {
            Self::Task(task, _) => task.abandon(why.refusal()),
            // Its destructor answers whoever waits for it.
            Self::Offloaded(job) => drop(job),
        }
    }

    fn run(self) {
        match self {
            Self::Task(task, handle) => {
                let entered = handle.enter();
                task.run();
                drop(entered);
            }
            Self::Offloaded(job) => {
                contain(job);
            }
        }
    }
}

/// The future of a blocking task: calls the closure on its first poll, on a thread of the pool.
pub(crate) struct Closure<F>(Option<F>);

impl<F> Closure<F> {
    pub(crate) fn new(closure: F) -> Self {
        Self(Some(closure))
    }
}

// Never pinned: the closure is moved out to be called.
impl<F> Unpin for Closure<F> {}

impl<T, F: FnOnce() -> T> Future for Closure<F> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<T> {
        match self.0.take() {
            Some(closure) => {
                let _aside = leaf::set_aside();
                Poll::Ready(closure())
            }
            None => Poll::Pending,
        }
    }
}

/// How blocking tasks are queued.
pub(crate) struct BlockingScheduler(pub(crate) Handle);

impl Schedule for BlockingScheduler {
    type Route = BlockingRoute;

    const IS_BLOCKING: bool = true;

    fn route(&self) -> BlockingRoute {
        BlockingRoute(self.0.clone())
    }

    fn release(&self, task: NonNull<Header>, ending: Ending) {
        self.0.release(task, ending);
    }

    fn unhandled(&self, task: TaskRef, error: TaskError) {
        self.0.unhandled(task, error);
    }
}

pub(crate) struct BlockingRoute(Handle);

impl Route for BlockingRoute {
    fn submit(self, task: Runnable, _: Why) {
        // A blocking task is queued once, when it is spawned; if anything wakes it later, it goes the same way again.
        self.0.pool().submit(&self.0, task);
    }
}

#[cfg(all(test, loom))]
mod models;
