//! Handles and what hangs on the end of a task: outcomes, wakers, callbacks, promises, shared handles.

use super::{Life, Scene, explore};
use heist::task::yield_now;
use heist::{Task, TaskError, promise};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

/// A task that gives a life, after some suspensions.
fn gives_a_life(scene: &Scene) -> Task<Life> {
    let inner = scene.clone();
    scene.spawn(async move {
        inner.yields(2).await;
        inner.life()
    })
}

#[test]
fn an_outcome_whose_handle_goes_is_dropped_once() {
    explore(|scene| async move {
        let tasks: Vec<_> = (0..3).map(|_| gives_a_life(&scene)).collect();
        let ends: Vec<_> = tasks.iter().map(|task| task.as_ref()).collect();
        let threads: Vec<_> = tasks
            .into_iter()
            .map(|mut task| {
                let inner = scene.clone();
                scene.thread(move || {
                    inner.dawdle(10);
                    // With a waker of its own in the task, or without.
                    if inner.sim.below(2) == 0 {
                        let count = Arc::new(Wakes::default());
                        let waker = Waker::from(count.clone());
                        let polled = Pin::new(&mut task).poll(&mut Context::from_waker(&waker));
                        inner.dawdle(6);
                        drop((polled, task));
                        drop(waker);
                        assert_eq!(Arc::strong_count(&count), 1, "a waker is left behind");
                        assert!(count.0.load(SeqCst) <= 1);
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.await;
        }
        for end in ends {
            end.ended().await;
        }
        assert_eq!(scene.living(), 0);
    });
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

#[test]
fn a_handle_that_changes_hands_wakes_the_last() {
    explore(|scene| async move {
        let task = gives_a_life(&scene);
        // Each polls it once and hands it on; the last waits.
        let mut handle = task;
        for _ in 0..2 {
            let hand_on = scene.spawn(async move {
                let first = std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut handle).poll(cx)));
                match first.await {
                    Poll::Ready(outcome) => Err(outcome),
                    Poll::Pending => Ok(handle),
                }
            });
            match hand_on.await.unwrap() {
                Ok(same) => handle = same,
                Err(outcome) => {
                    drop(outcome.unwrap());
                    return;
                }
            }
        }
        let inner = scene.clone();
        let (sender, receiver) = promise();
        // Outside it is polled with other wakers, on another thread than the task's.
        let outside = scene.thread(move || {
            for _ in 0..3 {
                let waker = Waker::from(Arc::new(Wakes::default()));
                let polled = Pin::new(&mut handle).poll(&mut Context::from_waker(&waker));
                if let Poll::Ready(outcome) = polled {
                    drop(outcome.unwrap());
                    return;
                }
                inner.dawdle(3);
            }
            sender.set(handle).ok().unwrap();
        });
        match receiver.await {
            Ok(last) => drop(last.await.unwrap()),
            Err(error) => assert!(error.is_cancelled(), "dropped unset: it was had before"),
        }
        outside.await;
        assert_eq!(scene.living(), 0);
    });
}

#[test]
fn done_callbacks_are_called_once() {
    explore(|scene| async move {
        let called = Arc::new(AtomicUsize::new(0));
        let task = gives_a_life(&scene);
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let (inner, task, called) = (scene.clone(), task.as_ref(), called.clone());
                scene.thread(move || {
                    for _ in 0..3 {
                        inner.dawdle(4);
                        let (called, life) = (called.clone(), inner.life());
                        task.add_done_callback(move || {
                            drop(life);
                            called.fetch_add(1, SeqCst);
                        });
                    }
                })
            })
            .collect();
        drop(task.await.unwrap());
        for thread in threads {
            thread.await;
        }
        // Those that were added before the end are called on the worker that ends the task, which may be about to.
        heist::sleep(Duration::from_millis(1)).await;
        assert_eq!(called.load(SeqCst), 6);
        assert_eq!(scene.living(), 0);
    });
}

