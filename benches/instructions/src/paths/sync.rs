//! Locks, events and queues.

use heist::sync::{Event, Lock, Queue, Semaphore};
use heist::task::yield_now;
use std::hint::black_box;
use std::sync::Arc;

pub(super) async fn queue(n: u64) {
    let queue = Queue::new(0);
    for round in 0..n {
        queue.put(round).await.expect("it is open");
        black_box(queue.get().await.expect("it is open"));
    }
}

pub(super) async fn queue_hand_off(n: u64) {
    let queue = Arc::new(Queue::new(1));
    let putting = queue.clone();
    let putter = heist::spawn(async move {
        for round in 0..n {
            putting.put(round).await.expect("it is open");
        }
    });
    for _ in 0..n {
        black_box(queue.get().await.expect("it is open"));
    }
    putter.await.expect("it ends well");
}

pub(super) async fn lock(n: u64) {
    let lock = Lock::new();
    for _ in 0..n {
        drop(black_box(lock.lock().await));
    }
}

pub(super) async fn lock_contended(n: u64) {
    let lock = Arc::new(Lock::new());
    let tasks = [lock.clone(), lock].map(|lock| {
        heist::spawn(async move {
            for _ in 0..n / 2 {
                let _guard = lock.lock().await;
                yield_now().await;
            }
        })
    });
    for task in tasks {
        task.await.expect("it ends well");
    }
}

pub(super) async fn semaphore(n: u64) {
    let semaphore = Semaphore::new(2);
    for _ in 0..n {
        semaphore.acquire().await;
        black_box(&semaphore).release();
    }
}

pub(super) async fn event(n: u64) {
    let events = Arc::new((Event::new(), Event::new()));
    let answering = events.clone();
    let answerer = heist::spawn(async move {
        let (asked, answered) = &*answering;
        for _ in 0..n {
            asked.wait().await;
            asked.clear();
            answered.set();
        }
    });
    let (asked, answered) = &*events;
    for _ in 0..n {
        asked.set();
        answered.wait().await;
        answered.clear();
    }
    answerer.await.expect("it ends well");
}
