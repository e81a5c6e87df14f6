//! A condition variable in the kernel's place, for Miri, which knows no pollers: runtimes whose tasks use no descriptors run under it as they are.

use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::sim::Kernel;

#[derive(Default)]
pub(super) struct Condition {
    notified: Mutex<bool>,
    changed: Condvar,
}

impl Kernel for Condition {
    fn wait(&self, limit: Option<Duration>) -> bool {
        let mut notified = self.notified.lock();
        let waits = |notified: &mut bool| !*notified;
        match limit {
            Some(limit) => drop(self.changed.wait_while_for(&mut notified, waits, limit)),
            None => self.changed.wait_while(&mut notified, waits),
        }
        std::mem::take(&mut notified)
    }

    fn notify(&self) {
        *self.notified.lock() = true;
        self.changed.notify_all();
    }

    /// Without descriptors, there are no events.
    fn interrupt(&self) {}
}
