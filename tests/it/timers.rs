//! Sleeps, intervals, timeouts; the clock of the wall and the paused one.

use crate::support::{limited, on_each_flavour, seated, threaded, until};
use heist::time::{MissedTick, interval, interval_at, now};
use heist::{Builder, Runtime};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

const HOUR: Duration = Duration::from_secs(3600);
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

#[test]
fn a_thousand_sleeps_are_never_early() {
    limited(|| {
        on_each_flavour(|flavour, builder| {
            let runtime = builder.build().unwrap();
            let late = runtime
                .run(async {
                    let sleeps: Vec<_> = (0..1000_u64)
                        .map(|n| {
                            let duration =
                                Duration::from_nanos(n.wrapping_mul(7_919_191) % 200_000_000);
                            heist::spawn(async move {
                                let began = Instant::now();
                                heist::sleep(duration).await;
                                let took = began.elapsed();
                                assert!(took >= duration, "{took:?} for {duration:?}");
                                took - duration
                            })
                        })
                        .collect();
                    let mut worst = Duration::ZERO;
                    for sleep in sleeps {
                        worst = worst.max(sleep.await.unwrap());
                    }
                    worst
                })
                .unwrap();
            eprintln!("{flavour}: a sleep was late by {late:?} at worst");
            assert!(late < Duration::from_secs(1), "{late:?}");
        });
    });
}

#[test]
fn odd_durations_are_legal() {
    limited(|| {
        on_each_flavour(|flavour, builder| {
            let runtime = builder.build().unwrap();
            runtime
                .run(async {
                    heist::sleep(Duration::ZERO).await;
                    heist::sleep(Duration::from_nanos(1)).await;
                    heist::sleep_until(Instant::now()).await;
                    let past = Instant::now()
                        .checked_sub(Duration::from_millis(50))
                        .unwrap();
                    heist::sleep_until(past).await;
                    for never in [
                        Duration::MAX,
                        Duration::from_secs(u64::MAX),
                        Duration::MAX - Duration::from_nanos(1),
                        600 * YEAR,
                    ] {
                        let task = heist::spawn(heist::sleep(never));
                        heist::task::yield_now().await;
                        heist::sleep(Duration::from_millis(1)).await;
                        assert!(!task.is_done());
                        task.cancel(None);
                        assert!(task.await.unwrap_err().is_cancelled());
                        let short =
                            heist::timeout(Duration::from_millis(1), heist::sleep(never)).await;
                        assert!(short.is_err());
                        assert_eq!(heist::timeout(never, async { 1 }).await, Ok(1));
                    }
                })
                .expect(flavour);
        });
    });
}

#[test]
fn a_sleep_of_zero_lets_others_run() {
    limited(|| {
        let runtime = threaded(1);
        let ran = runtime.run(async {
            let other = heist::spawn(async {});
            heist::sleep(Duration::ZERO).await;
            heist::sleep(Duration::ZERO).await;
            other.is_done()
        });
        assert!(ran.unwrap());
    });
}

#[test]
fn a_sleep_can_be_moved() {
    limited(|| {
        let runtime = paused(Builder::new().worker_threads(1));
        runtime
            .run(async {
                let began = now();
                let mut sleep = Box::pin(heist::sleep(HOUR));
                assert!(
                    heist::timeout(Duration::from_secs(1), &mut sleep)
                        .await
                        .is_err()
                );
                sleep.as_mut().reset(began + 2 * HOUR);
                sleep.as_mut().await;
                assert!(now() - began >= 2 * HOUR && sleep.is_elapsed());
                sleep.as_mut().reset(now() + HOUR);
                sleep.await;
                assert!(now() - began >= 3 * HOUR);
            })
            .unwrap();
    });
}

fn paused(builder: Builder) -> Runtime {
    builder.start_paused(true).build().unwrap()
}

#[test]
fn a_paused_clock_jumps_to_the_next_timer_when_all_is_idle() {
    limited(|| {
        on_each_flavour(|flavour, builder| {
            let runtime = paused(builder);
            let wall = Instant::now();
            let order = runtime.run(async {
                let began = now();
                let tasks: Vec<_> = [3, 1, 2]
                    .into_iter()
                    .map(|n| {
                        heist::spawn(async move {
                            heist::sleep(n * YEAR).await;
                            (now(), n)
                        })
                    })
                    .collect();
                for task in tasks {
                    let (at, n) = task.await.unwrap();
                    let late = (at - began).checked_sub(n * YEAR).expect("never early");
                    assert!(late < Duration::from_millis(1), "{late:?}");
                }
                now() - began
            });
            let passed = order.unwrap();
            assert!(
                passed >= 3 * YEAR && passed < 3 * YEAR + Duration::from_secs(1),
                "{flavour}"
            );
            assert!(wall.elapsed() < Duration::from_secs(20));
            // From a root, too.
            runtime.block_on(heist::sleep(YEAR)).unwrap();
        });
    });
}

