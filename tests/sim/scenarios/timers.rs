//! Timers fire, and are cancelled, moved or dropped in the same instant; callbacks.

use super::{explore, here};
use heist::{Deadline, sleep, timeout};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::Poll;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

#[test]
fn a_timeout_and_its_sleep_of_the_same_length() {
    explore(|scene| async move {
        let tasks: Vec<_> = (0..4)
            .map(|n: u32| {
                let life = scene.life();
                scene.spawn(async move {
                    let began = heist::time::now();
                    let outcome = timeout(4 * MS, async {
                        let _life = life;
                        sleep((3 + n / 2) * MS).await;
                    });
                    let outcome = outcome.await;
                    (outcome.is_ok(), heist::time::now() - began)
                })
            })
            .collect();
        for (n, task) in tasks.into_iter().enumerate() {
            let (ended, took) = task.await.unwrap();
            assert!(took >= if n < 2 { 3 * MS } else { 4 * MS }, "{n}: {took:?}");
            assert!(ended || n >= 2, "{n} was in time");
            assert_eq!(heist::current_task().unwrap().cancelling(), 0);
        }
        assert_eq!(scene.living(), 0);
    });
}

#[test]
fn a_sleep_meets_a_cancel_of_the_same_instant() {
    explore(|scene| async move {
        let sleeper = scene.spawn(sleep(3 * MS));
        let rival = {
            let sleeper = sleeper.as_ref();
            scene.spawn(async move {
                sleep(3 * MS).await;
                sleeper.cancel("in time")
            })
        };
        let outcome = sleeper.await;
        let accepted = rival.await.unwrap();
        assert_eq!(outcome.is_err(), accepted);
        assert_eq!(scene.living(), 0);
    });
}

#[test]
fn a_deadline_moved_while_it_strikes_is_never_early() {
    explore(|scene| async move {
        let deadline = Deadline::after(2 * MS);
        let moved = deadline.clone();
        let enclosed = scene.spawn(async move {
            let outcome = deadline.enclose(std::future::pending::<()>()).await;
            (outcome.is_err(), heist::time::now(), deadline.when())
        });
        let mover = scene.spawn(async move {
            let mut accepted = 0;
            for n in 1..4 {
                sleep(n * MS).await;
                accepted += u32::from(moved.reschedule_after(n * MS).is_ok());
            }
            accepted
        });
        let (elapsed, at, when) = enclosed.await.unwrap();
        assert!(elapsed);
        assert!(at >= when.unwrap(), "it struck before its time");
        mover.await.unwrap();
        assert_eq!(scene.living(), 0);
    });
}

#[test]
fn nested_timeouts_of_one_instant_end_the_right_one() {
    explore(|scene| async move {
        let task = scene.spawn(async {
            let outer = timeout(2 * MS, async {
                let inner = timeout(2 * MS, sleep(5 * MS)).await;
                assert!(inner.is_err());
                7
            });
            let outcome = outer.await;
            let count = heist::current_task().unwrap().cancelling();
            assert_eq!(count, 0, "a count leaks");
            // The inner one ends in the same poll in which the outer one strikes; what follows has no suspension.
            sleep(MS).await;
            outcome.is_ok()
        });
        task.await.unwrap();
        assert_eq!(scene.living(), 0);
    });
}

#[test]
fn a_timeout_meets_a_request_from_outside() {
    explore(|scene| async move {
        let task = scene.spawn(async {
            let outcome = timeout(3 * MS, std::future::pending::<()>()).await;
            assert!(outcome.is_err());
            sleep(10 * MS).await;
        });
        let asks = {
            let task = task.as_ref();
            scene.spawn(async move {
                sleep(3 * MS).await;
                task.cancel("from outside")
            })
        };
        let error = task.await.unwrap_err();
        // It may have come after the deadline's own, whose (missing) message stands then.
        let message = error.cancel_message();
        assert!(error.is_cancelled() && matches!(message, None | Some("from outside")));
        assert!(asks.await.unwrap(), "the task had not ended");
        assert_eq!(scene.living(), 0);
    });
}

