//! gather, wait, wait_for, as_completed, shield, groups: who wins, and that nobody is lost.

use super::{Life, Scene, explore};
use heist::{
    ReturnWhen, Task, TaskGroup, TaskRef, as_completed, catch_cancel, gather, shield, sleep, wait,
    wait_for, wait_for_body,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

/// Tasks that give their number and a life, after some suspensions.
fn numbers(scene: &Scene, count: usize) -> Vec<Task<(usize, Life)>> {
    let one = |n| {
        let inner = scene.clone();
        scene.spawn(async move {
            inner.yields(3).await;
            (n, inner.life())
        })
    };
    (0..count).map(one).collect()
}

fn cancel_outside(scene: &Scene, task: TaskRef) -> heist::sim::Thread<bool> {
    let inner = scene.clone();
    scene.thread(move || {
        inner.dawdle(15);
        task.cancel("outside")
    })
}

#[test]
fn a_gather_ends_with_all_or_with_the_first_cancelled() {
    explore(|scene| async move {
        let tasks = numbers(&scene, 4);
        let children: Vec<_> = tasks.iter().map(Task::as_ref).collect();
        let asks = cancel_outside(&scene, children[2].clone());
        let gathered = gather(tasks).await;
        let accepted = asks.await;
        match gathered {
            Ok(values) => {
                assert!(!accepted);
                assert!(values.iter().map(|(n, _)| *n).eq(0..4));
            }
            Err(error) => assert!(accepted && error.cancel_message() == Some("outside")),
        }
        // The others run on.
        for (n, child) in children.iter().enumerate() {
            child.ended().await;
            assert_eq!(child.is_cancelled(), n == 2 && accepted);
        }
        // What the gather has no use for any more is dropped by who ends the child.
        sleep(MS).await;
        assert_eq!(scene.living(), 0);
    });
}

#[test]
fn a_gather_ends_while_it_begins() {
    explore(|scene| async move {
        // One that is cancelled meanwhile, some to be attended after it, and one that has ended before.
        let mut tasks: Vec<Task<()>> = Vec::new();
        for _ in 0..4 {
            tasks.push(scene.spawn(std::future::pending()));
        }
        let ended = scene.spawn(async {});
        ended.ended().await;
        tasks.push(ended);
        let children: Vec<_> = tasks.iter().map(Task::as_ref).collect();
        let inner = scene.clone();
        let cancelled = children[0].clone();
        let asks = scene.thread(move || {
            inner.dawdle(6);
            cancelled.cancel("meanwhile")
        });
        let error = gather(tasks).await.unwrap_err();
        assert_eq!(error.cancel_message(), Some("meanwhile"));
        assert!(asks.await);
        for child in &children[1..4] {
            assert!(child.cancel(None), "the others run on");
            child.ended().await;
        }
        sleep(MS).await;
        assert_eq!(scene.living(), 0);
    });
}

#[test]
fn a_cancelled_gather_takes_its_children_with_it() {
    explore(|scene| async move {
        let cleaned = Arc::new(AtomicUsize::new(0));
        let tasks: Vec<_> = (0..3)
            .map(|_| {
                let (inner, cleaned) = (scene.clone(), cleaned.clone());
                scene.spawn(async move {
                    let never = catch_cancel(std::future::pending::<()>()).await;
                    inner.yields(2).await;
                    cleaned.fetch_add(1, SeqCst);
                    never.unwrap_err().propagate().await
                })
            })
            .collect();
        let tasks: Vec<Task<()>> = tasks;
        let children: Vec<_> = tasks.iter().map(Task::as_ref).collect();
        let waiter = scene.spawn(async move { gather(tasks).await.map(drop) });
        sleep(MS).await;
        let asks = cancel_outside(&scene, waiter.as_ref());
        let again = cancel_outside(&scene, waiter.as_ref());
        let error = waiter.await.unwrap_err();
        assert_eq!(error.cancel_message(), Some("outside"));
        assert!(asks.await | again.await);
        // It ends with the first; all were asked.
        for child in &children {
            child.ended().await;
            assert!(child.is_cancelled(), "{child:?}");
        }
        assert!(cleaned.load(SeqCst) <= 3);
        assert_eq!(scene.living(), 0);
    });
}

#[test]
fn wait_parts_the_done_from_the_pending() {
    explore(|scene| async move {
        let mut tasks = numbers(&scene, 4);
        let asks = cancel_outside(&scene, tasks[1].as_ref());
        let mut seen = Vec::new();
        while !tasks.is_empty() {
            let before = tasks.len();
            let waits = wait(&mut tasks).until(ReturnWhen::FirstCompleted);
            let done = waits.await.unwrap();
            assert!(!done.is_empty() && done.len() + tasks.len() == before);
            for task in done {
                assert!(task.is_done());
                seen.push(task.await.map_or(1, |(n, _life)| n));
            }
        }
        asks.await;
        seen.sort_unstable();
        assert_eq!(seen, [0, 1, 2, 3]);
        assert_eq!(scene.living(), 0);
    });
}

#[test]
fn a_wait_that_is_cancelled_loses_no_handle() {
    explore(|scene| async move {
        let waiter = {
            let mut tasks = numbers(&scene, 3);
            scene.spawn(async move {
                let done = catch_cancel(async { wait(&mut tasks).await.unwrap() }).await;
                let done = done.unwrap_or_default();
                heist::current_task().unwrap().uncancel();
                let mut count = 0;
                for task in done.into_iter().chain(tasks) {
                    task.ended().await;
                    count += 1;
                }
                count
            })
        };
        let asks = cancel_outside(&scene, waiter.as_ref());
        match waiter.await {
            Ok(count) => assert_eq!(count, 3),
            // Before its first poll, or after the region.
            Err(error) => assert_eq!(error.cancel_message(), Some("outside")),
        }
        asks.await;
        sleep(MS).await;
        assert_eq!(scene.living(), 0);
    });
}

#[test]
fn as_completed_gives_each_child_once_to_one_of_many() {
    explore(|scene| async move {
        let completed = as_completed(numbers(&scene, 4));
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let completed = completed.clone();
                scene.spawn(async move {
                    let mut seen = Vec::new();
                    while let Some(child) = completed.next().await {
                        let (index, outcome) = child.unwrap();
                        let (n, _life) = outcome.unwrap();
                        assert_eq!(index, n);
                        seen.push(n);
                    }
                    seen
                })
            })
            .collect();
        drop(completed);
        let mut seen = Vec::new();
        for reader in readers {
            seen.extend(reader.await.unwrap());
        }
        seen.sort_unstable();
        assert_eq!(seen, [0, 1, 2, 3]);
        assert_eq!(scene.living(), 0);
    });
}

