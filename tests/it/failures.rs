//! Failures that nobody retrieves, and requests that are refused: each is told of, once.

use crate::support::{Gate, limited, on_each_flavour, run_until, until};
use heist::sync::Event;
use heist::task::{Cancel, CancelOutcome, catch_cancel};
use heist::{Builder, FailureKind, Runtime, TaskGroup, gather, shield};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;

type Told = Arc<Mutex<Vec<(Option<String>, FailureKind, String)>>>;

/// A runtime whose exception handler notes what it is told: the task's name, the kind, the text.
fn listening(builder: Builder) -> (Runtime, Told) {
    let told = Told::default();
    let list = told.clone();
    let runtime = builder
        .debug(true)
        .exception_handler(move |failure| {
            let name = failure.task.as_ref().map(|task| task.name());
            let entry = (name, failure.kind, failure.to_string());
            list.lock().push(entry);
        })
        .build()
        .unwrap();
    (runtime, told)
}

fn named(runtime: &Runtime, name: &str) -> heist::Task<Result<u32, String>> {
    let failing = async {
        heist::task::yield_now().await;
        Err::<u32, _>("out of paper".to_owned())
    };
    heist::task::Builder::new()
        .name(name)
        .try_spawn_on(runtime, failing)
}

#[test]
fn an_err_that_nobody_takes_is_told_of_once_with_name_site_and_text() {
    limited(|| {
        on_each_flavour(|flavour, builder| {
            let (runtime, told) = listening(builder);
            let task = named(&runtime, "printer");
            let ended = task.as_ref().ended();
            drop(task);
            runtime.block_on(ended).unwrap();
            until("it is told of", || told.lock().len() == 1);
            let (name, kind, text) = told.lock()[0].clone();
            assert_eq!(name.as_deref(), Some("printer"), "{flavour}");
            assert_eq!(kind, FailureKind::Unretrieved);
            assert!(
                text.contains("out of paper") && text.contains("failures.rs"),
                "{text}"
            );
        });
    });
}

#[test]
fn an_err_that_is_taken_and_a_plain_err_value_are_nobodys_business() {
    limited(|| {
        on_each_flavour(|_, builder| {
            let (runtime, told) = listening(builder);
            let taken = named(&runtime, "taken");
            runtime
                .block_on(async {
                    assert!(taken.await.unwrap().is_err());
                    let plain = heist::spawn(async { Err::<(), _>("a value") });
                    plain.ended().await;
                })
                .unwrap();
            drop(runtime);
            assert!(told.lock().is_empty());
        });
    });
}

#[test]
fn a_handle_that_is_dropped_after_the_end_tells() {
    limited(|| {
        on_each_flavour(|_, builder| {
            let (runtime, told) = listening(builder);
            let task = named(&runtime, "late");
            let shared = named(&runtime, "shared").shared();
            runtime
                .block_on(async {
                    task.ended().await;
                    shared.task().unwrap().ended().await;
                })
                .unwrap();
            assert!(told.lock().is_empty(), "the handles may still ask");
            drop((task, shared));
            let mut names: Vec<_> = told.lock().iter().map(|it| it.0.clone()).collect();
            names.sort();
            assert_eq!(names, [Some("late".into()), Some("shared".into())]);
        });
    });
}

