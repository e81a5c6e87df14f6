//! A request to end meets a task in each of its states.

use crate::support::{
    Counted, Drops, Gate, Stuck, limited, on_each_flavour, run_until, seated, threaded, until,
};
use heist::{Builder, Runtime, Task};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

fn ends_cancelled<T: Send + 'static>(runtime: &Runtime, task: Task<T>, message: Option<&str>) {
    let seen = task.as_ref();
    let Err(error) = runtime.block_on(task).unwrap() else {
        panic!("a value after a cancel")
    };
    assert!(error.is_cancelled(), "{error}");
    assert_eq!(error.cancel_message(), message);
    assert!(seen.is_done() && seen.is_cancelled());
    assert!(!seen.cancel("again"), "a finished task refuses");
}

#[test]
fn before_the_first_poll_no_line_of_the_body_runs() {
    limited(|| {
        let drops = Drops::default();
        let ran = Arc::new(AtomicBool::new(false));
        // On the current thread nothing runs before `block_on`.
        let runtime = seated();
        let (held, seen) = (drops.one(), ran.clone());
        let task = runtime.spawn(async move {
            let _held = held;
            seen.store(true, SeqCst);
        });
        assert!(task.cancel("too late"));
        assert!(!task.is_done(), "it ends when it is its turn");
        ends_cancelled(&runtime, task, Some("too late"));
        // On a worker that is busy.
        let runtime = threaded(1);
        let (held, seen) = (drops.one(), ran.clone());
        let tasks = runtime
            .run(async move {
                let task = heist::spawn(async move {
                    let _held = held;
                    seen.store(true, SeqCst);
                });
                task.cancel(None);
                vec![task]
            })
            .unwrap();
        for task in tasks {
            ends_cancelled(&runtime, task, None);
        }
        assert!(!ran.load(SeqCst));
        assert_eq!(drops.dropped(), 2);
    });
}

#[test]
fn suspended_it_is_dropped_at_its_await() {
    limited(|| {
        on_each_flavour(|_, builder| {
            let runtime = builder.build().unwrap();
            let (drops, stuck) = (Drops::default(), Stuck::default());
            let (held, polled) = (drops.one(), stuck.0.clone());
            let task = runtime.spawn(async move {
                let _held = held;
                stuck.await;
                unreachable!("goes on after its cancel");
            });
            run_until(&runtime, "polled", || !polled.lock().is_empty());
            assert!(task.cancel("enough"));
            ends_cancelled(&runtime, task, Some("enough"));
            assert_eq!(drops.dropped(), 1);
        });
    });
}

#[test]
fn queued_it_is_met_at_the_next_suspension_and_a_plain_value_is_dropped() {
    limited(|| {
        let runtime = seated();
        for returns in [true, false] {
            let (drops, stuck) = (Drops::default(), Stuck::default());
            let (held, polled, next) = (drops.one(), stuck.0.clone(), Stuck::default());
            let polled_again = next.0.clone();
            let woken = Arc::new(AtomicUsize::new(0));
            let count = woken.clone();
            let task: Task<Counted> = runtime.spawn(async move {
                let mut first = true;
                std::future::poll_fn(|cx| {
                    stuck.0.lock().push(cx.waker().clone());
                    count.fetch_add(1, SeqCst);
                    if std::mem::take(&mut first) {
                        return std::task::Poll::Pending;
                    }
                    std::task::Poll::Ready(())
                })
                .await;
                if !returns {
                    next.await;
                    unreachable!();
                }
                held
            });
            run_until(&runtime, "polled", || woken.load(SeqCst) == 1);
            // Nobody runs it just now: woken it stands queued.
            polled.lock()[0].wake_by_ref();
            assert!(task.cancel("queued"));
            ends_cancelled(&runtime, task, Some("queued"));
            assert_eq!(
                woken.load(SeqCst),
                2,
                "a foreign leaf is polled, and its value stands"
            );
            assert_eq!(polled_again.lock().len(), usize::from(!returns));
            assert_eq!(drops.dropped(), 1);
        }
    });
}

#[test]
fn running_it_is_met_at_the_next_suspension_or_at_the_end() {
    limited(|| {
        for workers in [1, 2, 4] {
            let runtime = threaded(workers);
            for suspends in [false, true] {
                let (drops, running, go) = (Drops::default(), Gate::default(), Gate::default());
                let (held, started, wait) = (drops.one(), running.clone(), go.clone());
                let task = runtime.spawn(async move {
                    started.open();
                    wait.block();
                    if suspends {
                        std::future::pending::<()>().await;
                    }
                    held
                });
                running.block();
                assert!(task.cancel("from outside"));
                assert!(task.cancel("once more"), "still not ended");
                assert!(!task.is_done());
                go.open();
                ends_cancelled(&runtime, task, Some("once more"));
                assert_eq!(drops.dropped(), 1);
            }
        }
    });
}

