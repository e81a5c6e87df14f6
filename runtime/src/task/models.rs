//! Models of a task's life: the real state word, cell, wakers and handle, under a scheduler that is one queue entry.
//!
//! The entry of a model's one task is handed over without any ordering (`queue` says that a task's data travels by its own state word, and here
//! nothing else carries it), and a second one beside it is an error. Where tasks take each other's outcomes, the queue has to order one thing: rule 6 of
//! `cell`. Worker threads run what they find; what they leave behind, because it was
//! queued after they had looked, runs when all threads have been joined: what is not done then was lost.
#![allow(unsafe_code)]

mod handles;
mod regions;
mod registry;
mod requests;

use super::cell::Header;
use super::raw::{Runnable, Values, new_task};
use super::{Awaitable, Ending, Route, Schedule, Task, TaskError, TaskRef, Why};
use crate::sync_switch::check::{BOUNDED, NARROW, UNBOUNDED, check, planted_bugs_fail};
use crate::sync_switch::{AtomicPtr, AtomicUsize, Bug};
use heist_io_driver::leaf;
use loom::thread;
use std::future::Future;
use std::panic::{Location, resume_unwind};
use std::pin::Pin;
use std::ptr::NonNull;
use std::sync::atomic::AtomicUsize as Tally;
use std::sync::atomic::Ordering::{self, AcqRel, Acquire, Relaxed};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

/// A run queue that holds one entry, for the one task of a model.
#[derive(Clone)]
struct Queue(Arc<AtomicPtr<Header>>, Ordering);

impl Queue {
    fn take(&self) -> Option<Runnable> {
        let entry = self.0.swap(std::ptr::null_mut(), self.1);
        // SAFETY: put there by `submit`, and swapped out once.
        unsafe { Runnable::from_raw(entry) }
    }

    /// A worker's loop, until it finds nothing.
    fn run(&self) {
        while let Some(task) = self.take() {
            task.run();
        }
    }
}

impl Route for Queue {
    fn submit(self, task: Runnable, _why: Why) {
        let before = self.0.swap(task.into_raw(), self.1);
        assert!(before.is_null(), "two queue entries of one task");
    }
}

struct Scheduler {
    queue: Queue,
    _mine: Counted,
}

/// A task of any body, beside others, with a queue of its own: polled until it is suspended.
fn spawn<F>(body: F) -> (Queue, Task<F::Output>)
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let queue = Queue(Arc::new(AtomicPtr::new(std::ptr::null_mut())), AcqRel);
    let scheduler = Scheduler {
        queue: queue.clone(),
        _mine: Counted::new(&Arc::default()),
    };
    let (entry, task) = new_task::<_, _, Values>(scheduler, Location::caller(), || body);
    queue.clone().submit(entry, Why::Spawned);
    queue.run();
    (queue, task)
}

/// Runs all that is queued, until nothing is.
fn run_all(queues: &[&Queue]) {
    while queues
        .iter()
        .any(|queue| queue.take().map(Runnable::run).is_some())
    {}
}

/// Pending until it was told, whatever is asked of its region: a leaf of somebody else's. Leaves its waker, once.
struct Told {
    told: Arc<AtomicUsize>,
    left: Arc<Mutex<Option<Waker>>>,
}

/// Tells a [`Told`], and wakes its task.
struct Teller(Told);

impl Told {
    fn new() -> (Self, Teller) {
        let told = Arc::new(AtomicUsize::new(0));
        let left = Arc::default();
        let mine = |told: &Arc<AtomicUsize>, left: &Arc<_>| Self {
            told: told.clone(),
            left: Arc::clone(left),
        };
        (mine(&told, &left), Teller(mine(&told, &left)))
    }
}

impl Teller {
    fn tell(&self) {
        self.0.told.swap(1, Relaxed);
        let waker = self.0.left.lock().unwrap().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Future for Told {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.told.load(Relaxed) == 1 {
            return Poll::Ready(());
        }
        // Not told yet, so the one left first has not been taken.
        let left = cx.waker().clone();
        drop(self.left.lock().unwrap().replace(left));
        Poll::Pending
    }
}

impl Schedule for Scheduler {
    type Route = Queue;

