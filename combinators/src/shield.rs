//! `shield`: a handle of somebody else's end, which can be cancelled without him.
//!
//! The shield waits for the inner handle with a waker that is called at its end (`each`), and settles a promise. Cancelled, the promise ends at
//! once, and the inner handle is let go of: from then on it is as any that nobody waits for, and the runtime reports it if it fails.

use crate::each::{self, Parent};
use heist_runtime::TaskError;
use heist_runtime::task::{Answer, Awaitable, Deferred, Later, OnCancel, Promise, deferred};
use parking_lot::Mutex;
use std::mem;
use std::sync::{Arc, Weak};
use std::task::{Context, Waker};

/// A handle that mirrors `inner`: ended when that is, with the same outcome. Cancelling it ends it at once, and leaves `inner` alone.
/// asyncio's `shield`.
///
/// If `inner` is cancelled by others, the shield is cancelled too, without message. One that has ended gives a shield that has, with the
/// same outcome, message and all.
///
/// When the shield is cancelled it lets go of `inner`, which runs on by itself: keep a [`Shared`](heist_runtime::task::Shared) of it to hear
/// how it ends. A task that panics with no handle left is reported by the runtime.
///
/// # Cancel safety
///
/// A task that is cancelled while it awaits this goes on unwinding at once; `inner` hears nothing of it. The same holds if the shield
/// is dropped.
///
/// # Examples
///
/// ```
/// use heist_combinators::shield;
/// # heist_runtime::run(async {
/// let saved = heist_runtime::spawn(async {
///     heist_runtime::task::yield_now().await;
///     "saved"
/// })
/// .shared();
/// let shielded = saved.clone();
/// let hasty = heist_runtime::spawn(async move { shield(shielded).await });
/// heist_runtime::task::yield_now().await;
/// hasty.cancel(None);
/// assert_eq!(saved.await.unwrap(), "saved");
/// # }).unwrap();
/// ```
#[doc(alias = "asyncio.shield")]
pub fn shield<A: Awaitable>(inner: A) -> Deferred<A::Value> {
    let shield = Arc::new(Shield {
        state: Mutex::new(State {
            inner: Inner::Out { rang: false },
            promise: None,
        }),
    });
    let (promise, handle) = deferred(LetGo(Arc::downgrade(&shield)));
    if inner.is_done() {
        take_over(promise, inner, true);
        return handle;
    }
    shield.state.lock().promise = Some(promise);
    shield.attend(inner, &each::waker_of(&shield, 0));
    handle
}

struct Shield<A: Awaitable> {
    state: Mutex<State<A>>,
}

struct State<A: Awaitable> {
    inner: Inner<A>,
    promise: Option<Promise<A::Value>>,
}

enum Inner<A> {
    /// Somebody has the handle in hand. `rang`: its waker was called meanwhile.
    Out {
        rang: bool,
    },
    Waiting(A),
    /// The shield was cancelled.
    LetGo,
}

impl<A: Awaitable> Shield<A> {
    /// Puts the inner handle, which is out, back to wait, or takes over its outcome.
    fn attend(&self, mut inner: A, waker: &Waker) {
        while !inner.poll_ended(&mut Context::from_waker(waker)) {
            let mut state = self.state.lock();
            match &mut state.inner {
                Inner::Out { rang } if *rang => *rang = false,
                Inner::Out { .. } => {
                    state.inner = Inner::Waiting(inner);
                    return;
                }
                Inner::Waiting(_) | Inner::LetGo => {
                    drop(state);
                    return each::discard(inner);
                }
            }
        }
        let promise = self.state.lock().promise.take();
        if let Some(promise) = promise {
            take_over(promise, inner, false);
        }
    }
}

/// Ends the shield as the inner handle ended. `at_once`: it had ended before there was a shield.
fn take_over<A: Awaitable>(promise: Promise<A::Value>, mut inner: A, at_once: bool) {
    if promise.is_done() {
        // Cancelled meanwhile: the outcome stays with the handle, and is reported with it.
        return each::discard(inner);
    }
    let cancelled = inner.is_cancelled();
    // The clone of a shared handle's value is foreign code.
    let outcome = each::caught(|| inner.take());
    let outcome = outcome.unwrap_or_else(|payload| Err(TaskError::panicked(payload)));
    each::discard(inner);
    match outcome {
        Err(error) if cancelled => {
            let message = error.cancel_message().filter(|_| at_once);
            promise.cancel(message);
        }
        outcome => {
            if let Err(lost) = promise.settle(outcome) {
                // Cancelled in this very moment.
                lost.as_ref().err().into_iter().for_each(each::unretrieved);
                each::discard(lost);
            }
        }
    }
}

impl<A: Awaitable> Parent for Shield<A> {
    fn child_ended(self: Arc<Self>, _: usize, waker: &Waker) {
        let mut state = self.state.lock();
        match mem::replace(&mut state.inner, Inner::Out { rang: false }) {
            Inner::Waiting(inner) => {
                drop(state);
                self.attend(inner, waker);
            }
            Inner::Out { .. } => state.inner = Inner::Out { rang: true },
            Inner::LetGo => state.inner = Inner::LetGo,
        }
    }
}

/// What a request for cancellation does. Weak: the shield's handle holds it, and the shield the promise.
struct LetGo<A: Awaitable>(Weak<Shield<A>>);

impl<A: Awaitable> OnCancel for LetGo<A> {
    fn request(&self, _: Option<&Arc<str>>, later: &mut Later) -> Option<Answer> {
        if let Some(shield) = self.0.upgrade() {
            later.push(move || {
                let let_go = mem::replace(&mut shield.state.lock().inner, Inner::LetGo);
                each::discard(let_go);
            });
        }
        None
    }

    fn kind(&self) -> &'static str {
        "Shield"
    }
}
