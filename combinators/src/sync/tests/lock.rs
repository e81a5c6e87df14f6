use super::{Choices, Hand, explore};
use crate::sync::{Lock, NotLocked};

#[test]
fn after_a_release_it_is_not_locked_but_reserved() {
    let lock = Lock::new();
    assert_eq!(lock.release(), Err(NotLocked(())));
    assert!(Hand::new(lock.acquire()).poll().is_some());
    let waiter = Hand::waiting(lock.acquire());
    assert!(lock.locked());
    lock.release().unwrap();
    assert!(!lock.locked());
    assert!(lock.release().is_err());
    assert!(lock.try_lock().is_none());
    let newcomer = Hand::waiting(lock.acquire());
    waiter.take();
    assert!(lock.locked());
    lock.release().unwrap();
    newcomer.take();
    lock.release().unwrap();
    assert!(lock.try_lock().is_some());
    assert!(!lock.locked());
}

#[test]
fn a_guard_releases() {
    let lock = Lock::new();
    let guard = Hand::new(lock.lock()).poll().unwrap();
    let waiter = Hand::waiting(lock.lock());
    drop(guard);
    let guard = waiter.take();
    assert!(lock.locked() && guard.is_held());
    drop(guard);
    assert!(!lock.locked());
}

#[test]
fn cancelled_with_the_lock_in_hand_it_passes_it_on() {
    let lock = Lock::new();
    let guard = lock.try_lock().unwrap();
    let [first, second] = [(); 2].map(|()| Hand::waiting(lock.lock()));
    drop(guard);
    assert!(first.is_woken() && !second.is_woken());
    first.cancel();
    drop(second.take());
    assert!(lock.try_lock().is_some());
}

#[test]
fn a_granted_future_that_is_never_polled_again_passes_it_on_when_dropped() {
    let lock = Lock::new();
    let guard = lock.try_lock().unwrap();
    let first = Hand::waiting(lock.lock());
    drop(guard);
    assert!(lock.try_lock().is_none());
    drop(first);
    assert!(lock.try_lock().is_some());
}

/// A task that wants the lock once.
enum Actor<'a> {
    Before,
    Waiting(Hand<'a, ()>),
    Holding,
    Over,
}

fn run(choices: &mut Choices, lock: &Lock, actors: usize) {
    let mut actors: Vec<_> = (0..actors).map(|_| Actor::Before).collect();
    let mut line = Vec::new();
    loop {
        // Each actor that is not over has one or more things that it may do next.
        let moves: Vec<_> = (0..actors.len())
            .flat_map(|index| {
                let count = match &actors[index] {
                    Actor::Before | Actor::Holding => 1,
                    // To be polled, if that changes anything; to be cancelled.
                    Actor::Waiting(hand) => 1 + usize::from(hand.is_woken()),
                    Actor::Over => 0,
                };
                (0..count).map(move |choice| (index, choice))
            })
            .collect();
        if moves.is_empty() {
            break;
        }
        let (index, choice) = moves[choices.pick(moves.len())];
        let first = line.first() == Some(&index);
        actors[index] = match std::mem::replace(&mut actors[index], Actor::Over) {
            Actor::Before => {
                let mut hand = Hand::new(lock.acquire());
                if hand.poll().is_some() {
                    assert!(line.is_empty(), "overtook");
                    Actor::Holding
                } else {
                    line.push(index);
                    Actor::Waiting(hand)
                }
            }
            Actor::Waiting(hand) if choice == 0 => {
                line.retain(|waiter| *waiter != index);
                hand.cancel();
                Actor::Over
            }
            Actor::Waiting(hand) => {
                assert!(first, "not its turn");
                line.remove(0);
                hand.take();
                Actor::Holding
            }
            Actor::Holding => {
                lock.release().unwrap();
                Actor::Over
            }
            Actor::Over => unreachable!(),
        };
        let holding = actors
            .iter()
            .filter(|actor| matches!(actor, Actor::Holding))
            .count();
        assert_eq!(holding, usize::from(lock.locked()));
        let woken: Vec<_> = (0..actors.len())
            .filter(|index| matches!(&actors[*index], Actor::Waiting(hand) if hand.is_woken()))
            .collect();
        // Whoever is first in line has been woken if, and only if, the lock is his.
        let expected = line.first().filter(|_| !lock.locked());
        assert_eq!(woken.first(), expected);
        assert!(woken.len() <= 1);
    }
    assert!(!lock.locked() && lock.try_lock().is_some());
}

#[test]
fn in_any_order_one_holds_it_and_none_is_forgotten() {
    explore(|choices| run(choices, &Lock::new(), 4));
}
