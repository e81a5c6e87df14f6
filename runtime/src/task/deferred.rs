//! `Deferred<T>`: the handle of an outcome that somebody settles; `Promise<T>`, who does so. asyncio's plain `Future`.
//!
//! The cell between them is one mutex: the outcome, those who are told of it, and what a request for cancellation does. A promise's ends
//! by it, a gather passes it on to its children: that is the cell's [`OnCancel`].

use super::awaitable::{Await, Awaitable, Watched};
use super::cell::{Watcher, tell_all};
use super::in_turn::drop_in_turn;
use super::repr::Phase;
use super::tree::{Answer, Forward, Later, Target};
use super::{Shared, TaskError};
use crate::sync_switch::{Bug, Mutex, planted};
use slab::Slab;
use std::fmt;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

type Outcome<T> = Result<T, TaskError>;

/// What the settling side of a [`Deferred`] does when the handle is asked to end.
pub trait OnCancel: Send + Sync {
    /// Takes a request, while the outcome is not settled. `None`: the handle ends cancelled at once. Called with no lock held.
    fn request(&self, message: Option<&Arc<str>>, later: &mut Later) -> Option<Answer>;

    /// None of those that it answered with ([`Answer::Each`]) has accepted: takes the request back. True if it has had its effect meanwhile, and so counts
    /// as accepted.
    fn withdraw(&self) -> bool {
        false
    }

    /// One word for what the handle is, as its `Debug` shows it.
    fn kind(&self) -> &'static str {
        "Deferred"
    }
}

/// The handle ends at once.
struct EndAtOnce;

impl OnCancel for EndAtOnce {
    fn request(&self, _: Option<&Arc<str>>, _: &mut Later) -> Option<Answer> {
        None
    }
}

struct Inner<T> {
    state: Mutex<State<T>>,
    on_cancel: Box<dyn OnCancel>,
    /// How an outcome is dropped that nobody took: in turn.
    discard: fn(Outcome<T>),
}

impl<T> Drop for Inner<T> {
    fn drop(&mut self) {
        if let Slot::Ended(outcome) = mem::replace(&mut self.state.get_mut().outcome, Slot::Taken) {
            // An error that nobody has taken is not lost.
            if let Err(error) = &outcome
                && error.is_panic()
            {
                crate::failure::report(error.clone());
            }
            (self.discard)(outcome);
        }
    }
}

struct State<T> {
    outcome: Slot<T>,
    watchers: Slab<Watcher>,
    /// Whether it was the handle that was cancelled, and not what it stands for.
    cancelled: bool,
}

enum Slot<T> {
    Pending,
    Ended(Outcome<T>),
    Taken,
}

impl<T> Inner<T> {
    /// Settles the outcome; gives it back if that was done before. Those who watch are to be told by the caller.
    fn settle(&self, outcome: Outcome<T>, cancelled: bool) -> Result<Slab<Watcher>, Outcome<T>> {
        let mut state = self.state.lock();
        if !matches!(state.outcome, Slot::Pending) && !planted(Bug::SettledTwice) {
            return Err(outcome);
        }
        state.outcome = Slot::Ended(outcome);
        state.cancelled = cancelled;
        Ok(mem::take(&mut state.watchers))
    }

    fn is_done(&self) -> bool {
        !matches!(self.state.lock().outcome, Slot::Pending)
    }
}

fn tell(watchers: Slab<Watcher>) {
    tell_all(watchers.into_iter().map(|(_, watcher)| watcher));
}

impl<T: Send> Forward for Inner<T> {
    fn request(&self, message: Option<&Arc<str>>, later: &mut Later) -> Answer {
        if self.is_done() {
            return Answer::Refused;
        }
        if let Some(answer) = self.on_cancel.request(message, later) {
            return answer;
        }
        match self.settle(Err(TaskError::cancelled(message.cloned())), true) {
            Ok(watchers) => {
                later.push(|| tell(watchers));
                Answer::Accepted
            }
            Err(_) => Answer::Refused,
        }
    }

