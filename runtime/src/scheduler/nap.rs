//! Naps: how a worker that has nothing to do sleeps while others run.
//!
//! Taking a task from another worker costs both of them a microsecond or two, and being woken for it costs the other one more. Where tasks are short that
//! never pays: the queue is empty sooner than the thief is back. Where one is long, or many wait, it must happen soon. Nobody knows before, so the thief finds out:
//!
//! * A theft pays if it keeps the thief busy for [`PAYS`], with tasks that take [`WORTH`] each or bring more tasks with them. (Time alone does not tell: tiny tasks
//!   take long just because two workers handle what belongs to one, its memory above all.) After one that did not pay the thief naps instead of searching again.
//! * A worker that naps looks by itself when its time is up, and so nobody has to wake it: while there is one, and others run, submitting a task notifies
//!   nobody (`idle`). At each look it takes from those whose tasks have waited too long: behind one poll since the last look, or [`LAG`] in all.
//! * Naps grow while looks find nothing and shrink when they do; when nothing waits any more, the napper falls asleep for good.
//!
//! At most one worker of a runtime naps; the bound it keeps for all is two of the longest naps.

use super::Slot;
use super::idle::Woken;
use crate::system;
use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

/// The first nap, and one after a look that was worth it.
const SHORTEST: Duration = Duration::from_micros(50);
/// A look costs some 3 us: at this length 1.5 % of a CPU, while another worker runs.
const LONGEST: Duration = Duration::from_micros(200);
/// A theft pays if it keeps the thief busy for so long,
const PAYS: Duration = Duration::from_micros(20);
/// with tasks each of which takes so long,
const WORTH: Duration = Duration::from_micros(2);
/// or with so many polls for each of them: it brings others with it, or goes on.
const POLLS: u64 = 4;
/// A queue that was not empty for so long has more tasks than its owner can do.
const LAG: Duration = Duration::from_micros(200);
/// After so many naps after which no task waited anywhere, the napper sleeps.
const QUIET_NAPS: u32 = 3;

/// What one worker knows of its naps.
pub(super) struct Nap {
    length: Cell<Duration>,
    /// Naps in a row after which no task waited.
    quiet: Cell<u32>,
    /// The last theft, if it is not judged yet.
    theft: Cell<Option<Theft>>,
    /// The last theft did not pay.
    is_unpaid: Cell<bool>,
    /// It woke by itself, to look after the others.
    is_looking: Cell<bool>,
    /// By the index of a worker.
    seen: RefCell<Vec<Seen>>,
}

#[derive(Clone, Copy)]
struct Theft {
    at: Instant,
    tasks: u64,
    /// How many polls the thief had begun.
    polls: u64,
}

/// What was seen of a worker before a nap.
#[derive(Clone, Copy)]
struct Seen {
    poll: Option<(u64, u64)>,
    /// How often it had run out of tasks.
    drained: u64,
    /// Since when it has had tasks, at least.
    since: Option<Instant>,
}

impl Nap {
    pub(super) fn new() -> Self {
        Self {
            length: Cell::new(SHORTEST),
            quiet: Cell::new(0),
            theft: Cell::new(None),
            is_unpaid: Cell::new(false),
            is_looking: Cell::new(false),
            seen: RefCell::new(Vec::new()),
        }
    }

    /// So many tasks were taken from another worker. `polls`: how many this one has begun.
    pub(super) fn stole(&self, tasks: usize, polls: u64) {
        self.theft.set(Some(Theft {
            at: system::now(),
            tasks: tasks as u64,
            polls,
        }));
    }

    /// Tasks were taken from behind a long poll: worth it, however short they are.
    pub(super) fn rescued(&self) {
        self.length.set(SHORTEST);
    }

    /// The worker has nothing to do, after so many polls. Whether it may search: the last theft paid, or is long ago, and it is wanted. If `crowded` it
    /// only looks after others.
    pub(super) fn may_search(&self, polls: u64, crowded: bool) -> bool {
        if let Some(theft) = self.theft.take() {
            let paid = theft.paid(polls);
            self.is_unpaid.set(!paid);
            if paid {
                self.rescued();
            }
        }
        if crowded && !self.is_looking.get() {
            self.is_unpaid.set(true);
        }
        !self.is_unpaid.get()
    }

    /// Whether it only looks after those whose tasks wait too long.
    pub(super) fn is_looking(&self) -> bool {
        self.is_looking.get()
    }

    /// It goes to sleep: whether it minds work that is there.
    pub(super) fn minds_work(&self) -> bool {
        !self.is_unpaid.get() && !self.is_looking.get()
    }

    /// It goes to sleep: whether it should nap. `others_run`: another worker is awake.
    pub(super) fn should_nap(&self, others_run: bool, is_queued: impl Fn() -> bool) -> bool {
        if !self.is_looking.get() || is_queued() {
            self.quiet.set(0);
            return others_run;
        }
        let quiet = self.quiet.get() + 1;
        self.quiet.set(quiet);
        quiet <= QUIET_NAPS
    }

