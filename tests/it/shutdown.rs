//! Everybody out, in bounded time, from anywhere; nothing hangs afterwards.

use crate::support::{
    Drops, Gate, burn, limited, on_each_flavour, run_until, seated, threaded, until,
};
use heist::{Builder, Handle, Runtime, run_coroutine_threadsafe};
use parking_lot::Mutex;
use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

const PLENTY: Duration = Duration::from_secs(20);

#[test]
fn a_complete_shutdown_says_so_and_leaves_nothing() {
    limited(|| {
        on_each_flavour(|flavour, builder| {
            let runtime = builder.build().unwrap();
            let drops = Drops::default();
            let tasks: Vec<_> = (0..100)
                .map(|n| {
                    let held = drops.one();
                    runtime.spawn(async move {
                        let _held = held;
                        match n % 3 {
                            0 => std::future::pending().await,
                            1 => heist::sleep(Duration::from_secs(3600)).await,
                            _ => loop {
                                heist::task::yield_now().await;
                            },
                        }
                    })
                })
                .collect();
            runtime
                .block_on(heist::sleep(Duration::from_millis(2)))
                .unwrap();
            let report = runtime.shutdown(PLENTY);
            assert!(report.is_complete(), "{flavour}: {report}");
            assert!(report.workers_ended && report.late_tasks.is_empty());
            assert!(report.to_string().starts_with("everything ended within"));
            assert_eq!(drops.dropped(), 100);
            assert!(tasks.iter().all(|task| task.is_cancelled()));
            assert!(runtime.all_tasks().is_empty());
            assert!(runtime.is_shut_down());
        });
    });
}

#[test]
fn destructors_run_on_the_workers_inside_the_runtime() {
    struct Looks(Arc<Mutex<Vec<bool>>>);
    impl Drop for Looks {
        fn drop(&mut self) {
            let seen = [
                Handle::current().is_some(),
                heist::current_task().is_some(),
                heist::current_worker().is_some(),
            ];
            self.0.lock().extend(seen);
        }
    }
    limited(|| {
        let runtime = threaded(2);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let looks = Looks(seen.clone());
        runtime.spawn(async move {
            let _looks = looks;
            std::future::pending::<()>().await;
        });
        run_until(&runtime, "polled", || runtime.metrics().total().polls > 0);
        drop(runtime);
        assert_eq!(*seen.lock(), [true, true, true]);
    });
}

#[test]
fn a_destructor_may_spawn_while_the_runtime_shuts_down() {
    struct Spawns(Arc<Mutex<Vec<bool>>>);
    impl Drop for Spawns {
        fn drop(&mut self) {
            let task = heist::spawn(async {});
            let blocking = heist::spawn_blocking(|| {});
            let handle = Handle::current().unwrap();
            let submitted = run_coroutine_threadsafe(async {}, &handle);
            self.0
                .lock()
                .push(task.is_done() && blocking.is_done() && submitted.done());
            assert!(handle.block_on(async {}).is_err());
        }
    }
    limited(|| {
        on_each_flavour(|flavour, builder| {
            let runtime = builder.build().unwrap();
            let seen = Arc::new(Mutex::new(Vec::new()));
            for _ in 0..10 {
                let spawns = Spawns(seen.clone());
                runtime.spawn(async move {
                    let _spawns = spawns;
                    std::future::pending::<()>().await;
                });
            }
            let report = runtime.shutdown(PLENTY);
            assert!(report.is_complete(), "{flavour}: {report}");
            assert_eq!(*seen.lock(), [true; 10], "refused at once");
        });
    });
}

