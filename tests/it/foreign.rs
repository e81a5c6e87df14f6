//! Threads that know nothing of the runtime submit coroutines and wait for what they give.

use crate::support::{
    Drops, Gate, limited, on_each_flavour, run_until, seated, side_by_side, threaded, until,
};
use heist::{Handle, run_coroutine_threadsafe};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

#[test]
fn eight_threads_submit_ten_thousand_each_and_get_every_result() {
    limited(|| {
        for workers in [1, 4] {
            let runtime = threaded(workers);
            let sum = AtomicUsize::new(0);
            side_by_side(8, |thread| {
                for batch in 0..100 {
                    let futures: Vec<_> = (0..100)
                        .map(|n| {
                            run_coroutine_threadsafe(
                                async move { thread * 7 + batch + n },
                                &runtime,
                            )
                        })
                        .collect();
                    for (n, future) in futures.into_iter().enumerate() {
                        let value = future.result(Duration::from_secs(30)).unwrap();
                        assert_eq!(value, thread * 7 + batch + n);
                        sum.fetch_add(1, SeqCst);
                    }
                }
            });
            assert_eq!(sum.load(SeqCst), 80_000);
            assert!(runtime.metrics().tasks_spawned >= 80_000);
        }
    });
}

#[test]
fn a_result_that_does_not_come_in_time_is_a_timeout_and_may_be_asked_for_again() {
    limited(|| {
        let runtime = threaded(1);
        let gate = Gate::default();
        let passed = gate.passed();
        let future = run_coroutine_threadsafe(
            async move {
                passed.await;
                9
            },
            &runtime,
        );
        for timeout in [Duration::ZERO, Duration::from_millis(20)] {
            let began = Instant::now();
            let error = future.result(timeout).unwrap_err();
            assert!(
                error.is_timeout()
                    && !error.is_cancelled()
                    && !error.is_refused()
                    && !error.is_panic()
            );
            assert!(began.elapsed() >= timeout);
            assert!(error.task_error().is_none() && error.to_string().contains("in time"));
        }
        assert!(future.exception(Duration::ZERO).unwrap_err().is_timeout());
        assert!(!future.done() && !future.cancelled());
        gate.open();
        assert!(future.exception(None).unwrap().is_none());
        assert!(future.done());
        assert_eq!(future.result(Duration::MAX).unwrap(), 9);
        let again = future.result(None).unwrap_err();
        assert!(again.to_string().contains("taken"), "{again}");
    });
}

#[test]
fn a_coroutines_panic_is_its_futures_exception() {
    limited(|| {
        let runtime = threaded(1);
        let future = run_coroutine_threadsafe(async { panic!("foreign") }, &runtime);
        let error: heist::concurrent::Error = future.result(None).map(|(): ()| ()).unwrap_err();
        assert!(error.is_panic());
        assert_eq!(error.task_error().unwrap().panic_message(), Some("foreign"));
        let future = run_coroutine_threadsafe(async { panic!("foreign") }, &runtime);
        assert!(future.exception(None).unwrap().unwrap().is_panic());
        let _: Result<(), _> = future.result(None);
        assert!(!format!("{future:?} {error:?} {error}").is_empty());
    });
}

#[test]
fn a_cancel_reaches_the_coroutine_and_its_end_can_be_waited_for() {
    limited(|| {
        for workers in [1, 2] {
            let runtime = threaded(workers);
            let drops = Drops::default();
            let held = drops.one();
            let future = run_coroutine_threadsafe(
                async move {
                    let _held = held;
                    std::future::pending::<()>().await;
                },
                &runtime,
            );
            assert!(future.cancel());
            assert!(future.cancelled() && future.done(), "at once");
            assert!(future.result(None).unwrap_err().is_cancelled());
            until("the coroutine has ended", || drops.dropped() == 1);
            assert!(future.cancel(), "it was cancelled already");

            let held = drops.one();
            let future = run_coroutine_threadsafe(
                async move {
                    let _held = held;
                    std::future::pending::<()>().await;
                },
                &runtime,
            );
            future.cancel_and_wait(None).unwrap();
            assert_eq!(drops.dropped(), 2);
            assert!(future.cancelled());

            let value = run_coroutine_threadsafe(async { 5 }, &runtime);
            until("done", || value.done());
            value.cancel_and_wait(Duration::ZERO).unwrap();
            assert_eq!(
                value.result(None).unwrap(),
                5,
                "a cancel that came too late takes nothing"
            );

            // A coroutine that sits in its poll is not waited for longer than told.
            let (running, go) = (Gate::default(), Gate::default());
            let (started, wait) = (running.clone(), go.clone());
            let busy = run_coroutine_threadsafe(
                async move {
                    started.open();
                    wait.block();
                },
                &runtime,
            );
            running.block();
            assert!(
                busy.cancel_and_wait(Duration::from_millis(20))
                    .unwrap_err()
                    .is_timeout()
            );
            go.open();
            busy.cancel_and_wait(None).unwrap();
        }
    });
}

