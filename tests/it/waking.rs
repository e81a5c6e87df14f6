//! Wakers: late ones, many of them, and other people's that misbehave.
#![allow(unsafe_code)]

use crate::support::{
    Drops, Gate, Stuck, limited, on_each_flavour, run_until, side_by_side, threaded, until,
};
use parking_lot::Mutex;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Wake, Waker};
use std::time::Duration;

#[test]
fn a_wake_after_the_end_does_nothing() {
    limited(|| {
        on_each_flavour(|flavour, builder| {
            let runtime = builder.build().unwrap();
            let (polls, wakers) = (Arc::new(AtomicUsize::new(0)), Stuck::default());
            let (count, keep) = (polls.clone(), wakers.0.clone());
            let task = runtime.spawn(std::future::poll_fn(move |cx| {
                count.fetch_add(1, SeqCst);
                keep.lock().push(cx.waker().clone());
                Poll::Ready(3)
            }));
            assert_eq!(runtime.block_on(task).unwrap().unwrap(), 3);
            let waker = wakers.0.lock().pop().unwrap();
            for _ in 0..100 {
                waker.wake_by_ref();
                let other = waker.clone();
                other.wake();
            }
            assert!(waker.will_wake(&waker.clone()));
            run_until(&runtime, "quiet", || runtime.metrics().tasks_alive == 0);
            assert_eq!(polls.load(SeqCst), 1, "{flavour}");
        });
    });
}

#[test]
fn a_thousand_wakers_outlive_their_runtime() {
    limited(|| {
        on_each_flavour(|flavour, builder| {
            let runtime = builder.build().unwrap();
            let (stuck, drops) = (Stuck::default(), Drops::default());
            for _ in 0..1000 {
                let (stuck, held) = (stuck.clone(), drops.one());
                runtime.spawn(async move {
                    let _held = held;
                    stuck.await;
                });
            }
            let polled = stuck.0.clone();
            run_until(&runtime, "all polled", || polled.lock().len() == 1000);
            drop(runtime);
            assert_eq!(
                drops.dropped(),
                1000,
                "{flavour}: shutdown ended every task"
            );
            let wakers = std::mem::take(&mut *polled.lock());
            assert!(wakers.len() >= 1000);
            let threads: Vec<_> = wakers
                .chunks(250)
                .map(|chunk| {
                    let wakers = chunk.to_vec();
                    std::thread::spawn(move || {
                        for (n, waker) in wakers.into_iter().enumerate() {
                            waker.wake_by_ref();
                            let other = waker.clone();
                            assert!(other.will_wake(&waker));
                            if n % 2 == 0 {
                                waker.wake()
                            } else {
                                drop(waker)
                            }
                            drop(other);
                        }
                    })
                })
                .collect();
            drop(wakers);
            for thread in threads {
                thread.join().unwrap();
            }
            assert_eq!(drops.dropped(), 1000);
        });
    });
}

#[test]
fn a_storm_of_wakes_polls_no_oftener_than_it_wakes_and_never_two_at_once() {
    const THREADS: usize = 8;
    const WAKES: usize = 125_000;
    limited(|| {
        for workers in [1, 4] {
            let runtime = threaded(workers);
            let (polls, inside) = (
                Arc::new(AtomicUsize::new(0)),
                Arc::new(AtomicBool::new(false)),
            );
            let (slot, end) = (Arc::new(Mutex::new(None)), Arc::new(AtomicBool::new(false)));
            let task = {
                let (polls, slot, end) = (polls.clone(), slot.clone(), end.clone());
                runtime.spawn(std::future::poll_fn(move |cx| {
                    assert!(
                        !inside.swap(true, SeqCst),
                        "polled on two threads at a time"
                    );
                    polls.fetch_add(1, SeqCst);
                    slot.lock().get_or_insert_with(|| cx.waker().clone());
                    let ended = end.load(SeqCst);
                    assert!(inside.swap(false, SeqCst));
                    if ended {
                        Poll::Ready(())
                    } else {
                        Poll::Pending
                    }
                }))
            };
            until("first poll", || slot.lock().is_some());
            let waker: Waker = slot.lock().clone().unwrap();
            side_by_side(THREADS, |thread| {
                for n in 0..WAKES {
                    if (n + thread) % 2 == 0 {
                        waker.wake_by_ref();
                    } else {
                        let other = waker.clone();
                        other.wake();
                    }
                }
            });
            end.store(true, SeqCst);
            waker.wake();
            runtime.block_on(task).unwrap().unwrap();
            let polls = polls.load(SeqCst);
            assert!(polls <= THREADS * WAKES + 2, "{polls} polls");
            assert!(runtime.metrics().total().polls <= (THREADS * WAKES + 2) as u64);
        }
    });
}