#[test]
fn the_orphans_of_a_gather_and_what_is_behind_a_shield_are_told_of() {
    limited(|| {
        on_each_flavour(|flavour, builder| {
            let (runtime, told) = listening(builder);
            runtime
                .block_on(async {
                    let first = heist::spawn(async { panic!("first") });
                    let left = Arc::new(Event::new());
                    let until_left = left.clone();
                    let orphan = heist::task::Builder::new()
                        .name("orphan")
                        .spawn(async move {
                            until_left.wait().await;
                            panic!("orphan")
                        });
                    let ends = orphan.as_ref();
                    let gathered: Result<Vec<()>, _> = gather([first, orphan]).await;
                    assert!(gathered.unwrap_err().is_panic());
                    left.set();
                    ends.ended().await;

                    let inner = heist::task::Builder::new().name("inner").spawn(async {
                        heist::sleep(Duration::from_millis(5)).await;
                        panic!("inner")
                    });
                    let ends = inner.as_ref();
                    let shielded = shield::<heist::Task<()>>(inner);
                    shielded.cancel("the waiter leaves");
                    assert!(shielded.await.unwrap_err().is_cancelled());
                    ends.ended().await;
                })
                .unwrap();
            until("both are told of", || told.lock().len() >= 2);
            drop(runtime);
            let mut names: Vec<_> = told.lock().iter().map(|it| it.0.clone()).collect();
            names.sort();
            assert_eq!(
                names,
                [Some("inner".into()), Some("orphan".into())],
                "{flavour}"
            );
        });
    });
}

#[test]
fn a_group_answers_for_its_children() {
    limited(|| {
        on_each_flavour(|_, builder| {
            let (runtime, told) = listening(builder);
            let error = runtime
                .block_on(TaskGroup::run(|group| async move {
                    group
                        .spawn(async {
                            heist::sleep(Duration::from_millis(5)).await;
                            panic!("child")
                        })
                        .unwrap();
                    group.try_spawn(async { Err::<(), _>("other") }).unwrap();
                }))
                .unwrap()
                .unwrap_err();
            assert!(!error.failures().is_empty());
            drop(runtime);
            assert!(told.lock().is_empty(), "{told:?}");
        });
    });
}

#[test]
fn what_is_pending_when_the_time_is_up_is_aborted_and_told_of() {
    limited(|| {
        on_each_flavour(|flavour, builder| {
            let (runtime, told) = listening(builder);
            let polled = Gate::default();
            let begins = polled.clone();
            let stubborn =
                heist::task::Builder::new()
                    .name("stubborn")
                    .spawn_on(&runtime, async move {
                        begins.open();
                        loop {
                            let _ = catch_cancel(std::future::pending::<()>()).await;
                        }
                    });
            run_until(&runtime, "it waits", {
                let polled = polled.clone();
                move || polled.is_open()
            });
            let report = runtime.shutdown(Duration::from_millis(30));
            assert_eq!(report.late_tasks.len(), 1, "{flavour}");
            assert!(
                stubborn.is_cancelled(),
                "{flavour}: it was dropped at its await"
            );
            let pending: Vec<_> = told.lock().clone();
            let of_kind =
                |it: &&(Option<String>, FailureKind, String)| it.1 == FailureKind::Pending;
            assert_eq!(
                pending.iter().filter(of_kind).count(),
                1,
                "{flavour}: {pending:?}"
            );
        });
    });
}

#[test]
fn a_cancel_with_a_grace_says_how_it_ended() {
    limited(|| {
        on_each_flavour(|_, builder| {
            let (runtime, _) = listening(builder);
            runtime
                .block_on(async {
                    let grace = |time| Cancel::new().reason("closing").grace(time);
                    let enough = || grace(Duration::from_secs(20));
                    let done = heist::spawn(async { 1 });
                    done.ended().await;
                    assert_eq!(done.cancel_with(enough()).await, CancelOutcome::Completed);

                    let suppresses = heist::spawn(async {
                        let caught = catch_cancel(std::future::pending::<()>()).await;
                        caught.unwrap_err().message().map(str::to_owned)
                    });
                    heist::sleep(Duration::from_millis(1)).await;
                    let outcome = suppresses.cancel_with(enough()).await;
                    assert_eq!(outcome, CancelOutcome::Completed);
                    assert_eq!(suppresses.await.unwrap().as_deref(), Some("closing"));

                    let tidy = heist::spawn(async {
                        if let Err(cancelled) = catch_cancel(std::future::pending::<()>()).await {
                            heist::sleep(Duration::from_millis(5)).await;
                            cancelled.propagate().await;
                        }
                    });
                    heist::sleep(Duration::from_millis(1)).await;
                    assert_eq!(tidy.cancel_with(enough()).await, CancelOutcome::CleanedUp);

                    let stubborn = heist::task::Builder::new().name("stubborn").spawn(async {
                        loop {
                            let _ = catch_cancel(std::future::pending::<()>()).await;
                        }
                    });
                    heist::sleep(Duration::from_millis(1)).await;
                    let CancelOutcome::Forced { stuck, ended } =
                        stubborn.cancel_with(grace(Duration::from_millis(50))).await
                    else {
                        panic!("it refuses for ever");
                    };
                    assert!(ended && stuck.contains("stubborn"), "{stuck}");
                    assert!(stubborn.await.unwrap_err().is_cancelled());
                })
                .unwrap();
        });
    });
}