#[test]
fn by_itself_it_is_met_at_the_next_suspension_or_at_the_end() {
    limited(|| {
        on_each_flavour(|_, builder| {
            let runtime = builder.build().unwrap();
            for suspends in [false, true] {
                let drops = Drops::default();
                let held = drops.one();
                let task = runtime.spawn(async move {
                    assert!(heist::current_task().unwrap().cancel("myself"));
                    if suspends {
                        heist::task::yield_now().await;
                        unreachable!("a yield is a suspension");
                    }
                    held
                });
                ends_cancelled(&runtime, task, Some("myself"));
                assert_eq!(drops.dropped(), 1);
            }
        });
    });
}

#[test]
fn a_panic_after_the_request_stands() {
    limited(|| {
        let runtime = threaded(1);
        let task = runtime.spawn(async {
            heist::current_task().unwrap().cancel(None);
            panic!("stands");
        });
        let error: heist::TaskError = runtime.block_on::<Task<()>>(task).unwrap().unwrap_err();
        assert_eq!(error.panic_message(), Some("stands"));
    });
}

#[test]
fn done_it_refuses_and_keeps_its_value() {
    limited(|| {
        on_each_flavour(|_, builder| {
            let runtime = builder.build().unwrap();
            let task = runtime.spawn(async { 5 });
            let seen = task.as_ref();
            run_until(&runtime, "done", || seen.is_done());
            assert!(!task.cancel("late") && !seen.cancel(None));
            assert!(!task.is_cancelled());
            assert_eq!(runtime.block_on(task).unwrap().unwrap(), 5);
        });
    });
}

#[test]
fn the_last_message_counts_and_none_replaces_one() {
    limited(|| {
        for (messages, last) in [
            (vec![Some("a"), Some("b")], Some("b")),
            (vec![None, Some("b")], Some("b")),
            (vec![Some("a"), None], None),
            // As in asyncio, where the exception has no argument then.
            (vec![Some("")], None),
        ] {
            let runtime = seated();
            let task = runtime.spawn(std::future::pending::<()>());
            for message in messages {
                assert!(task.cancel(message));
            }
            ends_cancelled(&runtime, task, last);
        }
    });
}

#[test]
fn one_task_cancels_another_and_learns_of_its_end() {
    limited(|| {
        on_each_flavour(|_, builder| {
            let runtime = builder.build().unwrap();
            let ended = runtime
                .run(async {
                    let victim = heist::spawn(heist::sleep(Duration::from_secs(3600)));
                    heist::task::yield_now().await;
                    victim.cancel("by another");
                    victim.await.unwrap_err()
                })
                .unwrap();
            assert!(ended.is_cancelled());
        });
    });
}

#[test]
fn a_forced_yield_is_no_point_of_cancellation() {
    limited(|| {
        let runtime = threaded(1);
        let passed = Arc::new(AtomicUsize::new(0));
        let count = passed.clone();
        let task = runtime.spawn(async move {
            // All of them are done before the first is awaited: none suspends.
            let done: Vec<_> = (0..1000).map(|n| heist::spawn(async move { n })).collect();
            while !done.iter().all(Task::is_done) {
                heist::sleep(Duration::from_millis(1)).await;
            }
            heist::current_task().unwrap().cancel("kept");
            for task in done {
                task.await.unwrap();
                count.fetch_add(1, SeqCst);
            }
            heist::task::yield_now().await;
            unreachable!();
        });
        ends_cancelled(&runtime, task, Some("kept"));
        assert_eq!(
            passed.load(SeqCst),
            1000,
            "the budget is spent several times on the way"
        );
    });
}

