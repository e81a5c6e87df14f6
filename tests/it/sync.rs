//! Locks, events, barriers and queues on real workers, with threads outside, cancels and timeouts.

use crate::support::{Dice, limited, on_each_flavour, seated, threaded};
use heist::sync::{
    Barrier, BoundedSemaphore, Condition, Event, Lock, PriorityQueue, Queue, Semaphore,
};
use heist::task::catch_cancel;
use heist::{Builder, Runtime, sleep, spawn, timeout};
use parking_lot::Mutex;
use std::collections::HashSet;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

/// An executor that knows nothing of heist: the thread parks.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}

/// A runtime whose clock stands still until all its tasks wait.
fn paused() -> Runtime {
    Builder::new()
        .current_thread()
        .start_paused(true)
        .build()
        .unwrap()
}

// The statements of asyncio's semantics that need tasks.

#[test]
fn a_lock_is_given_in_the_order_of_asking() {
    limited(|| {
        on_each_flavour(|_, builder| {
            let order = Arc::new(Mutex::new(Vec::new()));
            let seen = order.clone();
            builder
                .start_paused(true)
                .build()
                .unwrap()
                .block_on(async move {
                    let lock = Arc::new(Lock::new());
                    let guard = lock.lock().await;
                    let tasks: Vec<_> = (0..20_u32)
                        .map(|number| {
                            let (lock, order) = (lock.clone(), order.clone());
                            spawn(async move {
                                sleep(number * MS).await;
                                let _guard = lock.lock().await;
                                order.lock().push(number);
                            })
                        })
                        .collect();
                    sleep(50 * MS).await;
                    drop(guard);
                    for task in tasks {
                        task.await.unwrap();
                    }
                })
                .unwrap();
            assert_eq!(*seen.lock(), (0..20).collect::<Vec<_>>());
        });
    });
}

#[test]
fn cancelled_with_the_grant_in_hand_each_passes_it_on() {
    limited(|| {
        // On one thread nothing runs between the release and the cancel.
        seated()
            .block_on(async {
                let lock = Arc::new(Lock::new());
                let semaphore = Arc::new(Semaphore::new(0));
                let queue = Arc::new(Queue::new(0));
                lock.acquire().await;
                let start = |number| {
                    let (lock, semaphore, queue) = (lock.clone(), semaphore.clone(), queue.clone());
                    spawn(async move {
                        match number {
                            0 => lock.acquire().await,
                            1 => semaphore.acquire().await,
                            _ => queue.get().await.unwrap(),
                        }
                    })
                };
                for number in 0..3 {
                    let [first, second] = [(); 2].map(|()| start(number));
                    sleep(MS).await;
                    match number {
                        0 => lock.release().unwrap(),
                        1 => semaphore.release(),
                        _ => queue.put_nowait(()).unwrap(),
                    }
                    first.cancel("too late for it");
                    assert!(first.await.unwrap_err().is_cancelled());
                    second.await.unwrap();
                }
                assert!(lock.locked() && semaphore.locked() && queue.empty());
            })
            .unwrap();
    });
}

#[test]
fn a_timed_out_get_leaves_the_item_in_the_queue() {
    limited(|| {
        paused()
            .block_on(async {
                let queue = Queue::new(0);
                assert!(timeout(10 * MS, queue.get()).await.is_err());
                queue.put("x").await.unwrap();
                assert_eq!(queue.get().await, Ok("x"));
                assert!(queue.empty());
            })
            .unwrap();
    });
}

#[test]
fn a_cancelled_wait_on_a_condition_has_the_lock_again_first() {
    limited(|| {
        paused()
            .block_on(async {
                let condition = Arc::new(Condition::new());
                let waiter = spawn({
                    let condition = condition.clone();
                    async move {
                        condition.acquire().await;
                        let cancelled = catch_cancel(condition.wait()).await.unwrap_err();
                        assert!(condition.locked());
                        condition.release().unwrap();
                        cancelled.propagate().await
                    }
                });
                sleep(5 * MS).await;
                condition.acquire().await;
                waiter.cancel("first");
                sleep(5 * MS).await;
                assert!(!waiter.is_done());
                // Each further one is caught as well; the last one goes on.
                waiter.cancel("second");
                sleep(5 * MS).await;
                assert!(!waiter.is_done());
                condition.release().unwrap();
                let error = waiter.await.unwrap_err();
                assert_eq!(error.cancel_message(), Some("second"));
                assert!(!condition.locked());
            })
            .unwrap();
    });
}