#[test]
fn a_task_stuck_in_its_poll_is_named_and_the_deadline_kept() {
    limited(|| {
        for burns in [false, true] {
            let runtime = threaded(1);
            let (running, stop) = (Gate::default(), Gate::default());
            let (started, wait) = (running.clone(), stop.clone());
            let late =
                heist::task::Builder::new()
                    .name("the late one")
                    .spawn_on(&runtime, async move {
                        started.open();
                        while !wait.is_open() {
                            if burns {
                                burn(Duration::from_millis(1))
                            } else {
                                std::thread::sleep(Duration::from_millis(1))
                            }
                        }
                        std::future::pending::<()>().await;
                    });
            running.block();
            let began = Instant::now();
            let report = runtime.shutdown(Duration::from_millis(100));
            let took = began.elapsed();
            assert!(
                took >= Duration::from_millis(100) && took < Duration::from_millis(1100),
                "{took:?}"
            );
            assert!(!report.is_complete() && !report.workers_ended);
            let found = report
                .late_tasks
                .iter()
                .find(|late| late.task.name() == "the late one")
                .unwrap();
            assert_eq!(found.phase, "running");
            assert_eq!(found.task.spawned_at(), late.as_ref().spawned_at());
            assert_eq!(found.task, late.as_ref());
            let text = report.to_string();
            assert!(
                text.contains("the late one") && text.contains("shutdown.rs"),
                "{text}"
            );
            assert!(text.contains("worker thread is still in a poll"), "{text}");
            // What was late ends when its poll returns.
            stop.open();
            until("ended", || late.is_done());
            assert!(late.is_cancelled());
        }
    });
}

#[test]
fn waiters_of_queued_tasks_get_an_error_although_a_worker_is_stuck() {
    limited(|| {
        for deadline in [Duration::ZERO, Duration::from_millis(50)] {
            let runtime = threaded(1);
            let drops = Drops::default();
            let (running, stop) = (Gate::default(), Gate::default());
            let waiting: Vec<_> = (0..50)
                .map(|_| {
                    let held = drops.one();
                    run_coroutine_threadsafe(
                        async move {
                            let _held = held;
                            std::future::pending::<()>().await;
                        },
                        &runtime,
                    )
                })
                .collect();
            let (started, wait) = (running.clone(), stop.clone());
            let busy = run_coroutine_threadsafe(
                async move {
                    started.open();
                    while !wait.is_open() {
                        burn(Duration::from_micros(100));
                    }
                },
                &runtime,
            );
            running.block();
            let report = runtime.shutdown(deadline);
            assert!(!report.is_complete());
            stop.open();
            for future in waiting {
                let error = future.result(PLENTY).unwrap_err();
                assert!(error.is_cancelled(), "{error}");
            }
            assert!(busy.result(PLENTY).unwrap_err().is_cancelled());
            assert_eq!(drops.dropped(), 50);
        }
    });
}

#[test]
fn with_no_time_at_all_every_task_ends_all_the_same() {
    limited(|| {
        on_each_flavour(|flavour, builder| {
            for _ in 0..30 {
                let runtime = builder.clone().build().unwrap();
                let drops = Drops::default();
                let waiting: Vec<_> = (0..100)
                    .map(|n| {
                        let held = drops.one();
                        let future = async move {
                            let _held = held;
                            heist::task::yield_now().await;
                            std::future::pending::<()>().await;
                        };
                        (n, run_coroutine_threadsafe(future, &runtime))
                    })
                    .collect();
                runtime.shutdown(Duration::ZERO);
                for (n, future) in waiting {
                    let error = future.result(PLENTY).expect_err(flavour);
                    assert!(
                        !error.is_timeout(),
                        "{flavour}: task {n} was left behind: {future:?}"
                    );
                }
                until("all dropped", || drops.dropped() == 100);
            }
        });
    });
}

