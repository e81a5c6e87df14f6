//! The state word of a task: flags, reference count, and every transition between them.
//!
//! The transitions are pure functions from one [`Snapshot`] to the next plus a `#[must_use]` answer; [`State`] applies them in the
//! one compare-and-swap loop there is. Nothing else touches the word. This file knows no future, no queue and no waker.
//!
//! ```text
//!                    wake (1)                  run (2)
//!      .---------.  -------->  .----------.  -------->  .-----------.   woken while running (3)
//!      |  Idle   |             |  QUEUED  |             |  RUNNING  | --------> RUNNING + QUEUED
//!      '---------'             '----------'             '-----------'                 |
//!           ^                        ^  '-----------------------|---------------------'
//!           |                        |          requeue (5)     |
//!           '------------------------|---- suspend (4) ---------'
//!                                    |                          | finish (6)
//!                                  spawn                        v
//!                                                            .------.
//!                                                            | DONE |  outcome stored, future gone
//!                                                            '------'
//!  (1), (3) wake, wake_by_ref, cancel      (2) start      (4), (5) suspend      (6) finish
//! ```
//!
//! Memory ordering: every successful transition is an AcqRel read-modify-write. What a thread did before it woke the task happens
//! before the poll that the wake-up causes (also when the task was queued already: the word is written all the same), and
//! what one poll did happens before the next, on whichever worker.

use crate::sync_switch::{AtomicWord, Bug, planted};
use crate::system;
use std::fmt;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

/// A worker polls the task, and owns its future, until the bit goes away.
const RUNNING: usize = 1 << 0;
/// The task stands in a run queue, or, beside RUNNING, will be put there after this poll. One queue entry at most, ever.
const QUEUED: usize = 1 << 1;
/// The outcome is stored and the future is gone. Set once, never cleared; the bits above are clear then.
const DONE: usize = 1 << 2;
/// The task was polled before. A cancel that finds it clear drops the future unpolled.
const STARTED: usize = 1 << 3;
/// A request is kept: it is handed down at the next suspension.
const KEPT: usize = 1 << 4;
/// A handle exists that may take the outcome; whoever finds it clear at the end drops the outcome.
const JOIN_INTEREST: usize = 1 << 5;
/// The join waker is stored and belongs to whoever finishes the task. Clear: it belongs to the handle.
const JOIN_WAKER: usize = 1 << 6;
/// The outcome is a cancellation. Set with DONE.
const CANCELLED: usize = 1 << 7;
/// Somebody hands a request down to the regions of the suspended task, or looks at them: meanwhile they are his, and the task is not polled.
const DELIVERING: usize = 1 << 8;
/// The queue's entry was taken out while DELIVERING; whoever delivers has its reference and submits it again.
const OWED: usize = 1 << 9;
/// A request was made by a call that has others to tell before anybody may act on it. It becomes KEPT, or is handed down.
const RESERVED: usize = 1 << 10;
/// The task itself, the outermost region, has received a request: it is dropped when the next poll is pending.
const INTERRUPTED: usize = 1 << 11;
/// The task is to be dropped where it is suspended, whatever regions stand in the way.
const ABORTED: usize = 1 << 12;
/// Somebody but the handle waits for the end: the list in the rare box is not empty.
const WATCHED: usize = 1 << 13;
/// The outcome is a panic, or an error that its spawner called a failure. Set with DONE.
const FAILED: usize = 1 << 14;
/// One request is counted here, beside those that the rare box counts: the common one, made without a message to a task that has no such box.
const COUNTED: usize = 1 << 15;
/// Somebody besides the handle has taken on to tell of a failure: it is not reported when the outcome is dropped.
const ANSWERED: usize = 1 << 16;
/// The count of references takes the bits from here up.
const REF_ONE: usize = 1 << 20;
/// What stands in the way of a plain value at the end.
const REQUESTED: usize = KEPT | RESERVED | INTERRUPTED | ABORTED;
const REF_MASK: usize = !(REF_ONE - 1);
/// Beyond this many references (a leak of wakers in a loop) the process is aborted before the count can wrap.
const REF_LIMIT: usize = usize::MAX / 2;

/// One value of the state word.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Snapshot(usize);

/// What a wake-up has to do.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Wake {
    /// Nothing: queued already, running (it will be queued after this poll), or done.
    Nothing,
    /// The task was idle and is now queued: put it into a queue, with the reference that this transition made or took over.
    Submit,
}

