//! What a simulation puts in the kernel's place (feature `sim`).
//!
//! A driver made with [`Config::kernel`](crate::Config::kernel) calls no system call: it waits as its [`Kernel`] says, and its clock stands still until somebody
//! advances it. Threads that a simulation only pretends have thread-locals of their own in [`ThreadState`]. Sockets are those of a [`Network`] in memory:
//!
//! ```text
//!   config    how it behaves                     fault    errors, in the system's words
//!   hosts     names, addresses, cuts             tcp      sockets and what is on its way: pure data
//!   network   who drives it; the system calls
//! ```

mod config;
mod fault;
mod hosts;
mod network;
mod tcp;

pub use config::NetConfig;
pub use network::Network;
pub(crate) use network::{Simulated, here};

use std::time::Duration;

use crate::Handle;
use crate::handle::Current;
use crate::{handle, leaf};

/// The nanoseconds that a clock counts in: it stands still at a whole number of them.
pub const TICK: u64 = crate::clock::TICK_NANOS;

/// Moves a driver's clock on, if that stands still, and notifies the driver if a timer is due.
pub fn advance(driver: &Handle, by: Duration) {
    // Fails for one that somebody lets run: that is its own affair.
    let _ = driver.clock().advance_untold(by);
    let now = driver.clock().now();
    if driver.next_deadline().is_some_and(|next| next <= now) {
        driver.notify();
    }
}

/// How a simulated driver waits.
pub trait Kernel: Send + Sync {
    /// Waits until notified, at most for `limit` (`None`: for ever; zero: not at all). True if it was notified since the last wait.
    fn wait(&self, limit: Option<Duration>) -> bool;

    /// Makes the wait in progress, or else the next one, return at once.
    fn notify(&self);

    /// Ends the wait in progress, if there is one: there are events.
    fn interrupt(&self);
}

/// What this crate keeps of a thread. For a simulation that has several of them take turns on one.
#[derive(Default)]
pub struct ThreadState {
    current: Option<Current>,
    leaf: leaf::State,
}

impl ThreadState {
    /// Puts this in the place of what the calling thread has, and takes that.
    pub fn exchange(&mut self) {
        self.current = handle::exchange_current(self.current.take());
        leaf::exchange_state(&self.leaf);
    }
}

impl std::fmt::Debug for ThreadState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ThreadState").finish_non_exhaustive()
    }
}