#[test]
fn a_paused_clock_stands_still_while_anything_runs() {
    limited(|| {
        for workers in [1, 2, 4] {
            let runtime = paused(Builder::new().worker_threads(workers));
            let clock = runtime.clock().clone();
            let timer = runtime.spawn(heist::sleep(HOUR));
            let jumped = runtime.run(async move {
                let began = clock.now();
                // In a poll that burns, in one that blocks its thread, in a blocking closure.
                crate::support::burn(Duration::from_millis(60));
                let burnt = clock.now() - began;
                std::thread::sleep(Duration::from_millis(60));
                let blocked = clock.now() - began;
                let inner = clock.clone();
                let in_closure = heist::spawn_blocking(move || {
                    std::thread::sleep(Duration::from_millis(30));
                    inner.now() - began
                });
                (burnt, blocked, in_closure.await.unwrap())
            });
            let none = Duration::ZERO;
            assert_eq!(jumped.unwrap(), (none, none, none), "{workers} workers");
            runtime.block_on(timer).unwrap().unwrap();
        }
    });
}

#[test]
fn a_paused_clock_jumps_for_a_task_that_waits_in_a_nested_block_on() {
    limited(|| {
        for workers in [1, 2] {
            let runtime = paused(Builder::new().worker_threads(workers));
            let handle = runtime.handle().clone();
            let passed = runtime.run(async move {
                let began = now();
                handle.block_on(heist::sleep(HOUR)).unwrap();
                let waiting = heist::run_coroutine_threadsafe(heist::sleep(HOUR), &handle);
                waiting.result(None).unwrap();
                now() - began
            });
            assert!(passed.unwrap() >= 2 * HOUR);
        }
    });
}

#[test]
fn a_paused_clock_can_be_advanced_by_hand_and_resumed() {
    limited(|| {
        for workers in [1, 4] {
            let runtime = paused(Builder::new().worker_threads(workers));
            let clock = runtime.clock().clone();
            clock.set_auto_advance(false);
            let fired = Arc::new(AtomicUsize::new(0));
            for n in 1..=10 {
                let fired = fired.clone();
                runtime.spawn(async move {
                    heist::sleep(n * HOUR).await;
                    fired.fetch_add(1, SeqCst);
                });
            }
            until("registered", || runtime.metrics().total().polls >= 10);
            std::thread::sleep(Duration::from_millis(10));
            assert_eq!(fired.load(SeqCst), 0);
            clock.advance(3 * HOUR + Duration::from_secs(1)).unwrap();
            until("three fire", || fired.load(SeqCst) == 3);
            clock.advance(HOUR).unwrap();
            until("one more", || fired.load(SeqCst) == 4);
            std::thread::sleep(Duration::from_millis(10));
            assert_eq!(fired.load(SeqCst), 4);
            clock.resume();
            assert!(clock.advance(HOUR).is_err());
            runtime
                .block_on(heist::sleep(Duration::from_millis(5)))
                .unwrap();
            clock.pause();
            clock.set_auto_advance(true);
            until("the rest, by itself", || fired.load(SeqCst) == 10);
            clock.advance(Duration::MAX).unwrap();
        }
    });
}

#[test]
fn a_timeout_ends_what_takes_too_long_and_lets_the_rest_pass() {
    limited(|| {
        on_each_flavour(|_, builder| {
            let runtime = paused(builder);
            runtime
                .run(async {
                    let began = now();
                    let drops = crate::support::Drops::default();
                    let held = drops.one();
                    let late = heist::timeout(HOUR, async move {
                        let _held = held;
                        std::future::pending::<()>().await;
                    });
                    assert!(late.await.is_err());
                    assert_eq!(drops.dropped(), 1);
                    assert!(now() - began >= HOUR);
                    let early = heist::timeout(HOUR, heist::sleep(HOUR / 2)).await;
                    assert!(early.is_ok() && now() - began < 2 * HOUR);
                    // Both at the same moment: the value wins.
                    let deadline = now() + HOUR;
                    assert!(
                        heist::timeout_at(deadline, heist::sleep_until(deadline))
                            .await
                            .is_ok()
                    );
                    assert!(heist::timeout(Duration::ZERO, async { 1 }).await.is_ok());
                    assert!(
                        heist::timeout(Duration::ZERO, std::future::pending::<()>())
                            .await
                            .is_err()
                    );
                    assert!(
                        heist::timeout_at(began, std::future::pending::<()>())
                            .await
                            .is_err()
                    );
                    let nested = heist::timeout(
                        HOUR,
                        heist::timeout(2 * HOUR, std::future::pending::<()>()),
                    );
                    assert!(nested.await.is_err());
                })
                .unwrap();
        });
    });
}

