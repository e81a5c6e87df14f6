//! As much of `parking_lot` as heist uses, on std's locks, with the order in which they are taken under watch: an [inversion](order) ends the process.
//!
//! A lock that is only tried for waits for nobody, so nothing is learnt from that; what is taken while it is held counts.

mod order;

use order::{Order, Site};
use std::cell::RefCell;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::panic::Location;
use std::sync::{self, LazyLock, PoisonError, TryLockError};
use std::time::{Duration, Instant};

static ORDER: LazyLock<sync::Mutex<Order>> = LazyLock::new(sync::Mutex::default);

/// Whether what is learnt is printed.
static TELLS: LazyLock<bool> = LazyLock::new(|| std::env::var_os("LOCK_ORDER_TELLS").is_some());

thread_local! {
    /// What this thread holds: the class, and where it was taken.
    static HELD: RefCell<Vec<(Site, Site)>> = const { RefCell::new(Vec::new()) };
}

/// Before a lock of `class` is waited for.
fn asks(class: Site, at: Site) {
    // At the end of a thread there is nothing left to be learnt from.
    let _ = HELD.try_with(|held| {
        let held = held.borrow();
        if held.is_empty() {
            return;
        }
        let mut order = ORDER.lock().unwrap_or_else(PoisonError::into_inner);
        for (outer, since) in held.iter() {
            match order.learn(outer, since, class, at) {
                Ok(true) if *TELLS => eprintln!("lock order: {outer}, then {class}, at {at}"),
                Ok(_) => {}
                Err(told) => {
                    eprintln!("locks in two orders: {told}");
                    std::process::abort();
                }
            }
        }
    });
}

fn holds(class: Site, at: Site) {
    let _ = HELD.try_with(|held| held.borrow_mut().push((class, at)));
}

fn lets_go(class: Site) {
    let _ = HELD.try_with(|held| {
        let mut held = held.borrow_mut();
        let last = held.iter().rposition(|(other, _)| *other == class);
        last.map(|last| held.remove(last))
    });
}

/// `parking_lot::Mutex`.
pub struct Mutex<T: ?Sized> {
    class: Site,
    inner: sync::Mutex<T>,
}

/// `parking_lot::MutexGuard`. Always there, except while its thread waits on a condvar.
pub struct MutexGuard<'a, T: ?Sized> {
    class: Site,
    guard: Option<sync::MutexGuard<'a, T>>,
}

impl<T> Mutex<T> {
    #[track_caller]
    pub const fn new(value: T) -> Self {
        Self {
            class: Location::caller(),
            inner: sync::Mutex::new(value),
        }
    }

    pub fn into_inner(self) -> T {
        let inner = self.inner.into_inner();
        inner.unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: ?Sized> Mutex<T> {
    #[track_caller]
    pub fn lock(&self) -> MutexGuard<'_, T> {
        asks(self.class, Location::caller());
        let guard = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        self.guard(guard, Location::caller())
    }

    #[track_caller]
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        let guard = match self.inner.try_lock() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        Some(self.guard(guard, Location::caller()))
    }

    fn guard<'a>(&self, guard: sync::MutexGuard<'a, T>, at: Site) -> MutexGuard<'a, T> {
        holds(self.class, at);
        MutexGuard {
            class: self.class,
            guard: Some(guard),
        }
    }

    pub fn get_mut(&mut self) -> &mut T {
        self.inner.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn is_locked(&self) -> bool {
        matches!(self.inner.try_lock(), Err(TryLockError::WouldBlock))
    }
}

impl<T: Default> Default for Mutex<T> {
    #[track_caller]
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.guard.as_ref().expect("no condvar has it")
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.guard.as_mut().expect("no condvar has it")
    }
}

impl<T: ?Sized> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        drop(self.guard.take());
        lets_go(self.class);
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// `parking_lot::Condvar`.
#[derive(Debug, Default)]
pub struct Condvar(sync::Condvar);

/// `parking_lot::WaitTimeoutResult`.
#[derive(Clone, Copy, Debug)]
pub struct WaitTimeoutResult(bool);

impl WaitTimeoutResult {
    pub fn timed_out(self) -> bool {
        self.0
    }
}

impl Condvar {
    pub const fn new() -> Self {
        Self(sync::Condvar::new())
    }

    /// While it waits the thread does not hold the lock; what else it holds comes before that, as it did when it took it.
    #[track_caller]
    pub fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        self.waiting(guard, |inner| {
            (
                self.0.wait(inner).unwrap_or_else(PoisonError::into_inner),
                (),
            )
        });
    }

    #[track_caller]
    pub fn wait_for<T>(&self, guard: &mut MutexGuard<'_, T>, limit: Duration) -> WaitTimeoutResult {
        self.waiting(guard, |inner| {
            let waited = self.0.wait_timeout(inner, limit);
            let (inner, ended) = waited.unwrap_or_else(PoisonError::into_inner);
            (inner, WaitTimeoutResult(ended.timed_out()))
        })
    }

    #[track_caller]
    pub fn wait_until<T>(
        &self,
        guard: &mut MutexGuard<'_, T>,
        until: Instant,
    ) -> WaitTimeoutResult {
        self.wait_for(guard, until.saturating_duration_since(Instant::now()))
    }

    #[track_caller]
    fn waiting<'a, T, R>(
        &self,
        guard: &mut MutexGuard<'a, T>,
        wait: impl FnOnce(sync::MutexGuard<'a, T>) -> (sync::MutexGuard<'a, T>, R),
    ) -> R {
        let inner = guard.guard.take().expect("no condvar has it");
        lets_go(guard.class);
        let (inner, result) = wait(inner);
        guard.guard = Some(inner);
        holds(guard.class, Location::caller());
        result
    }

    pub fn notify_one(&self) -> bool {
        self.0.notify_one();
        true
    }

    pub fn notify_all(&self) -> usize {
        self.0.notify_all();
        0
    }
}
