//! Other threads go on using what they have of a runtime while it ends, and afterwards: wakers, handles, promises, timers, sockets.
//!
//! The assertions here are the smaller part. `ci/sanitize` runs these tests over and over under AddressSanitizer, which sees who touches
//! what is freed already; so each round is short, and there are many.

use crate::support::{Counted, Drops, Stuck, limited, side_by_side, threaded, until};
use heist::net::{TcpListener, TcpStream};
use heist::{Runtime, Task, promise};
use parking_lot::Mutex;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

/// Miri takes a thousand times as long.
const ROUNDS: usize = if cfg!(miri) { 3 } else { 300 };

/// Runs each of `users` on a thread of its own, with its share of what `make` makes in a runtime, while that is dropped: somewhat earlier or
/// later in each round. Everything of the runtime's that was counted in `Drops` is gone at the end.
fn race<T: Send>(make: impl Fn(&Runtime, &Drops) -> T, users: &[fn(T)]) {
    for round in 0..ROUNDS {
        let runtime = threaded(1 + round % 3);
        let drops = Drops::default();
        let shares: Vec<_> = users
            .iter()
            .map(|_| Mutex::new(Some(make(&runtime, &drops))))
            .collect();
        let runtime = Mutex::new(Some(runtime));
        let go = Barrier::new(users.len() + 1);
        side_by_side(users.len() + 1, |number| {
            let Some(user) = users.get(number) else {
                let runtime = runtime.lock().take();
                go.wait();
                (0..round * 10).for_each(|_| std::hint::spin_loop());
                return drop(runtime);
            };
            let share = shares[number].lock().take().unwrap();
            go.wait();
            user(share);
        });
        until("every value was dropped", || {
            drops.dropped() == drops.made()
        });
    }
}

/// Counts its wakes; drops with the last waker.
struct Counts(AtomicUsize);

