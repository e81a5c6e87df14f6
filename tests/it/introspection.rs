//! What a handle says of itself: `Debug`, and what a task waits for.

use crate::support::{Gate, Stuck, limited, on_each_flavour, run_until, seated, threaded, until};
use heist::task::{Builder, WaitsFor};
use heist::{Handle, Task, promise};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::task::Poll;
use std::time::Duration;

fn stuck(runtime: &Handle, name: &str) -> Task<()> {
    Builder::new()
        .name(name)
        .spawn_on(runtime, std::future::pending::<()>())
}

#[test]
fn a_task_shows_what_it_waits_for_one_level_deep() {
    limited(|| {
        on_each_flavour(|flavour, builder| {
            let runtime = builder.build().unwrap();
            let inner = stuck(&runtime, "innermost");
            let middle = Builder::new().name("middle").spawn_on(&runtime, inner);
            let seen = middle.as_ref();
            let outer = Builder::new().name("outer").spawn_on(&runtime, async {
                let _ = middle.await;
            });
            run_until(&runtime, "suspended", || !outer.waits_for().is_empty());
            let shown = format!("{outer:?}");
            assert!(
                shown.starts_with("<Task pending name='outer' coro=<it::introspection::"),
                "{flavour}: {shown}"
            );
            assert!(
                shown.contains("{{closure}}> wait_for=<Task pending name='middle' coro=<"),
                "{shown}"
            );
            assert!(!shown.contains("innermost"), "{shown}");
            assert!(
                shown.ends_with(&format!(" spawned at {}>", outer.spawned_at())),
                "{shown}"
            );
            run_until(&runtime, "suspended", || {
                format!("{seen:?}").contains("wait_for=<Task pending name='innermost'")
            });
            assert!(matches!(&outer.waits_for()[..], [WaitsFor::Task(task)] if *task == seen));
        });
    });
}

#[test]
fn handles_of_other_kinds_are_named() {
    limited(|| {
        let runtime = threaded(1);
        let (keep, deferred) = promise::<()>();
        let (other, also) = promise::<()>();
        assert_eq!(format!("{deferred:?}"), "<Deferred pending>");
        let gather = heist::gather([stuck(&runtime, "a")]).start();
        assert_eq!(format!("{gather:?}"), "<Gather pending>");
        let (handle, coroutine) = (runtime.handle(), std::future::pending::<()>());
        let outside = heist::run_coroutine_threadsafe(coroutine, handle).wrap();
        let awaits = [
            ("Deferred", runtime.spawn(async { drop(deferred.await) })),
            ("Gather", runtime.spawn(async { drop(gather.await) })),
            (
                "Shield",
                runtime.spawn(async { drop(heist::shield(also).await) }),
            ),
            (
                "concurrent::Future",
                runtime.spawn(async { drop(outside.await) }),
            ),
        ];
        for (kind, task) in awaits {
            until(kind, || !task.waits_for().is_empty());
            assert_eq!(format!("{:?}", task.waits_for()), format!("[<{kind}>]"));
            assert!(format!("{task:?}").contains(&format!(" wait_for=<{kind}> ")));
        }
        drop((keep, other));
    });
}

#[test]
fn what_is_awaited_side_by_side_and_in_regions_is_listed() {
    limited(|| {
        let runtime = threaded(1);
        let tasks: Vec<_> = (0..12).map(|n| stuck(&runtime, &format!("t{n}"))).collect();
        let all: Vec<_> = tasks.iter().map(Task::as_ref).collect();
        let task = runtime.spawn(async move {
            let mut tasks: Vec<_> = tasks
                .into_iter()
                .map(|task| Box::pin(heist::catch_cancel(task)))
                .collect();
            std::future::poll_fn(|cx| {
                for task in &mut tasks {
                    if task.as_mut().poll(cx).is_ready() {
                        return Poll::Ready(());
                    }
                }
                Poll::Pending
            })
            .await;
        });
        until("suspended", || task.waits_for().len() == 12);
        let waits = task.waits_for();
        assert!(
            waits
                .iter()
                .zip(&all)
                .all(|(one, two)| one.task() == Some(two))
        );
        let shown = format!("{task:?}");
        assert!(
            shown.contains(" wait_for=[<Task pending name='t0'"),
            "{shown}"
        );
        assert!(shown.contains(">, and 4 more] "), "{shown}");
        assert!(shown.contains("'t7'") && !shown.contains("'t8'"), "{shown}");
    });
}

#[test]
fn what_was_put_by_is_not_waited_for() {
    limited(|| {
        let runtime = threaded(1);
        let first = stuck(&runtime, "first");
        let second = stuck(&runtime, "second");
        let (polled, go) = (Arc::new(AtomicBool::new(false)), Gate::default());
        let (tell, gate) = (polled.clone(), go.clone());
        let task = runtime.spawn(async move {
            let (mut first, mut gate) = (pin!(first), pin!(gate.passed()));
            std::future::poll_fn(|cx| {
                let passed = gate.as_mut().poll(cx);
                if passed.is_pending() {
                    let _ = first.as_mut().poll(cx);
                    tell.store(true, SeqCst);
                }
                passed
            })
            .await;
            // `first` lives, unpolled.
            let _ = second.await;
        });
        until("polled", || polled.load(SeqCst));
        until(
            "the first",
            || matches!(&task.waits_for()[..], [one] if one.task().unwrap().name() == "first"),
        );
        go.open();
        until(
            "the second",
            || matches!(&task.waits_for()[..], [one] if one.task().unwrap().name() == "second"),
        );
    });
}

