//! Rule 11: timeouts, and whose cancellation it was. asyncio's defects 116720, 133747 and 155433, counts that leak, have no place here.

use super::{Dice, Log, MS, cancelled, caught, everywhere, me, says, settled, suspend};
use crate::support::{Gate, limited, threaded};
use heist::task::catch_cancel;
use heist::{Cancelled, Deadline, TaskGroup, sleep, spawn, timeout, timeout_at};
use std::future::pending;
use std::time::Duration;

/// Nothing counts, and nothing is kept.
async fn is_clean() -> bool {
    me().cancelling() == 0 && caught(suspend()).await.is_ok() && me().cancelling() == 0
}

#[test]
fn ended_by_its_own_request_it_has_elapsed_and_nothing_counts() {
    everywhere(|| async {
        let deadline = Deadline::after(MS);
        assert!(deadline.enclose(pending::<()>()).await.is_err());
        assert!(deadline.expired() && is_clean().await);
        // A cleanup that ends by propagating what it caught is the same.
        let cleans = async {
            let cancelled = catch_cancel(pending::<()>()).await.unwrap_err();
            sleep(5 * MS).await;
            cancelled.propagate().await
        };
        let began = heist::time::now();
        let ended: Result<(), _> = timeout(MS, cleans).await;
        assert!(ended.is_err());
        assert_eq!(heist::time::now() - began, 6 * MS);
        assert!(is_clean().await);
    });
}

#[test]
fn a_value_or_an_error_passes_though_the_time_was_up() {
    everywhere(|| async {
        let deadline = Deadline::after(MS);
        let refuses = deadline.enclose(async {
            let _ = catch_cancel(pending::<()>()).await;
            assert_eq!(me().cancelling(), 1);
            sleep(5 * MS).await;
            "nevertheless"
        });
        assert_eq!(refuses.await, Ok("nevertheless"));
        assert!(deadline.expired() && is_clean().await);
        let fails = timeout(MS, async {
            let _ = catch_cancel(pending::<()>()).await;
            Err::<(), _>("failed")
        });
        assert_eq!(fails.await, Ok(Err("failed")));
        assert!(is_clean().await);
    });
}

#[test]
fn anothers_cancellation_goes_on_with_its_message_also_if_the_time_is_up_as_well() {
    everywhere(|| async {
        for first in ["the deadline", "the other"] {
            let task = spawn(async move {
                // The cleanup lasts long enough for the second of the two to come meanwhile.
                let ended = caught(timeout(10 * MS, async {
                    let cancelled = catch_cancel(pending::<()>()).await.unwrap_err();
                    let _ = catch_cancel(sleep(100 * MS)).await;
                    assert_eq!(me().cancelling(), 2);
                    cancelled.propagate().await
                }))
                .await;
                let count = me().cancelling();
                let _: Result<Result<(), _>, _> = ended.clone();
                (ended.map(|_| ()), count, caught(suspend()).await)
            });
            sleep(if first == "the other" {
                5 * MS
            } else {
                15 * MS
            })
            .await;
            task.cancel("another's");
            let message = (first == "the other").then(|| "another's".to_owned());
            assert_eq!(task.await.unwrap(), (Err(message), 1, Ok(())));
        }
    });
}

#[test]
fn one_that_is_past_strikes_at_the_first_suspension() {
    everywhere(|| async {
        for past in [true, false] {
            let enclose = |deadline: Duration| match past {
                true => Deadline::at(heist::time::now() - deadline),
                false => Deadline::after(Duration::ZERO),
            };
            let log = Log::default();
            let ended = enclose(MS)
                .enclose(async {
                    std::future::ready(()).await;
                    log.say("before");
                    suspend().await;
                    log.say("after");
                })
                .await;
            assert!(ended.is_err());
            assert_eq!(log.told(), ["before"]);
            assert_eq!(enclose(MS).enclose(async { 5 }).await, Ok(5));
            assert!(is_clean().await);
        }
    });
}

