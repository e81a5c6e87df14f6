//! Timer shards: one wheel per worker, and how an earlier deadline reaches the waiting driver.
//!
//! A timer is registered with the shard of the thread that first polls it, under a lock that
//! hardly anybody else takes. What the shards share is one question, *until when will the driver
//! wait?*, and one answer per shard, *my earliest deadline*:
//!
//! ```text
//! Register (any thread)                     Wait (the thread that turns the driver)
//! R1 lower shard.next to the new deadline   W1 raise waiting_until to "for ever"
//! R2 fence(SeqCst)                          W2 fence(SeqCst)
//! R3 deadline < waiting_until? notify       W3 until = the earliest shard.next
//!                                           W4 lower waiting_until to `until`, wait
//!                                           W5 waiting_until = "nobody waits"
//! ```
//!
//! The two fences have an order. If R2 comes first, W3 sees the deadline and the driver waits no
//! longer than that. If W2 comes first, R3 sees W1 or something later: "for ever" makes it
//! notify; `until` (W4) makes it notify exactly if the driver would wake too late; "nobody
//! waits" (W5) means that the driver is awake and goes through W1 to W3 before it waits again.
//! Rejected: notifying for every new earliest deadline (a system call for each timer made while
//! no other lives), and a lock shared by registration and waiting.
//!
//! Within a poll bracket R2 and R3 wait until its end (see [`leaf`](crate::leaf)): a timer that is
//! made and dropped within one poll, as every timeout round a ready operation is, costs no
//! system call. Any turn in between sees R1 anyway. What is announced then is the shard's earliest
//! deadline, if it is earlier than the one it had before the poll lowered it: that one has been
//! announced, or is about to be by the thread that registered it.
//!
//! Wakers are cloned, woken and dropped outside the lock.

pub(crate) mod interval;
pub(crate) mod sleep;
pub(crate) mod wheel;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::task::Waker;

use crossbeam_utils::CachePadded;
use parking_lot::Mutex;

use crate::clock::{Clock, NEVER};
use crate::leaf;
use crate::sys::Selector;
use wheel::{Key, Wheel};

/// In `waiting_until`: nobody waits.
const NOBODY: u64 = 0;

/// Until when the driver waits, and the means to wake it: all that a shard knows of its driver.
pub(crate) struct Alarm {
    /// The tick by which the waiting thread wakes up, or `NOBODY`. Changed by the driver alone.
    waiting_until: CachePadded<AtomicU64>,
    pub(crate) selector: Selector,
}

impl Alarm {
    pub(crate) fn new(selector: Selector) -> Alarm {
        Alarm {
            waiting_until: CachePadded::new(AtomicU64::new(NOBODY)),
            selector,
        }
    }

    /// R2 and R3: tells the driver of a deadline if it would wake up too late for it.
    #[inline]
    pub(crate) fn announce(&self, deadline: u64) {
        // SeqCst: pairs with the fence in `prepare_to_wait`.
        fence(Ordering::SeqCst);
        // Relaxed: ordered by the fence; see the protocol above.
        if deadline < self.waiting_until.load(Ordering::Relaxed) {
            self.selector.notify();
        }
    }

    /// W1 and W2. The caller then reads every shard's `next`.
    pub(crate) fn prepare_to_wait(&self) {
        // Relaxed: ordered by the fence.
        self.waiting_until.store(NEVER, Ordering::Relaxed);
        // SeqCst: pairs with the fence in `announce`.
        fence(Ordering::SeqCst);
    }

    /// W4: the driver wakes by `until` at the latest.
    pub(crate) fn wait_until(&self, until: u64) {
        // Relaxed: a reader that still sees "for ever" notifies needlessly, nothing worse.
        self.waiting_until.store(until.max(1), Ordering::Relaxed);
    }

    /// W5.
    pub(crate) fn done_waiting(&self) {
        // Relaxed: a reader that sees an older value notifies needlessly; one that sees this
        // value is followed by W1 to W3 before the driver waits again.
        self.waiting_until.store(NOBODY, Ordering::Relaxed);
    }

    /// Whether a thread waits, or is about to.
    pub(crate) fn is_waiting(&self) -> bool {
        // Relaxed: a snapshot that is old by the time it is returned, whatever the ordering.
        self.waiting_until.load(Ordering::Relaxed) != NOBODY
    }
}

/// One wheel, mostly used by one thread.
pub(crate) struct Shard {
    /// A lower bound of the wheel's deadlines, [`NEVER`] if there is none. Written under the
    /// lock of `timers`; on a line of its own, because the driver reads it at every turn.
    next: CachePadded<AtomicU64>,
    timers: CachePadded<Mutex<Timers>>,
    pub(crate) clock: Clock,
    alarm: Arc<Alarm>,
}

struct Timers {
    wheel: Wheel<Waker>,
    /// The driver is gone: nothing is registered any more.
    closed: bool,
}

/// A timer was not registered.
pub(crate) enum Unregistered {
    /// The driver is gone: try another.
    Closed(Waker),
    /// The wheel is full: try again later.
    Full(Waker),
}

/// What became of a registered timer.
pub(crate) enum Status {
    /// It has not fired; its waker is up to date.
    Waiting,
    /// It has fired.
    Fired,
    /// It was thrown out because its driver is gone.
    Closed,
}

