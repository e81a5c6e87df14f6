//! A gather that is under way.
//!
//! ```text
//!   Engine   the children's handles and what was kept of their outcomes, in order of the arguments; one lock
//!   Rule     what is kept of an outcome, what ends the gather at once, and what value all of it makes
//! ```
//!
//! A child's life in the engine: its handle is *out* while it is armed with a waker of its own (`each`), then *waiting*; its waker takes it
//! out again, and then what is kept of its outcome is *ended*. Nothing foreign is called or dropped with the lock held. The last child to
//! end, or the first that the rule lets end the gather, takes promise and slots out of the engine: after that, it knows nothing.
//!
//! Who holds whom: the children's wakers hold the engine, the engine the children's handles and the promise; the gather's own handle holds
//! nothing but the outcome's place. So a gather runs to its end whether its handle is kept or not.

use crate::each::{self, Parent};
use heist_runtime::TaskError;
use heist_runtime::task::{
    Answer, Awaitable, Cancelled, Deferred, Later, OnCancel, Promise, Target, deferred,
};
use parking_lot::Mutex;
use std::mem;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::sync::{Arc, Weak};
use std::task::{Context, Waker};

/// A gather that is under way.
struct Engine<C: Part, R: Rule<C::Value>> {
    state: Mutex<State<C, R>>,
}

struct State<C: Part, R: Rule<C::Value>> {
    /// One for each argument; none once the gather has ended.
    slots: Vec<Slot<C, R::Kept>>,
    /// How many have not ended.
    waiting: usize,
    /// It was cancelled: whatever the children give, it ends with a cancellation.
    requested: bool,
    /// It has ended so.
    obeyed: Arc<AtomicBool>,
    /// None once it has ended.
    promise: Option<Promise<R::Value>>,
}

enum Slot<C, K> {
    /// Somebody has the handle in hand. `rang`: its waker was called meanwhile.
    Out {
        rang: bool,
    },
    Waiting(C),
    Ended(K),
}

pub(super) fn start<C: Part, R: Rule<C::Value>>(parts: Vec<C>) -> Deferred<R::Value> {
    let out = || Slot::Out { rang: false };
    let obeyed = Arc::new(AtomicBool::new(false));
    let engine = Arc::new(Engine::<C, R> {
        state: Mutex::new(State {
            slots: std::iter::repeat_with(out).take(parts.len()).collect(),
            waiting: parts.len(),
            requested: false,
            obeyed: obeyed.clone(),
            promise: None,
        }),
    });
    let (promise, handle) = deferred(Cancel(Arc::downgrade(&engine), obeyed));
    if parts.is_empty() {
        conclude(promise, Ok(R::value(Vec::new())));
        return handle;
    }
    engine.state.lock().promise = Some(promise);
    let mut ended = Vec::new();
    for (index, part) in parts.into_iter().enumerate() {
        if !part.is_done() {
            engine.attend(index, part, &each::waker_of(&engine, index));
        } else if engine.put_by(index, part) {
            ended.push(index);
        }
    }
    notice(engine, ended);
    handle
}

/// Notices children that had ended before: soon, so that a gather has not ended where it begins.
fn notice<C: Part, R: Rule<C::Value>>(engine: Arc<Engine<C, R>>, ended: Vec<usize>) {
    if ended.is_empty() {
        return;
    }
    each::soon(move || {
        for index in ended {
            let waker = each::waker_of(&engine, index);
            engine.clone().child_ended(index, &waker);
        }
    });
}

impl<C: Part, R: Rule<C::Value>> Engine<C, R> {
    /// Looks after a child whose handle is out: puts it back to wait, or takes its outcome.
    fn attend(&self, index: usize, mut part: C, waker: &Waker) {
        let outcome = loop {
            // Taking the outcome of a shared handle clones a value: foreign code.
            let looked = each::caught(|| {
                let is_done = part.poll_ended(&mut Context::from_waker(waker));
                is_done.then(|| part.take())
            });
            match looked {
                Ok(Some(outcome)) => break outcome,
                Err(payload) => break Err(TaskError::panicked(payload)),
                Ok(None) => {}
            }
            let mut state = self.state.lock();
            match state.slots.get_mut(index) {
                Some(Slot::Out { rang }) if *rang => *rang = false,
                Some(slot) => {
                    *slot = Slot::Waiting(part);
                    return;
                }
                None => {
                    // The gather has ended: the child runs on by itself.
                    drop(state);
                    return each::discard(part);
                }
            }
        };
        each::discard(part);
        self.child_gave(index, R::keep(outcome));
    }

    /// Keeps the handle of a child that had ended before; false if another child, of those that are attended already, has ended the gather meanwhile.
    fn put_by(&self, index: usize, part: C) -> bool {
        let mut state = self.state.lock();
        match state.slots.get_mut(index) {
            Some(slot) => {
                *slot = Slot::Waiting(part);
                true
            }
            None => {
                drop(state);
                each::discard(part);
                false
            }
        }
    }

