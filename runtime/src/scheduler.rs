//! The scheduler: which thread runs which task, and which thread sleeps.
//!
//! ```text
//!   worker   one thread's loop: next, run, park
//!   queue    its local queue, and what others may steal of it
//!   idle     who sleeps, who naps, who searches
//!   nap      when taking tasks from others pays
//!   crowd    how many workers the CPUs have room for
//!   spin     when looking on pays, instead of sleeping
//!   park     blocking and waking one thread
//!   slot     a worker's identity: what others see of it
//!   watch    the monitor: blocked workers, slow polls, an unattended driver
//! ```
//!
//! **Permits.** A runtime with `workers = W` has W permits, and a worker runs tasks only while it holds one. A worker that blocks inside
//! a poll loses its permit, to a spare that goes on in its place: at once if it says so (`Worker::begin_blocking`: `block_on`,
//! waiting for a foreign result, `shutdown`), after a few milliseconds if the monitor has to find out. When the blocked poll
//! returns, its thread has no permit: it gives its queue away and waits among the spares. So W threads stay runnable,
//! never more than W run tasks, and the idle protocol counts permits, not threads.

mod crowd;
mod idle;
mod nap;
mod park;
mod queue;
mod slot;
mod spin;
mod watch;
mod worker;

#[cfg(all(test, loom))]
mod models;

pub(crate) use park::Parker;
pub(crate) use slot::Slot;
pub(crate) use watch::Monitor;
pub(crate) use worker::Worker;

use crate::handle::Handle;
use crate::sync_switch::injector::Injector;
use crate::sync_switch::{
    AtomicBool, AtomicU32, AtomicUsize, Bug, Condvar, Mutex, fence, planted, wait_until,
};
use crate::system::{self, Thread, ThreadId};
use crate::task::{Refusal, Runnable, TaskError};
use crate::tokio_compat::Shown;
use crate::trace;
use crossbeam_utils::CachePadded;
use heist_io_driver::{Driver, Handle as IoHandle};
use idle::Idle;
use once_cell::sync::OnceCell;
use std::io;
use std::sync::atomic::{
    Ordering::AcqRel, Ordering::Acquire, Ordering::Relaxed, Ordering::Release, Ordering::SeqCst,
};
use std::time::Instant;

/// How many spare workers there can be beside the runtime's own. Each is a thread that stands in for one that blocks; whoever needs more
/// should block in `spawn_blocking`.
pub(crate) const MAX_SPARES: usize = 256;

/// After a task was found in a slot behind a long poll, so many looks at slots may be in vain before nobody is woken for one any more.
const STICKS_FOR: u32 = 32;

/// What the workers of a runtime share.
pub(crate) struct Scheduler {
    idle: CachePadded<Idle>,
    injector: CachePadded<Injector<Runnable>>,
    /// For how many more looks in vain a task in a slot is worth waking somebody for. Read at each wake-up, seldom written.
    sticking: CachePadded<AtomicU32>,
    /// One for each worker, and room for the spares. Filled from the front.
    slots: Box<[OnceCell<Slot>]>,
    /// How many of `slots` were ever filled.
    slot_count: AtomicUsize,
    workers: usize,
    /// Whether the workers are threads of their own; else one worker that borrows the thread of `block_on`.
    threaded: bool,
    /// Held for as long as somebody waits in it; all but the last look only whether it is free.
    driver: parking_lot::Mutex<Driver>,
    io: IoHandle,
    /// Threads without a permit that wait to stand in for another. Invariant: a permit that is taken from a thread or given to one changes
    /// hands under this lock, and so does whether a thread is astray; so the slots listed here have no permit.
    spares: Mutex<Vec<usize>>,
    pub(crate) monitor: Monitor,
    stopping: AtomicBool,
    threads: Mutex<Vec<Thread>>,
    live: Mutex<usize>,
    exited: Condvar,
    /// Roots that can run: woken and not yet polled, or in their poll. A paused clock stands still while there is one.
    roots: AtomicUsize,
    thread: ThreadConfig,
}

/// How worker threads are started.
#[derive(Clone, Default)]
pub(crate) struct ThreadConfig {
    pub(crate) name: String,
    pub(crate) stack_size: Option<usize>,
    /// To crates that need tokio's runtime.
    pub(crate) shows: Shown,
}

impl ThreadConfig {
    /// The name of a thread that does this.
    pub(crate) fn name_of(&self, what: &str) -> String {
        format!("{}{what}", self.name)
    }
}