/// What the worker that took the task out of a queue has to do.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Start {
    /// Poll it. `interrupted`: the task itself has received a request.
    Poll { interrupted: bool },
    /// Cancelled before its first poll, or aborted: drop the future unpolled.
    DropUnpolled,
    /// Somebody is delivering a request: the entry's reference has gone over to him.
    Owed,
}

/// What follows a poll that came back pending.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Suspend {
    /// The task waits; the run's reference is given back.
    Idle,
    /// Woken meanwhile: queue it again, with the run's reference.
    Requeue,
    /// There is a request to be handed down, or the task has received one. Still running.
    Deliver,
}

/// What kind of outcome was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// A value, which gives way to a request that came before the end.
    Value,
    /// A cancellation, which gives way to an abort that came before the end.
    Cancelled,
    /// A cancellation by an abort.
    Aborted,
    /// A panic or another error: it stands, whatever was requested.
    Failure,
}

/// What follows a stored outcome.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Finish {
    /// Done. Says who reads the outcome and whether a join waker was handed over.
    Done {
        join_interest: bool,
        join_waker: bool,
        watched: bool,
    },
    /// A request came before the end: the outcome has to become the cancellation that it asked for first. Still running.
    CancelFirst,
}

/// What a request for cancellation has to do.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Requested {
    /// The task had ended: the request counts nothing.
    Refused,
    /// It is met at the end of the poll under way or to come, or when whoever delivers another has done so.
    Kept,
    /// The task is suspended and is not polled until the caller has handed the request down. `due`: it was woken already.
    Deliver { due: bool },
}

/// What follows a delivery.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Delivered {
    /// A further request came: hand that down as well. Still delivering.
    Again,
    /// Nothing to be done.
    Left,
    /// The task is queued: submit it, with the reference that this transition made or took over.
    Submit,
}

/// What a call to drop the task at its await has to do.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Abort {
    /// The task had ended.
    Refused,
    /// It is dropped at the end of the poll under way, or to come.
    Kept,
    /// The task is queued: submit it, with the reference that this transition made.
    Submit,
}

/// The handle's answer to "may I write the join waker / take the outcome?".
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Join {
    /// The task is not done; the handle owns the waker field (before) or has given it away (after `publish`).
    Waiting,
    /// Done: the outcome may be taken, and the waker field is nobody else's.
    Done,
}

/// What the drop of a handle has to clear away.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(crate) struct HandleDrop {
    /// The task was done: the outcome is the handle's to drop.
    pub(crate) outcome: bool,
    /// The join waker was stored: it is the handle's to drop.
    pub(crate) waker: bool,
}

impl Snapshot {
    pub(crate) const fn is_running(self) -> bool {
        self.0 & RUNNING != 0
    }

    pub(crate) const fn is_queued(self) -> bool {
        self.0 & QUEUED != 0
    }

    pub(crate) const fn is_done(self) -> bool {
        self.0 & DONE != 0
    }

    /// Whether the outcome was a cancellation.
    pub(crate) const fn is_cancelled(self) -> bool {
        self.0 & CANCELLED != 0
    }

    /// Whether the outcome was a panic, or an error that its spawner called a failure.
    pub(crate) const fn is_failed(self) -> bool {
        self.0 & FAILED != 0
    }

    pub(crate) const fn is_started(self) -> bool {
        self.0 & STARTED != 0
    }

    /// Whether there is a request that no suspended await has met yet.
    pub(crate) const fn is_requested(self) -> bool {
        self.0 & REQUESTED != 0
    }

    /// Whether the task itself has received a request.
    pub(crate) const fn is_interrupted(self) -> bool {
        self.0 & INTERRUPTED != 0
    }

    /// Whether somebody besides the handle tells of a failure.
    pub(crate) const fn is_answered(self) -> bool {
        self.0 & ANSWERED != 0
    }

    /// Whether one request is counted in the word.
    pub(crate) const fn is_counted(self) -> bool {
        self.0 & COUNTED != 0
    }

    pub(crate) const fn is_aborted(self) -> bool {
        self.0 & ABORTED != 0
    }

    pub(crate) const fn is_watched(self) -> bool {
        self.0 & WATCHED != 0
    }

