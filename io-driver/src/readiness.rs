//! What is known of one source: its readiness word, and who waits for it to change.
//!
//! A source counts as ready until the kernel has said otherwise, so an operation is tried first
//! and waits only after the kernel answered "would block". Then:
//!
//! ```text
//! Wait (the task)                            Report (the thread that turns the driver)
//! 1 note the word, try: would block          1 set the bits, advance the tick
//! 2 clear the bit, if the tick is the noted  2 under the lock: take the wakers
//! 3 under the lock: leave a waker            3 after the turn: wake them
//! 4 under the lock: look at the word again
//! ```
//!
//! An event that comes between 1 and 2 has advanced the tick, so 2 does nothing. One whose bits
//! come after 2 takes the lock either after 3, and finds the waker, or before it, and 4 sees the
//! bits.
//!
//! Waiters live here, named by a number; a future that is leaked leaves a slot behind and no
//! pointer. Wakers are cloned, woken and dropped outside the lock.

use std::io;
use std::ops::{BitOr, BitOrAssign};
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Waker;

use parking_lot::Mutex;
use slab::Slab;

use crate::batch::WakeBatch;
use crate::sys::{Fd, Interest, Selector, Token};

/// What the kernel reported: the low byte of the readiness word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bits(u32);

impl Bits {
    pub(crate) const NONE: Bits = Bits(0);
    /// A read may get something. Set by the selector; cleared by a reader that got "would block"
    /// or, as a hint, less than it asked for.
    pub(crate) const READABLE: Bits = Bits(1);
    /// A write may get through. Set and cleared likewise.
    pub(crate) const WRITABLE: Bits = Bits(1 << 1);
    /// The peer will send no more: hints no longer clear `READABLE`. "Would block" clears it too,
    /// for descriptors that report it before their time (a socket not yet connected).
    pub(crate) const READ_CLOSED: Bits = Bits(1 << 2);
    /// The peer will take no more. As `READ_CLOSED`.
    pub(crate) const WRITE_CLOSED: Bits = Bits(1 << 3);
    /// An error is to be fetched by the next operation, whichever it is. As `READ_CLOSED`, for
    /// both directions.
    pub(crate) const ERROR: Bits = Bits(1 << 4);
    /// The driver is gone: nothing will be reported any more. Set once, never cleared.
    const SHUT: Bits = Bits(1 << 5);

    fn contains_any(self, other: Bits) -> bool {
        self.0 & other.0 != 0
    }
}

impl BitOr for Bits {
    type Output = Bits;
    fn bitor(self, other: Bits) -> Bits {
        Bits(self.0 | other.0)
    }
}

impl BitOrAssign for Bits {
    fn bitor_assign(&mut self, other: Bits) {
        self.0 |= other.0;
    }
}

/// The bits of the word; the rest is the tick, which wraps. A reader would have to be overtaken by
/// 2^24 events between noting the word and clearing a bit for the wrap to matter.
const BITS: u32 = 0xff;
/// One more event.
const TICK: u32 = 1 << 8;

/// Reading or writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Read,
    Write,
}

impl Direction {
    fn ready(self) -> Bits {
        match self {
            Direction::Read => Bits::READABLE | Bits::READ_CLOSED | Bits::ERROR | Bits::SHUT,
            Direction::Write => Bits::WRITABLE | Bits::WRITE_CLOSED | Bits::ERROR | Bits::SHUT,
        }
    }

    /// What "would block" disproves.
    fn disproved(self) -> Bits {
        match self {
            Direction::Read => Bits::READABLE | Bits::READ_CLOSED | Bits::ERROR,
            Direction::Write => Bits::WRITABLE | Bits::WRITE_CLOSED | Bits::ERROR,
        }
    }

    /// What keeps a partial transfer from meaning "no more for now".
    fn final_word(self) -> Bits {
        match self {
            Direction::Read => Bits::READ_CLOSED | Bits::ERROR | Bits::SHUT,
            Direction::Write => Bits::WRITE_CLOSED | Bits::ERROR | Bits::SHUT,
        }
    }
}

