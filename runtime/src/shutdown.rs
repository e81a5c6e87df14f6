//! Shutdown: everybody out, in bounded time, and a report of who was late.
//!
//! ```text
//!   1  close the registry          from here on every spawn is refused
//!   2  request every task's end    each unwinds from its await, as far as it does not catch that; what is late is aborted
//!   3  close the blocking pool     jobs that wait are ended here; those that run go on
//!   4  wait for tasks, then for blocking threads, until the deadline
//!   5  stop the workers and wait for their threads, until the deadline
//!   6  if all are gone: end what is queued still, close the driver (every waker it holds is called), and tokio's runtime, if there is one
//! ```
//!
//! The first caller does the work; others wait for its report. A caller that is a task or a worker of this runtime, or a
//! blocking closure of it, does not wait for itself.

use crate::current;
use crate::failure::Failure;
use crate::handle::Handle;
use crate::scheduler::Worker;
use crate::sync_switch::{Bug, Condvar, Mutex, planted, wait_until};
use crate::system::{self, ThreadId};
use crate::task::{Header, TaskRef};
use crate::trace;
use heist_io_driver::leaf;
use std::fmt;
use std::time::{Duration, Instant};

/// Beyond this a deadline counts as "for ever"; `Instant + Duration::MAX` would overflow.
const FOR_EVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// How long the workers have to leave their loops when the deadline has passed before they were told: an idle one needs well under a
/// millisecond, and a shutdown may take 50 ms more than its deadline.
const LEAVE: Duration = Duration::from_millis(20);

pub(crate) struct Shutdown {
    progress: Mutex<Progress>,
    ended: Condvar,
}

enum Progress {
    Running,
    /// By this thread.
    Begun(ThreadId),
    /// `partial`: the one who did it was a part of the runtime, and has left itself out.
    Ended {
        report: ShutdownReport,
        partial: bool,
    },
}

impl Shutdown {
    pub(crate) fn new() -> Self {
        Self {
            progress: Mutex::new(Progress::Running),
            ended: Condvar::new(),
        }
    }
}

/// What a shutdown left behind: nothing, if all went well.
///
/// Its `Display` is a line for each that was late.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// The tasks that had not ended at the deadline.
    pub late_tasks: Vec<LateTask>,
    /// How many threads of the blocking pool were still in a closure.
    pub late_blocking_threads: usize,
    /// Whether all worker threads have ended, but for the caller's own.
    pub workers_ended: bool,
    /// The process was forked after the runtime was built, so there was nothing here to shut down.
    pub forked: bool,
    /// How long it took.
    pub took: Duration,
}

/// A task that had not ended when the shutdown's deadline passed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LateTask {
    /// The task. It may end yet.
    pub task: TaskRef,
    /// What it did at the deadline: "running" if it sat in a poll.
    pub phase: &'static str,
}

impl ShutdownReport {
    /// Whether everything ended in time.
    pub fn is_complete(&self) -> bool {
        self.late_tasks.is_empty()
            && self.late_blocking_threads == 0
            && self.workers_ended
            && !self.forked
    }
}

impl fmt::Display for ShutdownReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_complete() {
            return write!(f, "everything ended within {:?}", self.took);
        }
        if self.forked {
            return f.write_str("the runtime's threads are in the parent of this process");
        }
        write!(f, "after {:?}", self.took)?;
        for LateTask { task, phase } in &self.late_tasks {
            let (name, at) = (task.name(), task.spawned_at());
            write!(f, "\n  task {name}, spawned at {at}, is still {phase}")?;
        }
        match self.late_blocking_threads {
            0 => {}
            1 => f.write_str("\n  a blocking thread is still busy")?,
            more => write!(f, "\n  {more} blocking threads are still busy")?,
        }
        if !self.workers_ended {
            f.write_str("\n  a worker thread is still in a poll")?;
        }
        Ok(())
    }
}

impl Handle {
    /// Refuses new tasks and asks all there are to end, without waiting.
    pub(crate) fn close(&self, message: Option<&str>) {
        self.registry().close();
        for task in self.registry().tasks() {
            task.cancel(message);
        }
    }

