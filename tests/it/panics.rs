//! A panic ends its task and nothing else, and is reported exactly once if nobody retrieves it.

use crate::support::{Gate, limited, on_each_flavour, run_until, threaded, until};
use heist::{Builder, PanicPolicy, Runtime, TaskError};
use parking_lot::Mutex;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll};

/// Where the panic comes from.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Cause {
    Poll,
    FutureDrop,
    PollAndFutureDrop,
    ValueDrop,
    /// The poll panics with a payload whose destructor panics.
    PayloadDrop,
}

/// What becomes of the handle.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Awaited,
    DroppedBefore,
    DroppedWhileSuspended,
    DroppedAfter,
}

const CAUSES: [Cause; 5] = [
    Cause::Poll,
    Cause::FutureDrop,
    Cause::PollAndFutureDrop,
    Cause::ValueDrop,
    Cause::PayloadDrop,
];
const FATES: [Fate; 4] = [
    Fate::Awaited,
    Fate::DroppedBefore,
    Fate::DroppedWhileSuspended,
    Fate::DroppedAfter,
];

struct PanicsWhenDropped(&'static str);

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        panic_any(self.0);
    }
}

struct Failing {
    cause: Cause,
    gate: crate::support::Passed,
    polled: Gate,
}

impl Future for Failing {
    type Output = Option<PanicsWhenDropped>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let passed = Pin::new(&mut self.gate).poll(cx);
        self.polled.open();
        if passed.is_pending() {
            return Poll::Pending;
        }
        match self.cause {
            Cause::Poll | Cause::PollAndFutureDrop => panic_any("poll"),
            Cause::PayloadDrop => panic_any(PanicsWhenDropped("payload")),
            Cause::FutureDrop => Poll::Ready(None),
            Cause::ValueDrop => Poll::Ready(Some(PanicsWhenDropped("value"))),
        }
    }
}

impl Drop for Failing {
    fn drop(&mut self) {
        if matches!(self.cause, Cause::FutureDrop | Cause::PollAndFutureDrop) {
            panic_any("future");
        }
    }
}

/// What the exception handler was told.
type Told = Arc<Mutex<Vec<String>>>;

fn with_handler(builder: Builder) -> (Runtime, Told) {
    let told = Told::default();
    let list = told.clone();
    let runtime = builder
        .exception_handler(move |failure| {
            assert!(failure.error.is_panic());
            assert!(failure.task.as_ref().unwrap().is_done());
            list.lock().push(failure.to_string());
        })
        .build()
        .unwrap();
    (runtime, told)
}

fn one(runtime: &Runtime, told: &Told, cause: Cause, fate: Fate) {
    let what = format!("{cause:?}, {fate:?}");
    let (gate, polled) = (Gate::default(), Gate::default());
    let failing = Failing {
        cause,
        gate: gate.passed(),
        polled: polled.clone(),
    };
    let before = told.lock().len();
    let task = runtime.spawn(failing);
    let seen = task.as_ref();
    seen.set_name(&what);
    let expected = match fate {
        Fate::Awaited => {
            gate.open();
            let outcome = runtime.block_on(task).unwrap();
            match outcome {
                Ok(Some(value)) => {
                    assert_eq!(cause, Cause::ValueDrop);
                    std::mem::forget(value);
                }
                Ok(None) => panic!("{what}: no error"),
                Err(error) => expect_payload(error, cause),
            }
            0
        }
        Fate::DroppedBefore => {
            drop(task);
            gate.open();
            1
        }
        Fate::DroppedWhileSuspended => {
            run_until(runtime, "polled", || polled.is_open());
            drop(task);
            gate.open();
            1
        }
        Fate::DroppedAfter => {
            gate.open();
            run_until(runtime, "done", || seen.is_done());
            drop(task);
            1
        }
    };
    run_until(runtime, "released", || runtime.metrics().tasks_alive == 0);
    run_until(runtime, "told", || told.lock().len() >= before + expected);
    let told = told.lock();
    assert_eq!(
        told.len(),
        before + expected,
        "{what}: {:?}",
        &told[before..]
    );
    if expected == 1 {
        assert!(told[before].starts_with(&what), "{}", told[before]);
        assert!(
            told[before].contains("panics.rs"),
            "the spawn site: {}",
            told[before]
        );
    }
}

fn expect_payload(error: TaskError, cause: Cause) {
    assert!(error.is_panic() && !error.is_cancelled() && !error.is_refused());
    let text = match cause {
        Cause::Poll => "poll",
        // The destructor's panic is the later one.
        Cause::FutureDrop | Cause::PollAndFutureDrop => "future",
        Cause::PayloadDrop => {
            assert_eq!(error.panic_message(), None);
            let payload = error.into_panic().unwrap();
            let dropped = std::panic::AssertUnwindSafe(|| drop(payload));
            assert!(std::panic::catch_unwind(dropped).is_err());
            return;
        }
        Cause::ValueDrop => unreachable!("that one gives a value"),
    };
    assert_eq!(error.panic_message(), Some(text));
    assert_eq!(error.into_panic().unwrap().downcast_ref(), Some(&text));
}

