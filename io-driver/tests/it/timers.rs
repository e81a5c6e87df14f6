//! Sleeps and intervals.

use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use heist_io_driver::time::{MissedTick, Sleep, interval, interval_at, now, sleep, sleep_until};
use heist_io_driver::{Driver, WakeBatch};

use crate::support::{Count, Limit, driver, each, park_on, poll_once, run, turn_until, wait_until};

fn poll(sleep: &mut Sleep, waker: &Waker) -> Poll<()> {
    Pin::new(sleep).poll(&mut Context::from_waker(waker))
}

#[test]
fn a_sleep_ends_and_is_never_early() {
    each(|config| {
        let mut driver = driver(&config);
        for micros in [1, 50, 300, 1_000, 20_000] {
            let wanted = Duration::from_micros(micros);
            let start = Instant::now();
            run(&mut driver, sleep(wanted));
            assert!(start.elapsed() >= wanted);
        }
        assert_eq!(driver.handle().next_deadline(), None);
    });
}

#[test]
fn a_sleep_always_suspends() {
    each(|config| {
        let mut driver = driver(&config);
        run(&mut driver, async {
            let (count, waker) = Count::new();
            let mut zero = sleep(Duration::ZERO);
            assert!(poll(&mut zero, &waker).is_pending());
            assert_eq!(count.get(), 1, "wakes itself");
            assert!(poll(&mut zero, &waker).is_ready());
            assert!(poll(&mut zero, &waker).is_ready(), "fused");

            let mut past = sleep_until(now() - Duration::from_millis(1));
            assert!(poll(&mut past, &waker).is_pending());
            past.await;
        });
    });
}

#[test]
fn what_cannot_be_counted_never_comes() {
    let _limit = Limit::new();
    let mut driver = driver(&Default::default());
    let handle = driver.handle().clone();
    let _entered = handle.enter(0);
    let mut forever = sleep(Duration::MAX);
    let mut almost = sleep(Duration::from_secs(u64::MAX / 2));
    let mut aeon = sleep(Duration::from_secs(1_000 * 365 * 86_400));
    for never in [&mut forever, &mut almost, &mut aeon] {
        assert!(poll_once(never).is_pending());
        assert!(!never.is_elapsed());
    }
    assert_eq!(forever.deadline(), None);
    assert_eq!(handle.next_deadline(), None);
    let mut batch = WakeBatch::new();
    driver
        .turn(Some(Duration::from_millis(1)), false, &mut batch)
        .unwrap();
    assert!(batch.is_empty());
    for never in [&mut forever, &mut almost, &mut aeon] {
        assert!(poll_once(never).is_pending());
    }
}

#[test]
fn a_dropped_sleep_leaves_nothing_behind() {
    let _limit = Limit::new();
    let driver = driver(&Default::default());
    let _entered = driver.handle().enter(1);
    let (count, waker) = Count::new();
    let mut early = sleep(Duration::from_secs(1));
    let mut late = sleep(Duration::from_secs(1_000));
    assert!(poll(&mut early, &waker).is_pending());
    assert!(poll(&mut late, &waker).is_pending());
    let first = driver.handle().next_deadline().unwrap();
    drop(early);
    assert!(driver.handle().next_deadline().unwrap() > first);
    drop(late);
    assert_eq!(driver.handle().next_deadline(), None);
    assert_eq!(count.get(), 0);
    drop(waker);
    assert_eq!(Arc::strong_count(&count), 1);
}

#[test]
fn a_reset_sleep_wakes_its_task_at_the_new_deadline() {
    each(|config| {
        let mut driver = driver(&config);
        let handle = driver.handle().clone();
        let _entered = handle.enter(0);
        let (count, waker) = Count::new();
        let mut nap = pin!(sleep(Duration::from_secs(3_600)));
        let cx = &mut Context::from_waker(&waker);
        assert!(nap.as_mut().poll(cx).is_pending());
        nap.as_mut().reset(now() + Duration::from_millis(2));
        turn_until(&mut driver, || count.get() == 1);
        assert!(nap.as_mut().poll(cx).is_ready());
        assert!(nap.is_elapsed());

        nap.as_mut().reset(now() + Duration::from_millis(2));
        assert!(nap.as_mut().poll(cx).is_pending(), "can be awaited anew");
        nap.as_mut().reset(now() + Duration::from_secs(3_600));
        let later = handle.next_deadline().unwrap();
        assert!(later > now() + Duration::from_secs(3_000));
    });
}

