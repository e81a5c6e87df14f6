//! Notices a fork: the child has the memory of a driver, or of a runtime built on one, but none of its threads, and shares its poller with
//! the parent.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How many forks lie between the process that was started and this one.
static GENERATION: AtomicU64 = AtomicU64::new(0);

/// The generation of this process, counted from the first call of [`watch`] on. What was built in an earlier one has no threads here.
#[must_use]
pub fn generation() -> u64 {
    // Relaxed: a fork leaves one thread, the one that forked.
    GENERATION.load(Relaxed)
}

/// Sees to it that forks are counted from now on.
pub fn watch() {
    #[cfg(unix)]
    {
        static ONCE: std::sync::Once = std::sync::Once::new();
        extern "C" fn in_child() {
            GENERATION.fetch_add(1, Relaxed);
        }
        ONCE.call_once(|| {
            // SAFETY: the handler does one atomic addition, which is allowed between fork and exec.
            let failed = unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
            if failed != 0 {
                tracing::warn!(target: "heist", "forks cannot be noticed: pthread_atfork failed");
            }
        });
    }
}
