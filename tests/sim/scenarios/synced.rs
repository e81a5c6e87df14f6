//! Locks, semaphores, events, conditions, barriers and queues, with waiters that are cancelled.

use super::{Scene, explore};
use heist::sim::Thread;
use heist::sync::{Barrier, Condition, Event, Lock, Queue, Semaphore};
use heist::task::yield_now;
use heist::{Task, TaskRef};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

/// A thread outside that cancels some of those, drawn from the seed. Gives for each whether it was accepted.
fn cancels_some<T>(scene: &Scene, tasks: &[Task<T>]) -> Thread<Vec<bool>> {
    let (inner, tasks) = (scene.clone(), tasks.iter().map(Task::as_ref));
    let tasks: Vec<TaskRef> = tasks.collect();
    scene.thread(move || {
        let ask = |task: &TaskRef| {
            inner.dawdle(5);
            inner.sim.below(2) == 0 && task.cancel("some")
        };
        tasks.iter().map(ask).collect()
    })
}

/// Waits for all; those that were asked and accepted end cancelled, the others with their value.
async fn outcomes<T>(tasks: Vec<Task<T>>, asks: Thread<Vec<bool>>) -> Vec<Option<T>> {
    let mut ended = Vec::new();
    for task in tasks {
        ended.push(task.await);
    }
    let accepted = asks.await;
    let pairs = ended.into_iter().zip(accepted);
    pairs
        .map(|(outcome, accepted)| {
            assert_eq!(
                outcome.is_err(),
                accepted,
                "an accepted request is the outcome"
            );
            outcome.ok()
        })
        .collect()
}

#[test]
fn a_lock_is_held_by_one_and_never_lost() {
    explore(|scene| async move {
        let (lock, inside) = (Arc::new(Lock::new()), Arc::new(AtomicUsize::new(0)));
        let tasks: Vec<_> = (0..5)
            .map(|_| {
                let (inner, lock, inside) = (scene.clone(), lock.clone(), inside.clone());
                scene.spawn(async move {
                    let _guard = lock.lock().await;
                    let _inside = Inside::enter(&inside, 1);
                    inner.yields(2).await;
                })
            })
            .collect();
        let asks = cancels_some(&scene, &tasks);
        outcomes(tasks, asks).await;
        assert!(!lock.locked() && inside.load(SeqCst) == 0);
        drop(lock.try_lock().expect("it is free"));
    });
}

/// So many are inside at a time, until it is dropped.
struct Inside(Arc<AtomicUsize>);

