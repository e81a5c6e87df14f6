//! `gather`: many handles as one, which can be cancelled in turn.

use crate::combining::{Touchy, ms, on_each, settled, stubborn};
use crate::support::{Drops, Gate, limited, threaded, until};
use heist::task::{Deferred, promise, yield_now};
use heist::{
    Builder, TaskError, catch_cancel, current_task, gather, sleep, spawn, try_gather, try_spawn,
};
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

#[test]
fn a_handle_gives_its_outcome_without_waiting_once() {
    limited(|| {
        let (number, mut promised) = promise();
        assert!(promised.result().unwrap_err().is_invalid_state());
        assert!(promised.exception().unwrap_err().is_invalid_state());
        number.set(7).unwrap();
        assert!(promised.exception().unwrap().is_none());
        assert_eq!(promised.result().unwrap(), 7);
        assert!(promised.result().is_err(), "given once");
        let (number, mut promised) = promise::<()>();
        number.cancel("no more");
        assert!(promised.exception().unwrap_err().is_cancelled());
        assert!(promised.result().unwrap_err().is_cancelled());
        let (number, promised) = promise::<()>();
        let failure = TaskError::panicked(Box::new("on purpose"));
        assert!(number.settle(Err(failure)).is_ok());
        assert!(promised.exception().unwrap().unwrap().is_panic());
    });
}

#[test]
fn values_come_in_the_order_of_the_arguments() {
    on_each(|| async {
        let tasks = (0..20).map(|n| {
            spawn(async move {
                sleep(ms(20 - n)).await;
                n
            })
        });
        let values = gather(tasks).await.unwrap();
        assert_eq!(values, (0..20).collect::<Vec<_>>());
    });
}

#[test]
fn of_nothing_it_is_done_at_once_and_does_not_suspend() {
    on_each(|| async {
        assert!(gather(Vec::<Deferred<()>>::new()).start().is_done());
        let passed = spawn(async {
            current_task().unwrap().cancel("kept");
            assert!(gather(Vec::<Deferred<()>>::new()).await.unwrap().is_empty());
            let none = gather(Vec::<Deferred<()>>::new()).return_exceptions();
            assert!(none.await.unwrap().is_empty());
            let none = try_gather(Vec::<Deferred<Result<(), ()>>>::new());
            assert_eq!(none.await.unwrap(), Ok(vec![]));
            current_task().unwrap().uncancel()
        });
        assert_eq!(passed.await.unwrap(), 0);
    });
}

#[test]
fn the_first_panic_ends_it_and_the_others_run_on() {
    on_each(|| async {
        let went_on = Arc::new(AtomicBool::new(false));
        let seen = went_on.clone();
        let other = spawn(async move {
            sleep(ms(50)).await;
            seen.store(true, SeqCst);
        });
        let failing = spawn(async {
            sleep(ms(5)).await;
            panic!("first");
        });
        let began = heist::time::now();
        let error = gather([other, failing]).await.unwrap_err();
        assert_eq!(error.panic_message(), Some("first"));
        assert!(heist::time::now() - began < ms(50));
        sleep(ms(60)).await;
        assert!(went_on.load(SeqCst));
    });
}

#[test]
fn a_cancelled_child_ends_it_and_it_does_not_read_as_cancelled() {
    on_each(|| async {
        let other = spawn(pending::<()>()).shared();
        let victim = spawn(pending::<()>()).shared();
        let mut both = gather([other.clone(), victim.clone()]).start();
        victim.cancel("by somebody");
        let error = (&mut both).await.unwrap_err();
        assert_eq!(error.cancel_message(), Some("by somebody"));
        assert!(!both.is_cancelled());
        assert!(!other.is_done());
        assert!(!both.cancel(None), "it has ended");
        settled().await;
        assert!(!other.is_done(), "and asks nobody any more");
    });
}

#[test]
fn an_err_ends_try_gather_and_is_a_value_to_gather() {
    on_each(|| async {
        let spawn_both = || [try_spawn(async { Ok(1) }), try_spawn(async { Err("no") })];
        assert_eq!(gather(spawn_both()).await.unwrap(), [Ok(1), Err("no")]);
        assert_eq!(try_gather(spawn_both()).await.unwrap(), Err("no"));
        let good = [try_spawn(async { Ok::<_, &str>(1) })];
        assert_eq!(try_gather(good).await.unwrap(), Ok(vec![1]));
        let stuck = try_spawn(async { pending::<Result<i32, &str>>().await });
        let ended = try_gather([stuck, try_spawn(async { Err("no") })]).await;
        assert_eq!(ended.unwrap(), Err("no"));
        let panics = try_gather([try_spawn(async {
            sleep(ms(1)).await;
            if true {
                panic!("worse");
            }
            Ok::<(), ()>(())
        })]);
        assert_eq!(panics.await.unwrap_err().panic_message(), Some("worse"));
    });
}