#[test]
fn a_cancelled_next_takes_no_child() {
    explore(|scene| async move {
        let completed = as_completed(numbers(&scene, 3));
        let hasty = {
            let completed = completed.clone();
            scene.spawn(async move { completed.next().await.unwrap().unwrap() })
        };
        let asks = cancel_outside(&scene, hasty.as_ref());
        let outcome = hasty.await;
        let accepted = asks.await;
        let mut seen = Vec::new();
        while let Some(child) = completed.next().await {
            seen.push(child.unwrap().0);
        }
        match outcome {
            Ok((index, child)) => {
                drop(child);
                assert!(!accepted && !seen.contains(&index));
                assert_eq!(seen.len(), 2);
            }
            // It counts as a call, unless it was not polled; a value that it had taken goes with the task.
            Err(error) => assert!(error.is_cancelled() && (2..=3).contains(&seen.len())),
        }
        // With the children that were not given.
        drop(completed);
        sleep(MS).await;
        assert_eq!(scene.living(), 0);
    });
}

#[test]
fn what_is_shielded_is_never_lost() {
    explore(|scene| async move {
        let inner = scene.clone();
        let saved = scene
            .spawn(async move {
                inner.yields(4).await;
                Arc::new(inner.life())
            })
            .shared();
        let hasty = {
            let saved = saved.clone();
            scene.spawn(async move { shield(saved).await.map(drop) })
        };
        let asks = cancel_outside(&scene, hasty.as_ref());
        let outcome = hasty.await;
        assert_eq!(outcome.is_err(), asks.await);
        if let Ok(shielded) = outcome {
            shielded.unwrap();
        }
        drop(saved.await.unwrap());
        // What was for the shield is dropped by who ends the task.
        sleep(MS).await;
        assert_eq!(scene.living(), 0);
    });
}

#[test]
fn wait_for_gives_the_value_or_has_ended_the_task() {
    explore(|scene| async move {
        for n in 1..4 {
            let inner = scene.clone();
            let task = scene.spawn(async move {
                sleep(2 * MS).await;
                inner.yields(n % 2).await;
                inner.life()
            });
            let end = task.as_ref();
            let outcome = wait_for(task, n as u32 * MS).await;
            // In either case it is not left running.
            assert!(end.is_done());
            match outcome {
                Ok(ended) => {
                    drop(ended.unwrap());
                    assert!(n >= 2, "it came before its time");
                }
                Err(_) => assert!(end.is_cancelled() && n <= 2),
            }
            assert_eq!(scene.living(), 0);
        }
    });
}

