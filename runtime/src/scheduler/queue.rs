//! A worker's own queue: a LIFO slot in front of a crossbeam deque.
//!
//! The slot takes the task that was woken last: it finds the waker's data still in the cache, and a ping-pong between two tasks
//! never leaves the core. The deque is FIFO. Others steal from the deque's front at any time, and from the slot only if its owner has
//! been in one poll for long (`steal_slot`): stealing a fresh one would undo what the slot is for.
#![allow(unsafe_code)]

use crate::sync_switch::injector::Injector;
use crate::sync_switch::{AtomicPtr, Bug, planted};
use crate::task::{Header, Runnable};
use crossbeam_deque::{Steal, Stealer, Worker as Deque};
use std::sync::atomic::{Ordering, Ordering::AcqRel, Ordering::Relaxed};

/// The owner's end.
pub(crate) struct LocalQueue {
    deque: Deque<Runnable>,
}

/// The end that everybody sees.
pub(crate) struct SharedQueue {
    stealer: Stealer<Runnable>,
    /// Null, or the pointer of a `Runnable`. Invariant: only swapped, never plainly stored; who swaps a pointer out owns it.
    slot: AtomicPtr<Header>,
}

/// Makes both ends.
pub(crate) fn queue() -> (LocalQueue, SharedQueue) {
    let deque = Deque::new_fifo();
    let stealer = deque.stealer();
    let slot = AtomicPtr::new(std::ptr::null_mut());
    (LocalQueue { deque }, SharedQueue { stealer, slot })
}

impl LocalQueue {
    pub(crate) fn push(&self, task: Runnable) {
        self.deque.push(task);
    }

    pub(crate) fn pop(&self) -> Option<Runnable> {
        self.deque.pop()
    }

    pub(crate) fn len(&self) -> usize {
        self.deque.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.deque.is_empty()
    }

    /// Moves about half of the injected tasks here (at most 32) and gives the first.
    pub(crate) fn take_injected(&self, injector: &Injector<Runnable>) -> Option<Runnable> {
        retry(|| injector.steal_batch_and_pop(&self.deque))
    }

    /// Moves about half of another's deque here (at most 32) and gives the first.
    pub(crate) fn steal_from(&self, other: &SharedQueue) -> Option<Runnable> {
        retry(|| other.stealer.steal_batch_and_pop(&self.deque))
    }
}

impl SharedQueue {
    /// Puts a task into the slot and gives the one that it displaces.
    #[inline]
    pub(crate) fn replace_slot(&self, task: Runnable) -> Option<Runnable> {
        let before = self.slot.swap(task.into_raw(), order());
        // SAFETY: the slot's invariant.
        unsafe { Runnable::from_raw(before) }
    }

    #[inline]
    pub(crate) fn take_slot(&self) -> Option<Runnable> {
        if self.is_slot_empty() {
            return None;
        }
        let seen = planted(Bug::SlotTakenByALook).then(|| self.slot.load(Relaxed));
        let before = self.slot.swap(std::ptr::null_mut(), order());
        let before = seen.unwrap_or(before);
        // SAFETY: the slot's invariant.
        unsafe { Runnable::from_raw(before) }
    }

    /// Relaxed: a hint for thieves; the owner sees its own writes.
    pub(crate) fn is_slot_empty(&self) -> bool {
        self.slot.load(Relaxed).is_null()
    }

    pub(crate) fn is_deque_empty(&self) -> bool {
        self.stealer.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.stealer.len() + usize::from(!self.is_slot_empty())
    }
}

impl Drop for SharedQueue {
    fn drop(&mut self) {
        drop(self.take_slot());
    }
}

/// Of the slot's swaps. AcqRel: a task's data travels by its own state word, but whoever has queued it has just looked at its scheduler (rule 6 of
/// `task::cell`), which the task's end takes away: the Release half orders that look, the Acquire half in `take_slot` the end.
#[inline(always)]
fn order() -> Ordering {
    if planted(Bug::SlotUnordered) {
        Relaxed
    } else {
        AcqRel
    }
}

/// crossbeam's `Retry` means that another thief was faster: there may be more.
fn retry<T>(mut steal: impl FnMut() -> Steal<T>) -> Option<T> {
    loop {
        match steal() {
            Steal::Success(task) => return Some(task),
            Steal::Empty => return None,
            Steal::Retry => std::hint::spin_loop(),
        }
    }
}