#[test]
fn late_blocking_threads_are_counted_and_what_waits_for_a_thread_is_ended() {
    limited(|| {
        let runtime = Builder::new()
            .worker_threads(1)
            .max_blocking_threads(2)
            .build()
            .unwrap();
        let (stop, running) = (
            Gate::default(),
            Arc::new(std::sync::atomic::AtomicUsize::new(0)),
        );
        let late: Vec<_> = (0..2)
            .map(|_| {
                let (wait, running) = (stop.clone(), running.clone());
                runtime.spawn_blocking(move || {
                    running.fetch_add(1, SeqCst);
                    wait.block();
                })
            })
            .collect();
        until("both run", || running.load(SeqCst) == 2);
        let drops = Drops::default();
        let queued: Vec<_> = (0..20)
            .map(|_| {
                let held = drops.one();
                runtime.spawn_blocking(move || drop(held))
            })
            .collect();
        let began = Instant::now();
        let report = runtime.shutdown(Duration::from_millis(100));
        assert!(began.elapsed() < Duration::from_millis(1100));
        assert_eq!(report.late_blocking_threads, 2);
        assert!(
            report.to_string().contains("2 blocking threads"),
            "{report}"
        );
        assert!(queued.iter().all(|task| task.is_cancelled()), "{report}");
        assert_eq!(drops.dropped(), 20);
        assert_eq!(report.late_tasks.len(), 2);
        stop.open();
        until("the late ones end too", || {
            late.iter().all(|task| task.is_done())
        });
    });
}

#[test]
fn eight_threads_at_once_get_the_same_report() {
    limited(|| {
        for round in 0..50 {
            let runtime = threaded(1 + round % 4);
            for _ in 0..20 {
                runtime.spawn(std::future::pending::<()>());
            }
            let reports: Vec<_> = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..8)
                    .map(|_| scope.spawn(|| runtime.shutdown(PLENTY)))
                    .collect();
                threads
                    .into_iter()
                    .map(|thread| thread.join().unwrap())
                    .collect()
            });
            for report in &reports {
                assert!(report.is_complete(), "{report}");
                assert_eq!(report.took, reports[0].took);
            }
            assert!(
                runtime.shutdown(Duration::ZERO).is_complete(),
                "and once more"
            );
        }
    });
}

#[test]
fn a_task_may_shut_its_own_runtime_down() {
    limited(|| {
        for workers in [1, 2, 4] {
            let runtime = Arc::new(threaded(workers));
            let bystander = runtime.spawn(std::future::pending::<()>());
            let mine = runtime.clone();
            let began = Instant::now();
            let shutting = runtime.spawn(async move {
                let report = mine.shutdown(PLENTY);
                assert!(report.is_complete(), "{report}");
                7
            });
            let seen = shutting.as_ref();
            until("ended", || seen.is_done());
            assert!(began.elapsed() < PLENTY);
            assert!(bystander.is_cancelled());
            let value = heist::run(shutting).unwrap();
            assert_eq!(value.unwrap(), 7, "it was not asked to end itself");
        }
    });
}

#[test]
fn a_root_may_shut_its_own_runtime_down() {
    limited(|| {
        on_each_flavour(|flavour, builder| {
            let runtime = builder.build().unwrap();
            let left = runtime.spawn(std::future::pending::<()>());
            let began = Instant::now();
            let report = runtime.block_on(async {
                heist::task::yield_now().await;
                runtime.shutdown(PLENTY)
            });
            let report = report.unwrap();
            assert!(report.is_complete(), "{flavour}: {report}");
            assert!(began.elapsed() < PLENTY);
            assert!(left.is_cancelled());
        });
    });
}

#[test]
fn a_task_of_the_current_thread_may_shut_its_own_runtime_down() {
    limited(|| {
        let runtime = Arc::new(seated());
        let mine = runtime.clone();
        let left = runtime.spawn(std::future::pending::<()>());
        let shutting = runtime.spawn(async move { mine.shutdown(Duration::from_millis(200)) });
        let seen = shutting.as_ref();
        // The thread that waits here is the one that has to run what was cancelled, so not all can be ended; but nothing hangs.
        let root = runtime.block_on(async { std::future::pending::<()>().await });
        assert!(root.unwrap_err().is_cancelled());
        until("ended", || seen.is_done() && left.is_done());
    });
}