#[test]
fn every_wake_up_is_followed_by_a_poll() {
    limited(|| {
        for workers in [1, 2, 4] {
            let runtime = threaded(workers);
            // What a thread writes before it wakes, the poll that follows sees.
            let count = Arc::new(AtomicUsize::new(0));
            let slot: Arc<Mutex<Option<Waker>>> = Arc::default();
            let seen = Arc::new(AtomicUsize::new(0));
            let task = {
                let (count, slot, seen) = (count.clone(), slot.clone(), seen.clone());
                runtime.spawn(std::future::poll_fn(move |cx| {
                    slot.lock().get_or_insert_with(|| cx.waker().clone());
                    let now = count.load(SeqCst);
                    seen.store(now, SeqCst);
                    if now == 3000 {
                        Poll::Ready(())
                    } else {
                        Poll::Pending
                    }
                }))
            };
            until("first poll", || slot.lock().is_some());
            let waker = slot.lock().clone().unwrap();
            for n in 1..=3000 {
                count.store(n, SeqCst);
                waker.wake_by_ref();
                if n % 100 == 0 {
                    until("the poll saw it", || seen.load(SeqCst) == n);
                }
            }
            runtime.block_on(task).unwrap().unwrap();
        }
    });
}

/// A waker that does something on each of its verbs.
struct Meddler {
    on_wake: Box<dyn Fn() + Send + Sync>,
    on_drop: Box<dyn Fn() + Send + Sync>,
    on_clone: Box<dyn Fn() + Send + Sync>,
}

fn meddler(meddler: Meddler) -> Waker {
    static VTABLE: RawWakerVTable = RawWakerVTable::new(
        |data| {
            // SAFETY: `data` is from `Arc::into_raw` below, and borrowed here.
            (unsafe { &*data.cast::<Meddler>() }.on_clone)();
            // SAFETY: as above. Only now: a clone that panics makes no waker.
            unsafe { Arc::increment_strong_count(data.cast::<Meddler>()) };
            RawWaker::new(data, &VTABLE)
        },
        |data| {
            // SAFETY: the waker's count is taken over.
            let me = unsafe { Arc::from_raw(data.cast::<Meddler>()) };
            (me.on_wake)();
        },
        // SAFETY: borrowed.
        |data| (unsafe { &*data.cast::<Meddler>() }.on_wake)(),
        |data| {
            // SAFETY: the waker's count is taken over.
            let me = unsafe { Arc::from_raw(data.cast::<Meddler>()) };
            (me.on_drop)();
        },
    );
    let raw = RawWaker::new(Arc::into_raw(Arc::new(meddler)).cast(), &VTABLE);
    // SAFETY: the four functions keep the contract of a waker, with an Arc's count.
    unsafe { Waker::from_raw(raw) }
}

#[test]
fn a_waker_may_come_back_into_the_runtime_from_wake_clone_and_drop() {
    limited(|| {
        on_each_flavour(|flavour, builder| {
            let runtime = builder.build().unwrap();
            let calls = Arc::new(AtomicUsize::new(0));
            let victim = Arc::new(runtime.spawn(std::future::pending::<()>()));
            let again = |count: &Arc<AtomicUsize>| -> Box<dyn Fn() + Send + Sync> {
                let (handle, victim, count) =
                    (runtime.handle().clone(), victim.clone(), count.clone());
                Box::new(move || {
                    count.fetch_add(1, SeqCst);
                    victim.cancel("by a waker");
                    handle.spawn(async {}).detach();
                    let _ = (
                        handle.all_tasks().len(),
                        handle.metrics(),
                        format!("{victim:?}"),
                    );
                    let mut nap = pin!(heist::sleep(Duration::from_millis(1)));
                    let _ = nap.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                    heist::run_coroutine_threadsafe(async {}, &handle).cancel();
                })
            };
            let waker = || {
                meddler(Meddler {
                    on_wake: again(&calls),
                    on_drop: again(&calls),
                    on_clone: again(&calls),
                })
            };
            // As a join waker, replaced by another one, woken, dropped with its handle.
            for fate in ["woken", "replaced", "dropped"] {
                let before = calls.load(SeqCst);
                let gate = Gate::default();
                let mut task = runtime.spawn(gate.passed());
                let seen = task.as_ref();
                let poll = |task: &mut heist::Task<()>| {
                    let waker = waker();
                    Pin::new(task)
                        .poll(&mut Context::from_waker(&waker))
                        .is_pending()
                };
                assert!(poll(&mut task));
                match fate {
                    "replaced" => assert!(poll(&mut task)),
                    "dropped" => drop(task),
                    _ => {}
                }
                gate.open();
                run_until(&runtime, "done", || seen.is_done());
                assert!(calls.load(SeqCst) > before, "{flavour}, {fate}");
            }
            // In the driver: a timer's waker.
            let before = calls.load(SeqCst);
            let waker = waker();
            let entered = runtime.enter();
            let mut nap = Box::pin(heist::sleep(Duration::from_millis(2)));
            assert!(
                nap.as_mut()
                    .poll(&mut Context::from_waker(&waker))
                    .is_pending()
            );
            drop(entered);
            run_until(&runtime, "the timer's waker was called", || {
                calls.load(SeqCst) > before + 1
            });
            drop((nap, waker));
            run_until(&runtime, "the victim ended", || victim.is_done());
        });
    });
}