#[test]
fn cancelled_while_it_waits_for_the_lock_it_has_the_message() {
    limited(|| {
        paused()
            .block_on(async {
                let condition = Arc::new(Condition::new());
                let waiter = spawn({
                    let condition = condition.clone();
                    async move {
                        let mut guard = condition.lock().await;
                        condition.wait_with(&mut guard).await.unwrap();
                        unreachable!("goes on after its cancel");
                    }
                });
                sleep(5 * MS).await;
                let guard = condition.lock().await;
                condition.notify(1).unwrap();
                sleep(5 * MS).await;
                waiter.cancel("kept");
                sleep(5 * MS).await;
                assert!(!waiter.is_done());
                drop(guard);
                let error = waiter.await.unwrap_err();
                assert_eq!(error.cancel_message(), Some("kept"));
                assert!(!condition.locked(), "its guard released it");
            })
            .unwrap();
    });
}

#[test]
fn cancelled_after_it_was_notified_a_waiter_notifies_the_next() {
    limited(|| {
        for reacquiring in [false, true] {
            paused()
                .block_on(async move {
                    let condition = Arc::new(Condition::new());
                    let start = || {
                        let condition = condition.clone();
                        spawn(async move {
                            let mut guard = condition.lock().await;
                            condition.wait_with(&mut guard).await.unwrap();
                        })
                    };
                    let first = start();
                    sleep(MS).await;
                    let second = start();
                    sleep(MS).await;
                    let guard = condition.lock().await;
                    condition.notify(1).unwrap();
                    if reacquiring {
                        sleep(MS).await;
                    }
                    first.cancel(None);
                    drop(guard);
                    assert!(first.await.unwrap_err().is_cancelled());
                    second.await.unwrap();
                    assert!(!condition.locked());
                })
                .unwrap();
        }
    });
}

#[test]
fn a_wait_that_is_aborted_does_not_hold_the_lock() {
    limited(|| {
        paused()
            .block_on(async {
                let condition = Arc::new(Condition::new());
                let waiter = spawn({
                    let condition = condition.clone();
                    async move {
                        let mut guard = condition.lock().await;
                        condition.wait_with(&mut guard).await
                    }
                });
                sleep(MS).await;
                let guard = condition.lock().await;
                waiter.abort(None);
                assert!(waiter.await.unwrap_err().is_cancelled());
                assert!(condition.locked(), "another's");
                drop(guard);
            })
            .unwrap();
    });
}

#[test]
fn a_barrier_waiter_is_cancelled_and_another_takes_its_place() {
    limited(|| {
        paused()
            .block_on(async {
                let barrier = Arc::new(Barrier::new(2).unwrap());
                let start = || {
                    let barrier = barrier.clone();
                    spawn(async move { barrier.wait().await })
                };
                let first = start();
                sleep(MS).await;
                first.cancel(None);
                sleep(MS).await;
                assert_eq!((barrier.n_waiting(), barrier.broken()), (0, false));
                let second = start();
                sleep(MS).await;
                assert_eq!(barrier.wait().await, Ok(1));
                assert_eq!(second.await.unwrap(), Ok(0));
            })
            .unwrap();
    });
}

// Many at once.

/// Runs `actor` as tasks of a runtime with four workers, some of which are cancelled at some time, and on threads outside.
fn crowd<F>(seed: u64, actor: impl Fn(u64) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let runtime = threaded(4);
    let mut dice = Dice::new(seed);
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let future = actor(dice.below(u64::MAX));
            thread::spawn(move || block_on(future))
        })
        .collect();
    let tasks: Vec<_> = (0..40)
        .map(|_| runtime.spawn(actor(dice.below(u64::MAX))))
        .collect();
    runtime
        .block_on(async move {
            for task in tasks {
                if dice.below(4) == 0 {
                    sleep(dice.pause()).await;
                    task.cancel("enough");
                }
                match task.await {
                    Ok(()) => {}
                    Err(error) => assert!(error.is_cancelled(), "{error}"),
                }
            }
        })
        .unwrap();
    for thread in threads {
        thread.join().unwrap();
    }
}

/// Counts who is inside.
#[derive(Default)]
struct Room(AtomicUsize);