#[test]
fn with_return_exceptions_all_are_waited_for() {
    on_each(|| async {
        let tasks = [
            spawn(async { 1 }),
            spawn(async { panic!("two") }),
            spawn(pending()),
            spawn(async {
                sleep(ms(20)).await;
                4
            }),
        ];
        tasks[2].cancel("three");
        let ended = gather(tasks).return_exceptions().await.unwrap();
        assert_eq!(*ended[0].as_ref().unwrap(), 1);
        let panic = ended[1].as_ref().unwrap_err();
        assert_eq!(panic.panic_message(), Some("two"));
        assert!(ended[2].as_ref().unwrap_err().is_cancelled());
        assert_eq!(*ended[3].as_ref().unwrap(), 4);
    });
}

#[test]
fn a_cancel_reaches_every_child_and_it_ends_when_all_have_ended() {
    on_each(|| async {
        let cleaned = Arc::new(AtomicUsize::new(0));
        let tasks: Vec<_> = (0..5)
            .map(|n| {
                let cleaned = cleaned.clone();
                spawn(async move {
                    let cancelled = catch_cancel(pending::<()>()).await.unwrap_err();
                    assert_eq!(cancelled.message(), Some("enough"));
                    sleep(ms(n)).await;
                    cleaned.fetch_add(1, SeqCst);
                    cancelled.propagate().await
                })
                .shared()
            })
            .collect();
        let all = gather(tasks.clone()).return_exceptions().start();
        settled().await;
        assert!(all.cancel("enough"));
        assert!(!all.is_done());
        let error: TaskError = all.await.unwrap_err();
        assert_eq!(error.cancel_message(), Some("enough"), "the last one's");
        assert_eq!(cleaned.load(SeqCst), 5);
        assert!(tasks.iter().all(|task| task.is_cancelled()));
    });
}

#[test]
fn cancelled_it_fails_even_if_every_child_suppresses() {
    on_each(|| async {
        for everything in [false, true] {
            let (gate, requests) = (Gate::default(), Arc::new(AtomicUsize::new(0)));
            let tasks = [0; 4].map(|_| spawn(stubborn(gate.clone(), requests.clone())));
            let open = gate.clone();
            let waiter = spawn(async move {
                if everything {
                    gather(tasks).return_exceptions().await.map(drop)
                } else {
                    gather(tasks).await.map(drop)
                }
            });
            settled().await;
            assert!(waiter.cancel("said"));
            settled().await;
            assert!(waiter.cancel("again"));
            settled().await;
            assert_eq!(requests.load(SeqCst), 8);
            assert!(!waiter.is_done());
            open.open();
            // The waiter unwinds with what the gather ended with.
            let error = waiter.await.unwrap_err();
            assert!(error.is_cancelled());
            assert_eq!(error.cancel_message(), None);
        }
    });
}

#[test]
fn a_child_that_fails_while_it_is_cancelled_gives_its_error() {
    on_each(|| async {
        let child = spawn(async {
            let _ = catch_cancel(pending::<()>()).await;
            panic!("instead")
        });
        let all = gather([child, spawn(pending::<()>())]).start();
        settled().await;
        all.cancel(None);
        let error = all.await.unwrap_err();
        assert!(
            error.is_panic() || error.is_cancelled(),
            "whichever came first"
        );
    });
}

#[test]
fn the_same_handle_twice_fills_both_places_and_is_cancelled_twice() {
    on_each(|| async {
        let one = spawn(async { 7 }).shared();
        assert_eq!(
            gather([one.clone(), one.clone(), one]).await.unwrap(),
            [7; 3]
        );
        let stuck = spawn(async { sleep(ms(1000)).await }).shared();
        let both = gather([stuck.clone(), stuck.clone()]).start();
        settled().await;
        assert!(both.cancel("twice"));
        assert_eq!(stuck.task().unwrap().cancelling(), 2);
        assert_eq!(both.await.unwrap_err().cancel_message(), Some("twice"));
    });
}

#[test]
fn a_gather_is_gathered_shielded_and_shared_like_any_handle() {
    on_each(|| async {
        let inner = gather([spawn(async { 1 }), spawn(async { 2 })]).start();
        let shared = inner.shared();
        let outer = gather([shared.clone(), shared]).await.unwrap();
        assert_eq!(outer, [[1, 2], [1, 2]]);
        let stuck = spawn(pending::<()>()).shared();
        let inner = gather([stuck.clone()]).start();
        let outer = gather([inner]).start();
        assert!(outer.cancel("through both"));
        let error = outer.await.unwrap_err();
        assert_eq!(error.cancel_message(), Some("through both"));
        assert!(stuck.is_cancelled());
    });
}

