//! The wakers that a turn collected, to be woken when no lock is held.
//!
//! Foreign code runs here and nowhere else in a turn, each waker by itself: one that panics does
//! not keep the others from being woken.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;

/// Wakers collected by [`Driver::turn`](crate::Driver::turn), in the order in which they came.
///
/// Reuse one batch for all turns: it keeps its memory. A batch that is dropped wakes what it
/// still holds, so that no wake is lost.
///
/// # Examples
///
/// ```
/// use heist_io_driver::{Config, Driver, WakeBatch};
/// use std::time::Duration;
///
/// let mut driver = Driver::new(Config::default())?;
/// let mut batch = WakeBatch::new();
/// driver.turn(Some(Duration::ZERO), false, &mut batch)?;
/// assert_eq!(batch.wake_all(), 0);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Default)]
pub struct WakeBatch {
    wakers: Vec<Waker>,
}

impl WakeBatch {
    /// An empty batch; allocates nothing yet.
    #[must_use]
    pub const fn new() -> WakeBatch {
        WakeBatch { wakers: Vec::new() }
    }

    /// How many wakers are held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.wakers.len()
    }

    /// Whether no waker is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.wakers.is_empty()
    }

    /// Wakes and removes all, and returns how many of them panicked. A panic is caught and
    /// reported as a `tracing` error.
    pub fn wake_all(&mut self) -> usize {
        let mut panics = 0;
        for waker in self.wakers.drain(..) {
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| waker.wake())) {
                panics += 1;
                report(payload);
            }
        }
        panics
    }

    /// Removes the wakers one by one, for a caller who wakes them in its own way.
    pub fn drain(&mut self) -> impl Iterator<Item = Waker> + '_ {
        self.wakers.drain(..)
    }

    #[inline]
    pub(crate) fn push(&mut self, waker: Waker) {
        self.wakers.push(waker);
    }
}

#[cold]
fn report(payload: Box<dyn std::any::Any + Send>) {
    tracing::error!("a waker panicked while it was woken");
    // The payload is foreign too. Should its destructor panic as well, the second payload is
    // leaked rather than tried.
    if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(second);
    }
}

impl Drop for WakeBatch {
    fn drop(&mut self) {
        self.wake_all();
    }
}

impl fmt::Debug for WakeBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WakeBatch")
            .field("len", &self.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            // Relaxed: counted and read on one thread.
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            // A payload of no size, since `wake_all` leaks it.
            std::panic::panic_any(());
        }
    }
    struct Panics;
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            std::panic::panic_any(Bomb);
        }
    }

    #[test]
    fn a_panicking_waker_keeps_no_other_from_being_woken() {
        let count = Arc::new(Count(AtomicUsize::new(0)));
        let mut batch = WakeBatch::new();
        for _ in 0..3 {
            batch.push(Waker::from(Arc::clone(&count)));
            batch.push(Waker::from(Arc::new(Panics)));
        }
        assert_eq!(batch.len(), 6);
        assert_eq!(batch.wake_all(), 3);
        assert_eq!(count.0.load(Ordering::Relaxed), 3);
        assert!(batch.is_empty());
    }

    #[test]
    fn a_dropped_batch_wakes_what_it_holds() {
        let count = Arc::new(Count(AtomicUsize::new(0)));
        let mut batch = WakeBatch::new();
        batch.push(Waker::from(Arc::clone(&count)));
        drop(batch);
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
    }
}
