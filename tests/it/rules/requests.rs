//! Rules 1, 2, 6 and 7: who is asked, what counts, what is kept, and what force is.

use super::{Log, MS, cancelled, caught, everywhere, me, says, settled, suspend};
use crate::support::{Drops, Gate, limited, seated, side_by_side, threaded, until};
use heist::task::catch_cancel;
use heist::{Task, TaskGroup, sleep, spawn, timeout, try_spawn};
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

// 1

#[test]
fn a_task_that_has_ended_refuses_and_counts_nothing() {
    everywhere(|| async {
        let value = spawn(async { 1 });
        let panicked = spawn(async { panic!("on purpose") });
        let failed = try_spawn(async { Err::<(), _>("no") });
        let victim = spawn(pending::<()>());
        settled().await;
        assert!(victim.cancel("once"));
        settled().await;
        for (task, count) in [
            (value.as_ref(), 0),
            (panicked.as_ref(), 0),
            (failed.as_ref(), 0),
            (victim.as_ref(), 1),
        ] {
            assert!(task.is_done());
            for _ in 0..3 {
                assert!(!task.cancel("late") && !task.abort("late"));
            }
            assert_eq!(task.cancelling(), count);
        }
        assert_eq!(value.await.unwrap(), 1);
        assert!(panicked.await.map(|(): ()| ()).unwrap_err().is_panic());
        assert_eq!(failed.await.unwrap(), Err("no"));
        assert_eq!(cancelled(victim).await, says("once"));
    });
}

#[test]
fn every_accepted_request_counts_and_uncancel_goes_down_to_none() {
    everywhere(|| async {
        let stubborn = spawn(async {
            for _ in 0..3 {
                assert!(catch_cancel(pending::<()>()).await.is_err());
            }
            settled().await;
            assert_eq!(me().cancelling(), 3);
            for left in [2, 1, 0, 0, 0] {
                assert_eq!(me().uncancel(), left);
            }
            suspend().await;
            "done"
        });
        settled().await;
        for count in 1..=3 {
            assert!(stubborn.cancel(None));
            assert_eq!(stubborn.cancelling(), count);
            settled().await;
        }
        assert_eq!(stubborn.await.unwrap(), "done");
    });
}

#[test]
fn uncancel_to_none_withdraws_what_was_not_handed_down_and_nothing_before_that() {
    everywhere(|| async {
        let task = spawn(async {
            assert!(me().cancel("a") && me().cancel("b"));
            assert_eq!(me().uncancel(), 1);
            assert_eq!(caught(suspend()).await, Err(says("b")), "one still counts");
            assert_eq!(me().uncancel(), 0);
            assert!(me().cancel("c"));
            assert_eq!(me().uncancel(), 0);
            suspend().await;
            // A request that was withdrawn does not stand against the value either.
            me().cancel("d");
            me().uncancel();
            5
        });
        assert_eq!(task.await.unwrap(), 5);
    });
    // Before the first poll, by somebody else: on one thread nothing is polled between the lines.
    limited(|| {
        seated()
            .block_on(async {
                let task = spawn(async { 5 });
                task.cancel("taken back");
                assert_eq!(task.uncancel(), 0);
                assert_eq!(task.await.unwrap(), 5);
            })
            .unwrap();
    });
}

#[test]
fn a_request_and_its_withdrawal_race_the_task_and_leave_nothing_behind() {
    limited(|| {
        let runtime = threaded(4);
        for _ in 0..100 {
            let stop = Gate::default();
            let (stopped, deliveries) = (stop.clone(), Arc::new(AtomicUsize::new(0)));
            let (count, begun) = (deliveries.clone(), Gate::default());
            let begins = begun.clone();
            let task = runtime.spawn(async move {
                begins.open();
                while !stopped.is_open() {
                    if catch_cancel(suspend()).await.is_err() {
                        count.fetch_add(1, SeqCst);
                    }
                }
                // What was handed down before it was withdrawn has been met in the region.
                assert_eq!(me().cancelling(), 0);
                suspend().await;
                "not cancelled"
            });
            begun.block();
            let mut accepted = 0;
            for _ in 0..50 {
                accepted += usize::from(task.cancel("never mind"));
                task.uncancel();
            }
            assert_eq!(accepted, 50);
            stop.open();
            assert_eq!(runtime.block_on(task).unwrap().unwrap(), "not cancelled");
            assert!(deliveries.load(SeqCst) <= 50);
        }
    });
}

