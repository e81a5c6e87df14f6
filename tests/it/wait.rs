//! `wait`: until all have ended, or the first, or the time is up.

use crate::combining::{ms, on_each, settled, stubborn, touchy_waker};
use crate::support::{Gate, limited, threaded};
use heist::task::promise;
use heist::{
    ReturnWhen, Task, catch_cancel, current_task, sleep, spawn, try_spawn, try_wait, wait,
};
use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::Context;
use std::time::Duration;

fn sleeps(times: &[u64]) -> Vec<Task<u64>> {
    let task = |time: u64| {
        spawn(async move {
            sleep(ms(time)).await;
            time
        })
    };
    times.iter().map(|time| task(*time)).collect()
}

async fn values(tasks: Vec<Task<u64>>) -> Vec<u64> {
    let mut values = Vec::new();
    for task in tasks {
        values.push(task.await.unwrap());
    }
    values
}

#[test]
fn all_come_out_in_the_order_given() {
    on_each(|| async {
        let mut tasks = sleeps(&[30, 10, 20]);
        let done = wait(&mut tasks).await.unwrap();
        assert!(tasks.is_empty());
        assert_eq!(values(done).await, [30, 10, 20]);
    });
}

#[test]
fn the_first_comes_out_and_the_others_stay_in_order() {
    on_each(|| async {
        let mut tasks = sleeps(&[30, 10, 20]);
        for expected in [10, 20, 30] {
            let done = wait(&mut tasks).until(ReturnWhen::FirstCompleted);
            assert_eq!(values(done.await.unwrap()).await, [expected]);
        }
        assert!(tasks.is_empty());
    });
}

#[test]
fn the_time_is_up_and_nothing_is_cancelled() {
    on_each(|| async {
        let mut tasks = sleeps(&[100, 5]);
        let done = wait(&mut tasks).timeout(ms(10)).await.unwrap();
        assert_eq!(values(done).await, [5]);
        assert!(
            wait(&mut tasks)
                .timeout(Duration::ZERO)
                .await
                .unwrap()
                .is_empty()
        );
        assert!(!tasks[0].is_done() && tasks[0].cancelling() == 0);
        for forever in [None, Some(Duration::MAX)] {
            let mut tasks = sleeps(&[100]);
            assert_eq!(wait(&mut tasks).timeout(forever).await.unwrap().len(), 1);
        }
        assert_eq!(values(wait(&mut tasks).await.unwrap()).await, [100]);
    });
}

#[test]
fn of_nothing_it_is_an_error() {
    on_each(|| async {
        assert!(wait(&mut Vec::<Task<()>>::new()).await.is_err());
    });
}

#[test]
fn it_suspends_even_if_all_have_ended() {
    on_each(|| async {
        for after in [None, Some(Duration::ZERO)] {
            let interrupted = spawn(async move {
                let mut tasks = sleeps(&[0, 0]);
                while !tasks.iter().all(Task::is_done) {
                    sleep(ms(1)).await;
                }
                current_task().unwrap().cancel("here");
                let waited = catch_cancel(async { wait(&mut tasks).timeout(after).await }).await;
                assert_eq!(waited.unwrap_err().message(), Some("here"));
                assert_eq!(tasks.len(), 2, "and all handles are still there");
            });
            interrupted.await.unwrap();
        }
    });
}

#[test]
fn a_request_ends_it_alone() {
    on_each(|| async {
        let waiter = spawn(async {
            let mut tasks = sleeps(&[50, 60]);
            let waited = catch_cancel(async { wait(&mut tasks).await }).await;
            assert_eq!(waited.unwrap_err().message(), Some("stop"));
            assert!(tasks.iter().all(|task| task.cancelling() == 0));
            values(wait(&mut tasks).await.unwrap()).await
        });
        settled().await;
        waiter.cancel("stop");
        assert_eq!(waiter.await.unwrap(), [50, 60]);
    });
}

#[test]
fn it_waits_out_a_child_that_suppresses() {
    on_each(|| async {
        let (gate, requests) = (Gate::default(), Arc::new(AtomicUsize::new(0)));
        let mut tasks = vec![spawn(stubborn(gate.clone(), requests.clone()))];
        settled().await;
        tasks[0].cancel(None);
        let done = wait(&mut tasks).timeout(ms(5)).await.unwrap();
        assert!(done.is_empty() && requests.load(SeqCst) == 1);
        gate.open();
        assert_eq!(wait(&mut tasks).await.unwrap().len(), 1);
    });
}

