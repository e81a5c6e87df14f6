//! The wheel against an oracle that cannot be wrong: an ordered map.

use std::collections::{BTreeMap, HashSet};

use proptest::prelude::*;
use proptest::test_runner::{TestError, TestRng, TestRunner};

use super::*;

/// The same operations on a `BTreeMap`; reports the first difference instead of panicking, so
/// that a test can ask whether a planted bug is seen.
struct Pair {
    wheel: Wheel<u64>,
    /// By deadline, then by id.
    oracle: BTreeMap<(u64, u64), ()>,
    /// Key, deadline and id of all entries ever made.
    keys: Vec<(Key, u64, u64)>,
    /// Ids of those that were due already when they were inserted: they may fire in any order.
    late: HashSet<u64>,
    /// The latest time that `expire` was told.
    latest: u64,
}

#[derive(Debug, Clone)]
enum Op {
    Insert(u64),
    /// Insert at so much after the present.
    After(u64),
    Remove(usize),
    /// Remove and insert again, so much after the present.
    Reset(usize, u64),
    /// Advance by so much, at most so many steps per call.
    Advance(u64, usize),
    /// Advance to an absolute tick.
    Jump(u64, usize),
    /// An expire that is interrupted after so many steps and not taken up.
    Partial(u64, usize),
}

impl Pair {
    fn new(sabotage: bool) -> Pair {
        let mut wheel = Wheel::new();
        wheel.sabotage = sabotage;
        Pair {
            wheel,
            oracle: BTreeMap::new(),
            keys: Vec::new(),
            late: HashSet::new(),
            latest: 0,
        }
    }

    fn insert(&mut self, deadline: u64) -> Result<(), String> {
        let id = self.keys.len() as u64;
        if deadline <= self.wheel.elapsed {
            self.late.insert(id);
        }
        let key = self.wheel.insert(deadline, id).map_err(|_| "full")?;
        self.oracle.insert((deadline, id), ());
        self.keys.push((key, deadline, id));
        match self.wheel.get_mut(key) {
            Some(value) if *value == id => Ok(()),
            other => Err(format!("get_mut after insert: {other:?}")),
        }
    }

    fn remove(&mut self, which: usize) -> Result<(), String> {
        if self.keys.is_empty() {
            return Ok(());
        }
        let (key, deadline, id) = self.keys[which % self.keys.len()];
        let expected = self.oracle.remove(&(deadline, id)).map(|()| (deadline, id));
        let got = self.wheel.remove(key);
        if got != expected {
            return Err(format!("remove: {got:?}, expected {expected:?}"));
        }
        if self.wheel.get_mut(key).is_some() || self.wheel.remove(key).is_some() {
            return Err("a stale key names something".to_owned());
        }
        Ok(())
    }

    /// One call of `expire`: what fires must be due, in order, and the earliest there is.
    fn expire(&mut self, now: u64, limit: usize) -> Result<bool, String> {
        let mut fired = Vec::new();
        let more = self.wheel.expire(now, limit, &mut |id| fired.push(id));
        if fired.len() > limit {
            return Err("over the limit".to_owned());
        }
        self.latest = self.latest.max(now);
        let mut last = 0;
        for id in fired {
            let (_, deadline, _) = self.keys[id as usize];
            if self.oracle.remove(&(deadline, id)).is_none() {
                return Err(format!("{id} fired but does not live"));
            }
            if deadline > self.latest {
                return Err(format!("{deadline} fired early, at {now}"));
            }
            if !self.late.contains(&id) {
                if deadline < last {
                    return Err(format!("{deadline} fired after {last}"));
                }
                last = deadline;
            }
        }
        if !more
            && let Some((&(deadline, id), ())) = self.oracle.first_key_value()
            && deadline <= now
        {
            return Err(format!("{id} of {deadline} did not fire by {now}"));
        }
        Ok(more)
    }

    fn apply(&mut self, op: &Op) -> Result<(), String> {
        match *op {
            Op::Insert(deadline) => self.insert(deadline)?,
            Op::After(by) => self.insert(self.latest.saturating_add(by))?,
            Op::Remove(which) => self.remove(which)?,
            Op::Reset(which, by) => {
                self.remove(which)?;
                self.insert(self.latest.saturating_add(by))?;
            }
            Op::Advance(by, limit) => {
                let now = self.latest.saturating_add(by);
                while self.expire(now, limit)? {}
            }
            Op::Jump(now, limit) => while self.expire(now, limit)? {},
            Op::Partial(by, limit) => {
                self.expire(self.latest.saturating_add(by), limit)?;
            }
        }
        self.check()
    }

    fn check(&mut self) -> Result<(), String> {
        if self.wheel.len() != self.oracle.len() {
            let (got, expected) = (self.wheel.len(), self.oracle.len());
            return Err(format!("len {got}, expected {expected}"));
        }
        let earliest = self.oracle.first_key_value().map(|(&(d, _), ())| d);
        match (self.wheel.next_deadline(), earliest) {
            (None, None) => Ok(()),
            // A bound may be stale, but never after the truth nor before the present.
            (Some(bound), Some(truth)) if bound <= truth.max(self.wheel.elapsed) => Ok(()),
            (bound, truth) => Err(format!("next_deadline {bound:?}, expected {truth:?}")),
        }
    }
}

fn run(ops: &[Op], sabotage: bool) -> Result<(), String> {
    let mut pair = Pair::new(sabotage);
    for op in ops {
        pair.apply(op)?;
    }
    // At the end of time everything fires.
    while pair.expire(u64::MAX, 7)? {}
    pair.check()?;
    match pair.oracle.len() {
        0 => Ok(()),
        n => Err(format!("{n} never fired")),
    }
}

