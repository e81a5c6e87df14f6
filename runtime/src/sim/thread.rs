//! A simulated thread that is none of the runtime's.

use super::world::{self, Actor};
use parking_lot::Mutex;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// A thread of a simulation, begun by [`Sim::thread`](super::Sim::thread): a future of what it gives.
///
/// Dropping it lets the thread run on. A panic of the thread goes on where its value would have come.
#[derive(Debug)]
pub struct Thread<T> {
    actor: Option<Actor>,
    shared: Arc<Mutex<Shared<T>>>,
}

#[derive(Debug)]
struct Shared<T> {
    ended: Option<Result<T, Box<dyn Any + Send>>>,
    waker: Option<Waker>,
}

impl<T: Send + 'static> Thread<T> {
    pub(super) fn start(name: String, body: impl FnOnce() -> T + Send + 'static) -> Self {
        let shared = Arc::new(Mutex::new(Shared {
            ended: None,
            waker: None,
        }));
        let theirs = shared.clone();
        let run = move || {
            let ended = catch_unwind(AssertUnwindSafe(body));
            let waker = {
                let mut shared = theirs.lock();
                shared.ended = Some(ended);
                shared.waker.take()
            };
            if let Some(waker) = waker {
                waker.wake();
            }
        };
        // Outside of a simulation nobody would run it: it never ends.
        let actor = world::here().and_then(|world| world.start(name, Box::new(run)).ok());
        Self { actor, shared }
    }

    /// Blocks the calling simulated thread until this one has ended, and gives its value. In a task, await it instead.
    pub fn join(self) -> T {
        loop {
            if let Some(ended) = self.shared.lock().ended.take() {
                return value(ended);
            }
            if let (Some(world), Some(actor)) = (world::here(), self.actor) {
                world.join(actor);
            }
        }
    }
}

fn value<T>(ended: Result<T, Box<dyn Any + Send>>) -> T {
    match ended {
        Ok(value) => value,
        Err(payload) => resume_unwind(payload),
    }
}

impl<T> Future for Thread<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let mut shared = self.shared.lock();
        match shared.ended.take() {
            Some(ended) => {
                drop(shared);
                Poll::Ready(value(ended))
            }
            None => {
                let before = shared.waker.replace(cx.waker().clone());
                drop(shared);
                drop(before);
                Poll::Pending
            }
        }
    }
}