#[test]
fn wait_for_is_cancelled_while_its_time_is_up() {
    explore(|scene| async move {
        let inner = scene.clone();
        let waiter = scene.spawn(async move {
            let body = async move {
                let _life = inner.life();
                let never = catch_cancel(std::future::pending::<()>()).await;
                inner.yields(3).await;
                never.unwrap_err().propagate().await
            };
            let outcome: Result<Result<(), _>, _> = wait_for_body(body, 2 * MS).await;
            assert!(outcome.is_err());
            sleep(5 * MS).await;
        });
        let asks = {
            let waiter = waiter.as_ref();
            scene.spawn(async move {
                sleep(2 * MS).await;
                waiter.cancel("in time")
            })
        };
        let error = waiter.await.unwrap_err();
        assert!(asks.await.unwrap(), "it ends later");
        assert_eq!(error.cancel_message(), Some("in time"));
        sleep(MS).await;
        assert_eq!(scene.living(), 0);
    });
}

#[test]
fn a_group_ends_after_its_children_and_tells_of_the_failure() {
    explore(|scene| async move {
        let inner = scene.clone();
        let outcome = TaskGroup::run(async |group| {
            for n in 0..3 {
                let (life, child) = (inner.life(), inner.clone());
                let spawned = group.try_spawn(async move {
                    let _life = life;
                    child.yields(3).await;
                    if n > 0 {
                        std::future::pending::<()>().await;
                    }
                    Err::<(), _>("the first")
                });
                // The first may have failed by now, and the group be closing.
                spawned.map(drop).ok();
            }
            std::future::pending::<()>().await;
        });
        let error = outcome.await.unwrap_err();
        assert_eq!(error.failures().len(), 1);
        assert_eq!(scene.living(), 0, "children live on after the group");
        assert_eq!(
            heist::current_task().unwrap().cancelling(),
            0,
            "a count leaks"
        );
    });
}

#[test]
fn a_groups_body_ends_while_a_child_fails() {
    explore(|scene| async move {
        let inner = scene.clone();
        let task = scene.spawn(async move {
            let outcome = TaskGroup::run(async |group| {
                let child = inner.clone();
                let fails = group.try_spawn(async move {
                    child.yields(3).await;
                    Err::<(), _>("fails")
                });
                drop(fails);
                inner.yields(3).await;
            });
            let error = outcome.await.unwrap_err();
            assert_eq!(error.failures().len(), 1);
            let count = heist::current_task().unwrap().cancelling();
            assert_eq!(count, 0, "a count leaks");
            // Nothing is left over that would meet this.
            heist::task::yield_now().await;
        });
        task.await.unwrap();
        assert_eq!(scene.living(), 0);
    });
}

#[test]
fn a_group_is_cancelled_while_a_child_fails_and_another_is_spawned() {
    explore(|scene| async move {
        let inner = scene.clone();
        let owner = scene.spawn(async move {
            let lives = inner.clone();
            let outcome = TaskGroup::run(async |group| {
                let (seeds, more) = (group.clone(), inner.clone());
                let spawner = group.spawn(async move {
                    for _ in 0..3 {
                        more.yields(1).await;
                        let life = more.life();
                        let child = seeds.spawn(async move {
                            let _life = life;
                            std::future::pending::<()>().await;
                        });
                        if child.is_err() {
                            return;
                        }
                    }
                });
                let failing = inner.clone();
                let fails = group.try_spawn(async move {
                    failing.yields(4).await;
                    Err::<(), _>("fails")
                });
                drop((spawner, fails));
            });
            let outcome = outcome.await;
            let error = outcome.unwrap_err();
            // Only this task itself is left.
            assert!(lives.living() <= 1, "children live on after the group");
            assert!(error.failures().len() == 1, "{error}");
        });
        let asks = cancel_outside(&scene, owner.as_ref());
        match owner.await {
            Ok(()) => {}
            Err(error) => {
                assert!(!error.is_panic(), "{error}");
                assert_eq!(error.cancel_message(), Some("outside"));
            }
        }
        asks.await;
        assert_eq!(scene.living(), 0);
    });
}

#[test]
fn a_gather_of_gathers_with_a_shared_child() {
    explore(|scene| async move {
        let shared = scene.spawn(async { 5 }).shared();
        let inner = scene.clone();
        let slow = scene.spawn(async move {
            inner.yields(3).await;
            6
        });
        let slow = slow.shared();
        let left = gather([shared.clone(), slow.clone()]).start();
        let right = gather([slow.clone(), shared, slow]).start();
        let all = gather([left, right]).await.unwrap();
        assert_eq!(all, [vec![5, 6], vec![6, 5, 6]]);
        assert_eq!(scene.living(), 0);
    });
}