impl Room {
    fn enter(&self, at_most: usize) -> impl Drop + '_ {
        struct Leave<'a>(&'a Room);
        impl Drop for Leave<'_> {
            fn drop(&mut self) {
                self.0.0.fetch_sub(1, SeqCst);
            }
        }
        assert!(self.0.fetch_add(1, SeqCst) < at_most);
        Leave(self)
    }
}

#[test]
fn in_a_crowd_one_holds_the_lock() {
    limited(|| {
        for seed in 0..10 {
            let shared = Arc::new((Lock::new(), Room::default()));
            let of_all = shared.clone();
            crowd(seed, move |seed| {
                let shared = shared.clone();
                async move {
                    let (lock, room) = &*shared;
                    let mut dice = Dice::new(seed);
                    for _ in 0..30 {
                        let limit = dice.pause();
                        let Ok(guard) = timeout(limit, lock.lock()).await else {
                            continue;
                        };
                        let inside = room.enter(1);
                        if dice.below(2) == 0 {
                            heist::task::yield_now().await;
                        }
                        drop(inside);
                        drop(guard);
                    }
                }
            });
            assert!(of_all.0.try_lock().is_some(), "a lock was lost");
        }
    });
}

#[test]
fn in_a_crowd_no_permit_is_lost_or_made() {
    limited(|| {
        for seed in 0..10 {
            let shared = Arc::new((BoundedSemaphore::new(3), Room::default()));
            let of_all = shared.clone();
            crowd(seed, move |seed| {
                let shared = shared.clone();
                async move {
                    let (semaphore, room) = &*shared;
                    let mut dice = Dice::new(seed);
                    for _ in 0..30 {
                        let limit = dice.pause();
                        let Ok(permit) = timeout(limit, semaphore.permit()).await else {
                            continue;
                        };
                        let inside = room.enter(3);
                        if dice.below(2) == 0 {
                            heist::task::yield_now().await;
                        }
                        drop(inside);
                        drop(permit);
                    }
                }
            });
            let permits = [(); 3].map(|()| of_all.0.try_permit().expect("a permit was lost"));
            assert!(of_all.0.locked(), "a permit was made");
            drop(permits);
        }
    });
}

#[test]
fn in_a_crowd_each_item_is_got_once() {
    limited(|| {
        for seed in 0..10 {
            let queue = Arc::new(Queue::new(seed as usize % 4));
            let [put, got] = [(); 2].map(|()| Arc::new(Mutex::new(Vec::new())));
            let next = Arc::new(AtomicUsize::new(0));
            let (in_queue, all_put, all_got) = (queue.clone(), put.clone(), got.clone());
            crowd(seed, move |seed| {
                let (queue, put, got, next) =
                    (queue.clone(), put.clone(), got.clone(), next.clone());
                async move {
                    let mut dice = Dice::new(seed);
                    let puts = seed % 2 == 0;
                    for _ in 0..50 {
                        let limit = dice.pause();
                        if puts {
                            let item = next.fetch_add(1, SeqCst);
                            if let Ok(Ok(())) = timeout(limit, queue.put(item)).await {
                                put.lock().push(item);
                            }
                        } else if let Ok(Ok(item)) = timeout(limit, queue.get()).await {
                            got.lock().push(item);
                            queue.task_done().unwrap();
                        }
                    }
                }
            });
            let mut got = all_got.lock().clone();
            while let Ok(item) = in_queue.get_nowait() {
                got.push(item);
                in_queue.task_done().unwrap();
            }
            assert!(in_queue.task_done().is_err());
            got.sort_unstable();
            let mut put = all_put.lock().clone();
            put.sort_unstable();
            assert_eq!(put, got);
        }
    });
}