    fn withdraw(&self) -> bool {
        self.on_cancel.withdraw()
    }

    fn kind(&self) -> &'static str {
        self.on_cancel.kind()
    }
}

/// A promise and the handle of what it will give. asyncio's `loop.create_future()`.
///
/// # Examples
///
/// ```
/// use heist_runtime::task::promise;
/// # heist_runtime::run(async {
/// let (promise, answer) = promise();
/// std::thread::spawn(move || promise.set(42));
/// assert_eq!(answer.await.unwrap(), 42);
/// # }).unwrap();
/// ```
#[doc(alias = "create_future")]
pub fn promise<T: Send + 'static>() -> (Promise<T>, Deferred<T>) {
    deferred(EndAtOnce)
}

/// As [`promise`], with what a request for cancellation does: for combinators.
pub fn deferred<T: Send + 'static>(
    on_cancel: impl OnCancel + 'static,
) -> (Promise<T>, Deferred<T>) {
    let inner = Arc::new(Inner {
        state: Mutex::new(State {
            outcome: Slot::Pending,
            watchers: Slab::new(),
            cancelled: false,
        }),
        on_cancel: Box::new(on_cancel),
        discard: drop_in_turn,
    });
    let promise = Promise(Arc::new(Settler(inner.clone())));
    let deferred = Deferred {
        inner,
        watch: None,
        waits: Await::new(),
    };
    (promise, deferred)
}

/// Who settles an outcome. Clones settle the same one; when the last is dropped unsettled, the handle ends cancelled.
#[doc(alias = "asyncio.Future")]
pub struct Promise<T: Send + 'static>(Arc<Settler<T>>);

struct Settler<T: Send + 'static>(Arc<Inner<T>>);

impl<T: Send + 'static> Drop for Settler<T> {
    fn drop(&mut self) {
        if planted(Bug::BrokenPromiseSilent) {
            return;
        }
        let broken = TaskError::cancelled(Some(Arc::from("the promise was dropped")));
        if let Ok(watchers) = self.0.settle(Err(broken), true) {
            tell(watchers);
        }
    }
}

impl<T: Send + 'static> Promise<T> {
    /// Gives the value. asyncio's `set_result`.
    ///
    /// # Errors
    ///
    /// The value, if the outcome is settled already: asyncio's `InvalidStateError`.
    ///
    /// # Examples
    ///
    /// ```
    /// # heist_runtime::run(async {
    /// let (promise, answer) = heist_runtime::task::promise();
    /// assert_eq!(promise.set(42), Ok(()));
    /// assert_eq!(promise.set(43), Err(43)); // it was kept already
    /// assert_eq!(answer.await.unwrap(), 42);
    /// # }).unwrap();
    /// ```
    #[doc(alias = "set_result")]
    pub fn set(&self, value: T) -> Result<(), T> {
        match self.settle(Ok(value)) {
            Ok(()) => Ok(()),
            Err(Ok(value)) => Err(value),
            Err(Err(_)) => unreachable!("a value comes back as it went"),
        }
    }

    /// Ends it with an error, or a value: whatever the outcome is. asyncio's `set_exception`.
    ///
    /// # Errors
    ///
    /// The outcome, if one is settled already.
    #[doc(alias = "set_exception")]
    pub fn settle(&self, outcome: Result<T, TaskError>) -> Result<(), Result<T, TaskError>> {
        // A cancellation that is given as an outcome is no cancellation of the handle.
        tell((self.0).0.settle(outcome, false)?);
        Ok(())
    }

    /// Ends the handle cancelled; false if it is settled already.
    pub fn cancel<'m>(&self, message: impl Into<Option<&'m str>>) -> bool {
        let message = message.into().filter(|text| !text.is_empty());
        let cancelled = TaskError::cancelled(message.map(Arc::from));
        (self.0).0.settle(Err(cancelled), true).map(tell).is_ok()
    }

    /// Whether the outcome is settled.
    pub fn is_done(&self) -> bool {
        (self.0).0.is_done()
    }
}