/// The word as it was noted before a try.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen(u32);

/// The word of a source that nobody has tried and no event has reached.
const UNTRIED: Seen = Seen(Bits::READABLE.0 | Bits::WRITABLE.0);

impl Seen {
    /// The driver is gone: whoever would have to wait fails instead.
    pub(crate) fn is_shut(self) -> bool {
        Bits(self.0).contains_any(Bits::SHUT)
    }
}

/// Where a waiter waits.
#[derive(Debug)]
pub(crate) enum Place<'a> {
    /// The one place of poll-style callers: the last to come has it.
    Poll,
    /// A place of its own, found at the first wait and kept until [`Source::leave`].
    Own(&'a mut Option<usize>),
}

/// What became of an attempt to wait.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// The waker is in place.
    Waiting,
    /// The source has become ready meanwhile.
    Ready,
}

/// One registered source.
pub(crate) struct Source {
    pub(crate) fd: Fd,
    /// Bits and tick. Only changed by read-modify-write.
    word: AtomicU32,
    waiters: Mutex<Waiters>,
}

#[derive(Default)]
struct Waiters {
    read: Line,
    write: Line,
    /// What the selector was asked to report next, where it must be asked.
    armed: Interest,
}

/// Those who wait in one direction.
#[derive(Default)]
struct Line {
    poll: Option<Waker>,
    /// The first place of its own, named 0; nearly always the only one.
    first: Option<Waker>,
    first_taken: bool,
    /// Further places, named from 1.
    rest: Option<Box<Slab<Option<Waker>>>>,
}

impl Source {
    pub(crate) fn new(fd: Fd) -> Source {
        Source {
            fd,
            word: AtomicU32::new(UNTRIED.0),
            waiters: Mutex::new(Waiters::default()),
        }
    }

    /// The word, if the source counts as ready.
    #[inline]
    pub(crate) fn ready(&self, direction: Direction) -> Option<Seen> {
        // Acquire: pairs with the Release in `report`, so that the try comes after the event.
        let word = self.word.load(Ordering::Acquire);
        Bits(word)
            .contains_any(direction.ready())
            .then_some(Seen(word))
    }

    /// Takes back that a source nobody has tried counts as readable, unless an event has come.
    #[cfg(unix)]
    pub(crate) fn doubt_readable(&self) {
        self.clear(Direction::Read, UNTRIED);
    }

    /// Notes that a try got "would block", unless an event came meanwhile.
    pub(crate) fn clear(&self, direction: Direction, seen: Seen) {
        self.clear_bits(direction.disproved(), seen);
    }

    /// Notes that a try got less than it asked for, hence that the next one would block, unless
    /// an event came meanwhile or the peer has closed.
    #[inline]
    pub(crate) fn clear_hint(&self, direction: Direction, seen: Seen) {
        if !Bits(seen.0).contains_any(direction.final_word()) {
            self.clear_bits(direction.disproved(), seen);
        }
    }

