//! Rule 15: chains of a million, and rings. Nothing recurses, and nothing that was told is lost on the way.

use super::{caught, me, says, suspend};
use crate::support::{Counted, Drops, Gate, limited, run_until, threaded, until};
use heist::task::catch_cancel;
use heist::{Deferred, Promise, Shared, Task, TaskRef, promise, timeout};
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

/// Without optimization a quarter of one, which no stack would bear either, so that a busy machine is in time.
const MILLION: usize = if cfg!(debug_assertions) {
    250_000
} else {
    1_000_000
};
const HOUR: Duration = Duration::from_secs(3600);

/// Waits until the chain's last task, and so all of them, stands suspended.
fn all_suspended(runtime: &heist::Runtime, suspended: &Arc<AtomicUsize>, all: usize) {
    run_until(runtime, "all have begun", || suspended.load(SeqCst) == all);
    // The first poll of the one that said so last may be under way.
    std::thread::sleep(Duration::from_millis(5));
}

#[test]
fn the_first_of_a_million_that_await_each_other_is_cancelled_and_all_end_with_its_message() {
    limited(|| {
        let runtime = threaded(2);
        let (begun, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let drops = Drops::default();
        let begins = begun.clone();
        let mut task = runtime.spawn(async move {
            begins.fetch_add(1, SeqCst);
            pending::<()>().await;
        });
        for _ in 1..MILLION {
            let (begins, held) = (begun.clone(), drops.one());
            let (seen, count) = (task.as_ref(), ended.clone());
            seen.add_done_callback(move || {
                count.fetch_add(1, SeqCst);
            });
            task = runtime.spawn(async move {
                let _held = held;
                begins.fetch_add(1, SeqCst);
                task.await.unwrap();
            });
        }
        all_suspended(&runtime, &begun, MILLION);
        task.cancel("along the chain");
        let error = runtime.block_on(task).unwrap().unwrap_err();
        assert_eq!(error.cancel_message(), Some("along the chain"));
        until("all ended", || runtime.metrics().tasks_alive == 0);
        until("all were told", || ended.load(SeqCst) == MILLION - 1);
        assert_eq!(drops.dropped(), MILLION - 1);
    });
}

#[test]
fn a_long_chain_through_shared_handles_and_regions_ends_and_every_link_sees_it() {
    const LINKS: usize = MILLION / 5;
    limited(|| {
        let runtime = threaded(4);
        let (begun, met) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let begins = begun.clone();
        let mut next: Shared<()> = runtime
            .spawn(async move {
                begins.fetch_add(1, SeqCst);
                pending::<()>().await;
            })
            .shared();
        for number in 1..LINKS {
            let (begins, met, awaited) = (begun.clone(), met.clone(), next.clone());
            next = runtime
                .spawn(async move {
                    begins.fetch_add(1, SeqCst);
                    let region = async {
                        match number % 3 {
                            0 => catch_cancel(awaited).await.map(drop),
                            1 => timeout(HOUR, catch_cancel(awaited))
                                .await
                                .unwrap()
                                .map(drop),
                            _ => return drop(awaited.await),
                        }
                        .unwrap_err()
                        .propagate()
                        .await
                    };
                    let cancelled = catch_cancel(region).await.unwrap_err();
                    met.fetch_add(1, SeqCst);
                    assert_eq!((cancelled.message(), me().cancelling()), (Some("down"), 1));
                    cancelled.propagate().await
                })
                .shared();
        }
        all_suspended(&runtime, &begun, LINKS);
        assert!(next.cancel("down"));
        let error = runtime.block_on(next).unwrap().unwrap_err();
        assert_eq!(error.cancel_message(), Some("down"));
        assert_eq!(met.load(SeqCst), LINKS - 1);
        until("all ended", || runtime.metrics().tasks_alive == 0);
    });
}

/// A value that owns the handle of the next.
#[derive(Clone)]
struct Link(Option<Shared<Link>>, #[expect(dead_code)] Arc<Counted>);

#[test]
fn a_million_shared_handles_each_in_the_value_of_the_last_are_dropped_without_recursion() {
    limited(|| {
        let runtime = threaded(2);
        for looked_at in [false, true] {
            let drops = Drops::default();
            let mut next = None;
            for _ in 0..MILLION {
                let link = Link(next, Arc::new(drops.one()));
                next = Some(runtime.spawn(async move { link }).shared());
            }
            run_until(&runtime, "all ended", || runtime.metrics().tasks_alive == 0);
            // One whose outcome was asked for keeps it itself.
            let mut link = next.clone().filter(|_| looked_at);
            while let Some(shared) = link {
                // A task leaves the registry a moment before it is done.
                until("done", || shared.is_done());
                link = shared.result().unwrap().0;
            }
            drop(next);
            until("all dropped", || drops.dropped() == MILLION);
        }
    });
}

/// The same of promises.
struct Owner(
    #[expect(dead_code)] Option<Deferred<Owner>>,
    #[expect(dead_code)] Counted,
);

#[test]
fn a_million_deferred_each_in_the_value_of_the_last_are_dropped_without_recursion() {
    limited(|| {
        for (shared, looked_at) in [(false, false), (true, false), (true, true)] {
            let drops = Drops::default();
            let mut deferred = None;
            let mut link: Option<Shared<Link>> = None;
            for _ in 0..MILLION {
                if shared {
                    let (promise, next) = promise::<Link>();
                    let value = Link(link.take(), Arc::new(drops.one()));
                    assert!(promise.set(value).is_ok());
                    let next = next.shared();
                    if looked_at {
                        next.result().unwrap();
                    }
                    link = Some(next);
                } else {
                    let (promise, next) = promise::<Owner>();
                    let value = Owner(deferred.take(), drops.one());
                    assert!(promise.set(value).is_ok());
                    deferred = Some(next);
                }
            }
            drop((deferred, link));
            assert_eq!(drops.dropped(), MILLION);
        }
    });
}

#[test]
fn a_million_promises_held_by_tasks_that_await_the_next_end_one_after_the_other() {
    limited(|| {
        let runtime = threaded(2);
        let begun = Arc::new(AtomicUsize::new(0));
        let (mut first, mut answer): (Promise<()>, _) = promise();
        let origin = first.clone();
        for _ in 0..MILLION / 4 {
            let (next, awaited) = promise();
            let begins = begun.clone();
            let waits = std::mem::replace(&mut answer, awaited);
            runtime
                .spawn(async move {
                    // Dropped unsettled with the task: the next one's await ends with an error.
                    let _next = next;
                    begins.fetch_add(1, SeqCst);
                    waits.await.unwrap_err();
                })
                .detach();
            first = origin.clone();
        }
        all_suspended(&runtime, &begun, MILLION / 4);
        drop((first, origin));
        let error = runtime.block_on(answer).unwrap().unwrap_err();
        assert_eq!(error.cancel_message(), Some("the promise was dropped"));
        until("all ended", || runtime.metrics().tasks_alive == 0);
    });
}

// Rings

/// Tasks of which each awaits the next, and the last the first.
fn ring(runtime: &heist::Runtime, size: usize, catches: bool) -> Vec<Shared<u32>> {
    let (send, receive): (Vec<_>, Vec<_>) = (0..size)
        .map(|_| async_channel::bounded::<Shared<u32>>(1))
        .unzip();
    let begun = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = receive
        .into_iter()
        .map(|receive| {
            let begins = begun.clone();
            let task: Task<u32> = runtime.spawn(async move {
                let next = receive.recv().await.unwrap();
                begins.fetch_add(1, SeqCst);
                if !catches {
                    return next.await.unwrap();
                }
                let ended = caught(next).await.map(drop);
                assert_eq!(ended, Err(says("round")));
                me().cancelling()
            });
            task.shared()
        })
        .collect();
    for (number, send) in send.iter().enumerate() {
        let next = tasks[(number + 1) % size].clone();
        send.try_send(next).unwrap();
    }
    until("all await the next", || {
        let awaits = |task: &Shared<_>| !task.task().unwrap().waits_for().is_empty();
        begun.load(SeqCst) == size && tasks.iter().all(awaits)
    });
    tasks
}

#[test]
fn a_ring_is_cancelled_by_one_request_which_goes_round_once() {
    limited(|| {
        let runtime = threaded(4);
        for size in [2, 3, 1000] {
            let tasks = ring(&runtime, size, false);
            assert!(tasks[size / 2].cancel("round"));
            for task in tasks {
                let reference = task.task().unwrap();
                let error = runtime.block_on(task).unwrap().unwrap_err();
                assert_eq!(error.cancel_message(), Some("round"), "ring of {size}");
                assert_eq!(reference.cancelling(), 1);
            }
        }
    });
}

#[test]
fn a_ring_of_tasks_that_own_each_others_only_handles_is_cancelled_as_well() {
    limited(|| {
        let runtime = threaded(4);
        for size in [2, 3, 100] {
            let (send, receive): (Vec<_>, Vec<_>) = (0..size)
                .map(|_| async_channel::bounded::<Task<()>>(1))
                .unzip();
            let begun = Arc::new(AtomicUsize::new(0));
            let tasks: Vec<Task<()>> = receive
                .into_iter()
                .map(|receive| {
                    let begins = begun.clone();
                    runtime.spawn(async move {
                        let next = receive.recv().await.unwrap();
                        begins.fetch_add(1, SeqCst);
                        next.await.unwrap();
                    })
                })
                .collect();
            let references: Vec<_> = tasks.iter().map(Task::as_ref).collect();
            for (number, task) in tasks.into_iter().enumerate() {
                send[(number + 1) % size].try_send(task).unwrap();
            }
            until("all await the next", || {
                let awaits = |task: &TaskRef| !task.waits_for().is_empty();
                begun.load(SeqCst) == size && references.iter().all(awaits)
            });
            assert!(references[size - 1].cancel("round"));
            until("all ended", || runtime.metrics().tasks_alive == 0);
            for task in references {
                until("done", || task.is_done());
                assert!(task.is_cancelled(), "ring of {size}");
            }
        }
    });
}

#[test]
fn a_ring_with_regions_in_it_opens_where_the_request_began() {
    limited(|| {
        let runtime = threaded(4);
        for size in [2, 3, 100] {
            let tasks = ring(&runtime, size, true);
            assert!(tasks[0].cancel("round"));
            // The last could not pass it on: its region received it, and its value is what the last but one gets.
            let last = runtime.block_on(tasks[size - 1].clone()).unwrap();
            assert_eq!(last.unwrap(), 1);
            for task in &tasks[..size - 1] {
                // Each got a value, where it had expected a cancellation.
                let ended = runtime.block_on(task.clone()).unwrap();
                assert!(ended.unwrap_err().is_panic());
            }
        }
    });
}

#[test]
fn requests_from_all_sides_of_a_ring_pass_each_other() {
    limited(|| {
        let runtime = threaded(4);
        for round in 0..60_u32 {
            let size = [2, 3, 50][round as usize % 3];
            let tasks = ring(&runtime, size, false);
            let go = Gate::default();
            let accepted: usize = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..4)
                    .map(|number| {
                        let task = &tasks[number * size / 4];
                        let go = &go;
                        scope.spawn(move || {
                            go.block();
                            usize::from(task.cancel("round"))
                        })
                    })
                    .collect();
                go.open();
                threads
                    .into_iter()
                    .map(|thread| thread.join().unwrap())
                    .sum()
            });
            assert!(accepted >= 1);
            for task in tasks {
                let reference = task.task().unwrap();
                let error = runtime.block_on(task).unwrap().unwrap_err();
                assert_eq!(error.cancel_message(), Some("round"), "ring of {size}");
                // One that was handed over from call to call where they met may have come by more than once.
                assert!(reference.cancelling() >= 1);
            }
        }
    });
}

#[test]
fn a_ring_of_two_whose_tasks_cancel_each_other_ends() {
    limited(|| {
        let runtime = threaded(4);
        for _ in 0..200 {
            let (send, receive) = async_channel::bounded::<Shared<()>>(2);
            let tasks: Vec<Shared<()>> = (0..2)
                .map(|_| {
                    let receive = receive.clone();
                    let task = runtime.spawn(async move {
                        let other = receive.recv().await.unwrap();
                        suspend().await;
                        other.cancel("other");
                        pending::<()>().await;
                    });
                    task.shared()
                })
                .collect();
            for task in tasks.iter().rev() {
                send.try_send(task.clone()).unwrap();
            }
            // Whichever got whose handle, at least one was cancelled by another or by itself.
            let ended = || tasks.iter().any(Shared::is_done);
            until("one has ended", ended);
            for task in &tasks {
                task.cancel("the rest");
                let error = runtime.block_on(task.clone()).unwrap().unwrap_err();
                assert!(error.is_cancelled());
            }
        }
    });
}
