//! Blocking and waking one thread.
//!
//! A thread parks on its own condvar, or inside the driver's wait. Whoever unparks it has to know which, and must not be missed in
//! between:
//!
//! ```text
//!   Park                                   Unpark
//!   1  EMPTY -> PARKED or IN_DRIVER        1  swap in NOTIFIED
//!      (NOTIFIED: take it, do not park)    2  it was PARKED: notify the condvar, under its lock
//!   2  wait                                   it was IN_DRIVER: notify the driver
//!   3  swap in EMPTY
//! ```
//!
//! Both first steps are read-modify-writes of one word: one of them is first, and the other sees it.

use crate::sync_switch::{AtomicU32, Bug, Condvar, Mutex, planted, wait_until};
use std::sync::atomic::Ordering::{AcqRel, Acquire};
use std::time::Instant;

const EMPTY: u32 = 0;
const PARKED: u32 = 1;
const IN_DRIVER: u32 = 2;
const NOTIFIED: u32 = 3;

/// One thread's place to block.
#[derive(Debug)]
pub(crate) struct Parker {
    state: AtomicU32,
    lock: Mutex<()>,
    condvar: Condvar,
}

impl Parker {
    pub(crate) fn new() -> Self {
        Self {
            state: AtomicU32::new(EMPTY),
            lock: Mutex::new(()),
            condvar: Condvar::new(),
        }
    }

    /// Blocks until unparked. An unpark that came before is used up at once.
    pub(crate) fn park(&self) {
        self.park_until(None);
    }

    /// As [`park`](Self::park), until `deadline` at the latest; false if that passed first.
    pub(crate) fn park_until(&self, deadline: Option<Instant>) -> bool {
        let mut guard = self.lock.lock();
        if !self.begin(PARKED) {
            return true;
        }
        let mut timed_out = false;
        // Acquire: pairs with the AcqRel in `unpark`.
        while self.state.load(Acquire) == PARKED && !timed_out {
            (guard, timed_out) = wait_until(&self.condvar, guard, deadline);
        }
        drop(guard);
        self.end()
    }

    /// Step 1 for a thread that waits in the driver; false: it was notified, and must not wait.
    pub(crate) fn begin_in_driver(&self) -> bool {
        self.begin(IN_DRIVER)
    }

    fn begin(&self, how: u32) -> bool {
        if planted(Bug::ParkOverNotification) {
            self.state.swap(how, AcqRel);
            return true;
        }
        // AcqRel: pairs with the swap in `unpark`.
        match self.state.compare_exchange(EMPTY, how, AcqRel, Acquire) {
            Ok(_) => true,
            Err(_) => {
                self.end();
                false
            }
        }
    }

    /// Step 3; true if it was notified.
    pub(crate) fn end(&self) -> bool {
        // A swap, not a store: it takes the notification with what the notifier did before.
        self.state.swap(EMPTY, AcqRel) == NOTIFIED
    }

    /// Makes the thread's park, under way or to come, return. `notify_driver` is called if the thread waits in the driver.
    pub(crate) fn unpark(&self, notify_driver: impl FnOnce()) {
        // AcqRel: pairs with `begin` and `end`.
        match self.state.swap(NOTIFIED, AcqRel) {
            PARKED => {
                let _guard = (!planted(Bug::NotifyOutsideTheLock)).then(|| self.lock.lock());
                self.condvar.notify_one();
            }
            IN_DRIVER if planted(Bug::DriverUnheard) => {}
            IN_DRIVER => notify_driver(),
            _ => {}
        }
    }
}