    const fn is_delivering(self) -> bool {
        self.0 & DELIVERING != 0
    }

    /// Whether the regions of the task are somebody's already, or there are none yet.
    const fn keeps_requests(self) -> bool {
        self.is_running() || self.is_delivering() || !self.is_started()
    }

    pub(crate) const fn has_join_interest(self) -> bool {
        self.0 & JOIN_INTEREST != 0
    }

    pub(crate) const fn has_join_waker(self) -> bool {
        self.0 & JOIN_WAKER != 0
    }

    pub(crate) const fn references(self) -> usize {
        (self.0 & REF_MASK) / REF_ONE
    }

    const fn with(self, bits: usize) -> Self {
        Self(self.0 | bits)
    }

    const fn without(self, bits: usize) -> Self {
        Self(self.0 & !bits)
    }

    const fn plus_reference(self) -> Self {
        Self(self.0 + REF_ONE)
    }

    const fn minus_reference(self) -> Self {
        Self(self.0 - REF_ONE)
    }

    /// A wake-up; `by_value` hands its own reference to the queue, else one is made for it.
    const fn wake(self, by_value: bool) -> (Self, Wake) {
        if self.is_done() || self.is_queued() {
            return (self, Wake::Nothing);
        }
        if self.is_running() {
            return (self.with(QUEUED), Wake::Nothing);
        }
        let queued = self.with(QUEUED);
        let queued = if by_value {
            queued
        } else {
            queued.plus_reference()
        };
        (queued, Wake::Submit)
    }

    const fn start(self) -> (Self, Start) {
        debug_assert!(self.is_queued() && !self.is_running() && !self.is_done());
        if self.is_delivering() {
            return (self.with(OWED), Start::Owed);
        }
        let next = self.with(RUNNING | STARTED).without(QUEUED);
        let unpolled = self.is_aborted() || self.is_requested() && !self.is_started();
        let start = if unpolled {
            Start::DropUnpolled
        } else {
            Start::Poll {
                interrupted: self.0 & INTERRUPTED != 0,
            }
        };
        (next, start)
    }

    /// `forced`: the poll came back only because its budget was spent, which is no point of cancellation. Then it has woken the task: if it has
    /// not (a leaf was polled on the side, with a waker that wakes nobody), nothing may be left for a next poll.
    const fn suspend(self, forced: bool) -> (Self, Suspend) {
        debug_assert!(self.is_running() && !self.is_done());
        if self.is_aborted() || self.0 & (KEPT | INTERRUPTED) != 0 && !(forced && self.is_queued())
        {
            return (self, Suspend::Deliver);
        }
        if self.is_queued() {
            return (self.without(RUNNING), Suspend::Requeue);
        }
        (self.without(RUNNING).minus_reference(), Suspend::Idle)
    }

    const fn finish(self, ending: Ending) -> (Self, Finish) {
        debug_assert!(self.is_running() && !self.is_done());
        let gives_way = match ending {
            Ending::Value => self.is_requested(),
            Ending::Cancelled => self.is_aborted(),
            Ending::Aborted | Ending::Failure => false,
        };
        if gives_way {
            return (self, Finish::CancelFirst);
        }
        let ended = match ending {
            Ending::Value => DONE,
            Ending::Cancelled | Ending::Aborted => DONE | CANCELLED,
            Ending::Failure => DONE | FAILED,
        };
        let done = self
            .with(ended)
            .without(RUNNING | QUEUED | REQUESTED | JOIN_WAKER | WATCHED);
        let finish = Finish::Done {
            join_interest: self.has_join_interest(),
            join_waker: self.has_join_waker(),
            watched: self.is_watched(),
        };
        (done, finish)
    }

    /// A request from outside, made by a call that has more to tell.
    const fn request(self) -> (Self, Requested) {
        if self.is_done() {
            return (self, Requested::Refused);
        }
        if self.keeps_requests() {
            return (self.with(RESERVED), Requested::Kept);
        }
        let due = self.is_queued();
        (self.with(DELIVERING), Requested::Deliver { due })
    }

    /// Everybody was told: a reserved request becomes a kept one, or is handed down. `more`: there are reserved ones of other calls.
    const fn commit(self, more: bool) -> (Self, Requested) {
        if self.is_done() {
            return (self, Requested::Refused);
        }
        let rest = if more { self } else { self.without(RESERVED) };
        if self.keeps_requests() {
            return (rest.with(KEPT), Requested::Kept);
        }
        let due = self.is_queued();
        (rest.with(DELIVERING), Requested::Deliver { due })
    }

