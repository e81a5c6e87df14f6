//! The injector of a model: a queue that promises what crossbeam's does at the least. A push releases, a steal and a look acquire, and none is a fence.

use super::AtomicUsize;
use crossbeam_deque::{Steal, Worker};
use std::collections::VecDeque;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Release};
use std::sync::{Mutex, PoisonError};

/// The tasks stand under a lock that loom does not see, which orders nothing; whoever has counted one out may take one.
pub(crate) struct Injector<T> {
    tasks: Mutex<VecDeque<T>>,
    count: AtomicUsize,
}

impl<T> Default for Injector<T> {
    fn default() -> Self {
        Self {
            tasks: Mutex::default(),
            count: AtomicUsize::new(0),
        }
    }
}

impl<T> Injector<T> {
    pub(crate) fn push(&self, task: T) {
        let tasks = self.tasks.lock();
        tasks
            .unwrap_or_else(PoisonError::into_inner)
            .push_back(task);
        self.count.fetch_add(1, Release);
    }

    pub(crate) fn steal(&self) -> Steal<T> {
        let mut count = self.count.load(Acquire);
        while count > 0 {
            match self
                .count
                .compare_exchange(count, count - 1, AcqRel, Acquire)
            {
                Ok(_) => {
                    let tasks = self.tasks.lock();
                    let task = tasks.unwrap_or_else(PoisonError::into_inner).pop_front();
                    return task.map_or(Steal::Empty, Steal::Success);
                }
                Err(now) => count = now,
            }
        }
        Steal::Empty
    }

    /// Moves none, since one is as good as a batch here.
    pub(crate) fn steal_batch_and_pop(&self, _: &Worker<T>) -> Steal<T> {
        self.steal()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn len(&self) -> usize {
        self.count.load(Acquire)
    }
}