#[test]
fn handles_of_several_types_give_a_tuple() {
    on_each(|| async {
        let (number, promised) = promise();
        let text = spawn(async { String::from("a") });
        let shared = spawn(async { 'c' }).shared();
        let all = gather!(text, promised, shared.clone(),).start();
        assert!(!all.is_done());
        number.set(1.5).unwrap();
        assert_eq!(all.await.unwrap(), (String::from("a"), 1.5, 'c'));
        let (one, two) = gather!(spawn(async { 1 }), spawn(async { panic!("two") }))
            .return_exceptions()
            .await
            .unwrap();
        let two: Result<(), _> = two;
        assert_eq!(one.unwrap(), 1);
        assert!(two.unwrap_err().is_panic());
        let stuck = spawn(pending::<()>()).shared();
        let both = gather!(stuck.clone(), spawn(pending::<u8>())).start();
        assert!(both.cancel("all"));
        assert_eq!(both.await.unwrap_err().cancel_message(), Some("all"));
        settled().await;
        assert!(stuck.is_cancelled());
    });
}

#[test]
fn a_gather_of_ended_children_has_not_ended_where_it_begins() {
    limited(|| {
        // On one thread: on several "soon" may be now.
        let runtime = Builder::new().current_thread().build().unwrap();
        let test = async {
            let ended = || {
                let (value, promised) = promise();
                value.set(1).unwrap();
                promised
            };
            let all = gather([ended(), ended()]).start();
            let both = gather!(ended(), ended()).start();
            let (mixed, late) = (promise(), promise());
            let partly = gather([late.1, ended(), mixed.1]).start();
            assert!(!all.is_done() && !both.is_done());
            late.0.set(2).unwrap();
            mixed.0.set(3).unwrap();
            assert!(!partly.is_done(), "one of them is noticed soon");
            yield_now().await;
            assert!(all.is_done() && both.is_done() && partly.is_done());
            assert_eq!(partly.await.unwrap(), [2, 1, 3]);
            assert_eq!(all.await.unwrap(), [1, 1]);
            assert_eq!(both.await.unwrap(), (1, 1));
            // A child that has not ended is looked after at once.
            let (value, promised) = promise();
            let (other, promised_too) = promise();
            let all = gather([promised]).start();
            let both = gather!(promised_too).start();
            value.set(4).unwrap();
            other.set(5).unwrap();
            assert!(all.is_done() && both.is_done());
        };
        runtime.run(test).unwrap();
    });
}

#[test]
fn cancelled_it_ends_with_the_last_arguments_own_cancellation() {
    on_each(|| async {
        let says = |text: &'static str| {
            spawn(async move {
                let _ = catch_cancel(pending::<()>()).await;
                current_task().unwrap().cancel(text);
                pending::<()>().await;
            })
        };
        let all = gather([says("first"), says("last")]).return_exceptions();
        let both = gather!(says("first"), says("last")).return_exceptions();
        let (all, both) = (all.start(), both.start());
        settled().await;
        assert!(all.cancel("asked") && both.cancel("asked"));
        assert_eq!(all.await.unwrap_err().cancel_message(), Some("last"));
        assert_eq!(both.await.unwrap_err().cancel_message(), Some("last"));
    });
}

#[test]
fn before_they_begin_gathers_say_of_how_many() {
    on_each(|| async {
        let tasks = || [spawn(async { Ok::<_, ()>(1) }), spawn(async { Ok(2) })];
        assert_eq!(format!("{:?}", gather(tasks())), "Gather(2)");
        let all = gather(tasks()).return_exceptions();
        assert_eq!(format!("{all:?}"), "GatherAll(2)");
        assert_eq!(format!("{:?}", try_gather(tasks())), "TryGather(2)");
        let tuple = || gather!(spawn(async { 1 }), spawn(async { 'b' }));
        assert_eq!(format!("{:?}", tuple()), "GatherTuple { .. }");
        let all = tuple().return_exceptions();
        assert_eq!(format!("{all:?}"), "GatherTupleAll { .. }");
    });
}

#[test]
fn dropped_it_lets_the_children_run_on() {
    on_each(|| async {
        let done = Arc::new(AtomicUsize::new(0));
        let tasks = [0; 3].map(|_| {
            let done = done.clone();
            spawn(async move {
                sleep(ms(5)).await;
                done.fetch_add(1, SeqCst);
            })
        });
        drop(gather(tasks).start());
        sleep(ms(10)).await;
        assert_eq!(done.load(SeqCst), 3);
    });
}