#[test]
fn all_who_wait_for_an_end_hear_of_it_and_who_gives_up_is_let_go() {
    explore(|scene| async move {
        let task = gives_a_life(&scene);
        let waiters: Vec<_> = (0..4)
            .map(|_| {
                let end = task.as_ref();
                scene.spawn(async move { end.ended().await })
            })
            .collect();
        let gives_up = {
            let (inner, one) = (scene.clone(), waiters[0].as_ref());
            scene.thread(move || {
                inner.dawdle(10);
                one.cancel(None)
            })
        };
        let accepted = gives_up.await;
        for (n, waiter) in waiters.into_iter().enumerate() {
            let outcome = waiter.await;
            assert_eq!(outcome.is_err(), n == 0 && accepted, "waiter {n}");
        }
        assert!(task.is_done());
        drop(task.await.unwrap());
        assert_eq!(scene.living(), 0);
    });
}

#[test]
fn who_gives_up_waiting_leaves_no_waker() {
    explore(|scene| async move {
        let task = gives_a_life(&scene);
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let (inner, end) = (scene.clone(), task.as_ref());
                scene.thread(move || {
                    inner.dawdle(6);
                    let count = Arc::new(Wakes::default());
                    let waker = Waker::from(count.clone());
                    let mut ended = Box::pin(end.ended());
                    let polled = ended.as_mut().poll(&mut Context::from_waker(&waker));
                    inner.dawdle(3);
                    drop((ended, waker));
                    let is_told = polled.is_ready() || end.is_done();
                    (count, is_told)
                })
            })
            .collect();
        for thread in threads {
            let (count, is_told) = thread.await;
            // Who ends the task may have the waker in hand just then.
            assert!(
                is_told || Arc::strong_count(&count) == 1,
                "a waker is left behind"
            );
        }
        drop(task.await.unwrap());
        assert_eq!(scene.living(), 0);
    });
}

#[test]
fn clones_of_a_shared_handle_agree() {
    explore(|scene| async move {
        let inner = scene.clone();
        let shared = scene
            .spawn(async move {
                inner.yields(4).await;
                Arc::new(inner.life())
            })
            .shared();
        let readers: Vec<_> = (0..3)
            .map(|_| {
                let shared = shared.clone();
                scene.spawn(async move { shared.await.map(|life| Arc::as_ptr(&life).addr()) })
            })
            .collect();
        let asks = {
            let (inner, shared) = (scene.clone(), shared.clone());
            scene.thread(move || {
                inner.dawdle(12);
                shared.cancel("all of you")
            })
        };
        let outcome = shared.await.map(|life| Arc::as_ptr(&life).addr());
        let accepted = asks.await;
        for reader in readers {
            let seen = reader.await.unwrap();
            match (&outcome, seen) {
                (Ok(mine), Ok(theirs)) => assert_eq!(*mine, theirs),
                (Err(mine), Err(theirs)) => {
                    assert_eq!(mine.cancel_message(), theirs.cancel_message());
                }
                (mine, theirs) => panic!("{mine:?} and {theirs:?}"),
            }
        }
        assert_eq!(outcome.is_err(), accepted);
    });
}

#[test]
fn a_promise_is_settled_once() {
    explore(|scene| async move {
        let (promise, waits) = promise();
        let threads: Vec<_> = (0..3)
            .map(|n| {
                let (inner, promise) = (scene.clone(), promise.clone());
                scene.thread(move || {
                    inner.dawdle(6);
                    promise.set((n, inner.life())).is_ok()
                })
            })
            .collect();
        drop(promise);
        let waiter = scene.spawn(waits);
        let (winner, life) = waiter.await.unwrap().unwrap();
        drop(life);
        for (n, thread) in threads.into_iter().enumerate() {
            assert_eq!(thread.await, n == winner, "{n} of {winner}");
        }
        assert_eq!(scene.living(), 0);
    });
}

