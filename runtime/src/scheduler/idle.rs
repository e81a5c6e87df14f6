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
//! A worker may nap instead of sleeping for good: it comes back by itself, soon, and looks. While one does, and others are awake, submitting wakes nobody
//! either: it is a searcher whose look comes later, and is counted as one when its nap is over. It may leave work where it is (`nap` says why), so its second look (3) is left out; so is that of a worker
//! that would leave it there too, and finds that somebody naps.
//!
//! Rejected: waking one sleeper per submitted task (a burst wakes all workers for what one can do); asking the list of sleepers
//! under its lock on each submission (a lock on the hot path); counting without the second look (loses wake-ups: `models`).

use crate::sync_switch::{AtomicUsize, Bug, Mutex, fence, planted};
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, SeqCst};

const SEARCHING: usize = 1;
const NAPPING: usize = 1 << 15;
const AWAKE: usize = 1 << 16;
const COUNT: usize = NAPPING - 1;

/// The idle protocol's state.
#[derive(Debug)]
pub(crate) struct Idle {
    /// How many search (low half), whether somebody naps, and how many are awake, searchers included (high half).
    /// Invariant: searching <= awake <= workers; who naps is not awake.
    counts: AtomicUsize,
    /// Those asleep and not yet claimed. Invariant: awake + sleepers = workers whenever the lock is free.
    sleepers: Mutex<Sleepers>,
    workers: usize,
    /// While so many are awake nobody is woken. At least one.
    wanted: AtomicUsize,
}

#[derive(Debug)]
struct Sleepers {
    list: Vec<usize>,
    /// The one of them that naps.
    napper: Option<usize>,
}

/// How a worker goes to sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rest {
    /// It comes back if there is work.
    pub(crate) minds_work: bool,
    /// It naps, if nobody does.
    pub(crate) nap: bool,
}

impl Rest {
    /// Until it is woken.
    #[cfg(test)]
    pub(crate) const SLEEP: Self = Self {
        minds_work: true,
        nap: false,
    };
}

/// The answer to going to sleep.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Sleep {
    /// Park now; a claim unparks.
    Asleep,
    /// Park for a while; a claim unparks.
    Napping,
    /// There is work: the worker is awake again, and counted as a searcher.
    Work,
}

/// Why a worker goes on after a sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Woken {
    /// Nobody has claimed it: an event of the driver, say.
    Unclaimed,
    /// The same, from a nap. It is counted as a searcher.
    FromNap,
    /// Somebody wants it to search, and has counted it as a searcher.
    Claimed,
}

