//! The one future that waits, and the lock under which everything happens.
//!
//! An object keeps its state and its [`WaitList`]s in a [`Monitor`]. What waits for it is a [`Wait`], which knows how to stand in line,
//! and a [`Waiting`], which knows what is waited for:
//!
//! ```text
//!   first poll    look: done, or get in line and suspend
//!   woken poll    granted? leave the line and look again: done, or get in line anew, behind the others
//!   drop          leave the line; granted? pass it on
//! ```
//!
//! Each line is one critical section, so grants and departures cannot cross: either the waiter left before the grant, which then went to
//! another, or it has the grant, and uses it or passes it on. The region's interruption is asked before the lock is taken
//! (`Leaf::poll_enter`): a waiter that was granted something and is being cancelled stays pending, is dropped, and passes it on.
//!
//! No foreign code runs under the lock. A waker is cloned before it (a first look is taken without one, so that whoever need not wait
//! clones none), and woken and dropped after it.

use super::wait_list::{Left, Ticket, WaitList, Wakes};
use heist_runtime::leaf::{self, Leaf};
use parking_lot::Mutex;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

/// A state that is only touched under its lock, and whose wakers are woken after it.
pub(super) struct Monitor<S>(Mutex<S>);

impl<S> Monitor<S> {
    pub(super) const fn new(state: S) -> Self {
        Self(Mutex::new(state))
    }

    /// Changes the state. Afterwards, with the lock given back, those are woken who were granted something.
    #[inline]
    pub(super) fn update<R>(&self, change: impl FnOnce(&mut S, &mut Wakes) -> R) -> R {
        // Locals go in reverse: the lock first, then the wakers; also if a comparison of items panics in `change`.
        let mut wakes = Wakes::default();
        let mut state = self.0.lock();
        change(&mut state, &mut wakes)
    }

    /// Reads the state. No foreign code in `read`.
    pub(super) fn read<R>(&self, read: impl FnOnce(&S) -> R) -> R {
        read(&self.0.lock())
    }

    pub(super) fn wait<W: Waiting<State = S>>(&self, what: W) -> Wait<'_, W> {
        Wait {
            monitor: self,
            what,
            ticket: None,
            leaf: Leaf::new(),
        }
    }
}

/// What somebody waits for. All methods run under the lock.
pub(super) trait Waiting {
    /// What the lock protects.
    type State;
    type Output;

    /// The line to stand in.
    fn line(state: &mut Self::State) -> &mut WaitList;

    /// Takes what is waited for, if it can be had. `granted`: this waiter was granted, and has just left the line.
    ///
    /// Whoever answers [`Look::Wait`] has changed nothing, for it may be asked again before it stands in line.
    fn look(
        &mut self,
        state: &mut Self::State,
        granted: bool,
        wakes: &mut Wakes,
    ) -> Look<Self::Output>;

    /// This waiter was granted, and left without a further look.
    fn pass_on(&mut self, state: &mut Self::State, wakes: &mut Wakes);
}

/// The answer of [`Waiting::look`].
pub(super) enum Look<T> {
    Done(T),
    /// Get in line.
    Wait,
    /// It is had, but others who have theirs are still to come back: suspend once, as one of them.
    Yield,
}

/// The future of everything that waits.
#[must_use = "futures do nothing unless awaited"]
pub(super) struct Wait<'a, W: Waiting> {
    monitor: &'a Monitor<W::State>,
    what: W,
    /// Invariant: there from getting in line to leaving it.
    ticket: Option<Ticket>,
    leaf: Leaf,
}

/// What a look under the lock came to.
enum Step<T> {
    Done(T),
    Suspended,
    /// As `Suspended`, and the task has to be woken at once.
    Yielded,
    /// Nothing can be done without a waker of one's own.
    NeedsWaker,
}

impl<W: Waiting> Wait<'_, W> {
    /// Whether this waiter stands in line or was granted.
    pub(super) fn is_in_line(&self) -> bool {
        self.ticket.is_some()
    }

    fn step(&mut self, waker: &Waker, spare: &mut Option<Waker>) -> Step<W::Output> {
        let Self {
            monitor,
            what,
            ticket,
            ..
        } = self;
        monitor.update(|state, wakes| {
            let line = W::line(state);
            let granted = match ticket.take() {
                None => false,
                Some(own) if line.is_granted(&own) => matches!(line.leave(own), Left::Granted),
                Some(own) => {
                    let own = ticket.insert(own);
                    if line.wakes_as(own, waker) {
                        return Step::Suspended;
                    }
                    let Some(new) = spare.take() else {
                        return Step::NeedsWaker;
                    };
                    wakes.discard(line.set_waker(own, new));
                    return Step::Suspended;
                }
            };
            match what.look(state, granted, wakes) {
                Look::Done(value) => Step::Done(value),
                Look::Wait => {
                    let Some(waker) = spare.take() else {
                        return Step::NeedsWaker;
                    };
                    *ticket = Some(W::line(state).push(waker));
                    Step::Suspended
                }
                Look::Yield => {
                    *ticket = Some(W::line(state).push_granted());
                    Step::Yielded
                }
            }
        })
    }
}

/// Nothing in it is pinned.
impl<W: Waiting> Unpin for Wait<'_, W> {}

impl<W: Waiting> Future for Wait<'_, W> {
    type Output = W::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<W::Output> {
        let this = self.get_mut();
        ready!(this.leaf.poll_enter(cx));
        let mut spare = None;
        loop {
            match this.step(cx.waker(), &mut spare) {
                Step::Done(value) => {
                    leaf::spend();
                    return Poll::Ready(value);
                }
                Step::NeedsWaker => spare = Some(cx.waker().clone()),
                Step::Suspended => break,
                Step::Yielded => {
                    cx.waker().wake_by_ref();
                    break;
                }
            }
        }
        this.leaf.suspend();
        Poll::Pending
    }
}

impl<W: Waiting> Drop for Wait<'_, W> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket.take() else {
            return;
        };
        self.monitor
            .update(|state, wakes| match W::line(state).leave(ticket) {
                Left::Granted => self.what.pass_on(state, wakes),
                Left::Waiting(waker) => wakes.discard(waker),
            });
    }
}