#[test]
fn a_waker_that_panics_harms_nobody_else() {
    limited(|| {
        on_each_flavour(|flavour, builder| {
            let runtime = builder.build().unwrap();
            for verb in ["wake", "drop", "clone"] {
                let at = |v: &str| -> Box<dyn Fn() + Send + Sync> {
                    let armed = v == verb;
                    Box::new(move || {
                        if armed && !std::thread::panicking() {
                            panic!("a waker's {armed}")
                        }
                    })
                };
                let waker = meddler(Meddler {
                    on_wake: at("wake"),
                    on_drop: at("drop"),
                    on_clone: at("clone"),
                });
                let waker = std::mem::ManuallyDrop::new(waker);
                let gate = Gate::default();
                let mut task = runtime.spawn(gate.passed());
                let other = runtime.spawn(gate.passed());
                let _entered = runtime.enter();
                let mut nap = Box::pin(heist::sleep(Duration::from_millis(1)));
                let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    let mut cx = Context::from_waker(&waker);
                    (
                        Pin::new(&mut task).poll(&mut cx).is_pending(),
                        nap.as_mut().poll(&mut cx).is_pending(),
                    )
                }));
                assert_eq!(polled.is_err(), verb == "clone", "{flavour}");
                gate.open();
                runtime.block_on(other).unwrap().unwrap();
                run_until(&runtime, "released", || runtime.metrics().tasks_alive == 0);
                runtime
                    .block_on(heist::sleep(Duration::from_millis(2)))
                    .unwrap();
                let dropped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
                    drop((task, nap))
                }));
                drop(dropped);
                let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    drop(std::mem::ManuallyDrop::into_inner(waker));
                }));
                assert_eq!(
                    runtime.block_on(async { 1 }).unwrap(),
                    1,
                    "{flavour}, {verb}"
                );
            }
        });
    });
}

#[test]
fn two_tasks_that_share_a_handle_wake_the_one_that_asked_last() {
    limited(|| {
        on_each_flavour(|_, builder| {
            let runtime = builder.build().unwrap();
            let gate = Gate::default();
            let shared = Arc::new(Mutex::new(runtime.spawn(gate.passed())));
            let order = Arc::new(Mutex::new(Vec::new()));
            let asking = |name: &'static str| {
                let (shared, order) = (shared.clone(), order.clone());
                std::future::poll_fn(move |cx| {
                    order.lock().push(name);
                    let mut shared = shared.lock();
                    if shared.is_done() {
                        return Poll::Ready(());
                    }
                    Pin::new(&mut *shared).poll(cx).map(drop)
                })
            };
            let first = runtime.spawn(asking("first"));
            let asked = |name| order.lock().contains(&name);
            run_until(&runtime, "first asked", || asked("first"));
            let second = runtime.spawn(asking("second"));
            run_until(&runtime, "second asked", || asked("second"));
            gate.open();
            runtime.block_on(second).unwrap().unwrap();
            first.cancel(None);
            assert!(runtime.block_on(first).unwrap().unwrap_err().is_cancelled());
        });
    });
}

#[test]
fn a_future_may_wake_itself_in_its_destructor() {
    struct WakesInDrop(Option<Waker>, bool, Gate);
    impl Future for WakesInDrop {
        type Output = ();
        fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
            self.0 = Some(cx.waker().clone());
            self.2.open();
            assert!(!self.1, "told to panic");
            Poll::Pending
        }
    }
    impl Drop for WakesInDrop {
        fn drop(&mut self) {
            if let Some(waker) = self.0.take() {
                waker.wake_by_ref();
                let me = heist::current_task();
                heist::spawn(async {}).detach();
                waker.wake();
                drop(me);
            }
        }
    }
    limited(|| {
        on_each_flavour(|_, builder| {
            let runtime = builder.build().unwrap();
            for panics in [false, true] {
                let polled = Gate::default();
                let task = runtime.spawn(WakesInDrop(None, panics, polled.clone()));
                run_until(&runtime, "polled", || polled.is_open());
                task.cancel(None);
                let error = runtime.block_on(task).unwrap().unwrap_err();
                assert_eq!((error.is_panic(), error.is_cancelled()), (panics, !panics));
            }
            let polled = Gate::default();
            runtime
                .spawn(WakesInDrop(None, false, polled.clone()))
                .detach();
            run_until(&runtime, "polled", || polled.is_open());
            let report = runtime.shutdown(Duration::from_secs(10));
            assert!(report.is_complete(), "{report}");
        });
    });
}