#[test]
fn a_promise_meets_a_cancel_and_a_look() {
    explore(|scene| async move {
        let (promise, waits) = promise();
        let promise_too = promise.clone();
        let waiter = scene.spawn(async move { waits.await.map(drop::<Life>) });
        let sets = {
            let inner = scene.clone();
            scene.thread(move || {
                inner.dawdle(10);
                promise.set(inner.life()).is_ok()
            })
        };
        let asks = {
            let (inner, waiter) = (scene.clone(), waiter.as_ref());
            scene.thread(move || {
                inner.dawdle(10);
                waiter.cancel("stop")
            })
        };
        let outcome = waiter.await;
        let (set, accepted) = (sets.await, asks.await);
        match outcome {
            Ok(Ok(())) => assert!(set && !accepted, "{set} {accepted}"),
            Ok(Err(error)) => panic!("nobody else cancels: {error}"),
            Err(error) => assert!(accepted && error.is_cancelled(), "{error}"),
        }
        assert!(promise_too.is_done() || !set);
        drop(promise_too);
        assert_eq!(scene.living(), 0);
    });
}

#[test]
fn a_promise_that_is_dropped_says_so() {
    explore(|scene| async move {
        let (promise, waits) = promise::<Life>();
        let clone = promise.clone();
        let waiter = scene.spawn(waits);
        for promise in [promise, clone] {
            let inner = scene.clone();
            let life = scene.life();
            let thread = scene.thread(move || {
                inner.dawdle(6);
                drop((promise, life));
            });
            drop(thread);
        }
        let error: TaskError = waiter.await.unwrap().map(drop).unwrap_err();
        assert_eq!(error.cancel_message(), Some("the promise was dropped"));
    });
}

#[test]
fn tasks_end_whose_handles_and_wakers_go_elsewhere() {
    explore(|scene| async move {
        let (mut wakers, mut ends) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            let (sender, receiver) = promise();
            let mut sender = Some(sender);
            let inner = scene.clone();
            let task = scene.spawn(async move {
                std::future::poll_fn(|cx| {
                    if let Some(sender) = sender.take() {
                        sender.set(cx.waker().clone()).ok().unwrap();
                    }
                    Poll::Ready(())
                })
                .await;
                inner.yields(2).await;
            });
            wakers.push(receiver.await.unwrap());
            ends.push(task.as_ref());
            task.detach();
        }
        let threads: Vec<_> = wakers
            .into_iter()
            .map(|waker| {
                let inner = scene.clone();
                scene.thread(move || {
                    for _ in 0..3 {
                        inner.dawdle(3);
                        waker.wake_by_ref();
                        drop(waker.clone());
                    }
                    waker.wake();
                })
            })
            .collect();
        for end in ends {
            end.ended().await;
        }
        for thread in threads {
            thread.await;
        }
        assert_eq!(scene.living(), 0);
    });
}

#[test]
fn foreign_handles_end_once_with_the_coroutine_or_by_a_cancel() {
    explore(|scene| async move {
        let handle = super::here();
        let inner = scene.clone();
        let called = Arc::new(AtomicUsize::new(0));
        let count = called.clone();
        let thread = scene.thread(move || {
            let (work, life) = (inner.clone(), inner.life());
            let coroutine = async move {
                let _life = life;
                work.yields(4).await;
                work.life()
            };
            let submitted = heist::run_coroutine_threadsafe(coroutine, &handle);
            let submitted = Arc::new(submitted);
            submitted.add_done_callback(move || {
                count.fetch_add(1, SeqCst);
            });
            let cancels = {
                let (submitted, inner) = (submitted.clone(), inner.clone());
                inner.sim.thread("cancels", move || {
                    inner.dawdle(12);
                    submitted.cancel()
                })
            };
            let outcome = submitted.result(None);
            let accepted = cancels.join();
            match outcome {
                Ok(life) => {
                    drop(life);
                    assert!(!accepted);
                }
                Err(error) => assert!(error.is_cancelled() && accepted, "{error:?}"),
            }
            submitted.cancel_and_wait(None).unwrap();
            assert!(submitted.task().is_done());
        });
        thread.await;
        // A value that came too late is dropped by the worker that has seen the coroutine end.
        while scene.living() > 0 {
            yield_now().await;
        }
        assert_eq!(called.load(SeqCst), 1);
    });
}
