//! `get_stack` of suspended tasks: the real chain of async functions. Feature `stacks`.

#[path = "it/limit.rs"]
mod limit;
#[path = "it/support.rs"]
#[expect(dead_code, reason = "shared with the other tests")]
mod support;

use heist::task::{Stack, yield_now};
use heist::{Builder, Handle, Task, TaskRef};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll};
use std::time::Duration;
use support::{Counted, Drops, Gate, Stuck, limited, on_each_flavour, run_until, threaded, until};

const LONG: Duration = Duration::from_secs(3600);

async fn inner_sleep() {
    heist::sleep(LONG).await;
}

async fn middle() -> u32 {
    inner_sleep().await;
    7
}

async fn outer() -> u32 {
    let held = Box::new(1);
    let boxed: Pin<Box<dyn Future<Output = u32> + Send>> = Box::pin(middle());
    boxed.await + *held
}

/// The functions of this file in it, the outermost first.
fn functions(stack: &Stack) -> Vec<String> {
    let own = stack.frames().iter().filter(|frame| {
        frame
            .file()
            .is_some_and(|file| file.ends_with("stacks.rs") && !file.contains("task"))
    });
    own.map(|frame| frame.name().rsplit("::").next().unwrap().to_owned())
        .collect()
}

/// Waits until it is suspended, and asks, from this thread or from a task.
fn stack_of(runtime: &Handle, task: &TaskRef) -> Stack {
    let asked = task.clone();
    loop {
        let asked = asked.clone();
        let ask = async move {
            heist::sleep(Duration::from_micros(200)).await;
            asked.get_stack().await
        };
        match runtime.block_on(ask).unwrap() {
            Ok(stack) if !stack.frames().is_empty() => return stack,
            Ok(_) => {}
            Err(error) => assert!(error.is_running(), "{error}"),
        }
    }
}

#[test]
fn a_chain_of_async_functions_is_shown_outermost_first_with_lines() {
    limited(|| {
        on_each_flavour(|flavour, builder| {
            let runtime = builder.build().unwrap();
            let task = heist::task::Builder::new()
                .name("sleeper")
                .spawn_on(&runtime, outer());
            let stack = stack_of(&runtime, &task.as_ref());
            assert_eq!(
                functions(&stack),
                ["outer", "middle", "inner_sleep"],
                "{flavour}: {stack}"
            );
            let lines: Vec<_> = stack.frames().iter().filter_map(|f| f.line()).collect();
            assert!(lines.len() >= 3, "{stack}");
            let shown = stack.to_string();
            assert!(
                shown.starts_with("Stack of 'sleeper' (stacks::outer"),
                "{shown}"
            );
            assert!(shown.contains("Sleep"), "the leaf: {shown}");
            assert!(shown.contains("stacks.rs:"), "{shown}");
            assert!(!format!("{stack:?}").is_empty());
            // Nothing was done to it.
            for _ in 0..5 {
                assert_eq!(functions(&stack_of(&runtime, &task.as_ref())).len(), 3);
            }
            assert!(!task.is_done());
            assert!(task.cancel("enough"));
            let error = runtime.block_on(task).unwrap().unwrap_err();
            assert_eq!(error.cancel_message(), Some("enough"));
        });
    });
}

#[test]
fn what_is_joined_branches() {
    async fn left() {
        heist::sleep(LONG).await;
    }
    async fn right(task: Task<()>) {
        let _ = task.await;
    }
    async fn both(task: Task<()>) {
        let (mut left, mut right) = (pin!(left()), pin!(right(task)));
        std::future::poll_fn(|cx| {
            let left = left.as_mut().poll(cx);
            if right.as_mut().poll(cx).is_ready() && left.is_ready() {
                return Poll::Ready(());
            }
            Poll::Pending
        })
        .await;
    }
    limited(|| {
        let runtime = threaded(1);
        let awaited = heist::task::Builder::new()
            .name("awaited")
            .spawn_on(&runtime, std::future::pending::<()>());
        let task = runtime.spawn(both(awaited));
        let stack = stack_of(&runtime, &task.as_ref());
        let functions = functions(&stack);
        assert_eq!(functions.iter().filter(|name| *name == "left").count(), 1);
        assert_eq!(functions.iter().filter(|name| *name == "right").count(), 1);
        let root = stack.frames().iter().filter(|frame| frame.depth() == 0);
        assert_eq!(root.count(), 1, "{stack}");
        let waits: Vec<_> = stack.waits_for().iter().filter_map(|w| w.task()).collect();
        assert_eq!(waits.len(), 1, "{stack}");
        assert_eq!(waits[0].name(), "awaited");
        assert!(
            stack
                .to_string()
                .contains("waits for <Task pending name='awaited'")
        );
    });
}