#[test]
fn a_swallowed_cancel_is_told_of_in_debug_mode_with_its_place() {
    limited(|| {
        on_each_flavour(|flavour, builder| {
            let (runtime, told) = listening(builder);
            runtime
                .block_on(async {
                    let line = line!() + 2;
                    let swallows = heist::spawn(async {
                        let _ = catch_cancel(std::future::pending::<()>()).await;
                        7
                    });
                    let takes_back = heist::spawn(async {
                        let _ = catch_cancel(std::future::pending::<()>()).await;
                        heist::current_task().unwrap().uncancel();
                        8
                    });
                    let propagates = heist::spawn(async {
                        let caught = catch_cancel(std::future::pending::<()>()).await;
                        caught.unwrap_err().propagate().await
                    });
                    heist::sleep(Duration::from_millis(1)).await;
                    for cancelled in [swallows.as_ref(), takes_back.as_ref(), propagates.as_ref()] {
                        assert!(cancelled.cancel(None));
                    }
                    assert_eq!(swallows.await.unwrap(), 7);
                    assert_eq!(takes_back.await.unwrap(), 8);
                    let propagated: Result<(), _> = propagates.await;
                    assert!(propagated.unwrap_err().is_cancelled());
                    let told = told.lock().clone();
                    assert_eq!(told.len(), 1, "{flavour}: {told:?}");
                    let FailureKind::SwallowedCancel(at) = told[0].1 else {
                        panic!("{told:?}");
                    };
                    assert_eq!(at.line(), line);
                })
                .unwrap();
        });
    });
}

#[test]
fn a_blocking_closure_can_ask_whether_it_was_cancelled() {
    limited(|| {
        on_each_flavour(|_, builder| {
            let (runtime, _) = listening(builder);
            let (began, begun) = std::sync::mpsc::channel();
            let (ended, end) = std::sync::mpsc::channel();
            let task = runtime.spawn_blocking(move || {
                began.send(()).unwrap();
                loop {
                    if let Err(cancelled) = heist::task::check_cancelled() {
                        ended.send(cancelled.message().map(str::to_owned)).unwrap();
                        return;
                    }
                    std::thread::sleep(Duration::from_millis(1));
                }
            });
            begun.recv().unwrap();
            assert!(task.cancel("enough"));
            assert_eq!(end.recv().unwrap().as_deref(), Some("enough"));
            assert!(runtime.block_on(task).unwrap().unwrap_err().is_cancelled());
        });
    });
}

#[test]
fn a_timeout_round_a_blocking_closure_does_not_wait_for_it() {
    limited(|| {
        on_each_flavour(|flavour, builder| {
            let (runtime, _) = listening(builder);
            let (release, wait) = std::sync::mpsc::channel::<()>();
            let told = runtime
                .block_on(async {
                    let blocking = heist::spawn_blocking(move || {
                        wait.recv().unwrap();
                        heist::task::check_cancelled().is_err()
                    });
                    let task = blocking.as_ref();
                    let limit = Duration::from_millis(20);
                    assert!(heist::timeout(limit, blocking).await.is_err(), "{flavour}");
                    assert!(!task.is_done(), "{flavour}: it sits in its closure");
                    let told = task.cancelling();
                    release.send(()).unwrap();
                    task.ended().await;
                    told
                })
                .unwrap();
            assert_eq!(told, 1, "{flavour}: it was told");
        });
    });
}
