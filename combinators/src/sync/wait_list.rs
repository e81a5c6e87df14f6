//! Who waits, in order, and who was told to go on: a pure data structure, one per queue of waiters.
//!
//! ```text
//!                  push                    grant_first, grant_all
//!     (outside) ----------> waiting in line ----------------------> granted
//!         ^                        |                                   |
//!         |          leave         |                 leave             |
//!         +------------------------+-----------------------------------+
//! ```
//!
//! A waiter owns a [`Ticket`] from `push` to `leave`, so it stands in the list exactly once and nobody else can take it out. Granting only
//! marks it: what the grant is worth (a lock, a permit, a look at the queue) is the object's affair, and so is what becomes of it when
//! the waiter leaves without having used it.
//!
//! Waiters are linked slots of a slab instead of nodes inside their futures, which would need unsafe code: a slot is reused, so waiting
//! costs an allocation only when more wait than ever before.
//!
//! Knows no lock, no future and no runtime. Neither wakes nor drops a waker: [`Wakes`] carries them out of the critical section.

use slab::Slab;
use std::any::Any;
use std::fmt;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;

/// No slot.
const NIL: usize = usize::MAX;

/// A list that was longer than this gives its memory back when it is empty; 32 slots are about 1 KiB.
const KEPT_SLOTS: usize = 32;

/// The waiters of one kind of one object.
pub(super) struct WaitList {
    /// Invariant: the waiting slots, and no others, form a list from `first` to `last` by `next`, and back by `previous`.
    slots: Slab<Slot>,
    first: usize,
    last: usize,
}

enum Slot {
    Waiting {
        waker: Waker,
        previous: usize,
        next: usize,
    },
    Granted,
}

/// A place in a [`WaitList`]. Whoever has one must give it back to [`WaitList::leave`] of the same list.
#[must_use = "a ticket that is lost blocks the line"]
#[derive(Debug)]
pub(super) struct Ticket(usize);

/// What a waiter was when it left.
#[must_use = "a grant has to be used or passed on, and a waker dropped outside the lock"]
pub(super) enum Left {
    Granted,
    Waiting(Waker),
}

impl WaitList {
    pub(super) const fn new() -> Self {
        Self {
            slots: Slab::new(),
            first: NIL,
            last: NIL,
        }
    }

    /// Whether nobody waits and no granted waiter is still to leave.
    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// How many there are, waiting or granted.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Gets in line, behind all others.
    pub(super) fn push(&mut self, waker: Waker) -> Ticket {
        let key = self.slots.insert(Slot::Waiting {
            waker,
            previous: self.last,
            next: NIL,
        });
        match self.last {
            NIL => self.first = key,
            last => *self.links(last).1 = key,
        }
        self.last = key;
        Ticket(key)
    }

    /// Comes in as somebody who need not wait in line, but is still to come back and leave.
    pub(super) fn push_granted(&mut self) -> Ticket {
        Ticket(self.slots.insert(Slot::Granted))
    }

    pub(super) fn is_granted(&self, ticket: &Ticket) -> bool {
        matches!(self.slots[ticket.0], Slot::Granted)
    }

    /// Whether this waiter would be woken as `waker` does.
    pub(super) fn wakes_as(&self, ticket: &Ticket, waker: &Waker) -> bool {
        match &self.slots[ticket.0] {
            Slot::Waiting { waker: own, .. } => own.will_wake(waker),
            Slot::Granted => false,
        }
    }

    /// Exchanges the waker of a waiter in line. A granted one has been woken and keeps none: then the new one comes back.
    pub(super) fn set_waker(&mut self, ticket: &Ticket, new: Waker) -> Waker {
        match &mut self.slots[ticket.0] {
            Slot::Waiting { waker, .. } => mem::replace(waker, new),
            Slot::Granted => new,
        }
    }

    /// Grants whoever waits longest; false if nobody waits.
    pub(super) fn grant_first(&mut self, wakes: &mut Wakes) -> bool {
        let key = self.first;
        if key == NIL {
            return false;
        }
        self.unlink(key);
        if let Slot::Waiting { waker, .. } = mem::replace(&mut self.slots[key], Slot::Granted) {
            wakes.wake(waker);
        }
        true
    }

    /// Grants all who wait.
    pub(super) fn grant_all(&mut self, wakes: &mut Wakes) {
        while self.grant_first(wakes) {}
    }

    /// Goes away, from whatever place in line.
    pub(super) fn leave(&mut self, ticket: Ticket) -> Left {
        let Ticket(key) = ticket;
        if matches!(self.slots[key], Slot::Waiting { .. }) {
            self.unlink(key);
        }
        let slot = self.slots.remove(key);
        if self.slots.is_empty() && self.slots.capacity() > KEPT_SLOTS {
            self.slots = Slab::new();
        }
        match slot {
            Slot::Waiting { waker, .. } => Left::Waiting(waker),
            Slot::Granted => Left::Granted,
        }
    }

    /// Takes a waiting slot out of the line; it stays in the slab.
    fn unlink(&mut self, key: usize) {
        let (&mut previous, &mut next) = self.links(key);
        match previous {
            NIL => self.first = next,
            previous => *self.links(previous).1 = next,
        }
        match next {
            NIL => self.last = previous,
            next => *self.links(next).0 = previous,
        }
    }

    /// Previous and next of a slot in line.
    fn links(&mut self, key: usize) -> (&mut usize, &mut usize) {
        match &mut self.slots[key] {
            Slot::Waiting { previous, next, .. } => (previous, next),
            Slot::Granted => unreachable!("a granted slot stands in no line"),
        }
    }
}

impl fmt::Debug for WaitList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitList")
            .field("len", &self.len())
            .finish()
    }
}

/// Wakers on their way out of a critical section: woken, or just dropped, when this drops.
///
/// Each by itself, as they are foreign code: one that panics does not keep the others from being woken.
#[derive(Default)]
pub(super) struct Wakes {
    /// The common case needs no memory: one grant, one waker.
    first: Option<Waker>,
    /// Invariant: empty unless there is a first.
    more: Vec<Waker>,
    discarded: Option<Waker>,
}

impl Wakes {
    pub(super) fn wake(&mut self, waker: Waker) {
        match self.first {
            None => self.first = Some(waker),
            Some(_) => self.more.push(waker),
        }
    }

    /// Takes a waker that is to be dropped unwoken: at most one.
    pub(super) fn discard(&mut self, waker: Waker) {
        debug_assert!(self.discarded.is_none());
        self.discarded = Some(waker);
    }
}

impl Drop for Wakes {
    #[inline]
    fn drop(&mut self) {
        if let Some(waker) = self.first.take() {
            contain(|| waker.wake());
            for waker in self.more.drain(..) {
                contain(|| waker.wake());
            }
        }
        if let Some(waker) = self.discarded.take() {
            contain(|| drop(waker));
        }
    }
}

/// Calls a waker, whose panic has nowhere to go: it may be a guard's drop that wakes.
fn contain(foreign: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(foreign)) {
        report(payload);
    }
}

#[cold]
fn report(payload: Box<dyn Any + Send>) {
    tracing::error!("a waker panicked");
    // The payload is foreign too. If its destructor panics as well, the second payload is leaked rather than tried.
    if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        mem::forget(second);
    }
}