#[test]
fn nested_deadlines_each_take_back_their_own() {
    everywhere(|| async {
        for (outer, inner) in [(5, 1), (1, 5), (3, 3), (0, 0)] {
            for depth in [0, 3] {
                let (outside, inside) = (Deadline::after(outer * MS), Deadline::after(inner * MS));
                let ended = outside.enclose(async {
                    let ended = inside
                        .enclose(async {
                            for _ in 0..depth {
                                let _ = catch_cancel(async {}).await;
                            }
                            pending::<()>().await;
                        })
                        .await;
                    suspend().await;
                    ended
                });
                let ended = ended.await;
                if inner < outer {
                    assert!(ended.unwrap().is_err(), "the inner one's affair");
                    assert!(!outside.expired());
                } else {
                    // Both at once: the outer one's request counts at the inner one's end, which lets it pass.
                    assert!(ended.is_err());
                    assert_eq!(inside.expired(), inner == outer);
                }
                assert!(is_clean().await, "{outer} {inner}");
            }
        }
    });
}

#[test]
fn side_by_side_each_is_its_own_affair() {
    everywhere(|| async {
        // All at once; and one while another's cleanup lasts, so that its request counts still.
        let cleans = |nap: u32| async move {
            let cancelled = catch_cancel(pending::<()>()).await.unwrap_err();
            sleep(nap * MS).await;
            cancelled.propagate().await
        };
        let task = spawn(async move {
            let ended: (Result<(), _>, Result<(), _>, Result<(), _>, Result<(), _>) = tokio::join!(
                timeout(5 * MS, pending::<()>()),
                timeout(5 * MS, pending::<()>()),
                timeout(5 * MS, cleans(5)),
                timeout(7 * MS, cleans(0)),
            );
            assert!(ended.0.is_err() && ended.1.is_err() && ended.2.is_err() && ended.3.is_err());
            assert!(is_clean().await);
            // A group's failing child beside a deadline, in either order.
            for child in [4, 5, 6] {
                let group = TaskGroup::run(|group| async move {
                    group
                        .spawn(async move {
                            sleep(child * MS).await;
                            panic!("on purpose");
                        })
                        .unwrap();
                    cleans(3).await
                });
                let (group, late): (Result<(), _>, _) =
                    tokio::join!(group, timeout(5 * MS, pending::<()>()));
                assert_eq!(group.unwrap_err().failures().len(), 1);
                assert!(late.is_err() && is_clean().await);
            }
        });
        task.await.unwrap();
        // A request that was counted beside it at entry, and is gone at its end, does not hide somebody else's.
        let task = spawn(async move {
            let second = async {
                sleep(6 * MS).await;
                timeout(20 * MS, async {
                    let cancelled = catch_cancel(pending::<()>()).await.unwrap_err();
                    // The deadline strikes meanwhile.
                    let _ = catch_cancel(sleep(20 * MS)).await;
                    cancelled.propagate().await
                })
                .await
            };
            let _: (Result<(), _>, Result<(), _>) =
                tokio::join!(timeout(5 * MS, cleans(5)), second);
        });
        sleep(20 * MS).await;
        task.cancel("another's");
        assert_eq!(cancelled(task).await, says("another's"));
    });
}

#[test]
fn inside_a_task_that_was_cancelled_and_went_on_a_deadline_is_one_all_the_same() {
    everywhere(|| async {
        let task = spawn(async {
            let _ = catch_cancel(pending::<()>()).await;
            // The request still counts: nobody has taken it back. Compared with that, nothing has come.
            assert_eq!(me().cancelling(), 1);
            assert!(timeout(MS, pending::<()>()).await.is_err());
            assert_eq!(me().cancelling(), 1);
            suspend().await;
            // Taken back inside, it is lower at the end than at entry.
            let ended = timeout(MS, async {
                me().uncancel();
                pending::<()>().await;
            });
            assert!(ended.await.is_err());
            assert!(is_clean().await);
        });
        settled().await;
        task.cancel("went on");
        task.await.unwrap();
    });
}

