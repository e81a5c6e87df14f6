//! What every leaf future asks before it does anything.
//!
//! A *leaf* is a future that talks to a driver, a queue or a timer itself instead of polling
//! another future. The runtime brackets each poll of a task with [`begin_poll`] and [`end_poll`];
//! the leaves polled in between ask two questions:
//!
//! * May I still complete? A task has a *budget* of completions per poll, so that a peer that is
//!   always ready cannot keep a worker for itself. [`poll_budget`] answers, [`spend`] pays.
//! * Is a cancel being delivered? A leaf that has suspended stays suspended while the region
//!   being polled is *interrupted*: its result stays where it was (the bytes in the socket, the
//!   item in the queue), so that a cancelled operation did not happen. [`Leaf`] does both.
//!
//! A third question is none of theirs: *where is this task suspended?* In a
//! [traced](begin_traced_poll) poll the budget is zero from the start, and a leaf that yields for
//! want of it notes where it stands. So a leaf that asks the first question answers this one.
//!
//! Outside such a bracket the budget is unlimited and nothing is interrupted: under a foreign
//! executor the leaves behave like plain futures.
//!
//! Within a bracket the timers hold back one thing: telling the waiting driver of an earlier
//! deadline, which costs a system call. [`end_poll`] makes up for it if the timer still lives.
//! A thread that blocks *inside* a poll (a nested executor) must not leave that undone:
//! [`set_aside`] announces and opens a plain region; whoever only notices the blocked thread from
//! outside calls [`Handle::notify`](crate::Handle::notify), and the driver looks again.
//!
//! Knows nothing of tasks: what a region is, is the runtime's affair.

use std::cell::Cell;
use std::marker::PhantomData;
use std::task::{Context, Poll};

use crate::handle;

/// The budget outside a runtime: never spent.
pub const UNLIMITED: u32 = u32::MAX;

/// The thread's leaf state. Plain cells with nothing to drop, so that it is never allocated and
/// can be asked in destructors of other thread-locals.
pub(crate) struct State {
    budget: Cell<u32>,
    interrupted: Cell<bool>,
    forced_yield: Cell<bool>,
    in_poll: Cell<bool>,
    /// The current shard may have a deadline, earlier than this tick, that the driver was not told
    /// of yet. Zero, before which there is none: nothing is left to be announced.
    announce: Cell<u64>,
    /// What each leaf calls in a poll that is traced. Invariant: `None` unless the budget is zero.
    note: Cell<Option<fn()>>,
}

impl State {
    const fn new() -> State {
        State {
            budget: Cell::new(UNLIMITED),
            interrupted: Cell::new(false),
            forced_yield: Cell::new(false),
            in_poll: Cell::new(false),
            announce: Cell::new(0),
            note: Cell::new(None),
        }
    }
}

#[cfg(feature = "sim")]
impl Default for State {
    fn default() -> State {
        State::new()
    }
}

/// Exchanges the thread's state for another one.
#[cfg(feature = "sim")]
pub(crate) fn exchange_state(other: &State) {
    STATE.with(|s| {
        s.budget.swap(&other.budget);
        s.interrupted.swap(&other.interrupted);
        s.forced_yield.swap(&other.forced_yield);
        s.in_poll.swap(&other.in_poll);
        s.announce.swap(&other.announce);
        s.note.swap(&other.note);
    });
}

#[cfg(not(loom))]
thread_local! {
    static STATE: State = const { State::new() };
}

// The runtime's models poll on threads of loom's, which are one to the system.
#[cfg(loom)]
static STATE: loom::thread::LocalKey<State> = loom::thread::LocalKey {
    init: State::new,
    _p: PhantomData,
};

/// What a poll did, as told by [`end_poll`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PollEnd {
    /// A leaf returned `Pending` for want of budget alone and has woken its task.
    pub forced_yield: bool,
}

/// Opens the bracket round one poll of a task.
///
/// At most `budget` leaf operations complete before leaves yield; [`UNLIMITED`] never yields.
/// `interrupted` says that the region being polled has a cancel request to deliver.
#[inline]
pub fn begin_poll(budget: u32, interrupted: bool) {
    STATE.with(|s| {
        s.budget.set(budget);
        s.interrupted.set(interrupted);
        s.forced_yield.set(false);
        s.in_poll.set(true);
    });
}

