use heist::sim::{self, Builder, Grain, Policy, Sim};
use heist::time::sleep;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

#[test]
fn a_day_of_sleep_takes_no_time() {
    let begun = std::time::Instant::now();
    let slept = sim::run(1, |_| async {
        let began = heist::time::now();
        sleep(Duration::from_secs(86_400)).await;
        heist::time::now() - began
    });
    assert_eq!(slept, Duration::from_secs(86_400));
    assert!(begun.elapsed() < Duration::from_secs(60));
}

#[test]
fn tasks_run_on_several_workers_and_are_stolen() {
    let steals = Arc::new(AtomicU64::new(0));
    let seen = steals.clone();
    Builder::new()
        .workers(3)
        .seeds(0..50, move |_| {
            let seen = seen.clone();
            async move {
                let tasks: Vec<_> = (0..60)
                    .map(|n| {
                        heist::spawn(async move {
                            for _ in 0..5 {
                                heist::task::yield_now().await;
                            }
                            n
                        })
                    })
                    .collect();
                let mut sum = 0;
                for task in tasks {
                    sum += task.await.unwrap();
                }
                assert_eq!(sum, 1770);
                let metrics = heist::Handle::current().unwrap().metrics();
                seen.fetch_add(metrics.total().steals, SeqCst);
            }
        })
        .unwrap();
    assert!(steals.load(SeqCst) > 100, "{steals:?}");
}

#[test]
fn a_deadlock_says_who_waits_for_what() {
    let failure = Builder::new()
        .workers(2)
        .run(|_| async {
            let waits = heist::spawn(std::future::pending::<()>());
            waits.set_name("the one that never ends");
            waits.await.unwrap();
        })
        .unwrap_err();
    assert!(failure.is_standstill());
    let text = failure.to_string();
    assert!(text.contains("deadlock"), "{text}");
    assert!(text.contains("the one that never ends"), "{text}");
    assert!(text.contains("wait_for="), "{text}");
    assert!(text.contains("HEIST_SIM_SEED=0"), "{text}");
}

#[test]
fn a_run_without_end_is_told() {
    let failure = Builder::new()
        .max_turns(20_000)
        .run(|_| async {
            loop {
                heist::task::yield_now().await;
            }
        })
        .map(|run| run.value)
        .unwrap_err();
    assert!(failure.is_standstill(), "{failure}");
    assert!(
        failure.to_string().contains("no end after 20000 turns"),
        "{failure}"
    );
}

#[test]
fn what_the_seed_does_not_decide_is_told() {
    static AGAIN: AtomicBool = AtomicBool::new(false);
    let failure = Builder::new()
        .check(|_| async {
            if AGAIN.swap(true, SeqCst) {
                heist::task::yield_now().await;
            }
        })
        .map(|run| run.value)
        .unwrap_err();
    assert!(failure.to_string().contains("went two ways"), "{failure}");
}

/// Two threads add to a number by reading and writing it: found if they meet.
async fn loses_an_update(_: Sim) -> u64 {
    let number = Arc::new(AtomicU64::new(0));
    let add = |number: Arc<AtomicU64>| async move {
        let seen = number.load(SeqCst);
        heist::task::yield_now().await;
        number.store(seen + 1, SeqCst);
    };
    let one = heist::spawn(add(number.clone()));
    let other = heist::spawn(add(number.clone()));
    one.await.unwrap();
    other.await.unwrap();
    number.load(SeqCst)
}

#[test]
fn a_race_is_found_and_found_again_with_its_seed() {
    for policy in [Policy::Random, Policy::Priorities { changes: 3 }] {
        let build = |seed| Builder::new().policy(policy).workers(2).seed(seed);
        let lost = (0..200).find(|&seed| build(seed).run(loses_an_update).unwrap().value == 1);
        let kept = (0..200).find(|&seed| build(seed).run(loses_an_update).unwrap().value == 2);
        let (lost, kept) = (lost.expect("found"), kept.expect("not always"));
        for _ in 0..5 {
            assert_eq!(build(lost).check(loses_an_update).unwrap().value, 1);
            assert_eq!(build(kept).check(loses_an_update).unwrap().value, 2);
        }
    }
}

#[test]
fn a_panic_of_the_test_goes_on() {
    let failure = Builder::new()
        .run(|_| async { panic!("as it should") })
        .map(|run: sim::Run<()>| run.value)
        .unwrap_err();
    assert!(failure.is_panic());
    let caught = std::panic::catch_unwind(|| sim::run(3, |_| async { panic!("as it should") }));
    assert_eq!(
        *caught.unwrap_err().downcast::<&str>().unwrap(),
        "as it should"
    );
}