    /// A request of the task's own, or one that comes back from a region that has ended.
    const fn keep(self) -> (Self, Requested) {
        if self.is_done() {
            return (self, Requested::Refused);
        }
        if self.keeps_requests() {
            return (self.with(KEPT), Requested::Kept);
        }
        let due = self.is_queued();
        (self.with(DELIVERING), Requested::Deliver { due })
    }

    /// The end of a delivery. `wake`: a region of the task has received something. `interrupted`: the task itself has.
    const fn delivered(self, wake: bool, interrupted: bool) -> (Self, Delivered) {
        debug_assert!(self.is_delivering() && !self.is_running());
        if self.0 & KEPT != 0 {
            return (self, Delivered::Again);
        }
        let next = self.without(DELIVERING | OWED);
        let next = if interrupted {
            next.with(INTERRUPTED)
        } else {
            next
        };
        if self.0 & OWED != 0 {
            return (next, Delivered::Submit);
        }
        if wake && !self.is_queued() {
            return (next.with(QUEUED).plus_reference(), Delivered::Submit);
        }
        (next, Delivered::Left)
    }

    /// Takes a task that is suspended and not woken; false if it is anything else.
    const fn take_idle(self) -> (Self, bool) {
        if self.is_done() || self.keeps_requests() || self.is_queued() {
            return (self, false);
        }
        (self.with(DELIVERING), true)
    }

    /// Takes a suspended task, woken or not, to look at what it waits for (`task::repr`); false if it is anything else.
    const fn take_suspended(self) -> (Self, bool) {
        if self.is_done() || self.keeps_requests() {
            return (self, false);
        }
        (self.with(DELIVERING), true)
    }

    /// The end of a look. Who looked hands nothing down: what came meanwhile is met after a poll, as if that had been under way.
    const fn put_back(self) -> (Self, Delivered) {
        debug_assert!(self.is_delivering() && !self.is_running());
        let next = self.without(DELIVERING | OWED);
        if self.0 & OWED != 0 {
            return (next, Delivered::Submit);
        }
        if self.0 & KEPT != 0 && !self.is_queued() {
            return (next.with(QUEUED).plus_reference(), Delivered::Submit);
        }
        (next, Delivered::Left)
    }

    /// The end of the delivery of a request without a message to a task in which nothing but the task itself can receive it.
    const fn delivered_plainly(self) -> (Self, Delivered) {
        match self.delivered(true, true) {
            (next, Delivered::Again) => (next, Delivered::Again),
            (next, answer) => (next.with(COUNTED), answer),
        }
    }

    const fn abort(self) -> (Self, Abort) {
        if self.is_done() {
            return (self, Abort::Refused);
        }
        let next = self.with(ABORTED);
        if self.is_running() || self.is_queued() {
            return (next, Abort::Kept);
        }
        (next.with(QUEUED).plus_reference(), Abort::Submit)
    }

    const fn watch(self) -> (Self, Join) {
        if self.is_done() {
            return (self, Join::Done);
        }
        (self.with(WATCHED), Join::Waiting)
    }

    /// The handle takes the waker field back, to read or replace the waker in it.
    const fn unpublish_join_waker(self) -> (Self, Join) {
        if self.is_done() {
            return (self, Join::Done);
        }
        (self.without(JOIN_WAKER), Join::Waiting)
    }

    const fn publish_join_waker(self) -> (Self, Join) {
        if self.is_done() {
            return (self, Join::Done);
        }
        (self.with(JOIN_WAKER), Join::Waiting)
    }

