//! The registry: every unfinished task of a runtime, so that none is lost, all can be listed, and shutdown reaches each.
//!
//! One doubly linked list per shard, threaded through the headers, under the shard's lock. A worker binds what it spawns to its own
//! shard: on the hot path nobody else takes that lock, and spawning writes no line that two workers share.
//!
//! A shard that is closed binds nothing more. Closing takes each shard's lock, so a task is either bound before (and found by the
//! walk that follows) or refused.
#![allow(unsafe_code)]

use super::Ending;
use super::cell::{Header, Links};
use super::join::TaskRef;
use crate::sync_switch::{Bug, Condvar, Mutex, planted, wait_until};
use crossbeam_utils::CachePadded;
use std::ptr::NonNull;
use std::time::Instant;

pub(crate) struct Registry {
    shards: Box<[CachePadded<Mutex<Shard>>]>,
    /// Notified, under `drain`, whenever a task leaves a closed registry.
    drained: Condvar,
    drain: Mutex<()>,
}

#[derive(Default)]
struct Shard {
    /// Invariant: `None`, or a task that was bound here and was not released, as are all that its links lead to: the registry owns a reference to each.
    head: Option<NonNull<Header>>,
    len: usize,
    /// How many tasks were ever bound here.
    bound: u64,
    /// How many of them have ended, and how.
    ended: Ended,
    closed: bool,
}

/// How many tasks have ended, by how they did.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ended {
    pub(crate) with_value: u64,
    pub(crate) cancelled: u64,
    pub(crate) failed: u64,
}

/// The books of one shard, all of the same moment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Books {
    pub(crate) bound: u64,
    pub(crate) ended: Ended,
    /// Those that stand in the list.
    pub(crate) listed: u64,
    /// Those of them that stand in a queue, by their state.
    pub(crate) queued: u64,
}

// SAFETY: the pointers lead to headers (Send + Sync) whose registry reference the shard holds.
unsafe impl Send for Shard {}

impl Registry {
    pub(crate) fn new(shards: usize) -> Self {
        Self {
            shards: (0..shards.max(1)).map(|_| CachePadded::default()).collect(),
            drained: Condvar::new(),
            drain: Mutex::new(()),
        }
    }

    fn shard(&self, shard: usize) -> &Mutex<Shard> {
        &self.shards[shard % self.shards.len()]
    }

    /// Takes over the registry's reference of a new task; false, and the reference stays the caller's, if the registry is closed.
    pub(crate) fn bind(&self, shard: usize, task: &super::Runnable) -> bool {
        let task = task.as_non_null();
        let mut shard = self.shard(shard).lock();
        if shard.closed && !planted(Bug::BoundAfterClose) {
            return false;
        }
        // SAFETY: rule 3 of `task::cell`, this shard's lock is held and the task is in no list yet.
        unsafe {
            links(task, |links| {
                *links = Links {
                    previous: None,
                    next: shard.head,
                }
            });
            if let Some(head) = shard.head {
                links(head, |links| links.previous = Some(task));
            }
        }
        shard.head = Some(task);
        shard.len += 1;
        shard.bound += 1;
        true
    }

    /// Takes a task that has ended out of its shard, if it was ever bound, and gives the registry's reference to the caller.
    ///
    /// `ending`: how it is about to end.
    pub(crate) fn release(&self, shard: usize, task: NonNull<Header>, ending: Ending) {
        let old_look = planted(Bug::ReleaseFromOldLook).then(|| self.shard(shard).lock().closed);
        let closed = {
            let mut shard = self.shard(shard).lock();
            // SAFETY: rule 3, this shard's lock is held; its neighbours hold the registry's reference too.
            unsafe {
                let mine = links(task, |links| std::mem::replace(links, Links::UNBOUND));
                if mine.previous == Links::UNBOUND.previous {
                    return;
                }
                match mine.previous {
                    Some(previous) => links(previous, |links| links.next = mine.next),
                    None => shard.head = mine.next,
                }
                if let Some(next) = mine.next {
                    links(next, |links| links.previous = mine.previous);
                }
            }
            shard.len -= 1;
            let ended = &mut shard.ended;
            match ending {
                Ending::Value => ended.with_value += 1,
                Ending::Cancelled | Ending::Aborted => ended.cancelled += 1,
                Ending::Failure => ended.failed += 1,
            }
            old_look.unwrap_or(shard.closed)
        };
        if closed && !planted(Bug::DrainUnheard) {
            let _drain = (!planted(Bug::DrainedOutsideTheLock)).then(|| self.drain.lock());
            self.drained.notify_all();
        }
    }

    /// Refuses every later task.
    pub(crate) fn close(&self) {
        for shard in &self.shards {
            shard.lock().closed = true;
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.shard(0).lock().closed
    }

    /// How many tasks have not ended.
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len).sum()
    }

    /// How many tasks were ever accepted.
    pub(crate) fn bound(&self) -> u64 {
        self.shards.iter().map(|shard| shard.lock().bound).sum()
    }

    /// The books of each shard.
    pub(crate) fn books(&self) -> impl Iterator<Item = Books> {
        self.shards.iter().map(|shard| {
            let shard = shard.lock();
            let mut books = Books {
                bound: shard.bound,
                ended: shard.ended,
                ..Books::default()
            };
            let mut next = shard.head;
            while let Some(task) = next {
                books.listed += 1;
                // SAFETY: as in `tasks`.
                unsafe {
                    books.queued += u64::from(task.as_ref().state.load().is_queued());
                    next = links(task, |links| links.next);
                }
            }
            books
        })
    }

    /// Every task that has not ended, as of some moment during the call.
    pub(crate) fn tasks(&self) -> Vec<TaskRef> {
        let mut tasks = Vec::new();
        for shard in &self.shards {
            let shard = shard.lock();
            let mut next = shard.head;
            while let Some(task) = next {
                // SAFETY: the task stands in the list, so the registry holds a reference; rule 3 for its links.
                unsafe {
                    tasks.push(TaskRef::new(task));
                    next = links(task, |links| links.next);
                }
            }
        }
        tasks.retain(|task| !task.is_done());
        tasks
    }

    /// Waits until at most `left` tasks remain or `deadline` has passed; true in the first case. The registry must be closed.
    pub(crate) fn wait_drained(&self, left: usize, deadline: Instant) -> bool {
        let mut drain = self.drain.lock();
        while self.len() > left {
            let timed_out;
            (drain, timed_out) = wait_until(&self.drained, drain, Some(deadline));
            if timed_out {
                return self.len() <= left;
            }
        }
        true
    }
}

/// # Safety
///
/// Rule 3 of `task::cell`: the lock of the shard in which the task stands, or is about to stand, is held.
unsafe fn links<R>(task: NonNull<Header>, f: impl FnOnce(&mut Links) -> R) -> R {
    // SAFETY: the header is alive by the registry's reference.
    let header = unsafe { task.as_ref() };
    header.links.with_mut(|links| {
        // SAFETY: by the caller's word.
        f(unsafe { &mut *links })
    })
}
