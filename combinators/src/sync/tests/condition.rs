//! Without a cancellation: those need the runtime, and stand with its tests.

use super::{Choices, Hand, explore};
use crate::sync::{Condition, Lock, NotLocked};
use std::cell::Cell;
use std::sync::Arc;

#[test]
fn it_needs_its_lock() {
    let condition = Condition::new();
    assert!(Hand::new(condition.wait()).poll().unwrap().is_err());
    assert!(condition.notify(1).is_err() && condition.notify_all().is_err());
    assert!(
        Hand::new(condition.wait_for(|| false))
            .poll()
            .unwrap()
            .is_err()
    );
    assert!(
        Hand::new(condition.wait_for(|| true))
            .poll()
            .unwrap()
            .is_ok()
    );
    let lock = Lock::new();
    let mut other = lock.try_lock().unwrap();
    assert!(
        Hand::new(condition.wait_with(&mut other))
            .poll()
            .unwrap()
            .is_err()
    );
    assert!(other.is_held());
}

#[test]
fn notified_it_returns_when_it_has_the_lock_again() {
    let condition = Condition::new();
    let waiters = [(); 3].map(|()| {
        assert!(Hand::new(condition.acquire()).poll().is_some());
        Hand::waiting(condition.wait())
    });
    assert!(!condition.locked());
    let guard = Hand::new(condition.lock()).poll().unwrap();
    condition.notify(2).unwrap();
    let [mut first, mut second, third] = waiters;
    assert!(first.is_woken() && second.is_woken() && !third.is_woken());
    assert!(first.poll().is_none() && second.poll().is_none());
    drop(guard);
    assert!(first.take().is_ok() && condition.locked());
    assert!(!second.is_woken());
    condition.notify_all().unwrap();
    assert!(third.is_woken());
    condition.release().unwrap();
    assert!(second.take().is_ok());
    condition.release().unwrap();
}

#[test]
fn it_shares_a_lock() {
    let lock = Arc::new(Lock::new());
    let condition = Condition::with_lock(lock.clone());
    let _guard = lock.try_lock().unwrap();
    assert!(condition.locked() && condition.notify(1).is_ok());
}

#[test]
fn wait_for_asks_again_each_time() {
    let (condition, asked) = (Condition::new(), Cell::new(0));
    let mut guard = Hand::new(condition.lock()).poll().unwrap();
    let mut waiter = Hand::waiting(condition.wait_for_with(&mut guard, || {
        asked.set(asked.get() + 1);
        asked.get() == 3
    }));
    for _ in 0..2 {
        let _guard = Hand::new(condition.lock()).poll().unwrap();
        condition.notify(1).unwrap();
        drop(_guard);
        if asked.get() == 1 {
            assert!(waiter.is_woken() && waiter.poll().is_none());
        }
    }
    assert!(waiter.take().is_ok());
    assert!(condition.locked());
    drop(guard);
    assert!(!condition.locked());
}

#[test]
fn dropped_midway_the_guard_knows_that_it_holds_nothing() {
    let condition = Condition::new();
    let mut guard = Hand::new(condition.lock()).poll().unwrap();
    drop(condition.wait_with(&mut guard));
    assert!(guard.is_held(), "never polled");
    let mut wait = Hand::new(condition.wait_with(&mut guard));
    assert!(wait.poll_within(0, false).is_none());
    drop(wait);
    assert!(guard.is_held() && condition.locked(), "a yield only");
    drop(Hand::waiting(condition.wait_with(&mut guard)));
    assert!(!guard.is_held() && !condition.locked());
    assert!(
        Hand::new(condition.wait_with(&mut guard))
            .poll()
            .unwrap()
            .is_err()
    );
    let other = Hand::new(condition.lock()).poll().unwrap();
    drop(guard);
    assert!(condition.locked(), "another's");
    drop(other);
}

#[test]
fn dropped_after_it_was_notified_it_notifies_the_next() {
    // Dropped before it asks for the lock; while it waits for it; when it has been given it.
    for stage in 0..3 {
        let condition = Condition::new();
        let [mut first, mut second] = [(); 2].map(|()| {
            assert!(Hand::new(condition.acquire()).poll().is_some());
            Hand::waiting(condition.wait())
        });
        assert!(Hand::new(condition.acquire()).poll().is_some());
        condition.notify(1).unwrap();
        if stage > 0 {
            assert!(first.poll().is_none());
        }
        if stage == 2 {
            condition.release().unwrap();
            assert!(first.is_woken());
        }
        drop(first);
        assert!(second.is_woken());
        if stage < 2 {
            assert!(second.poll().is_none());
            condition.release().unwrap();
        }
        assert!(second.take().is_ok());
        condition.release().unwrap();
    }
}

type Waiter<'a> = Hand<'a, Result<(), NotLocked>>;

/// Returns whether the wait did.
fn poll<'a>(condition: &Condition, mut hand: Waiter<'a>, waiters: &mut Vec<Waiter<'a>>) -> bool {
    let Some(result) = hand.poll() else {
        waiters.push(hand);
        return false;
    };
    result.unwrap();
    condition.release().unwrap();
    true
}

/// Waiters that come, are notified, run and are dropped, in every order: no notification is lost, and the lock is free in the end.
fn run(choices: &mut Choices, steps: u32) {
    let condition = Condition::new();
    let mut waiters: Vec<Waiter<'_>> = Vec::new();
    let (mut notified, mut returned) = (0_usize, 0);
    for _ in 0..steps {
        let woken = waiters.iter().position(Hand::is_woken);
        match choices.pick(5) {
            0 => {
                if Hand::new(condition.acquire()).poll().is_some() {
                    waiters.push(Hand::waiting(condition.wait()));
                }
            }
            1 => {
                if Hand::new(condition.acquire()).poll().is_some() {
                    // As many as can still be told are told.
                    notified += usize::from(notified - returned < waiters.len());
                    condition.notify(1).unwrap();
                    condition.release().unwrap();
                }
            }
            2 => {
                if let Some(at) = woken {
                    returned += usize::from(poll(&condition, waiters.remove(at), &mut waiters));
                }
            }
            3 => {
                if let Some(at) = woken {
                    drop(waiters.remove(at));
                }
            }
            _ => {
                if !waiters.is_empty() {
                    drop(waiters.remove(0));
                }
            }
        }
        // Passed on as long as there is somebody to pass it to.
        notified = returned + (notified - returned).min(waiters.len());
    }
    while let Some(at) = waiters.iter().position(Hand::is_woken) {
        returned += usize::from(poll(&condition, waiters.remove(at), &mut waiters));
    }
    assert_eq!(returned, notified);
    assert!(!condition.locked());
}

#[test]
fn in_any_order_no_notification_is_lost() {
    explore(|choices| run(choices, 8));
}
