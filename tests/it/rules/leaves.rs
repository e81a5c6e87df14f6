//! Rules 4 and 5: what is a point of delivery, and what becomes of a result. Leaves of heist's, and of other crates.

use super::{Foreign, caught, everywhere, me, says, settled, suspend};
use crate::support::{Gate, limited, seated, threaded};
use heist::sync::{Event, Lock, Queue, Semaphore};
use heist::task::catch_cancel;
use heist::{promise, sleep, spawn, timeout};
use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

// 4

#[test]
fn what_is_ready_at_its_first_poll_is_no_point_of_delivery() {
    everywhere(|| async {
        let event = Event::new();
        event.set();
        let (lock, semaphore, queue) = (Lock::new(), Semaphore::new(1), Queue::new(0));
        queue.put_nowait(1).unwrap();
        let done = spawn(async { 2 });
        let (promise, answer) = promise();
        promise.set(3).unwrap();
        settled().await;
        let task = spawn(async move {
            me().cancel("kept");
            event.wait().await;
            let _guard = lock.lock().await;
            let _permit = semaphore.permit().await;
            assert_eq!(queue.get().await, Ok(1));
            assert_eq!(done.await.unwrap(), 2);
            assert_eq!(answer.await.unwrap(), 3);
            assert_eq!(timeout(Duration::ZERO, async { 4 }).await, Ok(4));
            assert_eq!(caught(std::future::ready(5)).await, Ok(5));
            let slept = caught(sleep(Duration::ZERO)).await;
            me().cancel("again");
            (slept, caught(suspend()).await)
        });
        let ended = (Err(says("kept")), Err(says("again")));
        assert_eq!(task.await.unwrap(), ended);
    });
}

// 5

#[test]
fn a_leaf_of_heists_leaves_its_result_where_it_was() {
    limited(|| {
        // On one thread nothing is polled between the result and the request.
        seated()
            .block_on(async {
                let queue = Arc::new(Queue::new(0));
                let gets = queue.clone();
                let task = spawn(async move {
                    let first = caught(gets.get()).await;
                    (first, gets.get().await)
                });
                suspend().await;
                suspend().await;
                queue.put_nowait("item").unwrap();
                task.cancel("first");
                let ended = (Err(says("first")), Ok("item"));
                assert_eq!(task.await.unwrap(), ended);
                // A task's value stays in the task.
                let inner = spawn(async { 7 });
                let mut awaited = inner.shared();
                let end = awaited.clone();
                let task = spawn(async move {
                    let first = caught(&mut awaited).await.map(|_| ());
                    (first, awaited.await.unwrap())
                });
                suspend().await;
                while !end.is_done() {
                    suspend().await;
                }
                task.cancel("first");
                let ended = task.await;
                // It may have been polled since the end.
                if let Ok((first, value)) = ended {
                    assert_eq!(value, 7);
                    assert!(first.is_ok() || first == Err(says("first")));
                }
            })
            .unwrap();
    });
}

#[test]
fn a_result_that_comes_after_the_request_stays_in_the_handle() {
    limited(|| {
        seated()
            .block_on(async {
                let (promise, answer) = promise::<u32>();
                let task = spawn(async move {
                    let mut answer = answer;
                    // A region within keeps the await from being asked; what it received, the await does not know.
                    let both = catch_cancel(async {
                        let held = pin!(catch_cancel(pending::<()>()));
                        tokio::join!(held, &mut answer)
                    });
                    both.await.map(|_| ()).unwrap_err();
                    answer.await
                });
                suspend().await;
                suspend().await;
                task.cancel("both");
                // The promise ended cancelled by that request: forwarded, so it unwinds.
                assert!(promise.is_done());
                let error = task.await.unwrap().unwrap_err();
                assert!(error.is_cancelled(), "the handle still says how it ended");
            })
            .unwrap();
    });
}

#[test]
fn a_foreign_leafs_value_wins_and_the_request_meets_the_next_suspension() {
    limited(|| {
        seated()
            .block_on(async {
                for regions in [0, 1, 3] {
                    let foreign = Foreign::new();
                    let waits = foreign.clone();
                    let task = spawn(async move {
                        let value = match regions {
                            0 => waits.await,
                            1 => caught(waits).await.unwrap(),
                            _ => caught(caught(caught(waits)))
                                .await
                                .unwrap()
                                .unwrap()
                                .unwrap(),
                        };
                        assert_eq!(value, 5);
                        // At the next one, once.
                        let next = caught(suspend()).await;
                        (next, caught(suspend()).await, me().cancelling())
                    });
                    suspend().await;
                    suspend().await;
                    foreign.give(5);
                    task.cancel("kept");
                    assert_eq!(task.await.unwrap(), (Err(says("kept")), Ok(()), 1));
                }
            })
            .unwrap();
    });
}

#[test]
fn futures_of_other_crates_are_cancelled_and_lose_nothing() {
    limited(|| {
        let runtime = threaded(4);
        for round in 0..200 {
            let (send, receive) = async_channel::bounded::<u32>(4);
            let again = receive.clone();
            let begun = Gate::default();
            let begins = begun.clone();
            let reader = runtime.spawn(async move {
                begins.open();
                let mut sum = 0;
                let ended = catch_cancel(async {
                    while let Ok(n) = receive.recv().await {
                        sum += n;
                    }
                });
                let ended = ended.await;
                (sum, ended.is_err())
            });
            let writer = runtime.spawn(async move {
                for n in 1..=20 {
                    send.send(n).await.unwrap();
                }
            });
            begun.block();
            if round % 4 != 0 {
                std::thread::sleep(Duration::from_micros(round % 40));
            }
            let accepted = reader.cancel(None);
            // If the messages ran out at the same moment the request was met by the end.
            let (mut sum, interrupted) = match runtime.block_on(reader).unwrap() {
                Ok(ended) => ended,
                Err(error) => {
                    assert!(error.is_cancelled() && accepted);
                    (210, false)
                }
            };
            assert!(accepted || !interrupted);
            while let Ok(n) = again.recv_blocking() {
                sum += n;
            }
            assert_eq!(sum, 210);
            runtime.block_on(writer).unwrap().unwrap();
        }
    });
}

#[test]
fn a_future_written_by_hand_that_wakes_itself_is_met_at_its_next_pending() {
    everywhere(|| async {
        let task = spawn(async {
            let mut polls = 0;
            let spins = std::future::poll_fn(|cx| {
                polls += 1;
                if polls == 10 {
                    me().cancel("from a poll");
                }
                cx.waker().wake_by_ref();
                Poll::<()>::Pending
            });
            let ended = caught(spins).await;
            assert_eq!(ended, Err(says("from a poll")));
            polls
        });
        // Handed down at the end of that poll; the region sees it in the next.
        assert_eq!(task.await.unwrap(), 11);
    });
}