impl<T: Send + 'static> Clone for Promise<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Send + 'static> fmt::Debug for Promise<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Promise")
            .field("done", &self.is_done())
            .finish()
    }
}

/// The handle of an outcome to come: what [`promise`], `gather` and `shield` give. asyncio's `Future`, as seen by who awaits it.
///
/// # Cancel safety
///
/// Awaiting by `&mut` may be given up and taken up again; the outcome is not lost.
#[must_use = "the outcome is lost when the handle is dropped"]
pub struct Deferred<T> {
    inner: Arc<Inner<T>>,
    /// The key of the waker that was left.
    watch: Option<usize>,
    waits: Await,
}

impl<T> Unpin for Deferred<T> {}

impl<T: Send + 'static> Deferred<T> {
    /// Whether the outcome is there, or was. asyncio's `done`.
    #[doc(alias = "done")]
    pub fn is_done(&self) -> bool {
        self.inner.is_done()
    }

    /// Whether the handle was cancelled. asyncio's `cancelled`.
    #[doc(alias = "cancelled")]
    pub fn is_cancelled(&self) -> bool {
        self.inner.state.lock().cancelled
    }

    /// Asks it to end: a promise's or a shield's handle does so at once, a gather's asks its children. False if it has ended.
    pub fn cancel<'m>(&self, message: impl Into<Option<&'m str>>) -> bool {
        super::request_all(vec![self.target()], message.into()) > 0
    }

    /// The value, without waiting; given once. asyncio's `result`.
    ///
    /// # Errors
    ///
    /// Why there is none; [`is_invalid_state`](TaskError::is_invalid_state) before the end.
    pub fn result(&mut self) -> Result<T, TaskError> {
        self.lift()?
    }

    /// The error, without waiting and without taking the outcome; `None` if there is a value. asyncio's `exception`.
    ///
    /// # Errors
    ///
    /// The handle was cancelled, or nothing has come yet.
    pub fn exception(&self) -> Result<Option<TaskError>, TaskError> {
        let state = self.inner.state.lock();
        match &state.outcome {
            Slot::Pending => Err(TaskError::invalid_state()),
            Slot::Ended(Err(error)) if state.cancelled => Err(error.clone()),
            Slot::Ended(outcome) => Ok(outcome.as_ref().err().cloned()),
            Slot::Taken => Ok(None),
        }
    }

    /// Calls `callback` at the end: on the thread that brings it, or here and now if it has come; in a copy of the calling code's
    /// [context](crate::context). asyncio's `add_done_callback`.
    pub fn add_done_callback(&self, callback: impl FnOnce() + Send + 'static) {
        if let Err(callback) = self.watch(Watcher::call(callback)) {
            callback.tell();
        }
    }

    /// The same handle, whose await suspends at least once: a point of cancellation, as awaiting a gather is in asyncio though all its children
    /// have ended.
    pub fn suspending(mut self) -> Self {
        self.waits = mem::take(&mut self.waits).suspending();
        self
    }

    /// A handle that can be cloned and gives the outcome any number of times.
    pub fn shared(self) -> Shared<T>
    where
        T: Clone + Sync,
    {
        self.into()
    }

    /// Takes the outcome out, or says why there is none.
    fn lift(&mut self) -> Result<Outcome<T>, TaskError> {
        let mut state = self.inner.state.lock();
        if matches!(state.outcome, Slot::Pending) {
            return Err(TaskError::invalid_state());
        }
        match mem::replace(&mut state.outcome, Slot::Taken) {
            Slot::Ended(outcome) => Ok(outcome),
            Slot::Pending | Slot::Taken => Err(TaskError::taken()),
        }
    }
}

