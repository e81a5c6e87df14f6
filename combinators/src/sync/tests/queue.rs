use super::{Choices, Hand, explore};
use crate::sync::{LifoQueue, PriorityQueue, Queue, QueueShutDown};
use std::collections::VecDeque;

#[test]
fn the_three_orders() {
    let (fifo, lifo, lowest) = (Queue::new(0), LifoQueue::new(0), PriorityQueue::new(0));
    for item in [2, 3, 1] {
        fifo.put_nowait(item).unwrap();
        lifo.put_nowait(item).unwrap();
        lowest.put_nowait(item).unwrap();
    }
    assert_eq!([(); 3].map(|()| fifo.get_nowait().unwrap()), [2, 3, 1]);
    assert_eq!([(); 3].map(|()| lifo.get_nowait().unwrap()), [1, 3, 2]);
    assert_eq!([(); 3].map(|()| lowest.get_nowait().unwrap()), [1, 2, 3]);
}

#[test]
fn a_put_wakes_one_getter_which_looks_again() {
    let queue = Queue::new(0);
    let [mut first, second] = [(); 2].map(|()| Hand::waiting(queue.get()));
    queue.put_nowait(1).unwrap();
    assert!(first.is_woken() && !second.is_woken());
    assert_eq!(queue.qsize(), 1, "not handed over");
    assert_eq!(queue.get_nowait(), Ok(1), "a newcomer may be faster");
    assert!(first.poll().is_none());
    // Behind the other one, now.
    queue.put_nowait(2).unwrap();
    assert!(!first.is_woken());
    assert_eq!(second.take(), Ok(2));
    queue.put_nowait(3).unwrap();
    assert_eq!(first.take(), Ok(3));
}

#[test]
fn a_get_wakes_one_putter_which_looks_again() {
    let queue = Queue::new(1);
    queue.put_nowait(1).unwrap();
    let mut first = Hand::waiting(queue.put(2));
    let second = Hand::waiting(queue.put(3));
    assert_eq!(queue.get_nowait(), Ok(1));
    assert!(first.is_woken() && !second.is_woken() && !queue.full());
    queue.put_nowait(4).unwrap();
    assert!(first.poll().is_none());
    assert_eq!(queue.get_nowait(), Ok(4));
    assert_eq!(second.take(), Ok(()));
    assert_eq!(queue.get_nowait(), Ok(3));
    assert_eq!(first.take(), Ok(()));
    assert_eq!(queue.get_nowait(), Ok(2));
}

#[test]
fn cancelled_after_its_wake_up_a_getter_leaves_the_item_to_the_next() {
    let queue = Queue::new(0);
    let [first, second] = [(); 2].map(|()| Hand::waiting(queue.get()));
    queue.put_nowait(1).unwrap();
    queue.put_nowait(2).unwrap();
    let third = Hand::new(queue.get()).poll().unwrap();
    assert_eq!(third, Ok(1));
    first.cancel();
    assert_eq!(second.take(), Ok(2));
}

#[test]
fn cancelled_after_its_wake_up_a_putter_leaves_the_room_to_the_next() {
    let queue = Queue::new(1);
    queue.put_nowait(1).unwrap();
    let first = Hand::waiting(queue.put(2));
    let second = Hand::waiting(queue.put(3));
    queue.get_nowait().unwrap();
    first.cancel();
    assert_eq!(second.take(), Ok(()));
    assert_eq!(queue.get_nowait(), Ok(3));
}

#[test]
fn what_cannot_be_had_at_once_is_an_error_that_says_why() {
    let queue = Queue::new(1);
    let error = queue.get_nowait().unwrap_err();
    assert!(error.is_empty() && !error.is_shut_down());
    queue.put_nowait("a").unwrap();
    let error = queue.put_nowait("b").unwrap_err();
    assert!(error.is_full() && !error.is_shut_down());
    assert_eq!(error.into_item(), "b");
    assert!(queue.task_done().is_ok());
    assert!(queue.task_done().is_err());
}