#[test]
fn a_runtime_may_be_dropped_in_its_own_task_blocking_closure_and_root() {
    limited(|| {
        on_each_flavour(|flavour, builder| {
            for place in ["task", "closure", "root"] {
                let runtime = builder
                    .clone()
                    .shutdown_timeout(Duration::from_millis(500))
                    .build()
                    .unwrap();
                let handle = runtime.handle().clone();
                let (drops, done) = (Drops::default(), Gate::default());
                let (held, ended) = (drops.one(), done.clone());
                runtime.spawn(async move {
                    let _held = held;
                    std::future::pending::<()>().await;
                });
                match place {
                    "task" => drop(handle.spawn(async move {
                        drop(runtime);
                        ended.open();
                    })),
                    "closure" => drop(handle.spawn_blocking(move || {
                        drop(runtime);
                        ended.open();
                    })),
                    _ => {
                        // It shuts down under its own root.
                        let _ = handle.block_on(async move {
                            drop(runtime);
                            ended.open();
                        });
                    }
                }
                if flavour == "current thread" && place == "task" {
                    let _ = handle.block_on(std::future::pending::<()>());
                }
                until("the drop returned", || done.is_open());
                until("all gone", || drops.dropped() == 1);
                assert!(handle.is_shut_down());
                let refused = handle.spawn(async {});
                assert!(refused.is_done(), "{flavour}, {place}");
            }
        });
    });
}

#[test]
fn a_runtime_may_be_dropped_by_the_last_reference_of_its_own_tasks() {
    limited(|| {
        for round in 0..100 {
            let runtime = Arc::new(threaded(1 + round % 3));
            let handle = runtime.handle().clone();
            for _ in 0..8 {
                let runtime = runtime.clone();
                handle.spawn(async move {
                    heist::task::yield_now().await;
                    drop(runtime);
                });
            }
            drop(runtime);
            until("shut down", || handle.is_shut_down());
            until("empty", || handle.all_tasks().is_empty());
        }
    });
}

#[test]
fn a_runtime_may_be_dropped_in_a_destructor_of_a_thread_local() {
    thread_local! {
        static FIRST: RefCell<Option<Runtime>> = const { RefCell::new(None) };
        static SECOND: RefCell<Vec<Runtime>> = const { RefCell::new(Vec::new()) };
    }
    limited(|| {
        for entered in [false, true] {
            let (send, receive) = std::sync::mpsc::channel();
            let began = Instant::now();
            std::thread::spawn(move || {
                let (first, second) = (threaded(2), seated());
                send.send((first.handle().clone(), second.handle().clone()))
                    .unwrap();
                FIRST.with(|place| *place.borrow_mut() = Some(first));
                SECOND.with(|place| place.borrow_mut().push(second));
                if entered {
                    // The runtime's own thread-locals are made last, and go first.
                    FIRST.with(|place| {
                        let place = place.borrow();
                        let runtime = place.as_ref().unwrap();
                        runtime.spawn(std::future::pending::<()>());
                        std::mem::forget(runtime.enter());
                        runtime
                            .block_on(heist::sleep(Duration::from_millis(1)))
                            .unwrap();
                    });
                }
            })
            .join()
            .unwrap();
            let (first, second) = receive.recv().unwrap();
            assert!(first.is_shut_down() && second.is_shut_down());
            assert!(first.all_tasks().is_empty());
            assert!(
                began.elapsed() < Duration::from_secs(5),
                "it did not wait for its deadline"
            );
        }
    });
}

#[test]
fn a_runtime_may_live_in_a_static_for_ever() {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    limited(|| {
        let runtime = RUNTIME.get_or_init(|| threaded(2));
        let threads: Vec<_> = (0..4)
            .map(|n| std::thread::spawn(move || runtime.block_on(runtime.spawn(async move { n }))))
            .collect();
        for (n, thread) in threads.into_iter().enumerate() {
            assert_eq!(thread.join().unwrap().unwrap().unwrap(), n);
        }
        runtime.spawn(std::future::pending::<()>());
    });
}