impl Scheduler {
    pub(crate) fn new(
        driver: Driver,
        workers: usize,
        threaded: bool,
        thread: ThreadConfig,
    ) -> Self {
        let spares = if threaded { MAX_SPARES } else { 0 };
        let io = driver.handle().clone();
        // At first it is looked after; where that is in vain it ends soon. A single worker has nobody to do so.
        let sticking = if workers > 1 { STICKS_FOR } else { 0 };
        let scheduler = Self {
            idle: CachePadded::new(Idle::new(workers)),
            injector: CachePadded::default(),
            sticking: CachePadded::new(AtomicU32::new(sticking)),
            slots: (0..workers + spares).map(|_| OnceCell::new()).collect(),
            slot_count: AtomicUsize::new(0),
            workers,
            threaded,
            driver: parking_lot::Mutex::new(driver),
            io,
            spares: Mutex::new(Vec::new()),
            monitor: Monitor::new(),
            stopping: AtomicBool::new(false),
            threads: Mutex::new(Vec::new()),
            live: Mutex::new(0),
            exited: Condvar::new(),
            roots: AtomicUsize::new(0),
            thread,
        };
        for _ in 0..workers {
            let slot = scheduler
                .vacant_slot()
                .and_then(|index| scheduler.slots[index].get());
            if let Some(slot) = slot {
                slot.give_permit();
            }
        }
        scheduler
    }

    pub(crate) fn workers(&self) -> usize {
        self.workers
    }

    /// How many of them the CPUs have room for, as far as is known.
    pub(crate) fn workers_wanted(&self) -> usize {
        self.idle.wanted()
    }

    pub(crate) fn is_threaded(&self) -> bool {
        self.threaded
    }

    pub(crate) fn io(&self) -> &IoHandle {
        &self.io
    }

    /// The slots that were ever used, each with its index.
    pub(crate) fn slots(&self) -> impl Iterator<Item = (usize, &Slot)> {
        // Acquire: pairs with the Release in `vacant_slot`.
        let count = self.slot_count.load(Acquire);
        self.slots[..count]
            .iter()
            .enumerate()
            .filter_map(|(index, slot)| Some((index, slot.get()?)))
    }

    fn slot(&self, index: usize) -> Option<&Slot> {
        self.slots.get(index).and_then(OnceCell::get)
    }

    /// A slot that no thread uses, one that was left or a new one, reserved for the caller.
    fn vacant_slot(&self) -> Option<usize> {
        (0..self.slots.len()).find(|&index| {
            let slot = self.slots[index].get_or_init(Slot::new);
            // A maximum: two threads may get here at a time.
            let mut count = self.slot_count.load(Relaxed);
            while count <= index {
                // Release: pairs with the Acquire in `slots`.
                let raised = self
                    .slot_count
                    .compare_exchange(count, index + 1, Release, Relaxed);
                count = raised.map_or_else(|now| now, |_| index + 1);
            }
            slot.reserve()
        })
    }

    /// Queues a task from a thread that is none of the workers.
    pub(crate) fn inject(&self, task: Runnable) {
        // Accepted, and in no queue.
        system::step();
        self.injector.push(task);
        system::step();
        self.notify();
        // Pairs, by the fence in `notify`, with the one in `stop`: either this sees that the workers leave, or the last one sees the task.
        if self.is_stopping() && !planted(Bug::DesertedUnlooked) {
            self.in_place_of_workers(Self::end_queued);
        }
    }

    /// If no worker is left, what is queued is the caller's to end.
    ///
    /// Meanwhile it counts as a worker. So a shutdown waits for it: a task leaves the registry a moment before it is done. And whoever queues a task then leaves it to this one, which
    /// looks once more when it counts no longer.
    #[cold]
    fn in_place_of_workers(&self, end: impl Fn(&Self)) {
        loop {
            {
                let mut live = self.live.lock();
                if *live > 0 {
                    return;
                }
                *live += usize::from(!planted(Bug::EndsTasksUncounted));
            }
            end(self);
            if planted(Bug::EndsTasksUncounted) {
                return;
            }
            *self.live.lock() -= 1;
            self.exited.notify_all();
            if self.injector.is_empty() {
                return;
            }
        }
    }

    pub(crate) fn injected(&self) -> usize {
        self.injector.len()
    }

    /// A thief has looked at a slot: whether its task waited behind a long poll.
    fn slot_stuck(&self, stuck: bool) {
        if stuck {
            self.sticking.store(STICKS_FOR, Relaxed);
        } else {
            // Not exact, if several look: it is a guess.
            let left = self.sticking.load(Relaxed).saturating_sub(1);
            self.sticking.store(left, Relaxed);
        }
    }

    /// Whether tasks in slots have lately waited behind long polls, so that somebody should look after one.
    #[inline]
    fn slots_stick(&self) -> bool {
        self.sticking.load(Relaxed) > 0
    }