/// Opens the bracket round a poll that only asks where the task is suspended.
///
/// No leaf goes on: each one that is polled calls `note`, on its own stack, wakes its task and
/// gives `Pending`, as if the budget were spent. Nothing is taken out of a socket or a queue,
/// nothing is interrupted, and since the task is woken, whatever woke it before is not lost.
/// Leaves of other runtimes know nothing of it: for them it is a poll like any other.
///
/// # Examples
///
/// ```
/// use std::task::{Context, Waker};
/// use heist_io_driver::leaf::{self, Leaf};
///
/// let mut cx = Context::from_waker(Waker::noop());
/// leaf::begin_traced_poll(|| println!("{}", std::backtrace::Backtrace::force_capture()));
/// assert!(Leaf::new().poll_enter(&mut cx).is_pending());
/// assert!(leaf::end_poll().forced_yield);
/// ```
pub fn begin_traced_poll(note: fn()) {
    begin_poll(0, false);
    STATE.with(|s| {
        s.note.set(Some(note));
        // Whatever foreign leaves do, this is no point of cancellation.
        s.forced_yield.set(true);
    });
}

/// `Pending`, with the task woken, if the poll in progress is a [traced](begin_traced_poll) one.
/// For leaves that can be pending without having asked [`poll_budget`].
#[inline]
pub fn poll_traced(cx: &mut Context<'_>) -> Poll<()> {
    if STATE.with(|s| s.note.get().is_some()) {
        return yield_now(cx);
    }
    Poll::Ready(())
}

/// Closes the bracket and tells the driver of a deadline that the poll left to be announced.
#[inline]
pub fn end_poll() -> PollEnd {
    STATE.with(|s| {
        s.in_poll.set(false);
        s.budget.set(UNLIMITED);
        s.interrupted.set(false);
        s.note.set(None);
        if s.announce.get() != 0 {
            flush_announcement();
        }
        PollEnd {
            forced_yield: s.forced_yield.replace(false),
        }
    })
}

/// Whether the region being polled on this thread has a cancel request to deliver.
#[inline]
#[must_use]
pub fn interrupted() -> bool {
    STATE.with(|s| s.interrupted.get())
}

/// Opens the bracket round the poll of a region within a task's poll.
///
/// Inside, [`interrupted`] says what the region received, and [`Region::is_forced`] whether a leaf
/// of the region yielded for want of budget. Closed when dropped.
///
/// # Examples
///
/// ```
/// use heist_io_driver::leaf;
/// leaf::begin_poll(128, false);
/// {
///     let region = leaf::enter_region(true);
///     assert!(leaf::interrupted());
///     assert!(!region.is_forced());
/// }
/// assert!(!leaf::interrupted());
/// leaf::end_poll();
/// ```
#[inline]
#[must_use = "the region's bracket is closed when this drops"]
pub fn enter_region(interrupted: bool) -> Region {
    STATE.with(|s| {
        let traced = s.note.get().is_some();
        Region {
            interrupted: s.interrupted.replace(interrupted && !traced),
            forced_yield: s.forced_yield.replace(traced),
            _thread: PhantomData,
        }
    })
}

/// The bracket round a region's poll; see [`enter_region`].
#[derive(Debug)]
pub struct Region {
    interrupted: bool,
    forced_yield: bool,
    /// Belongs to the thread whose state it holds.
    _thread: PhantomData<*const ()>,
}

impl Region {
    /// Whether a leaf in the region returned `Pending` for want of budget alone.
    #[inline]
    #[must_use]
    pub fn is_forced(&self) -> bool {
        STATE.with(|s| s.forced_yield.get())
    }
}

impl Drop for Region {
    #[inline]
    fn drop(&mut self) {
        STATE.with(|s| {
            s.interrupted.set(self.interrupted);
            s.forced_yield.set(s.forced_yield.get() | self.forced_yield);
        });
    }
}

/// What is left of the budget of the poll in progress; [`UNLIMITED`] outside of one.
#[inline]
#[must_use]
pub fn budget() -> u32 {
    STATE.with(|s| s.budget.get())
}