#[test]
fn foreign_threads_submit_and_wait() {
    let turns = Builder::new()
        .seeds(0..200, |sim| async move {
            let handle = heist::Handle::current().unwrap();
            let threads: Vec<_> = (0..3)
                .map(|n| {
                    let handle = handle.clone();
                    sim.thread(format!("outside {n}"), move || {
                        let submitted = heist::run_coroutine_threadsafe(
                            async move {
                                sleep(Duration::from_millis(n)).await;
                                n
                            },
                            &handle,
                        );
                        submitted.result(None).unwrap()
                    })
                })
                .collect();
            for (n, thread) in threads.into_iter().enumerate() {
                assert_eq!(thread.await, n as u64);
            }
        })
        .unwrap();
    assert!(turns > 0);
}

#[test]
fn a_wait_outside_times_out() {
    sim::run(5, |sim| async move {
        let handle = heist::Handle::current().unwrap();
        let thread = sim.thread("outside", move || {
            let never = heist::run_coroutine_threadsafe(std::future::pending::<()>(), &handle);
            let error = never.result(Duration::from_secs(5)).unwrap_err();
            assert!(error.is_timeout());
            assert!(never.cancel());
        });
        thread.await;
    });
}

#[test]
fn blocking_closures_and_block_on_inside_a_task() {
    Builder::new()
        .seeds(0..100, |_| async {
            let blocking = heist::spawn_blocking(|| 20);
            let handle = heist::Handle::current().unwrap();
            let inner = heist::spawn(async move {
                handle
                    .block_on(async {
                        sleep(Duration::from_millis(5)).await;
                        22
                    })
                    .unwrap()
            });
            assert_eq!(blocking.await.unwrap() + inner.await.unwrap(), 42);
        })
        .unwrap();
}

#[test]
fn a_finer_grain_has_more_turns_and_the_same_value() {
    let mut before = 0;
    for grain in [Grain::Polls, Grain::Calls, Grain::Steps] {
        let run = Builder::new().workers(3).grain(grain).check(|_| async {
            let tasks: Vec<_> = (0..20).map(|n| heist::spawn(async move { n })).collect();
            let mut sum = 0;
            for task in tasks {
                sum += task.await.unwrap();
            }
            sum
        });
        let run = run.unwrap();
        assert_eq!(run.value, 190);
        assert!(run.turns > before, "{grain:?}: {} turns", run.turns);
        before = run.turns;
    }
}

#[heist::test(sim, seeds = 30, worker_threads = 2, grain = "steps")]
async fn the_attribute_runs_a_test_in_simulations(sim: Sim) {
    let thread = sim.thread("outside", || 1);
    assert_eq!(thread.await + heist::spawn(async { 2 }).await.unwrap(), 3);
}

#[heist::test(sim)]
async fn a_test_may_give_a_result() -> Result<(), heist::TaskError> {
    heist::spawn(async { sleep(Duration::from_secs(1)).await }).await
}

#[heist::test(sim, seeds = 3)]
#[should_panic = "the test gave an error"]
async fn an_error_fails_the_test() -> Result<(), heist::TaskError> {
    let task = heist::spawn(std::future::pending());
    task.cancel(None);
    task.await
}

/// Moves three items on; cancelled in between, the careless one loses what it holds.
fn moves_items(careful: bool) -> Result<usize, sim::Failure> {
    let held = Arc::new(AtomicU64::new(0));
    let (taken, seen) = (held.clone(), held.clone());
    let moves = move |_: Sim| {
        taken.store(0, SeqCst);
        let taken = taken.clone();
        async move {
            let (from, to) = (heist::sync::Queue::new(0), heist::sync::Queue::new(0));
            for item in 0..3 {
                from.put(item).await.unwrap();
            }
            for _ in 0..3 {
                let item: u32 = from.get().await.unwrap();
                taken.fetch_add(1, SeqCst);
                if !careful {
                    heist::task::yield_now().await;
                }
                to.put_nowait(item).unwrap();
                taken.fetch_sub(1, SeqCst);
                heist::task::yield_now().await;
            }
        }
    };
    Builder::new().cancel_at_every_await(moves, move |_| {
        assert_eq!(seen.load(SeqCst), 0, "an item is lost");
    })
}

#[test]
fn what_a_cancellation_loses_is_found() {
    let awaits = moves_items(true).unwrap();
    assert!(awaits >= 3, "{awaits}");
    let failure = moves_items(false).unwrap_err();
    assert!(failure.is_panic());
    assert!(failure.to_string().contains("an item is lost"), "{failure}");
    assert!(
        failure.to_string().contains("cancelled at await 1"),
        "{failure}"
    );
}

#[test]
fn what_a_cancellation_leaves_behind_is_found() {
    let leaves = |_| async {
        let child = heist::spawn(std::future::pending::<()>());
        heist::task::yield_now().await;
        child.cancel(None);
    };
    let failure = Builder::new()
        .cancel_at_every_await(leaves, drop)
        .unwrap_err();
    assert!(
        failure
            .to_string()
            .contains("left behind, cancelled at await 1"),
        "{failure}"
    );
}
