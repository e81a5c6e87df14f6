//! The objects polled by hand, on one thread.
//!
//! All that can cross is what happens under one lock, and each poll, drop and call is one step there (a poll that gets in line two: a
//! look before its waker is cloned, and another after it, which counts). So [`explore`] tries all orders of such steps.

mod barrier;
mod condition;
mod event;
mod list;
mod lock;
mod queue;
mod semaphore;

use heist_runtime::leaf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::task::{Context, Poll, Wake, Waker};

/// Whether the task was woken since its last poll.
#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, SeqCst);
    }
}

/// A future and its task.
struct Hand<'a, T> {
    future: Pin<Box<dyn Future<Output = T> + 'a>>,
    flag: Arc<Flag>,
}

impl<'a, T> Hand<'a, T> {
    fn new(future: impl Future<Output = T> + 'a) -> Self {
        Self {
            future: Box::pin(future),
            flag: Arc::default(),
        }
    }

    /// A future that had to wait when it was polled first.
    #[track_caller]
    fn waiting(future: impl Future<Output = T> + 'a) -> Self {
        let mut hand = Self::new(future);
        assert!(hand.poll().is_none(), "ready at once");
        hand
    }

    fn poll(&mut self) -> Option<T> {
        self.flag.0.store(false, SeqCst);
        let waker = Waker::from(self.flag.clone());
        match self.future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        }
    }

    /// Polled as a task that runs but has `budget` left, or is being cancelled.
    fn poll_within(&mut self, budget: u32, interrupted: bool) -> Option<T> {
        leaf::begin_poll(budget, interrupted);
        let value = self.poll();
        leaf::end_poll();
        value
    }

    /// As a task polls that is about to be dropped at its await, and the drop.
    #[track_caller]
    fn cancel(mut self) {
        assert!(
            self.poll_within(9, true).is_none(),
            "ready in spite of a cancel"
        );
    }

    fn is_woken(&self) -> bool {
        self.flag.0.load(SeqCst)
    }

    /// Its value, for which it has been woken.
    #[track_caller]
    fn take(mut self) -> T {
        assert!(self.is_woken(), "not woken");
        self.poll().expect("woken and not ready")
    }
}

/// The choices of one run, and where they have not been tried otherwise.
#[derive(Default)]
struct Choices {
    made: Vec<(usize, usize)>,
    at: usize,
}

impl Choices {
    /// One of `0..of`.
    fn pick(&mut self, of: usize) -> usize {
        assert!(of > 0);
        if self.at == self.made.len() {
            self.made.push((0, of));
        }
        let (choice, told) = self.made[self.at];
        assert_eq!(told, of, "the runs differ by more than the choices");
        self.at += 1;
        choice
    }

    /// The next run's choices; false if all were made.
    fn next(&mut self) -> bool {
        self.at = 0;
        while let Some((choice, of)) = self.made.pop() {
            if choice + 1 < of {
                self.made.push((choice + 1, of));
                return true;
            }
        }
        false
    }
}

/// Runs `run` with every sequence of choices.
fn explore(mut run: impl FnMut(&mut Choices)) {
    let mut choices = Choices::default();
    let mut runs = 0_u64;
    loop {
        run(&mut choices);
        runs += 1;
        if !choices.next() {
            break;
        }
    }
    assert!(runs > 1_000, "only {runs} runs: that cannot be all");
}

#[test]
fn exploring_makes_every_choice_once() {
    let mut seen = Vec::new();
    explore(|choices| {
        let run = [choices.pick(11), choices.pick(10), choices.pick(10)];
        seen.push(run);
    });
    assert_eq!(seen.len(), 1_100);
    seen.dedup();
    assert_eq!(seen.len(), 1_100);
}