#[test]
fn a_panic_counts_as_an_exception_and_a_cancellation_does_not() {
    on_each(|| async {
        let mut tasks = sleeps(&[50, 60]);
        tasks.push(spawn(async {
            sleep(ms(10)).await;
            panic!("counts")
        }));
        tasks[0].cancel(None);
        let done = wait(&mut tasks).until(ReturnWhen::FirstException);
        let done = done.await.unwrap();
        assert_eq!((done.len(), tasks.len()), (2, 1));
        assert!(done[0].is_cancelled());
        let done = wait(&mut tasks).until(ReturnWhen::FirstException);
        assert_eq!(values(done.await.unwrap()).await, [60], "or all have ended");
    });
}

#[test]
fn an_err_counts_for_try_wait_alone_however_it_came() {
    on_each(|| async {
        for kind in 0..4 {
            let (promise, promised) = promise::<Result<u8, &str>>();
            let failing = async {
                sleep(ms(5)).await;
                Err("no")
            };
            let failing = match kind {
                0 => spawn(failing).shared(),
                1 => try_spawn(failing).shared(),
                _ => promised.shared(),
            };
            if kind >= 2 {
                spawn(async move {
                    sleep(ms(5)).await;
                    promise.set(Err("no"))
                });
            }
            let other = spawn(async {
                sleep(ms(20)).await;
                Ok(1)
            })
            .shared();
            let mut handles = vec![other, failing];
            let mut again = handles.clone();
            let done = try_wait(&mut handles).until(ReturnWhen::FirstException);
            assert_eq!(done.await.unwrap().len(), 1);
            let done = wait(&mut again).until(ReturnWhen::FirstException);
            assert_eq!(done.await.unwrap().len(), 2);
        }
        // Unshared: the look leaves the value where it is.
        let mut tasks = vec![
            spawn(pending::<Result<u8, &str>>()),
            spawn(async { Err("no") }),
        ];
        let done = try_wait(&mut tasks).until(ReturnWhen::FirstException);
        let mut done = done.await.unwrap();
        assert_eq!(done.remove(0).await.unwrap(), Err("no"));
        let (promise, promised) = promise::<Result<u8, &str>>();
        let mut handles = vec![promised];
        promise.set(Err("no")).unwrap();
        let done = try_wait(&mut handles).until(ReturnWhen::FirstException);
        assert_eq!(done.await.unwrap().remove(0).await.unwrap(), Err("no"));
    });
}

#[test]
fn many_handles_end_on_many_workers() {
    limited(|| {
        let runtime = threaded(4);
        for until in [ReturnWhen::AllCompleted, ReturnWhen::FirstException] {
            let done = runtime.run(async move {
                let mut tasks: Vec<_> = (0..100_000)
                    .map(|n| {
                        spawn(async move {
                            heist::task::yield_now().await;
                            n
                        })
                    })
                    .collect();
                wait(&mut tasks).until(until).await.unwrap().len()
            });
            assert_eq!(done.unwrap(), 100_000);
        }
    });
}

#[test]
fn foreign_threads_end_it() {
    limited(|| {
        for _ in 0..200 {
            let (promises, mut handles): (Vec<_>, Vec<_>) = (0..4).map(|_| promise()).unzip();
            let threads: Vec<_> = promises
                .into_iter()
                .map(|promise| std::thread::spawn(move || promise.set(1).unwrap()))
                .collect();
            let done = heist::run(async move { wait(&mut handles).await.unwrap().len() });
            assert_eq!(done.unwrap(), 4);
            threads
                .into_iter()
                .for_each(|thread| thread.join().unwrap());
        }
    });
}

#[test]
fn a_waker_that_panics_harms_nobody_else() {
    on_each(|| async {
        for until in [ReturnWhen::AllCompleted, ReturnWhen::FirstException] {
            let (promises, mut handles): (Vec<_>, Vec<_>) = (0..2).map(|_| promise()).unzip();
            let waker = touchy_waker();
            let mut waiting = wait(&mut handles).until(until).into_future();
            let polled = Pin::new(&mut waiting).poll(&mut Context::from_waker(&waker));
            assert!(polled.is_pending());
            for promise in promises {
                promise.set(1).unwrap();
            }
            assert_eq!(waiting.await.unwrap().len(), 2);
        }
    });
}
