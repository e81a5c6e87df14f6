//! `as_completed`: children in the order in which they end.

use crate::combining::{Touchy, ms, on_each, settled, stubborn, touchy_waker};
use crate::support::{Drops, Gate, limited, threaded};
use heist::task::{Deferred, promise};
use heist::{AsCompleted, Task, as_completed, current_task, sleep, spawn};
use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::Context;
use std::time::Duration;

fn sleeps(times: &[u64]) -> AsCompleted<Task<u64>> {
    as_completed(times.iter().map(|time| {
        let time = *time;
        spawn(async move {
            sleep(ms(time)).await;
            time
        })
    }))
}

async fn give(completed: &AsCompleted<Task<u64>>) -> Option<Option<(usize, u64)>> {
    let next = completed.next().await?;
    Some(next.ok().map(|(index, value)| (index, value.unwrap())))
}

#[test]
fn children_come_as_they_end_and_each_once() {
    on_each(|| async {
        let completed = sleeps(&[30, 10, 20]);
        assert_eq!(give(&completed).await, Some(Some((1, 10))));
        assert_eq!(give(&completed).await, Some(Some((2, 20))));
        assert_eq!(give(&completed).await, Some(Some((0, 30))));
        // Without suspending.
        current_task().unwrap().cancel("kept");
        assert_eq!(give(&completed).await, None);
        assert_eq!(give(&completed).await, None);
        current_task().unwrap().uncancel();
    });
}

#[test]
fn children_that_had_ended_are_noticed_soon_not_at_once() {
    limited(|| {
        // On more workers the notice may come while the task still runs.
        let runtime = heist::Builder::new().current_thread().build().unwrap();
        for count in 1..4 {
            let task = runtime.spawn(async move {
                let (ended, handles): (Vec<_>, Vec<_>) = (0..count).map(|_| promise()).unzip();
                ended.iter().for_each(|promise| promise.set(()).unwrap());
                let completed = as_completed(handles).timeout(Duration::ZERO);
                current_task().unwrap().cancel("kept");
                let first = heist::catch_cancel(completed.next()).await;
                assert_eq!(first.unwrap_err().message(), Some("kept"));
                current_task().unwrap().uncancel();
                // That call counts, and took none.
                for _ in 1..count {
                    assert!(completed.next().await.unwrap().is_ok());
                }
                assert!(completed.next().await.is_none());
            });
            runtime.block_on(task).unwrap().unwrap();
        }
    });
}

#[test]
fn of_nothing_it_ends_at_once() {
    on_each(|| async {
        let none = as_completed(Vec::<Deferred<()>>::new()).timeout(Duration::ZERO);
        assert!(none.next().await.is_none());
    });
}

#[test]
fn the_same_handle_is_given_once_and_errors_are_outcomes() {
    on_each(|| async {
        let one = spawn(async { 1 }).shared();
        let two = spawn(async { panic!("two") }).shared();
        let completed = as_completed([one.clone(), one.clone(), two.clone(), one, two]);
        let mut seen = Vec::new();
        while let Some(next) = completed.next().await {
            let (index, outcome) = next.unwrap();
            seen.push((index, outcome.is_ok()));
        }
        seen.sort_unstable();
        assert_eq!(seen, [(0, true), (2, false)]);
    });
}

#[test]
fn after_the_time_each_call_beyond_those_that_had_ended_is_elapsed() {
    on_each(|| async {
        let completed = sleeps(&[5, 50, 7, 100]).timeout(ms(20));
        let kept = completed.clone();
        // Counted from `timeout` on, whoever asks when; what ends later is not given.
        sleep(ms(60)).await;
        assert_eq!(give(&completed).await, Some(Some((0, 5))));
        assert_eq!(give(&kept).await, Some(Some((2, 7))));
        assert_eq!(give(&completed).await, Some(None));
        assert_eq!(give(&completed).await, Some(None));
        assert_eq!(give(&completed).await, None);
        // While somebody waits.
        let completed = sleeps(&[5, 50]).timeout(ms(20));
        let began = heist::time::now();
        assert_eq!(give(&completed).await, Some(Some((0, 5))));
        assert_eq!(give(&completed).await, Some(None));
        assert_eq!((heist::time::now() - began).as_millis(), 20);
        // Nothing was cancelled.
        let stuck = spawn(pending::<()>()).shared();
        let completed = as_completed([stuck.clone()]).timeout(ms(5));
        assert!(completed.next().await.unwrap().is_err());
        assert!(!stuck.is_done());
        stuck.cancel(None);
    });
}

#[test]
fn the_timer_goes_with_the_last_child() {
    on_each(|| async {
        let completed = sleeps(&[5]).timeout(Duration::from_secs(3600));
        assert_eq!(give(&completed).await, Some(Some((0, 5))));
        assert_eq!(give(&completed).await, None);
        let completed = sleeps(&[5]).timeout(None).timeout(Duration::MAX);
        assert_eq!(give(&completed).await, Some(Some((0, 5))));
    });
}

