//! Rule 12, and all together: locks, semaphores, queues, conditions and sockets under random cancels and timeouts. Nothing is lost, nothing
//! is there twice.

use super::{Dice, caught, me};
use crate::support::{Gate, limited, side_by_side, threaded};
use heist::sync::{Condition, Lock, Queue, Semaphore};
use heist::{Runtime, Task, timeout};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

const TASKS: u64 = 8;
const ROUNDS: usize = 150;

/// The future with a deadline, or open to cancels, or both; none if it was ended.
async fn perhaps<F: Future>(dice: &mut Dice, future: F) -> Option<F::Output> {
    let nap = Duration::from_micros(dice.below(80));
    match dice.below(3) {
        0 => timeout(nap, future).await.ok(),
        1 => caught(future).await.ok(),
        _ => caught(timeout(nap, future)).await.ok()?.ok(),
    }
}

/// Runs `task` eight times, each in a region with cancels coming from two threads, until all have ended by themselves.
fn storm<F>(runtime: &Runtime, task: impl Fn(u64) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let tasks: Vec<Task<()>> = (0..TASKS)
        .map(|number| {
            let (begun, body) = (Gate::default(), task(number));
            let begins = begun.clone();
            let task = runtime.spawn(async move {
                begins.open();
                body.await;
            });
            begun.block();
            task
        })
        .collect();
    side_by_side(2, |seed| {
        let mut dice = Dice::new(seed as u64);
        while tasks.iter().any(|task| !task.is_done()) {
            let victim = usize::try_from(dice.below(TASKS)).unwrap();
            tasks[victim].cancel("storm");
            std::thread::sleep(Duration::from_micros(dice.below(100)));
        }
    });
    for task in tasks {
        match runtime.block_on(task).unwrap() {
            Ok(()) => {}
            // The last one came after the last region.
            Err(error) => assert!(error.is_cancelled(), "{error}"),
        }
    }
}

/// One step of a task whose awaits all stand in regions; what lies between two of them is no point of cancellation.
async fn hold(dice: &mut Dice) {
    let nap = Duration::from_micros(dice.below(20));
    let _ = caught(heist::sleep(nap)).await;
}

#[test]
fn a_lock_is_held_by_one_at_a_time_and_by_nobody_at_the_end() {
    limited(|| {
        let runtime = threaded(4);
        let lock = Arc::new(Lock::new());
        let (inside, had) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        storm(&runtime, |seed| {
            let (lock, inside, had) = (lock.clone(), inside.clone(), had.clone());
            async move {
                let mut dice = Dice::new(seed);
                for _ in 0..ROUNDS {
                    if let Some(guard) = perhaps(&mut dice, lock.lock()).await {
                        assert_eq!(inside.fetch_add(1, SeqCst), 0);
                        hold(&mut dice).await;
                        inside.fetch_sub(1, SeqCst);
                        had.fetch_add(1, SeqCst);
                        drop(guard);
                    }
                }
            }
        });
        assert!(lock.try_lock().is_some(), "after {had:?} times");
        assert!(had.load(SeqCst) > 0);
    });
}

#[test]
fn all_permits_of_a_semaphore_are_there_at_the_end() {
    const PERMITS: usize = 3;
    limited(|| {
        let runtime = threaded(4);
        let semaphore = Arc::new(Semaphore::new(PERMITS));
        let (inside, had) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        storm(&runtime, |seed| {
            let (semaphore, inside, had) = (semaphore.clone(), inside.clone(), had.clone());
            async move {
                let mut dice = Dice::new(seed + 10);
                for _ in 0..ROUNDS {
                    if let Some(permit) = perhaps(&mut dice, semaphore.permit()).await {
                        assert!(inside.fetch_add(1, SeqCst) < PERMITS);
                        hold(&mut dice).await;
                        inside.fetch_sub(1, SeqCst);
                        had.fetch_add(1, SeqCst);
                        drop(permit);
                    }
                }
            }
        });
        let all: Vec<_> = std::iter::from_fn(|| semaphore.try_permit()).collect();
        assert_eq!(all.len(), PERMITS, "after {had:?} times");
        assert!(had.load(SeqCst) > 0);
    });
}

