//! Panics in polls, destructors and wakers, and chains that are long.

use super::{Scene, explore, here};
use heist::{Task, promise, sleep};
use std::panic::resume_unwind;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

/// A panic of which nothing is printed.
fn bang() -> ! {
    resume_unwind(Box::new("as it should"))
}

struct PanicsWhenDropped(#[expect(dead_code, reason = "dropped with it")] super::Life);

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            bang();
        }
    }
}

#[test]
fn panics_end_their_tasks_and_no_others() {
    explore(|scene| async move {
        let panics: Vec<_> = (0..4)
            .map(|n| {
                let inner = scene.clone();
                scene.spawn(async move {
                    inner.yields(2).await;
                    if n % 2 == 0 {
                        bang();
                    }
                    let _bad = PanicsWhenDropped(inner.life());
                    inner.yields(2).await;
                })
            })
            .collect();
        let others: Vec<_> = (0..4)
            .map(|n| {
                let inner = scene.clone();
                scene.spawn(async move {
                    inner.yields(3).await;
                    n
                })
            })
            .collect();
        for task in panics {
            assert!(task.await.unwrap_err().is_panic());
        }
        for (n, task) in others.into_iter().enumerate() {
            assert_eq!(task.await.unwrap(), n);
        }
        assert_eq!(scene.living(), 0);
    });
}

#[test]
fn a_destructor_that_panics_in_a_cancellation() {
    explore(|scene| async move {
        let bad = PanicsWhenDropped(scene.life());
        let task = scene.spawn(async move {
            let _bad = bad;
            std::future::pending::<()>().await;
        });
        let asks = {
            let (inner, task) = (scene.clone(), task.as_ref());
            scene.thread(move || {
                inner.dawdle(8);
                assert!(task.cancel(None));
            })
        };
        let error: heist::TaskError = task.await.unwrap_err();
        assert!(error.is_panic(), "{error}");
        asks.await;
        assert_eq!(scene.living(), 0);
    });
}

struct BadWaker(#[expect(dead_code, reason = "dropped with it")] super::Life);

impl Wake for BadWaker {
    fn wake(self: Arc<Self>) {
        drop(self);
        bang();
    }
}

#[test]
fn a_waker_that_panics_keeps_nobody_else_from_waking() {
    explore(|scene| async move {
        let event = Arc::new(heist::sync::Event::new());
        let bad = Waker::from(Arc::new(BadWaker(scene.life())));
        let mut poisoned = {
            let event = event.clone();
            Box::pin(async move { event.wait().await })
        };
        assert!(
            poisoned
                .as_mut()
                .poll(&mut Context::from_waker(&bad))
                .is_pending()
        );
        drop(bad);
        let good: Vec<_> = (0..2)
            .map(|_| {
                let event = event.clone();
                scene.spawn(async move { event.wait().await })
            })
            .collect();
        let (inner, ringer) = (scene.clone(), event.clone());
        let sets = scene.thread(move || {
            inner.dawdle(10);
            ringer.set();
        });
        for task in good {
            task.await.unwrap();
        }
        sets.await;
        drop(poisoned);
        assert_eq!(scene.living(), 0);
    });
}

#[test]
fn a_promise_wakes_the_good_behind_the_bad() {
    explore(|scene| async move {
        let task = {
            let inner = scene.clone();
            scene.spawn(async move {
                sleep(Duration::from_millis(1)).await;
                inner.yields(1).await;
                4
            })
        };
        let shared = task.shared();
        let mut poisoned = Box::pin(shared.clone());
        let bad = Waker::from(Arc::new(BadWaker(scene.life())));
        let polled = poisoned.as_mut().poll(&mut Context::from_waker(&bad));
        assert!(matches!(polled, Poll::Pending));
        drop(bad);
        let good = scene.spawn(shared);
        assert_eq!(good.await.unwrap().unwrap(), 4);
        drop(poisoned);
        assert_eq!(scene.living(), 0);
    });
}

/// A chain in which each task owns the handle of the next.
fn chain(scene: &Scene, length: usize) -> Task<()> {
    let mut task = scene.spawn(std::future::pending::<()>());
    for _ in 1..length {
        let inner = task;
        task = scene.spawn(async move {
            let _ = heist::task::propagate_cancelled(inner).await;
        });
    }
    task
}

#[test]
fn a_long_chain_is_cancelled_from_its_top() {
    explore(|scene| async move {
        let task = chain(&scene, 40);
        // Some of them may not have begun.
        scene.yields(20).await;
        assert!(task.cancel("all of it"));
        assert_eq!(task.await.unwrap_err().cancel_message(), Some("all of it"));
        // The rest: those below who had not begun to wait were let go by their waiters, and not asked.
        for task in here().all_tasks() {
            if heist::current_task().as_ref() != Some(&task) {
                task.cancel(None);
                task.ended().await;
            }
        }
        assert_eq!(scene.living(), 0);
    });
}

#[test]
fn a_task_spawns_in_its_destructor() {
    struct Spawns(Scene, Option<heist::Promise<Task<()>>>);
    impl Drop for Spawns {
        fn drop(&mut self) {
            let life = self.0.life();
            let task = heist::spawn(async move { drop(life) });
            if let Some(promise) = self.1.take() {
                promise.set(task).ok();
            }
        }
    }
    explore(|scene| async move {
        let (promise, last) = promise();
        let spawns = Spawns(scene.clone(), Some(promise));
        let task = scene.spawn(async move {
            let _spawns = spawns;
            std::future::pending::<()>().await;
        });
        let inner = scene.clone();
        let end = task.as_ref();
        let asks = scene.thread(move || {
            inner.dawdle(8);
            end.cancel(None)
        });
        assert!(task.await.unwrap_err().is_cancelled());
        assert!(asks.await);
        last.await.unwrap().await.unwrap();
        assert_eq!(scene.living(), 0);
    });
}
