//! What a task is and what a cancel does, rule by rule, on every flavour: what no scenario of asyncio's can say, and what only threads
//! can get wrong.
//!
//! Numbers in the tests' headings are those of the rules that the tests are about:
//!
//! ```text
//!   requests      1, 2, 6, 7    who is asked, what counts, what is kept, and what force is
//!   delivery      3             where in a body a request arrives, and when: trees of regions
//!   leaves        4, 5          what is a point of delivery, and what becomes of a result: leaves of heist's and of others
//!   forwarding    8             through handles: tasks, promises, shared ones, threads outside
//!   regions       9, 10         how a region is left, and what goes back
//!   deadlines     11            timeouts, and whose cancellation it was
//!   groups        13            task groups; group_races: the same, in a hurry
//!   places        14            from a destructor, a waker, a callback, another runtime; with a panic there
//!   long          15            chains of a million, rings
//!   storms        12, and all   random cancels and timeouts: nothing is lost, every count balances
//! ```

mod deadlines;
mod delivery;
mod forwarding;
mod group_races;
mod groups;
mod leaves;
mod long;
mod places;
mod regions;
mod requests;
mod storms;

use crate::support::{Dice, limited, on_each_flavour};
use heist::task::catch_cancel;
use heist::{Task, sleep};
use parking_lot::Mutex;
use std::fmt::Debug;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

/// Runs `body` on every flavour, with a clock that stands still until all tasks wait.
#[track_caller]
fn everywhere<F: Future<Output = ()>>(body: impl Fn() -> F + Send + 'static) {
    limited(move || {
        on_each_flavour(|_, builder| {
            let runtime = builder.start_paused(true).build().unwrap();
            runtime.block_on(body()).unwrap();
        });
    });
}

/// Lets all other tasks run until they wait. Only where the clock is paused.
async fn settled() {
    sleep(MS).await;
}

/// The message of the cancellation that the task ends with.
#[track_caller]
fn cancelled<T: Debug + Send + 'static>(task: Task<T>) -> impl Future<Output = Option<String>> {
    let at = std::panic::Location::caller();
    async move {
        let seen = task.as_ref();
        match task.await {
            Err(error) if error.is_cancelled() => {
                assert!(seen.is_done() && seen.is_cancelled(), "{at}");
                error.cancel_message().map(str::to_owned)
            }
            other => panic!("not cancelled, at {at}: {other:?}"),
        }
    }
}

/// As [`catch_cancel`], with the message alone.
async fn caught<F: Future>(future: F) -> Result<F::Output, Option<String>> {
    let ended = catch_cancel(future).await;
    ended.map_err(|cancelled| cancelled.message().map(str::to_owned))
}

fn says(message: &str) -> Option<String> {
    Some(message.to_owned())
}

fn me() -> heist::TaskRef {
    heist::current_task().unwrap()
}

/// The next suspension: passes if nothing is kept.
async fn suspend() {
    heist::task::yield_now().await;
}

/// What happened, in order.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn say(&self, what: impl Into<String>) {
        self.0.lock().push(what.into());
    }

    fn told(&self) -> Vec<String> {
        self.0.lock().clone()
    }

    fn len(&self) -> usize {
        self.0.lock().len()
    }

    /// Says something when dropped.
    fn at_drop(&self, what: &'static str) -> impl Send + use<> {
        Says(self.clone(), what)
    }
}

struct Says(Log, &'static str);

impl Drop for Says {
    fn drop(&mut self) {
        self.0.say(self.1);
    }
}

/// A value that comes from anywhere, by a future that knows nothing of heist.
struct Foreign<T>(Arc<Mutex<(Option<T>, Option<Waker>)>>);

impl<T> Foreign<T> {
    fn new() -> Self {
        Self(Arc::new(Mutex::new((None, None))))
    }

    fn give(&self, value: T) {
        let waker = {
            let mut state = self.0.lock();
            state.0 = Some(value);
            state.1.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Wakes whoever waits, for nothing.
    fn nudge(&self) {
        let waker = self.0.lock().1.clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Clone for Foreign<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Future for Foreign<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let mut state = self.0.lock();
        match state.0.take() {
            Some(value) => Poll::Ready(value),
            None => {
                state.1 = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}
