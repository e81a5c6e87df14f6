//! Submit, park, wake, steal.

use super::{Doorbell, explore, here};
use heist::task::yield_now;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

#[test]
fn what_threads_outside_submit_runs_once() {
    explore(|scene| async move {
        let runs: Arc<Vec<AtomicUsize>> = Arc::new((0..12).map(|_| AtomicUsize::new(0)).collect());
        let threads: Vec<_> = (0..3)
            .map(|outside| {
                let (scene, handle, runs) = (scene.clone(), here(), runs.clone());
                scene.clone().thread(move || {
                    let tasks = (0..4).map(|n| {
                        scene.dawdle(8);
                        let (life, runs) = (scene.life(), runs.clone());
                        handle.spawn(async move {
                            let _life = life;
                            runs[4 * outside + n].fetch_add(1, SeqCst);
                        })
                    });
                    tasks.collect::<Vec<_>>()
                })
            })
            .collect();
        for thread in threads {
            for task in thread.await {
                task.await.unwrap();
            }
        }
        assert!(runs.iter().all(|runs| runs.load(SeqCst) == 1), "{runs:?}");
    });
}

#[test]
fn whoever_waits_for_the_last_submission_is_served() {
    explore(|scene| async move {
        let handle = here();
        // One by one: each finds the workers about to sleep.
        let thread = scene.thread(move || {
            (0..6)
                .map(|n| {
                    let submitted = heist::run_coroutine_threadsafe(async move { n }, &handle);
                    submitted.result(None).unwrap()
                })
                .sum::<u32>()
        });
        assert_eq!(thread.await, 15);
    });
}

#[test]
fn every_wake_is_followed_by_a_poll() {
    explore(|scene| async move {
        let bell = Arc::new(Doorbell::default());
        let waits = {
            let bell = bell.clone();
            scene.spawn(async move { bell.rings(6).await })
        };
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let (scene, bell) = (scene.clone(), bell.clone());
                scene.clone().thread(move || {
                    for _ in 0..3 {
                        scene.dawdle(4);
                        bell.ring();
                    }
                })
            })
            .collect();
        waits.await.unwrap();
        for thread in threads {
            thread.await;
        }
    });
}

#[test]
fn wakes_of_one_moment_are_one_poll() {
    explore(|scene| async move {
        let bell = Arc::new(Doorbell::default());
        let waits = {
            let bell = bell.clone();
            scene.spawn(async move { bell.rings(1).await })
        };
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let (scene, bell) = (scene.clone(), bell.clone());
                scene.clone().thread(move || {
                    for _ in 0..4 {
                        scene.dawdle(3);
                        bell.shake();
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.await;
        }
        bell.ring();
        waits.await.unwrap();
        // The first, two for each shake (the second may meet the poll of the first), and the last.
        assert!(bell.polls() <= 2 + 2 * 12, "{} polls", bell.polls());
    });
}

#[test]
fn a_burst_is_shared_and_nothing_of_it_lost() {
    explore(|scene| async move {
        let inner = scene.clone();
        let burst = scene.spawn(async move {
            let tasks: Vec<_> = (0..20)
                .map(|n: usize| {
                    let scene = inner.clone();
                    inner.spawn(async move {
                        scene.yields(2).await;
                        n
                    })
                })
                .collect();
            let mut sum = 0;
            for task in tasks {
                sum += task.await.unwrap();
            }
            sum
        });
        assert_eq!(burst.await.unwrap(), 190);
        assert_eq!(scene.living(), 0);
    });
}

#[test]
fn two_tasks_hand_a_ball_to_and_fro_among_others() {
    explore(|scene| async move {
        let (there, back) = (heist::sync::Queue::new(1), heist::sync::Queue::new(1));
        let (there, back) = (Arc::new(there), Arc::new(back));
        let other = {
            let (there, back) = (there.clone(), back.clone());
            scene.spawn(async move {
                for _ in 0..5 {
                    let ball: u32 = there.get().await.unwrap();
                    back.put(ball + 1).await.unwrap();
                }
            })
        };
        let idlers: Vec<_> = (0..3)
            .map(|_| {
                scene.spawn(async {
                    for _ in 0..5 {
                        yield_now().await;
                    }
                })
            })
            .collect();
        let mut ball = 0;
        for _ in 0..5 {
            there.put(ball).await.unwrap();
            ball = back.get().await.unwrap();
        }
        assert_eq!(ball, 5);
        other.await.unwrap();
        for idler in idlers {
            idler.await.unwrap();
        }
    });
}

#[test]
fn tasks_of_tasks_of_tasks_all_end() {
    fn tree(scene: super::Scene, depth: u32) -> heist::Task<u32> {
        let inner = scene.clone();
        scene.spawn(async move {
            if depth == 0 {
                return 1;
            }
            let (left, right) = (tree(inner.clone(), depth - 1), tree(inner, depth - 1));
            left.await.unwrap() + right.await.unwrap()
        })
    }
    explore(|scene| async move {
        assert_eq!(tree(scene.clone(), 4).await.unwrap(), 16);
        assert_eq!(scene.living(), 0);
    });
}