/// Counts its polls.
struct Foreign<F>(Pin<Box<F>>, Arc<AtomicUsize>);

impl<F: Future> Future for Foreign<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.1.fetch_add(1, SeqCst);
        self.0.as_mut().poll(cx)
    }
}

#[test]
fn foreign_leaves_are_polled_and_nothing_is_lost() {
    limited(|| {
        on_each_flavour(|flavour, builder| {
            let runtime = builder.build().unwrap();
            let (gate, polls) = (Gate::default(), Arc::new(AtomicUsize::new(0)));
            let task = runtime.spawn(Foreign(Box::pin(gate.passed()), polls.clone()));
            let asked = task.as_ref();
            run_until(&runtime, "suspended", || polls.load(SeqCst) > 0);
            let stack = runtime.block_on(async move { asked.get_stack().await });
            let stack = stack.unwrap().unwrap();
            assert!(stack.frames().is_empty(), "no leaf of ours: {stack}");
            assert!(polls.load(SeqCst) >= 2, "{flavour}");
            gate.open();
            runtime.block_on(task).unwrap().unwrap();
        });
    });
}

#[test]
fn asking_all_the_time_changes_no_outcome() {
    limited(|| {
        let runtime = threaded(2);
        let done = Gate::default();
        let work = runtime.spawn(async {
            let (sender, receiver) = (heist::sync::Queue::new(2), 500);
            let queue = Arc::new(sender);
            let tasks: Vec<_> = (0..4)
                .map(|_| {
                    let queue = queue.clone();
                    heist::spawn(async move {
                        for n in 0..receiver {
                            queue.put(n).await.unwrap();
                            yield_now().await;
                        }
                    })
                })
                .collect();
            let mut sum = 0;
            for n in 0..4 * receiver {
                sum += queue.get().await.unwrap();
                if n % 100 == 0 {
                    let _ = heist::timeout(Duration::from_millis(1), heist::sleep(LONG)).await;
                }
            }
            heist::gather(tasks).await.unwrap();
            sum
        });
        let (handle, stop) = (runtime.handle().clone(), done.clone());
        let asker = std::thread::spawn(move || {
            let mut stacks = 0;
            while !stop.is_open() {
                for task in handle.all_tasks() {
                    match task.get_stack_within(Duration::from_secs(20)) {
                        Ok(_) => stacks += 1,
                        Err(error) => assert!(error.is_done() || error.is_running(), "{error}"),
                    }
                }
            }
            stacks
        });
        let sum: i32 = runtime.block_on(work).unwrap().unwrap();
        done.open();
        assert_eq!(sum, 4 * (0..500).sum::<i32>());
        assert!(asker.join().unwrap() > 0);
    });
}

#[test]
fn a_trace_delivers_no_cancellation_and_loses_none() {
    limited(|| {
        for round in 0..200 {
            let runtime = threaded(2);
            let drops = Drops::default();
            let held = drops.one();
            let task = runtime.spawn(async move {
                let _held: Counted = held;
                let caught = heist::catch_cancel(async {
                    let inner = heist::spawn(std::future::pending::<()>());
                    inner.await
                });
                caught
                    .await
                    .map_err(|cancelled| cancelled.message().map(str::to_owned))
            });
            let asked = task.as_ref();
            let asker = std::thread::spawn(move || {
                for _ in 0..20 {
                    if asked.get_stack_within(Duration::from_secs(20)).is_err() {
                        std::thread::yield_now();
                    }
                }
            });
            if round % 2 == 0 {
                until("suspended", || {
                    !task.waits_for().is_empty() || asker.is_finished()
                });
            }
            task.cancel("stop");
            // Before the body began it is the task that ends, else the region; or the inner task, by whose cancellation the region unwinds.
            match runtime.block_on(task).unwrap() {
                Ok(caught) => assert_eq!(caught.unwrap_err().as_deref(), Some("stop")),
                Err(error) => assert_eq!(error.cancel_message(), Some("stop")),
            }
            asker.join().unwrap();
            until("dropped", || drops.dropped() == 1);
        }
    });
}

