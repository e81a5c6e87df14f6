//! A blocking call, made on another thread, as a future.
//!
//! The answer travels through one shared place: the job puts it there and takes the waker; the
//! future leaves its waker and looks for the answer. Both do so under one lock, so neither misses
//! the other.
//!
//! A call cannot be interrupted. When its future is dropped, one that has begun runs to its end
//! and its answer is dropped on its thread; one that has not is not made.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use parking_lot::Mutex;

use crate::handle::Handle;
use crate::leaf::{self, Leaf};
use crate::sys;

/// The asking side: a leaf future.
pub(crate) struct Call<T> {
    meeting: Arc<Meeting<T>>,
    leaf: Leaf,
}

/// Where the answer and the waker meet.
struct Meeting<T>(Mutex<State<T>>);

struct State<T> {
    answer: Option<io::Result<T>>,
    waker: Option<Waker>,
}

/// A call of the current driver's that a simulation has nothing for: there it is an error.
pub(crate) fn offloaded<T: Send + 'static>(
    call: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<Call<T>> {
    sys::real_world()?;
    Call::start(&Handle::current()?, call)
}

/// Calls again for as long as a signal comes between.
pub(crate) fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

impl<T: Send + 'static> Call<T> {
    /// Hands the call over. What it holds is dropped before its answer can be seen.
    pub(crate) fn start(
        driver: &Handle,
        call: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<Call<T>> {
        let meeting = Arc::new(Meeting(Mutex::new(State {
            answer: None,
            waker: None,
        })));
        let mut reply = Reply(Some(meeting.clone()));
        driver.offload(Box::new(move || {
            if reply.is_awaited() {
                reply.give(call());
            }
        }))?;
        Ok(Call {
            meeting,
            leaf: Leaf::new(),
        })
    }
}

impl<T> Future for Call<T> {
    type Output = io::Result<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        ready!(self.leaf.poll_enter(cx));
        // Cloned before the lock is taken, and the old one dropped after it: wakers are foreign
        // code.
        let waker = cx.waker().clone();
        let mut state = self.meeting.0.lock();
        match state.answer.take() {
            Some(answer) => {
                drop(state);
                leaf::spend();
                Poll::Ready(answer)
            }
            None => {
                let old = state.waker.replace(waker);
                drop(state);
                drop(old);
                self.leaf.suspend();
                Poll::Pending
            }
        }
    }
}

/// The answering side. Dropped without an answer (the pool shut down, the call panicked), it
/// answers with an error, so that nobody waits for ever.
///
/// Invariant: `Some` until it has answered.
struct Reply<T>(Option<Arc<Meeting<T>>>);

impl<T> Reply<T> {
    /// Whether the future still lives.
    fn is_awaited(&self) -> bool {
        self.0
            .as_ref()
            .is_some_and(|meeting| Arc::strong_count(meeting) > 1)
    }

    fn give(&mut self, answer: io::Result<T>) {
        let Some(meeting) = self.0.take() else { return };
        let mut state = meeting.0.lock();
        state.answer = Some(answer);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Drop for Reply<T> {
    fn drop(&mut self) {
        self.give(Err(io::Error::other("the blocking call was given up")));
    }
}
