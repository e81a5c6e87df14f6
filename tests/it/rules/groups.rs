//! Rule 13: task groups.

use super::{Log, MS, cancelled, caught, everywhere, me, says, settled, suspend};
use crate::support::{Drops, limited, threaded};
use heist::task::catch_cancel;
use heist::{TaskGroup, sleep, spawn, timeout};
use std::future::pending;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use futures_util::FutureExt;

/// What the errors of a group say, without the tasks' names.
fn told(error: &heist::GroupError) -> Vec<String> {
    let failures = error.failures().iter();
    failures
        .map(|failure| {
            let text = failure.to_string();
            text.split_once(": ").unwrap().1.to_owned()
        })
        .collect()
}

#[test]
fn a_failing_child_ends_the_body_and_its_siblings_which_may_clean_up() {
    everywhere(|| async {
        let log = Log::default();
        let seen = log.clone();
        let ended = TaskGroup::run(|group| async move {
            let says = log.clone();
            group
                .spawn(async move {
                    let cancelled = catch_cancel(pending::<()>()).await.unwrap_err();
                    sleep(5 * MS).await;
                    says.say("sibling");
                    let _: () = cancelled.propagate().await;
                })
                .unwrap();
            group
                .try_spawn(async {
                    sleep(MS).await;
                    Err::<(), _>("failed")
                })
                .unwrap();
            let ended = caught(pending::<()>()).await;
            assert_eq!((ended, me().cancelling()), (Err(None), 1));
            assert!(group.spawn(async {}).is_err(), "it shuts down");
            log.say("body");
        })
        .await;
        assert_eq!(told(&ended.unwrap_err()), ["failed"]);
        assert_eq!(seen.told(), ["body", "sibling"]);
        assert_eq!(me().cancelling(), 0);
        suspend().await;
    });
}

#[test]
fn a_child_that_fails_while_the_block_waits_ends_the_siblings_and_leaves_no_count() {
    everywhere(|| async {
        let ended = timeout(
            1000 * MS,
            TaskGroup::run(|group| async move {
                group.spawn(pending::<()>()).unwrap();
                group
                    .try_spawn(async {
                        sleep(5 * MS).await;
                        Err::<(), _>("late")
                    })
                    .unwrap();
                "the body's value is lost"
            }),
        )
        .await;
        assert_eq!(told(&ended.unwrap().unwrap_err()), ["late"]);
        assert_eq!(me().cancelling(), 0);
        // The quirk of 3.11: an enclosing timeout could not elapse any more.
        assert!(timeout(MS, pending::<()>()).await.is_err());
        suspend().await;
    });
}

#[test]
fn errors_come_in_the_order_of_ending_and_the_bodys_own_is_last() {
    everywhere(|| async {
        let ended = TaskGroup::try_run(|group| async move {
            for number in [3, 1, 2] {
                group
                    .try_spawn(async move {
                        let _ = catch_cancel(pending::<()>()).await;
                        sleep(number * MS).await;
                        Err::<(), _>(format!("child {number}"))
                    })
                    .unwrap();
            }
            settled().await;
            Err::<(), _>("body")
        })
        .await;
        let error = ended.unwrap_err();
        assert_eq!(told(&error), ["child 1", "child 2", "child 3", "body"]);
        assert!(error.failures()[3].task().is_none());
        assert!(error.failures()[0].task().unwrap().has_failed());
        assert!(!error.is_cancelled());
    });
}

#[test]
fn a_panic_of_the_body_goes_on_when_all_children_have_ended() {
    everywhere(|| async {
        let drops = Drops::default();
        let held = drops.one();
        let block = TaskGroup::run(|group| async move {
            group
                .spawn(async move {
                    let _held = held;
                    let _ = catch_cancel(pending::<()>()).await;
                    sleep(5 * MS).await;
                    panic!("a child, too");
                })
                .unwrap();
            settled().await;
            panic!("the body");
        });
        let ended = AssertUnwindSafe(block).catch_unwind().await;
        let payload = ended.map(|_: Result<(), _>| ()).unwrap_err();
        assert_eq!(payload.downcast_ref::<&str>(), Some(&"the body"));
        assert_eq!(drops.dropped(), 1);
        suspend().await;
        // Before its first await, and before the body was made.
        let block = AssertUnwindSafe(TaskGroup::run(|_| async { panic!("at once") }));
        assert!(
            block
                .catch_unwind()
                .await
                .map(|_: Result<(), _>| ())
                .is_err()
        );
        let block = AssertUnwindSafe(TaskGroup::run(|_| -> std::future::Ready<()> {
            panic!("even earlier")
        }));
        assert!(block.catch_unwind().await.is_err());
    });
}