impl<T: Send + 'static> Awaitable for Deferred<T> {
    type Value = T;

    fn target(&self) -> Target {
        Target::Other(self.inner.clone())
    }

    fn is_done(&self) -> bool {
        self.inner.is_done()
    }

    fn is_cancelled(&self) -> bool {
        self.inner.state.lock().cancelled
    }

    fn error(&self) -> Option<TaskError> {
        match &self.inner.state.lock().outcome {
            Slot::Ended(outcome) => outcome.as_ref().err().cloned(),
            Slot::Pending | Slot::Taken => None,
        }
    }

    fn has_value(&mut self, holds: fn(&T) -> bool) -> bool {
        let Ok(outcome) = self.lift() else {
            return false;
        };
        // Foreign code, so not under the lock. Nobody but this handle looks for the outcome meanwhile.
        let answer = outcome.as_ref().is_ok_and(holds);
        let taken = mem::replace(&mut self.inner.state.lock().outcome, Slot::Ended(outcome));
        drop(taken);
        answer
    }

    fn poll_ended(&mut self, cx: &mut Context<'_>) -> bool {
        let mut watch = self.watch.take();
        let is_done = super::awaitable::leave_waker(&*self, &mut watch, cx);
        self.watch = watch;
        is_done
    }

    fn take(&mut self) -> Outcome<T> {
        self.lift().unwrap_or_else(Err)
    }

    fn identity(&self) -> usize {
        Arc::as_ptr(&self.inner).addr()
    }
}

impl<T: Send + 'static> Future for Deferred<T> {
    type Output = Outcome<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome<T>> {
        let mut waits = mem::take(&mut self.waits);
        let polled = waits.poll(&mut *self, cx);
        self.waits = waits;
        polled
    }
}

impl<T> Drop for Deferred<T> {
    fn drop(&mut self) {
        if let Some(key) = self.watch.take() {
            let watcher = self.inner.state.lock().watchers.try_remove(key);
            drop(watcher);
        }
    }
}

/// `<Deferred pending>`; a gather's says `Gather`, a shield's `Shield`. asyncio's repr of a `Future`.
impl<T> fmt::Debug for Deferred<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let phase = {
            let state = self.inner.state.lock();
            let error = match &state.outcome {
                Slot::Ended(outcome) => outcome.as_ref().err().cloned(),
                Slot::Pending | Slot::Taken => None,
            };
            Phase::of_handle(
                !matches!(state.outcome, Slot::Pending),
                state.cancelled,
                error,
            )
        };
        phase.fmt_handle(self.inner.on_cancel.kind(), f)
    }
}

/// Many may be told of the end.
impl<T: Send + 'static> Watched for Deferred<T> {
    fn watch(&self, watcher: Watcher) -> Result<usize, Watcher> {
        if planted(Bug::PromiseWatchedAfterALook) && !self.inner.is_done() {
            return Ok(self.inner.state.lock().watchers.insert(watcher));
        }
        let mut state = self.inner.state.lock();
        match state.outcome {
            Slot::Pending => Ok(state.watchers.insert(watcher)),
            _ => Err(watcher),
        }
    }

    fn rewatch(&self, key: usize, watcher: Watcher) -> Result<Watcher, Watcher> {
        match self.inner.state.lock().watchers.get_mut(key) {
            Some(place) => Ok(mem::replace(place, watcher)),
            None => Err(watcher),
        }
    }

    fn unwatch(&self, key: usize) -> Option<Watcher> {
        self.inner.state.lock().watchers.try_remove(key)
    }
}

impl<T: Clone + Send + Sync + 'static> From<Deferred<T>> for Shared<T> {
    fn from(mut deferred: Deferred<T>) -> Self {
        let waits = mem::take(&mut deferred.waits);
        Self::new(deferred, waits)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    struct Panics;

    impl OnCancel for Panics {
        fn request(&self, _: Option<&Arc<str>>, _: &mut Later) -> Option<Answer> {
            std::panic::resume_unwind(Box::new("as the test wants it"))
        }
    }

    #[test]
    fn a_panic_of_what_is_asked_to_end_is_a_refusal() {
        let ended = crate::run(async {
            let (_promise, handle) = deferred::<()>(Panics);
            let task = crate::spawn(handle);
            super::super::yield_now().await;
            assert!(task.cancel("met"));
            task.await
        });
        let error = ended.unwrap().unwrap_err();
        assert_eq!(error.cancel_message(), Some("met"));
    }
}