    /// Wakes a sleeping worker if the work that was just queued needs one.
    #[inline]
    fn notify(&self) {
        if let Some(worker) = self.idle.notify() {
            self.unpark(worker);
        }
    }

    fn unpark(&self, worker: usize) {
        if let Some(slot) = self.slot(worker) {
            slot.parker.unpark(|| self.io.notify());
        }
    }

    /// Whether nobody is the worker of a current-thread runtime just now.
    pub(crate) fn is_seat_free(&self) -> bool {
        self.slot(0).is_some_and(Slot::is_vacant)
    }

    /// The future of a `block_on` is woken, or about to be polled for the first time.
    pub(crate) fn root_woken(&self) {
        // AcqRel: pairs with the Acquire in `is_quiet`.
        self.roots.fetch_add(1, AcqRel);
    }

    /// The poll that `root_woken` announced is over, or will not be.
    pub(crate) fn root_rests(&self) {
        // AcqRel: as above.
        self.roots.fetch_sub(1, AcqRel);
        self.quieted();
    }

    /// Wakes the one worker of a current-thread runtime.
    pub(crate) fn unpark_seat(&self) {
        self.unpark(0);
    }

    /// Whether any queue that can be stolen from has a task in it.
    fn is_work(&self) -> bool {
        !self.injector.is_empty() || self.slots().any(|(_, slot)| !slot.queue.is_deque_empty())
    }

    /// Whether any task is queued at all.
    fn is_queued(&self) -> bool {
        self.is_work() || self.slots().any(|(_, slot)| !slot.queue.is_slot_empty())
    }

    /// Whether nothing of this runtime can run before time passes or the kernel says something. `is_pool_busy`: whether a blocking closure
    /// runs or waits.
    ///
    /// What stops running is counted elsewhere before: a worker that calls `block_on` as a root, a root's thread as astray, and what any of
    /// them has woken as awake. So each is asked after those that hand over to it, and the workers, to whom all do, once more. The queues
    /// are asked because a worker that falls asleep is not counted awake while it looks at them once more.
    fn is_quiet(&self, is_pool_busy: impl FnOnce() -> bool) -> bool {
        self.idle.awake() == 0
            && !self.is_work()
            && !is_pool_busy()
            && self.roots.load(Acquire) == 0
            && self.is_unwatched()
    }

    /// Whether there is nothing for the monitor to look after: all workers sleep, and none that was replaced goes on in its poll.
    fn is_unwatched(&self) -> bool {
        !self.slots().any(|(_, slot)| slot.is_stray()) && self.idle.awake() == 0
    }

    /// A thread has stopped running: if that was the last and the clock is paused, the one that waits in the driver may move it on.
    pub(crate) fn quieted(&self) {
        if self.io.clock().is_paused() {
            self.io.notify();
        }
    }

    /// Starts the workers' threads. On an error those that have started are stopped and joined.
    pub(crate) fn start(&self, handle: &Handle) -> io::Result<()> {
        let started = (0..self.workers)
            .try_for_each(|index| self.start_thread(handle, index))
            .and_then(|()| self.monitor.start(handle));
        if started.is_err() {
            self.stop();
            self.join(None, false);
        }
        started
    }

    fn start_thread(&self, handle: &Handle, index: usize) -> io::Result<()> {
        let mine = handle.clone();
        *self.live.lock() += 1;
        let started = Thread::start(&self.thread, &format!("-{index}"), move || {
            let exit = ThreadExit(mine.clone());
            Worker::run_thread(&mine.anchored(index), index);
            drop(mine);
            drop(exit);
        });
        match started {
            Ok(thread) => {
                let mut threads = self.threads.lock();
                // Spares that have ended: nobody needs to wait for them.
                threads.retain(|thread| !thread.is_finished());
                threads.push(thread);
                Ok(())
            }
            Err(error) => {
                *self.live.lock() -= 1;
                Err(error)
            }
        }
    }

    /// Gives a permit that a blocked worker has lost to a spare, made if there is none. On an error the permit is the caller's still.
    fn replace(&self, handle: &Handle) -> io::Result<()> {
        if !self.threaded {
            return Err(io::Error::other(TaskError::refused(Refusal::WouldDeadlock)));
        }
        let spare = {
            let mut spares = self.spares.lock();
            let spare = spares.pop();
            if let Some(slot) = spare.and_then(|index| self.slot(index)) {
                slot.give_permit();
            }
            spare
        };
        let index = match spare {
            Some(index) => {
                if !planted(Bug::SpareUnheard) {
                    self.unpark(index);
                }
                index
            }
            None => self.start_spare(handle)?,
        };
        trace::worker_replaced(index);
        Ok(())
    }