#[test]
fn tasks_that_are_not_suspended_say_so() {
    limited(|| {
        let runtime = threaded(2);
        let (running, go) = (Gate::default(), Gate::default());
        let (started, wait) = (running.clone(), go.clone());
        let task = runtime.spawn(async move {
            started.open();
            wait.block();
        });
        running.block();
        let asked = task.as_ref();
        let error = asked.get_stack_within(Duration::from_secs(5)).unwrap_err();
        assert!(error.is_running() && error.worker().is_none(), "{error}");
        let seen = asked.clone();
        let error = runtime
            .run(async move { seen.get_stack().await })
            .unwrap()
            .unwrap_err();
        assert!(error.is_running(), "{error}");
        assert!(error.worker().is_some(), "{error}");
        go.open();
        runtime.block_on(task).unwrap().unwrap();
        let error = asked.get_stack_within(LONG).unwrap_err();
        assert!(error.is_done() && !error.is_running(), "{error}");

        // Of itself.
        async fn itself() -> Stack {
            heist::current_task().unwrap().get_stack().await.unwrap()
        }
        let stack = runtime.run(async { itself().await }).unwrap();
        assert_eq!(functions(&stack).last().unwrap(), "itself", "{stack}");

        // Nobody runs it.
        let seat = Builder::new().current_thread().build().unwrap();
        let never = seat.spawn(async {});
        let stack = never.as_ref().get_stack_within(LONG).unwrap();
        assert!(stack.frames().is_empty() && stack.to_string().contains("stacks.rs"));
        let stuck = Stuck::default();
        let wakers = stuck.0.clone();
        let stuck = seat.spawn(stuck);
        run_until(&seat, "suspended", || !wakers.lock().is_empty());
        let asked = stuck.as_ref();
        let error = asked
            .get_stack_within(Duration::from_millis(10))
            .unwrap_err();
        assert!(error.is_timeout(), "{error}");
        // From its own only worker nobody else could poll it.
        let error = seat
            .run(async move { asked.get_stack_within(LONG) })
            .unwrap()
            .unwrap_err();
        assert!(error.would_deadlock(), "{error}");
    });
}

#[test]
fn a_task_that_ends_in_the_meantime_answers_that_it_is_done() {
    limited(|| {
        let runtime = threaded(2);
        for _ in 0..500 {
            let gate = Gate::default();
            let task = runtime.spawn(gate.passed());
            let asked = task.as_ref();
            let asker = std::thread::spawn(move || asked.get_stack_within(Duration::from_secs(20)));
            gate.open();
            runtime.block_on(task).unwrap().unwrap();
            if let Err(error) = asker.join().unwrap() {
                assert!(error.is_done() || error.is_running(), "{error}");
            }
        }
    });
}

#[test]
fn tasks_of_another_runtime_and_roots_are_asked_like_any() {
    limited(|| {
        let (one, two) = (threaded(1), threaded(1));
        let task = two.spawn(outer());
        let asked = task.as_ref();
        let stack = one
            .run(async move {
                loop {
                    match asked.get_stack().await {
                        Ok(stack) if !stack.frames().is_empty() => return stack,
                        Ok(_) => {}
                        Err(error) => assert!(error.is_running(), "{error}"),
                    }
                }
            })
            .unwrap();
        assert_eq!(functions(&stack).len(), 3, "{stack}");

        let (known, gate) = (Arc::new(std::sync::Mutex::new(None)), Gate::default());
        let (tell, root_gate, handle) = (known.clone(), gate.clone(), one.handle().clone());
        let root = std::thread::spawn(move || {
            handle.block_on(async move {
                *tell.lock().unwrap() = heist::current_task();
                let _ = heist::timeout(LONG, root_gate.passed()).await;
            })
        });
        until("it runs", || known.lock().unwrap().is_some());
        let asked: TaskRef = known.lock().unwrap().clone().unwrap();
        let stack = loop {
            match asked.get_stack_within(Duration::from_secs(20)) {
                Ok(stack) => break stack,
                Err(error) => assert!(error.is_running(), "{error}"),
            }
        };
        assert!(stack.to_string().contains("timeout"), "{stack}");
        gate.open();
        root.join().unwrap().unwrap();
    });
}