#[test]
fn foreign_threads_settle_it_and_wait_for_it() {
    limited(|| {
        let (promises, handles): (Vec<_>, Vec<_>) = (0..64).map(|_| promise()).unzip();
        // Outside of any runtime.
        let all = gather(handles).start();
        let threads: Vec<_> = promises
            .into_iter()
            .enumerate()
            .map(|(n, promise)| std::thread::spawn(move || promise.set(n).unwrap()))
            .collect();
        let values = heist::run(all).unwrap().unwrap();
        assert_eq!(values, (0..64).collect::<Vec<_>>());
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn panics_of_clones_and_destructors_end_the_gather_and_nothing_else() {
    on_each(|| async {
        let touchy = spawn(async {
            yield_now().await;
            Arc::new(())
        });
        // The clone of a shared handle's value.
        let (promise, touched) = promise();
        let touched = touched.shared();
        let all = gather([touched]).start();
        assert!(promise.set(Touchy).is_ok());
        assert_eq!(all.await.unwrap_err().panic_message(), Some("touched"));
        // Values that nobody gets.
        let values = [spawn(async { Touchy }), spawn(async { Touchy })];
        let stuck = spawn(async { sleep(ms(5)).await });
        let failing = gather!(gather(values).return_exceptions().start(), stuck).start();
        settled().await;
        failing.cancel(None);
        assert!(failing.await.unwrap_err().is_cancelled());
        touchy.await.unwrap();
    });
}

#[test]
fn of_a_million_children() {
    limited(|| {
        let runtime = threaded(2);
        let sum = runtime.run(async {
            let tasks = (0..1_000_000_u64).map(|n| {
                spawn(async move {
                    yield_now().await;
                    n
                })
            });
            gather(tasks).await.unwrap().into_iter().sum::<u64>()
        });
        assert_eq!(sum.unwrap(), 499_999_500_000);
    });
}

#[test]
fn a_million_children_are_cancelled_in_one_step() {
    limited(|| {
        let (promises, handles): (Vec<_>, Vec<_>) = (0..1_000_000).map(|_| promise::<()>()).unzip();
        let all = gather(handles).return_exceptions().start();
        assert!(all.cancel("all"));
        assert!(promises.iter().all(|promise| promise.is_done()));
        let error = heist::run(all).unwrap().unwrap_err();
        assert_eq!(error.cancel_message(), Some("all"));
    });
}

#[test]
fn a_chain_of_gathers_ends_and_is_cancelled_without_recursion() {
    const DEEP: usize = 100_000;
    fn chain() -> (heist::task::Promise<Vec<()>>, Deferred<Vec<()>>) {
        let (promise, mut last) = promise();
        for _ in 0..DEEP {
            let flat = gather([last]).start();
            let (next, handle) = heist::task::promise();
            let flat = flat.shared();
            let seen = flat.clone();
            flat.add_done_callback(move || {
                let _ = next.settle(seen.result().map(|_| vec![]));
            });
            last = handle;
        }
        (promise, last)
    }
    limited(|| {
        let (promise, last) = chain();
        promise.set(vec![]).unwrap();
        assert!(last.is_done());
        let (promise, last) = chain();
        drop(promise);
        assert!(last.is_done());
    });
}

#[test]
fn cancels_race_ends_and_every_value_is_dropped_once() {
    limited(|| {
        for workers in [1, 2, 4] {
            let runtime = threaded(workers);
            let drops = Drops::default();
            for round in 0..500 {
                let gate = Gate::default();
                let tasks: Vec<_> = (0..8)
                    .map(|n| {
                        let (held, passed) = (drops.one(), gate.passed());
                        runtime.spawn(async move {
                            match (round + n) % 4 {
                                0 => drop(catch_cancel(passed).await),
                                1 => yield_now().await,
                                _ => passed.await,
                            }
                            held
                        })
                    })
                    .collect();
                let all = gather(tasks).start();
                let opener = heist::run_coroutine_threadsafe(async move { gate.open() }, &runtime);
                let accepted = all.cancel("race");
                match runtime.block_on(all).unwrap() {
                    Ok(values) => assert!(!accepted && values.len() == 8),
                    Err(error) => assert!(accepted && error.is_cancelled()),
                }
                opener.result(None).unwrap();
            }
            until("all have ended", || runtime.metrics().tasks_alive == 0);
            until("all dropped", || drops.dropped() == drops.made());
        }
    });
}
