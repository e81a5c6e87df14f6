//! Rule 14, and where a cancel may come from: a destructor, a waker, a callback, another runtime, a thread outside, the task itself; each
//! with a panic at that place, too. No worker dies of it, and nothing is locked.

use super::{Foreign, MS, cancelled, caught, everywhere, me, says, settled, suspend};
use crate::support::{Drops, Gate, limited, on_each_flavour, run_until, threaded, until};
use futures_util::FutureExt;
use heist::task::catch_cancel;
use heist::{Builder, Shared, Task, TaskRef, promise, sleep, spawn, timeout};
use parking_lot::Mutex;
use std::future::pending;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};

/// Does something when dropped.
struct AtDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for AtDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// A waker that does something.
struct AtWake<F: Fn() + Send + Sync>(F);

impl<F: Fn() + Send + Sync> Wake for AtWake<F> {
    fn wake(self: Arc<Self>) {
        (self.0)();
    }
}

fn at_wake(act: impl Fn() + Send + Sync + 'static) -> Waker {
    Waker::from(Arc::new(AtWake(act)))
}

#[test]
fn a_destructor_cancels_others_and_its_own_task_and_may_panic() {
    everywhere(|| async {
        for panics in [false, true] {
            let victim = spawn(pending::<()>());
            let (other, held) = (victim.as_ref(), OnceLock::<TaskRef>::new());
            let own = Arc::new(held);
            let itself = own.clone();
            let guard = AtDrop(move || {
                assert!(other.cancel("from a destructor"));
                // The task is about to end: the request is taken, and changes nothing.
                itself.get().unwrap().cancel("its own");
                assert!(itself.get().unwrap().cancelling() > 1);
                assert!(!panics, "on purpose");
            });
            let task = spawn(async move {
                let _guard = guard;
                pending::<()>().await;
            });
            own.set(task.as_ref()).unwrap();
            settled().await;
            task.cancel("outside");
            let error = task.await.unwrap_err();
            if panics {
                assert_eq!(error.panic_message(), Some("on purpose"));
            } else {
                assert_eq!(error.cancel_message(), Some("outside"));
            }
            assert_eq!(cancelled(victim).await, says("from a destructor"));
        }
    });
}

#[test]
fn a_destructor_that_runs_at_a_regions_end_cancels_the_task_once_more() {
    everywhere(|| async {
        for panics in [false, true] {
            let task = spawn(async move {
                let guard = AtDrop(move || {
                    assert!(me().cancel("from the region"));
                    assert!(!panics, "on purpose");
                });
                let region = catch_cancel(async move {
                    let _guard = guard;
                    pending::<()>().await;
                });
                let ended = AssertUnwindSafe(region).catch_unwind().await;
                assert_eq!(ended.is_err(), panics);
                assert_eq!(me().cancelling(), 2);
                let next = caught(suspend()).await;
                (next, caught(suspend()).await)
            });
            settled().await;
            task.cancel("outside");
            assert_eq!(task.await.unwrap(), (Err(says("from the region")), Ok(())));
        }
        // A deadline's region whose destructor panics has taken its request back.
        let guard = AtDrop(|| panic!("on purpose"));
        let late = timeout(MS, async move {
            let _guard = guard;
            pending::<()>().await;
        });
        assert!(AssertUnwindSafe(late).catch_unwind().await.is_err());
        assert_eq!(me().cancelling(), 0);
        suspend().await;
    });
}

#[test]
fn destructors_have_run_before_anybody_learns_of_the_end() {
    limited(|| {
        let runtime = threaded(4);
        for round in 0..300 {
            let gone = Arc::new(AtomicBool::new(false));
            let (inside, seen) = (gone.clone(), gone.clone());
            let begun = Gate::default();
            let begins = begun.clone();
            let task = runtime.spawn(async move {
                let _guard = AtDrop(move || {
                    std::thread::yield_now();
                    inside.store(true, SeqCst);
                });
                begins.open();
                if round % 2 == 0 {
                    pending::<()>().await;
                } else {
                    suspend().await;
                }
            });
            begun.block();
            let (reference, called) = (task.as_ref(), Arc::new(AtomicBool::new(false)));
            let call = called.clone();
            reference.add_done_callback(move || call.store(seen.load(SeqCst), SeqCst));
            let shared = task.shared();
            let (waits, at_end) = (shared.clone(), gone.clone());
            let waiter = runtime.spawn(async move {
                let _ = catch_cancel(waits).await;
                at_end.load(SeqCst)
            });
            reference.cancel(None);
            until("done", || reference.is_done());
            assert!(gone.load(SeqCst));
            assert!(runtime.block_on(waiter).unwrap().unwrap());
            until("called, after the destructors", || called.load(SeqCst));
        }
    });
}