#[test]
fn done_callbacks_are_called_once_each_before_or_after_the_end() {
    limited(|| {
        on_each_flavour(|flavour, builder| {
            let runtime = builder.build().unwrap();
            let called = Arc::new(AtomicUsize::new(0));
            let gate = Gate::default();
            let future = run_coroutine_threadsafe(gate.passed(), &runtime);
            let count = |called: &Arc<AtomicUsize>| {
                let called = called.clone();
                move || {
                    called.fetch_add(1, SeqCst);
                }
            };
            for _ in 0..5 {
                future.add_done_callback(count(&called));
            }
            future.add_done_callback(|| panic!("a callback"));
            future.add_done_callback(count(&called));
            assert_eq!(called.load(SeqCst), 0);
            gate.open();
            run_until(&runtime, "called in spite of the one that panics", || {
                called.load(SeqCst) == 6
            });
            future.result(None).unwrap();
            future.add_done_callback(count(&called));
            assert_eq!(called.load(SeqCst), 7, "{flavour}: at once if it has ended");
            let here = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                future.add_done_callback(|| panic!("here and now"));
            }));
            assert!(here.is_err());
            let handle = runtime.handle().clone();
            let (inner, seen) = (called.clone(), Gate::default());
            let ran = seen.clone();
            future.add_done_callback(move || {
                inner.fetch_add(1, SeqCst);
                handle.spawn(async move { ran.open() }).detach();
            });
            run_until(&runtime, "a callback may spawn", || seen.is_open());
            assert_eq!(called.load(SeqCst), 8);
        });
    });
}

#[test]
fn a_callback_is_called_although_the_future_was_dropped() {
    limited(|| {
        on_each_flavour(|_, builder| {
            let runtime = builder.build().unwrap();
            let (gate, called) = (Gate::default(), Gate::default());
            let notice = called.clone();
            run_coroutine_threadsafe(gate.passed(), &runtime)
                .add_done_callback(move || notice.open());
            gate.open();
            run_until(&runtime, "called", || called.is_open());
        });
    });
}

#[test]
fn a_dropped_future_lets_its_coroutine_run_on() {
    limited(|| {
        let runtime = threaded(1);
        let ran = Arc::new(AtomicUsize::new(0));
        for _ in 0..1000 {
            let ran = ran.clone();
            drop(run_coroutine_threadsafe(
                async move {
                    heist::task::yield_now().await;
                    ran.fetch_add(1, SeqCst);
                },
                &runtime,
            ));
        }
        until("all ran", || ran.load(SeqCst) == 1000);
    });
}

#[test]
fn several_threads_wait_on_one_future_and_one_gets_the_value() {
    limited(|| {
        let runtime = threaded(2);
        for _ in 0..50 {
            let gate = Gate::default();
            let passed = gate.passed();
            let future = run_coroutine_threadsafe(
                async move {
                    passed.await;
                    1
                },
                &runtime,
            );
            let (values, errors) = (AtomicUsize::new(0), AtomicUsize::new(0));
            // The last one opens the gate, and waits as well.
            side_by_side(6, |number| {
                if number == 5 {
                    gate.open();
                }
                match future.result(Duration::from_secs(20)) {
                    Ok(value) => values.fetch_add(value, SeqCst),
                    Err(error) => {
                        assert!(!error.is_timeout(), "{error}");
                        errors.fetch_add(1, SeqCst)
                    }
                }
            });
            assert_eq!((values.load(SeqCst), errors.load(SeqCst)), (1, 5));
        }
    });
}

#[test]
fn a_task_may_wait_by_blocking_where_its_worker_can_be_replaced() {
    limited(|| {
        for workers in [1, 2] {
            let runtime = threaded(workers);
            let handle = runtime.handle().clone();
            let value = runtime.run(async move {
                let tasks: Vec<_> = (0..4)
                    .map(|n| {
                        let handle = handle.clone();
                        heist::spawn(async move {
                            let inner = run_coroutine_threadsafe(
                                async move {
                                    heist::sleep(Duration::from_millis(5)).await;
                                    n
                                },
                                &handle,
                            );
                            inner.result(Duration::from_secs(20)).unwrap()
                        })
                    })
                    .collect();
                let mut sum = 0;
                for task in tasks {
                    sum += task.await.unwrap();
                }
                sum
            });
            assert_eq!(value.unwrap(), 6);
        }
        let runtime = seated();
        let handle = runtime.handle().clone();
        let error = runtime.run(async move {
            let never = run_coroutine_threadsafe(async { 1 }, &handle);
            let error = never.result(Duration::from_secs(20)).unwrap_err();
            assert!(never.exception(None).unwrap_err().is_refused());
            assert!(never.cancel_and_wait(None).unwrap_err().is_refused());
            error
        });
        let error = error.unwrap();
        assert!(error.is_refused(), "{error}");
        assert!(error.to_string().contains("await it instead"), "{error}");
    });
}

