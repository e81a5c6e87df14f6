//! Spawning, awaiting, detaching; names, ids, spawn sites; odd shapes of futures and values.

use crate::support::{
    Drops, Gate, Stuck, limited, on_each_flavour, run_until, seated, side_by_side, threaded,
};
use heist::task;
use parking_lot::Mutex;
use std::collections::HashSet;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll};

#[test]
fn a_task_gives_its_value() {
    limited(|| {
        on_each_flavour(|flavour, builder| {
            let runtime = builder.build().unwrap();
            let sum = runtime.block_on(async {
                let tasks: Vec<_> = (0..100_u64)
                    .map(|n| heist::spawn(async move { n }))
                    .collect();
                let mut sum = 0;
                for task in tasks {
                    sum += task.await.unwrap();
                }
                sum
            });
            assert_eq!(sum.unwrap(), 4950, "{flavour}");
        });
    });
}

#[test]
fn run_builds_a_runtime_runs_main_and_shuts_down() {
    limited(|| {
        let drops = Drops::default();
        let left = drops.one();
        let value = heist::run(async move {
            heist::spawn(async move {
                let _left = left;
                std::future::pending::<()>().await;
            });
            task::yield_now().await;
            42
        });
        assert_eq!(value.unwrap(), 42);
        assert_eq!(drops.dropped(), 1, "what main left behind was cancelled");
    });
}

#[test]
fn a_panic_of_main_goes_on_in_the_caller() {
    limited(|| {
        let caught = std::panic::catch_unwind(|| heist::run(async { panic!("main") }));
        assert_eq!(caught.unwrap_err().downcast_ref(), Some(&"main"));
        let runtime = threaded(1);
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            runtime.block_on(async { panic!("root") })
        }));
        assert_eq!(caught.unwrap_err().downcast_ref(), Some(&"root"));
        assert_eq!(
            runtime.block_on(async { 1 }).unwrap(),
            1,
            "and the runtime goes on"
        );
    });
}

#[test]
fn block_on_takes_futures_that_borrow_and_are_not_send() {
    limited(|| {
        on_each_flavour(|_, builder| {
            let runtime = builder.build().unwrap();
            let shared = std::rc::Rc::new(std::cell::Cell::new(0));
            let mut borrowed = vec![1, 2];
            runtime
                .block_on(async {
                    for _ in 0..10 {
                        task::yield_now().await;
                        shared.set(shared.get() + 1);
                        borrowed.push(heist::spawn(async { 3 }).await.unwrap());
                    }
                })
                .unwrap();
            assert_eq!((shared.get(), borrowed.len()), (10, 12));
        });
    });
}

#[test]
fn a_task_starts_later_never_inside_spawn() {
    limited(|| {
        on_each_flavour(|flavour, builder| {
            let runtime = builder.build().unwrap();
            let outside = std::thread::current().id();
            let ran_here = runtime
                .run(async {
                    let here = std::thread::current().id();
                    let spawning = Arc::new(AtomicBool::new(true));
                    let seen = spawning.clone();
                    let task = heist::spawn(async move {
                        (std::thread::current().id() == here) && seen.load(SeqCst)
                    });
                    spawning.store(false, SeqCst);
                    task.await.unwrap()
                })
                .unwrap();
            assert!(!ran_here, "{flavour}, called on {outside:?}");
        });
    });
}

#[test]
fn dropping_the_handle_detaches() {
    limited(|| {
        on_each_flavour(|flavour, builder| {
            let runtime = builder.build().unwrap();
            let (ended, gate) = (Arc::new(AtomicUsize::new(0)), Gate::default());
            for n in 0..20 {
                let (ended, gate) = (ended.clone(), gate.clone());
                let task = runtime.spawn(async move {
                    gate.passed().await;
                    ended.fetch_add(1, SeqCst);
                });
                if n % 2 == 0 {
                    drop(task)
                } else {
                    task.detach()
                }
            }
            gate.open();
            run_until(&runtime, flavour_name(flavour), || ended.load(SeqCst) == 20);
        });
    });
}

fn flavour_name(_: &str) -> &'static str {
    "all detached tasks have ended"
}

#[test]
fn names_are_given_or_follow_the_id() {
    limited(|| {
        let runtime = threaded(1);
        let plain = runtime.spawn(async { heist::current_task().unwrap().name() });
        assert_eq!(plain.name(), format!("Task-{}", plain.id()));
        let name = plain.name();
        assert_eq!(runtime.block_on(plain).unwrap().unwrap(), name);

        for given in ["fetcher", "", "ünï\0cödé", &"x".repeat(10_000)] {
            let named = task::Builder::new()
                .name(given)
                .spawn_on(&runtime, async { heist::current_task().unwrap().name() });
            assert_eq!(named.name(), given);
            assert_eq!(runtime.block_on(named).unwrap().unwrap(), given);
        }

        let gate = Gate::default();
        let task = runtime.spawn(gate.passed());
        task.set_name("one");
        task.as_ref().set_name("two");
        assert_eq!(task.name(), "two");
        gate.open();
        let seen = task.as_ref();
        runtime.block_on(task).unwrap().unwrap();
        assert_eq!(seen.name(), "two", "a reference outlives the task");
    });
}