#[test]
fn what_has_elapsed_is_a_matter_of_the_clock_that_a_sleep_waits_by() {
    let _limit = Limit::new();
    let config = heist_io_driver::Config::default();
    config.clock.pause();
    let mut driver = driver(&config);
    let entered = driver.handle().enter(0);
    let hour = Duration::from_secs(3_600);
    let (count, waker) = Count::new();
    let mut nap = sleep(hour);
    assert!(poll(&mut nap, &waker).is_pending());
    // Here the time is the system's: an hour earlier.
    drop(entered);
    assert!(!nap.is_elapsed());
    config.clock.advance(hour).unwrap();
    assert!(nap.is_elapsed());

    turn_until(&mut driver, || count.get() == 1);
    assert!(format!("{nap:?}").contains("ended: false"), "{nap:?}");
    assert!(poll(&mut nap, &waker).is_ready());
    assert!(nap.is_elapsed());
    assert!(format!("{nap:?}").contains("ended: true"), "{nap:?}");
}

#[test]
fn a_sleep_that_has_ended_has_elapsed_whatever_the_time_is() {
    let _limit = Limit::new();
    let config = heist_io_driver::Config::default();
    config.clock.pause();
    let driver = driver(&config);
    let entered = driver.handle().enter(0);
    config.clock.advance(Duration::from_secs(3_600)).unwrap();
    let mut nap = sleep(Duration::ZERO);
    assert!(poll_once(&mut nap).is_pending());
    assert!(poll_once(&mut nap).is_ready());
    drop(entered);
    assert!(nap.deadline().unwrap() > now());
    assert!(nap.is_elapsed());
}

#[test]
fn a_sleep_wakes_whoever_polled_last() {
    let _limit = Limit::new();
    let mut driver = driver(&Default::default());
    let handle = driver.handle().clone();
    let _entered = handle.enter(0);
    let (first, waker1) = Count::new();
    let (second, waker2) = Count::new();
    let mut nap = sleep(Duration::from_millis(2));
    assert!(poll(&mut nap, &waker1).is_pending());
    assert!(poll(&mut nap, &waker1).is_pending());
    assert!(poll(&mut nap, &waker2).is_pending());
    turn_until(&mut driver, || second.get() == 1);
    assert_eq!(first.get(), 0);
    assert!(poll(&mut nap, &waker1).is_ready());
}

/// Turns without bound on another thread, while this one registers timers, until told of one.
fn waiting_driver(mut driver: Driver) -> thread::JoinHandle<Driver> {
    let handle = driver.handle().clone();
    let thread = thread::spawn(move || {
        let mut batch = WakeBatch::new();
        while batch.is_empty() && !driver.turn(None, false, &mut batch).unwrap().notified {}
        batch.wake_all();
        driver
    });
    wait_until(|| handle.waiting());
    thread
}

#[test]
fn an_earlier_deadline_reaches_the_waiting_driver() {
    each(|config| {
        let mut driver = driver(&config);
        let handle = driver.handle().clone();
        let _entered = handle.enter(1);
        let mut far = sleep(Duration::from_secs(3_600));
        assert!(poll_once(&mut far).is_pending());
        for _ in 0..20 {
            let thread = waiting_driver(driver);
            let (count, waker) = Count::new();
            let mut near = sleep(Duration::from_millis(1));
            assert!(poll(&mut near, &waker).is_pending());
            driver = thread.join().unwrap();
            turn_until(&mut driver, || count.get() == 1);
        }
    });
}

#[test]
fn timers_of_many_threads_all_fire() {
    const EACH: usize = 300;
    each(|config| {
        let mut driver = driver(&config);
        let handle = driver.handle().clone();
        let done = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..4)
            .map(|n| {
                let (handle, done) = (handle.clone(), Arc::clone(&done));
                thread::spawn(move || {
                    let _entered = handle.enter(n);
                    for i in 0..EACH {
                        // Most are dropped before they fire, as timeouts are.
                        let timeout = Duration::from_micros((i * 37 % 5_000) as u64 + 2_000);
                        let mut dropped = sleep(timeout);
                        assert!(poll_once(&mut dropped).is_pending());
                        let nap = Duration::from_micros((i * 13 % 300) as u64);
                        park_on(sleep(nap));
                    }
                    // Release: pairs with the Acquire below.
                    done.fetch_add(1, Ordering::Release);
                })
            })
            .collect();
        turn_until(&mut driver, || done.load(Ordering::Acquire) == 4);
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(handle.next_deadline(), None);
    });
}

