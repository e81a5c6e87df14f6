//! A worker: the loop that runs tasks, on a thread of its own or on that of `block_on`.
//!
//! ```text
//!   loop:  next                             what runs next, in this order
//!            every 61st poll                the driver, without waiting
//!            every 31st poll,
//!            or after a yield               the injector first
//!            slot, then deque               at most 3 tasks of the slot in a row while the deque has any
//!            injector, others' queues       as a searcher
//!            spin                           for a moment, where that has paid lately
//!            park                           in the driver, if nobody is there, else on the own condvar
//!          run                              one poll
//! ```

use super::idle::{Rest, Sleep, Woken};
use super::nap::{Due, Nap};
use super::queue::LocalQueue;
use super::spin::{SPIN, Spin};
use super::{Scheduler, Slot};
use crate::current;
use crate::handle::Handle;
use crate::sync_switch::{Bug, planted};
use crate::system;
use crate::task::{Runnable, Why};
use crate::trace;
use heist_io_driver::{Driver, WakeBatch};
use std::cell::{Cell, RefCell};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// A busy worker looks into the driver (if nobody else is there) once in so many polls: one `epoll_wait` of 84 ns then costs a poll
/// less than 2 ns. With [`INJECT_INTERVAL`] it is the documented bound: within 64 polls.
const DRIVER_INTERVAL: u32 = 61;
/// A busy worker takes a batch of injected tasks once in so many polls, before its own. Prime and about half of the driver's interval,
/// so that the two seldom meet; looking every 61 polls halved the throughput of remote spawns.
const INJECT_INTERVAL: u32 = 31;
/// How many tasks in a row may come from the slot while others wait in the deque: two tasks that wake each other must not starve the rest.
const SLOT_LIMIT: u32 = 3;
/// How many tasks in a row may come from the injector while others wait in the deque.
const INJECTED_LIMIT: u32 = 8;
/// A task that came from the slot so many times in a row, with others in between, is woken by each of them: it goes behind them in the deque, and meets
/// all that they have for it at once.
const SLOT_REPEATS: u32 = 4;
/// How often a thief looks at the queues before it gives up.
const SEARCH_ROUNDS: usize = 2;
/// How long, in turns of a spinning loop (some 20 us), a thief watches an occupied slot before it takes the task: as long as the owner
/// does not change tasks meanwhile, it is in a long poll.
const SLOT_WATCH: usize = 400;
/// How many nanoseconds late the kernel may wake a worker for a timer: less than a tick of the wheel.
#[cfg(target_os = "linux")]
const TIMER_SLACK: u64 = 1000;
/// How long a worker sleeps, unless it is unparked, after a turn of the driver that failed.
const DRIVER_FAILED: Duration = Duration::from_millis(5);
/// How long a spare thread waits for its next turn before it ends.
const SPARE_KEEP_ALIVE: Duration = Duration::from_secs(10);

/// The owner's side of a slot.
pub(crate) struct Worker {
    handle: Handle,
    index: usize,
    queue: LocalQueue,
    tick: Cell<u32>,
    slot_polls: Cell<u32>,
    /// The task that came from the slot last, and how many more times in a row it did.
    last_in_slot: Cell<(u64, u32)>,
    /// Whether the injector comes first: the last task has yielded, and those injected meanwhile have waited longer, or it was injected, and who waited
    /// for it may have injected the next.
    injector_first: Cell<bool>,
    /// How many tasks in a row came from the injector for that.
    injected_polls: Cell<u32>,
    /// Whether this worker is counted as a searcher.
    searching: Cell<bool>,
    /// Whether the driver's wakers are being called: what they wake goes to the deque, and nobody is notified before the last.
    dispatching: Cell<bool>,
    /// How often others had turned the driver when this worker last asked.
    turns_of_others: Cell<u64>,
    batch: RefCell<WakeBatch>,
    nap: Nap,
    spin: Spin,
    /// How many waits, one inside the other, this thread is in: between `begin_blocking` and `end_blocking`.
    blocking: Cell<u32>,
}