impl Inside {
    fn enter(inside: &Arc<AtomicUsize>, limit: usize) -> Self {
        let before = inside.fetch_add(1, SeqCst);
        assert!(before < limit, "{} inside at a time", before + 1);
        Self(inside.clone())
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

#[test]
fn permits_are_conserved() {
    explore(|scene| async move {
        let (semaphore, inside) = (Arc::new(Semaphore::new(2)), Arc::new(AtomicUsize::new(0)));
        let tasks: Vec<_> = (0..6)
            .map(|_| {
                let (inner, semaphore, inside) = (scene.clone(), semaphore.clone(), inside.clone());
                scene.spawn(async move {
                    for _ in 0..2 {
                        let _permit = semaphore.permit().await;
                        let _inside = Inside::enter(&inside, 2);
                        inner.yields(1).await;
                    }
                })
            })
            .collect();
        let asks = cancels_some(&scene, &tasks);
        outcomes(tasks, asks).await;
        let permits = [semaphore.try_permit(), semaphore.try_permit()];
        assert!(permits.iter().all(Option::is_some), "a permit is lost");
        assert!(semaphore.try_permit().is_none(), "a permit too many");
    });
}

#[test]
fn items_are_conserved() {
    explore(|scene| async move {
        let queue = Arc::new(Queue::new(2));
        let producers: Vec<_> = (0..2)
            .map(|n| {
                let (inner, queue) = (scene.clone(), queue.clone());
                scene.spawn(async move {
                    for item in 0..4 {
                        queue.put((4 * n + item, inner.life())).await.unwrap();
                    }
                })
            })
            .collect();
        let taken = Arc::new((0..8).map(|_| AtomicUsize::new(0)).collect::<Vec<_>>());
        let consumers: Vec<_> = (0..3)
            .map(|_| {
                let (queue, taken) = (queue.clone(), taken.clone());
                scene.spawn(async move {
                    loop {
                        let (item, life): (usize, super::Life) = queue.get().await.unwrap();
                        taken[item].fetch_add(1, SeqCst);
                        drop(life);
                        yield_now().await;
                    }
                })
            })
            .collect();
        let consumers: Vec<Task<()>> = consumers;
        let asks = cancels_some(&scene, &consumers);
        let accepted = asks.await;
        // Somebody has to be there for the rest.
        let rest = {
            let (queue, taken) = (queue.clone(), taken.clone());
            scene.spawn(async move {
                while let Ok((item, _life)) = queue.get().await {
                    let item: usize = item;
                    taken[item].fetch_add(1, SeqCst);
                }
            })
        };
        for producer in producers {
            producer.await.unwrap();
        }
        // Until nothing goes on any more.
        heist::sleep(Duration::from_millis(1)).await;
        for (consumer, accepted) in consumers.into_iter().zip(accepted) {
            assert_eq!(consumer.is_done(), accepted);
            consumer.cancel(None);
            assert!(consumer.await.unwrap_err().is_cancelled());
        }
        queue.shutdown(false);
        rest.await.unwrap();
        assert!(
            taken.iter().all(|taken| taken.load(SeqCst) == 1),
            "{taken:?}"
        );
        assert_eq!(scene.living(), 0);
    });
}

#[test]
fn an_event_reaches_all_who_wait() {
    explore(|scene| async move {
        let event = Arc::new(Event::new());
        let tasks: Vec<_> = (0..5)
            .map(|_| {
                let event = event.clone();
                scene.spawn(async move { event.wait().await })
            })
            .collect();
        let asks = cancels_some(&scene, &tasks);
        let sets = {
            let (inner, event) = (scene.clone(), event.clone());
            scene.thread(move || {
                inner.dawdle(15);
                event.set();
                inner.dawdle(3);
                // Those who were told stay told.
                event.clear();
                inner.dawdle(3);
                event.set();
            })
        };
        sets.await;
        outcomes(tasks, asks).await;
        assert!(event.is_set());
    });
}

#[test]
fn a_condition_wakes_as_many_as_it_was_told() {
    explore(|scene| async move {
        let (condition, bread) = (Arc::new(Condition::new()), Arc::new(AtomicUsize::new(0)));
        let eaten = Arc::new(AtomicUsize::new(0));
        let eaters: Vec<_> = (0..4)
            .map(|_| {
                let (condition, bread, eaten) = (condition.clone(), bread.clone(), eaten.clone());
                scene.spawn(async move {
                    let mut guard = condition.lock().await;
                    let is_some = || bread.load(SeqCst) > 0;
                    condition.wait_for_with(&mut guard, is_some).await.unwrap();
                    // Nobody else is here: the lock is held.
                    bread.fetch_sub(1, SeqCst);
                    eaten.fetch_add(1, SeqCst);
                })
            })
            .collect();
        let asks = cancels_some(&scene, &eaters);
        let baker = {
            let (inner, condition, bread) = (scene.clone(), condition.clone(), bread.clone());
            scene.spawn(async move {
                for _ in 0..4 {
                    inner.yields(2).await;
                    let _guard = condition.lock().await;
                    bread.fetch_add(1, SeqCst);
                    condition.notify(1).unwrap();
                }
            })
        };
        baker.await.unwrap();
        outcomes(eaters, asks).await;
        assert!(!condition.locked(), "the lock is lost");
        let (eaten, left) = (eaten.load(SeqCst), bread.load(SeqCst));
        assert_eq!(eaten + left, 4, "bread is lost");
    });
}

#[test]
fn a_barrier_that_breaks_leaves_nobody_behind() {
    explore(|scene| async move {
        let barrier = Arc::new(Barrier::new(3).unwrap());
        let tasks: Vec<_> = (0..3)
            .map(|_| {
                let barrier = barrier.clone();
                scene.spawn(async move {
                    let first = barrier.wait().await;
                    let second = match first {
                        Ok(_) => barrier.wait().await,
                        Err(broken) => Err(broken),
                    };
                    (first.ok(), second.ok())
                })
            })
            .collect();
        let breaks = {
            let (inner, barrier) = (scene.clone(), barrier.clone());
            scene.thread(move || {
                inner.dawdle(25);
                barrier.abort();
            })
        };
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for task in tasks {
            let (one, two) = task.await.unwrap();
            first.extend(one);
            second.extend(two);
        }
        breaks.await;
        for places in [&mut first, &mut second] {
            places.sort_unstable();
            // It may break when some are through already; each place is given once.
            assert!(
                places.windows(2).all(|pair| pair[0] < pair[1]),
                "{places:?}"
            );
            assert!(places.iter().all(|place| *place < 3), "{places:?}");
        }
        // For a second time all three are needed.
        assert!(
            second.is_empty() || first.len() == 3,
            "{first:?} {second:?}"
        );
        assert!(barrier.broken() && barrier.n_waiting() == 0);
    });
}

#[test]
fn a_queue_is_shut_down_under_those_who_wait() {
    explore(|scene| async move {
        let queue = Arc::new(Queue::new(1));
        let immediate = scene.sim.below(2) == 0;
        let puts: Vec<_> = (0..3)
            .map(|_| {
                let (inner, queue) = (scene.clone(), queue.clone());
                scene.spawn(async move { queue.put(inner.life()).await.is_ok() })
            })
            .collect();
        let gets: Vec<_> = (0..2)
            .map(|_| {
                let queue = queue.clone();
                scene.spawn(async move { queue.get().await.is_ok() })
            })
            .collect();
        let shuts = {
            let (inner, queue) = (scene.clone(), queue.clone());
            scene.thread(move || {
                inner.dawdle(15);
                queue.shutdown(immediate);
            })
        };
        let (mut put, mut got) = (0, 0);
        for task in puts {
            put += usize::from(task.await.unwrap());
        }
        for task in gets {
            got += usize::from(task.await.unwrap());
        }
        shuts.await;
        let left = queue.qsize();
        assert!(got + left <= put, "{put} put, {got} got, {left} left");
        assert!(
            immediate || got + left == put,
            "{put} put, {got} got, {left} left"
        );
        assert_eq!(scene.living(), left);
    });
}