#[test]
fn a_cancelled_call_counts_and_takes_no_child() {
    on_each(|| async {
        let completed = sleeps(&[30, 40]);
        let other = completed.clone();
        let cancelled = spawn(async move { give(&other).await });
        settled().await;
        cancelled.cancel("stop");
        assert_eq!(cancelled.await.unwrap_err().cancel_message(), Some("stop"));
        assert_eq!(give(&completed).await, Some(Some((0, 30))));
        assert_eq!(give(&completed).await, None);
    });
}

#[test]
fn a_consumer_that_is_cancelled_when_woken_passes_the_child_on() {
    on_each(|| async {
        for _ in 0..100 {
            let (promises, handles): (Vec<_>, Vec<_>) = (0..2).map(|_| promise::<u8>()).unzip();
            let completed = as_completed(handles);
            let (one, two) = (completed.clone(), completed.clone());
            let first = spawn(async move { one.next().await.is_some() });
            settled().await;
            let second = spawn(async move { two.next().await.is_some() });
            settled().await;
            promises[0].set(1).unwrap();
            first.cancel(None);
            let first = first.await.is_ok();
            promises[1].set(2).unwrap();
            assert!(second.await.unwrap(), "first got one: {first}");
        }
    });
}

#[test]
fn several_tasks_share_the_children() {
    limited(|| {
        let runtime = threaded(4);
        let sum = runtime.run(async {
            let completed = as_completed((0..50_000_u64).map(|n| {
                spawn(async move {
                    heist::task::yield_now().await;
                    n
                })
            }));
            let consumers: Vec<_> = (0..4)
                .map(|_| {
                    let completed = completed.clone();
                    spawn(async move {
                        let mut sum = 0;
                        while let Some(next) = completed.next().await {
                            let (index, value) = next.unwrap();
                            assert_eq!(index as u64, value.unwrap());
                            sum += index;
                        }
                        sum
                    })
                })
                .collect();
            let sums = heist::gather(consumers).await.unwrap();
            sums.into_iter().sum::<usize>()
        });
        assert_eq!(sum.unwrap(), 1_249_975_000);
    });
}

#[test]
fn foreign_threads_end_the_children() {
    limited(|| {
        let (promises, handles): (Vec<_>, Vec<_>) = (0..32)
            .map(|n| (n, promise()))
            .map(|(n, (promise, handle))| ((n, promise), handle))
            .unzip();
        let completed = as_completed(handles).timeout(Duration::from_secs(50));
        let threads: Vec<_> = promises
            .into_iter()
            .map(|(n, promise)| std::thread::spawn(move || promise.set(n).unwrap()))
            .collect();
        let mut seen = heist::run(async move {
            let mut seen = Vec::new();
            while let Some(next) = completed.next().await {
                let (index, value) = next.unwrap();
                assert_eq!(index, value.unwrap());
                seen.push(index);
            }
            seen
        })
        .unwrap();
        seen.sort_unstable();
        assert_eq!(seen, (0..32).collect::<Vec<_>>());
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn dropped_it_lets_the_children_run_on_and_holds_nothing() {
    on_each(|| async {
        let (drops, gate) = (Drops::default(), Gate::default());
        let requests = Arc::new(AtomicUsize::new(0));
        let task = spawn({
            let (held, body) = (drops.one(), stubborn(gate.clone(), requests.clone()));
            async move {
                body.await;
                held
            }
        });
        drop(as_completed([task]).timeout(ms(5)));
        sleep(ms(10)).await;
        assert_eq!((drops.dropped(), requests.load(SeqCst)), (0, 0));
        gate.open();
        settled().await;
        assert_eq!(drops.dropped(), 1);
        // Outcomes that nobody took, with destructors that panic.
        let touchy = as_completed([spawn(async { Touchy }), spawn(async { Touchy })]);
        settled().await;
        drop(touchy);
    });
}

#[test]
fn a_waker_that_panics_harms_nobody_else() {
    on_each(|| async {
        let (promises, handles): (Vec<_>, Vec<_>) = (0..3).map(|_| promise::<u8>()).unzip();
        let completed = as_completed(handles).timeout(ms(5));
        let mut touchy = completed.next();
        let waker = touchy_waker();
        let mut touchy_too = completed.next();
        for next in [&mut touchy, &mut touchy_too] {
            let polled = Pin::new(next).poll(&mut Context::from_waker(&waker));
            assert!(polled.is_pending());
        }
        promises[0].set(1).unwrap();
        assert_eq!(touchy.await.unwrap().unwrap().1.unwrap(), 1);
        // The timer calls the other's.
        assert!(completed.next().await.unwrap().is_err());
        assert!(touchy_too.await.unwrap().is_err());
        assert!(completed.next().await.is_none());
    });
}
