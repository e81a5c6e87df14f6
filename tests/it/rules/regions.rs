//! Rules 9 and 10: how a region is left, and what goes back to the task.

use super::{Foreign, Log, MS, cancelled, caught, everywhere, me, says, settled, suspend};
use crate::support::{Drops, limited, seated, threaded};
use futures_util::FutureExt;
use futures_util::stream::{FuturesUnordered, StreamExt};
use heist::task::catch_cancel;
use heist::{Cancelled, TaskGroup, sleep, spawn, timeout};
use std::future::pending;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

// 9

/// In each way of leaving, the request that a region has received and not taken meets the task's next suspension, once, and counts once.
#[test]
fn a_request_that_a_region_leaves_behind_goes_back_to_the_task() {
    limited(|| {
        seated()
            .block_on(async {
                for way in ["value", "drop", "panic", "outer propagates", "nested"] {
                    let foreign = Foreign::new();
                    let waits = foreign.clone();
                    let task = spawn(async move {
                        let left = catch_cancel(pending::<()>());
                        match way {
                            "value" => assert_eq!(caught(waits).await, Ok(())),
                            "nested" => {
                                let inner = caught(caught(caught(waits))).await;
                                assert_eq!(inner, Ok(Ok(Ok(()))));
                            }
                            // The region is not polled again before it is dropped.
                            "drop" => tokio::select! {
                                biased;
                                () = waits => {}
                                _ = left => unreachable!(),
                            },
                            "panic" => {
                                let panics = catch_cancel(async {
                                    waits.await;
                                    panic!("on purpose");
                                });
                                let caught = AssertUnwindSafe(panics).catch_unwind().await;
                                assert!(caught.is_err());
                            }
                            _ => {
                                let ended = caught(async {
                                    let own = async {
                                        waits.await;
                                        Cancelled::new("own").propagate().await
                                    };
                                    tokio::join!(biased; own, left)
                                });
                                assert_eq!(ended.await.map(drop), Err(says("own")));
                            }
                        }
                        assert_eq!(me().cancelling(), 1, "{way}");
                        let next = caught(suspend()).await;
                        (next, caught(suspend()).await, me().cancelling())
                    });
                    suspend().await;
                    suspend().await;
                    // Woken first, so that the region's waker and the leaf's are in one poll.
                    foreign.give(());
                    task.cancel("left behind");
                    let (next, after, count) = task.await.unwrap();
                    // The region that was in the way took it in the poll in which all of that happened; what unwinds goes first.
                    let expected = match way {
                        "outer propagates" if next.is_ok() => Ok(()),
                        _ => Err(says("left behind")),
                    };
                    assert_eq!((next, after, count), (expected, Ok(()), 1), "{way}");
                }
            })
            .unwrap();
    });
}

#[test]
fn a_regions_own_request_goes_with_it_and_nobody_elses() {
    limited(|| {
        seated()
            .block_on(async {
                // A deadline that has struck, and a value that comes nevertheless: nothing is kept, nothing counts.
                for asked in [false, true] {
                    let foreign = Foreign::new();
                    let waits = foreign.clone();
                    let task = spawn(async move {
                        let ended = timeout(Duration::ZERO, async {
                            let first = caught(pending::<()>()).await;
                            assert_eq!(first, Err(None), "the deadline has no message");
                            assert_eq!(me().cancelling(), 1);
                            waits.await
                        });
                        assert_eq!(ended.await, Ok(5));
                        let count = me().cancelling();
                        (count, caught(suspend()).await)
                    });
                    for _ in 0..5 {
                        suspend().await;
                    }
                    foreign.give(5);
                    if asked {
                        task.cancel("another's");
                        assert_eq!(task.await.unwrap(), (1, Err(says("another's"))));
                    } else {
                        assert_eq!(task.await.unwrap(), (0, Ok(())));
                    }
                }
            })
            .unwrap();
    });
}

#[test]
fn a_late_timer_cancels_nothing() {
    limited(|| {
        for workers in [1, 2, 4] {
            let runtime = threaded(workers);
            let tasks: Vec<_> = (0..8_u32)
                .map(|task| {
                    runtime.spawn(async move {
                        for round in 0..100_u32 {
                            let nap =
                                Duration::from_micros(u64::from((task * 37 + round * 13) % 60));
                            let ended = timeout(nap, sleep(Duration::from_micros(30))).await;
                            assert_eq!(me().cancelling(), 0);
                            suspend().await;
                            assert_eq!(me().cancelling(), 0);
                            let _ = ended;
                        }
                        "not cancelled"
                    })
                })
                .collect();
            for task in tasks {
                assert_eq!(runtime.block_on(task).unwrap().unwrap(), "not cancelled");
            }
        }
    });
}

