//! Models of handles: promises, what combinators make of them, and those who are told of an end.

use super::*;
use crate::task::{Answer, Later, OnCancel, Shared, Target, deferred, promise, request_all};

/// One of the two settles it, both learn who, and who waits is woken once.
#[test]
fn a_promise_is_kept_or_cancelled() {
    check(UNBOUNDED, || {
        let (promise, mut answer) = promise::<u32>();
        let bell = Arc::<Bell>::default();
        let waker = Waker::from(bell.clone());
        let target = answer.target();
        let setter = thread::spawn(move || promise.set(1).is_ok());
        let canceller = thread::spawn(move || request_all(vec![target], Some("no")) == 1);
        let done = answer.poll_ended(&mut Context::from_waker(&waker));
        let (set, cancelled) = (setter.join().unwrap(), canceller.join().unwrap());
        drop(waker);
        assert!(set != cancelled, "settled by both, or by neither");
        let rung = bell.0.load(Relaxed);
        assert!(done || rung == 1, "neither done nor woken");
        assert_eq!(answer.is_cancelled(), cancelled);
        match answer.take() {
            Ok(value) => assert!(set && value == 1),
            Err(error) => assert!(cancelled && error.cancel_message() == Some("no")),
        }
        drop(answer);
        assert_eq!(Arc::strong_count(&bell), 1, "a waker that stays");
    });
}

#[test]
fn a_callback_of_a_promise_is_called_once() {
    check(UNBOUNDED, || {
        let (promise, answer) = promise::<u32>();
        let called = Arc::new(Tally::new(0));
        let setter = thread::spawn(move || promise.set(1).unwrap());
        let count = called.clone();
        answer.add_done_callback(move || _ = count.fetch_add(1, Relaxed));
        setter.join().unwrap();
        assert_eq!(called.load(Relaxed), 1);
    });
}

#[test]
fn a_callback_of_a_task_is_called_once() {
    check(UNBOUNDED, || {
        let (model, task) = Model::new(0, End::Value);
        let worker = model.worker();
        let called = Arc::new(Tally::new(0));
        let count = called.clone();
        task.add_done_callback(move || _ = count.fetch_add(1, Relaxed));
        worker.join().unwrap();
        assert_eq!(called.load(Relaxed), 1);
        drop(task);
        model.assert_gone(1);
    });
}

/// With another waker meanwhile, and somebody else who has given up.
#[test]
fn whoever_waits_for_the_end_of_a_task_is_woken_or_sees_it() {
    check(BOUNDED, || {
        let (model, task) = Model::new(0, End::Value);
        let mut ended = Box::pin(task.ended());
        let bells = [(); 2].map(|()| Arc::<Bell>::default());
        let wakers = bells.clone().map(Waker::from);
        let mut poll = |waker| ended.as_mut().poll(&mut Context::from_waker(waker));
        let worker = model.worker();
        let done = poll(&wakers[0]).is_ready() || poll(&wakers[1]).is_ready();
        worker.join().unwrap();
        let rung = bells[1].0.load(Relaxed);
        assert!(done || rung == 1, "neither done nor woken");
        drop((ended, wakers, task));
        for bell in bells {
            assert_eq!(Arc::strong_count(&bell), 1, "a waker that stays");
            assert!(bell.0.load(Relaxed) <= 1, "woken twice");
        }
        model.assert_gone(1);
    });
}

#[test]
fn whoever_gives_up_waiting_takes_his_waker_along() {
    check(BOUNDED, || {
        let (model, task) = Model::new(0, End::Value);
        let bell = Arc::<Bell>::default();
        let waker = Waker::from(bell.clone());
        let worker = model.worker();
        let mut ended = Box::pin(task.ended());
        let done = ended
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_ready();
        let before = bell.0.load(Relaxed);
        drop((ended, waker));
        let seen = task.is_done();
        assert!(
            seen || !done && before == 0,
            "told of an end that has not come"
        );
        worker.join().unwrap();
        assert!(seen || bell.0.load(Relaxed) == 0, "told after he had gone");
        drop(task);
        assert_eq!(Arc::strong_count(&bell), 1, "a waker that stays");
        model.assert_gone(1);
    });
}

/// A gather of one: asked to end, it asks its child, and ends cancelled whatever that does. Its word and its child's end are one step each, under a
/// lock: a request that it accepted after it had decided on a value would be lost.
struct Gather {
    child: TaskRef,
    state: Arc<crate::sync_switch::Mutex<Asked>>,
}

#[derive(Debug, Default)]
struct Asked {
    asked: bool,
    decided: bool,
}

impl OnCancel for Gather {
    fn request(&self, _: Option<&Arc<str>>, _: &mut Later) -> Option<Answer> {
        let mut state = self.state.lock();
        if state.decided {
            return Some(Answer::Refused);
        }
        state.asked = true;
        Some(Answer::Each(vec![Target::Task(self.child.clone())]))
    }