#[test]
fn a_timeouts_value_is_never_lost_in_the_race() {
    limited(|| {
        let runtime = threaded(2);
        runtime
            .run(async {
                let (mut values, mut elapsed) = (0, 0);
                for n in 0..2000_u64 {
                    let mut task = heist::spawn(async move {
                        heist::sleep(Duration::from_micros(100 + n % 50)).await;
                        n
                    });
                    match heist::timeout(Duration::from_micros(120), &mut task).await {
                        Ok(value) => {
                            assert_eq!(value.unwrap(), n);
                            values += 1;
                        }
                        Err(_) => {
                            // The request was forwarded to the task; if that had ended already, its outcome stayed with it.
                            match task.await {
                                Ok(value) => assert_eq!(value, n),
                                Err(error) => assert!(error.is_cancelled()),
                            }
                            elapsed += 1;
                        }
                    }
                }
                eprintln!("{values} values, {elapsed} elapsed");
            })
            .unwrap();
    });
}

#[test]
fn intervals_make_up_for_missed_ticks_as_asked() {
    limited(|| {
        let second = Duration::from_secs(1);
        for (missed, expected) in [
            (MissedTick::Burst, [0, 1, 2, 3, 4, 5]),
            (MissedTick::Delay, [0, 1, 2, 5, 6, 7]),
            (MissedTick::Skip, [0, 1, 2, 5, 6, 7]),
        ] {
            let runtime = paused(Builder::new().worker_threads(1));
            let ticks = runtime
                .run(async move {
                    let began = now();
                    let mut pulse = interval(second).on_missed(missed);
                    let mut ticks = Vec::new();
                    for n in 0..6 {
                        ticks.push((pulse.tick().await - began).as_secs());
                        if n == 1 {
                            heist::sleep(3 * second).await;
                        }
                    }
                    ticks
                })
                .unwrap();
            assert_eq!(ticks, expected, "{missed:?}");
        }
        let runtime = paused(Builder::new().worker_threads(1));
        runtime
            .run(async move {
                let mut pulse = interval_at(now() + HOUR, second);
                let first = pulse.tick().await;
                assert!(now() >= first);
                pulse.reset();
                assert!(pulse.tick().await >= first + second);
                let mut once = interval(Duration::MAX);
                once.tick().await;
                assert!(heist::timeout(YEAR, once.tick()).await.is_err());
                let mut fast = interval(Duration::ZERO);
                for _ in 0..1000 {
                    fast.tick().await;
                }
            })
            .unwrap();
    });
}

#[test]
fn a_hundred_thousand_timers_can_be_dropped_unfired() {
    limited(|| {
        on_each_flavour(|flavour, builder| {
            let runtime = builder.build().unwrap();
            let took = runtime.run(async {
                let mut cx = Context::from_waker(Waker::noop());
                let began = Instant::now();
                let mut sleeps: Vec<_> = (1..=100_000)
                    .map(|n| Box::pin(heist::sleep(Duration::from_secs(60 + n % 5000))))
                    .collect();
                for sleep in &mut sleeps {
                    assert!(sleep.as_mut().poll(&mut cx).is_pending());
                }
                drop(sleeps);
                began.elapsed()
            });
            eprintln!("{flavour}: made and dropped in {:?}", took.unwrap());
            runtime
                .block_on(heist::sleep(Duration::from_millis(1)))
                .unwrap();
            assert_eq!(runtime.metrics().total().timers_fired, 1);
        });
    });
}

#[test]
fn ten_thousand_timers_due_at_once_all_fire() {
    limited(|| {
        on_each_flavour(|_, builder| {
            let runtime = builder.build().unwrap();
            runtime
                .run(async {
                    let at = Instant::now() + Duration::from_millis(50);
                    let tasks: Vec<_> = (0..10_000)
                        .map(|_| heist::spawn(heist::sleep_until(at)))
                        .collect();
                    for task in tasks {
                        task.await.unwrap();
                    }
                    assert!(Instant::now() >= at);
                })
                .unwrap();
        });
    });
}