/// Whether a leaf may go on: `Pending`, with the task woken, when the budget is spent.
///
/// # Examples
///
/// ```
/// use std::task::{Context, Poll, Waker};
/// use heist_io_driver::leaf;
///
/// let mut cx = Context::from_waker(Waker::noop());
/// leaf::begin_poll(1, false);
/// assert!(leaf::poll_budget(&mut cx).is_ready());
/// leaf::spend();
/// assert!(leaf::poll_budget(&mut cx).is_pending());
/// assert!(leaf::end_poll().forced_yield);
/// ```
#[inline]
pub fn poll_budget(cx: &mut Context<'_>) -> Poll<()> {
    if budget() == 0 {
        return yield_now(cx);
    }
    Poll::Ready(())
}

#[cold]
fn yield_now(cx: &mut Context<'_>) -> Poll<()> {
    let note = STATE.with(|s| {
        s.forced_yield.set(true);
        s.note.get()
    });
    if let Some(note) = note {
        note();
    }
    cx.waker().wake_by_ref();
    Poll::Pending
}

/// Pays for one completed leaf operation.
#[inline]
pub fn spend() {
    STATE.with(|s| {
        let left = s.budget.get();
        if left != UNLIMITED {
            s.budget.set(left.saturating_sub(1));
        }
    });
}

/// The part of a leaf future that remembers whether it has suspended.
///
/// # Examples
///
/// A leaf that completes at its second poll, and stays pending while a cancel is delivered:
///
/// ```
/// use std::task::{Context, Poll, Waker, ready};
/// use heist_io_driver::leaf::{self, Leaf};
///
/// #[derive(Default)]
/// struct Yield { leaf: Leaf }
/// impl Yield {
///     fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
///         ready!(self.leaf.poll_enter(cx));
///         if !self.leaf.is_suspended() {
///             self.leaf.suspend();
///             cx.waker().wake_by_ref();
///             return Poll::Pending;
///         }
///         leaf::spend();
///         Poll::Ready(())
///     }
/// }
/// let (mut y, mut cx) = (Yield::default(), Context::from_waker(Waker::noop()));
/// assert!(y.poll(&mut cx).is_pending());
/// leaf::begin_poll(8, true);
/// assert!(y.poll(&mut cx).is_pending()); // interrupted
/// leaf::end_poll();
/// assert!(y.poll(&mut cx).is_ready());
/// ```
#[derive(Debug, Default, Clone, Copy)]
pub struct Leaf {
    suspended: bool,
}

impl Leaf {
    /// A leaf that has not suspended.
    #[must_use]
    pub const fn new() -> Leaf {
        Leaf { suspended: false }
    }

    /// Asks both questions: `Pending` if this leaf has suspended and the region is interrupted,
    /// else what [`poll_budget`] says. A yield for want of budget does not count as suspending.
    #[inline]
    pub fn poll_enter(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        STATE.with(|s| {
            if self.suspended && s.interrupted.get() {
                Poll::Pending
            } else if s.budget.get() == 0 {
                yield_now(cx)
            } else {
                Poll::Ready(())
            }
        })
    }

    /// Marks that the leaf is about to return `Pending` because its operation has to wait.
    #[inline]
    pub fn suspend(&mut self) {
        self.suspended = true;
    }

    /// Whether the leaf has suspended since it was made or [`reset`](Leaf::reset).
    #[inline]
    #[must_use]
    pub fn is_suspended(&self) -> bool {
        self.suspended
    }

    /// Forgets the suspension, for a leaf that starts a new operation.
    #[inline]
    pub fn reset(&mut self) {
        self.suspended = false;
    }
}

/// Sets the poll in progress aside until the guard drops.
///
/// For code that blocks inside a poll and runs another executor there: a deadline left to be
/// announced is announced now, and within the guard's life the thread is outside any bracket.
///
/// # Examples
///
/// ```
/// use heist_io_driver::leaf;
/// leaf::begin_poll(3, true);
/// {
///     let _outer = leaf::set_aside();
///     assert!(!leaf::interrupted());
///     assert_eq!(leaf::budget(), leaf::UNLIMITED);
/// }
/// assert!(leaf::interrupted());
/// leaf::end_poll();
/// ```
#[must_use = "the poll is taken up again when the guard drops"]
pub fn set_aside() -> Aside {
    STATE.with(|s| {
        let aside = Aside {
            budget: s.budget.replace(UNLIMITED),
            interrupted: s.interrupted.replace(false),
            forced_yield: s.forced_yield.replace(false),
            in_poll: s.in_poll.replace(false),
            note: s.note.take(),
            _thread: PhantomData,
        };
        if s.announce.get() != 0 {
            flush_announcement();
        }
        aside
    })
}

