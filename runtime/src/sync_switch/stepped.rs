//! The primitives of a build with the feature `sim`: the real ones, before whose operations a simulation of the finest grain lets others run, and
//! which a simulated thread can hold, or wait for, while others run.

use crate::system;
use std::cell::RefCell;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;
use std::sync::atomic::{self, Ordering};
use std::thread::AccessError;
use std::time::Instant;

macro_rules! atomics {
    ($($name:ident $(<$of:ident>)? of $value:ty;)*) => { $(
        #[derive(Debug)]
        pub(crate) struct $name $(<$of>)? (atomic::$name $(<$of>)?);

        #[allow(dead_code, reason = "not of each type")]
        impl $(<$of>)? $name $(<$of>)? {
            pub(crate) const fn new(value: $value) -> Self {
                Self(atomic::$name::new(value))
            }

            pub(crate) fn load(&self, order: Ordering) -> $value {
                system::step();
                self.0.load(order)
            }

            pub(crate) fn store(&self, value: $value, order: Ordering) {
                system::step();
                self.0.store(value, order);
            }

            pub(crate) fn swap(&self, value: $value, order: Ordering) -> $value {
                system::step();
                self.0.swap(value, order)
            }

            pub(crate) fn compare_exchange(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                system::step();
                self.0.compare_exchange(current, new, success, failure)
            }
        }
    )* };
}

atomics! {
    AtomicBool of bool;
    AtomicU32 of u32;
    AtomicUsize of usize;
    AtomicPtr<T> of *mut T;
}

impl AtomicUsize {
    pub(crate) fn fetch_add(&self, value: usize, order: Ordering) -> usize {
        system::step();
        self.0.fetch_add(value, order)
    }

    pub(crate) fn fetch_sub(&self, value: usize, order: Ordering) -> usize {
        system::step();
        self.0.fetch_sub(value, order)
    }
}

/// parking_lot's mutex, for which a simulation's threads wait in their own way.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(parking_lot::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(parking_lot::Mutex::new(value))
    }

    /// Its name in a simulation.
    fn key(&self) -> usize {
        std::ptr::from_ref(&self.0).addr()
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        system::step();
        MutexGuard {
            guard: Some(self.lock_now()),
            mutex: self,
        }
    }

    fn lock_now(&self) -> parking_lot::MutexGuard<'_, T> {
        let Some(world) = system::here() else {
            return self.0.lock();
        };
        loop {
            if let Some(guard) = self.0.try_lock() {
                return guard;
            }
            world.wait(self.key(), None);
        }
    }

    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.0.get_mut()
    }
}

pub(crate) struct MutexGuard<'a, T> {
    /// `None` only while it is dropped, or waits.
    guard: Option<parking_lot::MutexGuard<'a, T>>,
    mutex: &'a Mutex<T>,
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        match &self.guard {
            Some(guard) => guard,
            None => unreachable!("the guard is lent to a wait only for its length"),
        }
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        match &mut self.guard {
            Some(guard) => guard,
            None => unreachable!("the guard is lent to a wait only for its length"),
        }
    }
}

impl<T> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        if self.guard.take().is_some()
            && let Some(world) = system::here()
        {
            world.notify(self.mutex.key(), false);
        }
    }
}

/// parking_lot's condvar, on which a simulation's threads wait too.
#[derive(Debug, Default)]
pub(crate) struct Condvar(parking_lot::Condvar);

impl Condvar {
    pub(crate) const fn new() -> Self {
        Self(parking_lot::Condvar::new())
    }

    fn key(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    pub(crate) fn notify_one(&self) {
        match system::here() {
            Some(world) => world.notify(self.key(), false),
            None => drop(self.0.notify_one()),
        }
    }

    pub(crate) fn notify_all(&self) {
        match system::here() {
            Some(world) => world.notify(self.key(), true),
            None => drop(self.0.notify_all()),
        }
    }
}

/// Blocks until notified, until `deadline` at the latest; true if that has passed.
pub(crate) fn wait_until<'a, T>(
    condvar: &Condvar,
    mut guard: MutexGuard<'a, T>,
    deadline: Option<Instant>,
) -> (MutexGuard<'a, T>, bool) {
    let Some(world) = system::here() else {
        let Some(inner) = &mut guard.guard else {
            unreachable!("the guard is lent to a wait only for its length");
        };
        let timed_out = match deadline {
            Some(deadline) => condvar.0.wait_until(inner, deadline).timed_out(),
            None => {
                condvar.0.wait(inner);
                false
            }
        };
        return (guard, timed_out);
    };
    let mutex = guard.mutex;
    system::step();
    // Nobody runs between the two: no notification is missed.
    drop(guard);
    let timed_out = world.wait(condvar.key(), deadline);
    let guard = MutexGuard {
        guard: Some(mutex.lock_now()),
        mutex,
    };
    (guard, timed_out)
}

/// std's, of which each simulated thread has its own: it may stop where the real one, and with that all others, would find it half changed.
macro_rules! stepped_local {
    ($($(#[$attribute:meta])* static $name:ident: $of:ty = const $value:block;)*) => { $(
        $(#[$attribute])*
        static $name: $crate::sync_switch::LocalKey<$of> = {
            std::thread_local! {
                static REAL: $of = const $value;
                static SIMULATED: $crate::sync_switch::Simulated<$of> = const { $crate::sync_switch::Simulated::new() };
            }
            $crate::sync_switch::LocalKey {
                real: &REAL,
                simulated: &SIMULATED,
                init: || $value,
            }
        };
    )* };
}
pub(crate) use stepped_local as thread_local;

pub(crate) struct LocalKey<T: 'static> {
    pub(crate) real: &'static std::thread::LocalKey<T>,
    pub(crate) simulated: &'static std::thread::LocalKey<Simulated<T>>,
    pub(crate) init: fn() -> T,
}

/// What the threads of one simulation have, by thread.
pub(crate) struct Simulated<T>(RefCell<(u64, Vec<Option<Rc<T>>>)>);

impl<T> Simulated<T> {
    pub(crate) const fn new() -> Self {
        Self(RefCell::new((0, Vec::new())))
    }

    /// What this thread has; what those of another simulation had is gone.
    fn of(&self, world: u64, thread: usize, init: fn() -> T) -> Rc<T> {
        let mut all = self.0.borrow_mut();
        let before = (all.0 != world).then(|| std::mem::replace(&mut *all, (world, Vec::new())));
        if all.1.len() <= thread {
            all.1.resize_with(thread + 1, || None);
        }
        let own = all.1[thread].get_or_insert_with(|| Rc::new(init())).clone();
        drop(all);
        drop(before);
        own
    }
}

impl<T: 'static> LocalKey<T> {
    pub(crate) fn try_with<R>(&self, f: impl FnOnce(&T) -> R) -> Result<R, AccessError> {
        let Some((world, thread)) = system::here().and_then(|world| world.thread()) else {
            return self.real.try_with(f);
        };
        let own = |all: &Simulated<T>| all.of(world, thread, self.init);
        self.simulated.try_with(own).map(|own| f(&own))
    }

    pub(crate) fn with<R>(&self, f: impl FnOnce(&T) -> R) -> R {
        match self.try_with(f) {
            Ok(value) => value,
            Err(error) => panic!("{error}"),
        }
    }
}