#[test]
fn a_blocking_closure_is_cancelled_while_it_waits_and_not_while_it_runs() {
    limited(|| {
        for workers in [1, 2] {
            let runtime = Builder::new()
                .worker_threads(workers)
                .max_blocking_threads(1)
                .build()
                .unwrap();
            let (drops, running, go) = (Drops::default(), Gate::default(), Gate::default());
            let (held, started, wait) = (drops.one(), running.clone(), go.clone());
            let first = runtime.spawn_blocking(move || {
                started.open();
                wait.block();
                held
            });
            running.block();
            let ran = Arc::new(AtomicBool::new(false));
            let (seen, held) = (ran.clone(), drops.one());
            let second = runtime.spawn_blocking(move || {
                let _held = held;
                seen.store(true, SeqCst);
            });
            assert!(second.cancel("queued"));
            assert!(first.cancel("running"));
            assert!(!first.is_done(), "a running closure goes on");
            go.open();
            ends_cancelled(&runtime, first, Some("running"));
            ends_cancelled(&runtime, second, Some("queued"));
            assert!(!ran.load(SeqCst));
            assert_eq!(drops.dropped(), 2, "its value was dropped");
        }
    });
}

#[test]
fn a_root_task_can_be_cancelled() {
    limited(|| {
        on_each_flavour(|flavour, builder| {
            let runtime = builder.build().unwrap();
            let (drops, found) = (Drops::default(), Mutex::new(None));
            std::thread::scope(|scope| {
                let waiting = scope.spawn(|| {
                    let held = drops.one();
                    runtime.block_on(async {
                        let _held = held;
                        *found.lock() = heist::current_task();
                        std::future::pending::<()>().await;
                    })
                });
                until("running", || found.lock().is_some());
                assert!(found.lock().take().unwrap().cancel("root"));
                let error = waiting.join().unwrap().unwrap_err();
                assert_eq!(error.cancel_message(), Some("root"), "{flavour}");
            });
            assert_eq!(drops.dropped(), 1);
        });
    });
}

#[test]
fn cancels_race_polls_wakes_joins_and_drops_and_each_value_is_dropped_once() {
    limited(|| {
        for workers in [1, 2, 4] {
            let runtime = threaded(workers);
            let drops = Drops::default();
            for round in 0..2000 {
                let (in_future, in_value) = (drops.one(), drops.one());
                let gate = Gate::default();
                let passed = gate.passed();
                let task = runtime.spawn(async move {
                    let _held = in_future;
                    if round % 3 != 0 {
                        passed.await;
                    }
                    in_value
                });
                let seen = task.as_ref();
                let opener = heist::run_coroutine_threadsafe(async move { gate.open() }, &runtime);
                let accepted = if round % 2 == 0 {
                    task.cancel("race")
                } else {
                    seen.cancel(None)
                };
                if round % 5 == 0 {
                    drop(task);
                } else {
                    match runtime.block_on(task).unwrap() {
                        // A value is given only if the request was refused.
                        Ok(value) => {
                            assert!(!accepted);
                            drop(value);
                        }
                        Err(error) => assert!(accepted && error.is_cancelled()),
                    }
                }
                opener.result(None).unwrap();
            }
            until("all have ended", || runtime.metrics().tasks_alive == 0);
            until("all dropped", || drops.dropped() == 4000);
            assert_eq!(drops.made(), 4000);
        }
    });
}

/// Two tasks a layer, each awaits both of the layer below: 2^40 ways lead from the top to the bottom.
#[test]
fn many_ways_to_the_same_task_take_no_longer_than_few() {
    limited(|| {
        on_each_flavour(|flavour, builder| {
            let runtime = builder.build().unwrap();
            runtime
                .block_on(async {
                    let (drops, begun) = (Drops::default(), Arc::new(AtomicUsize::new(0)));
                    let bottom = |held| async move {
                        let _held = held;
                        std::future::pending::<()>().await
                    };
                    let one = |held| heist::spawn(bottom(held)).shared();
                    let mut below = [one(drops.one()), one(drops.one())];
                    for _ in 0..40 {
                        let layer = || {
                            let (below, held) = (below.clone(), drops.one());
                            let begun = begun.clone();
                            let body = async move {
                                let _held = held;
                                begun.fetch_add(1, SeqCst);
                                let _ = heist::gather(below).await;
                            };
                            heist::spawn(body).shared()
                        };
                        below = [layer(), layer()];
                    }
                    let sleeps = |task: &heist::TaskRef| !format!("{task:?}").contains("queued>");
                    while !heist::all_tasks().iter().all(sleeps) || begun.load(SeqCst) < 80 {
                        heist::task::yield_now().await;
                    }
                    let [top, other] = below;
                    assert!(top.cancel("from the top"), "{flavour}");
                    let _ = top.await;
                    other.cancel(None);
                    let _ = other.await;
                    while drops.dropped() < 82 {
                        heist::task::yield_now().await;
                    }
                })
                .unwrap();
        });
    });
}