impl Idle {
    /// All `workers` (at most 32,767) start awake, none searching.
    pub(crate) fn new(workers: usize) -> Self {
        Self {
            counts: AtomicUsize::new(workers.min(COUNT) * AWAKE),
            sleepers: Mutex::new(Sleepers {
                list: Vec::with_capacity(workers),
                napper: None,
            }),
            workers,
            wanted: AtomicUsize::new(workers),
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
        let awake = counts / AWAKE;
        let wanted = self.wanted.load(Relaxed) - usize::from(planted(Bug::NobodyWanted));
        if counts & COUNT > 0 || awake >= wanted || counts & NAPPING > 0 && awake > 0 {
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
        let worker = sleepers.list.pop()?;
        let napping = sleepers.ends_nap(worker);
        // AcqRel: pairs with the counts' other changes; under the lock, which keeps list and counts in step.
        let searching = if planted(Bug::ClaimUncounted) {
            0
        } else {
            SEARCHING
        };
        // Wraps: the difference counts.
        let change = (AWAKE + searching).wrapping_sub(napping);
        self.counts.fetch_add(change, AcqRel);
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
        rest: Rest,
        is_work: impl Fn() -> bool,
    ) -> Sleep {
        let (naps, looks_again) = {
            let mut sleepers = self.sleepers.lock();
            let naps = rest.nap && sleepers.napper.is_none();
            // Somebody has to look at what this worker leaves.
            let looks_again = rest.minds_work || sleepers.napper.is_none() && !naps;
            sleepers.list.push(worker);
            if naps {
                sleepers.napper = Some(worker);
            }
            let before = AWAKE + usize::from(searching) * SEARCHING;
            // Wraps: the difference counts.
            let change = before.wrapping_sub(usize::from(naps) * NAPPING);
            self.counts.fetch_sub(change, AcqRel);
            (naps, looks_again)
        };
        let asleep = if naps { Sleep::Napping } else { Sleep::Asleep };
        if !looks_again {
            return asleep;
        }
        // Pairs with the fence in `notify`.
        fence(SeqCst);
        if planted(Bug::SleepWithoutLookingAgain) || !is_work() {
            return asleep;
        }
        let mut sleepers = self.sleepers.lock();
        if let Some(napping) = sleepers.remove(worker) {
            let change = (AWAKE + SEARCHING).wrapping_sub(napping);
            self.counts.fetch_add(change, AcqRel);
        }
        // Else it was claimed meanwhile, and counted by the claim; the unpark that comes finds it awake, and the next park returns at
        // once: a lost turn, no lost wake-up.
        Sleep::Work
    }

    /// A worker that slept goes on, for whatever reason.
    pub(crate) fn wake(&self, worker: usize) -> Woken {
        let mut sleepers = self.sleepers.lock();
        match sleepers.remove(worker) {
            Some(0) => {
                self.counts.fetch_add(AWAKE, AcqRel);
                Woken::Unclaimed
            }
            Some(napping) => {
                // Counted as a searcher, since submitters have relied on it: if it finds work, it sees to the next.
                let searching = if planted(Bug::NapEndsUnheard) {
                    0
                } else {
                    SEARCHING
                };
                let change = (AWAKE + searching).wrapping_sub(napping);
                self.counts.fetch_add(change, AcqRel);
                Woken::FromNap
            }
            None => Woken::Claimed,
        }
    }

    /// Says how many workers are wanted. The answer, if any, is a sleeper to unpark: there is work for more.
    pub(crate) fn want(&self, workers: usize, is_work: impl Fn() -> bool) -> Option<usize> {
        // Relaxed: whoever still goes by the old number errs by some moments.
        self.wanted.store(workers.clamp(1, self.workers), Relaxed);
        if is_work() { self.notify() } else { None }
    }

    /// How many workers are wanted.
    pub(crate) fn wanted(&self) -> usize {
        self.wanted.load(Relaxed)
    }

    /// Whether more are awake than are wanted.
    pub(crate) fn is_crowded(&self) -> bool {
        self.awake() > self.wanted()
    }

    /// Whether a worker that sleeps is wanted no more than those that are awake.
    pub(crate) fn is_enough_awake(&self) -> bool {
        let wanted = self.wanted();
        wanted < self.workers && self.awake() >= wanted
    }

    /// How many are awake.
    pub(crate) fn awake(&self) -> usize {
        // Acquire: pairs with the AcqRel changes, so that who sees all asleep sees what they did before.
        self.counts.load(Acquire) / AWAKE
    }
}

impl Sleepers {
    /// Takes out one who was not claimed. Gives what counts for its nap.
    fn remove(&mut self, worker: usize) -> Option<usize> {
        let place = self.list.iter().position(|sleeper| *sleeper == worker)?;
        self.list.swap_remove(place);
        Some(self.ends_nap(worker))
    }

    fn ends_nap(&mut self, worker: usize) -> usize {
        match self.napper.take_if(|napper| *napper == worker) {
            Some(_) if !planted(Bug::NapNeverEnds) => NAPPING,
            _ => 0,
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_burst_wakes_one_after_the_other() {
        let idle = Idle::new(3);
        for worker in 0..3 {
            assert_eq!(
                idle.sleep(worker, false, Rest::SLEEP, || false),
                Sleep::Asleep
            );
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
        assert_eq!(idle.sleep(1, false, Rest::SLEEP, || true), Sleep::Work);
        assert_eq!(idle.awake(), 2);
        assert_eq!(idle.end_search(|| false), None);
        assert!(idle.begin_search());
        assert!(!idle.begin_search(), "half of two");
        assert_eq!(idle.sleep(0, true, Rest::SLEEP, || false), Sleep::Asleep);
        assert_eq!(idle.wake(0), Woken::Unclaimed);
        assert_eq!(idle.awake(), 2);
    }
}
