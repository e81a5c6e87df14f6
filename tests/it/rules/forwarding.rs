//! Rule 8: through handles. Tasks, promises, shared ones, threads outside.

use super::{Log, MS, cancelled, caught, everywhere, me, says, settled, suspend};
use crate::support::{Drops, Gate, limited, side_by_side, threaded, until};
use heist::task::{Awaitable, catch_cancel};
use heist::{Cancelled, Shared, Task, TaskError, TaskGroup, promise, sleep, spawn, timeout};
use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

#[test]
fn the_handles_message_goes_on_unwinding() {
    everywhere(|| async {
        let inner = spawn(async {
            let _ = catch_cancel(pending::<()>()).await;
            Cancelled::new("the inner one's own").propagate().await
        });
        let outer = spawn(inner);
        settled().await;
        outer.cancel("asked");
        assert_eq!(cancelled(outer).await, says("the inner one's own"));
    });
}

#[test]
fn whoever_suppresses_suppresses_for_its_waiters() {
    everywhere(|| async {
        for ending in ["value", "panic"] {
            let inner = spawn(async move {
                let _ = catch_cancel(pending::<()>()).await;
                match ending {
                    "value" => 5,
                    _ => panic!("instead"),
                }
            });
            let outer = spawn(async {
                let ended = inner.await;
                suspend().await;
                (ended, me().cancelling())
            });
            settled().await;
            outer.cancel("in vain");
            let (ended, count) = outer.await.unwrap();
            assert_eq!(count, 1);
            match ending {
                "value" => assert_eq!(ended.unwrap(), 5),
                _ => assert_eq!(ended.unwrap_err().panic_message(), Some("instead")),
            }
        }
    });
}

#[test]
fn a_cancelled_child_is_an_error_and_ones_own_cancellation_is_not() {
    everywhere(|| async {
        for own in [false, true] {
            let (inner, log) = (spawn(pending::<()>()).shared(), Log::default());
            let (awaited, told) = (inner.clone(), log.clone());
            let outer = spawn(async move {
                let error = awaited.await.unwrap_err();
                log.say(error.cancel_message().unwrap());
                // It was the child's affair: nothing is asked of this task.
                suspend().await;
                me().cancelling()
            });
            settled().await;
            if own {
                outer.cancel("mine");
                assert_eq!(cancelled(outer).await, says("mine"));
                assert_eq!(told.len(), 0);
            } else {
                inner.cancel("the child's");
                assert_eq!(outer.await.unwrap(), 0);
                assert_eq!(told.told(), ["the child's"]);
            }
        }
    });
}

#[test]
fn the_childs_cancellation_and_ones_own_never_look_alike_however_they_race() {
    limited(|| {
        let runtime = threaded(4);
        for round in 0..500_u32 {
            let begun = Gate::default();
            let begins = begun.clone();
            let inner = runtime.spawn(pending::<()>()).shared();
            let awaited = inner.clone();
            let outer = runtime.spawn(async move {
                begins.open();
                let error = awaited.await.unwrap_err();
                assert!(error.is_cancelled());
                error.cancel_message().map(str::to_owned)
            });
            begun.block();
            let other = std::thread::spawn(move || inner.cancel("the child's"));
            for _ in 0..round % 64 {
                std::hint::spin_loop();
            }
            let accepted = outer.cancel("mine");
            other.join().unwrap();
            match runtime.block_on(outer).unwrap() {
                // Only if nobody asked this one.
                Ok(message) => assert!(!accepted && message == says("the child's")),
                Err(error) => {
                    assert!(accepted && error.is_cancelled(), "{error}");
                    assert!(error.cancel_message().is_some());
                }
            }
        }
    });
}

#[test]
fn caught_in_a_region_a_forwarded_cancellation_ends_the_region_alone() {
    everywhere(|| async {
        let inner = spawn(pending::<()>());
        let outer = spawn(async {
            let ended = caught(inner).await.map(|_| ());
            suspend().await;
            (ended, me().cancelling())
        });
        settled().await;
        outer.cancel("through");
        assert_eq!(outer.await.unwrap(), (Err(says("through")), 1));
    });
}

#[test]
fn a_waiter_that_is_cancelled_takes_the_shared_task_with_it_for_all() {
    everywhere(|| async {
        let inner = spawn(async {
            pending::<()>().await;
            1
        })
        .shared();
        let waiters: Vec<_> = (0..10)
            .map(|_| {
                let awaited = inner.clone();
                spawn(async move {
                    let error = awaited.await.unwrap_err();
                    assert!(error.is_cancelled());
                    me().cancelling()
                })
            })
            .collect();
        settled().await;
        waiters[3].cancel("that one");
        settled().await;
        assert!(inner.is_cancelled());
        for (number, waiter) in waiters.into_iter().enumerate() {
            if number == 3 {
                assert_eq!(cancelled(waiter).await, says("that one"));
            } else {
                assert_eq!(waiter.await.unwrap(), 0, "an error to the others");
            }
        }
    });
}

