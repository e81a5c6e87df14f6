//! Closures that block, and the threads they get.

use crate::support::{Drops, Gate, limited, on_each_flavour, seated, until};
use heist::Builder;
use parking_lot::Mutex;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

#[test]
fn a_closure_gives_its_value_and_knows_its_runtime() {
    limited(|| {
        on_each_flavour(|flavour, builder| {
            let runtime = builder.build().unwrap();
            let value = runtime.run(async {
                let closure = heist::task::Builder::new()
                    .name("digger")
                    .spawn_blocking(|| {
                        let inside = heist::spawn(async { 4 });
                        let handle = heist::Handle::current().unwrap();
                        let value = handle.block_on(inside).unwrap().unwrap();
                        assert!(heist::current_worker().is_none());
                        (heist::current_task().unwrap().name(), value)
                    });
                closure.await.unwrap()
            });
            assert_eq!(value.unwrap(), ("digger".into(), 4), "{flavour}");
        });
    });
}

#[test]
fn ten_thousand_closures_run_once_each() {
    limited(|| {
        for cap in [1, 4, 512] {
            let runtime = Builder::new()
                .worker_threads(2)
                .max_blocking_threads(cap)
                .build()
                .unwrap();
            let ran = Arc::new(AtomicUsize::new(0));
            let sum = runtime.run({
                let ran = ran.clone();
                async move {
                    let closures: Vec<_> = (0..10_000)
                        .map(|n| {
                            let ran = ran.clone();
                            heist::spawn_blocking(move || {
                                ran.fetch_add(1, SeqCst);
                                n
                            })
                        })
                        .collect();
                    let mut sum = 0;
                    for closure in closures {
                        sum += closure.await.unwrap();
                    }
                    sum
                }
            });
            assert_eq!((sum.unwrap(), ran.load(SeqCst)), (9999 * 5000, 10_000));
            assert!(runtime.metrics().blocking_threads <= cap);
        }
    });
}

#[test]
fn the_pool_grows_to_its_cap_and_no_further() {
    limited(|| {
        for (asked, cap) in [(0, 1), (1, 1), (3, 3)] {
            let runtime = Builder::new()
                .worker_threads(1)
                .max_blocking_threads(asked)
                .build()
                .unwrap();
            assert_eq!(
                runtime.metrics().blocking_threads,
                0,
                "no thread before the first closure"
            );
            let (now, most, go) = (
                Arc::new(AtomicUsize::new(0)),
                Arc::new(AtomicUsize::new(0)),
                Gate::default(),
            );
            let closures: Vec<_> = (0..12)
                .map(|_| {
                    let (now, most, go) = (now.clone(), most.clone(), go.clone());
                    runtime.spawn_blocking(move || {
                        most.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
                        go.block();
                        now.fetch_sub(1, SeqCst);
                    })
                })
                .collect();
            until("at its cap", || runtime.metrics().blocking_busy == cap);
            let metrics = runtime.metrics();
            assert_eq!(
                (metrics.blocking_threads, metrics.blocking_queue),
                (cap, 12 - cap)
            );
            go.open();
            for closure in closures {
                runtime.block_on(closure).unwrap().unwrap();
            }
            assert_eq!(most.load(SeqCst), cap);
        }
    });
}

#[test]
fn idle_threads_end_after_the_keep_alive_and_come_again() {
    limited(|| {
        for keep_alive in [Duration::ZERO, Duration::from_millis(20)] {
            let runtime = Builder::new()
                .worker_threads(1)
                .blocking_keep_alive(keep_alive)
                .build()
                .unwrap();
            for _ in 0..3 {
                let closures: Vec<_> = (0..8).map(|n| runtime.spawn_blocking(move || n)).collect();
                for (n, closure) in closures.into_iter().enumerate() {
                    assert_eq!(runtime.block_on(closure).unwrap().unwrap(), n);
                }
                until("threads ended", || runtime.metrics().blocking_threads == 0);
            }
        }
        let runtime = Builder::new()
            .worker_threads(1)
            .blocking_keep_alive(Duration::MAX)
            .build()
            .unwrap();
        runtime
            .block_on(runtime.spawn_blocking(|| {}))
            .unwrap()
            .unwrap();
        assert!(runtime.shutdown(Duration::from_secs(20)).is_complete());
    });
}

#[test]
fn threads_that_end_race_closures_that_come_and_none_is_left_behind() {
    limited(|| {
        let runtime = Builder::new()
            .worker_threads(1)
            .max_blocking_threads(2)
            .blocking_keep_alive(Duration::from_micros(100))
            .build()
            .unwrap();
        for n in 0..3000_u32 {
            let closure = heist::run_coroutine_threadsafe(
                async move { heist::spawn_blocking(move || n).await.unwrap() },
                &runtime,
            );
            assert_eq!(closure.result(Duration::from_secs(20)).unwrap(), n);
            if n % 3 == 0 {
                std::thread::sleep(Duration::from_micros(100));
            }
        }
    });
}

#[test]
fn its_threads_carry_the_runtimes_name() {
    limited(|| {
        let runtime = Builder::new()
            .worker_threads(2)
            .thread_name("mine")
            .build()
            .unwrap();
        let name = || std::thread::current().name().map(str::to_owned);
        let blocking = runtime
            .block_on(runtime.spawn_blocking(name))
            .unwrap()
            .unwrap();
        assert_eq!(blocking.as_deref(), Some("mine-blocking"));
        let names = Arc::new(Mutex::new(HashSet::new()));
        until("both workers seen", || {
            let seen = names.clone();
            let task = runtime.spawn(async move { seen.lock().insert(name()) });
            runtime.block_on(task).unwrap().unwrap();
            crate::support::burn(Duration::from_micros(100));
            let seen = names.lock();
            seen.iter().all(|name| {
                name.as_deref()
                    .is_some_and(|name| name.starts_with("mine-"))
            }) && !seen.is_empty()
        });
    });
}

#[test]
fn a_closure_with_large_captures_and_values_is_fine() {
    limited(|| {
        let runtime = seated();
        let big = vec![1_u8; 10_000_000];
        let array = [2_u64; 4096];
        let sum = runtime.spawn_blocking(move || {
            (
                big.iter().map(|byte| u64::from(*byte)).sum::<u64>() + array.iter().sum::<u64>(),
                array,
            )
        });
        assert_eq!(runtime.block_on(sum).unwrap().unwrap().0, 10_000_000 + 8192);
    });
}

#[test]
fn what_is_queued_at_shutdown_is_ended_unrun() {
    limited(|| {
        let runtime = Builder::new()
            .worker_threads(1)
            .max_blocking_threads(1)
            .build()
            .unwrap();
        let (running, drops, ran) = (
            Gate::default(),
            Drops::default(),
            Arc::new(AtomicUsize::new(0)),
        );
        let started = running.clone();
        let first = runtime.spawn_blocking(move || {
            started.open();
            std::thread::sleep(Duration::from_millis(50));
        });
        running.block();
        let queued: Vec<_> = (0..100)
            .map(|_| {
                let (held, ran) = (drops.one(), ran.clone());
                runtime.spawn_blocking(move || {
                    let _held = held;
                    ran.fetch_add(1, SeqCst);
                })
            })
            .collect();
        let report = runtime.shutdown(Duration::from_secs(20));
        assert!(report.is_complete(), "{report}");
        assert!(first.is_done());
        assert!(queued.iter().all(|task| task.is_cancelled()));
        assert_eq!((drops.dropped(), ran.load(SeqCst)), (100, 0));
    });
}
