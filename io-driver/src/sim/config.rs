//! How a simulated network behaves.

use std::ops::RangeInclusive;
use std::time::Duration;

/// How large buffers are, unless told otherwise: a connection takes some chunks, and a test soon fills it.
const BUFFER: usize = 64 * 1024;

/// How a simulation's network behaves. What is left open here, such as how long each packet takes, is drawn from the seed.
///
/// The default network is a good one: packets take between 10 us and 1 ms, reads and writes fall short now and then, and nothing breaks by itself.
/// A probability is a number from 0 (never) to 1 (always).
#[derive(Clone, Debug, PartialEq)]
#[must_use = "a configuration does nothing until a simulation gets it"]
pub struct NetConfig {
    pub(super) latency: (u64, u64),
    pub(super) short_reads: f64,
    pub(super) short_writes: f64,
    pub(super) buffer: usize,
    pub(super) resets: f64,
    pub(super) shortages: f64,
    pub(super) max_open: usize,
    pub(super) aborts: f64,
}

impl Default for NetConfig {
    fn default() -> Self {
        Self::new()
    }
}

impl NetConfig {
    /// A good network; see the type.
    pub fn new() -> Self {
        Self {
            latency: (10_000, 1_000_000),
            short_reads: 0.25,
            short_writes: 0.25,
            buffer: BUFFER,
            resets: 0.0,
            shortages: 0.0,
            max_open: usize::MAX,
            aborts: 0.0,
        }
    }

    /// How long a packet takes. What one end of a connection sends arrives in its order, however long each part would have taken.
    pub fn latency(mut self, range: RangeInclusive<Duration>) -> Self {
        let nanos = |time: &Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let (one, other) = (nanos(range.start()), nanos(range.end()));
        self.latency = (one.min(other), one.max(other));
        self
    }

    /// How probable it is that a read gives fewer bytes than have arrived.
    pub fn short_reads(mut self, probability: f64) -> Self {
        self.short_reads = probability;
        self
    }

    /// How probable it is that a write takes fewer bytes than there is room for.
    pub fn short_writes(mut self, probability: f64) -> Self {
        self.short_writes = probability;
        self
    }

    /// How many bytes a socket has room for in each direction, unless it is told otherwise; at least 1. The default is 64 KiB. So a writer to a peer that
    /// does not read gets rid of twice as many.
    pub fn buffer(mut self, bytes: usize) -> Self {
        self.buffer = bytes.max(1);
        self
    }

    /// How probable it is that a connection is reset when bytes arrive.
    pub fn resets(mut self, probability: f64) -> Self {
        self.resets = probability;
        self
    }

    /// How probable it is that there is no descriptor left for a new socket or an accepted connection, as with `EMFILE`.
    pub fn shortages(mut self, probability: f64) -> Self {
        self.shortages = probability;
        self
    }

    /// How many sockets may be open at a time, on all hosts together. The default is no limit.
    pub fn max_open(mut self, sockets: usize) -> Self {
        self.max_open = sockets;
        self
    }

    /// How probable it is that a connection has failed by the time it is accepted, as with `ECONNABORTED`.
    pub fn aborts(mut self, probability: f64) -> Self {
        self.aborts = probability;
        self
    }
}
