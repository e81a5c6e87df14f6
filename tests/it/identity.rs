//! Which runtime, which worker, which task; what the counters say.

use crate::support::{Gate, limited, on_each_flavour, seated, threaded, until};
use heist::{Handle, all_tasks, current_task, current_worker};
use std::time::Duration;

#[test]
fn outside_of_everything_there_is_nothing() {
    limited(|| {
        assert!(Handle::current().is_none());
        assert!(current_task().is_none());
        assert!(current_worker().is_none());
        assert!(all_tasks().is_empty());
        let drops = crate::support::Drops::default();
        let held = drops.one();
        let task = heist::spawn(async move { drop(held) });
        assert!(task.is_done() && !task.is_cancelled());
        assert_eq!(drops.dropped(), 1);
        let blocking = heist::spawn_blocking(|| 1);
        let runtime = threaded(1);
        for outcome in [
            runtime.block_on(task).unwrap(),
            runtime.block_on(blocking).unwrap().map(drop),
        ] {
            let error = outcome.unwrap_err();
            assert!(error.is_refused());
            assert!(
                error
                    .to_string()
                    .contains("no heist runtime on this thread"),
                "{error}"
            );
        }
        drop(heist::spawn_with(|| async {}));
    });
}

#[test]
fn inside_of_a_task_all_is_known() {
    limited(|| {
        on_each_flavour(|flavour, builder| {
            let runtime = builder.build().unwrap();
            let workers = runtime.metrics().workers;
            let gate = Gate::default();
            let others: Vec<_> = (0..5).map(|_| runtime.spawn(gate.passed())).collect();
            let ids: Vec<_> = others.iter().map(heist::Task::id).collect();
            let count = runtime
                .run(async move {
                    let me = current_task().unwrap();
                    assert!(current_worker().unwrap() < workers.max(1) * 2);
                    for _ in 0..10 {
                        heist::task::yield_now().await;
                        assert_eq!(current_task().unwrap(), me, "on whichever worker");
                    }
                    let all = all_tasks();
                    assert!(all.contains(&me));
                    assert!(ids.iter().all(|id| all.iter().any(|task| task.id() == *id)));
                    let handle = Handle::current().unwrap();
                    assert!(handle.all_tasks().len() >= all.len());
                    all.len()
                })
                .unwrap();
            // Five, the task of `run`, and the root that waits for it, if that stands already.
            assert!(count == 6 || count == 7, "{flavour}: {count}");
            gate.open();
            for task in others {
                runtime.block_on(task).unwrap().unwrap();
            }
            assert!(runtime.all_tasks().is_empty());
        });
    });
}

#[test]
fn all_tasks_is_right_while_tasks_come_and_go() {
    limited(|| {
        let runtime = threaded(2);
        let gate = Gate::default();
        let lasting: Vec<_> = (0..20).map(|_| runtime.spawn(gate.passed())).collect();
        std::thread::scope(|scope| {
            let churn = scope.spawn(|| {
                for _ in 0..20_000 {
                    drop(runtime.spawn(async {}));
                }
            });
            while !churn.is_finished() {
                let all = runtime.all_tasks();
                assert!(lasting.iter().all(|task| all.contains(&task.as_ref())));
                for task in &all {
                    assert!(!format!("{task:?}").is_empty());
                }
            }
            churn.join().unwrap();
        });
        gate.open();
        until("all gone", || runtime.all_tasks().is_empty());
    });
}

#[test]
fn what_a_worker_runs_can_be_asked_from_any_thread() {
    limited(|| {
        let runtime = threaded(2);
        assert!((0..10).all(|index| runtime.current_task_of(index).is_none()));
        assert!(runtime.current_task_of(usize::MAX).is_none());
        let (running, go) = (Gate::default(), Gate::default());
        let (started, wait) = (running.clone(), go.clone());
        let task = heist::task::Builder::new()
            .name("asked for")
            .spawn_on(&runtime, async move {
                started.open();
                while !wait.is_open() {
                    std::hint::spin_loop();
                }
                current_worker().unwrap()
            });
        running.block();
        let found: Vec<_> = (0..10)
            .filter_map(|index| Some((index, runtime.current_task_of(index)?)))
            .collect();
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].1, task.as_ref());
        assert_eq!(found[0].1.name(), "asked for");
        go.open();
        assert_eq!(runtime.block_on(task).unwrap().unwrap(), found[0].0);
        until("idle again", || {
            (0..10).all(|index| runtime.current_task_of(index).is_none())
        });
    });
}

