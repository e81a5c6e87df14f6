//! The turning side of the driver: expire timers, wait, dispatch, hand over the wakers.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::batch::WakeBatch;
use crate::clock::{self, Clock, NEVER, Watcher};
use crate::fork;
use crate::handle::{Handle, Shared};
use crate::offload::{self, Offload};
use crate::source::Sources;
use crate::sys::{Events, Selector};
use crate::timer::{Alarm, Shard};

/// How many timers a turn fires or moves within the wheels at most: some 20 us of work, so that
/// I/O is looked at in between however many timers fall due at once.
const TIMERS: usize = 256;

/// What a [`Driver`] is made of.
///
/// # Examples
///
/// ```
/// use heist_io_driver::{Clock, Config, Driver};
///
/// let clock = Clock::new();
/// clock.pause();
/// let driver = Driver::new(Config { shards: 4, clock, ..Config::default() })?;
/// assert!(driver.handle().clock().is_paused());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct Config {
    /// How many timer shards: one per thread that will [enter](Handle::enter) the driver. Zero is
    /// taken as one. Default: 1.
    pub shards: usize,
    /// The clock of the timers. Default: a new one.
    pub clock: Clock,
    /// Wait through the portable path even where a faster one exists. Default: whether the
    /// environment variable `HEIST_PORTABLE_DRIVER` is `1`.
    pub portable: bool,
    /// Where blocking calls go, name lookups above all. Default: a thread for each.
    pub offload: Offload,
    /// Waits in a simulation instead of the kernel's poller. Default: `None`.
    #[cfg(feature = "sim")]
    pub kernel: Option<Arc<dyn crate::sim::Kernel>>,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            shards: 1,
            clock: Clock::new(),
            portable: std::env::var_os("HEIST_PORTABLE_DRIVER").is_some_and(|value| value == "1"),
            offload: offload::thread_per_job(),
            #[cfg(feature = "sim")]
            kernel: None,
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("shards", &self.shards)
            .field("clock", &self.clock)
            .field("portable", &self.portable)
            .finish_non_exhaustive()
    }
}

/// What a turn did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Turned {
    /// How many events reached a source.
    pub events: usize,
    /// How many timers fired.
    pub timers: usize,
    /// Somebody called [`Handle::notify`].
    pub notified: bool,
    /// More timers are due than one turn fires: turn again soon.
    pub more: bool,
}

/// The exclusive side of a driver: whoever has it may turn it. May be sent between threads.
///
/// Dropping it shuts it down and wakes everybody who waits.
pub struct Driver {
    handle: Handle,
    events: Events,
    /// Which shard expires first, so that a full turn does not favour one.
    first_shard: usize,
}

impl Driver {
    /// Opens the kernel's poller.
    ///
    /// # Errors
    ///
    /// The kernel has no descriptors or memory left. Nothing is leaked.
    pub fn new(config: Config) -> io::Result<Driver> {
        let Config {
            shards,
            clock,
            portable,
            offload,
            #[cfg(feature = "sim")]
            kernel,
        } = config;
        fork::watch();
        #[cfg(not(feature = "sim"))]
        let (selector, events) = Selector::new(portable)?;
        #[cfg(feature = "sim")]
        let (selector, events) = match kernel {
            Some(kernel) => Selector::simulated(kernel),
            None => Selector::new(portable)?,
        };
        let alarm = Arc::new(Alarm::new(selector));
        let shards = (0..shards.max(1))
            .map(|_| Arc::new(Shard::new(clock.clone(), Arc::clone(&alarm))))
            .collect();
        let shared = Arc::new(Shared {
            clock,
            alarm,
            shards,
            sources: Sources::default(),
            closed: AtomicBool::new(false),
            generation: fork::generation(),
            offload,
        });
        let watcher: Weak<dyn Watcher> = Arc::downgrade(&shared) as Weak<dyn Watcher>;
        shared.clock.watch(watcher);
        Ok(Driver {
            handle: Handle { shared },
            events,
            first_shard: 0,
        })
    }

    /// The shared side.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Fires due timers, waits for readiness at most `max_wait` (`None`: until something
    /// happens; zero: only looks), and adds the wakers of all that became ready or due to
    /// `batch`. Runs no foreign code: the caller wakes the batch. Does not wait while the batch
    /// holds wakers or more timers are due. May return early, with nothing done.
    ///
    /// `idle` says that nothing else can run in the process. If the clock is paused, an idle turn
    /// that finds no event jumps it to the next deadline instead of waiting; without `idle`, the
    /// deadlines of a paused clock do not end the wait.
    ///
    /// One system call, whether it waits or only looks.
    ///
    /// # Errors
    ///
    /// The kernel's poller failed. The driver may be turned again. An interruption by a signal is
    /// no error.
    pub fn turn(
        &mut self,
        max_wait: Option<Duration>,
        idle: bool,
        batch: &mut WakeBatch,
    ) -> io::Result<Turned> {
        self.turn_when(max_wait, || idle, batch)
    }

