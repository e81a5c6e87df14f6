use super::{Choices, Hand, explore};
use crate::sync::{Barrier, BrokenBarrier};

fn barrier(parties: usize) -> Barrier {
    Barrier::new(parties).unwrap()
}

#[test]
fn the_last_arrival_lets_all_through() {
    let barrier = barrier(3);
    let first = Hand::waiting(barrier.wait());
    let second = Hand::waiting(barrier.wait());
    assert_eq!((barrier.n_waiting(), barrier.parties()), (2, 3));
    assert_eq!(Hand::new(barrier.wait()).poll(), Some(Ok(2)));
    assert_eq!(barrier.n_waiting(), 0);
    assert_eq!(first.take(), Ok(0));
    assert_eq!(second.take(), Ok(1));
    Hand::waiting(barrier.wait()).cancel();
}

#[test]
fn one_party_never_waits_and_none_is_an_error() {
    let barrier = barrier(1);
    for _ in 0..2 {
        assert_eq!(Hand::new(barrier.wait()).poll(), Some(Ok(0)));
    }
    assert!(Barrier::new(0).is_err());
}

#[test]
fn a_cancelled_waiter_leaves_and_breaks_nothing() {
    let barrier = barrier(2);
    Hand::waiting(barrier.wait()).cancel();
    assert_eq!((barrier.n_waiting(), barrier.broken()), (0, false));
    let waiter = Hand::waiting(barrier.wait());
    assert_eq!(Hand::new(barrier.wait()).poll(), Some(Ok(1)));
    assert_eq!(waiter.take(), Ok(0));
}

#[test]
fn a_number_may_be_given_twice_after_a_cancellation() {
    let barrier = barrier(3);
    let first = Hand::waiting(barrier.wait());
    let second = Hand::waiting(barrier.wait());
    first.cancel();
    let third = Hand::waiting(barrier.wait());
    assert_eq!(Hand::new(barrier.wait()).poll(), Some(Ok(2)));
    assert_eq!((second.take(), third.take()), (Ok(1), Ok(1)));
}

#[test]
fn reset_breaks_those_waiting_and_nothing_else() {
    let barrier = barrier(2);
    let waiter = Hand::waiting(barrier.wait());
    barrier.reset();
    assert!(!barrier.broken());
    // It drains: a newcomer waits until that one has left.
    let newcomer = Hand::waiting(barrier.wait());
    assert_eq!(barrier.n_waiting(), 0);
    assert!(waiter.take().is_err());
    let mut newcomer = { newcomer };
    assert!(newcomer.is_woken());
    assert!(newcomer.poll().is_none());
    assert_eq!(barrier.n_waiting(), 1);
    assert_eq!(Hand::new(barrier.wait()).poll(), Some(Ok(1)));
    assert_eq!(newcomer.take(), Ok(0));
}

#[test]
fn abort_breaks_whoever_waits_or_comes_until_a_reset() {
    let barrier = barrier(2);
    let waiter = Hand::waiting(barrier.wait());
    barrier.abort();
    assert!(barrier.broken());
    assert!(waiter.take().is_err());
    assert!(Hand::new(barrier.wait()).poll().unwrap().is_err());
    barrier.reset();
    assert!(!barrier.broken());
    Hand::waiting(barrier.wait()).cancel();
}

#[test]
fn both_strike_those_who_were_released_and_have_not_run() {
    for abort in [false, true] {
        let barrier = barrier(3);
        let [first, second] = [(); 2].map(|()| Hand::waiting(barrier.wait()));
        assert_eq!(Hand::new(barrier.wait()).poll(), Some(Ok(2)));
        let newcomer = Hand::waiting(barrier.wait());
        if abort {
            barrier.abort();
            assert!(newcomer.take().is_err());
        } else {
            barrier.reset();
            assert!(!newcomer.is_woken());
        }
        first.cancel();
        assert!(second.take().is_err());
        assert_eq!(barrier.broken(), abort);
        barrier.reset();
        Hand::waiting(barrier.wait()).cancel();
    }
}

#[test]
fn one_that_is_cancelled_after_the_release_is_and_the_others_go_through() {
    let barrier = barrier(3);
    let [first, second] = [(); 2].map(|()| Hand::waiting(barrier.wait()));
    assert_eq!(Hand::new(barrier.wait()).poll(), Some(Ok(2)));
    let newcomer = Hand::waiting(barrier.wait());
    first.cancel();
    assert!(!newcomer.is_woken(), "still draining");
    assert_eq!(second.take(), Ok(1));
    assert!(newcomer.is_woken());
}

#[test]
fn a_reset_after_an_abort_waits_for_stragglers() {
    let barrier = barrier(2);
    let straggler = Hand::waiting(barrier.wait());
    barrier.abort();
    barrier.reset();
    let newcomer = Hand::waiting(barrier.wait());
    assert!(straggler.take().is_err());
    assert!(newcomer.is_woken());
}

#[test]
fn a_budget_spent_between_arrival_and_waiting_loses_nothing() {
    let barrier = barrier(2);
    let mut waiter = Hand::new(barrier.wait());
    assert!(waiter.poll_within(1, false).is_none());
    assert_eq!(barrier.n_waiting(), 1);
    assert_eq!(Hand::new(barrier.wait()).poll(), Some(Ok(1)));
    assert_eq!(waiter.take(), Ok(0));
    drop(Hand::waiting(barrier.wait()));
    assert_eq!(barrier.n_waiting(), 0);
}

type Waiter<'a> = Hand<'a, Result<usize, BrokenBarrier>>;

fn poll<'a>(mut hand: Waiter<'a>, waiters: &mut Vec<Waiter<'a>>) {
    match hand.poll() {
        Some(Ok(number)) => assert!(number < 2),
        Some(Err(_)) => {}
        None => waiters.push(hand),
    }
}

/// Arrivals, runs of woken waiters, cancels, resets and aborts in every order of `steps` steps; then all that was woken is polled until
/// nothing moves: whoever still waits must be missing others.
fn run(choices: &mut Choices, steps: u32) {
    let barrier = barrier(2);
    let mut waiters: Vec<Waiter<'_>> = Vec::new();
    for _ in 0..steps {
        let woken = waiters.iter().position(Hand::is_woken);
        match choices.pick(6) {
            0 => poll(Hand::new(barrier.wait()), &mut waiters),
            1 => {
                if let Some(at) = woken {
                    poll(waiters.remove(at), &mut waiters);
                }
            }
            2 => {
                if !waiters.is_empty() {
                    waiters.remove(0).cancel();
                }
            }
            3 => {
                if let Some(at) = woken {
                    waiters.remove(at).cancel();
                }
            }
            4 => barrier.reset(),
            _ => barrier.abort(),
        }
        assert!(barrier.n_waiting() < 2);
    }
    while let Some(at) = waiters.iter().position(Hand::is_woken) {
        poll(waiters.remove(at), &mut waiters);
    }
    assert_eq!(waiters.len(), barrier.n_waiting());
    assert!(!barrier.broken() || waiters.is_empty());
    waiters.clear();
    barrier.reset();
    let waiter = Hand::waiting(barrier.wait());
    assert_eq!(Hand::new(barrier.wait()).poll(), Some(Ok(1)));
    assert_eq!(waiter.take(), Ok(0));
}

#[test]
fn in_any_order_nobody_waits_for_those_who_have_come() {
    explore(|choices| run(choices, 7));
}