fn here() -> Option<usize> {
    // Runtimes are told apart by their numbers of workers.
    Handle::current().map(|handle| handle.metrics().workers)
}

#[test]
fn a_thread_enters_runtimes_one_inside_the_other() {
    limited(|| {
        let (one, two) = (threaded(1), threaded(2));
        {
            let _one = one.enter();
            assert_eq!(here(), Some(1));
            {
                let _two = two.enter();
                assert_eq!(here(), Some(2));
                let _again = one.enter();
                assert_eq!(here(), Some(1));
            }
            assert_eq!(here(), Some(1));
            let task = heist::spawn(async { here() });
            assert_eq!(two.block_on(task).unwrap().unwrap(), Some(1));
            assert!(current_worker().is_none() && current_task().is_none());
        }
        assert_eq!(here(), None);
    });
}

#[test]
fn guards_dropped_out_of_order_leave_no_runtime_entered() {
    limited(|| {
        let (one, two, three) = (threaded(1), threaded(2), threaded(3));
        let (first, second) = (one.enter(), two.enter());
        drop(first);
        assert_eq!(here(), Some(2), "the one entered last");
        drop(second);
        assert_eq!(here(), None);

        let (first, second, third) = (one.enter(), two.enter(), three.enter());
        drop(second);
        assert_eq!(here(), Some(3));
        drop(third);
        assert_eq!(here(), Some(1));
        drop(first);
        assert_eq!(here(), None);
        assert!(heist::spawn(async {}).is_done(), "refused");
    });
}

#[test]
fn a_runtime_entered_inside_a_task_of_another_is_the_current_one() {
    limited(|| {
        for seat in [false, true] {
            let (one, two) = (if seat { seated() } else { threaded(1) }, threaded(2));
            let inner = two.handle().clone();
            let seen = one
                .run(async move {
                    let before = here();
                    let (task, during) = {
                        let _two = inner.enter();
                        (heist::spawn(async { here() }), here())
                    };
                    let after = heist::spawn(async { here() }).await.unwrap();
                    (before, during, task.await.unwrap(), after, here())
                })
                .unwrap();
            assert_eq!(seen, (Some(1), Some(2), Some(2), Some(1), Some(1)));
        }
    });
}

#[test]
fn a_guard_may_outlive_the_runtime() {
    limited(|| {
        let runtime = threaded(1);
        let guard = runtime.enter();
        drop(runtime);
        assert!(Handle::current().unwrap().is_shut_down());
        assert!(heist::spawn(async {}).is_done());
        drop(guard);
        assert!(Handle::current().is_none());
    });
}

#[test]
fn the_counters_add_up() {
    limited(|| {
        on_each_flavour(|flavour, builder| {
            let runtime = builder.build().unwrap();
            let gate = Gate::default();
            let alive: Vec<_> = (0..10).map(|_| runtime.spawn(gate.passed())).collect();
            runtime
                .run(async {
                    let tasks: Vec<_> = (0..1000)
                        .map(|_| heist::spawn(async { heist::task::yield_now().await }))
                        .collect();
                    for task in tasks {
                        task.await.unwrap();
                    }
                    heist::sleep(Duration::from_millis(2)).await;
                    heist::spawn_blocking(|| {}).await.unwrap();
                })
                .unwrap();
            until("released", || runtime.metrics().tasks_alive == 10);
            let metrics = runtime.metrics();
            let total = metrics.total();
            // Ten, run's task and root, a thousand, the closure.
            assert_eq!(metrics.tasks_spawned, 1013, "{flavour}");
            assert!(
                total.polls >= 2000 && total.polls < 10_000,
                "{flavour}: {total:?}"
            );
            assert_eq!(total.timers_fired, 1);
            assert!(total.driver_turns > 0 && total.parks > 0);
            assert!(metrics.per_worker.len() >= metrics.workers);
            assert_eq!((metrics.blocking_threads, metrics.blocking_queue), (1, 0));
            assert_eq!((metrics.injected_queue, total.queue), (0, 0));
            gate.open();
            for task in alive {
                runtime.block_on(task).unwrap().unwrap();
            }
        });
    });
}

/// Asks for everything there is when its thread ends.
struct Asks(std::cell::RefCell<Option<(Handle, crate::support::Gate)>>);

