//! The timer wheel against an ordered map: nothing early, late, lost, twice or out of order, whatever is inserted, removed and moved while
//! time goes by in steps from one tick to the end of time.

use std::collections::BTreeMap;

use arbitrary::{Arbitrary, Unstructured};

// The wheel is private to its crate and needs nothing of it: the same source, compiled here. (rustfmt would look for its tests.)
#[rustfmt::skip]
#[path = "../../io-driver/src/timer/wheel.rs"]
#[allow(dead_code)]
mod source;

use source::{Key, Wheel};

/// No input does more than this.
const MAX_OPS: usize = 400;

/// A number of ticks: near, far, and where the bits of the wheel's levels turn over.
#[derive(Arbitrary, Debug, Clone, Copy)]
enum Ticks {
    Few(u8),
    Some(u16),
    Any(u64),
    /// Two to a power, and that little more or less.
    Power(u8, i8),
    /// Of 4 microseconds.
    Years(u8),
    /// That little before the end of time.
    End(u8),
}

#[derive(Arbitrary, Debug)]
enum Op {
    Insert(Ticks),
    /// So much after the present.
    InsertAfter(Ticks),
    /// Many of almost one deadline.
    Crowd(Ticks, u8),
    Remove(u8),
    Reset(u8, Ticks),
    Look(u8),
    Advance(Ticks, u8),
    Jump(Ticks, u8),
    /// One call of `expire`, wherever it stops.
    Partly(Ticks, u8),
    /// To the next deadline that the wheel knows of.
    ToNext(u8),
    PopAny,
}

#[derive(Clone, Copy)]
struct Timer {
    key: Key,
    deadline: u64,
    /// It was due when it was inserted, or perhaps: it may fire in any order.
    late: bool,
}

struct Pair {
    wheel: Wheel<usize>,
    /// Deadline and index in `timers` of those that live.
    model: BTreeMap<(u64, usize), ()>,
    /// All there ever were.
    timers: Vec<Timer>,
    now: u64,
}

/// Does what the bytes say, then lets time end.
pub fn run(data: &[u8]) {
    let mut bytes = Unstructured::new(data);
    let mut pair = Pair {
        wheel: Wheel::new(),
        model: BTreeMap::new(),
        timers: Vec::new(),
        now: 0,
    };
    for _ in 0..MAX_OPS {
        if bytes.is_empty() {
            break;
        }
        let Ok(op) = Op::arbitrary(&mut bytes) else {
            break;
        };
        pair.apply(op);
        pair.check_next();
    }
    pair.drain();
}

impl Ticks {
    fn count(self) -> u64 {
        const YEAR: u64 = 365 * 86_400 * 250_000;
        match self {
            Self::Few(n) => n.into(),
            Self::Some(n) => n.into(),
            Self::Any(n) => n,
            Self::Power(bit, off) => (1_u64 << (bit % 64)).saturating_add_signed(off.into()),
            Self::Years(n) => YEAR * u64::from(n),
            Self::End(n) => u64::MAX - u64::from(n),
        }
    }
}

impl Pair {
    fn apply(&mut self, op: Op) {
        match op {
            Op::Insert(at) => self.insert(at.count()),
            Op::InsertAfter(by) => self.insert(self.after(by)),
            Op::Crowd(by, many) => {
                let first = self.after(by);
                for n in 0..u64::from(many % 64) {
                    self.insert(first.saturating_add(n % 3));
                }
            }
            Op::Remove(which) => drop(self.remove(which)),
            Op::Reset(which, by) => {
                if self.remove(which).is_some() {
                    self.insert(self.after(by));
                }
            }
            Op::Look(which) => {
                if let Some((index, timer)) = self.pick(which) {
                    let lives = self.model.contains_key(&(timer.deadline, index));
                    let seen = self.wheel.get_mut(timer.key).map(|index| *index);
                    assert_eq!(seen, lives.then_some(index), "what a key names");
                }
            }
            Op::Advance(by, limit) => self.advance(self.after(by), limit),
            Op::Jump(to, limit) => self.advance(to.count(), limit),
            Op::Partly(by, limit) => drop(self.expire(self.after(by), usize::from(limit))),
            Op::ToNext(limit) => {
                if let Some(next) = self.wheel.next_deadline() {
                    self.advance(next, limit);
                }
            }
            Op::PopAny => match self.wheel.pop_any() {
                Some(index) => {
                    let deadline = self.timers[index].deadline;
                    let lived = self.model.remove(&(deadline, index)).is_some();
                    assert!(lived, "a dead timer was popped");
                }
                None => assert!(self.model.is_empty(), "living timers were not popped"),
            },
        }
    }

