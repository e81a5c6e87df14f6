//! Closures that are called soon, or at a time.

use crate::support::{Drops, Gate, limited, on_each_flavour, run_until, seated, threaded, until};
use heist::{CallHandle, Handle, all_tasks, current_task, current_worker};
use parking_lot::Mutex;
use std::panic::panic_any;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

const HOUR: Duration = Duration::from_secs(3600);

/// What callbacks have said, in the order in which they did.
#[derive(Clone)]
struct Log<T>(Arc<Mutex<Vec<T>>>);

impl<T: Send + 'static> Log<T> {
    fn new() -> Self {
        Self(Arc::default())
    }

    fn say(&self, what: T) {
        self.0.lock().push(what);
    }

    fn len(&self) -> usize {
        self.0.lock().len()
    }

    fn take(&self) -> Vec<T> {
        std::mem::take(&mut *self.0.lock())
    }
}

#[test]
fn a_callback_is_called_on_a_worker_and_is_no_task() {
    limited(|| {
        on_each_flavour(|flavour, builder| {
            let runtime = builder.build().unwrap();
            let log = Log::new();
            let said = log.clone();
            let call = runtime.call_soon(move || {
                let here = Handle::current().is_some() && current_worker().is_some();
                let unlisted = all_tasks().iter().all(|task| task.name() != "found");
                let task = heist::task::Builder::new()
                    .name("found")
                    .spawn(std::future::pending::<()>());
                let listed = all_tasks().iter().any(|task| task.name() == "found");
                said.say((here, current_task().is_none(), unlisted && listed));
                task.cancel(None);
            });
            run_until(&runtime, "it is called", || log.len() == 1);
            assert_eq!(log.take(), [(true, true, true)], "{flavour}");
            assert!(!call.cancel() && !call.cancelled() && !call.is_refused());
        });
    });
}

#[test]
fn callbacks_are_not_listed() {
    limited(|| {
        let runtime = threaded(2);
        let (began, gate) = (Gate::default(), Gate::default());
        let timer = runtime.call_later(HOUR, || unreachable!());
        let (begin, wait) = (began.clone(), gate.clone());
        runtime.call_soon(move || {
            begin.open();
            wait.block();
        });
        began.block();
        assert_eq!(runtime.all_tasks(), []);
        assert_eq!(runtime.metrics().tasks_alive, 2);
        assert!((0..2).all(|worker| runtime.current_task_of(worker).is_none()));
        gate.open();
        assert!(timer.cancel());
        until("both are gone", || runtime.metrics().tasks_alive == 0);
    });
}

#[test]
fn a_current_thread_runtime_keeps_the_order() {
    limited(|| {
        const EACH: usize = 500;
        let runtime = seated();
        let log = Log::new();
        let call = |handle: &Handle, n: usize| -> CallHandle {
            let log = log.clone();
            handle.call_soon(move || log.say(n))
        };
        let handle = runtime.handle();
        // From outside, from a task, from a callback; and tasks in between, which are injected, woken and spawned.
        for n in 0..EACH {
            call(handle, n);
            if n % 3 == 0 {
                handle.spawn(async { heist::task::yield_now().await });
            }
        }
        let cancelled: Vec<_> = (0..EACH).map(|_| call(handle, usize::MAX)).collect();
        for n in EACH..2 * EACH {
            call(handle, n);
        }
        assert!(cancelled.iter().all(CallHandle::cancel));
        runtime
            .block_on(async {
                for n in 2 * EACH..3 * EACH {
                    call(handle, n);
                    if n % 7 == 0 {
                        heist::task::yield_now().await;
                    }
                    if n % 5 == 0 {
                        assert!(call(handle, usize::MAX).cancel());
                    }
                }
                let (again, said) = (handle.clone(), log.clone());
                handle.call_soon(move || {
                    for n in 3 * EACH..4 * EACH {
                        let said = said.clone();
                        again.call_soon(move || said.say(n));
                    }
                });
                while log.len() < 4 * EACH {
                    heist::task::yield_now().await;
                }
            })
            .unwrap();
        assert!(log.take().into_iter().eq(0..4 * EACH));
        assert_eq!(runtime.metrics().tasks_alive, 0);
    });
}

#[test]
fn a_current_thread_runtime_keeps_the_order_of_each_thread() {
    limited(|| {
        const EACH: usize = 2000;
        let runtime = seated();
        let log = Log::new();
        let threads: Vec<_> = (0..3)
            .map(|thread| {
                let (handle, log) = (runtime.handle().clone(), log.clone());
                std::thread::spawn(move || {
                    for n in 0..EACH {
                        let log = log.clone();
                        let call = handle.call_soon_threadsafe(move || log.say((thread, n)));
                        if n % 11 == 0 {
                            handle.call_soon(|| {}).cancel();
                        }
                        drop(call);
                    }
                })
            })
            .collect();
        runtime
            .block_on(async {
                while log.len() < 3 * EACH {
                    heist::task::yield_now().await;
                }
            })
            .unwrap();
        for thread in threads {
            thread.join().unwrap();
        }
        let log = log.take();
        for thread in 0..3 {
            let of_thread = log.iter().filter(|said| said.0 == thread);
            assert!(of_thread.map(|said| said.1).eq(0..EACH));
        }
    });
}