#[test]
fn ids_are_unique_across_threads() {
    limited(|| {
        let runtime = threaded(2);
        let ids = Arc::new(Mutex::new(HashSet::new()));
        side_by_side(4, |_| {
            let mine: Vec<_> = (0..2_500).map(|_| runtime.spawn(async {}).id()).collect();
            assert!(mine.is_sorted(), "ids rise within a thread");
            ids.lock().extend(mine);
        });
        assert_eq!(ids.lock().len(), 10_000);
    });
}

#[test]
fn the_spawn_site_is_the_callers_line() {
    limited(|| {
        let runtime = threaded(1);
        let here = |at: &std::panic::Location<'_>, line: u32| {
            assert!(at.file().ends_with("tasks.rs"), "{at}");
            assert_eq!(at.line(), line);
        };
        let task = runtime.spawn(async {});
        here(task.as_ref().spawned_at(), line!() - 1);
        let task = runtime.spawn_with(|| async {});
        here(task.as_ref().spawned_at(), line!() - 1);
        let task = runtime.spawn_blocking(|| {});
        here(task.as_ref().spawned_at(), line!() - 1);
        let task = task::Builder::new().spawn_on(&runtime, async {});
        here(task.as_ref().spawned_at(), line!() - 1);
        let _entered = runtime.enter();
        let task = heist::spawn(async {});
        here(task.as_ref().spawned_at(), line!() - 1);
        let task = task::Builder::new().spawn_blocking(|| {});
        here(task.as_ref().spawned_at(), line!() - 1);
        let root = runtime.block_on(async { heist::current_task().unwrap().spawned_at() });
        here(root.unwrap(), line!() - 1);
    });
}

#[test]
fn debug_shows_state_name_and_spawn_site() {
    limited(|| {
        let runtime = threaded(1);
        let stuck = Stuck::default();
        let wakers = stuck.0.clone();
        let task = task::Builder::new()
            .name("a \"b\"")
            .spawn_on(&runtime, stuck);
        crate::support::until("polled", || !wakers.lock().is_empty());
        crate::support::until("suspended", || crate::support::is_suspended(&task));
        let shown = format!("{task:?}");
        assert!(
            shown.starts_with(
                r#"<Task pending name='a \"b\"' coro=<it::support::Stuck> spawned at "#
            ),
            "{shown}"
        );
        assert!(shown.contains("tasks.rs"), "{shown}");
        let seen = task.as_ref();
        assert!(format!("{seen:?}").starts_with("<Task pending"));
        let running = runtime.run(async { format!("{:?}", heist::current_task().unwrap()) });
        assert!(running.unwrap().starts_with("<Task pending"));
        task.cancel(None);
        runtime.block_on(task).unwrap().unwrap_err();
        assert!(format!("{seen:?}").starts_with("<Task cancelled"));
        let done = runtime.spawn(async {});
        crate::support::until("done", || done.is_done());
        assert!(format!("{done:?}").starts_with("<Task finished"));
        assert!(!format!("{runtime:?}").is_empty());
    });
}

#[test]
fn an_outcome_is_given_once() {
    limited(|| {
        let runtime = threaded(1);
        runtime
            .block_on(async {
                let mut task = heist::spawn(async { 5 });
                assert_eq!((&mut task).await.unwrap(), 5);
                let again = (&mut task).await.unwrap_err();
                assert!(!again.is_cancelled() && !again.is_panic() && !again.is_refused());
                assert!(again.to_string().contains("taken"), "{again}");
                assert!(task.is_done() && !task.is_cancelled());
            })
            .unwrap();
    });
}

#[test]
fn an_await_can_be_given_up_and_taken_up_again() {
    limited(|| {
        on_each_flavour(|_, builder| {
            let runtime = builder.build().unwrap();
            runtime
                .block_on(async {
                    let gate = Gate::default();
                    let passed = gate.passed();
                    let task = heist::spawn(async move {
                        passed.await;
                        8
                    });
                    for _ in 0..3 {
                        let short = std::time::Duration::from_millis(1);
                        assert!(heist::timeout(short, task.ended()).await.is_err());
                    }
                    gate.open();
                    assert_eq!(task.await.unwrap(), 8);
                })
                .unwrap();
        });
    });
}

#[test]
fn references_to_one_task_are_equal_and_hash_alike() {
    limited(|| {
        let runtime = threaded(1);
        let task = runtime.spawn(std::future::pending::<()>());
        let other = runtime.spawn(std::future::pending::<()>());
        let set: HashSet<_> = [task.as_ref(), task.as_ref(), other.as_ref()].into();
        assert_eq!(set.len(), 2);
        assert!(set.contains(&task.as_ref().clone()));
        assert!(task.as_ref().future_name().contains("Pending"));
    });
}