#[test]
fn waiting_for_an_end_or_a_groups_or_a_lock_does_not_forward() {
    everywhere(|| async {
        let inner = spawn(sleep(100 * MS)).shared();
        let (mut first, second) = (inner.clone(), inner.task().unwrap());
        let task = spawn(async move {
            let ended = caught(Awaitable::ended(&mut first)).await;
            (ended, caught(second.ended()).await)
        });
        settled().await;
        task.cancel("a");
        settled().await;
        task.cancel("b");
        assert_eq!(task.await.unwrap(), (Err(says("a")), Err(says("b"))));
        assert!(!inner.is_done());
        inner.await.unwrap();
    });
}

#[test]
fn a_promise_ends_for_all_its_waiters_however_it_ends() {
    limited(|| {
        let runtime = threaded(4);
        for way in ["set", "cancel", "drop", "the handle"] {
            let (promise, answer) = promise::<u32>();
            let answer = answer.shared();
            let waiters: Vec<_> = (0..1000)
                .map(|_| {
                    let answer = answer.clone();
                    runtime.spawn(answer)
                })
                .collect();
            let again = promise.clone();
            match way {
                "set" => {
                    promise.set(7).unwrap();
                    assert_eq!(again.set(8), Err(8));
                    assert!(!again.cancel(None));
                }
                "cancel" => assert!(promise.cancel("over")),
                "drop" => drop(promise),
                _ => assert!(answer.cancel("over")),
            }
            if way == "drop" {
                assert!(!answer.is_done(), "a clone may still settle it");
            }
            drop(again);
            for waiter in waiters {
                match (way, runtime.block_on(waiter).unwrap().unwrap()) {
                    ("set", ended) => assert_eq!(ended.unwrap(), 7),
                    ("drop", ended) => {
                        let error = ended.unwrap_err();
                        assert_eq!(error.cancel_message(), Some("the promise was dropped"));
                    }
                    (_, ended) => {
                        assert_eq!(ended.unwrap_err().cancel_message(), Some("over"));
                    }
                }
            }
            assert_eq!(answer.is_cancelled(), way != "set");
        }
    });
}

#[test]
fn a_promise_is_settled_once_however_many_try() {
    limited(|| {
        let runtime = threaded(4);
        for _ in 0..300 {
            let (promise, answer) = promise::<usize>();
            let answer = answer.shared();
            let waiter = {
                let answer = answer.clone();
                runtime.spawn(async move { catch_cancel(answer).await })
            };
            let called = Arc::new(AtomicUsize::new(0));
            let wins: usize = std::thread::scope(|scope| {
                let tries: Vec<_> = (0..4)
                    .map(|number| {
                        let (promise, answer) = (promise.clone(), answer.clone());
                        let called = called.clone();
                        scope.spawn(move || {
                            answer.add_done_callback(move || {
                                called.fetch_add(1, SeqCst);
                            });
                            usize::from(match number {
                                0 => promise.cancel(None),
                                1 => answer.cancel(None),
                                number => promise.set(number).is_ok(),
                            })
                        })
                    })
                    .collect();
                tries.into_iter().map(|t| t.join().unwrap()).sum()
            });
            assert_eq!(wins, 1);
            // Nobody asked the waiter: what it sees is a result, whichever.
            let seen = runtime.block_on(waiter).unwrap().unwrap();
            assert!(seen.is_ok());
            until("all were called", || called.load(SeqCst) == 4);
        }
    });
}

#[test]
fn done_callbacks_are_called_exactly_once_each_however_the_end_races_them() {
    limited(|| {
        let runtime = threaded(4);
        for round in 0..300 {
            let called = Arc::new(AtomicUsize::new(0));
            let task = runtime.spawn(async move {
                if round % 3 != 0 {
                    suspend().await;
                }
            });
            let reference = task.as_ref();
            let shared = task.shared();
            side_by_side(3, |number| {
                for _ in 0..10 {
                    let called = called.clone();
                    let count = move || {
                        called.fetch_add(1, SeqCst);
                    };
                    if number == 0 {
                        shared.add_done_callback(count);
                    } else {
                        reference.add_done_callback(count);
                    }
                }
                if number == 2 {
                    reference.cancel(None);
                }
            });
            until("all were called", || called.load(SeqCst) == 30);
            assert!(shared.is_done());
        }
    });
}

#[test]
fn awaiting_oneself_is_an_error_however_it_is_wrapped() {
    everywhere(|| async {
        // By its own handle, in a region.
        for way in ["plain", "region", "timeout", "group"] {
            let cell = Arc::new(OnceLock::<Shared<bool>>::new());
            let own = cell.clone();
            let task = spawn(async move {
                suspend().await;
                while own.get().is_none() {
                    suspend().await;
                }
                let own = own.get().unwrap().clone();
                let ended = match way {
                    "plain" => own.await,
                    "region" => catch_cancel(own).await.unwrap(),
                    "timeout" => timeout(MS, own).await.unwrap(),
                    _ => TaskGroup::run(|_| own).await.unwrap(),
                };
                ended.unwrap_err().is_self_await()
            });
            let shared = task.shared();
            assert!(cell.set(shared.clone()).is_ok());
            assert!(shared.await.unwrap(), "{way}");
        }
        let (send, receive) = async_channel::bounded::<Task<bool>>(1);
        let task = spawn(async move {
            let mut own = receive.recv().await.unwrap();
            let error = catch_cancel(&mut own).await.unwrap().unwrap_err();
            own.detach();
            error.is_self_await()
        });
        let seen = task.as_ref();
        send.send(task).await.unwrap();
        seen.ended().await;
        assert!(!seen.has_failed() && !seen.is_cancelled());
    });
}

