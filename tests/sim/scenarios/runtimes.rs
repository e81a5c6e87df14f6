//! Whole runtimes: shutdown, drop, foreign waits, blocking, `block_on` in workers.

use super::{Life, Scene, explore, here};
use heist::{Builder, Handle, Runtime, promise, sleep};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

/// The deadline of shutdowns.
const SOON: Duration = Duration::from_secs(10);
/// What only turns take, and no wait that has to time out.
const AT_ONCE: Duration = Duration::from_secs(2);

/// A runtime inside the simulation, beside the one that runs the scenario.
fn another(scene: &Scene) -> Runtime {
    let workers = 1 + scene.sim.below(3) as usize;
    let builder = Builder::new()
        .worker_threads(workers)
        .max_blocking_threads(2);
    builder.build().expect("threads can be had")
}

/// A shutdown that waited for nothing but what had to end.
fn in_time(report: &heist::ShutdownReport) {
    assert!(report.is_complete() && report.took < AT_ONCE, "{report}");
}

/// After its shutdown.
fn is_settled(handle: &Handle) {
    let audit = handle.audit();
    assert!(audit.is_balanced() && audit.is_settled(), "{audit}");
}

#[test]
fn submissions_meet_a_shutdown() {
    explore(|scene| async move {
        let runtime = another(&scene);
        let (accepted, refused) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let (inner, handle) = (scene.clone(), runtime.handle().clone());
                let (accepted, refused) = (accepted.clone(), refused.clone());
                scene.thread(move || {
                    for _ in 0..3 {
                        inner.dawdle(6);
                        let (work, life) = (inner.clone(), inner.life());
                        let coroutine = async move {
                            let _life = life;
                            work.yields(2).await;
                        };
                        let submitted = heist::run_coroutine_threadsafe(coroutine, &handle);
                        match submitted.result(None) {
                            Err(error) if error.is_refused() => refused.fetch_add(1, SeqCst),
                            Err(error) if !error.is_cancelled() => panic!("{error:?}"),
                            Ok(()) | Err(_) => accepted.fetch_add(1, SeqCst),
                        };
                    }
                })
            })
            .collect();
        let shuts = {
            let (inner, handle) = (scene.clone(), runtime.handle().clone());
            scene.thread(move || {
                inner.dawdle(40);
                handle.shutdown(SOON)
            })
        };
        in_time(&shuts.await);
        for thread in threads {
            thread.await;
        }
        let audit = runtime.audit();
        assert_eq!(audit.accepted, accepted.load(SeqCst) as u64, "{audit}");
        assert_eq!(audit.refused, refused.load(SeqCst) as u64, "{audit}");
        is_settled(runtime.handle());
        assert_eq!(scene.living(), 0);
    });
}

#[test]
fn submissions_meet_a_shutdown_that_does_not_wait() {
    explore(|scene| async move {
        let runtime = another(&scene);
        let submits: Vec<_> = (0..2)
            .map(|_| {
                let (inner, handle) = (scene.clone(), runtime.handle().clone());
                scene.thread(move || {
                    inner.dawdle(6);
                    let (work, life) = (inner.clone(), inner.life());
                    let coroutine = async move {
                        let _life = life;
                        work.yields(1).await;
                    };
                    // It hears of the end, whoever sees to it.
                    let submitted = heist::run_coroutine_threadsafe(coroutine, &handle);
                    submitted.result(None).err()
                })
            })
            .collect();
        let (inner, handle) = (scene.clone(), runtime.handle().clone());
        let shuts = scene.thread(move || {
            inner.dawdle(6);
            handle.shutdown(Duration::ZERO)
        });
        assert!(shuts.await.took < AT_ONCE);
        for thread in submits {
            if let Some(error) = thread.await {
                assert!(error.is_cancelled() || error.is_refused(), "{error:?}");
            }
        }
        sleep(Duration::from_millis(1)).await;
        is_settled(runtime.handle());
        assert_eq!(scene.living(), 0);
    });
}

#[test]
fn two_shutdowns_and_a_drop() {
    explore(|scene| async move {
        let runtime = another(&scene);
        let handle = runtime.handle().clone();
        for _ in 0..3 {
            let (inner, life) = (scene.clone(), scene.life());
            let task = runtime.spawn(async move {
                let _life = life;
                inner.yields(2).await;
                heist::catch_cancel(std::future::pending::<()>()).await.ok();
                inner.yields(2).await;
            });
            task.detach();
        }
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let (inner, handle) = (scene.clone(), handle.clone());
                scene.thread(move || {
                    inner.dawdle(10);
                    handle.shutdown(SOON)
                })
            })
            .collect();
        let drops = {
            let inner = scene.clone();
            scene.thread(move || {
                inner.dawdle(10);
                drop(runtime);
            })
        };
        for thread in threads {
            in_time(&thread.await);
        }
        drops.await;
        assert!(handle.is_shut_down());
        is_settled(&handle);
        assert_eq!(scene.living(), 0);
    });
}