#[test]
fn requests_from_many_threads_are_all_counted() {
    limited(|| {
        let runtime = threaded(4);
        for _ in 0..50 {
            let (begun, stop) = (Gate::default(), Gate::default());
            let (begins, stopped) = (begun.clone(), stop.clone());
            let task = runtime.spawn(async move {
                begins.open();
                while !stopped.is_open() {
                    let _ = catch_cancel(sleep(MS)).await;
                }
                me().cancelling()
            });
            let reference = task.as_ref();
            begun.block();
            side_by_side(4, |_| (0..25).for_each(|_| assert!(reference.cancel(None))));
            assert_eq!(reference.cancelling(), 100);
            stop.open();
            // The last of them may have come between its last region and its end.
            match runtime.block_on(task).unwrap() {
                Ok(count) => assert_eq!(count, 100),
                Err(error) => assert!(error.is_cancelled()),
            }
            assert_eq!(reference.cancelling(), 100);
        }
    });
}

// 2

#[test]
fn no_line_runs_of_a_task_that_is_cancelled_before_it_begins_whoever_would_have_held_it_up() {
    limited(|| {
        let runtime = threaded(2);
        let ran = Arc::new(AtomicBool::new(false));
        let drops = Drops::default();
        for way in ["cancel", "abort", "in a group", "tries"] {
            // Both workers are busy, so nothing begins.
            let go = Gate::default();
            let running = [Gate::default(), Gate::default()];
            for started in running.clone() {
                let wait = go.clone();
                runtime.spawn(async move {
                    started.open();
                    wait.block();
                });
            }
            running.iter().for_each(Gate::block);
            let (seen, held) = (ran.clone(), drops.one());
            let stubborn = async move {
                let _held = held;
                seen.store(true, SeqCst);
                let _ = catch_cancel(pending::<()>()).await;
            };
            let message = runtime
                .block_on(async {
                    let task = match way {
                        "in a group" => {
                            let go = go.clone();
                            let ended = TaskGroup::run(|group| async move {
                                let task = group.spawn(stubborn).unwrap();
                                task.cancel("early");
                                go.open();
                                Some(task)
                            });
                            ended.await.unwrap().unwrap()
                        }
                        "tries" => {
                            let task = try_spawn(async {
                                stubborn.await;
                                Err::<(), _>("stands if it runs")
                            });
                            task.cancel("early");
                            go.open();
                            return cancelled(task).await;
                        }
                        _ => spawn(stubborn),
                    };
                    match way {
                        "abort" => task.abort("early"),
                        _ => task.cancel("early"),
                    };
                    go.open();
                    cancelled(task).await
                })
                .unwrap();
            assert_eq!(message, says("early"), "{way}");
        }
        assert!(!ran.load(SeqCst));
        assert_eq!(drops.dropped(), 4);
    });
}

// 6

#[test]
fn asked_by_itself_a_value_in_a_region_passes_and_the_end_is_a_cancellation() {
    everywhere(|| async {
        let drops = Drops::default();
        let held = drops.one();
        let task = spawn(async move {
            me().cancel("kept");
            assert_eq!(caught(async { 5 }).await, Ok(5));
            assert_eq!(timeout(MS, async { 6 }).await, Ok(6));
            let group = TaskGroup::run(|_| async { 7 }).await;
            assert_eq!(group.unwrap(), 7, "no child, nothing to wait for");
            held
        });
        let error = task.await.map(drop).unwrap_err();
        assert_eq!(error.cancel_message(), Some("kept"));
        assert_eq!(drops.dropped(), 1);
        // An error and a panic stand.
        let task = try_spawn(async {
            me().cancel("kept");
            Err::<(), _>("stands")
        });
        assert_eq!(task.await.unwrap(), Err("stands"));
        let task: Task<()> = spawn(async {
            me().cancel("kept");
            catch_cancel(async { panic!("stands") }).await.unwrap()
        });
        let error = task.await.unwrap_err();
        assert_eq!(error.panic_message(), Some("stands"));
        // A `try_spawn`'s Ok is a plain value.
        let task = try_spawn(async {
            me().cancel("kept");
            Ok::<_, ()>(())
        });
        assert_eq!(cancelled(task).await, says("kept"));
    });
}