#[test]
fn a_future_waited_for_when_its_runtime_goes_away_ends_at_once() {
    limited(|| {
        for seat in [false, true] {
            let runtime = if seat { seated() } else { threaded(2) };
            let future = Arc::new(run_coroutine_threadsafe(
                std::future::pending::<()>(),
                &runtime,
            ));
            let waiting: Vec<_> = (0..4)
                .map(|_| {
                    let future = future.clone();
                    std::thread::spawn(move || future.result(None).unwrap_err())
                })
                .collect();
            std::thread::sleep(Duration::from_millis(10));
            drop(runtime);
            for thread in waiting {
                assert!(!thread.join().unwrap().is_timeout());
            }
            assert!(future.cancelled());
        }
    });
}

#[test]
fn what_a_dead_runtime_is_given_it_refuses() {
    limited(|| {
        let handle = threaded(1).handle().clone();
        let drops = Drops::default();
        let held = drops.one();
        let future = run_coroutine_threadsafe(
            async move {
                let _held = held;
            },
            &handle,
        );
        assert_eq!(drops.dropped(), 1);
        assert!(future.done() && !future.cancelled());
        let called = Arc::new(AtomicUsize::new(0));
        let count = called.clone();
        future.add_done_callback(move || {
            count.fetch_add(1, SeqCst);
        });
        assert_eq!(called.load(SeqCst), 1);
        assert!(future.result(None).unwrap_err().is_refused());
        assert!(!future.cancel());
    });
}

fn submit_while_shutting_down(handle: &Handle, drops: &Drops, go: &Barrier) -> [usize; 2] {
    let (mut accepted, mut refused) = (0, 0);
    let mut futures = Vec::new();
    go.wait();
    for n in 0..20 {
        let held = drops.one();
        futures.push(run_coroutine_threadsafe(
            async move {
                let _held = held;
                match n % 4 {
                    0 => heist::task::yield_now().await,
                    1 => heist::sleep(Duration::from_millis(1)).await,
                    2 => std::future::pending().await,
                    _ => {}
                }
            },
            handle,
        ));
    }
    for future in futures {
        match future.result(Duration::from_secs(20)) {
            Ok(()) => accepted += 1,
            Err(error) if error.is_cancelled() => accepted += 1,
            Err(error) if error.is_refused() => refused += 1,
            Err(error) => panic!("a waiter was left: {error}"),
        }
    }
    [accepted, refused]
}

#[test]
fn submissions_that_race_a_shutdown_are_accepted_or_refused_and_none_is_lost() {
    limited(|| {
        let mut met = [0; 2];
        for round in 0..1000_u32 {
            let runtime = threaded(1 + round as usize % 3);
            let drops = Drops::default();
            let go = Arc::new(Barrier::new(3));
            let threads: Vec<_> = (0..2)
                .map(|_| {
                    let (handle, drops, go) = (runtime.handle().clone(), drops.clone(), go.clone());
                    std::thread::spawn(move || submit_while_shutting_down(&handle, &drops, &go))
                })
                .collect();
            go.wait();
            for _ in 0..round % 50 {
                std::hint::spin_loop();
            }
            // Now and then with no time at all: what was accepted is ended all the same.
            let deadline = if round % 4 == 3 {
                Duration::ZERO
            } else {
                Duration::from_secs(20)
            };
            let report = runtime.shutdown(deadline);
            assert!(
                report.is_complete() || deadline == Duration::ZERO,
                "{report}"
            );
            let counts: Vec<_> = threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect();
            let accepted: usize = counts.iter().map(|[accepted, _]| accepted).sum();
            let refused: usize = counts.iter().map(|[_, refused]| refused).sum();
            assert_eq!(accepted + refused, 40);
            assert_eq!(runtime.metrics().tasks_spawned, accepted as u64);
            until("every future dropped", || drops.dropped() == 40);
            assert_eq!(drops.made(), 40);
            met[0] += accepted;
            met[1] += refused;
        }
        eprintln!("accepted {}, refused {}", met[0], met[1]);
        assert!(met[0] > 0 && met[1] > 0, "the race was none: {met:?}");
    });
}

#[test]
fn a_million_futures_that_a_third_thread_drops_leave_nothing() {
    const ALL: usize = 1_000_000;
    limited(|| {
        let runtime = threaded(2);
        let drops = Drops::default();
        // Submitted here, dropped there: before, while and after their coroutines run.
        let (send, receive) = std::sync::mpsc::sync_channel(1000);
        let third = std::thread::spawn(move || receive.into_iter().map(drop).count());
        for n in 0..ALL {
            let held = drops.one();
            let future = run_coroutine_threadsafe(
                async move {
                    if n % 16 == 0 {
                        heist::task::yield_now().await;
                    }
                    held
                },
                &runtime,
            );
            send.send(future).unwrap();
        }
        drop(send);
        assert_eq!(third.join().unwrap(), ALL);
        until("all have ended", || runtime.metrics().tasks_alive == 0);
        until("all values dropped", || drops.dropped() == ALL);
        assert!(runtime.all_tasks().is_empty());
    });
}