#[test]
fn each_callback_is_called_once_by_many_workers() {
    limited(|| {
        let runtime = threaded(4);
        let calls = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let (handle, calls) = (runtime.handle().clone(), calls.clone());
                std::thread::spawn(move || {
                    for n in 0..1000_u64 {
                        let (again, calls) = (handle.clone(), calls.clone());
                        handle.call_soon(move || {
                            let count = calls.clone();
                            again.call_later(Duration::from_micros(n), move || {
                                count.fetch_add(1, SeqCst);
                            });
                            calls.fetch_add(1, SeqCst);
                        });
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        until("all are called", || calls.load(SeqCst) == 8000);
        until("all are gone", || runtime.metrics().tasks_alive == 0);
    });
}

#[test]
fn a_cancel_and_a_call_exclude_each_other() {
    limited(|| {
        let runtime = threaded(4);
        let drops = Drops::default();
        let called = Arc::new(AtomicUsize::new(0));
        let mut cancelled = 0;
        for n in 0..5000 {
            let (one, count) = (drops.one(), called.clone());
            let callback = move || {
                drop(one);
                count.fetch_add(1, SeqCst);
            };
            let call = if n % 2 == 0 {
                runtime.call_soon(callback)
            } else {
                let handle = runtime.handle().clone();
                let timer = handle.call_later(Duration::from_micros(n % 50), callback);
                if timer.cancel() {
                    assert!(timer.cancelled());
                    cancelled += 1;
                }
                continue;
            };
            if n % 3 == 0 {
                std::thread::yield_now();
            }
            if call.cancel() {
                assert!(call.cancelled());
                cancelled += 1;
            }
        }
        until("all are dropped", || drops.dropped() == 5000);
        until("all are counted", || {
            called.load(SeqCst) + cancelled == 5000
        });
    });
}

#[test]
fn a_cancel_drops_the_closure_at_once() {
    limited(|| {
        // Nobody runs its tasks.
        let runtime = seated();
        let drops = Drops::default();
        let soon = runtime.call_soon({
            let one = drops.one();
            move || drop(one)
        });
        let later = runtime.call_later(HOUR, {
            let one = drops.one();
            move || drop(one)
        });
        assert!(soon.clone().cancel() && later.clone().cancel());
        assert_eq!(drops.dropped(), 2);
        assert!(soon.cancelled() && later.cancelled());
        assert!(!soon.cancel() && !later.cancel());
        runtime
            .block_on(heist::sleep(Duration::from_millis(1)))
            .unwrap();
        assert_eq!(runtime.metrics().tasks_alive, 0);

        // On another runtime a timer that has begun to wait is gone as soon.
        let runtime = threaded(2);
        let later = runtime.call_later(HOUR, {
            let one = drops.one();
            move || drop(one)
        });
        std::thread::sleep(Duration::from_millis(5));
        assert!(later.cancel());
        assert_eq!(drops.dropped(), 3);
        until("its task is gone", || runtime.metrics().tasks_alive == 0);
    });
}

#[test]
fn a_handle_may_be_dropped() {
    limited(|| {
        let runtime = threaded(2);
        let log = Log::new();
        let said = log.clone();
        drop(runtime.call_later(Duration::from_millis(5), move || said.say(1)));
        until("it is called", || log.len() == 1);
    });
}

#[test]
fn timers_go_by_the_clock() {
    limited(|| {
        on_each_flavour(|flavour, builder| {
            let runtime = builder.start_paused(true).build().unwrap();
            let wall = Instant::now();
            let log = Log::new();
            let said = log.clone();
            // In a task: as long as it does not wait, the clock stands still.
            let main = runtime.run(async move {
                let handle = Handle::current().unwrap();
                let began = handle.clock().now();
                let say = || {
                    let (clock, said) = (handle.clock().clone(), said.clone());
                    move || said.say(clock.now() - began)
                };
                for hours in [3_u32, 1, 2] {
                    let timer = handle.call_later(HOUR * hours, say());
                    assert_eq!(timer.when(), Some(began + HOUR * hours));
                }
                let timer = handle.call_at(began + HOUR / 2, say());
                assert_eq!(timer.when(), Some(began + HOUR / 2));
                let cancelled = handle.call_later(HOUR, || unreachable!());
                heist::sleep(HOUR / 4).await;
                assert!(cancelled.cancel());
                heist::sleep(HOUR * 3).await;
            });
            main.unwrap();
            let expected = [HOUR / 2, HOUR, HOUR * 2, HOUR * 3];
            assert_eq!(log.take(), expected, "{flavour}");
            assert!(wall.elapsed() < HOUR);
        });
    });
}

#[test]
fn odd_times_are_legal() {
    limited(|| {
        on_each_flavour(|flavour, builder| {
            let runtime = builder.build().unwrap();
            let log = Log::new();
            let say = |what| {
                let log = log.clone();
                move || log.say(what)
            };
            let began = runtime.clock().now();
            runtime.call_later(Duration::ZERO, say(1));
            runtime.call_later(Duration::from_nanos(1), say(2));
            runtime.call_at(began.checked_sub(Duration::from_millis(1)).unwrap(), say(3));
            let never = runtime.call_later(Duration::MAX, || unreachable!());
            assert_eq!(never.when(), None);
            let far = runtime.call_later(Duration::MAX / 4, || unreachable!());
            run_until(&runtime, "three are called", || log.len() == 3);
            let mut said = log.take();
            said.sort_unstable();
            assert_eq!(said, [1, 2, 3], "{flavour}");
            assert!(far.cancel());
            let drops = Drops::default();
            let kept = drops.one();
            let pending = runtime.call_later(Duration::MAX, move || drop(kept));
            assert!(runtime.shutdown(Duration::from_secs(20)).is_complete());
            assert_eq!(drops.dropped(), 1);
            assert!(pending.cancelled() && never.cancelled());
        });
    });
}

#[test]
fn a_panic_is_reported_while_the_handle_lives() {
    limited(|| {
        on_each_flavour(|flavour, builder| {
            let log = Log::new();
            let said = log.clone();
            let runtime = builder
                .exception_handler(move |failure| {
                    let task = failure.task.as_ref().unwrap();
                    said.say((failure.error.is_panic(), task.spawned_at().line()));
                })
                .build()
                .unwrap();
            let line = line!() + 1;
            let call = runtime.call_soon(|| panic_any("in a callback"));
            run_until(&runtime, "it is reported", || log.len() == 1);
            assert_eq!(log.take(), [(true, line)], "{flavour}");
            assert!(!call.cancelled() && !call.cancel());
            let line = line!() + 1;
            runtime.call_later(Duration::from_millis(1), || panic_any("in a timer"));
            run_until(&runtime, "this one too", || log.len() == 1);
            assert_eq!(log.take(), [(true, line)], "{flavour}");
            // All else goes on.
            assert_eq!(runtime.run(async { 1 }).unwrap(), 1);
        });
    });
}

#[test]
fn a_shutdown_drops_what_was_not_called() {
    limited(|| {
        on_each_flavour(|flavour, builder| {
            let runtime = builder.build().unwrap();
            let handle = runtime.handle().clone();
            let drops = Drops::default();
            let timers: Vec<_> = (0..100)
                .map(|n| {
                    let one = drops.one();
                    handle.call_later(HOUR + Duration::from_millis(n), move || drop(one))
                })
                .collect();
            let report = runtime.shutdown(Duration::from_secs(20));
            assert!(report.is_complete(), "{flavour}: {report}");
            assert_eq!(drops.dropped(), 100);
            assert!(timers.iter().all(|timer| timer.cancelled()));
            assert!(timers.iter().all(|timer| !timer.is_refused()));

            let one = drops.one();
            let late = handle.call_soon(move || drop(one));
            assert_eq!(drops.dropped(), 101);
            assert!(late.is_refused() && late.cancelled() && !late.cancel());
            assert!(handle.call_later(HOUR, || {}).is_refused());
        });
    });
}

#[test]
fn a_shutdown_ends_a_line_that_waits() {
    limited(|| {
        let runtime = seated();
        let drops = Drops::default();
        for _ in 0..100 {
            let one = drops.one();
            runtime.call_soon(move || drop(one));
        }
        assert!(runtime.shutdown(Duration::from_secs(20)).is_complete());
        assert_eq!(drops.dropped(), 100);
    });
}

#[test]
fn a_callback_that_is_late_is_named() {
    limited(|| {
        let runtime = threaded(1);
        let (began, gate) = (Gate::default(), Gate::default());
        let (begin, wait) = (began.clone(), gate.clone());
        runtime.call_soon(move || {
            begin.open();
            wait.block();
        });
        let line = line!() - 4;
        began.block();
        let report = runtime.shutdown(Duration::from_millis(10));
        assert_eq!(report.late_tasks.len(), 1);
        assert_eq!(report.late_tasks[0].task.spawned_at().line(), line);
        gate.open();
    });
}