// 7

#[test]
fn requests_kept_while_it_runs_are_one_delivery_with_the_last_message() {
    everywhere(|| async {
        let log = Log::default();
        let told = log.clone();
        let task = spawn(async move {
            me().cancel("a");
            me().cancel("b");
            me().cancel(None);
            me().cancel("c");
            log.say(format!("{:?}", caught(suspend()).await));
            log.say(format!("{:?}", caught(suspend()).await));
            assert_eq!(me().cancelling(), 4);
        });
        task.await.unwrap();
        assert_eq!(told.told(), ["Err(Some(\"c\"))", "Ok(())"]);
    });
}

#[test]
fn handed_to_a_suspended_await_the_first_message_stands_unless_it_was_woken_before() {
    // On one thread nothing is polled between the lines.
    limited(|| {
        let runtime = seated();
        runtime
            .block_on(async {
                for woken in [false, true] {
                    let foreign = super::Foreign::<()>::new();
                    let waits = foreign.clone();
                    let task = spawn(async move {
                        let first = caught(waits).await;
                        assert_eq!(me().cancelling(), 2);
                        let second = caught(suspend()).await;
                        (first, second)
                    });
                    suspend().await;
                    suspend().await;
                    if woken {
                        foreign.nudge();
                    }
                    task.cancel("first");
                    task.cancel("second");
                    let message = if woken { "second" } else { "first" };
                    assert_eq!(task.await.unwrap(), (Err(says(message)), Ok(())));
                }
            })
            .unwrap();
    });
}

#[test]
fn each_request_that_is_forwarded_is_forwarded_and_counted_anew() {
    everywhere(|| async {
        let log = Log::default();
        let told = log.clone();
        let inner = spawn(async move {
            for _ in 0..3 {
                log.say(caught(pending::<()>()).await.unwrap_err().unwrap());
            }
            me().cancelling()
        });
        let inner_ref = inner.as_ref();
        let outer = spawn(async move { (inner.await.unwrap(), me().cancelling()) });
        settled().await;
        for message in ["a", "b", "c"] {
            outer.cancel(message);
            settled().await;
        }
        assert_eq!(outer.await.unwrap(), (3, 3));
        assert_eq!(inner_ref.cancelling(), 3);
        assert_eq!(told.told(), ["a", "b", "c"]);
    });
}

#[test]
fn after_a_delivery_the_next_request_interrupts_the_cleanup() {
    everywhere(|| async {
        let log = Log::default();
        let told = log.clone();
        let task = spawn(async move {
            let first = catch_cancel(pending::<()>()).await.unwrap_err();
            let _end = log.at_drop("cleanup given up");
            log.say(first.message().unwrap());
            sleep(1000 * MS).await;
            log.say("not reached");
            first.propagate().await
        });
        settled().await;
        task.cancel("first");
        settled().await;
        assert!(!task.is_done());
        task.cancel("second");
        assert_eq!(cancelled(task).await, says("second"));
        assert_eq!(told.told(), ["first", "cleanup given up"]);
    });
}

/// Suppresses every request, in every way there is.
async fn refuses_all() {
    loop {
        let _ = catch_cancel(async {
            let _ = timeout(
                3600 * 1000 * MS,
                TaskGroup::run(|group| async move {
                    group
                        .spawn(async {
                            loop {
                                let _ = catch_cancel(pending::<()>()).await;
                            }
                        })
                        .unwrap();
                    loop {
                        let _ = catch_cancel(catch_cancel(pending::<()>())).await;
                    }
                }),
            )
            .await;
        })
        .await;
    }
}