#[test]
fn each_item_of_a_queue_is_got_once_or_is_still_there() {
    limited(|| {
        let runtime = threaded(4);
        for bound in [0, 1, 4] {
            let queue = Arc::new(Queue::new(bound));
            let (put, got) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
            storm(&runtime, |seed| {
                let (queue, put, got) = (queue.clone(), put.clone(), got.clone());
                async move {
                    let mut dice = Dice::new(seed + 20);
                    for round in 1..=u64::try_from(ROUNDS).unwrap() {
                        let item = seed * 1000 + round;
                        if seed % 2 == 0 {
                            if let Some(ended) = perhaps(&mut dice, queue.put(item)).await {
                                ended.unwrap();
                                put.fetch_add(item, SeqCst);
                            }
                        } else if let Some(item) = perhaps(&mut dice, queue.get()).await {
                            got.fetch_add(item.unwrap(), SeqCst);
                        }
                    }
                }
            });
            let left: u64 = std::iter::from_fn(|| queue.get_nowait().ok()).sum();
            assert_eq!(put.load(SeqCst), got.load(SeqCst) + left, "of {bound}");
            assert!(put.load(SeqCst) > 0);
            // Nobody stands in line who is gone.
            runtime
                .block_on(async {
                    queue.put(1).await.unwrap();
                    assert_eq!(queue.get().await, Ok(1));
                })
                .unwrap();
        }
    });
}

#[test]
fn a_condition_has_its_lock_again_whatever_comes_and_loses_no_notification() {
    limited(|| {
        let runtime = threaded(4);
        let condition = Arc::new(Condition::new());
        let (tokens, inside) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (made, taken) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        storm(&runtime, |seed| {
            let (condition, tokens, inside) = (condition.clone(), tokens.clone(), inside.clone());
            let (made, taken) = (made.clone(), taken.clone());
            async move {
                let mut dice = Dice::new(seed + 30);
                for _ in 0..ROUNDS {
                    let Some(mut guard) = perhaps(&mut dice, condition.lock()).await else {
                        continue;
                    };
                    assert_eq!(inside.fetch_add(1, SeqCst), 0);
                    if seed % 2 == 0 {
                        tokens.fetch_add(1, SeqCst);
                        made.fetch_add(1, SeqCst);
                        condition.notify(1).unwrap();
                    } else {
                        inside.fetch_sub(1, SeqCst);
                        let waits = condition.wait_for_with(&mut guard, || tokens.load(SeqCst) > 0);
                        let ended = perhaps(&mut dice, waits).await;
                        assert!(guard.is_held(), "whatever came");
                        assert_eq!(inside.fetch_add(1, SeqCst), 0);
                        if ended.is_some() {
                            tokens.fetch_sub(1, SeqCst);
                            taken.fetch_add(1, SeqCst);
                        }
                    }
                    inside.fetch_sub(1, SeqCst);
                    drop(guard);
                }
            }
        });
        assert!(!condition.locked());
        assert_eq!(made.load(SeqCst), taken.load(SeqCst) + tokens.load(SeqCst));
    });
}

#[test]
fn no_byte_of_a_socket_is_lost_to_a_read_that_was_given_up() {
    use heist::net::{TcpListener, TcpStream};
    const BYTES: usize = 4000;
    limited(|| {
        let runtime = threaded(4);
        let (send, receive) = std::sync::mpsc::channel();
        let reader = runtime.spawn(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            send.send(listener.local_addr().unwrap()).unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            let mut dice = Dice::new(40);
            let (mut all, mut given_up) = (Vec::new(), 0);
            loop {
                let mut bytes = [0; 7];
                match perhaps(&mut dice, stream.read(&mut bytes)).await {
                    Some(Ok(0)) => break,
                    Some(read) => all.extend_from_slice(&bytes[..read.unwrap()]),
                    None => given_up += 1,
                }
            }
            (all, given_up, me().cancelling())
        });
        let address = receive.recv().unwrap();
        let writer = runtime.spawn(async move {
            let stream = TcpStream::connect(address).await.unwrap();
            let mut dice = Dice::new(50);
            for number in 0..BYTES {
                stream
                    .write_all(&[u8::try_from(number % 251).unwrap()])
                    .await
                    .unwrap();
                if number % 8 == 0 {
                    heist::sleep(Duration::from_micros(dice.below(30))).await;
                }
            }
        });
        runtime.block_on(writer).unwrap().unwrap();
        let (all, _, count) = runtime.block_on(reader).unwrap().unwrap();
        let sent: Vec<_> = (0..BYTES)
            .map(|number| u8::try_from(number % 251).unwrap())
            .collect();
        assert_eq!(all.len(), BYTES);
        assert!(all == sent);
        assert_eq!(count, 0);
    });
}

#[test]
fn the_storm_ends_in_time() {
    // A lost wake-up would be found by the others' limit; this one is about progress: eight tasks that all want one permit, each
    // for a moment, while all are being cancelled.
    limited(|| {
        let runtime = threaded(4);
        let semaphore = Arc::new(Semaphore::new(1));
        let began = Instant::now();
        storm(&runtime, |_| {
            let semaphore = semaphore.clone();
            async move {
                let mut had = 0;
                while had < 20 {
                    if let Ok(permit) = caught(semaphore.permit()).await {
                        had += 1;
                        drop(permit);
                    }
                }
            }
        });
        assert!(began.elapsed() < Duration::from_secs(20));
    });
}