#[test]
fn a_child_that_panics_is_a_failure_like_any_other() {
    everywhere(|| async {
        let ended = TaskGroup::run(|group| async move {
            group.spawn(async { panic!("on purpose") }).unwrap();
            pending::<()>().await;
        })
        .await;
        let error = ended.unwrap_err();
        assert!(error.failures()[0].is_panic());
        assert_eq!(told(&error), ["panicked: on purpose"]);
    });
}

#[test]
fn a_child_that_is_cancelled_by_itself_is_no_failure() {
    everywhere(|| async {
        let ended = TaskGroup::run(|group| async move {
            let child = group.spawn(pending::<()>()).unwrap();
            let other = group.spawn(async {
                sleep(5 * MS).await;
                5
            });
            settled().await;
            child.cancel("that one");
            (cancelled(child).await, other.unwrap().await.unwrap())
        })
        .await;
        assert_eq!(ended.unwrap(), (says("that one"), 5));
    });
}

#[test]
fn the_owners_cancellation_reaches_the_body_then_the_children_and_goes_on() {
    everywhere(|| async {
        for in_body in [true, false] {
            let log = Log::default();
            let seen = log.clone();
            let owner = spawn(async move {
                let says = log.clone();
                let block = TaskGroup::run(|group| async move {
                    for _ in 0..3 {
                        let log = log.clone();
                        group
                            .spawn(async move {
                                let _ = catch_cancel(pending::<()>()).await;
                                sleep(5 * MS).await;
                                log.say("child");
                            })
                            .unwrap();
                    }
                    if in_body {
                        let cancelled = catch_cancel(pending::<()>()).await.unwrap_err();
                        log.say("body");
                        cancelled.propagate().await
                    }
                });
                let ended = caught(block).await.map(|_| ());
                says.say("after");
                (ended, me().cancelling())
            });
            settled().await;
            owner.cancel("outside");
            assert_eq!(owner.await.unwrap(), (Err(says("outside")), 1));
            let mut expected = vec!["child", "child", "child", "after"];
            if in_body {
                expected.insert(0, "body");
            }
            assert_eq!(seen.told(), expected);
        }
    });
}

#[test]
fn a_body_that_suppresses_the_owners_cancellation_goes_on_with_its_children() {
    everywhere(|| async {
        let owner = spawn(async {
            TaskGroup::run(|group| async move {
                let child = group.spawn(async {
                    sleep(10 * MS).await;
                    5
                });
                let _ = catch_cancel(pending::<()>()).await;
                child.unwrap().await.unwrap()
            })
            .await
            .unwrap()
        });
        settled().await;
        owner.cancel("declined");
        assert_eq!(owner.await.unwrap(), 5);
    });
}

#[test]
fn a_second_cancellation_during_the_end_wait_does_not_leave_the_children_behind() {
    everywhere(|| async {
        let drops = Drops::default();
        let held = drops.one();
        let owner = spawn(async move {
            let block = TaskGroup::run(|group| async move {
                group
                    .spawn(async move {
                        let _held = held;
                        let _ = catch_cancel(pending::<()>()).await;
                        let _ = catch_cancel(sleep(20 * MS)).await;
                    })
                    .unwrap();
            });
            block.await.unwrap();
        });
        settled().await;
        for message in ["first", "second", "third"] {
            owner.cancel(message);
            settled().await;
            assert!(!owner.is_done());
            assert_eq!(drops.dropped(), 0);
        }
        assert_eq!(cancelled(owner).await, says("first"));
        assert_eq!(drops.dropped(), 1);
    });
}

#[test]
fn errors_win_over_the_owners_cancellation() {
    everywhere(|| async {
        let owner = spawn(async {
            let block = TaskGroup::run(|group| async move {
                group
                    .try_spawn(async {
                        let _ = catch_cancel(pending::<()>()).await;
                        Err::<(), _>("instead")
                    })
                    .unwrap();
                pending::<()>().await;
            });
            let error = block.await.unwrap_err();
            (told(&error), me().cancelling())
        });
        settled().await;
        owner.cancel("outside");
        assert_eq!(owner.await.unwrap(), (vec!["instead".to_owned()], 1));
    });
}

