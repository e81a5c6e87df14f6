use super::{Hand, explore};
use crate::sync::Event;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::task::{Context, Wake, Waker};

#[test]
fn set_wakes_all_and_a_set_event_does_not_block() {
    let event = Event::new();
    let [first, second] = [(); 2].map(|()| Hand::waiting(event.wait()));
    event.set();
    event.set();
    assert!(event.is_set());
    first.take();
    second.take();
    assert!(Hand::new(event.wait()).poll().is_some());
    event.clear();
    assert!(!event.is_set());
    Hand::waiting(event.wait()).cancel();
}

#[test]
fn whoever_was_told_goes_on_though_it_was_cleared_since() {
    let event = Event::new();
    let waiter = Hand::waiting(event.wait());
    event.set();
    event.clear();
    let newcomer = Hand::waiting(event.wait());
    waiter.take();
    assert!(!newcomer.is_woken());
}

#[test]
fn a_waiter_is_woken_where_it_was_polled_last() {
    let event = Event::new();
    let mut waiter = Hand::waiting(event.wait());
    let before = std::mem::take(&mut waiter.flag);
    assert!(waiter.poll().is_none());
    event.set();
    assert!(!before.0.load(SeqCst));
    waiter.take();
}

#[test]
fn without_budget_it_does_not_get_in_line() {
    let event = Event::new();
    let mut waiter = Hand::new(event.wait());
    assert!(waiter.poll_within(0, false).is_none());
    assert!(waiter.is_woken(), "a yield");
    assert!(format!("{event:?}").contains("waiters: 0"));
    // Nor has it suspended: a cancel does not hold it back.
    event.set();
    assert!(waiter.poll_within(1, true).is_some());
}

#[test]
fn a_waker_may_use_the_object() {
    struct Uses(Event);
    impl Wake for Uses {
        fn wake(self: Arc<Self>) {
            assert!(self.0.is_set());
            self.0.clear();
        }
    }
    let uses = Arc::new(Uses(Event::new()));
    let waker = Waker::from(uses.clone());
    let mut wait = Box::pin(uses.0.wait());
    assert!(
        wait.as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
    );
    uses.0.set();
    assert!(!uses.0.is_set());
}

#[test]
fn in_any_order() {
    explore(|choices| {
        let event = Event::new();
        let mut waiters = Vec::new();
        for _ in 0..6 {
            match choices.pick(4) {
                0 => {
                    event.set();
                    assert!(waiters.iter().all(Hand::<()>::is_woken));
                }
                1 => event.clear(),
                2 => {
                    let mut waiter = Hand::new(event.wait());
                    match waiter.poll() {
                        Some(()) => assert!(event.is_set()),
                        None => {
                            assert!(!event.is_set());
                            waiters.push(waiter);
                        }
                    }
                }
                _ => {
                    if let Some(mut waiter) = waiters.pop() {
                        let woken = waiter.is_woken();
                        assert_eq!(waiter.poll().is_some(), woken);
                    }
                }
            }
        }
    });
}
