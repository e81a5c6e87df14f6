//! Sleeps and sources between `begin_poll` and `end_poll`.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use heist_io_driver::time::sleep;
use heist_io_driver::{Async, Handle, WakeBatch, leaf};

use crate::support::{Count, Limit, driver, each, poll_once, turn_until, wait_until};

#[test]
fn a_timer_made_and_dropped_within_a_poll_does_not_wake_the_driver() {
    each(|config| {
        let mut driver = driver(&config);
        let handle = driver.handle().clone();
        let done = Arc::new(AtomicBool::new(false));
        let last = Arc::clone(&done);
        let thread = thread::spawn(move || {
            let (mut batch, mut notified) = (WakeBatch::new(), 0);
            // Acquire: pairs with the Release below.
            while !last.load(Ordering::Acquire) || notified == 0 {
                notified += usize::from(driver.turn(None, false, &mut batch).unwrap().notified);
            }
            notified
        });
        wait_until(|| handle.waiting());
        let _entered = handle.enter(0);
        for _ in 0..100 {
            leaf::begin_poll(100, false);
            let mut timeout = sleep(Duration::from_millis(1));
            assert!(poll_once(&mut timeout).is_pending());
            drop(timeout);
            leaf::end_poll();
        }
        thread::sleep(Duration::from_millis(5));
        // Release: pairs with the Acquire above.
        done.store(true, Ordering::Release);
        handle.notify();
        assert_eq!(thread.join().unwrap(), 1, "our own notification alone");
    });
}

/// Registers a timer within a poll while the driver waits without bound, and calls `end`.
fn announced_by(end: impl Fn(&Handle)) {
    each(|config| {
        let mut driver = driver(&config);
        let handle = driver.handle().clone();
        let thread = thread::spawn(move || {
            let mut batch = WakeBatch::new();
            while batch.is_empty() {
                driver.turn(None, false, &mut batch).unwrap();
            }
        });
        wait_until(|| handle.waiting());
        let entered = handle.enter(1);
        leaf::begin_poll(100, false);
        let mut nap = sleep(Duration::from_millis(1));
        assert!(poll_once(&mut nap).is_pending());
        thread::sleep(Duration::from_millis(3));
        assert!(!thread.is_finished(), "not announced yet");
        end(&handle);
        thread.join().unwrap();
        leaf::end_poll();
        drop(entered);
    });
}

#[test]
fn the_end_of_a_poll_announces_its_timers() {
    let _limit = Limit::new();
    announced_by(|_| {
        leaf::end_poll();
    });
}

#[test]
fn setting_a_poll_aside_announces_its_timers() {
    let _limit = Limit::new();
    announced_by(|_| drop(leaf::set_aside()));
}

#[test]
fn entering_another_driver_announces_the_timers_of_the_one_left() {
    let _limit = Limit::new();
    let other = driver(&Default::default());
    announced_by(|_| drop(other.handle().enter(0)));
}

#[test]
fn a_notification_from_outside_makes_up_for_a_poll_that_does_not_end() {
    let _limit = Limit::new();
    announced_by(Handle::notify);
}

#[test]
fn a_due_sleep_stays_suspended_while_a_cancel_is_delivered() {
    let _limit = Limit::new();
    let mut driver = driver(&Default::default());
    let handle = driver.handle().clone();
    let _entered = handle.enter(0);
    let (count, waker) = Count::new();
    let mut cx = std::task::Context::from_waker(&waker);
    let mut nap = sleep(Duration::from_millis(1));
    assert!(std::pin::Pin::new(&mut nap).poll(&mut cx).is_pending());
    turn_until(&mut driver, || count.get() == 1);
    leaf::begin_poll(100, true);
    assert!(poll_once(&mut nap).is_pending());
    assert!(!leaf::end_poll().forced_yield);
    assert!(poll_once(&mut nap).is_ready());
}

#[test]
fn a_spent_budget_makes_leaves_yield() {
    each(|config| {
        let driver = driver(&config);
        let _entered = driver.handle().enter(0);
        let (a, mut b) = UnixStream::pair().unwrap();
        let a = Async::new(a).unwrap();
        b.write_all(&[7; 10]).unwrap();
        let mut byte = [0];
        leaf::begin_poll(2, false);
        for _ in 0..2 {
            let mut read = a.read_with(|mut a| a.read(&mut byte));
            assert!(poll_once(&mut read).is_ready());
        }
        assert!(poll_once(&mut a.read_with(|mut a| a.read(&mut byte))).is_pending());
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(
            a.poll_read_with(&mut cx, |mut a| a.read(&mut byte))
                .is_pending()
        );
        assert!(poll_once(&mut sleep(Duration::ZERO)).is_pending());
        assert!(leaf::end_poll().forced_yield);
        assert!(poll_once(&mut a.read_with(|mut a| a.read(&mut byte))).is_ready());
    });
}

#[test]
fn timers_that_end_spend_the_budget() {
    let _limit = Limit::new();
    let driver = driver(&Default::default());
    let _entered = driver.handle().enter(0);
    let mut naps = [Duration::ZERO; 3].map(sleep);
    for nap in &mut naps {
        assert!(poll_once(nap).is_pending());
    }
    leaf::begin_poll(2, false);
    let ended = naps.each_mut().map(|nap| poll_once(nap).is_ready());
    assert_eq!(ended, [true, true, false]);
    assert!(leaf::end_poll().forced_yield);
    assert!(poll_once(&mut naps[2]).is_ready());
}

#[test]
fn bytes_stay_in_the_socket_while_a_cancel_is_delivered() {
    each(|config| {
        let mut driver = driver(&config);
        let handle = driver.handle().clone();
        let _entered = handle.enter(0);
        let (a, mut b) = UnixStream::pair().unwrap();
        let a = Async::new(a).unwrap();
        let (count, waker) = Count::new();
        let mut cx = std::task::Context::from_waker(&waker);
        let mut bytes = [0; 8];
        let mut read = a.read_with(|mut a| a.read(&mut bytes));
        assert!(std::pin::Pin::new(&mut read).poll(&mut cx).is_pending());
        b.write_all(b"kept").unwrap();
        turn_until(&mut driver, || count.get() == 1);

        leaf::begin_poll(100, true);
        assert!(poll_once(&mut read).is_pending());
        // One that has not suspended goes ahead, cancel or not.
        let mut byte = [0];
        let mut first = a.read_with(|mut a| a.read(&mut byte));
        assert!(poll_once(&mut first).is_ready());
        leaf::end_poll();
        drop(first);

        assert!(matches!(
            poll_once(&mut read),
            std::task::Poll::Ready(Ok(3))
        ));
        drop(read);
        assert_eq!((&byte, &bytes[..3]), (b"k", &b"ept"[..]));
    });
}