#[test]
fn one_request_too_many_taken_back_inside_does_not_go_below_none() {
    everywhere(|| async {
        let ended = timeout(MS, async {
            let cancelled = catch_cancel(pending::<()>()).await.unwrap_err();
            // asyncio's users do that: the deadline's own request is gone then.
            assert_eq!(me().uncancel(), 0);
            cancelled.propagate().await
        });
        let ended: Result<(), _> = ended.await;
        assert!(ended.is_err());
        assert!(is_clean().await);
    });
}

#[test]
fn a_deadline_that_moves_strikes_when_it_is_then_and_not_before() {
    everywhere(|| async {
        let began = heist::time::now();
        let deadline = Deadline::after(10 * MS);
        let mover = deadline.clone();
        let other = spawn(async move {
            sleep(5 * MS).await;
            mover.reschedule(began + 50 * MS).unwrap();
            sleep(25 * MS).await;
            mover.reschedule_after(10 * MS).unwrap();
            assert_eq!(mover.when(), Some(began + 40 * MS));
        });
        assert!(deadline.enclose(pending::<()>()).await.is_err());
        assert_eq!(heist::time::now() - began, 40 * MS);
        other.await.unwrap();
        assert!(deadline.reschedule(None).is_err());
        assert!(deadline.reschedule_after(MS).is_err());
        assert!(is_clean().await);
        let far = timeout_at(began + 41 * MS, sleep(3_600_000 * MS));
        assert!(far.await.is_err() && is_clean().await);
    });
}

#[test]
fn a_deadline_that_strikes_with_a_kept_request_does_not_change_its_message() {
    everywhere(|| async {
        let caught = timeout(Duration::ZERO, async {
            let own = me();
            own.cancel("first");
            own.cancel("second");
            let caught = catch_cancel(pending::<()>()).await.unwrap_err();
            own.uncancel();
            own.uncancel();
            caught.message().map(String::from)
        });
        assert_eq!(caught.await, Ok(Some("second".into())));
        assert!(is_clean().await);
    });
}

// 116720: a cancellation from outside and a failing child at once, in nested groups.

#[test]
fn a_cancellation_and_a_failing_child_at_once_leave_the_count_at_what_was_asked() {
    everywhere(|| async {
        for at in ["cancel first", "child first", "cancel during the cleanup"] {
            let task = spawn(async move {
                let ended = caught(TaskGroup::run(|outer| async move {
                    outer
                        .spawn(async {
                            sleep(10 * MS).await;
                            panic!("outer child");
                        })
                        .unwrap();
                    TaskGroup::run(|inner| async move {
                        inner
                            .spawn(async {
                                let cancelled = catch_cancel(pending::<()>()).await.unwrap_err();
                                sleep(10 * MS).await;
                                let _: () = cancelled.propagate().await;
                            })
                            .unwrap();
                        inner
                            .spawn(async {
                                sleep(10 * MS).await;
                                panic!("inner child");
                            })
                            .unwrap();
                        pending::<()>().await;
                    })
                    .await
                    .map_err(|error| error.failures().len())
                }))
                .await;
                let error = ended.expect("errors win").unwrap_err();
                assert!(!error.failures().is_empty(), "{error}");
                let count = me().cancelling();
                // What was asked of the task and not met yet meets the next suspension; then there is nothing more.
                let _ = caught(suspend()).await;
                (count, caught(suspend()).await, me().cancelling())
            });
            match at {
                "cancel first" => sleep(10 * MS - Duration::from_micros(100)).await,
                "child first" => sleep(10 * MS + Duration::from_micros(100)).await,
                _ => sleep(15 * MS).await,
            }
            task.cancel("outside");
            match task.await {
                Ok(ended) => assert_eq!(ended, (1, Ok(()), 1), "{at}"),
                // All children ended cancelled: nothing failed.
                Err(error) => panic!("{at}: {error}"),
            }
        }
    });
}

