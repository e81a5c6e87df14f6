//! Drivers under a paused clock.

use std::time::{Duration, Instant};

use heist_io_driver::time::{now, sleep};
use heist_io_driver::{Config, WakeBatch};

use crate::support::{
    Count, LIMIT, Limit, driver, each, poll_once, run, turn_idly, turn_until, wait_until,
};

const HOUR: Duration = Duration::from_secs(3_600);

#[test]
fn an_idle_driver_jumps_a_paused_clock_to_the_next_deadline() {
    each(|config| {
        config.clock.pause();
        let mut driver = driver(&config);
        let real = Instant::now();
        run(&mut driver, async {
            let start = now();
            for n in 1..=24 {
                sleep(HOUR).await;
                let slept = now() - start;
                assert!(slept >= HOUR * n);
                assert!(slept < HOUR * n + Duration::from_millis(1));
            }
        });
        assert!(real.elapsed() < LIMIT);
    });
}

#[test]
fn a_busy_driver_leaves_a_paused_clock_alone() {
    each(|config| {
        config.clock.pause();
        let mut driver = driver(&config);
        let handle = driver.handle().clone();
        let _entered = handle.enter(0);
        let mut nap = sleep(Duration::from_millis(1));
        assert!(poll_once(&mut nap).is_pending());
        let before = config.clock.now();
        turn_idly(&mut driver, Duration::from_millis(20), false);
        let mut batch = WakeBatch::new();
        driver.turn(Some(Duration::ZERO), true, &mut batch).unwrap();
        assert_eq!(config.clock.now(), before, "looking does not move it");
        assert!(poll_once(&mut nap).is_pending());
    });
}

#[test]
fn advancing_a_clock_wakes_the_waiting_driver() {
    each(|config| {
        config.clock.pause();
        let mut driver = driver(&config);
        let handle = driver.handle().clone();
        let _entered = handle.enter(0);
        let (count, waker) = Count::new();
        let mut nap = sleep(HOUR);
        let cx = &mut std::task::Context::from_waker(&waker);
        assert!(std::pin::Pin::new(&mut nap).poll(cx).is_pending());
        let thread = std::thread::spawn(move || {
            let mut batch = WakeBatch::new();
            while batch.is_empty() {
                driver.turn(None, false, &mut batch).unwrap();
            }
            batch.wake_all();
        });
        wait_until(|| handle.waiting());
        config.clock.advance(HOUR * 2).unwrap();
        thread.join().unwrap();
        assert_eq!(count.get(), 1);
    });
}

#[test]
fn a_resumed_clock_runs_and_its_timers_fire() {
    let _limit = Limit::new();
    let config = Config::default();
    config.clock.pause();
    let mut driver = driver(&config);
    let handle = driver.handle().clone();
    let _entered = handle.enter(0);
    let mut nap = sleep(Duration::from_millis(2));
    assert!(poll_once(&mut nap).is_pending());
    config.clock.resume();
    turn_until(&mut driver, || poll_once(&mut nap).is_ready());
}

#[test]
fn a_clock_told_not_to_jump_does_not() {
    let _limit = Limit::new();
    let config = Config::default();
    config.clock.pause();
    config.clock.set_auto_advance(false);
    let mut driver = driver(&config);
    let handle = driver.handle().clone();
    let _entered = handle.enter(0);
    let mut nap = sleep(Duration::from_millis(1));
    assert!(poll_once(&mut nap).is_pending());
    let before = config.clock.now();
    turn_idly(&mut driver, Duration::from_millis(20), true);
    assert_eq!(config.clock.now(), before);
    assert!(poll_once(&mut nap).is_pending());
}

#[test]
fn a_deadline_beyond_the_end_of_virtual_time_does_not_keep_the_driver_spinning() {
    let _limit = Limit::new();
    let config = Config::default();
    config.clock.pause();
    let mut driver = driver(&config);
    let handle = driver.handle().clone();
    let _entered = handle.enter(0);
    let mut nap = sleep(Duration::from_secs(500 * 365 * 86_400));
    assert!(poll_once(&mut nap).is_pending());
    turn_idly(&mut driver, Duration::from_millis(20), true);
}

#[test]
fn ten_virtual_years_pass_day_by_day() {
    let _limit = Limit::new();
    let config = Config::default();
    config.clock.pause();
    let mut driver = driver(&config);
    run(&mut driver, async {
        let start = now();
        for _ in 0..3_650 {
            sleep(24 * HOUR).await;
        }
        let slept = now() - start;
        assert!(slept >= 3_650 * 24 * HOUR);
        assert!(slept < 3_650 * 24 * HOUR + Duration::from_secs(1));
    });
}