#[test]
fn a_region_is_over_for_its_body_when_its_destructors_have_run() {
    everywhere(|| async {
        let drops = Drops::default();
        for _ in 0..3 {
            let held = drops.one();
            let before = drops.dropped();
            let counts = drops.clone();
            let task = spawn(async move {
                let _ = catch_cancel(async move {
                    let _held = held;
                    pending::<()>().await;
                })
                .await;
                counts.dropped()
            });
            settled().await;
            task.cancel(None);
            assert_eq!(task.await.unwrap(), before + 1);
        }
    });
}

#[test]
fn the_waker_of_an_end_cancels_tasks_and_may_panic() {
    everywhere(|| async {
        for panics in [false, true] {
            let victim = spawn(pending::<()>());
            let (promise, answer) = promise::<u32>();
            let answer = answer.shared();
            let (other, waits) = (victim.as_ref(), answer.clone());
            let waker = at_wake(move || {
                // All of it from inside the end that wakes: nothing is locked.
                assert!(waits.is_done() && !waits.cancel(None));
                assert_eq!(waits.result().unwrap(), 5);
                assert!(other.cancel("from a waker"));
                assert!(!panics, "on purpose");
            });
            let mut polled = answer.clone();
            let first = Pin::new(&mut polled).poll(&mut Context::from_waker(&waker));
            assert!(first.is_pending());
            let beside = spawn(answer);
            settled().await;
            promise.set(5).unwrap();
            assert_eq!(beside.await.unwrap().unwrap(), 5, "told all the same");
            assert_eq!(cancelled(victim).await, says("from a waker"));
            assert_eq!(polled.await.unwrap(), 5);
        }
    });
}

#[test]
fn the_waker_of_a_region_is_woken_inside_cancel_and_may_cancel_and_panic() {
    everywhere(|| async {
        for panics in [false, true] {
            let woken = Arc::new(AtomicUsize::new(0));
            let (count, own) = (woken.clone(), Arc::new(OnceLock::<TaskRef>::new()));
            let itself = own.clone();
            let (victim, ready) = (spawn(pending::<()>()), Foreign::new());
            let (other, gives) = (victim.as_ref(), ready.clone());
            let waker = at_wake(move || {
                count.fetch_add(1, SeqCst);
                assert!(other.cancel("from a region's waker"));
                // Once more the task in whose cancel this is.
                assert!(itself.get().unwrap().cancel("again"));
                gives.give(());
                assert!(!panics, "on purpose");
            });
            let task = spawn(async move {
                // An executor within the task.
                let mut region = pin!(caught(pending::<()>()));
                let mut polled = |cx: &mut Context<'_>| region.as_mut().poll(cx);
                let first = polled(&mut Context::from_waker(&waker));
                assert!(first.is_pending());
                ready.await;
                let Poll::Ready(ended) = polled(&mut Context::from_waker(&waker)) else {
                    unreachable!("it has received a request")
                };
                (ended, me().cancelling())
            });
            own.set(task.as_ref()).unwrap();
            settled().await;
            assert!(task.cancel("first"));
            assert_eq!(woken.load(SeqCst), 1);
            let ended = task.await;
            // The second request merged with the first, or found the task running.
            match ended {
                Ok((ended, count)) => assert_eq!((ended, count), (Err(says("first")), 2)),
                Err(error) => assert_eq!(error.cancel_message(), Some("again")),
            }
            assert_eq!(cancelled(victim).await, says("from a region's waker"));
        }
    });
}

#[test]
fn a_done_callback_cancels_and_asks_and_may_panic() {
    everywhere(|| async {
        for panics in [false, true] {
            let (first, second) = (spawn(pending::<()>()), spawn(pending::<()>()));
            let (other, own) = (second.as_ref(), first.as_ref());
            let after = Arc::new(AtomicUsize::new(0));
            let (count, own_again) = (after.clone(), own.clone());
            own.add_done_callback(move || {
                assert!(own_again.is_done() && !own_again.cancel(None));
                assert!(other.cancel("from a callback"));
                // One that is added now is called at once.
                let nested = count.clone();
                own_again.add_done_callback(move || {
                    nested.fetch_add(1, SeqCst);
                });
                assert_eq!(count.load(SeqCst), 1);
                assert!(!panics, "on purpose");
            });
            let count = after.clone();
            own.add_done_callback(move || {
                count.fetch_add(10, SeqCst);
            });
            settled().await;
            first.cancel("outside");
            assert_eq!(cancelled(first).await, says("outside"));
            assert_eq!(cancelled(second).await, says("from a callback"));
            settled().await;
            assert_eq!(
                after.load(SeqCst),
                11,
                "the next one is called all the same"
            );
        }
    });
}

