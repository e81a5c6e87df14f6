use super::{Choices, Hand, explore};
use crate::sync::{BoundedSemaphore, Semaphore};

#[test]
fn it_counts() {
    let semaphore = Semaphore::new(1);
    semaphore.release();
    let _first = semaphore.try_permit().unwrap();
    assert!(!semaphore.locked());
    let _second = Hand::new(semaphore.permit()).poll().unwrap();
    assert!(semaphore.locked());
    assert!(semaphore.try_permit().is_none());
}

#[test]
fn the_bounded_one_has_a_bound() {
    let semaphore = BoundedSemaphore::new(1);
    assert!(semaphore.release().is_err());
    assert!(Hand::new(semaphore.acquire()).poll().is_some());
    let waiter = Hand::waiting(semaphore.permit());
    semaphore.release().unwrap();
    drop(waiter.take());
    assert!(semaphore.release().is_err());
    assert!(BoundedSemaphore::new(0).release().is_err());
}

#[test]
fn a_plain_one_stays_at_the_greatest_number() {
    let semaphore = Semaphore::new(usize::MAX);
    semaphore.release();
    assert!(semaphore.try_permit().is_some());
}

#[test]
fn until_the_woken_one_runs_it_is_locked() {
    let semaphore = Semaphore::new(0);
    let waiter = Hand::waiting(semaphore.acquire());
    semaphore.release();
    semaphore.release();
    assert!(semaphore.locked());
    // It has to suspend, as it may not overtake, and has its permit all the same.
    let newcomer = Hand::waiting(semaphore.acquire());
    assert!(newcomer.is_woken());
    let last = Hand::waiting(semaphore.acquire());
    assert!(!last.is_woken());
    newcomer.take();
    waiter.take();
    assert!(semaphore.locked());
    semaphore.release();
    last.take();
}

#[test]
fn a_newcomer_that_had_its_permit_passes_it_on() {
    let semaphore = Semaphore::new(0);
    let waiter = Hand::waiting(semaphore.acquire());
    semaphore.release();
    semaphore.release();
    let newcomer = Hand::waiting(semaphore.acquire());
    let last = Hand::waiting(semaphore.acquire());
    newcomer.cancel();
    last.take();
    waiter.take();
}

enum Actor<'a> {
    Before,
    Waiting(Hand<'a, ()>),
    Holding,
    Over,
}

/// `permits` permits, wanted once by each of `actors`.
fn run(choices: &mut Choices, permits: usize, actors: usize) {
    let semaphore = Semaphore::new(permits);
    let mut actors: Vec<_> = (0..actors).map(|_| Actor::Before).collect();
    let mut line = Vec::new();
    loop {
        let moves: Vec<_> = (0..actors.len())
            .flat_map(|index| {
                let count = match &actors[index] {
                    Actor::Before | Actor::Holding => 1,
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
        actors[index] = match std::mem::replace(&mut actors[index], Actor::Over) {
            Actor::Before => {
                let locked = semaphore.locked();
                let mut hand = Hand::new(semaphore.acquire());
                if hand.poll().is_some() {
                    assert!(!locked);
                    Actor::Holding
                } else {
                    assert!(locked);
                    line.push(index);
                    Actor::Waiting(hand)
                }
            }
            Actor::Waiting(hand) => {
                line.retain(|waiter| *waiter != index);
                if choice == 0 {
                    hand.cancel();
                    Actor::Over
                } else {
                    hand.take();
                    Actor::Holding
                }
            }
            Actor::Holding => {
                semaphore.release();
                Actor::Over
            }
            Actor::Over => unreachable!(),
        };
        let holding = actors
            .iter()
            .filter(|actor| matches!(actor, Actor::Holding))
            .count();
        assert!(holding <= permits);
        // As many of those in line are woken, from the first on, as there are permits to have.
        for (place, index) in line.iter().enumerate() {
            let Actor::Waiting(hand) = &actors[*index] else {
                unreachable!()
            };
            assert_eq!(hand.is_woken(), place + holding < permits);
        }
        assert_eq!(
            semaphore.locked(),
            holding + line.len() >= permits || !line.is_empty()
        );
    }
    for _ in 0..permits {
        std::mem::forget(semaphore.try_permit().unwrap());
    }
    assert!(semaphore.locked());
}

#[test]
fn in_any_order_no_permit_is_lost_or_made() {
    explore(|choices| run(choices, 1, 4));
    explore(|choices| run(choices, 2, 4));
}
