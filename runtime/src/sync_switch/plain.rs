//! The real primitives.

pub(crate) use parking_lot::{Condvar, Mutex, MutexGuard};
pub(crate) use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicUsize};
pub(crate) use std::thread::LocalKey;
pub(crate) use std::thread_local;
use std::time::Instant;

/// Blocks until notified, until `deadline` at the latest; true if that has passed. The guard is taken and given back, as loom's (std-like) condvar wants it.
pub(crate) fn wait_until<'a, T>(
    condvar: &Condvar,
    mut guard: MutexGuard<'a, T>,
    deadline: Option<Instant>,
) -> (MutexGuard<'a, T>, bool) {
    let timed_out = match deadline {
        Some(deadline) => condvar.wait_until(&mut guard, deadline).timed_out(),
        None => {
            condvar.wait(&mut guard);
            false
        }
    };
    (guard, timed_out)
}