#[test]
fn every_panic_ends_its_task_only_and_is_told_exactly_once_unless_retrieved() {
    limited(|| {
        on_each_flavour(|_, builder| {
            let (runtime, told) = with_handler(builder);
            for cause in CAUSES {
                for fate in FATES {
                    one(&runtime, &told, cause, fate);
                    let alive = runtime.spawn(async { 7 });
                    assert_eq!(runtime.block_on(alive).unwrap().unwrap(), 7);
                }
            }
            let report = runtime.shutdown(std::time::Duration::from_secs(10));
            assert!(report.is_complete(), "{report}");
        });
    });
}

#[test]
fn a_panic_in_a_cancelled_futures_destructor_stands() {
    limited(|| {
        on_each_flavour(|_, builder| {
            let (runtime, told) = with_handler(builder);
            for polled in [false, true] {
                let (gate, seen) = (Gate::default(), Gate::default());
                let failing = Failing {
                    cause: Cause::FutureDrop,
                    gate: gate.passed(),
                    polled: seen.clone(),
                };
                let task = runtime.spawn(failing);
                if polled {
                    run_until(&runtime, "polled", || seen.is_open());
                }
                assert!(task.cancel("stop"));
                let Err(error) = runtime.block_on(task).unwrap() else {
                    panic!("no error")
                };
                assert_eq!(error.panic_message(), Some("future"));
            }
            assert!(told.lock().is_empty());
        });
    });
}

#[test]
fn a_blocking_closures_panic_is_its_tasks() {
    limited(|| {
        let (runtime, told) = with_handler(Builder::new().worker_threads(1));
        let error = runtime
            .block_on(runtime.spawn_blocking(|| -> u8 { panic!("{} blocks", "it") }))
            .unwrap()
            .unwrap_err();
        assert_eq!(error.panic_message(), Some("it blocks"));
        assert!(told.lock().is_empty());
        drop(runtime.spawn_blocking(|| panic_any(PanicsWhenDropped("payload"))));
        drop(runtime.spawn_blocking(|| PanicsWhenDropped("value")));
        until("both told", || told.lock().len() == 2);
        assert_eq!(
            runtime
                .block_on(runtime.spawn_blocking(|| 5))
                .unwrap()
                .unwrap(),
            5
        );
        until("released", || runtime.metrics().tasks_alive == 0);
        assert_eq!(told.lock().len(), 2);
    });
}

#[test]
fn an_exception_handler_that_panics_or_spawns_harms_nobody() {
    limited(|| {
        let called = Arc::new(AtomicUsize::new(0));
        let count = called.clone();
        let runtime = Builder::new()
            .worker_threads(1)
            .exception_handler(move |_| {
                heist::spawn(async {}).detach();
                count.fetch_add(1, SeqCst);
                panic!("the handler");
            })
            .build()
            .unwrap();
        for _ in 0..100 {
            drop(runtime.spawn(async { panic!("a task") }));
        }
        until("told", || called.load(SeqCst) == 100);
        assert_eq!(runtime.block_on(async { 1 }).unwrap(), 1);
    });
}

#[test]
fn a_panic_that_nobody_retrieves_can_shut_the_runtime_down() {
    limited(|| {
        for handler_panics in [false, true] {
            let runtime = Builder::new()
                .worker_threads(2)
                .panic_policy(PanicPolicy::Shutdown)
                .exception_handler(move |_| assert!(!handler_panics, "so does the handler"))
                .build()
                .unwrap();
            let bystander = runtime.spawn(std::future::pending::<()>());
            let retrieved = runtime.spawn(async { panic!("retrieved") });
            assert!(runtime.block_on(retrieved).unwrap().is_err());
            assert!(!runtime.is_shut_down(), "a retrieved one does nothing");
            drop(runtime.spawn(async { panic!("unretrieved") }));
            until("closed", || runtime.is_shut_down());
            let refused = runtime.spawn(async {});
            until("refused", || refused.is_done());
            let report = runtime.shutdown(std::time::Duration::from_secs(10));
            assert!(report.is_complete(), "{report}");
            assert!(bystander.is_cancelled());
        }
    });
}

#[test]
fn errors_say_what_they_are() {
    limited(|| {
        let runtime = threaded(1);
        let error = |task| -> TaskError {
            runtime
                .block_on::<heist::Task<()>>(task)
                .unwrap()
                .unwrap_err()
        };
        let panicked =
            error(runtime.spawn(async { panic!("eleven {}", std::hint::black_box(11)) }));
        assert_eq!(panicked.to_string(), "the task panicked: eleven 11");
        let plain = error(runtime.spawn(async { panic_any(5_u8) }));
        assert_eq!(plain.to_string(), "the task panicked");
        assert_eq!(plain.into_panic().unwrap().downcast_ref(), Some(&5_u8));
        let task = runtime.spawn(std::future::pending());
        task.cancel("enough");
        let cancelled = error(task);
        assert_eq!(cancelled.to_string(), "the task was cancelled: enough");
        assert!(cancelled.into_panic().is_err(), "and comes back as it was");
        let io = std::io::Error::from(panicked);
        assert!(io.to_string().contains("eleven"));
        let resumed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            let io = io;
            std::io::Error::into_inner(io)
                .unwrap()
                .downcast::<TaskError>()
                .unwrap()
                .resume()
        }));
        let payload = resumed
            .map(|never: std::convert::Infallible| match never {})
            .unwrap_err();
        assert_eq!(payload.downcast_ref::<String>().unwrap(), "eleven 11");
    });
}