#[test]
fn a_region_that_is_dropped_or_panics_while_it_asks_takes_its_request_back() {
    everywhere(|| async {
        let task = spawn(async {
            // Dropped: the deadline has struck, and what it encloses cleans up for ever.
            let refuses = async {
                loop {
                    let _ = catch_cancel(pending::<()>()).await;
                }
            };
            tokio::select! {
                _ = timeout(MS, refuses) => unreachable!(),
                () = sleep(10 * MS) => {}
            }
            assert_eq!(me().cancelling(), 0);
            suspend().await;
            // A panic out of it.
            let panics = timeout(MS, async {
                let _ = catch_cancel(pending::<()>()).await;
                panic!("instead of ending");
            });
            let ended = AssertUnwindSafe(panics).catch_unwind().await;
            assert!(ended.is_err());
            assert_eq!(me().cancelling(), 0);
            suspend().await;
            // A propagation out of it by something else than its own request is somebody else's.
            let unwinds = caught(timeout(10 * MS, async {
                Cancelled::new("made by hand").propagate().await
            }));
            // asyncio's timeout, too, lets it pass: it has not expired.
            assert_eq!(
                unwinds.await.map(|_: Result<(), _>| ()),
                Err(says("made by hand"))
            );
            assert_eq!(me().cancelling(), 0);
            suspend().await;
            "not cancelled"
        });
        assert_eq!(task.await.unwrap(), "not cancelled");
    });
}

#[test]
fn a_group_that_is_left_in_any_way_takes_its_request_back() {
    everywhere(|| async {
        let task = spawn(async {
            for way in ["value", "panic", "own end", "drop"] {
                let group = TaskGroup::run(|group| async move {
                    group.spawn(async { panic!("child") }).unwrap();
                    let asked = caught(pending::<()>()).await;
                    assert_eq!(asked, Err(None), "the group's request has no message");
                    match way {
                        "value" => {}
                        "panic" => panic!("body"),
                        "drop" => pending().await,
                        _ => Cancelled::new("own").propagate().await,
                    }
                });
                let both = async {
                    tokio::select! {
                        ended = group => assert!(ended.is_err()),
                        () = sleep(10 * MS) => assert_eq!(way, "drop"),
                    }
                };
                let ended = AssertUnwindSafe(both).catch_unwind().await;
                assert_eq!(ended.is_err(), way == "panic");
                assert_eq!(me().cancelling(), 0, "{way}");
                suspend().await;
            }
            "not cancelled"
        });
        assert_eq!(task.await.unwrap(), "not cancelled");
    });
}

#[test]
fn a_region_may_be_polled_by_one_task_and_end_in_another() {
    everywhere(|| async {
        let mut region: Pin<Box<dyn Future<Output = _> + Send>> =
            Box::pin(timeout(1000 * MS, catch_cancel(pending::<()>())));
        // Polled once by a task that then ends.
        (region,) = spawn(async move {
            let mut region = region;
            assert!(poll_once(&mut region).await.is_pending());
            (region,)
        })
        .await
        .unwrap();
        // Polled once by a task that goes on, and is cancelled: that is not for this region.
        let (send, receive) = async_channel::bounded(1);
        let first = spawn(async move {
            assert!(poll_once(&mut region).await.is_pending());
            send.send(region).await.unwrap();
            pending::<()>().await;
        });
        let region = receive.recv().await.unwrap();
        let second = spawn(async move {
            let ended = region.await.unwrap();
            suspend().await;
            (ended.unwrap_err(), me().cancelling())
        });
        settled().await;
        first.cancel("first");
        assert_eq!(cancelled(first).await, says("first"));
        settled().await;
        assert!(!second.is_done());
        second.cancel("second");
        let (ended, count) = second.await.unwrap();
        assert_eq!((ended.message(), count), (Some("second"), 1));
    });
}

async fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut *future).poll(cx))).await
}

