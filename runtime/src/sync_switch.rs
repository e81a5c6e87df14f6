//! The one place that chooses between the real primitives and loom's.
//!
//! The protocol cores (`task::state`, `task::cell`, `scheduler::idle`, `scheduler::park`) import their
//! atomics and cells from here, so that the code that ships is the code that is model-checked:
//! `RUSTFLAGS="--cfg loom" cargo test --release -p heist-runtime --lib`. No other file of the crate asks for `cfg(loom)`
//! outside of its models.

#[cfg(not(loom))]
mod imp {
    pub(crate) use parking_lot::{Condvar, Mutex};
    pub(crate) use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicUsize, fence};

    /// `std::cell::UnsafeCell` with loom's closure interface, so that loom can see each access.
    #[derive(Debug)]
    pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

    impl<T> UnsafeCell<T> {
        pub(crate) const fn new(value: T) -> Self {
            Self(std::cell::UnsafeCell::new(value))
        }

        /// Hands out the pointer for reading. The caller of the closure's body argues the access.
        #[inline(always)]
        pub(crate) fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
            f(self.0.get())
        }

        /// Hands out the pointer for writing. The caller of the closure's body argues the access.
        #[inline(always)]
        pub(crate) fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
            f(self.0.get())
        }
    }

    /// Blocks until notified. The guard is taken and given back, as loom's (std-like) condvar wants it.
    pub(crate) fn wait<'a, T>(
        condvar: &Condvar,
        mut guard: parking_lot::MutexGuard<'a, T>,
    ) -> parking_lot::MutexGuard<'a, T> {
        condvar.wait(&mut guard);
        guard
    }

    /// As [`wait`], for at most `limit`.
    pub(crate) fn wait_for<'a, T>(
        condvar: &Condvar,
        mut guard: parking_lot::MutexGuard<'a, T>,
        limit: std::time::Duration,
    ) -> parking_lot::MutexGuard<'a, T> {
        condvar.wait_for(&mut guard, limit);
        guard
    }

    /// A bug that a model plants to show that it would be caught; in a real build there is none.
    #[inline(always)]
    pub(crate) const fn planted(_: super::Bug) -> bool {
        false
    }
}

#[cfg(loom)]
mod imp {
    pub(crate) use loom::cell::UnsafeCell;
    pub(crate) use loom::sync::atomic::{AtomicPtr, AtomicU32, AtomicUsize, fence};

    /// loom's mutex and condvar with parking_lot's unpoisoned interface.
    #[derive(Debug)]
    pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> loom::sync::MutexGuard<'_, T> {
            self.0.lock().expect("no model panics with the lock held")
        }
    }

    #[derive(Debug)]
    pub(crate) struct Condvar(loom::sync::Condvar);

    impl Condvar {
        pub(crate) fn new() -> Self {
            Self(loom::sync::Condvar::new())
        }

        pub(crate) fn notify_one(&self) {
            self.0.notify_one();
        }
    }

    pub(crate) fn wait<'a, T>(
        condvar: &Condvar,
        guard: loom::sync::MutexGuard<'a, T>,
    ) -> loom::sync::MutexGuard<'a, T> {
        condvar
            .0
            .wait(guard)
            .expect("no model panics with the lock held")
    }

    /// loom has no time: a limit never passes.
    pub(crate) fn wait_for<'a, T>(
        condvar: &Condvar,
        guard: loom::sync::MutexGuard<'a, T>,
        _limit: std::time::Duration,
    ) -> loom::sync::MutexGuard<'a, T> {
        wait(condvar, guard)
    }

    /// Whether the model of this process was asked to plant `bug` (see [`super::Bug`]).
    pub(crate) fn planted(bug: super::Bug) -> bool {
        std::env::var("HEIST_PLANT").is_ok_and(|name| name == format!("{bug:?}"))
    }
}

pub(crate) use imp::*;

/// The bugs that models plant, each named for what it leaves out. A model whose twin with the bug passes proves nothing, so
/// every model is run again, in a child process, with its bug planted, and has to fail.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bug {
    /// A worker that goes to sleep does not look at the queues again.
    SleepWithoutLookingAgain,
    /// A wake-up that meets a running task is forgotten.
    WakeWhileRunningLost,
    /// The join waker is published although the task is already done.
    JoinWakerAfterDone,
}