#[test]
fn result_and_exception_before_the_end_are_errors_and_take_nothing() {
    everywhere(|| async {
        let (promise, answer) = promise::<u32>();
        let answer = answer.shared();
        let mut task = spawn(pending::<()>());
        for _ in 0..2 {
            assert!(answer.result().unwrap_err().is_invalid_state());
            assert!(answer.exception().unwrap_err().is_invalid_state());
            assert!(task.result().unwrap_err().is_invalid_state());
            assert!(task.exception().unwrap_err().is_invalid_state());
        }
        promise.set(1).unwrap();
        assert_eq!(answer.result().unwrap(), 1);
        assert!(answer.exception().unwrap().is_none());
        assert_eq!(answer.await.unwrap(), 1);
        task.cancel("over");
        settled().await;
        assert!(task.exception().unwrap_err().is_cancelled());
        assert_eq!(task.result().unwrap_err().cancel_message(), Some("over"));
        let panicked: Shared<()> = spawn(async { panic!("on purpose") }).shared();
        settled().await;
        let error = panicked.exception().unwrap().unwrap();
        assert_eq!(error.panic_message(), Some("on purpose"));
    });
}

// Threads outside

#[test]
fn a_task_that_awaits_a_thread_safe_future_ends_at_once_and_cancels_the_coroutine() {
    limited(|| {
        let (here, there) = (threaded(2), threaded(2));
        for _ in 0..100 {
            let drops = Drops::default();
            let (held, begun, cleaned) = (drops.one(), Gate::default(), Gate::default());
            let (begins, cleans) = (begun.clone(), cleaned.clone());
            let coroutine = async move {
                let _held = held;
                begins.open();
                let _ = catch_cancel(pending::<()>()).await;
                cleans.passed().await;
            };
            let future = heist::run_coroutine_threadsafe(coroutine, &there);
            let wrapped = future.wrap();
            let waiting = Gate::default();
            let waits = waiting.clone();
            let task = here.spawn(async move {
                waits.open();
                wrapped.await.unwrap();
            });
            begun.block();
            waiting.block();
            assert!(task.cancel("mine"));
            let error = here.block_on(task).unwrap().unwrap_err();
            assert_eq!(error.cancel_message(), Some("mine"));
            until("the handle has ended", || future.cancelled());
            assert!(!future.task().is_done(), "it cleans up first");
            cleaned.open();
            until("it has ended", || drops.dropped() == 1);
        }
    });
}

#[test]
fn a_thread_safe_future_gives_its_task_a_value_an_error_or_the_end_of_its_runtime() {
    limited(|| {
        let here = threaded(2);
        let wait = |wrapped: heist::Deferred<u32>| -> Result<u32, TaskError> {
            here.block_on(async { spawn(wrapped).await.unwrap() })
                .unwrap()
        };
        let there = threaded(1);
        let future = heist::run_coroutine_threadsafe(async { 5 }, &there);
        assert_eq!(wait(future.wrap()).unwrap(), 5);
        let future = heist::run_coroutine_threadsafe(async { panic!("there") }, &there);
        let error = wait(future.wrap()).unwrap_err();
        assert_eq!(error.panic_message(), Some("there"));
        // Cancelled by somebody else it is an error here.
        let future = heist::run_coroutine_threadsafe(pending::<u32>(), &there);
        let wrapped = future.wrap();
        future.cancel();
        assert!(wait(wrapped).unwrap_err().is_cancelled());
        // A runtime that dies leaves nobody waiting.
        let future = heist::run_coroutine_threadsafe(pending::<u32>(), &there);
        let wrapped = future.wrap();
        there.shutdown(Duration::from_secs(5));
        assert!(wait(wrapped).unwrap_err().is_cancelled());
    });
}

// asyncio forgets tasks that nobody holds (cpython 91887).

#[test]
fn a_task_whose_handle_is_gone_runs_to_its_end() {
    everywhere(|| async {
        let (log, drops) = (Log::default(), Drops::default());
        for way in ["dropped", "detached", "shared", "its waiter is gone"] {
            let (says, held) = (log.clone(), drops.one());
            let task = spawn(async move {
                let _held = held;
                for _ in 0..10 {
                    sleep(MS).await;
                }
                says.say(way);
            });
            match way {
                "dropped" => drop(task),
                "detached" => task.detach(),
                "shared" => drop(task.shared().clone()),
                _ => {
                    let waiter = spawn(task);
                    suspend().await;
                    waiter.abort(None);
                }
            }
        }
        sleep(50 * MS).await;
        let mut told = log.told();
        told.sort();
        assert_eq!(told.len(), 4, "{told:?}");
        assert_eq!(drops.dropped(), 4);
    });
}
