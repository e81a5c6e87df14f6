//! Who sleeps, who searches: when work is submitted, does somebody have to be woken for it?
//!
//! This file knows no queue and no thread. "Is there work" comes in as a closure, a worker is a number, and what has to be unparked
//! is the answer; so the protocol can be model-checked by itself.
//!
//! ```text
//!   Submit                                     Sleep
//!   1  push the task                           1  leave: enter the list of sleepers, count down awake (and searching)
//!   2  fence(SeqCst)                           2  fence(SeqCst)
//!   3  look: anybody searching? all awake?     3  look again: is there work in any queue?
//!      if neither, wake one sleeper               if there is, come back and search
//! ```
//!
//! Either the submitter's look (3) sees that the sleeper has left, or the sleeper's second look (3) sees the task: the two fences forbid
//! that both miss. So a task in a queue always has somebody awake who will see it.
//!
//! While anybody searches, submitting wakes nobody: the searcher finds the task, or looks again when it gives up. In return a
//! searcher that found work, and was the last, looks whether there is more, and wakes the next (`end_search`): so as many
//! wake up as there is work for, one after the other, and not all at once.
//!
//! Rejected: waking one sleeper per submitted task (a burst wakes all workers for what one can do); asking the list of sleepers
//! under its lock on each submission (a lock on the hot path); counting without the second look (loses wake-ups: `models`).

use crate::sync_switch::{AtomicUsize, Bug, Mutex, fence, planted};
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, SeqCst};

const SEARCHING: usize = 1;
const AWAKE: usize = 1 << 16;
const COUNT: usize = AWAKE - 1;

/// The idle protocol's state.
#[derive(Debug)]
pub(crate) struct Idle {
    /// How many search (low half) and how many are awake, searchers included (high half).
    /// Invariant: searching <= awake <= workers.
    counts: AtomicUsize,
    /// Those asleep and not yet claimed. Invariant: awake + sleepers = workers whenever the lock is free.
    sleepers: Mutex<Vec<usize>>,
    workers: usize,
}

/// The answer to going to sleep.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Sleep {
    /// Park now; a claim unparks.
    Asleep,
    /// There is work: the worker is awake again, and counted as a searcher.
    Work,
}

impl Idle {
    /// All `workers` (at most 65,535) start awake, none searching.
    pub(crate) fn new(workers: usize) -> Self {
        Self {
            counts: AtomicUsize::new(workers.min(COUNT) * AWAKE),
            sleepers: Mutex::new(Vec::with_capacity(workers)),
            workers,
        }
    }

    /// Submit, steps 2 and 3. The answer, if any, is a sleeper to unpark: it is counted awake and searching from now on.
    #[inline]
    pub(crate) fn notify(&self) -> Option<usize> {
        // Pairs with the fence in `sleep`.
        if !planted(Bug::SubmitWithoutFence) {
            fence(SeqCst);
        }
        let counts = self.counts.load(Relaxed);
        if counts & COUNT > 0 || counts / AWAKE >= self.workers {
            return None;
        }
        self.claim(false)
    }

    /// Wakes a sleeper although somebody may be searching, for the monitor.
    #[cold]
    pub(crate) fn claim(&self, even_if_searching: bool) -> Option<usize> {
        let mut sleepers = self.sleepers.lock();
        if !even_if_searching && self.counts.load(Relaxed) & COUNT > 0 {
            return None;
        }
        let worker = sleepers.pop()?;
        // AcqRel: pairs with the counts' other changes; under the lock, which keeps list and counts in step.
        let searching = if planted(Bug::ClaimUncounted) {
            0
        } else {
            SEARCHING
        };
        self.counts.fetch_add(AWAKE + searching, AcqRel);
        Some(worker)
    }