static VAR: heist::context::ContextVar<u32> = heist::context::ContextVar::new("var");

impl Drop for Asks {
    fn drop(&mut self) {
        let Some((handle, done)) = self.0.take() else {
            return;
        };
        let _ = (Handle::current(), current_task(), current_worker());
        let _ = (all_tasks().len(), handle.all_tasks().len(), VAR.get());
        let token = VAR.set(1);
        let _ = VAR.reset(token);
        let mut nap = Box::pin(heist::sleep(Duration::from_millis(1)));
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        let _ = nap.as_mut().poll(&mut cx);
        drop(heist::spawn(async {}));
        drop(heist::spawn_blocking(|| {}));
        let entered = handle.enter();
        drop(heist::spawn(async {}));
        drop(entered);
        let submitted = heist::run_coroutine_threadsafe(async { 1 }, &handle);
        // A value, or an error that says why not; the runtime may be ending.
        match submitted.result(Duration::from_secs(20)) {
            Ok(value) => assert_eq!(value, 1),
            Err(error) => assert!(!error.is_timeout() && !error.is_panic(), "{error}"),
        }
        let inner = handle.clone();
        let ended = handle.block_on(async move {
            heist::sleep(Duration::from_millis(1)).await;
            let value = inner.spawn(async { 2 }).await;
            // With the thread's own variables gone, what goes by them finds no runtime here.
            (value, heist::spawn(async { 3 }).await)
        });
        if let Ok((value, here)) = ended {
            assert!(value.is_ok_and(|value| value == 2));
            assert!(here.map_or_else(|error| error.is_refused(), |value| value == 3));
        }
        done.open();
    }
}

#[test]
fn a_destructor_of_a_thread_local_may_ask_for_everything() {
    // On a thread of its own one is made before anything of the runtime's, the other after: one outlives that, the other does not.
    thread_local! {
        static EARLY: Asks = const { Asks(std::cell::RefCell::new(None)) };
        static LATE: Asks = const { Asks(std::cell::RefCell::new(None)) };
    }
    fn leave(handle: &Handle, dones: &[Gate; 2]) {
        let at = |asks: &Asks, done: &Gate| asks.0.replace(Some((handle.clone(), done.clone())));
        EARLY.with(|asks| drop(at(asks, &dones[0])));
        let used = handle.block_on(heist::sleep(Duration::from_micros(1)));
        drop((used, VAR.get(), Handle::current()));
        LATE.with(|asks| drop(at(asks, &dones[1])));
    }
    limited(|| {
        for place in ["a thread", "a worker", "the blocking pool"] {
            let runtime = threaded(2);
            // What outlives the other runtime's threads.
            let handle = runtime.handle().clone();
            let dones = [Gate::default(), Gate::default()];
            let mine = dones.clone();
            let other = heist::Builder::new()
                .worker_threads(1)
                .blocking_keep_alive(Duration::ZERO)
                .build()
                .unwrap();
            match place {
                "a thread" => std::thread::spawn(move || leave(&handle, &mine))
                    .join()
                    .unwrap(),
                "a worker" => {
                    let leaving = other.spawn(async move { leave(&handle, &mine) });
                    other.block_on(leaving).unwrap().unwrap();
                    assert!(other.shutdown(Duration::from_secs(20)).is_complete());
                }
                _ => {
                    let leaving = other.spawn_blocking(move || leave(&handle, &mine));
                    other.block_on(leaving).unwrap().unwrap();
                }
            }
            until(place, || dones.iter().all(Gate::is_open));
            assert_eq!(runtime.run(async { 3 }).unwrap(), 3, "{place}");
        }
    });
}

#[test]
fn a_thread_of_the_runtime_that_ends_may_ask_its_own_runtime() {
    thread_local! {
        static ASKS: Asks = const { Asks(std::cell::RefCell::new(None)) };
    }
    limited(|| {
        for workers in [1, 4] {
            let runtime = threaded(workers);
            let done = Gate::default();
            let (handle, mine) = (runtime.handle().clone(), done.clone());
            let task = runtime.spawn(async move {
                ASKS.with(|asks| asks.0.replace(Some((handle, mine))));
            });
            runtime.block_on(task).unwrap().unwrap();
            let report = runtime.shutdown(Duration::from_secs(20));
            assert!(report.is_complete(), "{report}");
            until("the worker's thread has ended", || done.is_open());
        }
    });
}