/// When somebody asks the task to end.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Asked {
    AtOnce,
    WhileSuspended,
    AfterTheEnd,
}

#[test]
fn a_cancel_or_an_abort_at_any_point_meets_every_panic() {
    limited(|| {
        on_each_flavour(|flavour, builder| {
            let (runtime, told) = with_handler(builder);
            for cause in CAUSES {
                for asked in [Asked::AtOnce, Asked::WhileSuspended, Asked::AfterTheEnd] {
                    for abort in [false, true] {
                        for awaited in [false, true] {
                            let what = format!(
                                "{flavour}, {cause:?}, {asked:?}, abort: {abort}, awaited: {awaited}"
                            );
                            let before = told.lock().len();
                            ask(&runtime, cause, asked, abort, awaited);
                            run_until(&runtime, "released", || runtime.metrics().tasks_alive == 0);
                            let told = told.lock().len() - before;
                            assert!(told <= usize::from(!awaited), "{what}: told {told} times");
                            let alive = runtime.spawn(async { 7 });
                            assert_eq!(runtime.block_on(alive).unwrap().unwrap(), 7, "{what}");
                        }
                    }
                }
            }
            let report = runtime.shutdown(std::time::Duration::from_secs(10));
            assert!(report.is_complete(), "{report}");
        });
    });
}

fn ask(runtime: &Runtime, cause: Cause, asked: Asked, abort: bool, awaited: bool) {
    let (gate, polled) = (Gate::default(), Gate::default());
    let task = runtime.spawn(Failing {
        cause,
        gate: gate.passed(),
        polled: polled.clone(),
    });
    let seen = task.as_ref();
    if asked == Asked::AfterTheEnd {
        gate.open();
        run_until(runtime, "done", || seen.is_done());
    }
    if asked == Asked::WhileSuspended {
        run_until(runtime, "polled", || polled.is_open());
    }
    let accepted = if abort {
        task.abort(None)
    } else {
        task.cancel(None)
    };
    assert_eq!(accepted, asked != Asked::AfterTheEnd);
    gate.open();
    if !awaited {
        return drop(task);
    }
    // What it gives has a destructor that panics, or not.
    let drop_it = |it: Box<dyn std::any::Any>| catch_unwind(AssertUnwindSafe(|| drop(it)));
    let _ = match runtime.block_on(task).unwrap() {
        Ok(value) => drop_it(Box::new(value)),
        Err(error) if error.is_panic() => drop_it(error.into_panic().unwrap()),
        Err(error) => {
            assert!(error.is_cancelled(), "{error}");
            Ok(())
        }
    };
}

#[test]
fn of_many_children_whose_destructors_panic_each_ends_and_no_other_is_harmed() {
    limited(|| {
        on_each_flavour(|flavour, builder| {
            let (runtime, _told) = with_handler(builder);
            let children = |count| {
                let polled: Vec<_> = (0..count).map(|_| Gate::default()).collect();
                let futures = polled.clone().into_iter().map(|polled| Failing {
                    cause: Cause::FutureDrop,
                    gate: Gate::default().passed(),
                    polled,
                });
                (futures.collect::<Vec<_>>(), polled)
            };
            for way in ["a group", "a gather"] {
                let (failing, polled) = children(50);
                let owner = runtime.spawn(async move {
                    match way {
                        "a group" => {
                            let group = heist::TaskGroup::run(|group| async move {
                                for child in failing {
                                    drop(group.spawn(async move { drop(child.await) }));
                                }
                                std::future::pending::<()>().await;
                            });
                            group.await.map_err(drop).unwrap_or_default();
                        }
                        _ => {
                            let tasks = failing.into_iter().map(heist::spawn).collect::<Vec<_>>();
                            drop(heist::gather(tasks).await);
                        }
                    }
                });
                let seen = owner.as_ref();
                run_until(&runtime, "all wait", || polled.iter().all(Gate::is_open));
                owner.cancel(None);
                run_until(&runtime, "the owner ended", || seen.is_done());
                drop(owner);
                run_until(&runtime, "all ended", || runtime.metrics().tasks_alive == 0);
                let alive = runtime.spawn(async { 7 });
                assert_eq!(
                    runtime.block_on(alive).unwrap().unwrap(),
                    7,
                    "{flavour}, {way}"
                );
            }
        });
    });
}