#[test]
fn a_turn_fires_a_bounded_number_and_says_that_there_are_more() {
    let _limit = Limit::new();
    let mut driver = driver(&Default::default());
    let handle = driver.handle().clone();
    let _entered = handle.enter(0);
    let (count, waker) = Count::new();
    let due = now();
    let mut sleeps: Vec<_> = (0..1_000).map(|_| sleep_until(due)).collect();
    for nap in &mut sleeps {
        assert!(poll(nap, &waker).is_pending());
    }
    let mut batch = WakeBatch::new();
    let mut turns = 0;
    while count.get() < 1_000 {
        // Must not wait while there are more.
        let turned = driver.turn(None, false, &mut batch).unwrap();
        assert!(turned.timers <= 256);
        assert_eq!(turned.timers, batch.len());
        assert_eq!(turned.more, count.get() + batch.len() < 1_000);
        batch.wake_all();
        turns += 1;
    }
    // Four, and as many again if the timers had to be moved to a finer slot first.
    assert!((4..=8).contains(&turns), "{turns}");
    assert!(sleeps.iter_mut().all(|nap| poll(nap, &waker).is_ready()));
}

#[test]
fn sleeps_go_on_when_their_driver_is_gone() {
    let _limit = Limit::new();
    let driver = driver(&Default::default());
    let entered = driver.handle().enter(0);
    let (count, waker) = Count::new();
    let began = Instant::now();
    let mut short = sleep(Duration::from_millis(30));
    let mut shorter = sleep(Duration::from_millis(1));
    assert!(poll(&mut short, &waker).is_pending());
    assert!(poll(&mut shorter, &waker).is_pending());
    drop(driver);
    assert_eq!(count.get(), 2, "woken to register elsewhere");
    // Still entered, but that driver takes no timers any more.
    park_on(short);
    assert!(began.elapsed() >= Duration::from_millis(30), "early");
    drop(entered);
    park_on(shorter);
}

#[test]
fn sleeps_work_where_no_driver_was_entered() {
    let _limit = Limit::new();
    let start = Instant::now();
    let threads: Vec<_> = (0..8)
        .map(|n| thread::spawn(move || park_on(sleep(Duration::from_millis(n)))))
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert!(start.elapsed() >= Duration::from_millis(7));
}

/// A waker that uses timers in every function it has.
struct Meddler;
impl Meddler {
    fn meddle() {
        let mut nap = sleep(Duration::from_secs(5));
        assert!(poll_once(&mut nap).is_pending());
        Pin::new(&mut nap).reset(now());
    }
}
impl Wake for Meddler {
    fn wake(self: Arc<Self>) {
        Meddler::meddle();
    }
}
impl Drop for Meddler {
    fn drop(&mut self) {
        Meddler::meddle();
    }
}

#[test]
fn wakers_may_use_timers() {
    let _limit = Limit::new();
    let mut driver = driver(&Default::default());
    let handle = driver.handle().clone();
    let _entered = handle.enter(0);
    let mut nap = sleep(Duration::from_millis(1));
    for _ in 0..10 {
        // Each poll replaces the previous waker, whose last reference is in the wheel.
        assert!(poll(&mut nap, &Waker::from(Arc::new(Meddler))).is_pending());
    }
    turn_until(&mut driver, || poll_once(&mut nap).is_ready());
    let mut dropped = sleep(Duration::from_secs(1));
    assert!(poll(&mut dropped, &Waker::from(Arc::new(Meddler))).is_pending());
    drop(dropped);
}

#[test]
fn a_forgotten_sleep_harms_nobody() {
    let _limit = Limit::new();
    let mut driver = driver(&Default::default());
    let handle = driver.handle().clone();
    let _entered = handle.enter(0);
    let (count, waker) = Count::new();
    let mut nap = sleep(Duration::from_millis(1));
    assert!(poll(&mut nap, &waker).is_pending());
    // As good as forgotten, without being a leak to those who look for leaks.
    static KEPT: Mutex<Vec<Sleep>> = Mutex::new(Vec::new());
    KEPT.lock().unwrap().push(nap);
    turn_until(&mut driver, || count.get() == 1);
}

#[test]
fn an_interval_ticks_at_once_and_then_at_its_pace() {
    each(|mut config| {
        config.clock.pause();
        config.clock = config.clock.clone();
        let mut driver = driver(&config);
        let period = Duration::from_secs(10);
        run(&mut driver, async {
            let start = now();
            let mut pulse = interval(period);
            for n in 0..5 {
                assert_eq!(pulse.tick().await, start + n * period);
                assert!(now() < start + n * period + Duration::from_millis(1));
            }
            pulse.reset();
            let restarted = now();
            assert_eq!(pulse.tick().await, restarted + period);
        });
    });
}

