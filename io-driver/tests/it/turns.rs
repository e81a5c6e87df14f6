//! Turning, notifying, entering and ending.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use heist_io_driver::time::sleep;
use heist_io_driver::{Config, Driver, Handle, Refused, WakeBatch};

use crate::support::{LIMIT, Limit, driver, each, poll_once, turn_idly, wait_until};

#[test]
fn looking_does_not_wait() {
    each(|config| {
        let mut driver = driver(&config);
        let mut batch = WakeBatch::new();
        // Events of the poller's own making, if any, are over after the first turn.
        for _ in 0..2 {
            let turned = driver.turn(Some(Duration::ZERO), false, &mut batch);
            assert_eq!(turned.unwrap().events, 0);
        }
        assert!(!driver.handle().waiting());
    });
}

#[test]
fn a_notification_ends_the_wait_or_the_next_one() {
    each(|config| {
        let mut driver = driver(&config);
        let handle = driver.handle().clone();
        let mut batch = WakeBatch::new();
        for _ in 0..50 {
            // Before.
            handle.notify();
            handle.notify();
            while !driver.turn(None, false, &mut batch).unwrap().notified {}
            // During, as a rule.
            let other = handle.clone();
            let thread = thread::spawn(move || other.notify());
            while !driver.turn(None, false, &mut batch).unwrap().notified {}
            thread.join().unwrap();
        }
        // Several make one, and none is left.
        turn_idly(&mut driver, Duration::from_millis(10), false);
    });
}

#[test]
fn no_notification_is_lost_between_two_threads() {
    each(|config| {
        let mut driver = driver(&config);
        let handle = driver.handle().clone();
        let (sent, seen) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let thread = {
            let (sent, seen) = (Arc::clone(&sent), Arc::clone(&seen));
            thread::spawn(move || {
                for n in 1..=2_000 {
                    // Relaxed: the notification orders it.
                    sent.store(n, Ordering::Relaxed);
                    handle.notify();
                    let start = Instant::now();
                    while seen.load(Ordering::Acquire) < n {
                        assert!(start.elapsed() < LIMIT);
                        thread::yield_now();
                    }
                }
            })
        };
        let mut batch = WakeBatch::new();
        while seen.load(Ordering::Relaxed) < 2_000 {
            driver.turn(None, false, &mut batch).unwrap();
            seen.store(sent.load(Ordering::Relaxed), Ordering::Release);
        }
        thread.join().unwrap();
    });
}

#[test]
fn a_held_batch_keeps_the_driver_from_waiting() {
    let _limit = Limit::new();
    let mut driver = driver(&Config::default());
    let handle = driver.handle().clone();
    let _entered = handle.enter(0);
    let mut nap = sleep(Duration::from_nanos(1));
    assert!(poll_once(&mut nap).is_pending());
    let mut batch = WakeBatch::new();
    while batch.is_empty() {
        driver.turn(None, false, &mut batch).unwrap();
    }
    // Would wait for ever otherwise.
    driver.turn(None, false, &mut batch).unwrap();
    assert_eq!(batch.len(), 1);
}

#[test]
fn waits_of_any_length_are_accepted() {
    each(|config| {
        let mut driver = driver(&config);
        let mut batch = WakeBatch::new();
        for wait in [
            Duration::MAX,
            Duration::from_secs(u64::MAX),
            Duration::from_secs(1 << 40),
            Duration::from_nanos(1),
        ] {
            driver.handle().notify();
            driver.turn(Some(wait), false, &mut batch).unwrap();
        }
    });
}

#[test]
fn entering_may_be_nested() {
    let _limit = Limit::new();
    let one = driver(&Config::default());
    let two = driver(&Config {
        shards: 3,
        ..Config::default()
    });
    let current = || Handle::try_current().map(|handle| handle.shards());
    assert_eq!(current(), None);
    let outer = one.handle().enter(7);
    assert_eq!(current(), Some(1));
    {
        let _inner = two.handle().enter(usize::MAX);
        assert_eq!(current(), Some(3));
    }
    assert_eq!(current(), Some(1));
    drop(outer);
    assert_eq!(current(), None);
    assert!(Handle::current().is_ok(), "the fallback");
}

#[test]
fn a_driver_may_be_turned_by_one_thread_after_another() {
    let _limit = Limit::new();
    let mut driver = driver(&Config::default());
    for _ in 0..5 {
        driver = thread::spawn(move || {
            let handle = driver.handle().clone();
            handle.notify();
            let mut batch = WakeBatch::new();
            driver.turn(None, false, &mut batch).unwrap();
            driver
        })
        .join()
        .unwrap();
    }
}

#[test]
fn shutting_down_is_final_and_may_be_repeated() {
    let _limit = Limit::new();
    let mut driver = driver(&Config {
        shards: 0,
        ..Config::default()
    });
    let handle = driver.handle().clone();
    assert_eq!(handle.shards(), 1);
    let mut batch = WakeBatch::new();
    assert!(!handle.is_closed());
    driver.shutdown(&mut batch);
    driver.shutdown(&mut batch);
    assert!(handle.is_closed());
    driver.turn(Some(Duration::ZERO), true, &mut batch).unwrap();
    drop(driver);
    handle.notify();
    assert!(!handle.waiting());
    assert_eq!(handle.next_deadline(), None);
}

#[test]
fn blocking_calls_go_where_the_config_says() {
    let _limit = Limit::new();
    let ran = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&ran);
    let default = driver(&Config::default());
    let here = thread::current().id();
    default
        .handle()
        .offload(Box::new(move || {
            assert_ne!(thread::current().id(), here);
            flag.store(true, Ordering::Release);
        }))
        .unwrap();
    wait_until(|| ran.load(Ordering::Acquire));

    let refusing = driver(&Config {
        offload: Arc::new(|_| Err(Refused::new(std::io::ErrorKind::WouldBlock.into()))),
        ..Config::default()
    });
    let refused = refusing.handle().offload(Box::new(|| ())).unwrap_err();
    assert!(refused.to_string().contains("blocking call"));
    let error = std::io::Error::from(refused);
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn the_types_are_what_threads_need() {
    fn send<T: Send>() {}
    fn sync<T: Sync>() {}
    send::<Driver>();
    send::<Handle>();
    sync::<Handle>();
    send::<WakeBatch>();
    send::<heist_io_driver::time::Sleep>();
    sync::<heist_io_driver::time::Sleep>();
    sync::<heist_io_driver::Async<std::net::TcpStream>>();
}