    /// Asks every task to end, waits for tasks and threads until `deadline` has passed, and says who was late.
    ///
    /// From the moment of the call, new tasks are refused. Legal on any thread, any number of times, from several at once: all get the
    /// same report. Called from a task of this runtime, that task and its worker are left out: they end when the task does. If somebody else
    /// shuts down already and waits for it, such a caller does not wait in turn, and learns what has not ended yet. What it has left
    /// out a later call from outside ends, the runtime's drop for one, if it has not ended by itself.
    ///
    /// A task that has not ended by the deadline is [aborted](crate::Task::abort), and told of in the report and to the exception handler. What is late even
    /// then is left to itself: it ends when its poll, or its blocking closure, returns.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let runtime = heist_runtime::Runtime::new()?;
    /// runtime.handle().spawn(std::future::pending::<()>()).detach();
    /// let report = runtime.handle().shutdown(Duration::from_secs(5));
    /// assert!(report.is_complete(), "{report}"); // else it names who was late
    /// assert!(runtime.handle().spawn(async {}).result().unwrap_err().is_refused());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn shutdown(&self, deadline: Duration) -> ShutdownReport {
        let began = system::now();
        let until = began + deadline.min(FOR_EVER);
        if self.is_forked() {
            return ShutdownReport {
                forked: true,
                ..ShutdownReport::default()
            };
        }
        let own = Own::of(self);
        if let Some(report) = self.take_part(began, until, &own) {
            return report;
        }
        let report = self.shut_down_first(began, until, &own);
        debug_assert!(self.audit().is_balanced(), "{}", self.audit());
        let state = self.shutdown_state();
        *state.progress.lock() = Progress::Ended {
            report: report.clone(),
            partial: own.is_any(),
        };
        if !planted(Bug::ShutdownEndUnheard) {
            state.ended.notify_all();
        }
        report
    }

    /// The report of somebody else who shuts down, waited for until `until`; `None` if it is the caller's to do.
    fn take_part(&self, began: Instant, until: Instant, own: &Own) -> Option<ShutdownReport> {
        let state = self.shutdown_state();
        let me = ThreadId::current();
        let mut blocking = None;
        let mut progress = state.progress.lock();
        loop {
            match &*progress {
                Progress::Ended { report, partial }
                    if !partial || own.is_any() || planted(Bug::PartialCountsAsWhole) =>
                {
                    return Some(report.clone());
                }
                // What has left itself out is still to end.
                Progress::Running | Progress::Ended { .. } => {
                    *progress = Progress::Begun(me);
                    return None;
                }
                // That one waits for this thread, or is this thread and calls a destructor that wants the same: waiting would last until a deadline.
                Progress::Begun(by) if *by == me || own.is_any() => break,
                Progress::Begun(_) => {}
            }
            if blocking.is_none() {
                drop(progress);
                blocking = Some(self.begin_blocking());
                progress = state.progress.lock();
                if !planted(Bug::ShutdownWaitUnlooked) {
                    continue;
                }
            }
            let timed_out;
            (progress, timed_out) = wait_until(&state.ended, progress, Some(until));
            if timed_out {
                break;
            }
        }
        drop(progress);
        Some(self.report(began, own, false))
    }

    fn shut_down_first(&self, began: Instant, until: Instant, own: &Own) -> ShutdownReport {
        let _shown = self.config().shown.enter();
        self.registry().close();
        let tasks = self.registry().tasks();
        trace::shutdown_begun(tasks.len());
        // A worker that cannot be replaced goes on alone: what needs it is late, and the report says so.
        let blocking = self.begin_blocking();
        let replaced = blocking.is_ok();
        // Not into this thread's own queue, where they would wait for somebody to steal them.
        current::without_worker(|| {
            for task in tasks.iter().filter(|task| !own.tasks.contains(task)) {
                task.cancel("the runtime was shut down");
            }
        });
        drop(tasks);
        self.pool().close();
        self.drain(own, replaced, until);
        self.pool().wait_ended(own.blocking, until);
        let late_tasks = self.late_tasks(own);
        self.force(own, replaced, &late_tasks);
        self.scheduler().stop();
        let leave = until.max(system::now() + LEAVE);
        let workers_ended = self.scheduler().join(Some(leave), own.worker);
        if workers_ended && !own.worker {
            self.scheduler().clear();
        }
        if workers_ended && !own.is_any() {
            self.config().tokio.end(leave);
        }
        let mut report = self.report(began, own, workers_ended);
        report.late_tasks = late_tasks;
        report.took = system::elapsed(began);
        trace::shutdown_ended(report.late_tasks.len(), report.late_blocking_threads);
        report
    }

    /// What has not ended in time is dropped where it is suspended, and told of.
    fn force(&self, own: &Own, replaced: bool, late: &[LateTask]) {
        if late.is_empty() {
            return;
        }
        current::without_worker(|| {
            for LateTask { task, .. } in late {
                task.abort("the runtime was shut down, and the time was up");
            }
        });
        let until = system::now() + LEAVE;
        self.drain(own, replaced, until);
        for LateTask { task, .. } in late {
            self.tell(Failure::pending(task.clone()));
        }
    }

    /// Waits for the end of all tasks but the caller's own. `replaced`: somebody else can run them in this thread's place.
    fn drain(&self, own: &Own, replaced: bool, until: Instant) {
        if self.scheduler().is_threaded() {
            self.registry().wait_drained(own.tasks.len(), until);
        } else if replaced {
            self.drain_seat(own.tasks.len(), until);
        } else {
            self.drain_own_seat(own.tasks.len(), until);
        }
    }

    /// A current-thread runtime has nobody else to run what was cancelled.
    fn drain_seat(&self, left: usize, until: Instant) {
        loop {
            if let Some(worker) = Worker::take_seat(self, 0) {
                current::enter_worker(&worker, || worker.run_ready());
                worker.leave_seat();
            }
            // Short: what a blocking closure, or the thread that has the seat, still does ends without a word to this thread's queue.
            let now = system::now();
            let look_again = until.min(now + Duration::from_millis(1));
            if self.registry().wait_drained(left, look_again) || now >= until {
                return;
            }
        }
    }

    /// Called from inside a current-thread runtime: this thread is the only one that runs what was cancelled.
    fn drain_own_seat(&self, left: usize, until: Instant) {
        let _aside = leaf::set_aside();
        loop {
            current::ask_workers(|worker| {
                let is_own = worker.handle().is_same(self);
                is_own.then(|| current::enter_worker(worker, || worker.run_ready()))
            });
            let now = system::now();
            let look_again = until.min(now + Duration::from_millis(1));
            if self.registry().wait_drained(left, look_again) || now >= until {
                return;
            }
            // Called by a task, this stands in the way of the `block_on` further up the stack, which cannot end before.
            if self.registry().len() <= left + 1 && !self.pool().is_busy() {
                return;
            }
        }
    }

    fn report(&self, began: Instant, own: &Own, workers_ended: bool) -> ShutdownReport {
        ShutdownReport {
            late_tasks: self.late_tasks(own),
            late_blocking_threads: self.pool().threads().0.saturating_sub(own.blocking),
            workers_ended,
            forked: false,
            took: system::elapsed(began),
        }
    }

    fn late_tasks(&self, own: &Own) -> Vec<LateTask> {
        let unfinished = self.registry().tasks().into_iter();
        unfinished
            .filter(|task| !own.tasks.contains(task))
            .map(|task| LateTask {
                phase: Header::phase(task.state()),
                task,
            })
            .collect()
    }
}

/// The part of the runtime that the caller itself is, and cannot wait for.
struct Own {
    /// The task that calls, and those further up the stack that wait for it in a `block_on`.
    tasks: Vec<TaskRef>,
    /// Whether its thread is a worker of this runtime.
    worker: bool,
    /// 1 if its thread is one of the blocking pool.
    blocking: usize,
}

impl Own {
    fn of(handle: &Handle) -> Self {
        let all = handle.registry().tasks();
        let tasks = current::tasks_here()
            .filter(|task| all.contains(task) && !planted(Bug::OwnTaskAwaited));
        let worker = current::ask_workers(|worker| worker.handle().is_same(handle).then_some(()));
        Self {
            tasks: tasks.collect(),
            worker: worker.is_some(),
            blocking: usize::from(handle.pool().is_own_thread()),
        }
    }

    fn is_any(&self) -> bool {
        !self.tasks.is_empty() || self.worker || self.blocking > 0
    }
}

#[cfg(all(test, loom))]
mod models;
