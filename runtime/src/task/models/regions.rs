//! Models of regions: their own requests, what they give back, and what passes over them.

use super::*;
use crate::task::{Region, Target, catch_cancel, request_all};
use std::future::{pending, poll_fn};

/// A task in a region that ends when it is told; then it suspends once more, and says how many requests it counts.
fn block() -> (Queue, Task<u32>, Target, Teller) {
    let place = Arc::new(Mutex::new(None));
    let (told, teller) = Told::new();
    let (left, mine) = (teller.0.left.clone(), place.clone());
    let (queue, task) = spawn(async move {
        let mut region = Box::pin(Region::new(told));
        let _ = poll_fn(|cx| {
            let polled = region.as_mut().poll(cx);
            *mine.lock().unwrap() = region.target();
            polled
        })
        .await;
        drop(region);
        let mut polled = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut polled, true) {
                return Poll::Ready(());
            }
            drop(left.lock().unwrap().replace(cx.waker().clone()));
            Poll::Pending
        })
        .await;
        crate::current::cancelling()
    });
    let target = place.lock().unwrap().take().expect("it is pending");
    (queue, task, target, teller)
}

/// It ends what it was made for, or nothing; and the count is what it was, whoever comes first.
#[test]
fn a_request_to_a_region_that_ends_cancels_nothing_else() {
    check(BOUNDED, || {
        let (queue, task, target, teller) = block();
        teller.tell();
        let there = queue.clone();
        let worker = thread::spawn(move || there.run());
        request_all(vec![target], None);
        worker.join().unwrap();
        run_all(&[&queue]);
        teller.tell();
        run_all(&[&queue]);
        assert_eq!(end(task), 0);
    });
}

fn end<T>(mut task: Task<T>) -> T {
    match task.take_outcome() {
        Some(Ok(value)) => value,
        Some(Err(error)) => panic!("{error}"),
        None => panic!("lost: {task:?}"),
    }
}

/// What a group does when a child fails: the siblings and the owner's region in one call, while the owner's body ends.
#[test]
fn a_group_that_shuts_down_ends_its_children_and_its_region_alone() {
    check(BOUNDED, || {
        let (queue, task, target, teller) = block();
        let (child_queue, child) = spawn(pending::<()>());
        teller.tell();
        let there = queue.clone();
        let worker = thread::spawn(move || there.run());
        let accepted = request_all(vec![child.target(), target], None);
        assert!(accepted >= 1, "the child cannot end by itself");
        worker.join().unwrap();
        run_all(&[&queue, &child_queue]);
        teller.tell();
        run_all(&[&queue]);
        assert!(child.is_cancelled());
        assert_eq!(end(task), 0);
    });
}

/// What a region in the body has received goes back to the task if what is in it is faster.
#[test]
fn a_request_that_a_region_does_not_take_meets_the_task() {
    check(BOUNDED, || {
        let (told, teller) = Told::new();
        let (queue, task) = spawn(async move {
            if catch_cancel(told).await.is_ok() {
                pending::<()>().await;
            }
        });
        let there = queue.clone();
        let worker = thread::spawn(move || {
            teller.tell();
            there.run();
        });
        assert!(task.cancel(None), "it cannot end by itself");
        worker.join().unwrap();
        run_all(&[&queue]);
        assert!(task.is_done(), "lost: {task:?}");
    });
}

/// No region holds up an abort, and a request beside it changes nothing.
#[test]
fn an_abort_ends_a_task_that_refuses_to() {
    check(NARROW, || {
        let (queue, task) = spawn(async {
            loop {
                let _ = catch_cancel(pending::<()>()).await;
            }
        });
        task.as_ref().wake();
        let there = queue.clone();
        let worker = thread::spawn(move || there.run());
        let other = task.as_ref();
        let other = thread::spawn(move || other.cancel("please"));
        assert!(task.abort("now"));
        worker.join().unwrap();
        other.join().unwrap();
        run_all(&[&queue]);
        let mut task = task;
        let error = task.take_outcome().expect("lost").err();
        let error: Option<TaskError> = error;
        assert_eq!(
            error.as_ref().and_then(TaskError::cancel_message),
            Some("now")
        );
    });
}

#[test]
fn every_model_fails_with_its_bugs_planted() {
    planted_bugs_fail(
        module_path!(),
        &[
            (
                "a_request_to_a_region_that_ends_cancels_nothing_else",
                &[Bug::LateRegionRequestCounts, Bug::OwedEntryLost],
            ),
            (
                "a_group_that_shuts_down_ends_its_children_and_its_region_alone",
                &[Bug::LateRegionRequestCounts],
            ),
            (
                "a_request_that_a_region_does_not_take_meets_the_task",
                &[Bug::UntakenDropped, Bug::CancelMissedAfterPoll],
            ),
            (
                "an_abort_ends_a_task_that_refuses_to",
                &[Bug::AbortMissedAfterPoll],
            ),
        ],
    );
}