#[test]
fn nobody_sleeps_beside_an_item_or_beside_room() {
    limited(|| {
        for seed in 0..10 {
            let runtime = threaded(4);
            let queue = Arc::new(PriorityQueue::new(1 + seed as usize % 2));
            // Two that wait as long as it takes, and two that come and go in the same line: what those leave has to reach these.
            let getters: Vec<_> = (0..4)
                .map(|number| {
                    let queue = queue.clone();
                    runtime.spawn(async move {
                        let mut dice = Dice::new(4 * seed + number);
                        let mut count = 0;
                        loop {
                            let limit = match number {
                                0 | 1 => Duration::MAX,
                                _ => dice.pause() / 8,
                            };
                            match timeout(limit, queue.get()).await {
                                Ok(Ok(_item)) => count += 1,
                                Ok(Err(_shut_down)) => return count,
                                Err(_elapsed) => {}
                            }
                        }
                    })
                })
                .collect();
            let putters: Vec<_> = (0..2)
                .map(|_| {
                    let queue = queue.clone();
                    thread::spawn(move || {
                        for item in 0..250 {
                            block_on(queue.put(item)).unwrap();
                        }
                    })
                })
                .collect();
            for putter in putters {
                putter.join().unwrap();
            }
            queue.shutdown(false);
            let mut count = 0;
            for getter in getters {
                count += runtime.block_on(getter).unwrap().unwrap();
            }
            assert_eq!(count, 500);
        }
    });
}

#[test]
fn every_round_of_a_barrier_has_each_number_once() {
    limited(|| {
        const PARTIES: usize = 6;
        const ROUNDS: usize = 300;
        let runtime = threaded(4);
        let barrier = Arc::new(Barrier::new(PARTIES).unwrap());
        let rounds: Arc<Vec<Mutex<HashSet<usize>>>> =
            Arc::new((0..ROUNDS).map(|_| Mutex::default()).collect());
        let party = || {
            let (barrier, rounds) = (barrier.clone(), rounds.clone());
            async move {
                for round in rounds.iter() {
                    let number = barrier.wait().await.unwrap();
                    assert!(number < PARTIES);
                    assert!(round.lock().insert(number), "given twice");
                }
            }
        };
        let thread = {
            let party = party();
            thread::spawn(move || block_on(party))
        };
        let tasks: Vec<_> = (1..PARTIES).map(|_| runtime.spawn(party())).collect();
        for task in tasks {
            runtime.block_on(task).unwrap().unwrap();
        }
        thread.join().unwrap();
        assert!(rounds.iter().all(|round| round.lock().len() == PARTIES));
    });
}

#[test]
fn no_notification_is_lost_in_a_crowd() {
    limited(|| {
        for seed in 0..10 {
            // A counter that whoever waits takes one from, and a condition that says when there is one.
            let shared = Arc::new((Condition::new(), AtomicUsize::new(0), AtomicUsize::new(0)));
            let runtime = threaded(4);
            let mut dice = Dice::new(seed);
            let takers: Vec<_> = (0..30)
                .map(|_| {
                    let shared = shared.clone();
                    runtime.spawn(async move {
                        let (condition, left, taken) = &*shared;
                        let mut guard = condition.lock().await;
                        condition
                            .wait_for_with(&mut guard, || left.load(SeqCst) > 0)
                            .await
                            .unwrap();
                        assert!(condition.locked() && guard.is_held());
                        left.fetch_sub(1, SeqCst);
                        taken.fetch_add(1, SeqCst);
                    })
                })
                .collect();
            let giver = {
                let shared = shared.clone();
                thread::spawn(move || {
                    for _ in 0..30 {
                        let (condition, left, _) = &*shared;
                        let _guard = block_on(condition.lock());
                        left.fetch_add(1, SeqCst);
                        condition.notify(1).unwrap();
                    }
                })
            };
            let mut cancelled = 0;
            for taker in &takers {
                if dice.below(3) == 0 {
                    thread::sleep(dice.pause() / 4);
                    taker.cancel("enough");
                }
            }
            for taker in takers {
                cancelled += usize::from(runtime.block_on(taker).unwrap().is_err());
            }
            giver.join().unwrap();
            let (condition, left, taken) = &*shared;
            // One that was cancelled at its very end took its share and ends cancelled all the same.
            assert!(taken.load(SeqCst) + cancelled >= 30);
            assert_eq!(left.load(SeqCst) + taken.load(SeqCst), 30);
            assert!(!condition.locked());
        }
    });
}

#[test]
fn an_event_set_from_outside_wakes_every_task() {
    limited(|| {
        let runtime = threaded(4);
        for _ in 0..50 {
            let event = Arc::new(Event::new());
            let tasks: Vec<_> = (0..20)
                .map(|_| {
                    let event = event.clone();
                    runtime.spawn(async move { event.wait().await })
                })
                .collect();
            let setter = event.clone();
            let thread = thread::spawn(move || setter.set());
            for task in tasks {
                runtime.block_on(task).unwrap().unwrap();
            }
            thread.join().unwrap();
        }
    });
}