    fn after(&self, by: Ticks) -> u64 {
        self.now.saturating_add(by.count())
    }

    /// A timer, dead or alive; the first byte counts from the youngest.
    fn pick(&self, which: u8) -> Option<(usize, Timer)> {
        let last = self.timers.len().checked_sub(1)?;
        let index = last - usize::from(which) % self.timers.len();
        Some((index, self.timers[index]))
    }

    fn insert(&mut self, deadline: u64) {
        let index = self.timers.len();
        let key = self.wheel.insert(deadline, index).expect("there is room");
        self.model.insert((deadline, index), ());
        self.timers.push(Timer {
            key,
            deadline,
            late: deadline <= self.now,
        });
    }

    fn remove(&mut self, which: u8) -> Option<()> {
        let (index, timer) = self.pick(which)?;
        let lived = self.model.remove(&(timer.deadline, index));
        let removed = self.wheel.remove(timer.key);
        assert_eq!(removed, lived.map(|()| (timer.deadline, index)), "removed");
        assert_eq!(self.wheel.remove(timer.key), None, "removed twice");
        lived
    }

    fn advance(&mut self, to: u64, limit: u8) {
        while self.expire(to, usize::from(limit) + 1) {}
    }

    /// One call of the wheel's: nothing early, twice or out of order; and if it says that all is done, nothing late.
    fn expire(&mut self, to: u64, limit: usize) -> bool {
        let mut fired = Vec::new();
        let more = self.wheel.expire(to, limit, &mut |index| fired.push(index));
        assert!(fired.len() <= limit, "more steps than were allowed");
        self.now = self.now.max(to);
        let mut last = 0;
        for index in fired {
            let Timer { deadline, late, .. } = self.timers[index];
            let lived = self.model.remove(&(deadline, index)).is_some();
            assert!(lived, "a timer fired that does not live");
            assert!(deadline <= self.now, "{deadline} fired at {}", self.now);
            if !late {
                assert!(last <= deadline, "{deadline} fired after {last}");
                last = deadline;
            }
        }
        if !more && let Some((&(deadline, _), ())) = self.model.first_key_value() {
            assert!(deadline > to, "{deadline} did not fire by {to}");
        }
        more
    }

    /// The wheel may know of an earlier deadline than there is, or call leftovers due now; never of a later one.
    fn check_next(&self) {
        let earliest = self
            .model
            .first_key_value()
            .map(|(&(deadline, _), ())| deadline);
        match (self.wheel.next_deadline(), earliest) {
            (None, None) => {}
            (Some(next), Some(earliest)) => {
                assert!(next <= earliest.max(self.now), "{next}, not {earliest}");
            }
            (next, earliest) => panic!("next {next:?}, earliest {earliest:?}"),
        }
    }

    /// Goes from deadline to deadline as a driver does: it wakes for timers, or once for each that was removed.
    fn drain(&mut self) {
        let most = self.timers.len() + 1;
        let mut wakes = 0;
        while let Some(next) = self.wheel.next_deadline() {
            self.advance(next, u8::MAX);
            self.check_next();
            wakes += 1;
            assert!(wakes <= most, "{wakes} wakes for {most} timers");
        }
        assert!(self.model.is_empty(), "{} never fired", self.model.len());
        for timer in &self.timers {
            assert!(self.wheel.get_mut(timer.key).is_none(), "a dead key lives");
        }
    }
}
