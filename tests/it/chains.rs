//! Long chains: nothing in the runtime recurses along them.

use crate::support::{Drops, limited, on_each_flavour, run_until, threaded, until};
use heist::{Task, TaskError};
use std::time::Duration;

#[test]
fn a_chain_of_100_000_tasks_awaiting_each_other_ends() {
    limited(|| {
        on_each_flavour(|flavour, builder| {
            let runtime = builder.build().unwrap();
            let last = runtime
                .run(async {
                    let mut task = heist::spawn(async { 0_u32 });
                    for _ in 1..100_000 {
                        task = heist::spawn(async move { task.await.unwrap() + 1 });
                    }
                    task.await.unwrap()
                })
                .unwrap();
            assert_eq!(last, 99_999, "{flavour}");
        });
    });
}

#[test]
fn a_deep_recursion_of_spawn_and_await_uses_memory_but_no_stack() {
    fn down(depth: u32) -> Task<u32> {
        heist::spawn(async move {
            if depth == 0 {
                return 0;
            }
            down(depth - 1).await.unwrap() + 1
        })
    }
    limited(|| {
        let runtime = threaded(2);
        assert_eq!(
            runtime.run(async { down(200_000).await.unwrap() }).unwrap(),
            200_000
        );
    });
}

#[test]
fn a_chain_of_a_million_suspended_tasks_each_owning_the_next_is_torn_down() {
    limited(|| {
        for end in ["shutdown", "cancel the first"] {
            let runtime = threaded(2);
            let drops = Drops::default();
            let mut task = runtime.spawn(std::future::pending::<()>());
            for _ in 1..1_000_000 {
                let held = drops.one();
                task = runtime.spawn(async move {
                    let _held = held;
                    let _ = task.await;
                });
            }
            if end == "cancel the first" {
                task.cancel(None);
                let ended: Result<(), TaskError> = runtime.block_on(task).unwrap();
                assert!(ended.unwrap_err().is_cancelled());
            }
            let report = runtime.shutdown(Duration::from_secs(50));
            assert!(report.is_complete(), "{report}");
            assert_eq!(drops.dropped(), 999_999);
        }
    });
}

/// A value that owns the next task, whose value owns the next.
struct Link(
    #[expect(dead_code)] Option<Task<Link>>,
    #[expect(dead_code)] crate::support::Counted,
);

#[test]
fn a_chain_of_a_million_values_each_owning_the_next_task_is_dropped_without_recursion() {
    limited(|| {
        for first in ["the handle", "the value", "a task"] {
            let runtime = threaded(2);
            let drops = Drops::default();
            let counted = drops.one();
            let mut task = runtime.spawn(async move { Link(None, counted) });
            for _ in 1..1_000_000 {
                let counted = drops.one();
                task = runtime.spawn(async move { Link(Some(task), counted) });
            }
            run_until(&runtime, "all have ended", || {
                runtime.metrics().tasks_alive == 0
            });
            assert_eq!(drops.dropped(), 0);
            match first {
                "the handle" => drop(task),
                "the value" => drop(runtime.block_on(task).unwrap().unwrap()),
                _ => {
                    let dropping = runtime.spawn(async move { drop(task) });
                    runtime.block_on(dropping).unwrap().unwrap();
                }
            }
            // The last of them may have been about to end: then its worker goes on from there.
            until("all dropped", || drops.dropped() == 1_000_000);
        }
    });
}

#[test]
fn a_chain_of_values_whose_destructors_panic_is_dropped_and_told() {
    struct Sharp(#[expect(dead_code)] Option<Task<Sharp>>);
    impl Drop for Sharp {
        fn drop(&mut self) {
            panic!("sharp");
        }
    }
    limited(|| {
        let told = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let count = told.clone();
        let runtime = heist::Builder::new()
            .worker_threads(1)
            .exception_handler(move |_| {
                count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            })
            .build()
            .unwrap();
        let mut task = runtime.spawn(async { Sharp(None) });
        for _ in 1..1000 {
            task = runtime.spawn(async move { Sharp(Some(task)) });
        }
        run_until(&runtime, "all have ended", || {
            runtime.metrics().tasks_alive == 0
        });
        drop(task);
        until("all told", || {
            told.load(std::sync::atomic::Ordering::SeqCst) == 1000
        });
    });
}

#[test]
fn tasks_that_await_each_other_are_torn_down_and_freed() {
    limited(|| {
        let runtime = threaded(2);
        let drops = Drops::default();
        let (send, receive) = std::sync::mpsc::channel::<Task<()>>();
        let (held, other) = (drops.one(), drops.one());
        let gate = crate::support::Gate::default();
        let passed = gate.passed();
        let first = runtime.spawn(async move {
            let _held = held;
            passed.await;
            let second = receive.try_recv().unwrap();
            let _ = second.await;
        });
        let second = runtime.spawn(async move {
            let _other = other;
            let _ = first.await;
        });
        send.send(second).unwrap();
        gate.open();
        assert_eq!(drops.dropped(), 0);
        let report = runtime.shutdown(Duration::from_secs(10));
        assert!(report.is_complete(), "{report}");
        assert_eq!(drops.dropped(), 2);
    });
}