    /// Starts a thread that has a permit from its first moment: without one it would wait among the spares, and be given a second.
    fn start_spare(&self, handle: &Handle) -> io::Result<usize> {
        let index = self.vacant_slot().ok_or_else(|| {
            io::Error::other(format!("all {MAX_SPARES} spare workers are in use"))
        })?;
        if let Some(slot) = self.slot(index) {
            slot.give_permit();
        }
        let started = self.start_thread(handle, index);
        if let (Err(_), Some(slot)) = (&started, self.slot(index)) {
            slot.take_permit();
            slot.unreserve();
        }
        started.map(|()| index)
    }

    /// Takes the permit of a worker that was found blocked in its poll, and gives it to a spare.
    fn replace_blocked(&self, handle: &Handle, index: usize, slot: &Slot) {
        {
            let _spares = self.spares.lock();
            if !slot.take_permit() {
                return;
            }
            slot.set_stray(true);
        }
        if let Err(error) = self.replace(handle) {
            {
                // Its poll may have ended meanwhile, and the worker wait among the spares.
                let mut spares = self.spares.lock();
                spares.retain(|spare| *spare != index);
                slot.set_stray(false);
                slot.give_permit();
            }
            if !planted(Bug::PermitGivenBackUnheard) {
                self.unpark(index);
            }
            trace::not_replaced(&error);
        }
    }

    pub(crate) fn is_stopping(&self) -> bool {
        // Acquire: pairs with the AcqRel in `stop`.
        self.stopping.load(Acquire)
    }

    /// Tells every thread to leave its loop.
    pub(crate) fn stop(&self) {
        self.stopping.swap(true, AcqRel);
        // Pairs with the fence in `notify`; see `inject`.
        fence(SeqCst);
        for (index, _) in self.slots() {
            self.unpark(index);
        }
        self.io.notify();
        self.monitor.wake();
    }

    /// Waits until the workers' threads have ended, but for the calling one if it is one of them, or until the deadline. True if they have.
    pub(crate) fn join(&self, deadline: Option<Instant>, is_worker: bool) -> bool {
        let own = usize::from(is_worker);
        let mut live = self.live.lock();
        while *live > own {
            let timed_out;
            (live, timed_out) = wait_until(&self.exited, live, deadline);
            if timed_out {
                break;
            }
        }
        let ended = *live <= own;
        drop(live);
        // Threads that have left their loop are as good as ended; joining waits for their thread-locals' destructors too.
        let me = ThreadId::current();
        let threads = std::mem::take(&mut *self.threads.lock());
        for thread in threads {
            if thread.id() != me && (ended || thread.is_finished()) {
                thread.join();
            }
        }
        self.monitor.join();
        ended
    }

    /// After the last worker: ends the tasks that are queued still, and closes the driver. Once is enough, twice does no harm.
    pub(crate) fn clear(&self) {
        // Pairs with the one in `notify`; see `inject`. Whoever is last may have learnt that it is time before `stop` came to its own.
        if !planted(Bug::ClearWithoutFence) {
            fence(SeqCst);
        }
        self.end_queued();
        let mut batch = heist_io_driver::WakeBatch::new();
        self.driver.lock().shutdown(&mut batch);
        batch.wake_all();
    }

    fn end_queued(&self) {
        while let Some(task) = self.take_left() {
            task.abandon(TaskError::cancelled(Some(
                "the runtime was shut down".into(),
            )));
        }
    }

    fn take_left(&self) -> Option<Runnable> {
        loop {
            match self.injector.steal() {
                crossbeam_deque::Steal::Success(task) => return Some(task),
                crossbeam_deque::Steal::Empty => break,
                crossbeam_deque::Steal::Retry => {}
            }
        }
        self.slots().find_map(|(_, slot)| slot.take_left())
    }
}

/// Counts a worker's thread out. One that ends after its runtime's shutdown has given up on it, as the last, does what the
/// shutdown could not.
struct ThreadExit(Handle);

impl Drop for ThreadExit {
    fn drop(&mut self) {
        // No panic gets as far as this unless the runtime itself is broken. The tasks of this worker would then wait for ever: better no
        // process than one that hangs. What happened has been printed.
        if std::thread::panicking() {
            std::process::abort();
        }
        let scheduler = self.0.scheduler();
        let last = {
            let mut live = scheduler.live.lock();
            *live -= 1;
            *live == 0
        };
        if last && scheduler.is_stopping() && !planted(Bug::LastExitLeavesTasks) {
            scheduler.in_place_of_workers(Scheduler::clear);
        }
        scheduler.exited.notify_all();
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