    /// Asks to become a searcher. No more than half of the workers search: beyond that they only meet each other.
    pub(crate) fn begin_search(&self) -> bool {
        if 2 * (self.counts.load(Relaxed) & COUNT) >= self.workers {
            return false;
        }
        self.counts.fetch_add(SEARCHING, AcqRel);
        true
    }

    /// A searcher found work. The answer, if any, is a sleeper to unpark: the last searcher has to see to the next.
    pub(crate) fn end_search(&self, is_work: impl Fn() -> bool) -> Option<usize> {
        let before = self.counts.fetch_sub(SEARCHING, AcqRel);
        if before & COUNT > 1 || planted(Bug::SearchEndsUnheard) {
            return None;
        }
        // A submitter may have left its task to this searcher: pairs with the fence in `notify`.
        fence(SeqCst);
        if is_work() { self.notify() } else { None }
    }

    /// Sleep, steps 1 to 3.
    pub(crate) fn sleep(
        &self,
        worker: usize,
        searching: bool,
        is_work: impl Fn() -> bool,
    ) -> Sleep {
        {
            let mut sleepers = self.sleepers.lock();
            sleepers.push(worker);
            self.counts
                .fetch_sub(AWAKE + usize::from(searching) * SEARCHING, AcqRel);
        }
        // Pairs with the fence in `notify`.
        fence(SeqCst);
        if planted(Bug::SleepWithoutLookingAgain) || !is_work() {
            return Sleep::Asleep;
        }
        let mut sleepers = self.sleepers.lock();
        if let Some(place) = sleepers.iter().position(|sleeper| *sleeper == worker) {
            sleepers.swap_remove(place);
            self.counts.fetch_add(AWAKE + SEARCHING, AcqRel);
        }
        // Else it was claimed meanwhile, and counted by the claim; the unpark that comes finds it awake, and the next park returns at
        // once: a lost turn, no lost wake-up.
        Sleep::Work
    }

    /// A worker that slept goes on, for whatever reason. True if it was claimed, and so is counted as a searcher.
    pub(crate) fn wake(&self, worker: usize) -> bool {
        let mut sleepers = self.sleepers.lock();
        match sleepers.iter().position(|sleeper| *sleeper == worker) {
            Some(place) => {
                sleepers.swap_remove(place);
                self.counts.fetch_add(AWAKE, AcqRel);
                false
            }
            None => true,
        }
    }

    /// How many are awake.
    pub(crate) fn awake(&self) -> usize {
        // Acquire: pairs with the AcqRel changes, so that who sees all asleep sees what they did before.
        self.counts.load(Acquire) / AWAKE
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_burst_wakes_one_after_the_other() {
        let idle = Idle::new(3);
        for worker in 0..3 {
            assert_eq!(idle.sleep(worker, false, || false), Sleep::Asleep);
        }
        assert_eq!(idle.awake(), 0);
        let first = idle.notify().expect("all sleep");
        assert_eq!(idle.notify(), None, "somebody searches already");
        let second = idle.end_search(|| true).expect("there is more to do");
        assert_ne!(first, second);
        assert_eq!(idle.end_search(|| false), None, "nothing more to do");
        assert_eq!(idle.awake(), 2);
    }

    #[test]
    fn all_awake_means_nobody_to_wake() {
        let idle = Idle::new(2);
        assert_eq!(idle.notify(), None);
        assert_eq!(idle.claim(true), None);
    }

    #[test]
    fn a_sleeper_that_sees_work_comes_back_as_a_searcher() {
        let idle = Idle::new(2);
        assert_eq!(idle.sleep(1, false, || true), Sleep::Work);
        assert_eq!(idle.awake(), 2);
        assert_eq!(idle.end_search(|| false), None);
        assert!(idle.begin_search());
        assert!(!idle.begin_search(), "half of two");
        assert_eq!(idle.sleep(0, true, || false), Sleep::Asleep);
        assert!(!idle.wake(0), "nobody claimed it");
        assert_eq!(idle.awake(), 2);
    }
}
