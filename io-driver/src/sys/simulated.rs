//! No kernel: waiting is the simulation's affair, and events are what its network says.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::Token;
use crate::readiness::Bits;
use crate::sim::Kernel;

pub(crate) struct Simulated {
    kernel: Arc<dyn Kernel>,
    /// What has happened and no wait has reported.
    happened: Mutex<Vec<(Token, Bits)>>,
}

#[derive(Default)]
pub(crate) struct Events(Vec<(Token, Bits)>);

impl Events {
    pub(crate) fn for_each(&self, event: &mut impl FnMut(Token, Bits)) {
        for &(token, bits) in &self.0 {
            event(token, bits);
        }
    }
}

impl Simulated {
    pub(crate) fn new(kernel: Arc<dyn Kernel>) -> Simulated {
        Simulated {
            kernel,
            happened: Mutex::default(),
        }
    }

    pub(crate) fn notify(&self) {
        self.kernel.notify();
    }

    /// As the kernel would report it.
    pub(crate) fn report(&self, token: Token, bits: Bits) {
        self.happened.lock().push((token, bits));
        self.kernel.interrupt();
    }

    pub(crate) fn wait(&self, events: &mut Events, timeout: Option<Duration>) -> bool {
        let none = self.happened.lock().is_empty();
        let timeout = if none { timeout } else { Some(Duration::ZERO) };
        let notified = self.kernel.wait(timeout);
        events.0.clear();
        events.0.append(&mut self.happened.lock());
        notified
    }
}

/// A descriptor is the real kernel's, which a simulation cannot wait for.
pub(crate) fn no_descriptors() -> io::Error {
    io::Error::new(
        io::ErrorKind::Unsupported,
        "a simulation has no descriptors: use its own network, or run this test on a real runtime",
    )
}

/// The other way round.
pub(crate) fn no_simulation() -> io::Error {
    io::Error::new(
        io::ErrorKind::Unsupported,
        "a simulated socket waits in a driver of its simulation: enter the runtime first",
    )
}

/// Files and standard streams are those of the real system, and read and written in its time.
pub(crate) fn no_files() -> io::Error {
    io::Error::new(
        io::ErrorKind::Unsupported,
        "a simulation has no files and no standard streams: run this test on a real runtime",
    )
}