/// Ticks of every magnitude, and the corners.
fn tick() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => 0_u64..200,
        4 => 0_u64..20_000,
        2 => (0_u32..64, any::<u64>()).prop_map(|(shift, x)| x >> shift),
        1 => (0_u32..64).prop_map(|shift| 1 << shift),
        1 => (0_u32..64).prop_map(|shift| (1_u64 << shift) - 1),
        1 => Just(u64::MAX),
        1 => Just(u64::MAX - 1),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        2 => tick().prop_map(Op::Insert),
        6 => tick().prop_map(Op::After),
        3 => any::<usize>().prop_map(Op::Remove),
        2 => (any::<usize>(), tick()).prop_map(|(which, by)| Op::Reset(which, by)),
        4 => (tick(), 1_usize..50).prop_map(|(by, limit)| Op::Advance(by, limit)),
        1 => (tick(), 1_usize..50).prop_map(|(now, limit)| Op::Jump(now, limit)),
        2 => (tick(), 1_usize..4).prop_map(|(by, limit)| Op::Partial(by, limit)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_an_ordered_map(ops in prop::collection::vec(op(), 1..200)) {
        prop_assert_eq!(run(&ops, false), Ok(()));
    }
}

#[test]
fn a_planted_cascade_bug_is_seen_by_the_oracle() {
    let ops = [Op::Insert(100), Op::Insert(5_000), Op::Advance(100, 10)];
    assert_eq!(run(&ops, false), Ok(()));
    let seen = run(&ops, true).unwrap_err();
    assert!(seen.contains("did not fire by 100"), "{seen}");
}

#[test]
fn a_planted_cascade_bug_is_found_by_random_operations() {
    let config = ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let rng = TestRng::deterministic_rng(config.rng_algorithm);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let found = runner.run(&prop::collection::vec(op(), 1..200), |ops| {
        prop_assert_eq!(run(&ops, true), Ok(()));
        Ok(())
    });
    assert!(matches!(found, Err(TestError::Fail(..))));
}

#[test]
fn ten_years_of_sparse_timers_fire_on_the_tick() {
    // 4,000 ns a tick; one timer every seven hours and something.
    let year = 365 * 86_400 * 1_000_000_000_u64 / 4_096;
    let step = 7 * 3_600 * 1_000_000_000 / 4_096 + 12_345;
    let mut wheel = Wheel::new();
    let mut expected = Vec::new();
    for n in 1..=10 * year / step {
        wheel.insert(n * step, n * step).unwrap();
        expected.push(n * step);
    }
    let mut fired = Vec::new();
    let mut wakes = 0;
    while let Some(next) = wheel.next_deadline() {
        let before = fired.len();
        while wheel.expire(next, 64, &mut |deadline| {
            assert_eq!(deadline, next);
            fired.push(deadline);
        }) {}
        assert_eq!(fired.len(), before + 1, "woke at {next} for nothing");
        wakes += 1;
    }
    assert_eq!(fired, expected);
    assert_eq!(wakes, expected.len());
}

#[test]
fn an_idle_wheel_is_not_woken_to_cascade() {
    let mut wheel = Wheel::new();
    wheel.insert(1_000_000_007, ()).unwrap();
    wheel.expire(123_456, 10, &mut |()| ());
    assert_eq!(wheel.next_deadline(), Some(1_000_000_007));
    let early = wheel.insert(1_000_000_001, ()).unwrap();
    assert_eq!(wheel.next_deadline(), Some(1_000_000_001));
    wheel.remove(early).unwrap();
    assert_eq!(wheel.next_deadline(), Some(1_000_000_007));
}

#[test]
fn time_does_not_go_back() {
    let mut wheel = Wheel::new();
    wheel.expire(1_000, 10, &mut |_: u64| ());
    let past = wheel.insert(10, 1).unwrap();
    wheel.insert(2_000, 2).unwrap();
    assert_eq!(wheel.next_deadline(), Some(1_000));
    let mut fired = Vec::new();
    assert!(!wheel.expire(5, 10, &mut |v| fired.push(v)));
    assert_eq!(fired, [1]);
    assert!(wheel.get_mut(past).is_none());
    assert_eq!(wheel.next_deadline(), Some(2_000));
}

#[test]
fn entries_are_reused_and_an_exhausted_one_is_retired() {
    let mut wheel = Wheel::new();
    let first = wheel.insert(5, 'a').unwrap();
    wheel.remove(first).unwrap();
    let second = wheel.insert(5, 'b').unwrap();
    assert_eq!(first.index, second.index);
    assert_eq!(wheel.remove(first), None);
    wheel.entries[second.index as usize].generation = u32::MAX;
    let last = Key {
        generation: u32::MAX,
        ..second
    };
    assert_eq!(wheel.remove(last), Some((5, 'b')));
    let next = wheel.insert(5, 'c').unwrap();
    assert_ne!(next.index, last.index);
    assert_eq!(wheel.remove(last), None);
    assert!(wheel.get_mut(last).is_none());
    assert_eq!(wheel.pop_any(), Some('c'));
    assert_eq!(wheel.pop_any(), None);
}

#[test]
fn an_entry_is_small() {
    assert!(size_of::<Entry<std::task::Waker>>() <= 40);
}

#[test]
fn a_slot_of_many_is_worked_off_in_portions() {
    let mut wheel = Wheel::new();
    for n in 0..10_000_u64 {
        wheel.insert((1 << 20) + n % 100, n).unwrap();
    }
    let (mut calls, mut fired) = (0, 0);
    while wheel.expire(1 << 21, 256, &mut |_| fired += 1) {
        calls += 1;
    }
    assert_eq!(fired, 10_000);
    assert!(calls >= 10_000 / 256);
}