// 133747, 155433, and the rest of that kind: whatever is nested in whatever, and whenever it is left, in the end the task's count is the
// number of requests that were made to it.

async fn nest(dice: &mut Dice, depth: u32) {
    let nap = Duration::from_micros(dice.below(150));
    if depth == 0 {
        return sleep(nap).await;
    }
    let inner = Box::pin(nest(dice, depth - 1));
    match depth % 4 {
        0 => drop(timeout(nap, inner).await),
        1 => {
            let _ = TaskGroup::run(|group| async move {
                let failing = group.try_spawn(async move {
                    sleep(nap).await;
                    // Every third one goes well.
                    if nap.as_micros().is_multiple_of(3) {
                        Ok(())
                    } else {
                        Err("a child")
                    }
                });
                failing.unwrap().detach();
                inner.await;
            })
            .await;
        }
        2 => {
            if let Err(cancelled) = catch_cancel(inner).await {
                sleep(nap / 8).await;
                if nap.as_micros().is_multiple_of(2) {
                    cancelled.propagate().await
                }
            }
        }
        _ => tokio::select! {
            () = inner => {}
            _ = timeout(nap, pending::<()>()) => {}
        },
    }
}

#[test]
fn the_count_is_what_was_asked_whatever_is_nested_and_however_it_is_left() {
    limited(|| {
        let runtime = threaded(4);
        for seed in 0..150 {
            let begun = Gate::default();
            let begins = begun.clone();
            let (stop, stopped) = (Gate::default(), Gate::default());
            let (stops, has_stopped) = (stop.clone(), stopped.clone());
            let task = runtime.spawn(async move {
                begins.open();
                let mut dice = Dice::new(seed);
                while !stops.is_open() {
                    let depth = 1 + u32::try_from(dice.below(8)).unwrap();
                    let _ = catch_cancel(nest(&mut dice, depth)).await;
                }
                has_stopped.open();
                // What came last may be kept still.
                let _ = catch_cancel(suspend()).await;
                let after = caught(suspend()).await;
                (me().cancelling(), after.is_ok())
            });
            let reference = task.as_ref();
            begun.block();
            let mut dice = Dice::new(seed + 1000);
            let asked = 5 + dice.below(10);
            for _ in 0..asked {
                std::thread::sleep(Duration::from_micros(dice.below(200)));
                assert!(reference.cancel("outside"));
            }
            stop.open();
            stopped.block();
            let (count, clean) = runtime.block_on(task).unwrap().unwrap();
            assert_eq!(u64::from(count), asked, "seed {seed}");
            assert!(clean);
        }
    });
}

#[test]
fn without_anybody_asking_no_nest_ends_cancelled_or_leaves_a_count() {
    limited(|| {
        let runtime = threaded(4);
        let tasks: Vec<_> = (0..40)
            .map(|seed| {
                runtime.spawn(async move {
                    let mut dice = Dice::new(seed);
                    for _ in 0..10 {
                        let depth = 1 + u32::try_from(dice.below(8)).unwrap();
                        // Not even caught here.
                        nest(&mut dice, depth).await;
                        assert!(is_clean().await, "seed {seed}");
                    }
                })
            })
            .collect();
        for task in tasks {
            runtime.block_on(task).unwrap().unwrap();
        }
    });
}

#[test]
fn a_cancellation_made_by_hand_is_elapsed_only_under_a_deadline_that_struck() {
    everywhere(|| async {
        let task = spawn(async {
            let _: Result<(), _> = timeout(10 * MS, async {
                Cancelled::new("by hand").propagate().await
            })
            .await;
        });
        assert_eq!(cancelled(task).await, says("by hand"));
        assert!(is_clean().await);
    });
}