#[test]
fn a_runtime_is_dropped_in_its_own_task() {
    explore(|scene| async move {
        let runtime = Arc::new(another(&scene));
        let handle = runtime.handle().clone();
        let (gone, ended) = promise();
        let (life, mine) = (scene.life(), runtime.clone());
        let task = runtime.spawn(async move {
            let _life = life;
            heist::task::yield_now().await;
            drop(mine);
            gone.set(()).ok();
        });
        let other = scene.life();
        let left = runtime.spawn(async move {
            let _other = other;
            std::future::pending::<()>().await;
        });
        // Whichever is the last.
        drop(runtime);
        let said = ended.await;
        assert!(left.await.unwrap_err().is_cancelled());
        let outcome = task.await;
        assert!(said.is_ok() || outcome.is_err());
        let report = handle.shutdown(SOON);
        assert!(report.late_tasks.is_empty(), "{report}");
    });
}

#[test]
fn a_runtime_is_dropped_in_its_own_blocking_closure() {
    explore(|scene| async move {
        let runtime = another(&scene);
        let handle = runtime.handle().clone();
        let (life, inner) = (scene.life(), scene.clone());
        let (sender, receiver) = promise::<Runtime>();
        let closure = handle.spawn_blocking(move || {
            let _life = life;
            inner.dawdle(5);
            let got = heist_block(receiver);
            drop(got);
        });
        sender.set(runtime).ok();
        closure.await.unwrap();
        is_settled(&handle);
        assert_eq!(scene.living(), 0);
    });
}

/// Waits, on a thread of a pool, for what is there at once or soon.
fn heist_block<T: Send + 'static>(deferred: heist::Deferred<T>) -> T {
    let handle = here();
    handle.block_on(deferred).unwrap().unwrap()
}

#[test]
fn a_runtime_is_dropped_by_a_thread_while_its_tasks_are_woken() {
    explore(|scene| async move {
        let runtime = another(&scene);
        let event = Arc::new(heist::sync::Event::new());
        for _ in 0..3 {
            let (event, life) = (event.clone(), scene.life());
            let task = runtime.spawn(async move {
                let _life = life;
                loop {
                    event.wait().await;
                    event.clear();
                }
            });
            task.detach();
        }
        let wakes = {
            let inner = scene.clone();
            scene.thread(move || {
                for _ in 0..8 {
                    inner.dawdle(5);
                    event.set();
                }
            })
        };
        let inner = scene.clone();
        let drops = scene.thread(move || {
            inner.dawdle(15);
            let handle = runtime.handle().clone();
            drop(runtime);
            handle
        });
        is_settled(&drops.await);
        wakes.await;
        assert_eq!(scene.living(), 0);
    });
}

#[test]
fn wakers_outlive_their_runtime() {
    explore(|scene| async move {
        let runtime = another(&scene);
        let (sender, receiver) = promise();
        let (mut sender, life) = (Some(sender), scene.life());
        let task = runtime.spawn(async move {
            let _life = life;
            std::future::poll_fn(|cx| {
                if let Some(sender) = sender.take() {
                    sender.set(cx.waker().clone()).ok();
                }
                std::task::Poll::<()>::Pending
            })
            .await
        });
        let waker = receiver.await.unwrap();
        let inner = scene.clone();
        let wakes = scene.thread(move || {
            for _ in 0..6 {
                inner.dawdle(6);
                waker.wake_by_ref();
                drop(waker.clone());
            }
            waker
        });
        let inner = scene.clone();
        let drops = scene.thread(move || {
            inner.dawdle(10);
            drop(runtime);
        });
        assert!(task.await.unwrap_err().is_cancelled());
        drops.await;
        wakes.await.wake();
        assert_eq!(scene.living(), 0);
    });
}