#[test]
fn the_groups_own_cancel_ends_all_and_is_no_cancellation_of_the_task() {
    everywhere(|| async {
        for by_child in [false, true] {
            let ended = TaskGroup::run(|group| async move {
                let other = group.clone();
                group.spawn(pending::<()>()).unwrap();
                if by_child {
                    group.spawn(async move { other.cancel() }).unwrap();
                    pending::<()>().await;
                } else {
                    group.cancel();
                    suspend().await;
                    unreachable!("it is asked, too");
                }
            })
            .await;
            let error = ended.unwrap_err();
            assert!(error.is_cancelled());
            assert_eq!(me().cancelling(), 0);
            suspend().await;
        }
        // After the body's end the value stays.
        let ended = TaskGroup::run(|group| async move {
            let other = group.clone();
            group.spawn(pending::<()>()).unwrap();
            let canceller = async move {
                sleep(MS).await;
                other.cancel();
            };
            group.spawn(canceller).unwrap();
            5
        });
        assert_eq!(ended.await.unwrap(), 5);
        suspend().await;
    });
}

#[test]
fn a_group_that_is_over_takes_nobody() {
    everywhere(|| async {
        let (drops, escaped) = (Drops::default(), Arc::new(std::sync::OnceLock::new()));
        let keeps = escaped.clone();
        TaskGroup::run(|group| async move { drop(keeps.set(group)) })
            .await
            .unwrap();
        let group: &TaskGroup = escaped.get().unwrap();
        let held = drops.one();
        let refused = group.spawn(async move { drop(held) }).unwrap_err();
        assert!(!refused.is_full());
        assert_eq!(drops.dropped(), 1, "what it refuses it drops");
        assert!(group.try_spawn(async { Err::<(), _>("never") }).is_err());
        group.cancel();
        assert!(group.is_empty());
        suspend().await;
    });
}

#[test]
fn no_more_than_max_tasks_run_at_a_time() {
    limited(|| {
        let runtime = threaded(4);
        for most in [1, 3] {
            let (now, peak) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
            let reached = peak.clone();
            let block = TaskGroup::options()
                .max_tasks(most)
                .run(|group| async move {
                    for _ in 0..100 {
                        loop {
                            let (now, peak) = (now.clone(), peak.clone());
                            let child = async move {
                                peak.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
                                suspend().await;
                                now.fetch_sub(1, SeqCst);
                            };
                            match group.spawn(child) {
                                Ok(task) => break task.detach(),
                                Err(closed) => assert!(closed.is_full()),
                            }
                            group.room().await;
                        }
                    }
                });
            runtime.block_on(block).unwrap().unwrap();
            assert!((1..=most).contains(&reached.load(SeqCst)));
        }
    });
}

#[test]
fn waiting_for_room_ends_when_the_group_takes_nobody_any_more() {
    everywhere(|| async {
        let block = TaskGroup::options().max_tasks(1).run(|group| async move {
            let other = group.clone();
            group.spawn(pending::<()>()).unwrap();
            let outside = spawn(async move {
                other.room().await;
                other.spawn(async {}).unwrap_err().is_full()
            });
            settled().await;
            group.cancel();
            assert!(!outside.await.unwrap_or(true));
        });
        let _ = block.await;
        suspend().await;
    });
}

#[test]
fn collecting_all_a_failure_ends_nobody() {
    everywhere(|| async {
        let block = TaskGroup::options().collect_all().run(|group| async move {
            for number in 1..=3 {
                group
                    .try_spawn(async move {
                        sleep(number * MS).await;
                        Err::<(), _>(format!("{number}"))
                    })
                    .unwrap();
            }
            let slow = group.spawn(async {
                sleep(10 * MS).await;
                5
            });
            slow.unwrap().await.unwrap()
        });
        assert_eq!(told(&block.await.unwrap_err()), ["1", "2", "3"]);
        assert_eq!(me().cancelling(), 0);
    });
}

#[test]
fn a_block_that_is_given_up_aborts_its_children() {
    everywhere(|| async {
        let drops = Drops::default();
        let held = [drops.one(), drops.one()];
        let block = TaskGroup::run(|group| async move {
            for held in held {
                let stubborn = async move {
                    let _held = held;
                    loop {
                        let _ = catch_cancel(pending::<()>()).await;
                    }
                };
                group.spawn(stubborn).unwrap();
            }
            pending::<()>().await;
        });
        tokio::select! {
            _ = block => unreachable!(),
            () = sleep(5 * MS) => {}
        }
        settled().await;
        assert_eq!(drops.dropped(), 2);
        assert_eq!(heist::all_tasks().len(), 1);
        assert_eq!(me().cancelling(), 0);
    });
}
