//! The line of waiters against a model of it, and what carries the wakers away.

use super::{Choices, Flag, explore};
use crate::sync::wait_list::{Left, Ticket, WaitList, Wakes};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::task::{Wake, Waker};

struct Waiter {
    ticket: Ticket,
    flag: Arc<Flag>,
    granted: bool,
}

fn step(choices: &mut Choices, list: &mut WaitList, waiters: &mut Vec<Waiter>) {
    let mut wakes = Wakes::default();
    let choice = choices.pick(4 + waiters.len());
    let first = waiters.iter_mut().find(|waiter| !waiter.granted);
    match choice {
        0 => {
            let flag = Arc::new(Flag::default());
            let ticket = list.push(Waker::from(flag.clone()));
            waiters.push(Waiter {
                ticket,
                flag,
                granted: false,
            });
        }
        1 => {
            let ticket = list.push_granted();
            waiters.push(Waiter {
                ticket,
                flag: Arc::default(),
                granted: true,
            });
        }
        2 => {
            assert_eq!(list.grant_first(&mut wakes), first.is_some());
            if let Some(first) = first {
                assert!(!first.flag.0.load(SeqCst), "woken with the lock held");
                drop(wakes);
                assert!(first.flag.0.load(SeqCst));
                first.granted = true;
            }
        }
        3 => {
            list.grant_all(&mut wakes);
            waiters.iter_mut().for_each(|waiter| waiter.granted = true);
        }
        leaver => {
            let waiter = waiters.remove(leaver - 4);
            match list.leave(waiter.ticket) {
                Left::Granted => assert!(waiter.granted),
                Left::Waiting(waker) => {
                    assert!(!waiter.granted);
                    assert!(waker.will_wake(&Waker::from(waiter.flag)));
                    wakes.discard(waker);
                }
            }
        }
    }
    assert_eq!(list.len(), waiters.len());
    assert_eq!(list.is_empty(), waiters.is_empty());
    for waiter in waiters {
        assert_eq!(list.is_granted(&waiter.ticket), waiter.granted);
    }
}

#[test]
fn it_grants_in_order_whoever_comes_and_goes() {
    explore(|choices| {
        let (mut list, mut waiters) = (WaitList::new(), Vec::new());
        for _ in 0..7 {
            step(choices, &mut list, &mut waiters);
        }
    });
}

#[test]
fn a_waiter_may_change_its_waker() {
    let mut list = WaitList::new();
    let [old, new] = [(); 2].map(|()| Arc::new(Flag::default()));
    let ticket = list.push(Waker::from(old.clone()));
    let waker = Waker::from(new.clone());
    assert!(!list.wakes_as(&ticket, &waker));
    drop(list.set_waker(&ticket, waker.clone()));
    assert!(list.wakes_as(&ticket, &waker));
    list.grant_first(&mut Wakes::default());
    assert!(new.0.load(SeqCst) && !old.0.load(SeqCst));
    assert!(matches!(list.leave(ticket), Left::Granted));
}

#[test]
fn a_panicking_waker_keeps_no_other_from_being_woken() {
    struct Panics;
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("a waker's");
        }
    }
    let mut list = WaitList::new();
    let flag = Arc::new(Flag::default());
    let tickets = [
        Waker::from(Arc::new(Panics)),
        Waker::from(Arc::new(Panics)),
        Waker::from(flag.clone()),
    ]
    .map(|waker| list.push(waker));
    list.grant_all(&mut Wakes::default());
    assert!(flag.0.load(SeqCst));
    for ticket in tickets {
        assert!(matches!(list.leave(ticket), Left::Granted));
    }
}
