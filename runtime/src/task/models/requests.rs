//! Models of requests: made, handed over, forwarded, kept, withdrawn.

use super::*;
use crate::task::{Target, catch_cancel, request_all};
use std::future::pending;

/// The entry that a worker takes out while the request is being handed down comes back once, and once only.
#[test]
fn an_entry_taken_during_a_delivery_is_submitted_again() {
    check(BOUNDED, || {
        let (model, task, waker) = Model::suspended(1, End::Value);
        waker.wake();
        let worker = model.worker();
        let other = task.as_ref();
        let other = thread::spawn(move || assert!(other.cancel(None)));
        worker.join().unwrap();
        other.join().unwrap();
        model.queue.run();
        assert!(outcome(task).is_err_and(|error| error.is_cancelled()));
        model.assert_gone(0);
    });
}

type Handle = Arc<Mutex<Option<Task<()>>>>;

/// A task that awaits whatever is put into `slot` before its second poll.
fn link(slot: &Handle) -> (Queue, Task<()>) {
    let slot = slot.clone();
    spawn(async move {
        let mut polled = false;
        std::future::poll_fn(|_| match std::mem::replace(&mut polled, true) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
        let next = slot.lock().unwrap().take().expect("put there meanwhile");
        let _ = next.await;
    })
}

/// Two tasks that await each other, each asked to end by somebody: both calls return, and both tasks end.
#[test]
fn two_cancels_round_a_ring_pass_each_other() {
    check(NARROW, || {
        let slots = [Handle::default(), Handle::default()];
        let (queue, task) = link(&slots[0]);
        let (other_queue, other_task) = link(&slots[1]);
        let (one, two) = (task.as_ref(), other_task.as_ref());
        *slots[0].lock().unwrap() = Some(other_task);
        *slots[1].lock().unwrap() = Some(task);
        one.wake();
        two.wake();
        run_all(&[&queue, &other_queue]);
        let first = one.clone();
        let first = thread::spawn(move || assert!(first.cancel("one")));
        assert!(two.cancel("two"));
        first.join().unwrap();
        run_all(&[&queue, &other_queue]);
        assert!(one.is_done() && one.is_cancelled(), "{one:?}");
        assert!(two.is_done() && two.is_cancelled(), "{two:?}");
    });
}

/// The awaited task is cancelled by somebody while its waiter is: if the waiter's request was forwarded, the waiter unwinds, and does not take
/// the end for somebody else's doing (after which it would wait for ever).
#[test]
fn a_waiter_does_not_take_its_own_cancellation_for_another() {
    check(NARROW, || {
        let (child_queue, child) = spawn(pending::<()>());
        let other = child.as_ref();
        let (queue, task) = spawn(async move {
            let ended = child.await;
            assert!(ended.is_err_and(|error| error.is_cancelled()));
            pending::<()>().await;
        });
        let (child_there, there) = (child_queue.clone(), queue.clone());
        let worker = thread::spawn(move || {
            other.cancel("another");
            child_there.run();
            there.run();
        });
        assert!(task.cancel("mine"), "it cannot end by itself");
        worker.join().unwrap();
        run_all(&[&child_queue, &queue]);
        assert!(task.is_done() && task.is_cancelled(), "{task:?}");
    });
}

/// Two requests and a poll: what was kept at its end is met, by it or by whoever has the task next.
#[test]
fn a_request_kept_during_a_poll_or_a_delivery_is_met() {
    check(NARROW, || {
        let caught = Arc::new(Tally::new(0));
        let seen = caught.clone();
        let (queue, task) = spawn(async move {
            while catch_cancel(pending::<()>()).await.is_err() {
                seen.fetch_add(1, Relaxed);
            }
        });
        // Says whether the other one's request had been met before.
        let cancel = |task: &TaskRef, caught: &Tally| {
            let before = caught.load(Relaxed);
            assert!(task.cancel(None));
            before
        };
        let (first, seen) = (task.as_ref(), caught.clone());
        let first = thread::spawn(move || cancel(&first, &seen));
        let there = queue.clone();
        let worker = thread::spawn(move || there.run());
        let before = cancel(&task.as_ref(), &caught) + first.join().unwrap();
        worker.join().unwrap();
        run_all(&[&queue]);
        let times = caught.load(Relaxed);
        assert!(times == 2 || times == 1 && before == 0, "met {times} times");
        assert_eq!(task.cancelling(), 2);
        // Nothing is left over.
        assert!(!task.as_ref().state().is_requested());
        task.abort(None);
        run_all(&[&queue]);
        assert!(task.is_cancelled());
    });
}

/// Withdrawn before the task had its first poll: it never was.
#[test]
fn what_was_withdrawn_is_not_met() {
    check(BOUNDED, || {
        let (model, task) = Model::new(0, End::Value);
        let withdrawn = Arc::new(AtomicUsize::new(0));
        let (worker, seen) = (model.clone(), withdrawn.clone());
        let worker = thread::spawn(move || {
            let withdrawn = seen.load(Acquire) == 1;
            worker.queue.run();
            withdrawn
        });
        task.cancel("no");
        assert_eq!(task.uncancel(), 0);
        withdrawn.swap(1, AcqRel);
        let too_late_for_it = worker.join().unwrap();
        let outcome = outcome(task);
        assert!(outcome.is_ok() || !too_late_for_it);
        drop(outcome);
        model.assert_gone(model.polls());
    });
}

/// One call to two tasks, of which a worker polls one: both end, and neither of them by half.
#[test]
fn a_request_that_was_reserved_is_met_once_all_are_told() {
    check(BOUNDED, || {
        let (queue, one) = spawn(pending::<()>());
        let (other_queue, two) = spawn(pending::<()>());
        one.as_ref().wake();
        let there = queue.clone();
        let worker = thread::spawn(move || there.run());
        let targets = vec![one.target(), two.target()];
        assert_eq!(request_all(targets, Some("all")), 2);
        worker.join().unwrap();
        run_all(&[&queue, &other_queue]);
        for mut task in [one, two] {
            let error = task.result().unwrap_err();
            assert_eq!(error.cancel_message(), Some("all"), "{error:?}");
            assert_eq!(task.cancelling(), 1);
        }
    });
}

/// The same, with the request taken back while it is reserved, or met before: nothing of it stays behind either way.
#[test]
fn a_reserved_request_is_withdrawn_or_met() {
    check(NARROW, || {
        let (told, teller) = Told::new();
        let (queue, mut task) = spawn(told);
        teller.tell();
        let there = queue.clone();
        let worker = thread::spawn(move || there.run());
        let asked = task.as_ref();
        let asker = thread::spawn(move || request_all(vec![Target::Task(asked)], None));
        let left = task.uncancel();
        let accepted = asker.join().unwrap();
        worker.join().unwrap();
        run_all(&[&queue]);
        assert_eq!(left, 0);
        let outcome = task
            .take_outcome()
            .expect("lost: it was told, and is not done");
        assert!(outcome.is_ok() || accepted == 1);
        assert!(task.cancelling() <= accepted as u32);
    });
}

#[test]
fn every_model_fails_with_its_bugs_planted() {
    planted_bugs_fail(
        module_path!(),
        &[
            (
                "an_entry_taken_during_a_delivery_is_submitted_again",
                &[
                    Bug::OwedEntryLost,
                    Bug::PolledDuringADelivery,
                    Bug::InterruptionNotMarked,
                ],
            ),
            (
                "two_cancels_round_a_ring_pass_each_other",
                &[Bug::VisitingMarkMissing, Bug::DeliveryLeftWithKept],
            ),
            (
                "a_waiter_does_not_take_its_own_cancellation_for_another",
                &[Bug::PolledDuringADelivery, Bug::OwedEntryLost],
            ),
            (
                "a_request_kept_during_a_poll_or_a_delivery_is_met",
                &[Bug::CancelMissedAfterPoll],
            ),
            (
                "what_was_withdrawn_is_not_met",
                &[Bug::UncancelLeavesTheMark],
            ),
            (
                "a_request_that_was_reserved_is_met_once_all_are_told",
                &[Bug::ReservedNotCommitted, Bug::CancelMissedAfterPoll],
            ),
            (
                "a_reserved_request_is_withdrawn_or_met",
                &[Bug::OwedEntryLost],
            ),
        ],
    );
}
