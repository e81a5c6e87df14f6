//! Rule 13, where threads race: the end of the body, a child's failure, the owner's cancellation, a deadline.

use super::{MS, caught, me, suspend};
use crate::support::{Drops, Gate, limited, threaded, until};
use heist::{TaskGroup, timeout};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

#[test]
fn a_thousand_groups_race_and_no_child_outlives_its_block() {
    limited(|| {
        let runtime = threaded(4);
        let (drops, alive) = (Drops::default(), Arc::new(AtomicUsize::new(0)));
        let groups: Vec<_> = (0..1000_usize)
            .map(|round| {
                let (drops, alive) = (drops.clone(), alive.clone());
                runtime.spawn(async move {
                    let mine = Arc::new(());
                    let inside = mine.clone();
                    let count = alive.clone();
                    let block = TaskGroup::run(|group| async move {
                        for number in 0..8_usize {
                            let (held, inside) = (drops.one(), inside.clone());
                            let (alive, again) = (count.clone(), group.clone());
                            let child = group.try_spawn(async move {
                                let (_held, _inside) = (held, inside);
                                alive.fetch_add(1, SeqCst);
                                for _ in 0..(number + round) % 5 {
                                    suspend().await;
                                }
                                if number == 3 {
                                    // Spawns on, from a child.
                                    let _ = again.spawn(async { suspend().await });
                                }
                                if (number + round) % 7 == 0 {
                                    return Err("fails");
                                }
                                Ok(())
                            });
                            if child.is_err() {
                                break;
                            }
                        }
                        if round % 3 == 0 {
                            suspend().await;
                        }
                    });
                    let ended = match round % 4 {
                        0 => timeout(MS / 20, block).await.ok(),
                        _ => Some(block.await),
                    };
                    // All futures are gone; what a `timeout` ended has waited for them, too.
                    assert_eq!(Arc::strong_count(&mine), 1, "round {round}");
                    // Errors win over a cancellation, which then still counts.
                    let asked = u32::from(round % 10 == 9);
                    assert!(me().cancelling() <= asked, "round {round}");
                    suspend().await;
                    ended.is_some_and(|ended| ended.is_ok())
                })
            })
            .collect();
        for (round, group) in groups.iter().enumerate() {
            if round % 10 == 9 {
                group.cancel("outside");
            }
        }
        for group in groups {
            if let Err(error) = runtime.block_on(group).unwrap() {
                assert!(error.is_cancelled(), "{error}");
            }
        }
        until("all ended", || runtime.metrics().tasks_alive == 0);
        assert_eq!(drops.made(), drops.dropped());
    });
}

#[test]
fn a_child_that_fails_races_the_end_of_the_body_and_the_owners_cancellation() {
    limited(|| {
        let runtime = threaded(4);
        for round in 0..300_u32 {
            let (begun, go) = (Gate::default(), Gate::default());
            let (begins, passed) = (begun.clone(), go.passed());
            let owner = runtime.spawn(async move {
                begins.open();
                let block = TaskGroup::run(|group| async move {
                    let fails = go.clone();
                    group
                        .try_spawn(async move {
                            fails.passed().await;
                            Err::<(), _>("fails")
                        })
                        .unwrap();
                    if round % 2 == 0 {
                        passed.await;
                    }
                    go.open();
                });
                let ended = caught(block).await.map(|ended| ended.is_err());
                let count = me().cancelling();
                let _ = caught(suspend()).await;
                (ended, count, caught(suspend()).await)
            });
            begun.block();
            if round % 2 == 0 {
                std::thread::sleep(MS / 20);
            }
            let accepted = owner.cancel("outside");
            match runtime.block_on(owner).unwrap() {
                // A late request stands against the value.
                Ok((ended, count, clean)) => {
                    assert!(accepted || count == 0);
                    // Either the child was cancelled before it failed, or its error wins.
                    assert!(matches!(ended, Ok(true) | Err(Some(_))), "{ended:?}");
                    // One that had not come by then may be what the last look met.
                    assert!(count == 0 || count == 1 && clean.is_ok());
                }
                Err(error) => assert!(error.is_cancelled()),
            }
        }
    });
}
