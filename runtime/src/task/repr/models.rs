//! Models of a look at a suspended task: against a wake-up and a worker, against a cancel, against another look. Whatever comes meanwhile is not lost.
#![allow(unsafe_code)]

use super::super::cell::Header;
use super::super::raw::{Runnable, Values, new_task};
use super::super::{Ending, Route, Schedule, Task, TaskError, TaskRef, Why};
use crate::sync_switch::check::{BOUNDED, check, planted_bugs_fail};
use crate::sync_switch::{AtomicPtr, AtomicUsize, Bug};
use loom::thread;
use std::future::poll_fn;
use std::panic::Location;
use std::ptr::NonNull;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

/// A run queue that holds one entry, for the one task of a model.
#[derive(Clone)]
struct Queue(Arc<AtomicPtr<Header>>);

impl Queue {
    /// A worker's loop, until it finds nothing.
    fn run(&self) {
        loop {
            let entry = self.0.swap(std::ptr::null_mut(), Relaxed);
            // SAFETY: put there by `submit`, and swapped out once.
            let Some(task) = (unsafe { Runnable::from_raw(entry) }) else {
                return;
            };
            task.run();
        }
    }
}

impl Route for Queue {
    fn submit(self, task: Runnable, _: Why) {
        let before = self.0.swap(task.into_raw(), Relaxed);
        assert!(before.is_null(), "two queue entries of one task");
    }
}

impl Schedule for Queue {
    type Route = Self;

    fn route(&self) -> Self {
        self.clone()
    }

    fn release(&self, _: NonNull<Header>, _: Ending) {}

    fn unhandled(&self, _: TaskRef, error: TaskError) {
        panic!("{error}");
    }
}

/// A task that ends when it was told to, polled once and suspended.
struct Model {
    queue: Queue,
    told: Arc<AtomicUsize>,
    waker: Waker,
    task: Task<()>,
}

impl Model {
    fn suspended() -> Self {
        let queue = Queue(Arc::new(AtomicPtr::new(std::ptr::null_mut())));
        let told = Arc::new(AtomicUsize::new(0));
        let left: Arc<Mutex<Option<Waker>>> = Arc::default();
        let (tell, leave) = (told.clone(), left.clone());
        let body = poll_fn(move |cx| {
            // Relaxed: it is the wake-up that has to bring what was told before it.
            if tell.load(Relaxed) > 0 {
                return Poll::Ready(());
            }
            leave
                .lock()
                .unwrap()
                .get_or_insert_with(|| cx.waker().clone());
            Poll::Pending
        });
        let (entry, task) = new_task::<_, _, Values>(queue.clone(), Location::caller(), || body);
        // With a rare box there may be something to be looked at.
        task.set_name("looked at");
        queue.clone().submit(entry, Why::Spawned);
        queue.run();
        let waker = left.lock().unwrap().take().expect("its poll left one");
        Self {
            queue,
            told,
            waker,
            task,
        }
    }

    fn looker(&self) -> thread::JoinHandle<()> {
        let task = self.task.as_ref();
        thread::spawn(move || assert!(task.waits_for().is_empty()))
    }

    fn worker(&self) -> thread::JoinHandle<()> {
        let queue = self.queue.clone();
        thread::spawn(move || queue.run())
    }

    /// Runs what is left to be run, and gives the outcome, which has to be there.
    fn outcome(mut self) -> Result<(), TaskError> {
        drop(self.waker);
        self.queue.run();
        let outcome = self.task.take_outcome();
        outcome.expect("lost: the task is not done, and nobody will run it")
    }
}

#[test]
fn a_wake_up_during_a_look_is_followed_by_a_poll() {
    check(BOUNDED, || {
        let model = Model::suspended();
        let threads = [model.looker(), model.worker()];
        model.told.fetch_add(1, Relaxed);
        model.waker.wake_by_ref();
        for thread in threads {
            thread.join().unwrap();
        }
        assert!(model.outcome().is_ok());
    });
}

#[test]
fn a_cancel_during_a_look_ends_the_task() {
    check(BOUNDED, || {
        let model = Model::suspended();
        let looker = model.looker();
        assert!(model.task.cancel("enough"));
        looker.join().unwrap();
        let error = model.outcome().unwrap_err();
        assert_eq!(error.cancel_message(), Some("enough"));
    });
}

#[test]
fn two_looks_and_a_wake_up_queue_the_task_once() {
    check(BOUNDED, || {
        let model = Model::suspended();
        // Queued before: whoever takes the entry during a look leaves it to that.
        model.told.fetch_add(1, Relaxed);
        model.waker.wake_by_ref();
        let threads = [model.looker(), model.worker()];
        assert!(model.task.waits_for().is_empty());
        for thread in threads {
            thread.join().unwrap();
        }
        assert!(model.outcome().is_ok());
    });
}

#[test]
fn every_model_fails_with_its_bugs_planted() {
    planted_bugs_fail(
        module_path!(),
        &[
            (
                "a_wake_up_during_a_look_is_followed_by_a_poll",
                &[Bug::RunOwedByLookForgotten],
            ),
            (
                "a_cancel_during_a_look_ends_the_task",
                &[Bug::CancelDuringLookForgotten],
            ),
            (
                "two_looks_and_a_wake_up_queue_the_task_once",
                &[Bug::RunOwedByLookForgotten],
            ),
        ],
    );
}