impl Wake for Counts {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

fn other_waker() -> Waker {
    Waker::from(Arc::new(Counts(AtomicUsize::new(0))))
}

/// Tasks that never end by themselves, and the wakers of those that were polled so far, filled further with each poll.
fn stuck_tasks(runtime: &Runtime, drops: &Drops) -> Stuck {
    let stuck = Stuck::default();
    for _ in 0..4 {
        let (stuck, held) = (stuck.clone(), drops.one());
        runtime.spawn(async move {
            let _held = held;
            loop {
                stuck.clone().await;
            }
        });
    }
    let wakers = stuck.0.clone();
    until("all were polled", || wakers.lock().len() >= 4);
    stuck
}

#[test]
fn wakers_are_woken_cloned_and_dropped() {
    fn woken(stuck: Stuck) {
        for _ in 0..20 {
            let wakers = std::mem::take(&mut *stuck.0.lock());
            wakers.into_iter().for_each(Waker::wake);
        }
    }
    fn woken_by_reference(stuck: Stuck) {
        let mut wakers = stuck.0.lock().clone();
        for n in 0..40 {
            wakers.iter().for_each(Waker::wake_by_ref);
            let clones = wakers.clone();
            assert!(clones.iter().zip(&wakers).all(|(a, b)| a.will_wake(b)));
            if n % 10 == 9 {
                drop(wakers.pop());
            }
        }
    }
    limited(|| race(stuck_tasks, &[woken, woken_by_reference]));
}

/// Tasks about to end, each with its value.
fn ending_tasks(runtime: &Runtime, drops: &Drops) -> Vec<Task<Counted>> {
    (0..12)
        .map(|n| {
            let held = drops.one();
            runtime.spawn(async move {
                for _ in 0..n % 4 {
                    heist::task::yield_now().await;
                }
                held
            })
        })
        .collect()
}

#[test]
fn handles_are_dropped_polled_cancelled_and_watched() {
    fn dropped(tasks: Vec<Task<Counted>>) {
        tasks.into_iter().for_each(drop);
    }
    fn polled(mut tasks: Vec<Task<Counted>>) {
        // Each time another waker, so that the one before it is replaced.
        while !tasks.is_empty() {
            tasks.retain_mut(|task| {
                let waker = other_waker();
                Pin::new(task)
                    .poll(&mut Context::from_waker(&waker))
                    .is_pending()
            });
        }
    }
    fn cancelled(tasks: Vec<Task<Counted>>) {
        for (n, task) in tasks.into_iter().enumerate() {
            let reference = task.as_ref();
            let waker = other_waker();
            reference.add_done_callback(move || waker.wake());
            match n % 3 {
                0 => task.cancel(None),
                1 => task.abort("teardown"),
                _ => reference.is_done(),
            };
            drop(task);
            assert!(!format!("{reference:?}").is_empty());
        }
    }
    limited(|| race(ending_tasks, &[dropped, polled, cancelled]));
}

#[test]
fn promises_are_kept_and_shared_handles_dropped() {
    type Share = (heist::Promise<usize>, heist::Shared<usize>);
    fn awaited(runtime: &Runtime, drops: &Drops) -> Share {
        let (promise, answer) = promise();
        let answer = answer.shared();
        for _ in 0..4 {
            let (answer, held) = (answer.clone(), drops.one());
            runtime.spawn(async move {
                let _held = held;
                let _ = answer.await;
            });
        }
        (promise, answer)
    }
    fn kept((promise, answer): Share) {
        let _ = promise.set(1);
        let _ = answer.result();
    }
    fn broken((promise, answer): Share) {
        drop(answer);
        drop(promise);
    }
    fn cancelled((promise, answer): Share) {
        answer.cancel(None);
        let _ = promise.set(1);
    }
    limited(|| race(awaited, &[kept, broken, cancelled]));
}

#[test]
fn closures_and_callbacks_are_submitted() {
    type Share = (heist::Handle, Drops);
    fn handle(runtime: &Runtime, drops: &Drops) -> Share {
        (runtime.handle().clone(), drops.clone())
    }
    fn blocking((handle, drops): Share) {
        for _ in 0..5 {
            let held = drops.one();
            drop(handle.spawn_blocking(move || drop(held)));
        }
    }
    fn callbacks((handle, drops): Share) {
        for n in 0..20 {
            let held = drops.one();
            let call = handle.call_soon_threadsafe(move || drop(held));
            if n % 4 == 0 {
                call.cancel();
            }
            let held = drops.one();
            handle.call_later(Duration::from_micros(n), move || drop(held));
        }
    }
    fn spawned((handle, drops): Share) {
        for _ in 0..20 {
            let held = drops.one();
            let nested = drops.one();
            handle.spawn(async move {
                let _held = held;
                heist::spawn(async move {
                    let _nested = nested;
                    std::future::pending::<()>().await;
                })
                .await
            });
        }
    }
    limited(|| race(handle, &[blocking, callbacks, spawned]));
}

type Leaf = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Timers and reads, polled in the runtime, so that its driver has their wakers.
fn pending_leaves(runtime: &Runtime, drops: &Drops) -> Vec<Leaf> {
    let (near, far) = (Duration::from_micros(300), Duration::from_secs(3600));
    let mut leaves: Vec<Leaf> = vec![
        Box::pin(heist::sleep(near)),
        Box::pin(heist::sleep(near * 3)),
        Box::pin(heist::sleep(far)),
    ];
    let (one, other) = runtime
        .run(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let client = TcpStream::connect(listener.local_addr().unwrap()).await;
            (client.unwrap(), listener.accept().await.unwrap().0)
        })
        .unwrap();
    for stream in [one, other] {
        let held = drops.one();
        leaves.push(Box::pin(async move {
            let _held = held;
            // An error once the driver is gone, the end of the stream once the other one is.
            let _ = stream.read(&mut [0; 8]).await;
        }));
    }
    let entered = runtime.enter();
    let waker = other_waker();
    for leaf in &mut leaves {
        let _ = leaf.as_mut().poll(&mut Context::from_waker(&waker));
    }
    drop(entered);
    leaves
}

#[test]
fn timers_and_sockets_are_dropped_and_polled() {
    fn dropped(leaves: Vec<Leaf>) {
        leaves.into_iter().rev().for_each(drop);
    }
    fn polled(mut leaves: Vec<Leaf>) {
        for _ in 0..20 {
            let waker = other_waker();
            let mut cx = Context::from_waker(&waker);
            leaves.retain_mut(|leaf| leaf.as_mut().poll(&mut cx) == Poll::Pending);
        }
    }
    limited(|| race(pending_leaves, &[dropped, polled]));
}