    /// As [`turn`](Driver::turn), where other threads may begin to run at any time: `is_idle` is
    /// asked again, between two looks at the deadlines, before the clock is moved.
    ///
    /// # Errors
    ///
    /// As [`turn`](Driver::turn).
    pub fn turn_when(
        &mut self,
        max_wait: Option<Duration>,
        is_idle: impl Fn() -> bool,
        batch: &mut WakeBatch,
    ) -> io::Result<Turned> {
        let mut turned = Turned::default();
        let mut now = None;
        self.expire(&mut now, &mut turned, batch);
        if max_wait == Some(Duration::ZERO) || !batch.is_empty() || turned.more {
            self.wait(Some(Duration::ZERO), &mut turned, batch)?;
            return Ok(turned);
        }
        let shared = &self.handle.shared;
        let paused = shared.clock.is_paused();
        if paused && is_idle() && self.jump(is_idle, &mut turned, batch)? {
            return Ok(turned);
        }
        let timeout = self.prepare_to_wait(max_wait, paused, now);
        let result = self.wait(timeout, &mut turned, batch);
        self.handle.shared.alarm.done_waiting();
        result?;
        self.expire(&mut None, &mut turned, batch);
        Ok(turned)
    }

    /// Shuts the driver down: adds the wakers of all who wait to `batch`. From now on operations
    /// on its sources fail where they would wait, no source can be registered, and its timers go
    /// on under the next driver that is current where they are polled, else under the fallback.
    pub fn shutdown(&mut self, batch: &mut WakeBatch) {
        let shared = &self.handle.shared;
        // Release: pairs with the Acquire in `Handle::is_closed`.
        shared.closed.store(true, Ordering::Release);
        for shard in &shared.shards {
            shard.close(&mut |waker| batch.push(waker));
        }
        shared.sources.close(batch);
    }

    /// Fires due timers. Reads the clock into `now` if there is any timer at all.
    #[inline]
    fn expire(&mut self, now: &mut Option<u64>, turned: &mut Turned, batch: &mut WakeBatch) {
        let earliest = self.handle.shared.earliest();
        if earliest == NEVER {
            return;
        }
        let nanos = self.handle.shared.clock.nanos();
        *now = Some(nanos);
        let tick = clock::tick_of_nanos(nanos);
        if earliest <= tick {
            self.expire_at(tick, turned, batch);
        }
    }

    /// Fires the timers due at `tick`, as many as one turn may.
    fn expire_at(&mut self, tick: u64, turned: &mut Turned, batch: &mut WakeBatch) {
        let shards = &self.handle.shared.shards;
        self.first_shard = (self.first_shard + 1) % shards.len();
        let (before, after) = shards.split_at(self.first_shard);
        for shard in after.iter().chain(before) {
            if shard.next() > tick {
                continue;
            }
            let limit = TIMERS.saturating_sub(turned.timers);
            let timers = &mut turned.timers;
            turned.more |= shard.expire(tick, limit, &mut |waker| {
                *timers += 1;
                batch.push(waker);
            });
        }
    }

    /// Waits and dispatches.
    fn wait(
        &mut self,
        timeout: Option<Duration>,
        turned: &mut Turned,
        batch: &mut WakeBatch,
    ) -> io::Result<()> {
        let Shared { alarm, sources, .. } = &*self.handle.shared;
        turned.notified |= alarm.selector.wait(&mut self.events, timeout)?;
        turned.events += sources.dispatch(&self.events, &alarm.selector, batch);
        Ok(())
    }

    /// W1 to W4 of the protocol in `timer`: how long to wait. The clock is read unless it was.
    fn prepare_to_wait(
        &self,
        max_wait: Option<Duration>,
        paused: bool,
        now: Option<u64>,
    ) -> Option<Duration> {
        let Shared { alarm, clock, .. } = &*self.handle.shared;
        alarm.prepare_to_wait();
        let earliest = self.handle.shared.earliest();
        if earliest == NEVER || paused {
            return max_wait;
        }
        let now = now.unwrap_or_else(|| clock.nanos());
        let left = clock::nanos_of_tick(earliest).saturating_sub(now);
        let left = match max_wait {
            Some(max_wait) => left.min(clock::nanos(max_wait)),
            None => left,
        };
        alarm.wait_until(clock::tick_of_nanos(now.saturating_add(left)));
        Some(Duration::from_nanos(left))
    }

    /// With the clock paused and nothing else to run: if no event is there, moves the clock to the
    /// next deadline. False if there is nothing to do but wait.
    #[cold]
    fn jump(
        &mut self,
        is_idle: impl Fn() -> bool,
        turned: &mut Turned,
        batch: &mut WakeBatch,
    ) -> io::Result<bool> {
        self.wait(Some(Duration::ZERO), turned, batch)?;
        if turned.notified || turned.events > 0 {
            return Ok(true);
        }
        let shared = &self.handle.shared;
        let earliest = loop {
            let earliest = shared.earliest();
            if earliest == NEVER || !is_idle() {
                return Ok(false);
            }
            // Who ran before the question may have left an earlier deadline; who runs from now on begins after the jump.
            if shared.earliest() == earliest {
                break earliest;
            }
        };
        if !shared.clock.jump_to(earliest) {
            return Ok(false);
        }
        self.expire_at(earliest, turned, batch);
        Ok(true)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let mut batch = WakeBatch::new();
        self.shutdown(&mut batch);
        batch.wake_all();
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Driver").field(&self.handle).finish()
    }
}