#[test]
fn join_waits_for_what_was_put() {
    let queue = Queue::new(0);
    assert!(Hand::new(queue.join()).poll().is_some());
    queue.put_nowait(1).unwrap();
    queue.put_nowait(2).unwrap();
    let [first, second] = [(); 2].map(|()| Hand::waiting(queue.join()));
    queue.task_done().unwrap();
    assert!(!first.is_woken());
    first.cancel();
    queue.task_done().unwrap();
    queue.put_nowait(3).unwrap();
    second.take();
    Hand::waiting(queue.join()).cancel();
}

#[test]
fn a_shut_down_queue_gives_what_is_left() {
    let queue = Queue::new(2);
    queue.put_nowait(1).unwrap();
    queue.put_nowait(2).unwrap();
    let putter = Hand::waiting(queue.put(3));
    queue.shutdown(false);
    assert!(queue.is_shut_down());
    assert_eq!(putter.take().unwrap_err().into_item(), 3);
    assert!(queue.put_nowait(4).unwrap_err().is_shut_down());
    assert!(Hand::new(queue.put(4)).poll().unwrap().is_err());
    assert_eq!(Hand::new(queue.get()).poll(), Some(Ok(1)));
    assert_eq!(queue.get_nowait(), Ok(2));
    assert!(queue.get_nowait().unwrap_err().is_shut_down());
    assert!(Hand::new(queue.get()).poll().unwrap().is_err());
    let joiner = Hand::waiting(queue.join());
    queue.task_done().unwrap();
    queue.task_done().unwrap();
    joiner.take();
}

#[test]
fn shut_down_at_once_it_drops_what_is_left() {
    let queue = Queue::<u32>::new(0);
    let getter = Hand::waiting(queue.get());
    queue.shutdown(true);
    assert!(getter.take().is_err());

    let queue = Queue::new(0);
    for item in 0..3 {
        queue.put_nowait(item).unwrap();
    }
    queue.get_nowait().unwrap();
    let joiner = Hand::waiting(queue.join());
    queue.shutdown(true);
    assert!(queue.empty() && !joiner.is_woken());
    queue.task_done().unwrap();
    joiner.take();

    let queue = Queue::new(0);
    queue.put_nowait(1).unwrap();
    queue.task_done().unwrap();
    queue.shutdown(true);
    assert!(queue.task_done().is_err());
}

#[test]
fn an_item_may_use_the_queue_when_it_drops() {
    struct Uses(std::sync::Weak<Queue<Uses>>);
    impl Drop for Uses {
        fn drop(&mut self) {
            if let Some(queue) = self.0.upgrade() {
                assert!(queue.empty());
            }
        }
    }
    let queue = std::sync::Arc::new(Queue::new(0));
    queue
        .put_nowait(Uses(std::sync::Arc::downgrade(&queue)))
        .unwrap();
    queue.shutdown(true);
    assert!(queue.put_nowait(Uses(std::sync::Weak::new())).is_err());
}

#[test]
fn a_comparison_that_panics_loses_no_wake_up() {
    #[derive(Debug, PartialEq, Eq)]
    struct Touchy(u32);
    impl PartialOrd for Touchy {
        fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
            Some(self.cmp(other))
        }
    }
    impl Ord for Touchy {
        fn cmp(&self, other: &Self) -> std::cmp::Ordering {
            assert!(self.0 != 13 && other.0 != 13, "touched");
            self.0.cmp(&other.0)
        }
    }
    let queue = PriorityQueue::new(0);
    let mut getters = [(); 2].map(|()| Hand::waiting(queue.get()));
    queue.put_nowait(Touchy(1)).unwrap();
    let put = std::panic::AssertUnwindSafe(|| queue.put_nowait(Touchy(13)));
    assert!(std::panic::catch_unwind(put).is_err());
    assert_eq!(queue.qsize(), 2);
    assert!(getters.iter().all(Hand::is_woken));
    assert_eq!(getters[0].poll(), Some(Ok(Touchy(1))));
    assert_eq!(getters[1].poll(), Some(Ok(Touchy(13))));
}

type Getter<'a> = Hand<'a, Result<u32, QueueShutDown>>;
type Putter<'a> = Hand<'a, Result<(), QueueShutDown<u32>>>;