impl Shard {
    pub(crate) fn new(clock: Clock, alarm: Arc<Alarm>) -> Shard {
        Shard {
            next: CachePadded::new(AtomicU64::new(NEVER)),
            timers: CachePadded::new(Mutex::new(Timers {
                wheel: Wheel::new(),
                closed: false,
            })),
            clock,
            alarm,
        }
    }

    /// Registers a timer. `current`: this is the calling thread's current shard, so that telling
    /// the driver may be left to the end of the poll.
    #[inline]
    pub(crate) fn register(
        &self,
        deadline: u64,
        waker: Waker,
        current: bool,
    ) -> Result<Key, Unregistered> {
        let (key, known) = {
            let mut timers = self.timers.lock();
            if timers.closed {
                return Err(Unregistered::Closed(waker));
            }
            let key = timers
                .wheel
                .insert(deadline, waker)
                .map_err(Unregistered::Full)?;
            // Relaxed: only changed under the lock.
            let known = self.next.load(Ordering::Relaxed);
            if deadline >= known {
                return Ok(key);
            }
            // R1. Relaxed: ordered by the fence in `announce`.
            self.next.store(deadline, Ordering::Relaxed);
            (key, known)
        };
        if !(current && leaf::defer_announcement(known)) {
            self.alarm.announce(deadline);
        }
        Ok(key)
    }

    /// Takes a timer out. The waker is the caller's to drop.
    #[inline]
    pub(crate) fn deregister(&self, key: Key) -> Option<Waker> {
        let mut timers = self.timers.lock();
        let (deadline, waker) = timers.wheel.remove(key)?;
        self.raise_next(&timers, deadline);
        Some(waker)
    }

    /// Moves a timer that has not fired to another deadline, keeping its waker.
    pub(crate) fn reset(&self, key: Key, deadline: u64) -> Option<Key> {
        let (moved, unplaced) = {
            let mut timers = self.timers.lock();
            let (old, waker) = timers.wheel.remove(key)?;
            self.raise_next(&timers, old);
            match timers.wheel.insert(deadline, waker) {
                Ok(key) => {
                    // Relaxed, and R1: as in `register`.
                    if deadline < self.next.load(Ordering::Relaxed) {
                        self.next.store(deadline, Ordering::Relaxed);
                    }
                    (Some(key), None)
                }
                Err(waker) => (None, Some(waker)),
            }
        };
        if let Some(waker) = unplaced {
            // No room, which takes 2^32 timers: its task polls and tries again.
            waker.wake();
        }
        if moved.is_some() {
            self.alarm.announce(deadline);
        }
        moved
    }

    /// Asks after a timer on behalf of a task that polls it.
    #[inline]
    pub(crate) fn check(&self, key: Key, waker: &Waker) -> Status {
        {
            let Timers { wheel, closed } = &mut *self.timers.lock();
            match wheel.get_mut(key) {
                Some(held) if held.will_wake(waker) => return Status::Waiting,
                Some(_) => {}
                None if *closed => return Status::Closed,
                None => return Status::Fired,
            }
        }
        // The waker is another one. It is foreign code: cloned and dropped without the lock.
        let mut fresh = waker.clone();
        let status = {
            let Timers { wheel, closed } = &mut *self.timers.lock();
            match wheel.get_mut(key) {
                Some(held) => {
                    std::mem::swap(held, &mut fresh);
                    Status::Waiting
                }
                None if *closed => Status::Closed,
                None => Status::Fired,
            }
        };
        drop(fresh);
        status
    }

    /// The earliest deadline, or a bound below it.
    #[inline]
    pub(crate) fn next(&self) -> u64 {
        // Relaxed: where it matters, the caller is at W3, behind a fence.
        self.next.load(Ordering::Relaxed)
    }

    /// Announces the earliest deadline, unless it is one that was `known` before: then whatever
    /// came since is gone again.
    #[inline]
    pub(crate) fn announce(&self, known: u64) {
        let next = self.next();
        if next < known {
            self.alarm.announce(next);
        }
    }

    /// Hands the wakers of timers due at `now` to `fire`, after at most `limit` steps. True means
    /// that there is more to do. `fire` must not run foreign code.
    pub(crate) fn expire(&self, now: u64, limit: usize, fire: &mut impl FnMut(Waker)) -> bool {
        let mut timers = self.timers.lock();
        // A timer of the last tick never comes.
        let more = timers.wheel.expire(now.min(NEVER - 1), limit, fire);
        let next = timers.wheel.next_deadline().unwrap_or(NEVER);
        // Relaxed: the driver itself reads it next; others read it under the lock.
        self.next.store(next, Ordering::Relaxed);
        more
    }

    /// Refuses timers from now on and hands out the wakers of all there are, which then register
    /// elsewhere.
    pub(crate) fn close(&self, fire: &mut impl FnMut(Waker)) {
        let mut timers = self.timers.lock();
        timers.closed = true;
        while let Some(waker) = timers.wheel.pop_any() {
            fire(waker);
        }
        self.next.store(NEVER, Ordering::Relaxed);
    }

    /// Finds the earliest deadline anew if the one that was removed may have been it.
    #[inline]
    fn raise_next(&self, timers: &Timers, removed: u64) {
        // Relaxed: only changed under the lock, which is held. A driver that reads the old value
        // wakes up once for nothing.
        if removed <= self.next.load(Ordering::Relaxed) {
            let next = timers.wheel.next_deadline().unwrap_or(NEVER);
            self.next.store(next, Ordering::Relaxed);
        }
    }
}