    fn route(&self) -> Queue {
        self.queue.clone()
    }

    fn release(&self, _: NonNull<Header>, _: Ending) {}

    fn unhandled(&self, _: TaskRef, error: TaskError) {
        panic!("{error}");
    }
}

/// Counts how often it is dropped. loom sees when it never is.
struct Counted(Arc<Tally>, #[expect(dead_code)] loom::sync::Arc<()>);

impl Counted {
    fn new(drops: &Arc<Tally>) -> Self {
        Self(drops.clone(), loom::sync::Arc::new(()))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Relaxed);
    }
}

/// What a model looks at when all is over.
#[derive(Default)]
struct Tallies {
    polls: Tally,
    futures: Arc<Tally>,
    outputs: Arc<Tally>,
    schedulers: Arc<Tally>,
}

/// How the body of the model's task ends, once it is told to.
#[derive(Clone, Copy)]
enum End {
    Value,
    Panic,
}

/// The body: suspended until it has been told `enough` times. Each poll leaves a waker.
struct Body {
    told: Arc<AtomicUsize>,
    enough: usize,
    end: End,
    left: Arc<Mutex<Option<Waker>>>,
    tallies: Arc<Tallies>,
    _mine: Counted,
}

impl Future for Body {
    type Output = Counted;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Counted> {
        let before = self.tallies.polls.fetch_add(1, Relaxed);
        assert!(
            before > 0 || !leaf::interrupted(),
            "polled although it was cancelled before its first poll"
        );
        // Relaxed: it is the wake-up that has to bring what was told before it.
        if self.told.load(Relaxed) < self.enough {
            if before == 0 {
                *self.left.lock().unwrap() = Some(cx.waker().clone());
            }
            return Poll::Pending;
        }
        match self.end {
            End::Value => Poll::Ready(Counted::new(&self.tallies.outputs)),
            End::Panic => resume_unwind(Box::new("as the model wants it")),
        }
    }
}

/// The task of a model.
struct Model {
    queue: Queue,
    told: Arc<AtomicUsize>,
    left: Arc<Mutex<Option<Waker>>>,
    tallies: Arc<Tallies>,
}

impl Model {
    /// A new task, queued, that has to be told `enough` times.
    fn new(enough: usize, end: End) -> (Arc<Self>, Task<Counted>) {
        let model = Arc::new(Self {
            queue: Queue(Arc::new(AtomicPtr::new(std::ptr::null_mut())), Relaxed),
            told: Arc::new(AtomicUsize::new(0)),
            left: Arc::default(),
            tallies: Arc::default(),
        });
        let scheduler = Scheduler {
            queue: model.queue.clone(),
            _mine: Counted::new(&model.tallies.schedulers),
        };
        let body = Body {
            told: model.told.clone(),
            enough,
            end,
            left: model.left.clone(),
            tallies: model.tallies.clone(),
            _mine: Counted::new(&model.tallies.futures),
        };
        let (entry, task) = new_task::<_, _, Values>(scheduler, Location::caller(), || body);
        model.queue.clone().submit(entry, Why::Spawned);
        (model, task)
    }

    /// As `new`, polled once and suspended; with a waker of it.
    fn suspended(enough: usize, end: End) -> (Arc<Self>, Task<Counted>, Waker) {
        let (model, task) = Self::new(enough, end);
        model.queue.run();
        let waker = model
            .left
            .lock()
            .unwrap()
            .take()
            .expect("its poll left one");
        (model, task, waker)
    }

    fn tell(&self) {
        self.told.fetch_add(1, Relaxed);
    }

    /// A worker that looks once.
    fn worker(self: &Arc<Self>) -> thread::JoinHandle<()> {
        let queue = self.queue.clone();
        thread::spawn(move || queue.run())
    }