/// Takes up the poll that [`set_aside`] left, when dropped.
#[derive(Debug)]
pub struct Aside {
    budget: u32,
    interrupted: bool,
    forced_yield: bool,
    in_poll: bool,
    note: Option<fn()>,
    /// Belongs to the thread whose state it holds.
    _thread: PhantomData<*const ()>,
}

impl Drop for Aside {
    fn drop(&mut self) {
        STATE.with(|s| {
            s.budget.set(self.budget);
            s.interrupted.set(self.interrupted);
            s.forced_yield.set(self.forced_yield);
            s.in_poll.set(self.in_poll);
            s.note.set(self.note);
        });
    }
}

/// Leaves an announcement to [`end_poll`] if a poll is in progress; else returns false and the
/// caller announces now. The shard concerned must be the thread's current one; `known` is its
/// earliest deadline as announced before.
#[inline]
pub(crate) fn defer_announcement(known: u64) -> bool {
    STATE.with(|s| {
        if s.in_poll.get() {
            // The driver may have fired what was known, and then knows of later ones only.
            s.announce.set(s.announce.get().max(known));
        }
        s.in_poll.get()
    })
}

/// Announces what was deferred, on the shard that is still the current one.
#[inline]
pub(crate) fn flush_announcement() {
    let known = STATE.with(|s| s.announce.replace(0));
    if known != 0 {
        handle::announce_current(known);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;

    #[test]
    fn budget_is_unlimited_outside_a_bracket_and_counts_within() {
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..1_000 {
            assert!(poll_budget(&mut cx).is_ready());
            spend();
        }
        begin_poll(2, false);
        spend();
        assert_eq!(budget(), 1);
        spend();
        spend();
        assert_eq!(budget(), 0);
        assert!(poll_budget(&mut cx).is_pending());
        assert!(end_poll().forced_yield);
        assert_eq!(budget(), UNLIMITED);
        begin_poll(1, false);
        assert!(!end_poll().forced_yield);
    }

    #[test]
    fn only_a_suspended_leaf_is_held_back_by_an_interruption() {
        let mut cx = Context::from_waker(Waker::noop());
        let mut leaf = Leaf::new();
        begin_poll(5, true);
        assert!(leaf.poll_enter(&mut cx).is_ready());
        leaf.suspend();
        assert!(leaf.poll_enter(&mut cx).is_pending());
        assert!(!end_poll().forced_yield);
        assert!(leaf.poll_enter(&mut cx).is_ready());
        begin_poll(0, false);
        let mut fresh = Leaf::new();
        assert!(fresh.poll_enter(&mut cx).is_pending());
        assert!(!fresh.is_suspended());
        assert!(end_poll().forced_yield);
    }

    #[test]
    fn a_traced_poll_stops_every_leaf_and_interrupts_none() {
        thread_local! {
            static NOTED: Cell<u32> = const { Cell::new(0) };
        }
        let mut cx = Context::from_waker(Waker::noop());
        let mut leaf = Leaf::new();
        leaf.suspend();
        begin_traced_poll(|| NOTED.set(NOTED.get() + 1));
        assert!(leaf.poll_enter(&mut cx).is_pending());
        assert!(poll_budget(&mut cx).is_pending());
        assert!(poll_traced(&mut cx).is_pending());
        assert_eq!(NOTED.get(), 3);
        {
            let region = enter_region(true);
            assert!(!interrupted() && region.is_forced());
        }
        {
            let _aside = set_aside();
            assert!(leaf.poll_enter(&mut cx).is_ready());
        }
        assert!(Leaf::new().poll_enter(&mut cx).is_pending());
        assert_eq!(NOTED.get(), 4);
        assert!(end_poll().forced_yield);
        assert!(poll_traced(&mut cx).is_ready());
        assert!(!enter_region(false).is_forced());
    }

    #[test]
    fn setting_aside_restores_the_poll() {
        begin_poll(7, true);
        spend();
        {
            let _aside = set_aside();
            assert_eq!(budget(), UNLIMITED);
            begin_poll(1, false);
            end_poll();
        }
        assert_eq!(budget(), 6);
        assert!(interrupted());
        {
            let _region = enter_region(false);
            assert!(!interrupted());
        }
        assert!(interrupted());
        end_poll();
    }
}