impl Worker {
    /// The life of a worker's thread.
    pub(super) fn run_thread(handle: &Handle, index: usize) {
        let Some(worker) = Self::take_seat(handle, index) else {
            return;
        };
        trace::worker_started(index);
        // A thread that waits for a deadline is woken up to 50 us late unless it says that it minds.
        #[cfg(all(target_os = "linux", not(miri)))]
        if system::here().is_none() {
            let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(TIMER_SLACK));
        }
        worker
            .slot()
            .counters
            .thread
            .store(super::watch::thread_id(), Relaxed);
        current::enter_worker(&worker, || {
            while let Some(task) = worker.next() {
                worker.run(task);
            }
        });
        trace::worker_stopped(index);
        worker.leave_seat();
    }

    /// Moves into the slot `index`, if no other thread has it.
    pub(crate) fn take_seat(handle: &Handle, index: usize) -> Option<Self> {
        let queue = handle.scheduler().slot(index)?.occupy()?;
        Some(Self {
            handle: handle.clone(),
            index,
            queue,
            tick: Cell::new(0),
            slot_polls: Cell::new(0),
            last_in_slot: Cell::new((0, 0)),
            injector_first: Cell::new(false),
            injected_polls: Cell::new(0),
            searching: Cell::new(false),
            dispatching: Cell::new(false),
            turns_of_others: Cell::new(0),
            batch: RefCell::new(WakeBatch::new()),
            nap: Nap::new(),
            spin: Spin::default(),
            blocking: Cell::new(0),
        })
    }

    pub(crate) fn leave_seat(self) {
        self.end_search();
        let handle = self.handle.clone();
        if let Some(slot) = handle.scheduler().slot(self.index) {
            slot.vacate(self.queue);
        }
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }

    pub(crate) fn index(&self) -> usize {
        self.index
    }

    fn scheduler(&self) -> &Scheduler {
        self.handle.scheduler()
    }

    fn slot(&self) -> &Slot {
        match self.scheduler().slot(self.index) {
            Some(slot) => slot,
            None => unreachable!("a worker's slot was filled before it started"),
        }
    }

    /// Runs tasks until `done` says so, on a thread that holds the seat for that long.
    pub(crate) fn run_until(&self, mut done: impl FnMut() -> bool) {
        while !done() {
            match self.next_now() {
                Some(task) => self.run(task),
                None if self.scheduler().is_stopping() => break,
                None => self.park(),
            }
        }
    }

    /// Runs what can run now.
    pub(crate) fn run_ready(&self) {
        while let Some(task) = self.next_now() {
            self.run(task);
        }
    }

    /// The next task, or `None` when the worker is to stop.
    fn next(&self) -> Option<Runnable> {
        loop {
            if self.scheduler().is_stopping() {
                return None;
            }
            if !self.slot().has_permit() && !self.wait_for_permit(SPARE_KEEP_ALIVE) {
                return None;
            }
            if let Some(task) = self.next_now() {
                return Some(task);
            }
            self.park();
        }
    }

    /// The next task, without waiting for one.
    #[inline]
    fn next_now(&self) -> Option<Runnable> {
        system::point(|| 0);
        let tick = self.tick.get().wrapping_add(1);
        self.tick.set(tick);
        if tick.is_multiple_of(DRIVER_INTERVAL) {
            self.look_at_driver();
        }
        if (self.injector_first.take() || tick.is_multiple_of(INJECT_INTERVAL))
            && !self.scheduler().injector.is_empty()
            && let Some(task) = self.injected_first()
        {
            return Some(task);
        }
        self.local().or_else(|| {
            self.slot().counters.drained.add(1);
            self.drained()
        })
    }

    /// What else there is, for a worker without tasks of its own: nothing, if others are enough for it.
    fn drained(&self) -> Option<Runnable> {
        let mine = if self.scheduler().idle.is_crowded() {
            None
        } else {
            self.injected()
        };
        mine.or_else(|| self.search())
    }

    /// One poll.
    #[inline]
    fn run(&self, task: Runnable) {
        system::point(|| task.header().id().get());
        self.end_search();
        let counters = &self.slot().counters;
        counters.begin(task.header().id().get());
        task.run();
        counters.end();
    }

    #[inline]
    fn local(&self) -> Option<Runnable> {
        let slot_polls = self.slot_polls.get();
        if slot_polls < SLOT_LIMIT {
            if let Some(task) = self.slot().queue.take_slot() {
                self.slot_polls.set(slot_polls + 1);
                let (last, times) = self.last_in_slot.get();
                let id = task.header().id().get();
                let times = if last == id {
                    times.saturating_add(1)
                } else {
                    0
                };
                self.last_in_slot.set((id, times));
                return Some(task);
            }
            self.slot_polls.set(0);
            return self.queue.pop();
        }
        self.slot_polls.set(0);
        self.queue.pop().or_else(|| self.slot().queue.take_slot())
    }

    /// Takes an injected task before those that wait here, and sees to it that there are not too many of them in a row.
    #[cold]
    fn injected_first(&self) -> Option<Runnable> {
        let polls = self.injected_polls.take();
        let before = self.queue.len();
        let task = self.injected()?;
        // It came alone: nobody hurries to submit more, but somebody may wait for this one.
        if self.queue.len() == before && polls < INJECTED_LIMIT {
            self.injected_polls.set(polls + 1);
            self.injector_first.set(true);
        }
        Some(task)
    }

    fn injected(&self) -> Option<Runnable> {
        let injector = &self.scheduler().injector;
        if injector.is_empty() {
            return None;
        }
        let task = self.queue.take_injected(injector)?;
        self.slot().counters.injected.add(1);
        Some(task)
    }

    /// Looks for tasks at the other workers, from a random one on.
    fn search(&self) -> Option<Runnable> {
        let scheduler = self.scheduler();
        if !scheduler.is_threaded() {
            return None;
        }
        let polls = self.slot().counters.polls.get();
        if !self.nap.may_search(polls, scheduler.idle.is_crowded()) {
            return None;
        }
        if !self.searching.get() {
            if !scheduler.idle.begin_search() {
                return None;
            }
            self.searching.set(true);
        }
        self.slot().counters.searches.add(1);
        if self.nap.is_looking() {
            return self.look_after_others();
        }
        let count = scheduler.slots().count();
        for _ in 0..SEARCH_ROUNDS {
            let first = fastrand::usize(..count.max(1));
            for other in (first..count).chain(0..first) {
                if other == self.index {
                    continue;
                }
                let Some(other) = scheduler.slot(other) else {
                    continue;
                };
                if let Some(task) = self.steal_from(other) {
                    return Some(task);
                }
            }
            if let Some(task) = self.injected() {
                return Some(task);
            }
        }
        self.steal_slot()
    }

    fn steal_from(&self, other: &Slot) -> Option<Runnable> {
        let task = self.queue.steal_from(&other.queue)?;
        let tasks = 1 + self.queue.len();
        let counters = &self.slot().counters;
        counters.steals.add(tasks);
        self.nap.stole(tasks, counters.polls.get());
        Some(task)
    }

    /// After a nap: takes tasks from those who cannot keep up.
    fn look_after_others(&self) -> Option<Runnable> {
        let others = self.scheduler().slots();
        for (index, other) in others.filter(|(index, _)| *index != self.index) {
            let due = self.nap.due(index, other);
            if due == Due::Not {
                continue;
            }
            let mut taken = self.steal_from(other);
            if due == Due::Stuck {
                taken = taken.or_else(|| self.take_stuck(other));
                if taken.is_some() {
                    self.nap.rescued();
                }
            }
            if taken.is_some() {
                return taken;
            }
        }
        self.injected()
    }

    /// Takes a task out of the slot of a worker that has been in one poll for long.
    fn steal_slot(&self) -> Option<Runnable> {
        let scheduler = self.scheduler();
        let count = scheduler.slots().count();
        // From a random one on: the first may change its task all the time, and another be in a long poll.
        let first = fastrand::usize(..count.max(1));
        let other = (first..count)
            .chain(0..first)
            .filter(|index| *index != self.index)
            .filter_map(|index| scheduler.slot(index))
            .find(|slot| !slot.queue.is_slot_empty())?;
        let seen = other.counters.poll_now();
        system::point(|| 0);
        for _ in 0..SLOT_WATCH {
            if other.queue.is_slot_empty() || other.counters.poll_now() != seen {
                scheduler.slot_stuck(false);
                return None;
            }
            std::hint::spin_loop();
        }
        self.take_stuck(other)
    }

    /// Takes the task in the slot of a worker that is in a long poll.
    fn take_stuck(&self, other: &Slot) -> Option<Runnable> {
        let task = other.queue.take_slot()?;
        self.scheduler().slot_stuck(true);
        self.slot().counters.steals.add(1);
        Some(task)
    }

    /// A searcher has found work: the last one sees to it that the next looks for more.
    #[inline]
    fn end_search(&self) {
        if self.searching.get() {
            self.searching.set(false);
            let scheduler = self.scheduler();
            if let Some(next) = scheduler.idle.end_search(|| scheduler.is_work()) {
                scheduler.unpark(next);
            }
        }
    }

    /// Queues a task that this worker's own thread has spawned or woken.
    #[inline]
    pub(crate) fn push(&self, task: Runnable, why: Why) {
        if self.dispatching.get() {
            self.queue.push(task);
            return;
        }
        let displaced = match why {
            Why::Yielded => {
                self.injector_first.set(true);
                Some(task)
            }
            Why::Woken if self.is_woken_by_all(&task) => Some(task),
            Why::Spawned | Why::Woken => {
                let displaced = self.slot().queue.replace_slot(task);
                if displaced.is_none() && self.scheduler().slots_stick() {
                    self.scheduler().notify();
                }
                displaced
            }
        };
        if let Some(task) = displaced {
            let alone = why == Why::Yielded && self.queue.is_empty();
            self.queue.push(task);
            // A task that yields with nothing else queued goes on here: nobody is woken to take it away.
            if !alone {
                self.scheduler().notify();
            }
        }
    }

    /// Whether the task is one that each of those in the deque wakes.
    fn is_woken_by_all(&self, task: &Runnable) -> bool {
        let (last, times) = self.last_in_slot.get();
        times >= SLOT_REPEATS && last == task.header().id().get() && !self.queue.is_empty()
    }

    /// A look into the driver, if nobody is there.
    #[cold]
    fn look_at_driver(&self) {
        if let Some(mut driver) = self.scheduler().driver.try_lock() {
            self.turn(&mut driver, Some(Duration::ZERO), || false);
            drop(driver);
            self.dispatch();
        }
    }

    /// One turn of the driver; false if it failed.
    fn turn(
        &self,
        driver: &mut Driver,
        wait: Option<Duration>,
        is_idle: impl Fn() -> bool,
    ) -> bool {
        let counters = &self.slot().counters;
        counters.driver_turns.add(1);
        match driver.turn_when(wait, is_idle, &mut self.batch.borrow_mut()) {
            Ok(turned) => {
                counters.io_events.add(turned.events);
                counters.timers_fired.add(turned.timers);
                true
            }
            Err(error) => {
                trace::driver_failed(&error);
                false
            }
        }
    }

    /// Calls the wakers that the driver has collected: no lock is held, and what they wake goes to the deque in one go.
    fn dispatch(&self) {
        let mut batch = std::mem::take(&mut *self.batch.borrow_mut());
        if batch.is_empty() {
            return;
        }
        self.dispatching.set(true);
        batch.wake_all();
        self.dispatching.set(false);
        *self.batch.borrow_mut() = batch;
        // One task is this worker's own next; more are worth waking somebody for.
        if self.queue.len() > 1 {
            self.scheduler().notify();
        }
    }

    /// Looks for work for a moment; true if some came.
    fn spin(&self) -> bool {
        let scheduler = self.scheduler();
        if !self.spin.pays() || !scheduler.is_threaded() || !self.nap.minds_work() {
            return false;
        }
        // As a searcher: whoever submits need not wake anybody.
        if !self.searching.get() {
            if !scheduler.idle.begin_search() {
                return false;
            }
            self.searching.set(true);
        }
        let until = system::now() + SPIN;
        let found = loop {
            if scheduler.is_work() || scheduler.is_stopping() {
                break true;
            }
            if system::now() >= until {
                break false;
            }
            system::spin();
        };
        self.spin.spun(found);
        found
    }

    /// Sleeps until there is work, or somebody says so.
    fn park(&self) {
        if self.spin() {
            return;
        }
        let slot = self.slot();
        if !slot.keep_permit() {
            // Taken since the last poll: a spare has this worker's place, among the sleepers too.
            return;
        }
        let scheduler = self.scheduler();
        let (idle, searching) = (&scheduler.idle, self.searching.get());
        let rest = self.rest();
        let slept = scheduler
            .monitor
            .watch_sleep(idle, self.index, searching, rest, || scheduler.is_work());
        let slept_at = scheduler.is_threaded().then(system::now);
        let limit = match slept {
            Sleep::Work => {
                self.nap.goes_on(Woken::Claimed);
                self.searching.set(true);
                slot.give_permit();
                return;
            }
            Sleep::Napping => Some(self.nap.begin(scheduler.slots())),
            Sleep::Asleep => None,
        };
        self.searching.set(false);
        slot.counters.parks.add(1);
        // Where others are enough they look after the driver too; who is in there has the next event.
        let elsewhere = scheduler.idle.is_enough_awake() && self.is_driver_attended();
        let driver = (!elsewhere).then(|| scheduler.driver.try_lock()).flatten();
        let woken = match driver {
            Some(mut driver) => {
                if slot.parker.begin_in_driver() {
                    let turned = self.turn(&mut driver, limit, || {
                        scheduler.is_quiet(|| self.handle.pool().is_busy())
                    });
                    slot.parker.end();
                    if !turned {
                        // Its descriptor was closed by somebody else, say: tasks that need no I/O go on, and nobody spins.
                        drop(driver);
                        slot.parker
                            .park_until(system::now().checked_add(DRIVER_FAILED));
                    }
                }
                // Counted awake before anybody else can enter the driver: what this turn has found is not woken yet, and time must not go on
                // meanwhile.
                scheduler.idle.wake(self.index)
            }
            None => {
                // Whoever is in the driver may not have known that this was the last one awake.
                scheduler.quieted();
                slot.parker
                    .park_until(limit.and_then(|limit| system::now().checked_add(limit)));
                scheduler.idle.wake(self.index)
            }
        };
        if let Some(at) = slept_at {
            self.spin
                .slept(system::elapsed(at), woken == Woken::Claimed);
        }
        self.nap.goes_on(woken);
        self.searching.set(woken != Woken::Unclaimed);
        slot.give_permit();
        scheduler.monitor.wake_if_asleep();
        self.dispatch();
    }

    /// Whether others have turned the driver since this worker last asked.
    fn is_driver_attended(&self) -> bool {
        let mine = self.slot().counters.driver_turns.get();
        let turns = self.scheduler().driver_turns() - mine;
        self.turns_of_others.replace(turns) != turns
    }

    /// How to sleep. On a paused clock nobody naps: it goes on when all sleep.
    fn rest(&self) -> Rest {
        let scheduler = self.scheduler();
        let nap = scheduler.is_threaded()
            && !scheduler.io.clock().is_paused()
            && self
                .nap
                .should_nap(scheduler.idle.awake() > 1, || scheduler.is_queued());
        Rest {
            minds_work: !nap || self.nap.minds_work(),
            nap,
        }
    }

    /// The thread is about to block in the middle of a poll: a spare takes its permit, so that as many workers as before run tasks. The
    /// error says why that cannot be; then blocking here could wait for ever.
    pub(crate) fn begin_blocking(&self) -> std::io::Result<()> {
        if !self.scheduler().is_threaded() {
            return self.scheduler().replace(&self.handle);
        }
        self.blocking.set(self.blocking.get() + 1);
        self.end_search();
        self.give_queue_away();
        let (scheduler, slot) = (self.scheduler(), self.slot());
        let taken = {
            let _spares = scheduler.spares.lock();
            slot.set_stray(false);
            slot.take_permit()
        };
        scheduler.quieted();
        if taken
            && !planted(Bug::BlockedUnreplaced)
            && let Err(error) = scheduler.replace(&self.handle)
        {
            let _spares = scheduler.spares.lock();
            slot.give_permit();
            return Err(error);
        }
        Ok(())
    }

    /// Ends what `begin_blocking` began, whether or not that gave an error. The thread goes on in its poll, without a permit: a paused
    /// clock stands still until that ends.
    pub(crate) fn end_blocking(&self) {
        let scheduler = self.scheduler();
        if !scheduler.is_threaded() {
            return;
        }
        self.blocking.set(self.blocking.get() - 1);
        if self.blocking.get() > 0 {
            return;
        }
        {
            let _spares = scheduler.spares.lock();
            self.slot().set_stray(!self.slot().has_permit());
        }
        scheduler.monitor.wake_if_asleep();
    }

    /// Moves everything queued here to the injector.
    fn give_queue_away(&self) {
        let tasks =
            std::iter::from_fn(|| self.slot().queue.take_slot().or_else(|| self.queue.pop()));
        for task in tasks {
            self.scheduler().injector.push(task);
        }
        self.scheduler().notify();
    }

    /// Among the spares, until there is a permit, or for as long as `keep_alive`. False: it is time to end, for want of work or because the runtime stops.
    #[cold]
    pub(super) fn wait_for_permit(&self, keep_alive: Duration) -> bool {
        self.end_search();
        self.give_queue_away();
        let scheduler = self.scheduler();
        let slot = self.slot();
        {
            let mut spares = scheduler.spares.lock();
            if slot.has_permit() {
                // It was given back, for want of a spare.
                return true;
            }
            slot.set_stray(false);
            spares.push(self.index);
        }
        scheduler.quieted();
        let deadline = system::now().checked_add(keep_alive);
        loop {
            // First: one unpark may stand for both, and who goes on to park would wait for another.
            if scheduler.is_stopping() {
                return false;
            }
            if slot.has_permit() {
                return true;
            }
            if !slot.parker.park_until(deadline) {
                let mut spares = scheduler.spares.lock();
                if let Some(place) = spares.iter().position(|spare| *spare == self.index) {
                    spares.swap_remove(place);
                    return false;
                }
                if planted(Bug::ChosenSpareEnds) {
                    return false;
                }
                // Else it was chosen just now, and has a permit.
            }
        }
    }
}
