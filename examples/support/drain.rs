//! Telling every connection of a server to finish, and waiting until all have.
//!
//! A connection holds a [`Guard`] and looks at its [`Guard::poll_begun`] whenever it is polled. [`Drain::begin`] wakes
//! all of them; [`Drain::finished`] waits until the last guard is gone.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// A server's switch from "serve" to "finish what you have".
#[derive(Clone, Default)]
pub(crate) struct Drain(Arc<Shared>);

#[derive(Default)]
struct Shared {
    begun: AtomicBool,
    guards: Mutex<Guards>,
}

#[derive(Default)]
struct Guards {
    next: u64,
    /// By number: who holds a guard, and whom to wake for it.
    held: HashMap<u64, Option<Waker>>,
    /// Who waits for the last guard to go.
    waiting: Vec<Waker>,
}

impl Drain {
    /// Asks everybody who holds a guard to finish.
    pub(crate) fn begin(&self) {
        let wakers: Vec<Waker> = {
            let mut guards = self.0.lock();
            // Under the lock: a guard that registers its waker later sees it.
            self.0.begun.store(true, Ordering::Release);
            guards.held.values_mut().filter_map(Option::take).collect()
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Waits until no guard is left.
    pub(crate) async fn finished(&self) {
        poll_fn(|cx| {
            let mut guards = self.0.lock();
            if guards.held.is_empty() {
                return Poll::Ready(());
            }
            guards.waiting.push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    pub(crate) fn guard(&self) -> Guard {
        let mut guards = self.0.lock();
        let number = guards.next;
        guards.next += 1;
        guards.held.insert(number, None);
        Guard {
            drain: self.clone(),
            number,
            waker: None,
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Guards> {
        self.guards.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody who has to finish before the server is drained.
pub(crate) struct Guard {
    drain: Drain,
    number: u64,
    /// The waker that was left, so that a poll by the same task takes no lock.
    waker: Option<Waker>,
}

impl Guard {
    /// Ready once [`Drain::begin`] was called.
    pub(crate) fn poll_begun(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let shared = &self.drain.0;
        let known = self
            .waker
            .as_ref()
            .is_some_and(|waker| waker.will_wake(cx.waker()));
        if !known {
            let mut guards = shared.lock();
            guards.held.insert(self.number, Some(cx.waker().clone()));
            self.waker = Some(cx.waker().clone());
        }
        match shared.begun.load(Ordering::Acquire) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let waiting = {
            let mut guards = self.drain.0.lock();
            guards.held.remove(&self.number);
            match guards.held.is_empty() {
                true => std::mem::take(&mut guards.waiting),
                false => Vec::new(),
            }
        };
        waiting.into_iter().for_each(Waker::wake);
    }
}
