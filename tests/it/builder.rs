//! What a runtime can be told, absurd things included.

use crate::support::{limited, on_each_flavour, until};
use heist::{Builder, PanicPolicy};
use std::time::Duration;

#[test]
fn zero_workers_are_one() {
    limited(|| {
        let runtime = Builder::new().worker_threads(0).build().unwrap();
        assert_eq!(runtime.metrics().workers, 1);
        assert_eq!(runtime.run(async { 1 }).unwrap(), 1);
    });
}

#[test]
fn absurdly_many_workers_are_bounded_or_an_error() {
    limited(|| {
        match Builder::new()
            .worker_threads(usize::MAX)
            .thread_stack_size(64 * 1024)
            .build()
        {
            Ok(runtime) => {
                assert_eq!(runtime.metrics().workers, 4096);
                assert_eq!(
                    runtime
                        .run(async { heist::spawn(async { 1 }).await.unwrap() })
                        .unwrap(),
                    1
                );
                let report = runtime.shutdown(Duration::from_secs(40));
                assert!(report.is_complete(), "{report}");
            }
            Err(error) => eprintln!("this machine does not start as many: {error}"),
        }
    });
}

#[test]
fn by_default_there_is_a_worker_for_each_core() {
    limited(|| {
        let runtime = heist::Runtime::new().unwrap();
        let cores = std::thread::available_parallelism().unwrap().get();
        assert_eq!(runtime.metrics().workers, cores);
    });
}

#[test]
fn stack_sizes_are_as_asked_and_an_absurd_one_is_an_error() {
    fn deep(n: usize) -> usize {
        let page = std::hint::black_box([n; 512]);
        if n == 0 {
            page.len()
        } else {
            deep(n - 1) + std::hint::black_box(page)[0]
        }
    }
    limited(|| {
        let runtime = Builder::new()
            .worker_threads(1)
            .thread_stack_size(64 << 20)
            .build()
            .unwrap();
        assert!(
            runtime
                .block_on(runtime.spawn(async { deep(1500) }))
                .unwrap()
                .unwrap()
                > 0
        );
        assert!(
            runtime
                .block_on(runtime.spawn_blocking(|| deep(1500)))
                .unwrap()
                .unwrap()
                > 0
        );
        for absurd in [1 << 46, usize::MAX / 2] {
            let error = Builder::new()
                .worker_threads(2)
                .thread_stack_size(absurd)
                .build();
            assert!(error.is_err(), "{absurd}");
        }
        // The current thread needs none, but a blocking closure does: refused with the reason.
        let runtime = Builder::new()
            .current_thread()
            .thread_stack_size(1 << 46)
            .build()
            .unwrap();
        assert_eq!(runtime.run(async { 1 }).unwrap(), 1);
        let refused = runtime
            .block_on(runtime.spawn_blocking(|| 1))
            .unwrap()
            .unwrap_err();
        assert!(refused.is_refused(), "{refused}");
        assert!(std::error::Error::source(&refused).is_some());
        let tiny = Builder::new()
            .worker_threads(1)
            .thread_stack_size(0)
            .build()
            .unwrap();
        assert_eq!(tiny.block_on(async { 1 }).unwrap(), 1);
    });
}

#[test]
fn odd_thread_names_are_legal() {
    limited(|| {
        for (given, expected) in [("a\0b", "ab-0"), ("", "-0"), ("ünï", "ünï-0"), ("\0", "-0")]
        {
            let runtime = Builder::new()
                .worker_threads(1)
                .thread_name(given)
                .build()
                .unwrap();
            let name = runtime.spawn(async { std::thread::current().name().map(str::to_owned) });
            assert_eq!(
                runtime.block_on(name).unwrap().unwrap().as_deref(),
                Some(expected)
            );
        }
        let long = "x".repeat(100_000);
        let runtime = Builder::new()
            .worker_threads(1)
            .thread_name(long)
            .build()
            .unwrap();
        assert_eq!(runtime.run(async { 1 }).unwrap(), 1);
    });
}

#[test]
fn absurd_times_are_legal() {
    limited(|| {
        for time in [Duration::ZERO, Duration::MAX] {
            on_each_flavour(|flavour, builder| {
                let runtime = builder
                    .slow_poll_threshold(time)
                    .blocking_keep_alive(time)
                    .shutdown_timeout(time)
                    .panic_policy(PanicPolicy::Report)
                    .build()
                    .unwrap();
                let sum = runtime.run(async {
                    heist::spawn_blocking(|| crate::support::burn(Duration::from_millis(20)))
                        .await
                        .unwrap();
                    crate::support::burn(Duration::from_millis(20));
                    heist::spawn(async { 2 }).await.unwrap()
                });
                assert_eq!(sum.unwrap(), 2, "{flavour}");
                let handle = runtime.handle().clone();
                drop(runtime);
                until("all ended", || handle.all_tasks().is_empty());
            });
        }
    });
}

#[test]
fn a_builder_can_be_used_again_and_shown() {
    limited(|| {
        let builder = Builder::new().worker_threads(2).thread_name("again");
        assert!(format!("{builder:?}").contains("again"));
        let runtimes: Vec<_> = (0..10).map(|_| builder.clone().build().unwrap()).collect();
        for runtime in &runtimes {
            assert_eq!(runtime.run(async { 1 }).unwrap(), 1);
        }
    });
}