    const fn drop_handle(self) -> (Self, HandleDrop) {
        let dropped = HandleDrop {
            outcome: self.is_done(),
            waker: self.has_join_waker(),
        };
        (self.without(JOIN_INTEREST | JOIN_WAKER), dropped)
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (RUNNING, "RUNNING"),
            (QUEUED, "QUEUED"),
            (DONE, "DONE"),
            (STARTED, "STARTED"),
            (KEPT, "KEPT"),
            (JOIN_INTEREST, "JOIN_INTEREST"),
            (JOIN_WAKER, "JOIN_WAKER"),
            (CANCELLED, "CANCELLED"),
            (DELIVERING, "DELIVERING"),
            (OWED, "OWED"),
            (RESERVED, "RESERVED"),
            (INTERRUPTED, "INTERRUPTED"),
            (ABORTED, "ABORTED"),
            (WATCHED, "WATCHED"),
            (FAILED, "FAILED"),
            (COUNTED, "COUNTED"),
            (ANSWERED, "ANSWERED"),
        ];
        for (bit, name) in names {
            if self.0 & bit != 0 {
                write!(f, "{name} ")?;
            }
        }
        write!(f, "refs={}", self.references())
    }
}

/// The state word.
#[derive(Debug)]
pub(crate) struct State(AtomicWord);

impl State {
    /// A task about to be queued for the first time, with `references` of them (registry, handle, queue).
    pub(crate) fn new(references: usize) -> Self {
        Self(AtomicWord::new(
            QUEUED | JOIN_INTEREST | (references * REF_ONE),
        ))
    }

    /// Acquire: pairs with the Release half of `finish`, so that who sees DONE sees the outcome.
    pub(crate) fn load(&self) -> Snapshot {
        let order = if planted(Bug::DoneSeenRelaxed) {
            Relaxed
        } else {
            Acquire
        };
        Snapshot(self.0.load(order))
    }

    /// The only compare-and-swap loop on the word. It writes even when nothing changes: a wake-up that finds the task queued has to
    /// release what its thread wrote to the poll to come.
    #[inline]
    fn update<A>(&self, step: impl Fn(Snapshot) -> (Snapshot, A)) -> A {
        system::step();
        let mut now = self.0.load(Relaxed);
        loop {
            let (next, answer) = step(Snapshot(now));
            if planted(Bug::UnchangedWordNotWritten) && next.0 == now {
                return answer;
            }
            // AcqRel: pairs with itself; see the file's header.
            match self.0.compare_exchange_weak(now, next.0, AcqRel, Acquire) {
                Ok(_) => return answer,
                Err(actual) => now = actual,
            }
        }
    }

    /// (1), (3): a wake-up that keeps its own reference.
    #[inline]
    pub(crate) fn transition_to_queued(&self) -> Wake {
        self.wake(false)
    }

    /// (1), (3): a wake-up whose reference goes to the queue if the answer is `Submit`, and stays the caller's otherwise.
    #[inline]
    pub(crate) fn transition_to_queued_by_value(&self) -> Wake {
        self.wake(true)
    }

    #[inline]
    fn wake(&self, by_value: bool) -> Wake {
        self.update(|state| {
            if planted(Bug::WakeWhileRunningLost) && state.is_running() {
                return (state, Wake::Nothing);
            }
            if planted(Bug::QueuedTwice) && state.is_queued() {
                return state.without(QUEUED).wake(by_value);
            }
            state.wake(by_value)
        })
    }

    /// (2)
    #[inline]
    pub(crate) fn transition_to_running(&self) -> Start {
        self.update(|state| {
            if planted(Bug::PolledDuringADelivery) && state.is_delivering() {
                let (next, start) = state.without(DELIVERING).start();
                return (next.with(DELIVERING), start);
            }
            state.start()
        })
    }

    /// (4), (5)
    #[inline]
    pub(crate) fn transition_to_suspended(&self, forced: bool) -> Suspend {
        self.update(|state| {
            if planted(Bug::CancelMissedAfterPoll) {
                return state.without(KEPT | INTERRUPTED).suspend(forced);
            }
            if planted(Bug::AbortMissedAfterPoll) {
                return state.without(ABORTED).suspend(forced);
            }
            state.suspend(forced)
        })
    }

    /// (6)
    #[inline]
    pub(crate) fn transition_to_done(&self, ending: Ending) -> Finish {
        self.update(|state| {
            if planted(Bug::CancelMissedAfterPoll) {
                return state.without(KEPT).finish(ending);
            }
            if planted(Bug::PanicGivesWayToCancel) && ending == Ending::Failure {
                return state.finish(Ending::Value);
            }
            state.finish(ending)
        })
    }

    /// The four below are called with the lock of the task's rare box, which guards the requests themselves.
    pub(crate) fn transition_to_requested(&self) -> Requested {
        self.update(Snapshot::request)
    }