#[test]
fn a_promise_that_ends_in_a_cancel_calls_back_when_all_were_told() {
    everywhere(|| async {
        let (promise, answer) = promise::<()>();
        let answer = answer.shared();
        let waiters: Vec<Task<_>> = (0..3).map(|_| spawn(answer.clone())).collect();
        let references: Vec<_> = waiters.iter().map(Task::as_ref).collect();
        let (seen, log) = (Arc::new(Mutex::new(Vec::new())), promise);
        let sees = seen.clone();
        answer.add_done_callback(move || {
            let counts = references.iter().map(TaskRef::cancelling);
            sees.lock().extend(counts);
            panic!("on purpose");
        });
        settled().await;
        waiters[1].cancel("that one");
        assert!(log.is_done());
        assert_eq!(*seen.lock(), [0, 1, 0]);
        for (number, waiter) in waiters.into_iter().enumerate() {
            match number {
                1 => assert_eq!(cancelled(waiter).await, says("that one")),
                _ => assert!(waiter.await.unwrap().unwrap_err().is_cancelled()),
            }
        }
    });
}

#[test]
fn runtimes_cancel_each_others_tasks_at_the_same_time() {
    limited(|| {
        let runtimes = [threaded(2), threaded(2)];
        let drops = Drops::default();
        for _ in 0..300 {
            let tasks: [Shared<()>; 2] = [0, 1].map(|number| {
                let held = drops.one();
                runtimes[number]
                    .spawn(async move {
                        let _held = held;
                        pending::<()>().await;
                    })
                    .shared()
            });
            // Each awaits the other runtime's task, and each is cancelled by a task of the other one.
            let waiters = [0, 1].map(|number: usize| {
                let (awaited, begun) = (tasks[1 - number].clone(), Gate::default());
                let begins = begun.clone();
                let waiter = runtimes[number].spawn(async move {
                    begins.open();
                    awaited.await.unwrap();
                });
                begun.block();
                waiter
            });
            let references = [0, 1].map(|number: usize| waiters[number].as_ref());
            let cancellers = [0, 1].map(|number: usize| {
                let other = references[1 - number].clone();
                runtimes[number].spawn(async move { other.cancel("across") })
            });
            for (number, canceller) in cancellers.into_iter().enumerate() {
                assert!(runtimes[number].block_on(canceller).unwrap().unwrap());
            }
            for (number, waiter) in waiters.into_iter().enumerate() {
                let error = runtimes[number].block_on(waiter).unwrap().unwrap_err();
                assert_eq!(error.cancel_message(), Some("across"));
            }
        }
        for runtime in &runtimes {
            until("all ended", || runtime.metrics().tasks_alive == 0);
        }
        assert_eq!(drops.dropped(), 600);
    });
}

#[test]
fn a_callback_of_the_runtime_cancels() {
    limited(|| {
        on_each_flavour(|_, builder| {
            let runtime = builder.build().unwrap();
            for panics in [false, true] {
                let task = runtime.spawn(pending::<()>());
                let (soon, later) = (task.as_ref(), task.as_ref());
                drop(runtime.call_soon(move || {
                    soon.cancel("soon");
                    assert!(!panics, "on purpose");
                }));
                run_until(&runtime, "ended", || later.is_done());
                assert!(later.is_cancelled());
                drop(task);
            }
            runtime.block_on(async { sleep(MS).await }).unwrap();
        });
    });
}

#[test]
fn a_panic_in_any_of_them_leaves_the_workers_at_work() {
    limited(|| {
        let told = Arc::new(AtomicUsize::new(0));
        let count = told.clone();
        let runtime = Builder::new()
            .worker_threads(2)
            .exception_handler(move |_| {
                count.fetch_add(1, SeqCst);
            })
            .build()
            .unwrap();
        for _ in 0..50 {
            let guard = AtDrop(|| panic!("on purpose"));
            let task = runtime.spawn(async move {
                let _guard = guard;
                pending::<()>().await;
            });
            let seen = task.as_ref();
            seen.add_done_callback(|| panic!("on purpose, too"));
            runtime.block_on(sleep(MS)).unwrap();
            assert!(seen.cancel("outside"));
            drop(task);
            until("done", || seen.is_done());
            assert!(seen.has_failed());
        }
        until("all told", || told.load(SeqCst) >= 50);
        assert_eq!(runtime.run(async { 5 }).unwrap(), 5);
    });
}