#[test]
fn a_callback_is_called_or_cancelled() {
    explore(|scene| async move {
        let handle = here();
        let calls: Vec<_> = (0..4)
            .map(|n| {
                let (called, life) = (Arc::new(AtomicUsize::new(0)), scene.life());
                let mark = called.clone();
                let call = move || {
                    drop(life);
                    mark.fetch_add(1, SeqCst);
                };
                let timer = handle.call_later(n / 2 * MS, call);
                (timer, called)
            })
            .collect();
        let cancels: Vec<_> = calls
            .iter()
            .map(|(timer, _)| {
                let (inner, timer) = (scene.clone(), timer.clone());
                scene.thread(move || {
                    inner.dawdle(20);
                    timer.cancel()
                })
            })
            .collect();
        let mut revoked = Vec::new();
        for thread in cancels {
            revoked.push(thread.await);
        }
        sleep(5 * MS).await;
        for ((timer, called), revoked) in calls.iter().zip(revoked) {
            assert_eq!(called.load(SeqCst), usize::from(!revoked));
            assert_eq!(timer.cancelled(), revoked);
        }
        assert_eq!(scene.living(), 0);
    });
}

#[test]
fn callbacks_from_outside_are_called_once_each() {
    explore(|scene| async move {
        let called = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let (inner, handle, called) = (scene.clone(), here(), called.clone());
                scene.thread(move || {
                    for _ in 0..3 {
                        inner.dawdle(4);
                        let (called, life) = (called.clone(), inner.life());
                        let call = handle.call_soon_threadsafe(move || {
                            drop(life);
                            called.fetch_add(1, SeqCst);
                        });
                        assert!(!call.is_refused());
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.await;
        }
        sleep(MS).await;
        assert_eq!(called.load(SeqCst), 9);
        assert_eq!(scene.living(), 0);
    });
}

#[test]
fn sleeps_are_dropped_polled_and_moved_between_tasks() {
    explore(|scene| async move {
        let tasks: Vec<_> = (0..6)
            .map(|n: u32| {
                let inner = scene.clone();
                scene.spawn(async move {
                    let began = heist::time::now();
                    let mut nap = Box::pin(sleep((1 + n % 3) * MS));
                    let poll = std::future::poll_fn(|cx| Poll::Ready(nap.as_mut().poll(cx)));
                    assert!(poll.await.is_pending());
                    inner.yields(1).await;
                    if n.is_multiple_of(2) {
                        return Duration::ZERO;
                    }
                    // Another task waits for it to the end, with another waker.
                    inner.spawn(nap).await.unwrap();
                    heist::time::now() - began - (1 + n % 3) * MS
                })
            })
            .collect();
        for task in tasks {
            assert!(task.await.unwrap() < MS);
        }
        assert_eq!(scene.living(), 0);
    });
}

#[test]
fn timers_far_off_and_now() {
    explore(|scene| async move {
        let year = Duration::from_secs(365 * 24 * 3600);
        let for_ever = scene.spawn(sleep(Duration::MAX));
        let lengths = [Duration::ZERO, Duration::from_nanos(1), MS, 20 * year];
        let tasks: Vec<_> = lengths
            .into_iter()
            .map(|length| {
                scene.spawn(async move {
                    let began = heist::time::now();
                    sleep(length).await;
                    (heist::time::now() - began, length)
                })
            })
            .collect();
        for task in tasks {
            let (slept, length) = task.await.unwrap();
            assert!(
                slept >= length && slept <= length + MS,
                "{slept:?} of {length:?}"
            );
        }
        assert!(!for_ever.is_done());
        for_ever.cancel(None);
        assert!(for_ever.await.unwrap_err().is_cancelled());
        assert_eq!(scene.living(), 0);
    });
}