#[test]
fn spawns_meet_a_shutdown_from_inside() {
    explore(|scene| async move {
        let runtime = another(&scene);
        let inner = scene.clone();
        let root = scene.life();
        let task = runtime.spawn(async move {
            let _root = root;
            let mut tasks = Vec::new();
            for _ in 0..6 {
                let life = inner.life();
                tasks.push(heist::spawn(async move {
                    let _life = life;
                    std::future::pending::<()>().await;
                }));
                inner.yields(1).await;
            }
            for task in tasks {
                let error = task.await.unwrap_err();
                assert!(error.is_cancelled() || error.is_refused(), "{error}");
            }
        });
        let (other, handle) = (scene.clone(), runtime.handle().clone());
        let shuts = scene.thread(move || {
            other.dawdle(25);
            handle.shutdown(SOON)
        });
        if let Err(error) = task.await {
            assert!(error.is_cancelled() || error.is_refused(), "{error}");
        }
        in_time(&shuts.await);
        is_settled(runtime.handle());
        assert_eq!(scene.living(), 0);
    });
}

#[test]
fn a_foreign_wait_hears_of_the_runtimes_end() {
    explore(|scene| async move {
        let runtime = another(&scene);
        let waits: Vec<_> = (0..2)
            .map(|_| {
                let (handle, life) = (runtime.handle().clone(), scene.life());
                scene.thread(move || {
                    let never = async move {
                        let _life = life;
                        std::future::pending::<()>().await;
                    };
                    let submitted = heist::run_coroutine_threadsafe(never, &handle);
                    submitted.result(None).unwrap_err()
                })
            })
            .collect();
        let inner = scene.clone();
        let drops = scene.thread(move || {
            inner.dawdle(20);
            drop(runtime);
        });
        for thread in waits {
            let error = thread.await;
            assert!(error.is_cancelled() || error.is_refused(), "{error:?}");
        }
        drops.await;
        assert_eq!(scene.living(), 0);
    });
}

#[test]
fn block_on_from_outside_meets_wakes_and_a_shutdown() {
    explore(|scene| async move {
        let runtime = another(&scene);
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let (inner, handle) = (scene.clone(), runtime.handle().clone());
                scene.thread(move || {
                    inner.dawdle(10);
                    let work = inner.clone();
                    let blocked = handle.block_on(async move {
                        let _life = work.life();
                        let task = heist::spawn(async { 3 });
                        let three = heist::task::propagate_cancelled(task).await;
                        work.yields(2).await;
                        three
                    });
                    match blocked {
                        Ok(Ok(three)) => assert_eq!(three, 3),
                        Ok(Err(error)) | Err(error) => {
                            assert!(error.is_cancelled() || error.is_refused(), "{error}");
                        }
                    }
                })
            })
            .collect();
        let (inner, handle) = (scene.clone(), runtime.handle().clone());
        let shuts = scene.thread(move || {
            inner.dawdle(40);
            handle.shutdown(SOON)
        });
        for thread in threads {
            thread.await;
        }
        in_time(&shuts.await);
        is_settled(runtime.handle());
        assert_eq!(scene.living(), 0);
    });
}

#[test]
fn what_a_task_that_shuts_its_runtime_down_leaves_has_ended_after_the_next_shutdown() {
    explore(|scene| async move {
        let runtime = another(&scene);
        let (inner, handle) = (scene.clone(), runtime.handle().clone());
        let task = runtime.spawn(async move {
            let _life = inner.life();
            handle.shutdown(Duration::ZERO);
            drop(handle);
            std::future::pending::<()>().await;
        });
        let inner = scene.clone();
        let task = task.as_ref();
        let ended = scene.thread(move || {
            inner.dawdle(60);
            drop(runtime);
            task.is_done()
        });
        assert!(ended.await, "a drop waits for it");
        assert_eq!(scene.living(), 0);
    });
}

#[test]
fn block_on_in_workers_never_runs_out_of_them() {
    explore(|scene| async move {
        let began = heist::time::now();
        let tasks: Vec<_> = (0..5)
            .map(|n: u64| {
                let (inner, handle) = (scene.clone(), here());
                scene.spawn(async move {
                    let (deep, outer) = (inner.clone(), handle.clone());
                    let blocked = handle.block_on(async move {
                        let task = heist::spawn(async move {
                            deep.yields(2).await;
                            outer.block_on(async move {
                                sleep(Duration::from_millis(n % 3)).await;
                                n
                            })
                        });
                        task.await.unwrap().unwrap()
                    });
                    inner.yields(1).await;
                    blocked.unwrap()
                })
            })
            .collect();
        for (n, task) in tasks.into_iter().enumerate() {
            assert_eq!(task.await.unwrap(), n as u64);
        }
        assert!(
            heist::time::now() - began < AT_ONCE,
            "somebody waited in vain"
        );
        assert_eq!(scene.living(), 0);
    });
}