#[test]
fn wakers_race_the_end_of_their_runtime() {
    limited(|| {
        for round in 0..300 {
            let runtime = threaded(1 + round % 3);
            let (stuck, drops) = (Stuck::default(), Drops::default());
            for _ in 0..8 {
                let (stuck, held) = (stuck.clone(), drops.one());
                runtime.spawn(async move {
                    let _held = held;
                    loop {
                        stuck.clone().await;
                    }
                });
            }
            let wakers = stuck.0.clone();
            until("some polled", || wakers.lock().len() >= 4);
            let waking = std::thread::spawn(move || {
                for _ in 0..50 {
                    let some: Vec<_> = wakers.lock().drain(..).collect();
                    for waker in some {
                        waker.wake();
                    }
                    std::hint::spin_loop();
                }
                wakers
            });
            let report = runtime.shutdown(Duration::from_secs(20));
            assert!(report.is_complete(), "{report}");
            assert_eq!(drops.dropped(), 8);
            drop(runtime);
            waking.join().unwrap().lock().clear();
        }
    });
}

#[test]
fn std_wake_works_as_a_join_waker_from_any_thread() {
    struct Flag(AtomicUsize);
    impl Wake for Flag {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }
    limited(|| {
        let runtime = threaded(2);
        for _ in 0..200 {
            let gate = Gate::default();
            let mut task = runtime.spawn(gate.passed());
            let flag = Arc::new(Flag(AtomicUsize::new(0)));
            let waker = Waker::from(flag.clone());
            let opener = std::thread::spawn(move || gate.open());
            let first = Pin::new(&mut task).poll(&mut Context::from_waker(&waker));
            opener.join().unwrap();
            if first.is_pending() {
                until("woken once", || flag.0.load(SeqCst) == 1);
                assert!(
                    Pin::new(&mut task)
                        .poll(&mut Context::from_waker(&waker))
                        .is_ready()
                );
            }
            assert!(flag.0.load(SeqCst) <= 1);
        }
    });
}

/// Notes the thread that it is dropped on, and cannot be sent to another.
struct DroppedHere(Arc<Mutex<Vec<std::thread::ThreadId>>>, std::rc::Rc<()>);

impl Drop for DroppedHere {
    fn drop(&mut self) {
        self.0.lock().push(std::thread::current().id());
    }
}

#[test]
fn a_root_ends_on_its_own_thread_wherever_its_last_waker_goes() {
    limited(|| {
        on_each_flavour(|flavour, builder| {
            let runtime = builder.build().unwrap();
            for end in ["ready", "cancelled", "woken"] {
                let dropped_on = Arc::new(Mutex::new(Vec::new()));
                let (waker, task) = (Stuck::default(), Arc::new(Mutex::new(None)));
                let root = {
                    let (waker, task) = (waker.clone(), task.clone());
                    let payload = DroppedHere(dropped_on.clone(), Default::default());
                    let local = std::rc::Rc::clone(&payload.1);
                    async move {
                        let mut polls = 0;
                        std::future::poll_fn(|cx| {
                            polls += 1;
                            waker.0.lock().push(cx.waker().clone());
                            *task.lock() = heist::current_task();
                            if end == "ready" || polls > 1 {
                                Poll::Ready(())
                            } else {
                                Poll::Pending
                            }
                        })
                        .await;
                        drop(local);
                        payload
                    }
                };
                // The other thread has the last word, and the last waker.
                let (wakers, seen) = (waker.0.clone(), task.clone());
                let other = std::thread::spawn(move || {
                    until("polled", || seen.lock().is_some());
                    let task = seen.lock().take().unwrap();
                    let mut mine = std::mem::take(&mut *wakers.lock());
                    match end {
                        "cancelled" => drop(task.cancel(None)),
                        "woken" => mine.pop().unwrap().wake(),
                        _ => {}
                    }
                    until("ended", || task.is_done());
                    mine
                });
                let ended = runtime.block_on(root);
                assert_eq!(ended.is_err(), end == "cancelled", "{flavour}, {end}");
                drop(ended);
                let here = std::thread::current().id();
                assert_eq!(*dropped_on.lock(), [here], "{flavour}, {end}");
                let mut kept = other.join().unwrap();
                kept.append(&mut waker.0.lock());
                std::thread::spawn(move || {
                    kept.iter().for_each(Waker::wake_by_ref);
                    drop(kept);
                })
                .join()
                .unwrap();
                assert_eq!(dropped_on.lock().len(), 1);
            }
        });
    });
}