#[test]
fn sleeps_of_a_dead_runtime_go_on_elsewhere() {
    limited(|| {
        for closed in [false, true] {
            let runtime = threaded(1);
            let entered = runtime.enter();
            let mut sleep = Box::pin(heist::sleep(Duration::from_millis(50)));
            let mut cx = Context::from_waker(Waker::noop());
            if closed {
                assert!(sleep.as_mut().poll(&mut cx).is_pending());
            }
            drop(entered);
            drop(runtime);
            let other = threaded(1);
            other
                .block_on(async {
                    heist::timeout(Duration::from_secs(20), sleep)
                        .await
                        .unwrap()
                })
                .unwrap();
        }
        // With nobody else: by the driver of last resort.
        let runtime = seated();
        let mut sleep = Box::pin(heist::sleep(Duration::from_millis(20)));
        runtime
            .block_on(std::future::poll_fn(|cx| {
                let _ = Pin::new(&mut sleep).poll(cx);
                Poll::Ready(())
            }))
            .unwrap();
        drop(runtime);
        let began = Instant::now();
        let mut cx = Context::from_waker(Waker::noop());
        while sleep.as_mut().poll(&mut cx).is_pending() {
            assert!(began.elapsed() < Duration::from_secs(20));
            std::thread::sleep(Duration::from_millis(1));
        }
    });
}

#[test]
fn a_timer_that_is_made_again_in_its_own_waker_starves_nobody() {
    struct Again(
        AtomicUsize,
        heist::Handle,
        parking_lot::Mutex<Vec<Pin<Box<heist::time::Sleep>>>>,
    );
    impl std::task::Wake for Again {
        fn wake(self: Arc<Self>) {
            if self.0.fetch_add(1, SeqCst) < 10_000 {
                let _entered = self.1.enter();
                let waker = Waker::from(self.clone());
                let mut sleep = Box::pin(heist::sleep(Duration::from_nanos(1)));
                let _ = sleep.as_mut().poll(&mut Context::from_waker(&waker));
                // Kept, so that it stays registered.
                self.2.lock().push(sleep);
            }
        }
    }
    limited(|| {
        let runtime = threaded(1);
        let again = Arc::new(Again(
            AtomicUsize::new(0),
            runtime.handle().clone(),
            Default::default(),
        ));
        Waker::from(again.clone()).wake();
        for _ in 0..10 {
            runtime
                .block_on(heist::sleep(Duration::from_millis(1)))
                .unwrap();
        }
        until("fired again and again", || again.0.load(SeqCst) > 100);
    });
}

#[test]
fn a_clock_that_jumps_ten_years_fires_each_timer_once_and_floods_nobody() {
    limited(|| {
        for workers in [1, 4] {
            let runtime = paused(Builder::new().worker_threads(workers));
            let clock = runtime.clock().clone();
            clock.set_auto_advance(false);
            let fired = Arc::new(AtomicUsize::new(0));
            let registered = Arc::new(AtomicUsize::new(0));
            for n in 1..=100 {
                let (fired, registered) = (fired.clone(), registered.clone());
                runtime.spawn(async move {
                    let mut nap = Box::pin(heist::sleep(n * HOUR));
                    std::future::poll_fn(|cx| {
                        let poll = nap.as_mut().poll(cx);
                        registered.fetch_add(usize::from(poll.is_pending()), SeqCst);
                        poll
                    })
                    .await;
                    fired.fetch_add(1, SeqCst);
                });
            }
            // Missed ticks by the hundred million: one at once, the next on time.
            let ticks: Vec<_> = [MissedTick::Skip, MissedTick::Delay]
                .into_iter()
                .map(|missed| {
                    let (count, registered) = (Arc::new(AtomicUsize::new(0)), registered.clone());
                    let seen = count.clone();
                    runtime.spawn(async move {
                        let mut pulse = interval(Duration::from_secs(1)).on_missed(missed);
                        pulse.tick().await;
                        registered.fetch_add(1, SeqCst);
                        loop {
                            pulse.tick().await;
                            seen.fetch_add(1, SeqCst);
                        }
                    });
                    count
                })
                .collect();
            until("registered", || registered.load(SeqCst) == 102);
            let before = clock.now();
            clock.advance(10 * YEAR).unwrap();
            until("all fired", || fired.load(SeqCst) == 100);
            until("ticked", || {
                ticks.iter().all(|count| count.load(SeqCst) >= 1)
            });
            assert!(clock.now() - before >= 10 * YEAR);
            // The clock stands still: whatever came more than that came too soon.
            runtime
                .run(async { heist::task::yield_now().await })
                .unwrap();
            assert!(
                ticks.iter().all(|count| count.load(SeqCst) <= 2),
                "{ticks:?}"
            );
            clock.advance(Duration::from_secs(2)).unwrap();
            until("ticks go on", || {
                ticks.iter().all(|count| count.load(SeqCst) >= 2)
            });
            assert_eq!(fired.load(SeqCst), 100);
        }
    });
}
