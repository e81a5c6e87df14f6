//! The shared side of a driver, and which driver is the thread's current one.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::clock::{Clock, NEVER, Watcher};
use crate::fallback;
use crate::fork;
use crate::leaf;
use crate::offload::{Job, Offload, Refused};
use crate::source::Sources;
use crate::sys::Selector;
use crate::timer::{Alarm, Shard};

/// What a driver and its handles share.
pub(crate) struct Shared {
    pub(crate) clock: Clock,
    pub(crate) alarm: Arc<Alarm>,
    /// Invariant: not empty.
    pub(crate) shards: Box<[Arc<Shard>]>,
    pub(crate) sources: Sources,
    pub(crate) closed: AtomicBool,
    /// The process that opened the poller.
    pub(crate) generation: u64,
    pub(crate) offload: Offload,
}

impl Shared {
    /// The earliest deadline of all shards.
    #[inline]
    pub(crate) fn earliest(&self) -> u64 {
        self.shards
            .iter()
            .fold(NEVER, |earliest, shard| earliest.min(shard.next()))
    }
}

impl Watcher for Shared {
    fn clock_changed(&self) {
        self.alarm.selector.notify();
    }
}

/// Reaches a [`Driver`](crate::Driver) from any thread. Cheap to clone; does not keep the driver
/// running.
///
/// # Examples
///
/// ```
/// use heist_io_driver::{Config, Driver, WakeBatch};
///
/// let mut driver = Driver::new(Config::default())?;
/// let handle = driver.handle().clone();
/// std::thread::spawn(move || handle.notify());
/// // Waits for the notification.
/// driver.turn(None, false, &mut WakeBatch::new())?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct Handle {
    pub(crate) shared: Arc<Shared>,
}

/// A thread's current driver and shard.
pub(crate) struct Current {
    handle: Handle,
    shard: Arc<Shard>,
}

thread_local! {
    static CURRENT: RefCell<Option<Current>> = const { RefCell::new(None) };
}

impl Handle {
    /// The handle of the driver that this thread has [entered](Handle::enter), else of the
    /// process-wide fallback driver, which is started if need be.
    ///
    /// # Errors
    ///
    /// The fallback driver is needed and could not be started.
    pub fn current() -> io::Result<Handle> {
        match Handle::try_current() {
            Some(handle) => Ok(handle),
            None => fallback::handle(),
        }
    }

    /// The current driver, for a descriptor of a kind that only the kernel has. Fails on a thread
    /// that simulates; asked before the descriptor is made, so that a simulation touches nothing.
    pub(crate) fn of_kernel() -> io::Result<Handle> {
        #[cfg(feature = "sim")]
        if crate::sim::here().is_some() {
            return Err(crate::sys::no_descriptors());
        }
        Handle::current()
    }

    /// The handle of the driver that this thread has [entered](Handle::enter), if any.
    #[must_use]
    pub fn try_current() -> Option<Handle> {
        with_current(|current| current.handle.clone())
    }

    /// Makes this the thread's current driver, until the guard drops: new sources are registered
    /// with it, and timers with the given one of its shards (modulo their number). May be
    /// nested; guards drop in reverse order.
    ///
    /// # Examples
    ///
    /// ```
    /// use heist_io_driver::{Config, Driver, Handle};
    /// let driver = Driver::new(Config::default())?;
    /// let entered = driver.handle().enter(0);
    /// assert!(Handle::try_current().is_some());
    /// drop(entered);
    /// assert!(Handle::try_current().is_none());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use = "the driver is left when the guard drops"]
    pub fn enter(&self, shard: usize) -> EnterGuard {
        let shards = &self.shared.shards;
        let current = Current {
            handle: self.clone(),
            shard: Arc::clone(&shards[shard % shards.len()]),
        };
        EnterGuard {
            previous: replace_current(Some(current)),
            _thread: PhantomData,
        }
    }

    /// Makes the turn in progress, or else the next one, return at once. Whatever the caller did
    /// before is visible to the turning thread when its turn returns.
    pub fn notify(&self) {
        self.shared.alarm.selector.notify();
    }

    /// The driver's clock.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    /// How many timer shards there are, at least one.
    #[must_use]
    pub fn shards(&self) -> usize {
        self.shared.shards.len()
    }

    /// The earliest deadline of all timers, or a bound below it; `None` if there is none.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.shared.clock.instant_of_tick(self.shared.earliest())
    }

    /// Whether a thread waits in [`Driver::turn`](crate::Driver::turn), or is about to.
    #[must_use]
    pub fn waiting(&self) -> bool {
        self.shared.alarm.is_waiting()
    }

    /// Whether the driver has shut down.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        // Acquire: pairs with the Release in `Driver::shutdown`.
        self.shared.closed.load(Ordering::Acquire)
    }

    /// Runs a blocking call on another thread, as [`Config::offload`](crate::Config::offload) was
    /// told to.
    ///
    /// # Errors
    ///
    /// No thread took it on; the job was dropped.
    pub fn offload(&self, job: Job) -> Result<(), Refused> {
        (self.shared.offload)(job)
    }

    /// Whether this process is a child, forked after the driver was made.
    pub(crate) fn is_forked(&self) -> bool {
        self.shared.generation != fork::generation()
    }

    pub(crate) fn selector(&self) -> &Selector {
        &self.shared.alarm.selector
    }

    pub(crate) fn sources(&self) -> &Sources {
        &self.shared.sources
    }

    /// A shard for a thread that has none of its own.
    pub(crate) fn any_shard(&self) -> Arc<Shard> {
        let shards = &self.shared.shards;
        Arc::clone(&shards[fastrand::usize(..shards.len())])
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("shards", &self.shards())
            .field("waiting", &self.waiting())
            .field("closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}

/// Leaves the driver that [`Handle::enter`] made current, and returns to the previous one.
pub struct EnterGuard {
    previous: Option<Current>,
    /// Belongs to the thread whose current driver it restores.
    _thread: PhantomData<*const ()>,
}

impl Drop for EnterGuard {
    fn drop(&mut self) {
        drop(replace_current(self.previous.take()));
    }
}

impl fmt::Debug for EnterGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnterGuard").finish_non_exhaustive()
    }
}

/// The present by the clock of the current driver, or by the system's if there is none.
#[inline]
#[must_use]
pub fn now() -> Instant {
    with_current(|current| current.shard.clock.now()).unwrap_or_else(Instant::now)
}

/// The current shard.
#[inline]
pub(crate) fn current_shard() -> Option<Arc<Shard>> {
    with_current(|current| Arc::clone(&current.shard))
}

/// Announces the current shard's earliest deadline if it is earlier than what is known.
pub(crate) fn announce_current(known: u64) {
    with_current(|current| current.shard.announce(known));
}

/// `None` if no driver was entered, and while the thread's last destructors run. The closure is
/// one of ours and does not come back here.
#[inline]
fn with_current<R>(f: impl FnOnce(&Current) -> R) -> Option<R> {
    CURRENT
        .try_with(|current| current.try_borrow().ok()?.as_ref().map(f))
        .ok()
        .flatten()
}

/// Announces what was left to be, since that concerns the shard about to be left.
fn replace_current(current: Option<Current>) -> Option<Current> {
    leaf::flush_announcement();
    exchange_current(current)
}

/// As [`replace_current`], for a thread that will come back to where it was.
pub(crate) fn exchange_current(current: Option<Current>) -> Option<Current> {
    CURRENT
        .try_with(|cell| {
            cell.try_borrow_mut()
                .ok()
                .map(|mut cell| std::mem::replace(&mut *cell, current))
        })
        .ok()
        .flatten()
        .flatten()
}