    fn child_gave(&self, index: usize, kept: Result<R::Kept, Result<R::Value, TaskError>>) {
        let mut state = self.state.lock();
        let Some(slot) = state.slots.get_mut(index) else {
            drop(state);
            return late(kept);
        };
        let end = match kept {
            Ok(kept) => {
                *slot = Slot::Ended(kept);
                state.waiting -= 1;
                if state.waiting > 0 {
                    return;
                }
                None
            }
            Err(end) => Some(end),
        };
        let requested = state.requested;
        // Release: pairs with the Acquire in `withdraw`.
        state.obeyed.store(end.is_none() && requested, Release);
        let slots = mem::take(&mut state.slots);
        let promise = state.promise.take();
        drop(state);
        let Some(promise) = promise else { return };
        match end {
            Some(end) => {
                conclude(promise, end);
                // Children that have not ended run on by themselves.
                slots.into_iter().for_each(each::discard);
            }
            None if requested => {
                let error = match slots.last() {
                    Some(Slot::Ended(last)) => R::cancellation(last),
                    _ => None,
                };
                let none = || TaskError::from(Cancelled::new(None));
                conclude(promise, Err(error.unwrap_or_else(none)));
                slots.into_iter().for_each(each::discard);
            }
            None => conclude(promise, Ok(R::value(values(slots)))),
        }
    }
}

fn values<C, K>(slots: Vec<Slot<C, K>>) -> Vec<K> {
    let ended = |slot| match slot {
        Slot::Ended(kept) => Some(kept),
        Slot::Out { .. } | Slot::Waiting(_) => None,
    };
    slots.into_iter().filter_map(ended).collect()
}

/// Nobody else settles the promise: a gather's handle is never cancelled itself.
fn conclude<T: Send + 'static>(promise: Promise<T>, outcome: Result<T, TaskError>) {
    each::discard(promise.settle(outcome));
}

/// A child's outcome that came while another one ended the gather.
fn late<K, V>(kept: Result<K, Result<V, TaskError>>) {
    if let Err(Err(error)) = &kept {
        each::unretrieved(error);
    }
    each::discard(kept);
}

impl<C: Part, R: Rule<C::Value>> Parent for Engine<C, R> {
    fn child_ended(self: Arc<Self>, index: usize, waker: &Waker) {
        let mut state = self.state.lock();
        let Some(slot) = state.slots.get_mut(index) else {
            return;
        };
        match mem::replace(slot, Slot::Out { rang: false }) {
            Slot::Waiting(part) => {
                drop(state);
                self.attend(index, part, waker);
            }
            Slot::Out { .. } => *slot = Slot::Out { rang: true },
            // Called again after its end.
            ended @ Slot::Ended(_) => *slot = ended,
        }
    }
}

/// What a request for cancellation does. Weak: the handle holds it, and the engine the promise.
struct Cancel<C: Part, R: Rule<C::Value>>(Weak<Engine<C, R>>, Arc<AtomicBool>);

impl<C: Part, R: Rule<C::Value>> OnCancel for Cancel<C, R> {
    fn request(&self, _: Option<&Arc<str>>, _: &mut Later) -> Option<Answer> {
        let Some(engine) = self.0.upgrade() else {
            return Some(Answer::Refused);
        };
        let mut state = engine.state.lock();
        if state.promise.is_none() {
            return Some(Answer::Refused);
        }
        // Before any child is told: one that has acted on it finds the mark.
        state.requested = true;
        let waiting = |slot: &Slot<C, _>| match slot {
            Slot::Waiting(part) => Some(part.target()),
            // It has ended, and would refuse.
            Slot::Out { .. } | Slot::Ended(_) => None,
        };
        let targets = state.slots.iter().filter_map(waiting).collect();
        Some(Answer::Each(targets))
    }

    fn withdraw(&self) -> bool {
        if let Some(engine) = self.0.upgrade() {
            engine.state.lock().requested = false;
        }
        // Acquire: the engine, and with it the lock that ordered the mark, may be gone.
        self.1.load(Acquire)
    }

    fn kind(&self) -> &'static str {
        "Gather"
    }
}

/// What becomes of the children's outcomes.
pub(super) trait Rule<T>: 'static {
    /// What is kept of a child's outcome.
    type Kept: Send + 'static;
    type Value: Send + 'static;

    /// `Err`: the gather ends with this at once.
    fn keep(outcome: Result<T, TaskError>) -> Result<Self::Kept, Result<Self::Value, TaskError>>;

    /// The cancellation that the last argument ended with, if it did.
    fn cancellation(_last: &Self::Kept) -> Option<TaskError> {
        None
    }

    fn value(kept: Vec<Self::Kept>) -> Self::Value;
}

/// What the engine needs of a handle.
pub(super) trait Part: Send + 'static {
    type Value: Send + 'static;

    fn target(&self) -> Target;
    fn is_done(&self) -> bool;
    fn poll_ended(&mut self, cx: &mut Context<'_>) -> bool;
    fn take(&mut self) -> Result<Self::Value, TaskError>;
}

impl<A: Awaitable> Part for A {
    type Value = A::Value;

    fn is_done(&self) -> bool {
        Awaitable::is_done(self)
    }

    fn target(&self) -> Target {
        Awaitable::target(self)
    }

    fn poll_ended(&mut self, cx: &mut Context<'_>) -> bool {
        Awaitable::poll_ended(self, cx)
    }

    fn take(&mut self) -> Result<A::Value, TaskError> {
        Awaitable::take(self)
    }
}