    fn clear_bits(&self, bits: Bits, seen: Seen) {
        // AcqRel, Relaxed on failure: the readers of the word rely on its bits alone; step 4 of
        // the protocol is ordered by the lock.
        let _ = self
            .word
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, |word| {
                (word & !BITS == seen.0 & !BITS).then_some(word & !bits.0)
            });
    }

    /// Steps 3 and 4: leaves a waker, unless the source is ready by now.
    pub(crate) fn wait(
        &self,
        direction: Direction,
        place: Place<'_>,
        waker: &Waker,
        selector: &Selector,
        token: Token,
    ) -> io::Result<Wait> {
        // Foreign code: cloned before the lock is taken, the surplus dropped after.
        let mut waker = Some(waker.clone());
        let result = {
            let mut waiters = self.waiters.lock();
            let held = waiters.line(direction).place(place);
            if !matches!((&*held, &waker), (Some(a), Some(b)) if a.will_wake(b)) {
                std::mem::swap(held, &mut waker);
            }
            // Relaxed: ordered by the lock, see the protocol.
            let word = self.word.load(Ordering::Relaxed);
            if Bits(word).contains_any(direction.ready()) {
                Ok(Wait::Ready)
            } else {
                self.arm(&mut waiters, selector, token)
                    .map(|()| Wait::Waiting)
            }
        };
        drop(waker);
        result
    }

    /// Gives up a place of its own.
    pub(crate) fn leave(&self, direction: Direction, place: usize) {
        let waker = self.waiters.lock().line(direction).leave(place);
        drop(waker);
    }

    /// Takes in what the selector reported. Runs no foreign code.
    pub(crate) fn report(
        &self,
        bits: Bits,
        selector: &Selector,
        token: Token,
        batch: &mut WakeBatch,
    ) {
        // Release: pairs with the Acquire in `ready`.
        let _ = self
            .word
            .fetch_update(Ordering::Release, Ordering::Relaxed, |word| {
                Some((word | bits.0).wrapping_add(TICK))
            });
        let mut waiters = self.waiters.lock();
        for direction in [Direction::Read, Direction::Write] {
            if bits.contains_any(direction.ready()) {
                waiters.line(direction).take(batch);
            }
        }
        if selector.must_arm() {
            waiters.armed = Interest::default();
            if let Err(error) = self.arm(&mut waiters, selector, token) {
                tracing::error!(%error, "a source could not be armed again");
                waiters.read.take(batch);
                waiters.write.take(batch);
            }
        }
    }

    /// Ends all waiting: the driver is gone.
    pub(crate) fn shut(&self, batch: &mut WakeBatch) {
        // Release: pairs with the Acquire in `ready`.
        self.word.fetch_or(Bits::SHUT.0, Ordering::Release);
        self.take_all(batch);
    }

    /// Takes every waker there is.
    pub(crate) fn take_all(&self, batch: &mut WakeBatch) {
        let mut waiters = self.waiters.lock();
        waiters.read.take(batch);
        waiters.write.take(batch);
    }

    /// Asks the selector for whatever is waited for and was not asked for yet.
    fn arm(&self, waiters: &mut Waiters, selector: &Selector, token: Token) -> io::Result<()> {
        if !selector.must_arm() {
            return Ok(());
        }
        let armed = waiters.armed;
        let wanted = Interest {
            read: armed.read || waiters.read.waits(),
            write: armed.write || waiters.write.waits(),
        };
        if wanted != armed {
            selector.arm(&self.fd, token, wanted)?;
            waiters.armed = wanted;
        }
        Ok(())
    }
}

impl Waiters {
    fn line(&mut self, direction: Direction) -> &mut Line {
        match direction {
            Direction::Read => &mut self.read,
            Direction::Write => &mut self.write,
        }
    }
}

impl Line {
    fn place(&mut self, place: Place<'_>) -> &mut Option<Waker> {
        let name = match place {
            Place::Poll => return &mut self.poll,
            Place::Own(name) => name,
        };
        let index = match *name {
            Some(index) => index,
            None if !self.first_taken => {
                self.first_taken = true;
                *name.insert(0)
            }
            None => *name.insert(self.rest.get_or_insert_default().insert(None) + 1),
        };
        match (index, &mut self.rest) {
            (1.., Some(rest)) if rest.contains(index - 1) => &mut rest[index - 1],
            _ => &mut self.first,
        }
    }

    fn leave(&mut self, place: usize) -> Option<Waker> {
        if place == 0 {
            self.first_taken = false;
            return self.first.take();
        }
        self.rest.as_mut()?.try_remove(place - 1).flatten()
    }

    fn waits(&self) -> bool {
        self.poll.is_some()
            || self.first.is_some()
            || self
                .rest
                .as_ref()
                .is_some_and(|rest| rest.iter().any(|(_, waker)| waker.is_some()))
    }

    fn take(&mut self, batch: &mut WakeBatch) {
        let rest = self.rest.iter_mut().flat_map(|rest| rest.iter_mut());
        [&mut self.poll, &mut self.first]
            .into_iter()
            .chain(rest.map(|(_, waker)| waker))
            .filter_map(Option::take)
            .for_each(|waker| batch.push(waker));
    }
}

#[cfg(test)]
mod tests;
