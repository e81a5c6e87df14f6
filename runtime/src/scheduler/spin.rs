//! Spinning: whether a worker with nothing to do goes on looking for a moment before it sleeps.
//!
//! Sleeping and being woken costs a thread 3 us and more, and whoever wakes it as much again. If work comes within less, looking for it all the time is cheaper for
//! both; if not, it is CPU burnt for nothing. So it is done where it has paid lately: sleeps that turn out short speak for it, spins in
//! vain against it.

use std::cell::Cell;
use std::time::Duration;

/// How long: what a sleep and a wake-up cost, a few times over.
pub(super) const SPIN: Duration = Duration::from_micros(15);
/// With so much credit it spins.
const ENOUGH: u32 = 4;
const MOST: u32 = 8;

#[derive(Debug, Default)]
pub(super) struct Spin {
    credit: Cell<u32>,
}

impl Spin {
    pub(super) fn pays(&self) -> bool {
        self.credit.get() >= ENOUGH
    }

    /// It slept for so long. `claimed`: somebody submitted a task. What the driver brings is not looked for, since that is a call of the kernel each time: on
    /// two CPUs it cost servers a third of their throughput.
    pub(super) fn slept(&self, time: Duration, claimed: bool) {
        if claimed && time < SPIN {
            self.gain();
        } else {
            self.lose(1);
        }
    }

    /// It spun: whether work came.
    pub(super) fn spun(&self, found: bool) {
        if found { self.gain() } else { self.lose(2) }
    }

    fn gain(&self) {
        self.credit.set((self.credit.get() + 1).min(MOST));
    }

    fn lose(&self, much: u32) {
        self.credit.set(self.credit.get().saturating_sub(much));
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn short_sleeps_begin_it_and_spins_in_vain_end_it() {
        let spin = Spin::default();
        assert!(!spin.pays());
        for _ in 0..ENOUGH {
            spin.slept(SPIN / 2, true);
        }
        assert!(spin.pays());
        for _ in 0..100 {
            spin.spun(true);
        }
        for _ in 0..=(MOST - ENOUGH) / 2 {
            assert!(spin.pays());
            spin.spun(false);
        }
        assert!(!spin.pays());
        spin.slept(SPIN / 2, true);
        spin.slept(SPIN, true);
        spin.slept(SPIN / 2, false);
        spin.slept(SPIN / 2, true);
        assert!(!spin.pays());
    }
}