#[test]
fn blocking_closures_run_once_each_whatever_becomes_of_the_threads() {
    explore(|scene| async move {
        let keep_alive = Duration::from_micros(scene.sim.below(3) * 5);
        let builder = Builder::new().worker_threads(1).max_blocking_threads(2);
        let runtime = builder.blocking_keep_alive(keep_alive).build().unwrap();
        let runs = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let (inner, handle, runs) = (scene.clone(), runtime.handle().clone(), runs.clone());
                scene.thread(move || {
                    let tasks = (0..4).map(|_| {
                        inner.dawdle(8);
                        let (work, life, runs) = (inner.clone(), inner.life(), runs.clone());
                        handle.spawn_blocking(move || {
                            work.dawdle(3);
                            runs.fetch_add(1, SeqCst);
                            life
                        })
                    });
                    tasks.collect::<Vec<_>>()
                })
            })
            .collect();
        for thread in threads {
            for task in thread.await {
                drop::<Life>(task.await.unwrap());
            }
        }
        assert_eq!(runs.load(SeqCst), 8);
        assert_eq!(scene.living(), 0);
        in_time(&runtime.shutdown(SOON));
        is_settled(runtime.handle());
    });
}

#[test]
fn blocking_closures_meet_a_cancel_and_a_shutdown() {
    explore(|scene| async move {
        let runtime = another(&scene);
        let runs = Arc::new(AtomicUsize::new(0));
        let tasks: Vec<_> = (0..5)
            .map(|_| {
                let (inner, life, runs) = (scene.clone(), scene.life(), runs.clone());
                runtime.spawn_blocking(move || {
                    let _life = life;
                    inner.dawdle(5);
                    runs.fetch_add(1, SeqCst);
                })
            })
            .collect();
        let cancelled = tasks[4].as_ref();
        let (inner, handle) = (scene.clone(), runtime.handle().clone());
        let shuts = scene.thread(move || {
            inner.dawdle(10);
            cancelled.cancel("not that one");
            inner.dawdle(20);
            handle.shutdown(SOON)
        });
        let mut ended = 0;
        for task in tasks {
            match task.await {
                Ok(()) => ended += 1,
                Err(error) => assert!(error.is_cancelled() || error.is_refused(), "{error}"),
            }
        }
        in_time(&shuts.await);
        // One that runs cannot be interrupted: it ends, cancelled, when it returns.
        assert!(ended <= runs.load(SeqCst));
        is_settled(runtime.handle());
        assert_eq!(scene.living(), 0);
    });
}

#[test]
fn a_shutdown_from_a_task_while_another_thread_shuts_down() {
    explore(|scene| async move {
        let runtime = another(&scene);
        let handle = runtime.handle().clone();
        let (inner, mine, life) = (scene.clone(), handle.clone(), scene.life());
        let task = runtime.spawn(async move {
            let _life = life;
            inner.yields(2).await;
            mine.shutdown(SOON).late_tasks.len()
        });
        let (inner, theirs) = (scene.clone(), handle.clone());
        let shuts = scene.thread(move || {
            inner.dawdle(15);
            theirs.shutdown(SOON)
        });
        match task.await {
            Ok(late) => assert_eq!(late, 0),
            Err(error) => assert!(error.is_cancelled() || error.is_refused(), "{error}"),
        }
        let report = shuts.await;
        assert!(
            report.late_tasks.is_empty() && report.took < AT_ONCE,
            "{report}"
        );
        drop(runtime);
        assert_eq!(scene.living(), 0);
    });
}

#[test]
fn two_runtimes_wait_for_each_others_tasks() {
    explore(|scene| async move {
        let (left, right) = (another(&scene), another(&scene));
        let (there, back) = (right.handle().clone(), left.handle().clone());
        let inner = scene.clone();
        let task = left.spawn(async move {
            let deep = inner.clone();
            let other = there.spawn(async move {
                deep.yields(2).await;
                back.spawn(async { 8 }).await.unwrap()
            });
            other.await.unwrap()
        });
        assert_eq!(task.await.unwrap(), 8);
        let (inner, one) = (scene.clone(), left.handle().clone());
        let drops = scene.thread(move || {
            inner.dawdle(5);
            drop(left);
        });
        let other = right.handle().clone();
        drop(right);
        drops.await;
        is_settled(&one);
        is_settled(&other);
    });
}