    /// The nap begins: how long it is to be.
    pub(super) fn begin<'a>(&self, slots: impl Iterator<Item = (usize, &'a Slot)>) -> Duration {
        let mut seen = self.seen.borrow_mut();
        let now = system::now();
        for (index, slot) in slots {
            if seen.len() <= index {
                seen.resize(index + 1, Seen::NOTHING);
            }
            seen[index].look(slot, now);
        }
        let length = self.length.get();
        self.length.set((length * 2).min(LONGEST));
        length
    }

    /// It goes on, or did not sleep after all.
    pub(super) fn goes_on(&self, woken: Woken) {
        self.is_looking.set(woken == Woken::FromNap);
        self.is_unpaid.set(false);
    }

    /// Whether the tasks of `slot` wait too long.
    pub(super) fn due(&self, index: usize, slot: &Slot) -> Due {
        match self.seen.borrow().get(index) {
            Some(seen) => seen.due(slot),
            None => Due::Not,
        }
    }
}

impl Theft {
    fn paid(&self, polls: u64) -> bool {
        let busy = system::elapsed(self.at);
        let polls = polls.wrapping_sub(self.polls);
        busy >= PAYS
            && (polls >= POLLS * self.tasks
                || busy.as_nanos() as u64 >= WORTH.as_nanos() as u64 * self.tasks)
    }
}

/// Whether a worker's tasks have to be taken from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Not,
    /// There are more than it can do.
    Lagging,
    /// It is in a long poll.
    Stuck,
}

impl Seen {
    const NOTHING: Self = Self {
        poll: None,
        drained: 0,
        since: None,
    };

    fn look(&mut self, slot: &Slot, now: Instant) {
        let drained = slot.counters.drained.get();
        let has_tasks = !slot.queue.is_deque_empty();
        let since = self.since.filter(|_| drained == self.drained);
        self.since = has_tasks.then(|| since.unwrap_or(now));
        self.drained = drained;
        self.poll = slot.counters.poll_now();
    }

    fn due(&self, slot: &Slot) -> Due {
        let poll = slot.counters.poll_now();
        if poll.is_some() && poll == self.poll {
            return Due::Stuck;
        }
        let lags = self.drained == slot.counters.drained.get()
            && self
                .since
                .is_some_and(|since| system::elapsed(since) >= LAG);
        if lags { Due::Lagging } else { Due::Not }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::iter::once;

    fn goes_to_sleep(nap: &Nap, slot: &Slot) -> Duration {
        assert!(nap.should_nap(true, || true));
        let length = nap.begin(once((0, slot)));
        nap.goes_on(Woken::FromNap);
        length
    }

    #[test]
    fn naps_grow_while_looks_are_in_vain_and_shrink_when_one_was_worth_it() {
        let (nap, slot) = (Nap::new(), Slot::new());
        assert_eq!(goes_to_sleep(&nap, &slot), SHORTEST);
        assert_eq!(goes_to_sleep(&nap, &slot), 2 * SHORTEST);
        for _ in 0..9 {
            goes_to_sleep(&nap, &slot);
        }
        assert_eq!(goes_to_sleep(&nap, &slot), LONGEST);
        nap.rescued();
        assert_eq!(goes_to_sleep(&nap, &slot), SHORTEST);
    }

    #[test]
    fn a_theft_that_did_not_pay_is_followed_by_a_nap() {
        let nap = Nap::new();
        assert!(nap.may_search(0, false) && nap.minds_work());
        // So many that no pause of this thread would pay for them.
        nap.stole(1_000_000, 0);
        assert!(!nap.may_search(1, false) && !nap.minds_work());
        nap.goes_on(Woken::Claimed);
        assert!(nap.may_search(1, false) && nap.minds_work());
        // One that took long,
        nap.stole(1, 1);
        std::thread::sleep(PAYS);
        assert!(nap.may_search(2, false));
        // many that together took no longer,
        nap.stole(1_000_000, 2);
        std::thread::sleep(PAYS);
        assert!(!nap.may_search(1_000_002, false));
        // many that went on.
        nap.stole(1_000_000, 0);
        std::thread::sleep(PAYS);
        assert!(nap.may_search(POLLS * 1_000_000, false));
    }

    #[test]
    fn in_a_crowd_it_leaves_work_to_others_and_looks_after_them() {
        let (nap, slot) = (Nap::new(), Slot::new());
        assert!(!nap.may_search(0, true) && !nap.minds_work());
        goes_to_sleep(&nap, &slot);
        assert!(nap.is_looking() && nap.may_search(0, true));
    }

    #[test]
    fn with_nothing_queued_it_naps_a_little_longer_and_then_sleeps() {
        let (nap, slot) = (Nap::new(), Slot::new());
        assert!(!nap.should_nap(false, || false), "nobody runs");
        goes_to_sleep(&nap, &slot);
        for _ in 0..QUIET_NAPS {
            assert!(nap.should_nap(true, || false));
            nap.begin(once((0, &slot)));
            nap.goes_on(Woken::FromNap);
        }
        assert!(!nap.should_nap(true, || false));
    }

    #[test]
    fn behind_the_same_poll_tasks_are_stuck_and_behind_others_they_are_not() {
        let (nap, slot) = (Nap::new(), Slot::new());
        slot.counters.begin(1);
        assert_eq!(nap.due(0, &slot), Due::Not, "never seen");
        goes_to_sleep(&nap, &slot);
        assert_eq!(nap.due(0, &slot), Due::Stuck);
        slot.counters.end();
        slot.counters.begin(2);
        assert_eq!(nap.due(0, &slot), Due::Not);
        slot.counters.end();
        goes_to_sleep(&nap, &slot);
        std::thread::sleep(LAG);
        assert_eq!(nap.due(0, &slot), Due::Not, "it has no tasks");
    }
}