#[test]
fn force_ends_what_refuses_everything_with_all_its_children() {
    everywhere(|| async {
        let drops = Drops::default();
        let held = drops.one();
        let task = spawn(async move {
            let _held = held;
            refuses_all().await;
        });
        for _ in 0..3 {
            settled().await;
            task.cancel("please");
        }
        settled().await;
        assert!(!task.is_done());
        let alive = heist::all_tasks().len();
        assert_eq!(alive, 3, "this one, that one, and its child");
        assert!(task.abort("now"));
        assert_eq!(cancelled(task).await, says("now"));
        settled().await;
        assert_eq!(heist::all_tasks().len(), 1);
        assert_eq!(drops.dropped(), 1);
    });
}

#[test]
fn force_does_not_forward_and_spares_who_is_awaited() {
    everywhere(|| async {
        let inner = spawn(async {
            sleep(10 * MS).await;
            5
        })
        .shared();
        let awaited = inner.clone();
        let outer = spawn(awaited);
        settled().await;
        outer.abort("alone");
        assert_eq!(cancelled(outer).await, says("alone"));
        assert_eq!(inner.await.unwrap(), 5);
    });
}

#[test]
fn force_meets_a_running_task_at_its_next_suspension_or_its_end() {
    limited(|| {
        let runtime = threaded(2);
        for ends in ["suspends", "value", "error", "panic"] {
            let (running, go) = (Gate::default(), Gate::default());
            let (started, wait) = (running.clone(), go.clone());
            let task = runtime.handle().spawn(async move {
                let inner = async move {
                    started.open();
                    wait.block();
                    match ends {
                        "suspends" => {
                            let _ = catch_cancel(suspend()).await;
                            unreachable!("no region holds it up")
                        }
                        "panic" => panic!("stands"),
                        _ => 5,
                    }
                };
                catch_cancel(inner).await.unwrap()
            });
            running.block();
            assert!(task.abort("now"));
            assert!(!task.is_done());
            go.open();
            let error = runtime.block_on(task).unwrap().unwrap_err();
            match ends {
                "panic" => assert_eq!(error.panic_message(), Some("stands")),
                _ => assert_eq!(error.cancel_message(), Some("now"), "{ends}"),
            }
        }
    });
}

#[test]
fn force_that_meets_a_cancellation_on_its_way_out_gives_its_message() {
    struct Holds(Gate, Gate);
    impl Drop for Holds {
        fn drop(&mut self) {
            self.0.open();
            self.1.block();
        }
    }
    limited(|| {
        let runtime = threaded(2);
        for begins in [true, false] {
            let (ending, go) = (Gate::default(), Gate::default());
            let begun = Gate::default();
            let (holds, runs) = (Holds(ending.clone(), go.clone()), begun.clone());
            let body = async move {
                let _holds = holds;
                runs.open();
                suspend().await;
            };
            let task = runtime.handle().spawn(body);
            if begins {
                begun.block();
            }
            assert!(task.cancel("please"));
            ending.block();
            assert!(task.abort("now"));
            go.open();
            let error = runtime.block_on(task).unwrap().unwrap_err();
            assert_eq!(error.cancel_message(), Some("now"));
        }
    });
}

#[test]
fn force_races_requests_polls_and_ends() {
    limited(|| {
        let runtime = threaded(4);
        let drops = Drops::default();
        for round in 0..500 {
            let held = drops.one();
            let task = runtime.spawn(async move {
                let _held = held;
                if round % 3 == 0 {
                    suspend().await;
                    return;
                }
                refuses_all().await;
            });
            let seen = task.as_ref();
            let other = runtime.spawn(async move { seen.cancel("please") });
            let forced = task.abort("now");
            let ended = runtime.block_on(task).unwrap();
            if forced {
                assert_eq!(ended.unwrap_err().cancel_message(), Some("now"));
            }
            runtime.block_on(other).unwrap().unwrap();
        }
        until("all ended", || runtime.metrics().tasks_alive == 0);
        assert_eq!(drops.dropped(), 500);
    });
}
