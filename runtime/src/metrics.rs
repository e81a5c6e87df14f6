//! Counters, as a snapshot.

use crate::handle::Handle;

/// What a runtime has done and holds, as of some moment during [`Handle::metrics`]. The counters are kept by each worker for
/// itself, so counting costs nothing that two threads share, and reading them disturbs nobody; figures of different workers are not of
/// the same instant.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Metrics {
    /// How many workers run tasks at a time.
    pub workers: usize,
    /// How many of them are woken for work at a time: fewer than there are while the machine's CPUs have no room for more, because other processes or other
    /// threads want them. Seen on Linux alone.
    pub workers_wanted: usize,
    /// Tasks ever accepted.
    pub tasks_spawned: u64,
    /// Tasks that have not ended.
    pub tasks_alive: usize,
    /// Tasks that wait in the injector, for any worker.
    pub injected_queue: usize,
    /// Threads of the blocking pool.
    pub blocking_threads: usize,
    /// Those of them that run a closure.
    pub blocking_busy: usize,
    /// Blocking closures that wait for a thread.
    pub blocking_queue: usize,
    /// One for each worker slot that was ever used: the workers, then the spares that stood in for blocked ones.
    pub per_worker: Vec<WorkerMetrics>,
}

/// The counters of one worker since it started.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct WorkerMetrics {
    /// Polls of tasks.
    pub polls: u64,
    /// Tasks taken from other workers.
    pub steals: u64,
    /// Times it looked for tasks at other workers.
    pub searches: u64,
    /// Batches taken from the injector.
    pub injected: u64,
    /// Times it went to sleep for want of work.
    pub parks: u64,
    /// Turns of the I/O driver.
    pub driver_turns: u64,
    /// Readiness events seen in those turns.
    pub io_events: u64,
    /// Timers fired in those turns.
    pub timers_fired: u64,
    /// Polls that took longer than the slow-poll threshold.
    pub slow_polls: u64,
    /// Tasks that wait in its queue.
    pub queue: usize,
}

impl Metrics {
    pub(crate) fn of(handle: &Handle) -> Self {
        let (blocking_threads, blocking_busy) = handle.pool().threads();
        let per_worker = handle.scheduler().slots().map(|(_, slot)| {
            let counters = &slot.counters;
            WorkerMetrics {
                polls: counters.polls.get(),
                steals: counters.steals.get(),
                searches: counters.searches.get(),
                injected: counters.injected.get(),
                parks: counters.parks.get(),
                driver_turns: counters.driver_turns.get(),
                io_events: counters.io_events.get(),
                timers_fired: counters.timers_fired.get(),
                slow_polls: counters.slow_polls.get(),
                queue: slot.queued(),
            }
        });
        Self {
            workers: handle.scheduler().workers(),
            workers_wanted: handle.scheduler().workers_wanted(),
            tasks_spawned: handle.registry().bound(),
            tasks_alive: handle.registry().len(),
            injected_queue: handle.scheduler().injected(),
            blocking_threads,
            blocking_busy,
            blocking_queue: handle.pool().queued(),
            per_worker: per_worker.collect(),
        }
    }

    /// The workers' counters added up.
    pub fn total(&self) -> WorkerMetrics {
        let mut total = WorkerMetrics::default();
        for worker in &self.per_worker {
            total.polls += worker.polls;
            total.steals += worker.steals;
            total.searches += worker.searches;
            total.injected += worker.injected;
            total.parks += worker.parks;
            total.driver_turns += worker.driver_turns;
            total.io_events += worker.io_events;
            total.timers_fired += worker.timers_fired;
            total.slow_polls += worker.slow_polls;
            total.queue += worker.queue;
        }
        total
    }
}