#[test]
fn after_it_everything_is_refused_with_an_error() {
    limited(|| {
        on_each_flavour(|flavour, builder| {
            let runtime = builder.build().unwrap();
            let other = threaded(1);
            assert!(runtime.shutdown(PLENTY).is_complete());
            let drops = Drops::default();
            let held = drops.one();
            let task = runtime.spawn(async move { drop(held) });
            let held = drops.one();
            let blocking = runtime.spawn_blocking(move || drop(held));
            assert!(
                task.is_done() && blocking.is_done() && drops.dropped() == 2,
                "{flavour}"
            );
            for outcome in [
                other.block_on(task).unwrap(),
                other.block_on(blocking).unwrap(),
            ] {
                let error = outcome.unwrap_err();
                assert!(error.is_refused() && !error.is_cancelled(), "{error}");
                assert_eq!(error.to_string(), "the heist runtime is shut down");
            }
            let held = drops.one();
            assert!(
                runtime
                    .block_on(async move { drop(held) })
                    .unwrap_err()
                    .is_refused()
            );
            assert_eq!(drops.dropped(), 3);
            assert!(runtime.run(async {}).unwrap_err().is_refused());
            assert!(runtime.shutdown(Duration::ZERO).is_complete());
            let _entered = runtime.enter();
            assert!(heist::spawn(async {}).is_done());
            assert!(!format!("{:?} {:?}", runtime.metrics(), runtime).is_empty());
            assert!(runtime.all_tasks().is_empty());
        });
    });
}

#[test]
fn block_ons_of_other_threads_end_with_the_runtime() {
    limited(|| {
        on_each_flavour(|flavour, builder| {
            let runtime = Arc::new(builder.build().unwrap());
            let threads: Vec<_> = (0..4)
                .map(|n| {
                    let runtime = runtime.clone();
                    std::thread::spawn(move || {
                        runtime.block_on(async move {
                            if n % 2 == 0 {
                                std::future::pending::<()>().await
                            } else {
                                heist::sleep(Duration::from_secs(3600)).await
                            }
                        })
                    })
                })
                .collect();
            until("all wait", || runtime.all_tasks().len() == 4);
            std::thread::sleep(Duration::from_millis(5));
            let report = runtime.shutdown(PLENTY);
            assert!(report.is_complete(), "{flavour}: {report}");
            for thread in threads {
                assert!(thread.join().unwrap().unwrap_err().is_cancelled());
            }
        });
    });
}

#[test]
fn shutdowns_race_drops_spawns_and_panics() {
    limited(|| {
        for round in 0..200 {
            let runtime = Arc::new(threaded(1 + round % 3));
            let stop = Arc::new(AtomicBool::new(false));
            let spawning = {
                let (handle, stop) = (runtime.handle().clone(), stop.clone());
                std::thread::spawn(move || {
                    let mut tasks = Vec::new();
                    while !stop.load(SeqCst) {
                        tasks.push(handle.spawn(async { heist::task::yield_now().await }));
                        drop(
                            handle
                                .spawn(async { heist::spawn(std::future::pending::<()>()).await }),
                        );
                        drop(handle.spawn_blocking(|| {}));
                        if handle.is_shut_down() && tasks.len() > 100 {
                            break;
                        }
                    }
                    tasks
                })
            };
            std::thread::sleep(Duration::from_micros(200));
            let other = runtime.clone();
            let second = std::thread::spawn(move || other.shutdown(PLENTY));
            let report = runtime.shutdown(PLENTY);
            assert!(report.is_complete(), "{report}");
            assert!(second.join().unwrap().is_complete());
            stop.store(true, SeqCst);
            for task in spawning.join().unwrap() {
                until("ended", || task.is_done());
            }
        }
    });
}

#[test]
fn a_task_that_shuts_down_and_suspends_is_ended_from_outside() {
    limited(|| {
        on_each_flavour(|flavour, builder| {
            let drops = Drops::default();
            let runtime = builder.build().unwrap();
            let (held, gate) = (drops.one(), Gate::default());
            let opened = gate.clone();
            let task = runtime.spawn(async move {
                let _held = held;
                Handle::current().unwrap().shutdown(Duration::ZERO);
                opened.open();
                std::future::pending::<()>().await
            });
            // A current-thread runtime runs it while somebody waits, who is ended with the rest.
            let _ = runtime.block_on(gate.passed());
            let task = task.as_ref();
            drop(runtime);
            assert_eq!(drops.dropped(), 1, "{flavour}");
            assert!(task.is_cancelled(), "{flavour}: {task:?}");
        });
    });
}
