//! Task ids: unique in the process, handed out in blocks so that spawning writes nothing that two workers share.

use std::cell::Cell;
use std::fmt;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How many ids a thread takes from the shared counter at a time: a shared write every 256th spawn does not show.
const BLOCK: u64 = 256;

/// Identifies a task, for the life of the process (of one on a simulated runtime: for the life of the simulation). Ids rise within one thread's spawns, not across threads.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId(NonZeroU64);

thread_local! {
    /// The next id, and how many are left of the block.
    static MINE: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
}

/// Has this thread number its tasks from 1, with as many ids as it wants, until the guard is dropped: a simulation's run numbers them as the one
/// before.
#[cfg(feature = "sim")]
pub(crate) fn number_from_one() -> impl Drop {
    struct Back((u64, u64));
    impl Drop for Back {
        fn drop(&mut self) {
            MINE.set(self.0);
        }
    }
    Back(MINE.replace((1, u64::MAX)))
}

impl TaskId {
    pub(crate) fn next() -> Self {
        static NEXT_BLOCK: AtomicU64 = AtomicU64::new(0);
        MINE.with(|mine| {
            let (mut next, mut left) = mine.get();
            if left == 0 {
                // Relaxed: only uniqueness matters, and a read-modify-write gives that.
                next = NEXT_BLOCK.fetch_add(BLOCK, Relaxed) + 1;
                left = BLOCK;
            }
            mine.set((next + 1, left - 1));
            // Ids start at 1, and 2^64 of them are not handed out in the life of a process.
            Self(NonZeroU64::new(next).unwrap_or(NonZeroU64::MAX))
        })
    }

    pub(crate) fn get(self) -> u64 {
        self.0.get()
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TaskId({})", self.0)
    }
}
