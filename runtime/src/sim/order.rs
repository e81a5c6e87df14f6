//! Who goes on: drawn from the seed.

use fastrand::Rng;

/// How a simulation draws who goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Policy {
    /// Each time any of those who can, with the same chance. Finds most.
    Random,
    /// Every thread has a priority, and the highest of those who can goes on; so many times, at moments drawn from the seed, it becomes the lowest instead. Finds
    /// what needs one thread to stand still for long while others do much (probabilistic concurrency testing).
    Priorities {
        /// How many times.
        changes: usize,
    },
}

/// Who has had so many turns in a row while others could run has them in vain, waiting for one of those: it becomes the lowest.
const IN_A_ROW: u32 = 1_000;

/// A policy at work.
pub(super) struct Order {
    policy: Policy,
    /// By actor, the higher first.
    priorities: Vec<u64>,
    /// The turns before which the priority of who goes on changes, the next one last.
    changes: Vec<u64>,
    turns: u64,
    lowest: u64,
    last: usize,
    in_a_row: u32,
}

impl Order {
    /// `length`: in how many turns the changes of priority lie.
    pub(super) fn new(policy: Policy, length: u64, rng: &mut Rng) -> Self {
        let count = match policy {
            Policy::Random => 0,
            Policy::Priorities { changes } => changes,
        };
        let mut changes: Vec<_> = (0..count).map(|_| rng.u64(..length.max(1))).collect();
        changes.sort_unstable_by(|one, other| other.cmp(one));
        Self {
            policy,
            priorities: Vec::new(),
            changes,
            turns: 0,
            lowest: u64::MAX / 2,
            last: usize::MAX,
            in_a_row: 0,
        }
    }

    /// There is one more actor.
    pub(super) fn started(&mut self, rng: &mut Rng) {
        self.priorities.push(rng.u64(u64::MAX / 2..));
    }

    /// Who of those goes on.
    pub(super) fn next(
        &mut self,
        ready: impl Iterator<Item = usize> + Clone,
        rng: &mut Rng,
    ) -> Option<usize> {
        if self.policy == Policy::Random {
            let count = ready.clone().count();
            return (count > 0)
                .then(|| rng.usize(..count))
                .and_then(|place| ready.clone().nth(place));
        }
        let highest = |order: &Self| ready.clone().max_by_key(|&index| order.priorities[index]);
        let mut next = highest(self)?;
        self.turns += 1;
        self.in_a_row = if next == self.last {
            self.in_a_row + 1
        } else {
            0
        };
        let is_change = self.changes.pop_if(|at| *at <= self.turns).is_some();
        if is_change || self.in_a_row > IN_A_ROW {
            self.in_a_row = 0;
            self.lowest -= 1;
            self.priorities[next] = self.lowest;
            next = highest(self)?;
        }
        self.last = next;
        Some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_goes_on_until_it_has_had_its_turns() {
        let mut rng = Rng::with_seed(1);
        let mut order = Order::new(Policy::Priorities { changes: 0 }, 1, &mut rng);
        for _ in 0..3 {
            order.started(&mut rng);
        }
        assert_eq!(order.next(0..0, &mut rng), None);
        let first = order.next(0..3, &mut rng).unwrap();
        let row = (0..IN_A_ROW).take_while(|_| order.next(0..3, &mut rng) == Some(first));
        assert_eq!(row.count(), IN_A_ROW as usize);
        assert_ne!(order.next(0..3, &mut rng), Some(first));
    }

    #[test]
    fn a_change_makes_the_highest_the_lowest() {
        let mut rng = Rng::with_seed(1);
        let mut order = Order::new(Policy::Priorities { changes: 1 }, 50, &mut rng);
        order.started(&mut rng);
        order.started(&mut rng);
        let all: Vec<_> = (0..100)
            .map(|_| order.next(0..2, &mut rng).unwrap())
            .collect();
        let runs = all.windows(2).filter(|pair| pair[0] != pair[1]).count();
        assert_eq!(runs, 1, "{all:?}");
    }

    #[test]
    fn at_random_each_has_its_chance() {
        let mut rng = Rng::with_seed(1);
        let mut order = Order::new(Policy::Random, 1, &mut rng);
        let mut turns = [0; 4];
        for _ in 0..4_000 {
            turns[order.next(0..4, &mut rng).unwrap()] += 1;
        }
        assert!(
            turns.iter().all(|turns| (800..1_200).contains(turns)),
            "{turns:?}"
        );
    }
}
