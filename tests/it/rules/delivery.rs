//! Rule 3: where in a body a request arrives, and when. Trees of regions.

use super::{Foreign, Log, MS, cancelled, caught, everywhere, me, says, settled, suspend};
use crate::support::{Drops, Gate, limited, seated, threaded};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use heist::task::catch_cancel;
use heist::{promise, sleep, spawn};
use std::future::pending;
use std::pin::pin;

// 3: at once

#[test]
fn it_is_handed_down_before_cancel_returns_through_any_number_of_tasks() {
    everywhere(|| async {
        let (promise, answer) = promise::<()>();
        let mut task = spawn(answer);
        for _ in 0..20 {
            task = spawn(async move { task.await.unwrap() });
        }
        settled().await;
        assert!(!promise.is_done());
        task.cancel("down");
        assert!(promise.is_done(), "before anything has run");
        assert_eq!(cancelled(task).await, says("down"));
    });
}

#[test]
fn it_is_handed_down_at_once_also_when_the_task_was_woken_and_is_not_polled_yet() {
    limited(|| {
        seated()
            .block_on(async {
                let foreign = Foreign::<()>::new();
                let (waits, (promise, answer)) = (foreign.clone(), promise::<()>());
                let task = spawn(async move { tokio::join!(waits, answer) });
                suspend().await;
                suspend().await;
                foreign.nudge();
                task.cancel("woken");
                assert!(promise.is_done());
                // The plain await beside the one that forwards is not interrupted; the cancellation unwinds both.
                assert_eq!(cancelled(task).await, says("woken"));
            })
            .unwrap();
    });
}

#[test]
fn in_a_running_task_it_is_handed_down_when_the_poll_ends() {
    limited(|| {
        let runtime = threaded(2);
        let (running, go) = (Gate::default(), Gate::default());
        let (started, wait) = (running.clone(), go.clone());
        let (promise, mut answer) = promise::<()>();
        let task = runtime.spawn(async move {
            let once = async {
                started.open();
                wait.block();
                pending::<()>().await;
            };
            tokio::join!(biased; &mut answer, once)
        });
        running.block();
        task.cancel("later");
        assert!(!promise.is_done());
        go.open();
        assert_eq!(runtime.block_on(cancelled(task)).unwrap(), says("later"));
        assert!(promise.is_done());
    });
}

// 3: trees

#[test]
fn in_a_join_every_innermost_region_gets_it_and_each_decides_for_itself() {
    everywhere(|| async {
        let task = spawn(async {
            let ended = tokio::join!(
                caught(pending::<()>()),
                caught(sleep(3_600_000 * MS)),
                async {
                    // Declines, and goes on.
                    let first = caught(pending::<()>()).await;
                    sleep(5 * MS).await;
                    first
                },
                // Two deep: the inner one.
                caught(async { caught(pending::<()>()).await }),
            );
            let message = || Err(says("all"));
            assert_eq!(ended, (message(), message(), message(), Ok(message())));
            suspend().await;
            me().cancelling()
        });
        settled().await;
        task.cancel("all");
        assert_eq!(task.await.unwrap(), 1);
    });
}

#[test]
fn a_plain_await_beside_a_region_is_not_interrupted() {
    everywhere(|| async {
        let task = spawn(async {
            tokio::join!(caught(pending::<()>()), async {
                sleep(10 * MS).await;
                "slept"
            })
        });
        settled().await;
        task.cancel("only there");
        assert_eq!(task.await.unwrap(), (Err(says("only there")), "slept"));
    });
}

#[test]
fn a_plain_await_beside_a_forwarding_one_goes_on_if_that_was_suppressed() {
    everywhere(|| async {
        let inner = spawn(async {
            let _ = catch_cancel(pending::<()>()).await;
            1
        });
        let task = spawn(async {
            tokio::join!(inner, async {
                sleep(10 * MS).await;
                2
            })
        });
        settled().await;
        task.cancel("in vain");
        let (inner, slept) = task.await.unwrap();
        assert_eq!((inner.unwrap(), slept), (1, 2));
    });
}

#[test]
fn in_a_select_the_regions_of_all_branches_get_it() {
    everywhere(|| async {
        let log = Log::default();
        let told = log.clone();
        let task = spawn(async move {
            // Polled in this order; the second declines, so neither is the select's answer before the third.
            tokio::select! {
                biased;
                () = async {
                    log.say(format!("first {:?}", caught(pending::<()>()).await));
                    pending().await
                } => unreachable!(),
                () = async {
                    log.say(format!("second {:?}", caught(pending::<()>()).await));
                    pending().await
                } => unreachable!(),
                third = caught(pending::<()>()) => log.say(format!("third {third:?}")),
            }
            "went on"
        });
        settled().await;
        task.cancel("x");
        assert_eq!(task.await.unwrap(), "went on");
        assert_eq!(
            told.told(),
            ["first", "second", "third"].map(|which| format!("{which} Err(Some(\"x\"))"))
        );
    });
}