    /// All is over and nothing refers to the task any more.
    fn assert_gone(&self, outputs: usize) {
        assert!(self.queue.take().is_none(), "an entry that nobody runs");
        assert_eq!(self.tallies.futures.load(Relaxed), 1, "the future's drops");
        assert_eq!(
            self.tallies.outputs.load(Relaxed),
            outputs,
            "the output's drops"
        );
        assert_eq!(
            self.tallies.schedulers.load(Relaxed),
            1,
            "the scheduler's drops"
        );
    }

    fn polls(&self) -> usize {
        self.tallies.polls.load(Relaxed)
    }
}

/// A waker of whoever awaits the task: counts.
#[derive(Default)]
struct Bell(Tally);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

/// Leaves `bell` with the handle; what `Task::poll` does, past its leaf.
fn is_done(task: &mut Task<Counted>, bell: &Arc<Bell>) -> bool {
    let waker = Waker::from(bell.clone());
    task.poll_ended(&mut Context::from_waker(&waker))
}

/// The outcome, which is there and there once.
fn outcome(mut task: Task<Counted>) -> Result<Counted, TaskError> {
    let outcome = task
        .take_outcome()
        .expect("lost: the task is not done, and nobody will run it");
    assert!(task.take_outcome().is_some_and(|again| again.is_err()));
    outcome
}

#[test]
fn a_wake_up_is_followed_by_a_poll_that_sees_what_came_before() {
    check(UNBOUNDED, || {
        let (model, task, waker) = Model::suspended(1, End::Value);
        // Queued for nothing: the wake-up to come meets the task queued, running, or suspended again.
        waker.wake_by_ref();
        let worker = model.worker();
        model.tell();
        waker.wake();
        worker.join().unwrap();
        model.queue.run();
        assert!(outcome(task).is_ok());
        model.assert_gone(1);
    });
}

/// Both wakers by reference, and the last one told brings what the other one told too, or is followed by the other's wake-up.
#[test]
fn two_wake_ups_make_one_queue_entry_and_lose_nothing() {
    check(BOUNDED, || {
        let (model, task, waker) = Model::suspended(2, End::Value);
        let (other, another) = (model.clone(), waker.clone());
        let other = thread::spawn(move || {
            other.tell();
            another.wake_by_ref();
        });
        let worker = model.worker();
        model.tell();
        waker.wake_by_ref();
        other.join().unwrap();
        worker.join().unwrap();
        model.queue.run();
        assert!(outcome(task).is_ok());
        assert!(model.polls() <= 3, "polled more often than woken");
        drop(waker);
        model.assert_gone(1);
    });
}

#[test]
fn a_wake_up_of_a_queued_task_brings_its_data() {
    check(UNBOUNDED, || {
        let (model, task, waker) = Model::suspended(1, End::Value);
        waker.wake_by_ref();
        let woken = Arc::new(AtomicUsize::new(0));
        let (worker, seen) = (model.clone(), woken.clone());
        let worker = thread::spawn(move || {
            // Relaxed: brings nothing by itself.
            let after = seen.load(Relaxed) > 0;
            worker.queue.run();
            assert!(
                !after || worker.polls() == 2,
                "one poll is enough when the wake-up came before it"
            );
        });
        model.tell();
        waker.wake_by_ref();
        woken.swap(1, Relaxed);
        worker.join().unwrap();
        model.queue.run();
        assert!(outcome(task).is_ok());
        drop(waker);
        model.assert_gone(1);
    });
}

#[test]
fn a_task_moves_between_workers_with_what_its_polls_wrote() {
    check(BOUNDED, || {
        let (model, task, waker) = Model::suspended(1, End::Value);
        waker.wake_by_ref();
        let workers = [model.worker(), model.worker()];
        model.tell();
        waker.wake_by_ref();
        for worker in workers {
            worker.join().unwrap();
        }
        model.queue.run();
        assert!(outcome(task).is_ok());
        drop(waker);
        model.assert_gone(1);
    });
}

#[test]
fn the_last_of_run_waker_and_handle_frees_the_cell() {
    check(BOUNDED, || {
        let (model, task, waker) = Model::suspended(1, End::Value);
        model.tell();
        waker.wake_by_ref();
        let worker = model.worker();
        let other = thread::spawn(move || drop(waker));
        drop(task);
        worker.join().unwrap();
        other.join().unwrap();
        model.assert_gone(1);
    });
}

/// The same with a waker that gives its reference to a queue entry, if it comes in time.
#[test]
fn a_wake_up_by_value_at_the_end_frees_the_cell_or_leaves_it() {
    check(BOUNDED, || {
        let (model, task, waker) = Model::suspended(1, End::Value);
        model.tell();
        waker.wake_by_ref();
        let worker = model.worker();
        let other = thread::spawn(move || waker.wake());
        drop(task);
        worker.join().unwrap();
        other.join().unwrap();
        model.queue.run();
        model.assert_gone(1);
    });
}

#[test]
fn whoever_awaits_a_task_is_woken_or_finds_it_done() {
    check(BOUNDED, || {
        let (model, mut task) = Model::new(0, End::Value);
        let bells = [(); 3].map(|()| Arc::<Bell>::default());
        let worker = model.worker();
        // Another waker at the second poll, the same one at the third.
        let done = is_done(&mut task, &bells[0])
            || is_done(&mut task, &bells[1])
            || is_done(&mut task, &bells[1]);
        worker.join().unwrap();
        let rung = bells[1].0.load(Relaxed);
        assert!(done || rung == 1, "neither done nor woken");
        assert!(is_done(&mut task, &bells[2]));
        assert!(outcome(task).is_ok());
        for bell in bells {
            assert_eq!(
                Arc::strong_count(&bell),
                1,
                "a waker that was left and not dropped"
            );
            assert!(bell.0.load(Relaxed) <= 1, "woken twice");
        }
        model.assert_gone(1);
    });
}

/// As the future that it is. No cancel here, so the leaf in the handle has nothing to hold back.
#[test]
fn an_awaited_handle_gives_the_output_once() {
    check(UNBOUNDED, || {
        let (model, mut task) = Model::new(0, End::Value);
        let worker = model.worker();
        let bell = Arc::<Bell>::default();
        let waker = Waker::from(bell.clone());
        let mut cx = Context::from_waker(&waker);
        let mut polled = Pin::new(&mut task).poll(&mut cx);
        worker.join().unwrap();
        if polled.is_pending() {
            assert_eq!(bell.0.load(Relaxed), 1, "neither done nor woken");
            polled = Pin::new(&mut task).poll(&mut cx);
        }
        assert!(matches!(polled, Poll::Ready(Ok(_))));
        drop(polled);
        let again = Pin::new(&mut task).poll(&mut cx);
        assert!(matches!(again, Poll::Ready(Err(_))));
        drop(task);
        model.assert_gone(1);
    });
}

/// A waker keeps the memory: output and scheduler are dropped all the same, once both the handle and the run are gone.
#[test]
fn the_output_is_dropped_by_the_end_or_by_the_handle() {
    check(UNBOUNDED, || {
        let (model, task, waker) = Model::suspended(1, End::Value);
        model.tell();
        waker.wake_by_ref();
        let worker = model.worker();
        drop(task);
        worker.join().unwrap();
        model.assert_gone(1);
        drop(waker);
        model.assert_gone(1);
    });
}

#[test]
fn a_handle_that_goes_away_takes_its_waker_along() {
    check(UNBOUNDED, || {
        let (model, mut task) = Model::new(0, End::Value);
        let bell = Arc::<Bell>::default();
        assert!(!is_done(&mut task, &bell));
        let worker = model.worker();
        drop(task);
        worker.join().unwrap();
        assert_eq!(Arc::strong_count(&bell), 1, "the join waker is gone");
        model.assert_gone(1);
    });
}

#[test]
fn a_cancel_is_refused_or_the_task_ends_cancelled() {
    check(BOUNDED, || {
        let (model, mut task, waker) = Model::suspended(1, End::Value);
        let request = task.as_ref();
        model.tell();
        waker.wake();
        let other = thread::spawn(move || request.cancel(None));
        let worker = model.worker();
        let bell = Arc::<Bell>::default();
        let done = is_done(&mut task, &bell);
        let accepted = other.join().unwrap();
        worker.join().unwrap();
        model.queue.run();
        assert!(done || bell.0.load(Relaxed) == 1, "neither done nor woken");
        let outcome = outcome(task);
        match &outcome {
            Ok(_) => assert!(!accepted, "an accepted cancel gave a value"),
            Err(error) => assert!(accepted && error.is_cancelled()),
        }
        let values = usize::from(outcome.is_ok());
        drop(outcome);
        // A value that gives way to a cancel is made, and dropped.
        let outputs = model.tallies.outputs.load(Relaxed);
        assert!(outputs <= 1 && outputs >= values);
        model.assert_gone(outputs);
    });
}

/// Suspended for good: it is the cancel that wakes it, or another wake-up has.
#[test]
fn a_cancel_and_a_wake_up_of_a_suspended_task_queue_it_once() {
    check(UNBOUNDED, || {
        let (model, task, waker) = Model::suspended(1, End::Value);
        let other = thread::spawn(move || waker.wake());
        assert!(task.cancel(None));
        other.join().unwrap();
        model.queue.run();
        assert!(outcome(task).is_err_and(|error| error.is_cancelled()));
        model.assert_gone(0);
    });
}

#[test]
fn a_cancel_during_a_poll_is_met_at_its_end() {
    check(BOUNDED, || {
        let (model, task, waker) = Model::suspended(1, End::Value);
        waker.wake();
        let worker = model.worker();
        assert!(task.cancel(None), "it cannot end by itself");
        worker.join().unwrap();
        model.queue.run();
        assert!(outcome(task).is_err_and(|error| error.is_cancelled()));
        model.assert_gone(0);
    });
}

#[test]
fn a_panic_stands_against_a_cancel() {
    check(BOUNDED, || {
        let (model, task, waker) = Model::suspended(1, End::Panic);
        model.tell();
        waker.wake();
        let worker = model.worker();
        task.cancel(None);
        worker.join().unwrap();
        model.queue.run();
        assert!(outcome(task).is_err_and(|error| error.is_panic()));
        model.assert_gone(0);
    });
}

#[test]
fn a_cancel_before_the_first_poll_forbids_it() {
    check(BOUNDED, || {
        let (model, task) = Model::new(0, End::Value);
        let worker = model.worker();
        let accepted = task.cancel(None);
        worker.join().unwrap();
        assert!(accepted || model.polls() == 1);
        let outcome = outcome(task);
        assert_eq!(
            accepted,
            outcome.as_ref().is_err_and(TaskError::is_cancelled)
        );
        assert_eq!(!accepted, outcome.is_ok());
        drop(outcome);
        model.assert_gone(model.polls());
    });
}

#[test]
fn two_cancels_are_one_and_one_of_their_messages_stays() {
    check(NARROW, || {
        let (model, task, waker) = Model::suspended(1, End::Value);
        // Whatever polls it would see it end, but for the requests.
        model.tell();
        drop(waker);
        let request = task.as_ref();
        let other = thread::spawn(move || request.cancel("one"));
        let worker = model.worker();
        let mine = task.cancel("two");
        let theirs = other.join().unwrap();
        worker.join().unwrap();
        model.queue.run();
        assert!(mine || theirs);
        let error = outcome(task).err().expect("a request was accepted");
        assert!(error.is_cancelled());
        assert!(matches!(error.cancel_message(), Some("one" | "two")));
        let outputs = model.tallies.outputs.load(Relaxed);
        model.assert_gone(outputs);
    });
}

/// A queue that dies with the task in it, while the task is being woken.
#[test]
fn an_abandoned_entry_ends_the_task_once() {
    check(UNBOUNDED, || {
        let (model, mut task, waker) = Model::suspended(1, End::Value);
        waker.wake_by_ref();
        let bell = Arc::<Bell>::default();
        assert!(!is_done(&mut task, &bell));
        let other = thread::spawn(move || waker.wake());
        drop(model.queue.take());
        other.join().unwrap();
        model.queue.run();
        assert_eq!(bell.0.load(Relaxed), 1);
        assert!(outcome(task).is_err_and(|error| error.is_cancelled()));
        model.assert_gone(0);
        assert_eq!(model.polls(), 1);
    });
}

/// Who sees the task done sees what it did: `is_done` asks the word, and nothing else orders.
#[test]
fn whoever_sees_the_task_done_may_take_its_outcome() {
    check(UNBOUNDED, || {
        let (model, mut task) = Model::new(0, End::Value);
        let worker = model.worker();
        let seen = task.take_outcome();
        worker.join().unwrap();
        let outcome = seen.or_else(|| task.take_outcome());
        assert!(matches!(outcome, Some(Ok(_))));
        drop((outcome, task));
        model.assert_gone(1);
    });
}

#[test]
fn every_model_fails_with_its_bugs_planted() {
    planted_bugs_fail(
        module_path!(),
        &[
            (
                "a_wake_up_is_followed_by_a_poll_that_sees_what_came_before",
                &[
                    Bug::WakeWhileRunningLost,
                    Bug::UnchangedWordNotWritten,
                    Bug::QueuedTwice,
                ],
            ),
            (
                "two_wake_ups_make_one_queue_entry_and_lose_nothing",
                &[
                    Bug::WakeWhileRunningLost,
                    Bug::UnchangedWordNotWritten,
                    Bug::QueuedTwice,
                ],
            ),
            (
                "a_wake_up_of_a_queued_task_brings_its_data",
                &[Bug::UnchangedWordNotWritten],
            ),
            (
                "a_task_moves_between_workers_with_what_its_polls_wrote",
                &[Bug::QueuedTwice],
            ),
            (
                "the_last_of_run_waker_and_handle_frees_the_cell",
                &[Bug::ReferenceDroppedRelaxed],
            ),
            (
                "a_wake_up_by_value_at_the_end_frees_the_cell_or_leaves_it",
                &[Bug::ReferenceDroppedRelaxed, Bug::QueuedTwice],
            ),
            (
                "whoever_awaits_a_task_is_woken_or_finds_it_done",
                &[
                    Bug::JoinWakerAfterDone,
                    Bug::JoinWakerReplacedWhilePublished,
                ],
            ),
            (
                "an_awaited_handle_gives_the_output_once",
                &[Bug::JoinWakerAfterDone],
            ),
            (
                "the_output_is_dropped_by_the_end_or_by_the_handle",
                &[Bug::HandleDropFromOldLook],
            ),
            (
                "a_handle_that_goes_away_takes_its_waker_along",
                &[Bug::JoinWakerTakenByBoth],
            ),
            (
                "a_cancel_is_refused_or_the_task_ends_cancelled",
                &[Bug::CancelMissedAfterPoll, Bug::JoinWakerAfterDone],
            ),
            (
                "a_cancel_and_a_wake_up_of_a_suspended_task_queue_it_once",
                &[Bug::QueuedTwice, Bug::InterruptionNotMarked],
            ),
            (
                "a_cancel_during_a_poll_is_met_at_its_end",
                &[Bug::CancelMissedAfterPoll],
            ),
            (
                "a_panic_stands_against_a_cancel",
                &[Bug::PanicGivesWayToCancel],
            ),
            (
                "a_cancel_before_the_first_poll_forbids_it",
                &[Bug::CancelMissedAfterPoll],
            ),
            (
                "two_cancels_are_one_and_one_of_their_messages_stays",
                &[Bug::OwedEntryLost],
            ),
            ("an_abandoned_entry_ends_the_task_once", &[Bug::QueuedTwice]),
            (
                "whoever_sees_the_task_done_may_take_its_outcome",
                &[Bug::DoneSeenRelaxed],
            ),
        ],
    );
}