#[test]
fn regions_inside_one_that_ends_leave_before_it_and_their_destructors_see_the_task() {
    everywhere(|| async {
        let log = Log::default();
        let (drops, told) = (Drops::default(), log.clone());
        let held = drops.one();
        let task = spawn(async move {
            let outer = caught(async {
                let _outer = log.at_drop("outer");
                let inner = catch_cancel(async {
                    let _inner = log.at_drop("inner");
                    let _held = held;
                    pending::<()>().await;
                });
                let own = async {
                    sleep(5 * MS).await;
                    Cancelled::new("by hand").propagate().await
                };
                let ((), ended) = tokio::join!(own, inner);
                ended
            });
            let ended = outer.await.map(drop);
            log.say("after");
            ended
        });
        assert_eq!(task.await.unwrap(), Err(says("by hand")));
        assert_eq!(told.told(), ["inner", "outer", "after"]);
        assert_eq!(drops.dropped(), 1);
    });
}

// 10

#[test]
fn propagate_ends_the_nearest_region_and_uses_up_no_request() {
    everywhere(|| async {
        let task = spawn(async {
            me().cancel("kept");
            // The unwinding goes first, though it is pending with a request kept.
            let inner = caught(Cancelled::new("own").propagate()).await;
            assert_eq!(inner.map(drop), Err(says("own")));
            assert_eq!(me().cancelling(), 1);
            let next = caught(suspend()).await;
            (next, caught(suspend()).await)
        });
        assert_eq!(task.await.unwrap(), (Err(says("kept")), Ok(())));
        // Without any region it is the task that ends.
        let task = spawn(async {
            let _: () = Cancelled::new("by hand").propagate().await;
        });
        let seen = task.as_ref();
        assert_eq!(cancelled(task).await, says("by hand"));
        assert_eq!(seen.cancelling(), 0, "nobody asked it");
        // The nearest, not the outermost; and again from where it was caught.
        let task = spawn(async {
            caught(async {
                let inner = catch_cancel(Cancelled::new("once").propagate()).await;
                inner.map(drop).unwrap_err().propagate().await
            })
            .await
            .map(drop)
        });
        assert_eq!(task.await.unwrap(), Err(says("once")));
    });
}

#[test]
fn propagate_unwinds_all_that_stands_beside_it_in_the_region() {
    everywhere(|| async {
        let drops = Drops::default();
        let held = [(); 4].map(|()| drops.one());
        let task = spawn(async move {
            let [a, b, c, d] = held;
            let joined = caught(async {
                tokio::join!(
                    async {
                        let _a = a;
                        caught(pending::<()>()).await
                    },
                    async {
                        let _b = b;
                        sleep(MS).await;
                        Cancelled::new("join").propagate().await
                    },
                )
            })
            .await;
            assert_eq!(joined.map(drop), Err(says("join")));
            let set = caught(async {
                let waits: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(async {
                    let _c = c;
                    pending().await
                });
                let ends: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(async {
                    let _d = d;
                    sleep(MS).await;
                    Cancelled::new("set").propagate().await
                });
                let set: FuturesUnordered<_> = [waits, ends].into_iter().collect();
                set.collect::<Vec<()>>().await
            })
            .await;
            assert_eq!(set, Err(says("set")));
            suspend().await;
        });
        task.await.unwrap();
        assert_eq!(drops.dropped(), 4);
    });
}

#[test]
fn regions_work_in_a_foreign_executor_where_nobody_asks() {
    let mut cx = Context::from_waker(Waker::noop());
    let mut poll =
        |future: Pin<&mut dyn Future<Output = Result<(), Option<String>>>>| future.poll(&mut cx);
    let mut value = Box::pin(caught(async {}));
    assert_eq!(poll(value.as_mut()), Poll::Ready(Ok(())));
    let mut unwinds = Box::pin(caught(async {
        Cancelled::new("by hand").propagate().await
    }));
    assert_eq!(poll(unwinds.as_mut()), Poll::Ready(Err(says("by hand"))));
    let mut waits = Box::pin(caught(pending::<()>()));
    assert!(poll(waits.as_mut()).is_pending());
    // Without a region there is nothing to unwind, which is said.
    let nothing = std::panic::catch_unwind(|| {
        let mut cx = Context::from_waker(Waker::noop());
        let mut future = Box::pin(Cancelled::new("lost").propagate());
        let _ = future.as_mut().poll(&mut cx);
    });
    assert!(nothing.is_err());
}