    fn withdraw(&self) -> bool {
        let mut state = self.state.lock();
        let has_effect = state.decided && state.asked;
        state.asked = false;
        has_effect
    }
}

#[test]
fn a_gather_does_what_it_said() {
    check(BOUNDED, || {
        let (model, task, waker) = Model::suspended(1, End::Value);
        let state = Arc::<crate::sync_switch::Mutex<Asked>>::default();
        let (promise, gather) = deferred::<bool>(Gather {
            child: task.as_ref(),
            state: state.clone(),
        });
        task.add_done_callback(move || {
            let mut state = state.lock();
            state.decided = true;
            let asked = state.asked;
            drop(state);
            promise.set(asked).expect("settled once");
        });
        model.tell();
        waker.wake();
        let worker = model.worker();
        let accepted = gather.cancel("all");
        worker.join().unwrap();
        model.queue.run();
        let mut gather = gather;
        let cancelled = gather
            .take()
            .expect("lost: the child has ended, and nobody was told");
        assert_eq!(cancelled, accepted, "it said one thing and did another");
        drop(gather);
        let ended = outcome(task);
        assert!(accepted || ended.is_ok());
        drop(ended);
        let outputs = model.tallies.outputs.load(Relaxed);
        model.assert_gone(outputs);
    });
}

/// An await of a promise in a task: the value, or the task's end; the promise is told of neither twice.
#[test]
fn a_task_that_awaits_a_promise_gets_it_or_ends() {
    check(BOUNDED, || {
        let (promise, answer) = promise::<u32>();
        let (queue, mut task) = spawn(answer);
        let there = queue.clone();
        let setter = thread::spawn(move || {
            let set = promise.set(1).is_ok();
            there.run();
            set
        });
        let accepted = task.cancel("no");
        let set = setter.join().unwrap();
        run_all(&[&queue]);
        match task.take_outcome().expect("lost: the promise is settled") {
            Ok(value) => assert!(set && !accepted && matches!(value, Ok(1))),
            Err(error) => assert!(accepted && error.cancel_message() == Some("no")),
        }
    });
}

/// Two clones, each awaited on a thread of its own: both learn the end, and both get the value, which is there once.
#[test]
fn two_clones_of_a_shared_handle_get_its_outcome() {
    check(BOUNDED, || {
        let (told, teller) = Told::new();
        let (queue, task) = spawn(async move {
            told.await;
            1_u32
        });
        let mine = task.shared();
        let theirs = mine.clone();
        let wait = |mut handle: Shared<u32>| {
            let bell = Arc::<Bell>::default();
            let waker = Waker::from(bell.clone());
            let done = handle.poll_ended(&mut Context::from_waker(&waker));
            if done {
                assert!(matches!(handle.take(), Ok(1)));
            }
            drop(waker);
            (handle, bell, done)
        };
        let other = thread::spawn(move || wait(theirs));
        let there = queue.clone();
        let worker = thread::spawn(move || {
            teller.tell();
            there.run();
        });
        let mine = wait(mine);
        let theirs = other.join().unwrap();
        worker.join().unwrap();
        for (mut handle, bell, done) in [mine, theirs] {
            assert!(done || bell.0.load(Relaxed) == 1, "neither done nor woken");
            assert!(matches!(handle.take(), Ok(1)));
            drop(handle);
            assert_eq!(Arc::strong_count(&bell), 1, "a waker that stays");
        }
    });
}

#[test]
fn every_model_fails_with_its_bugs_planted() {
    planted_bugs_fail(
        module_path!(),
        &[
            (
                "a_promise_is_kept_or_cancelled",
                &[Bug::SettledTwice, Bug::PromiseWatchedAfterALook],
            ),
            (
                "a_callback_of_a_promise_is_called_once",
                &[Bug::PromiseWatchedAfterALook],
            ),
            (
                "a_callback_of_a_task_is_called_once",
                &[Bug::WatchedBeforeTheLock],
            ),
            (
                "whoever_waits_for_the_end_of_a_task_is_woken_or_sees_it",
                &[Bug::WatchedBeforeTheLock],
            ),
            (
                "whoever_gives_up_waiting_takes_his_waker_along",
                &[Bug::UnwatchForgotten],
            ),
            (
                "two_clones_of_a_shared_handle_get_its_outcome",
                &[Bug::WatchedBeforeTheLock],
            ),
            ("a_gather_does_what_it_said", &[Bug::OwedEntryLost]),
            (
                "a_task_that_awaits_a_promise_gets_it_or_ends",
                &[Bug::PolledDuringADelivery, Bug::OwedEntryLost],
            ),
        ],
    );
}