/// A future with a megabyte in it.
struct Big([u8; 1 << 20], u32);

impl Future for Big {
    type Output = usize;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<usize> {
        let turn = self.1 as usize;
        self.0[turn * 1000] = 1;
        self.1 += 1;
        if self.1 == 10 {
            return Poll::Ready(self.0.iter().map(|byte| usize::from(*byte)).sum());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

#[test]
fn a_future_of_a_megabyte_runs() {
    let all = || {
        on_each_flavour(|_, builder| {
            let runtime = builder.build().unwrap();
            let tasks: Vec<_> = (0..8)
                .map(|_| runtime.spawn_with(|| Big([0; 1 << 20], 0)))
                .collect();
            for task in tasks {
                assert_eq!(runtime.block_on(task).unwrap().unwrap(), 10);
            }
        });
    };
    // Unoptimised, the compiler moves the future several times over the stack of whoever spawns it.
    let roomy = std::thread::Builder::new().stack_size(32 << 20);
    limited(move || roomy.spawn(all).unwrap().join().unwrap());
}

/// A future without a size.
struct Nothing;

impl Future for Nothing {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}

#[test]
fn a_future_without_a_size_runs() {
    limited(|| {
        on_each_flavour(|_, builder| {
            let runtime = builder.build().unwrap();
            let tasks: Vec<_> = (0..1000).map(|_| runtime.spawn(Nothing)).collect();
            for task in tasks {
                runtime.block_on(task).unwrap().unwrap();
            }
        });
    });
}

/// Future and value want a page of their own.
#[repr(align(4096))]
struct Page(u8);

impl Future for Page {
    type Output = Page;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Page> {
        assert_eq!((&raw const *self).addr() % 4096, 0, "the future is aligned");
        Poll::Ready(Page(self.0 + 1))
    }
}

#[test]
fn futures_and_values_are_aligned_as_they_ask() {
    limited(|| {
        let runtime = threaded(2);
        let tasks: Vec<_> = (0..64).map(|_| runtime.spawn(Page(6))).collect();
        for task in tasks {
            let page = Box::new(runtime.block_on(task).unwrap().unwrap());
            assert_eq!((&raw const *page).addr() % 4096, 0);
            assert_eq!(page.0, 7);
        }
    });
}

#[test]
fn a_task_is_polled_on_one_thread_at_a_time_and_its_future_dropped_once() {
    struct Alone(
        Arc<AtomicBool>,
        u32,
        #[expect(dead_code)] crate::support::Counted,
    );
    impl Future for Alone {
        type Output = ();
        fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
            assert!(!self.0.swap(true, SeqCst), "polled twice at a time");
            std::hint::black_box((0..50).sum::<u32>());
            self.1 += 1;
            assert!(self.0.swap(false, SeqCst));
            if self.1 == 200 {
                return Poll::Ready(());
            }
            let waker = cx.waker().clone();
            if self.1.is_multiple_of(8) {
                heist::spawn(async move { waker.wake() });
            } else {
                waker.wake();
            }
            Poll::Pending
        }
    }
    limited(|| {
        on_each_flavour(|flavour, builder| {
            let runtime = builder.build().unwrap();
            let drops = Drops::default();
            let tasks: Vec<_> = (0..50)
                .map(|_| runtime.spawn(Alone(Arc::default(), 0, drops.one())))
                .collect();
            for task in tasks {
                runtime.block_on(task).unwrap().unwrap();
            }
            assert_eq!((drops.made(), drops.dropped()), (50, 50), "{flavour}");
        });
    });
}

#[test]
fn a_panic_while_the_future_is_made_leaves_nothing_behind() {
    limited(|| {
        let runtime = threaded(1);
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            runtime.spawn_with(|| -> std::future::Ready<()> { panic!("not made") })
        }));
        assert!(caught.is_err());
        assert_eq!(runtime.metrics().tasks_alive, 0);
        assert_eq!(runtime.block_on(async { 1 }).unwrap(), 1);
    });
}

#[test]
fn tasks_of_a_current_thread_runtime_run_only_inside_block_on() {
    limited(|| {
        let runtime = seated();
        let ran = Arc::new(AtomicBool::new(false));
        let seen = ran.clone();
        let me = std::thread::current().id();
        let task = runtime.spawn(async move {
            seen.store(true, SeqCst);
            std::thread::current().id()
        });
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert!(!ran.load(SeqCst));
        assert_eq!(runtime.block_on(task).unwrap().unwrap(), me);
    });
}

#[test]
fn two_threads_take_turns_on_a_current_thread_runtime() {
    limited(|| {
        let runtime = seated();
        side_by_side(4, |_| {
            for n in 0..50 {
                let sum = runtime.block_on(async move {
                    let task = heist::spawn(async move {
                        task::yield_now().await;
                        n
                    });
                    heist::sleep(std::time::Duration::from_micros(50)).await;
                    task.await.unwrap() + 1
                });
                assert_eq!(sum.unwrap(), n + 1);
            }
        });
    });
}