#[test]
fn a_set_of_regions_is_not_dropped_whole() {
    everywhere(|| async {
        const REGIONS: usize = 100;
        let drops = Drops::default();
        let (held, counted) = (drops.clone(), drops.clone());
        let task = spawn(async move {
            let mut set: FuturesUnordered<_> = (0..REGIONS)
                .map(|n| {
                    let held = held.one();
                    async move {
                        let _held = held;
                        let ended = caught(pending::<()>()).await;
                        // Cleanup, with awaits, in the set.
                        sleep(u32::try_from(n).unwrap() * MS).await;
                        assert_eq!(ended, Err(says("each")));
                        n
                    }
                })
                .collect();
            let mut order = Vec::new();
            while let Some(n) = set.next().await {
                order.push(n);
            }
            order
        });
        settled().await;
        task.cancel("each");
        assert_eq!(task.await.unwrap(), (0..REGIONS).collect::<Vec<_>>());
        assert_eq!(counted.dropped(), REGIONS);
    });
}

#[test]
fn a_set_with_no_region_in_it_is_a_plain_await() {
    everywhere(|| async {
        let drops = Drops::default();
        let counted = drops.clone();
        let task = spawn(async move {
            let mut set: FuturesUnordered<_> = (0..10)
                .map(|_| {
                    let held = drops.one();
                    async move {
                        let _held = held;
                        pending::<()>().await;
                    }
                })
                .collect();
            caught(set.next()).await
        });
        settled().await;
        task.cancel("whole");
        assert_eq!(task.await.unwrap(), Err(says("whole")));
        assert_eq!(counted.dropped(), 10);
    });
}

#[test]
fn a_set_of_handles_forwards_to_all_of_them() {
    everywhere(|| async {
        let task = spawn(async {
            let mut set: FuturesUnordered<_> = (0..10)
                .map(|n| {
                    spawn(async move {
                        let _ = catch_cancel(pending::<()>()).await;
                        n
                    })
                })
                .collect();
            let mut sum = 0;
            while let Some(n) = set.next().await {
                sum += n.unwrap();
            }
            sum
        });
        settled().await;
        task.cancel("each");
        assert_eq!(task.await.unwrap(), 45);
    });
}

#[test]
fn the_region_that_is_innermost_at_the_time_gets_it() {
    everywhere(|| async {
        let task = spawn(async {
            let mut got = Vec::new();
            let outer = caught(async {
                got.push(caught(pending::<()>()).await);
                got.push(caught(pending::<()>()).await);
                pending::<()>().await
            })
            .await;
            got.push(outer);
            got
        });
        settled().await;
        for message in ["a", "b", "c"] {
            task.cancel(message);
            settled().await;
        }
        let messages = ["a", "b", "c"].map(|message| Err(says(message)));
        assert_eq!(task.await.unwrap(), messages);
    });
}

#[test]
fn what_was_polled_once_and_put_by_is_not_asked() {
    everywhere(|| async {
        let (promise, answer) = promise::<u32>();
        let task = spawn(async move {
            let mut answer = pin!(answer);
            let mut region = pin!(caught(pending::<()>()));
            // Polled here, and passed over by the poll after the next suspension. (Within one poll nobody can tell a `select!` that put its
            // branch by from a `join!` that holds it.)
            tokio::select! {
                biased;
                _ = &mut answer => unreachable!(),
                _ = &mut region => unreachable!(),
                () = async {} => {}
            }
            suspend().await;
            let interrupted = caught(pending::<()>()).await;
            (interrupted, answer.await.unwrap())
        });
        settled().await;
        task.cancel("here");
        assert!(!promise.is_done());
        settled().await;
        promise.set(5).unwrap();
        assert_eq!(task.await.unwrap(), (Err(says("here")), 5));
    });
}

#[test]
fn a_request_races_regions_that_come_and_go_and_one_of_them_gets_it() {
    limited(|| {
        let runtime = threaded(4);
        for round in 0..400_u32 {
            let begun = Gate::default();
            let begins = begun.clone();
            let task = runtime.spawn(async move {
                begins.open();
                loop {
                    // Three regions side by side, which end at different polls.
                    let ended = tokio::join!(caught(suspend()), caught(suspend()), async {
                        suspend().await;
                        caught(suspend()).await
                    });
                    let all = [ended.0, ended.1, ended.2];
                    let met = all.into_iter().find_map(Result::err);
                    if let Some(message) = met {
                        // A request that one region has taken does not go back from its neighbours.
                        suspend().await;
                        suspend().await;
                        return (message, me().cancelling());
                    }
                }
            });
            begun.block();
            for _ in 0..round % 50 {
                std::hint::spin_loop();
            }
            assert!(task.cancel("one of you"));
            let ended = runtime.block_on(task).unwrap().unwrap();
            assert_eq!(ended, (says("one of you"), 1));
        }
    });
}