    pub(crate) fn transition_to_committed(&self, more: bool) -> Requested {
        self.update(|state| state.commit(more))
    }

    pub(crate) fn transition_to_kept(&self) -> Requested {
        self.update(Snapshot::keep)
    }

    /// No request is kept any more. `reserved`: none is reserved either.
    pub(crate) fn transition_to_none_kept(&self, reserved: bool) {
        let gone = if reserved { KEPT | RESERVED } else { KEPT };
        self.update(|state| (state.without(gone), ()));
    }

    /// What the task itself had received has been taken.
    pub(crate) fn transition_to_uninterrupted(&self) {
        self.update(|state| (state.without(INTERRUPTED), ()));
    }

    pub(crate) fn transition_to_delivered(&self, wake: bool, interrupted: bool) -> Delivered {
        let interrupted = interrupted && !planted(Bug::InterruptionNotMarked);
        self.update(|state| {
            if planted(Bug::OwedEntryLost) {
                return state.without(OWED).delivered(wake, interrupted);
            }
            if planted(Bug::DeliveryLeftWithKept) {
                return state.without(KEPT).delivered(wake, interrupted);
            }
            state.delivered(wake, interrupted)
        })
    }

    pub(crate) fn transition_to_answered(&self) {
        self.update(|state| (state.with(ANSWERED), ()));
    }

    pub(crate) fn transition_to_idle_taken(&self) -> bool {
        self.update(Snapshot::take_idle)
    }

    pub(crate) fn transition_to_suspended_taken(&self) -> bool {
        self.update(Snapshot::take_suspended)
    }

    /// Undoes [`transition_to_suspended_taken`](Self::transition_to_suspended_taken).
    pub(crate) fn transition_to_put_back(&self) -> Delivered {
        self.update(|state| {
            if planted(Bug::RunOwedByLookForgotten) {
                return state.without(OWED).put_back();
            }
            if planted(Bug::CancelDuringLookForgotten) {
                return state.without(KEPT).put_back();
            }
            state.put_back()
        })
    }

    pub(crate) fn transition_to_delivered_plainly(&self) -> Delivered {
        self.update(Snapshot::delivered_plainly)
    }

    /// The request that the word counts is taken back.
    pub(crate) fn transition_to_uncounted(&self) {
        self.update(|state| (state.without(COUNTED), ()));
    }

    pub(crate) fn transition_to_aborted(&self) -> Abort {
        self.update(Snapshot::abort)
    }

    /// Called with the lock of the rare box, which guards the list of those who watch.
    pub(crate) fn transition_to_watched(&self) -> Join {
        self.update(Snapshot::watch)
    }

    pub(crate) fn transition_to_join_waker_taken(&self) -> Join {
        self.update(Snapshot::unpublish_join_waker)
    }

    pub(crate) fn transition_to_join_waker_stored(&self) -> Join {
        if planted(Bug::JoinWakerAfterDone) {
            return self.update(|state| (state.with(JOIN_WAKER), Join::Waiting));
        }
        self.update(Snapshot::publish_join_waker)
    }

    pub(crate) fn transition_to_handle_dropped(&self) -> HandleDrop {
        if planted(Bug::HandleDropFromOldLook) {
            let (_, left) = self.load().drop_handle();
            let _ = self.update(Snapshot::drop_handle);
            return left;
        }
        self.update(Snapshot::drop_handle)
    }

    /// One more reference. Relaxed: the caller holds one already, so the cell cannot go away meanwhile.
    #[inline]
    pub(crate) fn add_reference(&self) {
        let before = self.0.fetch_add(REF_ONE, Relaxed);
        if before > REF_LIMIT {
            // Counting on would let the count wrap and the cell be freed under live wakers.
            std::process::abort();
        }
    }

    /// Gives back `count` references; true if they were the last. AcqRel: the Release orders this owner's accesses before the
    /// deallocation, the Acquire half of the last one orders the deallocation after everybody's.
    #[inline]
    #[must_use]
    pub(crate) fn drop_references(&self, count: usize) -> bool {
        let order = if planted(Bug::ReferenceDroppedRelaxed) {
            Relaxed
        } else {
            AcqRel
        };
        let before = Snapshot(self.0.fetch_sub(count * REF_ONE, order));
        debug_assert!(before.references() >= count, "reference count underflow");
        before.references() == count
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