#[test]
fn an_interval_makes_up_for_missed_ticks_as_asked() {
    let _limit = Limit::new();
    let config = heist_io_driver::Config::default();
    config.clock.pause();
    let mut driver = driver(&config);
    let period = Duration::from_secs(10);
    for (missed, expected) in [
        (MissedTick::Burst, [0, 10, 20, 30]),
        (MissedTick::Delay, [0, 35, 45, 55]),
        (MissedTick::Skip, [0, 30, 40, 50]),
    ] {
        let clock = config.clock.clone();
        run(&mut driver, async move {
            let start = now();
            let mut pulse = interval_at(start, period).on_missed(missed);
            clock.advance(Duration::from_secs(25)).unwrap();
            for due in expected {
                let tick = pulse.tick().await;
                assert_eq!(tick - start, Duration::from_secs(due), "{missed:?}");
            }
        });
    }
}

#[test]
fn an_interval_of_zero_yields_at_every_tick() {
    let _limit = Limit::new();
    let mut driver = driver(&Default::default());
    run(&mut driver, async {
        let mut pulse = interval(Duration::ZERO);
        for _ in 0..50 {
            assert!(poll_once(&mut pin!(pulse.tick())).is_pending());
            pulse.tick().await;
        }
    });
}

#[test]
fn resets_and_drops_race_the_firing_and_no_timer_is_lost_or_early() {
    const ROUNDS: u64 = 3_000;
    each(|config| {
        let mut driver = driver(&config);
        let handle = driver.handle().clone();
        let done = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..3)
            .map(|n| {
                let (handle, done) = (handle.clone(), Arc::clone(&done));
                thread::spawn(move || {
                    let _entered = handle.enter(n);
                    for round in 0..ROUNDS {
                        // As soon as it is due, or a little before or after, it is moved, moved again, and now and then dropped instead.
                        let soon = |of: u64| Duration::from_micros((round * 31 + of * 17) % 120);
                        let mut nap = Box::pin(sleep(soon(1)));
                        assert!(poll_once(&mut nap).is_pending());
                        let begun = Instant::now();
                        while begun.elapsed() < soon(2) {
                            std::hint::spin_loop();
                        }
                        let deadline = now() + soon(3);
                        nap.as_mut().reset(deadline);
                        if round % 3 == 0 {
                            let _ = poll_once(&mut nap);
                        } else {
                            park_on(&mut nap);
                            assert!(now() >= deadline, "early");
                            assert!(nap.is_elapsed());
                        }
                    }
                    // Release: pairs with the Acquire below.
                    done.fetch_add(1, Ordering::Release);
                })
            })
            .collect();
        turn_until(&mut driver, || done.load(Ordering::Acquire) == 3);
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(handle.next_deadline(), None, "what was dropped is gone");
    });
}

#[test]
fn a_million_timers_due_at_once_or_each_on_its_own_fire_in_portions() {
    let _limit = Limit::new();
    const TIMERS: u64 = 1_000_000;
    for apart in [Duration::ZERO, Duration::from_micros(7)] {
        let config = heist_io_driver::Config::default();
        config.clock.pause();
        config.clock.set_auto_advance(false);
        let mut driver = driver(&config);
        let handle = driver.handle().clone();
        let _entered = handle.enter(0);
        let (count, waker) = Count::new();
        let first = now() + Duration::from_secs(1);
        let at = |n: u64| first + apart * n as u32;
        let mut sleeps: Vec<_> = (0..TIMERS).map(|n| sleep_until(at(n))).collect();
        for nap in &mut sleeps {
            assert!(poll(nap, &waker).is_pending());
        }
        // Every third goes before it is due.
        let mut n = 0;
        sleeps.retain(|_| {
            n += 1;
            n % 3 != 0
        });
        config.clock.advance(Duration::from_secs(10)).unwrap();
        let mut batch = WakeBatch::new();
        turn_until(&mut driver, || {
            assert!(batch.is_empty());
            count.get() >= sleeps.len()
        });
        let turned = driver
            .turn(Some(Duration::ZERO), false, &mut batch)
            .unwrap();
        assert_eq!((turned.timers, turned.more), (0, false));
        assert_eq!(
            count.get(),
            sleeps.len(),
            "each once, and none of the dropped"
        );
        assert!(sleeps.iter_mut().all(|nap| poll(nap, &waker).is_ready()));
        assert_eq!(handle.next_deadline(), None);
    }
}