#[test]
fn the_words_are_asyncios() {
    limited(|| {
        let runtime = seated();
        let task = stuck(&runtime, "it's \"x\"\n");
        let seen = task.as_ref();
        let shown = format!("{seen:?}");
        assert!(
            shown.starts_with(r#"<Task pending name='it\'s \"x\"\n' coro=<"#),
            "{shown}"
        );
        let (running, waits) = runtime
            .run(async {
                let me = heist::current_task().unwrap();
                (format!("{me:?}"), me.waits_for().len())
            })
            .unwrap();
        assert!(
            running.starts_with("<Task pending name='Task-"),
            "{running}"
        );
        assert!(running.contains(" running> spawned at "), "{running}");
        assert!(shown.contains(" queued> spawned at "), "{shown}");
        assert_eq!(waits, 0);
        task.cancel(None);
        assert!(format!("{task:?}").starts_with("<Task cancelling name="));
        runtime.block_on(task).unwrap().unwrap_err();
        let shown = format!("{seen:?}");
        assert!(shown.starts_with("<Task cancelled name="), "{shown}");
        assert!(!shown.contains("exception") && !shown.contains("running"));

        let value = runtime.spawn(async { 1 });
        let panics = runtime.spawn(async { panic!("out of cheese") });
        let fails = runtime.try_spawn(async { Err::<(), _>("no") });
        run_until(&runtime, "done", || {
            value.is_done() && panics.is_done() && fails.is_done()
        });
        let shown = format!("{value:?}");
        assert!(shown.starts_with("<Task finished name='Task-") && !shown.contains("exception"));
        let shown = format!("{panics:?}");
        assert!(
            shown.contains(r#" exception=Panicked(Some("out of cheese")) spawned at "#),
            "{shown}"
        );
        assert!(format!("{:?}", panics.as_ref()).contains("> exception spawned at "));
        assert!(format!("{fails:?}").contains("> exception spawned at "));
        let shared = panics.shared();
        assert!(format!("{shared:?}").contains(" exception=Panicked("));
        assert!(format!("{:?}", value.shared()).starts_with("<Task finished "));
        runtime.block_on(shared).unwrap().unwrap_err();
    });
}

#[test]
fn deferreds_say_how_they_ended() {
    limited(|| {
        let ended = |end: fn(&heist::Promise<u8>)| {
            let (promise, deferred) = promise::<u8>();
            end(&promise);
            let before = format!("{deferred:?}");
            let shared = deferred.shared();
            assert_eq!(format!("{shared:?}"), before);
            before
        };
        assert_eq!(ended(|_| {}), "<Deferred pending>");
        assert_eq!(
            ended(|promise| promise.set(1).unwrap()),
            "<Deferred finished>"
        );
        assert_eq!(
            ended(|promise| {
                promise.cancel("no");
            }),
            "<Deferred cancelled>"
        );
    });
}

#[test]
fn looking_all_the_time_changes_nothing() {
    limited(|| {
        let runtime = threaded(2);
        let stop = Arc::new(AtomicBool::new(false));
        let looks = Arc::new(AtomicUsize::new(0));
        let lookers: Vec<_> = (0..2)
            .map(|_| {
                let (handle, stop, looks) = (runtime.handle().clone(), stop.clone(), looks.clone());
                std::thread::spawn(move || {
                    while !stop.load(SeqCst) {
                        for task in handle.all_tasks() {
                            assert!(!format!("{task:?}").is_empty());
                            looks.fetch_add(task.waits_for().len(), SeqCst);
                        }
                    }
                })
            })
            .collect();
        for round in 0..300 {
            let chain = (0..10).fold(runtime.spawn(std::future::pending::<u32>()), |inner, _| {
                runtime.spawn(async { inner.await.unwrap_or(1) })
            });
            let last = chain.as_ref();
            if round % 2 == 0 {
                until("suspended", || !last.waits_for().is_empty());
            }
            assert!(last.cancel("all of it"));
            let error = runtime.block_on(chain).unwrap().unwrap_err();
            assert_eq!(error.cancel_message(), Some("all of it"));

            let woken = runtime.spawn(async {
                let inner = heist::spawn(async {
                    heist::sleep(Duration::from_micros(50)).await;
                    5
                });
                inner.await.unwrap()
            });
            assert_eq!(runtime.block_on(woken).unwrap().unwrap(), 5);
        }
        stop.store(true, SeqCst);
        for looker in lookers {
            looker.join().unwrap();
        }
        assert!(looks.load(SeqCst) > 0);
    });
}

#[test]
fn without_being_polled_a_stack_says_where_the_task_was_spawned() {
    limited(|| {
        let runtime = threaded(1);
        let task = Builder::new()
            .name("stuck")
            .spawn_on(&runtime, Stuck::default());
        let stack = loop {
            match task.as_ref().get_stack_within(Duration::from_secs(20)) {
                Ok(stack) => break stack,
                Err(error) => assert!(error.is_running(), "{error}"),
            }
        };
        let shown = stack.to_string();
        assert!(shown.starts_with("Stack of 'stuck' ("), "{shown}");
        assert!(shown.contains("introspection.rs"), "{shown}");
        assert_eq!(*stack.task(), task.as_ref());
        stack.print_stack();
    });
}
