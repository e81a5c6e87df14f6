//! A worker's slot: its identity, and what other threads see of it.

use super::park::Parker;
use super::queue::{LocalQueue, SharedQueue, queue};
use crate::sync_switch::{AtomicBool, AtomicU32, Bug, planted};
use crate::task::Runnable;
use crossbeam_utils::CachePadded;
use parking_lot::Mutex;
use std::sync::atomic::{
    AtomicU64, Ordering::AcqRel, Ordering::Acquire, Ordering::Relaxed, Ordering::Release,
};

const NONE: u32 = 0;
const HELD: u32 = 1;
/// Held by a thread that sleeps: nobody may take it, since `idle` counts it among the sleepers and would not count who has it next.
const KEPT: u32 = 2;

/// What others see of a worker.
pub(crate) struct Slot {
    pub(super) queue: CachePadded<SharedQueue>,
    pub(super) parker: CachePadded<Parker>,
    /// Whether the slot's thread may run tasks: `NONE`, `HELD` or `KEPT`. Taken from a thread and given to it under the lock of
    /// `Scheduler::spares`; only its own thread makes it `KEPT`.
    permit: CachePadded<AtomicU32>,
    /// Whether the slot's thread runs on in a poll without a permit: it was found blocked, or has blocked and goes on. Set and cleared
    /// under the same lock.
    stray: AtomicBool,
    pub(crate) counters: CachePadded<Counters>,
    seat: Mutex<Seat>,
}

/// Who has the owner's end of the queue.
enum Seat {
    /// Nobody.
    Vacant(LocalQueue),
    /// A thread that is being started will.
    Reserved(LocalQueue),
    /// The slot's thread.
    Occupied,
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What a worker counts. Only its own thread writes: a load and a store, no read-modify-write.
        #[derive(Default)]
        pub(crate) struct Counters {
            $($(#[$doc])* pub(crate) $name: Counter,)*
            /// The id of the task that runs now, 0 if none.
            pub(super) running: AtomicU64,
            /// The kernel's id of the thread, 0 if none or unknown.
            pub(super) thread: AtomicU64,
        }
    };
}

counters! {
    /// Polls begun.
    polls,
    /// Tasks taken from another worker.
    steals,
    /// Times this worker ran out of tasks of its own.
    drained,
    /// Times this worker looked for tasks at others.
    searches,
    /// Batches taken from the injector.
    injected,
    /// Times this worker went to sleep.
    parks,
    /// Turns of the driver.
    driver_turns,
    /// Readiness events that those turns saw.
    io_events,
    /// Timers that those turns fired.
    timers_fired,
    /// Polls that the monitor reported as slow. Written by the monitor alone.
    slow_polls,
}

/// A counter with one writer.
#[derive(Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    #[inline]
    pub(crate) fn add(&self, n: usize) {
        self.0.store(self.get().wrapping_add(n as u64), Relaxed);
    }

    #[inline]
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl Counters {
    /// A poll begins.
    #[inline]
    pub(super) fn begin(&self, task: u64) {
        self.polls.add(1);
        // Release: pairs with the Acquire in `poll_now`, which sees the count that belongs to the task.
        self.running.store(task, Release);
    }

    /// The poll has ended.
    #[inline]
    pub(super) fn end(&self) {
        self.running.store(0, Release);
    }

    /// The poll under way: the task's id, and which of this worker's polls it is.
    pub(crate) fn poll_now(&self) -> Option<(u64, u64)> {
        let task = self.running.load(Acquire);
        (task != 0).then(|| (task, self.polls.get()))
    }
}

impl Slot {
    pub(super) fn new() -> Self {
        let (mine, shared) = queue();
        Self {
            queue: CachePadded::new(shared),
            parker: CachePadded::new(Parker::new()),
            permit: CachePadded::new(AtomicU32::new(NONE)),
            stray: AtomicBool::new(false),
            counters: CachePadded::default(),
            seat: Mutex::new(Seat::Vacant(mine)),
        }
    }

    /// How many tasks wait here.
    pub(crate) fn queued(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn is_vacant(&self) -> bool {
        matches!(*self.seat.lock(), Seat::Vacant(_) | Seat::Reserved(_))
    }

    /// Claims the slot for a thread about to start; false if it is not vacant.
    pub(super) fn reserve(&self) -> bool {
        let mut seat = self.seat.lock();
        match std::mem::replace(&mut *seat, Seat::Occupied) {
            Seat::Vacant(queue) => {
                *seat = Seat::Reserved(queue);
                true
            }
            other => {
                *seat = other;
                false
            }
        }
    }

    /// The reserved slot's thread did not start after all.
    pub(super) fn unreserve(&self) {
        let mut seat = self.seat.lock();
        match std::mem::replace(&mut *seat, Seat::Occupied) {
            Seat::Reserved(queue) => *seat = Seat::Vacant(queue),
            other => *seat = other,
        }
    }

    /// Moves into the slot, unless another thread has it.
    pub(super) fn occupy(&self) -> Option<LocalQueue> {
        let mut seat = self.seat.lock();
        match std::mem::replace(&mut *seat, Seat::Occupied) {
            Seat::Vacant(queue) | Seat::Reserved(queue) => Some(queue),
            Seat::Occupied => None,
        }
    }

    /// Leaves the slot; the queue stays here, stealable, for the next thread.
    pub(super) fn vacate(&self, queue: LocalQueue) {
        self.counters.thread.store(0, Relaxed);
        *self.seat.lock() = Seat::Vacant(queue);
    }

    #[inline]
    pub(super) fn has_permit(&self) -> bool {
        // Acquire: pairs with the AcqRel of whoever gave or took it.
        self.permit.load(Acquire) != NONE
    }

    /// Takes the permit away; true if there was one to take, which is the caller's now.
    pub(super) fn take_permit(&self) -> bool {
        if planted(Bug::PermitOfSleeperTaken) {
            return self.permit.swap(NONE, AcqRel) != NONE;
        }
        self.permit
            .compare_exchange(HELD, NONE, AcqRel, Acquire)
            .is_ok()
    }

    /// The slot's thread goes to sleep, with its permit; false if it has none any more.
    pub(super) fn keep_permit(&self) -> bool {
        self.permit
            .compare_exchange(HELD, KEPT, AcqRel, Acquire)
            .is_ok()
    }

    pub(super) fn set_stray(&self, stray: bool) {
        // AcqRel: pairs with itself, and with the Acquire in `is_stray`.
        self.stray.swap(stray, AcqRel);
    }

    pub(super) fn is_stray(&self) -> bool {
        self.stray.load(Acquire)
    }

    /// Gives the slot a permit; also what ends [`keep_permit`](Self::keep_permit).
    pub(super) fn give_permit(&self) {
        self.permit.swap(HELD, AcqRel);
    }

    /// One of the tasks that a thread that has ended left behind.
    pub(super) fn take_left(&self) -> Option<Runnable> {
        self.queue.take_slot().or_else(|| match &*self.seat.lock() {
            Seat::Vacant(queue) | Seat::Reserved(queue) => queue.pop(),
            Seat::Occupied => None,
        })
    }
}