/// A queue of numbers, what it should hold, and who waits for it.
struct Crowd<'a> {
    queue: &'a Queue<u32>,
    model: VecDeque<u32>,
    getters: VecDeque<Getter<'a>>,
    putters: VecDeque<(u32, Putter<'a>)>,
}

impl<'a> Crowd<'a> {
    fn get(&mut self, mut hand: Getter<'a>) {
        match hand.poll() {
            Some(Ok(item)) => assert_eq!(self.model.pop_front(), Some(item)),
            Some(Err(_)) => assert!(self.queue.is_shut_down() && self.model.is_empty()),
            None => {
                assert!(self.model.is_empty() && !self.queue.is_shut_down());
                self.getters.push_back(hand);
            }
        }
    }

    fn put(&mut self, item: u32, mut hand: Putter<'a>) {
        let full = self.queue.full();
        match hand.poll() {
            Some(Ok(())) => {
                assert!(!full);
                self.model.push_back(item);
            }
            Some(Err(error)) => assert!(self.queue.is_shut_down() && error.into_item() == item),
            None => {
                assert!(full);
                self.putters.push_back((item, hand));
            }
        }
    }

    /// Lets the first getter run that was woken; false if none was.
    fn run_getter(&mut self) -> bool {
        let woken = self.getters.iter().position(Hand::is_woken);
        let hand = woken.and_then(|at| self.getters.remove(at));
        hand.is_some_and(|hand| {
            self.get(hand);
            true
        })
    }

    fn run_putter(&mut self) -> bool {
        let woken = self.putters.iter().position(|(_, hand)| hand.is_woken());
        let hand = woken.and_then(|at| self.putters.remove(at));
        hand.is_some_and(|(item, hand)| {
            self.put(item, hand);
            true
        })
    }

    /// Cancels the first getter that was woken, or else the first.
    fn cancel_getter(&mut self) {
        let woken = self.getters.iter().position(Hand::is_woken);
        if let Some(hand) = self.getters.remove(woken.unwrap_or(0)) {
            hand.cancel();
        }
    }

    fn cancel_putter(&mut self) {
        let woken = self.putters.iter().position(|(_, hand)| hand.is_woken());
        if let Some((_, hand)) = self.putters.remove(woken.unwrap_or(0)) {
            hand.cancel();
        }
    }
}

/// Getters, putters, newcomers that do not wait, cancels and perhaps the end, in every order of `steps` steps; then all that was woken is
/// polled until nothing moves: nobody may be left waiting for something that is there.
fn run(choices: &mut Choices, maxsize: usize, steps: u32) {
    let queue = Queue::new(maxsize);
    let mut crowd = Crowd {
        queue: &queue,
        model: VecDeque::new(),
        getters: VecDeque::new(),
        putters: VecDeque::new(),
    };
    for step in 0..steps {
        match choices.pick(8) {
            0 => crowd.get(Hand::new(queue.get())),
            1 => crowd.put(step, Hand::new(queue.put(step))),
            2 => assert_eq!(queue.get_nowait().ok(), crowd.model.pop_front()),
            3 if queue.put_nowait(step).is_ok() => crowd.model.push_back(step),
            3 => assert!(queue.full()),
            4 => _ = crowd.run_getter(),
            5 => _ = crowd.run_putter(),
            6 => crowd.cancel_getter(),
            _ => crowd.cancel_putter(),
        }
        assert_eq!(queue.qsize(), crowd.model.len());
    }
    if choices.pick(2) == 1 {
        queue.shutdown(false);
    }
    while crowd.run_getter() || crowd.run_putter() {}
    assert!(crowd.getters.is_empty() || queue.empty() && !queue.is_shut_down());
    assert!(crowd.putters.is_empty() || queue.full() && !queue.is_shut_down());
}

#[test]
fn in_any_order_nobody_waits_for_what_is_there() {
    explore(|choices| run(choices, 1, 6));
    explore(|choices| run(choices, 2, 5));
    explore(|choices| run(choices, 0, 5));
}
