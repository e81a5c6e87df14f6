//! Cancel, abort, uncancel; regions, forwarding, deliveries.

use super::{Doorbell, Scene, explore, here};
use heist::sim::Thread;
use heist::sync::Event;
use heist::task::{Cancel, CancelOutcome, yield_now};
use heist::{Shared, Task, TaskRef, catch_cancel};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// A thread outside that cancels the task, sooner or later; whether that was accepted.
fn cancels(scene: &Scene, task: TaskRef, message: &'static str) -> Thread<bool> {
    let here = scene.clone();
    scene.thread(move || {
        here.dawdle(12);
        task.cancel(message)
    })
}

#[test]
fn an_accepted_cancel_is_the_outcome() {
    explore(|scene| async move {
        let inner = scene.clone();
        let task = scene.spawn(async move {
            inner.yields(3).await;
            inner.life()
        });
        let asks = [
            cancels(&scene, task.as_ref(), "one"),
            cancels(&scene, task.as_ref(), "other"),
        ];
        let [one, other] = asks;
        let outcome = task.await;
        let accepted = u32::from(one.await) + u32::from(other.await);
        match outcome {
            Ok(life) => {
                drop(life);
                assert_eq!(accepted, 0, "an accepted request was lost");
            }
            Err(error) => {
                assert!(error.is_cancelled() && accepted > 0, "{error}");
                let message = error.cancel_message();
                assert!(matches!(message, Some("one" | "other")), "{message:?}");
            }
        }
        assert_eq!(scene.living(), 0);
    });
}

#[test]
fn a_panic_stands_whatever_was_requested() {
    explore(|scene| async move {
        let inner = scene.clone();
        let task = scene.spawn(async move {
            catch_cancel(inner.yields(2)).await.ok();
            std::panic::resume_unwind(Box::new("as it should"));
        });
        let asks = cancels(&scene, task.as_ref(), "enough");
        let error = task.await.unwrap_err();
        asks.await;
        // Unless it was asked before its first line, or between the region and the end of the poll: there is no suspension there.
        let unbegun = error.is_cancelled();
        assert!(error.is_panic() || unbegun, "{error}");
        assert_eq!(scene.living(), 0);
    });
}

#[test]
fn a_task_cancelled_before_its_first_poll_does_not_begin() {
    explore(|scene| async move {
        let begun = Arc::new(AtomicUsize::new(0));
        let mark = begun.clone();
        let task = scene.spawn(async move {
            mark.fetch_add(1, SeqCst);
            std::future::pending::<()>().await;
        });
        let started_before = begun.load(SeqCst);
        assert!(task.cancel(None));
        // On another worker it may have begun while it was asked.
        assert!(task.await.unwrap_err().is_cancelled());
        assert!(begun.load(SeqCst) >= started_before);
        assert_eq!(scene.living(), 0);
    });
}

#[test]
fn who_catches_a_cancel_and_takes_it_back_goes_on() {
    explore(|scene| async move {
        let (done, caught) = (Arc::new(Event::new()), Arc::new(AtomicUsize::new(0)));
        let task = {
            let (done, caught) = (done.clone(), caught.clone());
            scene.spawn(async move {
                while catch_cancel(done.wait()).await.is_err() {
                    caught.fetch_add(1, SeqCst);
                    let me = heist::current_task().unwrap();
                    while me.uncancel() > 0 {}
                }
            })
        };
        let asks: Vec<_> = (0..3)
            .map(|_| cancels(&scene, task.as_ref(), "no"))
            .collect();
        let rings = {
            let (scene, done) = (scene.clone(), done.clone());
            scene.clone().thread(move || {
                scene.dawdle(30);
                done.set();
            })
        };
        let outcome = task.await;
        rings.await;
        let mut accepted = 0;
        for ask in asks {
            accepted += usize::from(ask.await);
        }
        let caught = caught.load(SeqCst);
        assert!(caught <= accepted, "{caught} caught of {accepted}");
        match outcome {
            // Requests of one moment are one delivery, and some are taken back undelivered.
            Ok(()) => assert!(accepted == 0 || caught > 0, "{accepted} lost"),
            // It came before the first poll, or after the last suspension.
            Err(error) => assert!(error.is_cancelled() && accepted > caught, "{error}"),
        }
        assert_eq!(scene.living(), 0);
    });
}

#[test]
fn an_abort_ends_who_catches_everything() {
    explore(|scene| async move {
        let (inner, begun) = (scene.clone(), Arc::new(Event::new()));
        let mark = begun.clone();
        let task: Task<()> = scene.spawn(async move {
            mark.set();
            loop {
                let part = catch_cancel(async {
                    yield_now().await;
                    inner.yields(2).await;
                });
                part.await.ok();
            }
        });
        begun.wait().await;
        let asks = cancels(&scene, task.as_ref(), "please");
        let aborts = {
            let (scene, task) = (scene.clone(), task.as_ref());
            scene.clone().thread(move || {
                scene.dawdle(20);
                assert!(task.abort("now"), "it does not end by itself");
            })
        };
        let error = task.await.unwrap_err();
        assert!(error.is_cancelled(), "{error}");
        aborts.await;
        asks.await;
        assert_eq!(scene.living(), 0);
    });
}

#[test]
fn an_abort_meets_a_poll_that_suspends_for_good() {
    explore(|scene| async move {
        let inner = scene.clone();
        let task = scene.spawn(async move {
            inner.yields(2).await;
            catch_cancel(std::future::pending::<()>()).await.ok();
            unreachable!("nobody asks");
        });
        let aborts = {
            let (scene, task) = (scene.clone(), task.as_ref());
            scene.clone().thread(move || {
                scene.dawdle(10);
                task.abort(None)
            })
        };
        assert!(aborts.await);
        let error: heist::TaskError = task.await.unwrap_err();
        assert!(error.is_cancelled(), "{error}");
        assert_eq!(scene.living(), 0);
    });
}

#[test]
fn a_wake_crosses_a_delivery() {
    explore(|scene| async move {
        let (bell, cleaned) = (Arc::new(Event::new()), Arc::new(AtomicUsize::new(0)));
        let task = {
            let (bell, cleaned, inner) = (bell.clone(), cleaned.clone(), scene.clone());
            scene.spawn(async move {
                match catch_cancel(bell.wait()).await {
                    Ok(()) => {
                        inner.yields(1).await;
                        "rung"
                    }
                    Err(cancelled) => {
                        yield_now().await;
                        cleaned.fetch_add(1, SeqCst);
                        cancelled.propagate().await
                    }
                }
            })
        };
        // Named: the request takes the way with the lock.
        task.set_name("crossed");
        let asks = cancels(&scene, task.as_ref(), "stop");
        let rings = {
            let (scene, bell) = (scene.clone(), bell.clone());
            scene.clone().thread(move || {
                scene.dawdle(12);
                bell.set();
            })
        };
        let outcome = task.await;
        let accepted = asks.await;
        rings.await;
        match outcome {
            Ok(said) => assert!(said == "rung" && !accepted, "an accepted request was lost"),
            Err(error) => assert_eq!(error.cancel_message(), Some("stop")),
        }
        assert!(cleaned.load(SeqCst) <= usize::from(accepted));
    });
}

#[test]
fn a_plain_cancel_crosses_wakes() {
    explore(|scene| async move {
        let bell = Arc::new(Event::new());
        let task = {
            let bell = bell.clone();
            scene.spawn(async move {
                for _ in 0..3 {
                    bell.wait().await;
                    bell.clear();
                }
                std::future::pending::<()>().await;
            })
        };
        let rings = {
            let (scene, bell) = (scene.clone(), bell.clone());
            scene.clone().thread(move || {
                for _ in 0..3 {
                    scene.dawdle(6);
                    bell.set();
                }
            })
        };
        let plain = {
            let (scene, task) = (scene.clone(), task.as_ref());
            scene.clone().thread(move || {
                scene.dawdle(12);
                (task.cancel(None), task.cancel(None))
            })
        };
        let error = task.await.unwrap_err();
        assert!(error.is_cancelled(), "{error}");
        assert!(plain.await.0);
        rings.await;
        assert_eq!(scene.living(), 0);
    });
}

#[test]
fn a_request_goes_down_a_chain_from_two_places() {
    explore(|scene| async move {
        let mut task = scene.spawn(async {
            std::future::pending::<()>().await;
        });
        let mut chain = vec![task.as_ref()];
        for _ in 0..5 {
            let inner = task;
            task = scene.spawn(async move {
                heist::task::propagate_cancelled(inner).await.unwrap();
            });
            chain.push(task.as_ref());
        }
        // All stand at their awaits: no time passes before.
        heist::sleep(Duration::from_millis(1)).await;
        let top = cancels(&scene, chain[5].clone(), "from above");
        let middle = cancels(&scene, chain[2].clone(), "from the middle");
        let error = task.await.unwrap_err();
        let message = error.cancel_message();
        assert!(
            matches!(message, Some("from above" | "from the middle")),
            "{message:?}"
        );
        top.await;
        middle.await;
        for task in chain {
            task.ended().await;
            assert!(task.is_cancelled(), "{task:?}");
        }
        assert_eq!(scene.living(), 0);
    });
}

#[test]
fn who_suppresses_does_so_for_its_waiters() {
    explore(|scene| async move {
        let (go_on, refused) = (Arc::new(Event::new()), Arc::new(AtomicUsize::new(0)));
        let leaf = {
            let (go_on, refused) = (go_on.clone(), refused.clone());
            scene.spawn(async move {
                while catch_cancel(go_on.wait()).await.is_err() {
                    refused.fetch_add(1, SeqCst);
                }
                7
            })
        };
        let end = leaf.as_ref();
        let middle = scene.spawn(async move { leaf.await.unwrap() });
        let top = scene.spawn(async move { middle.await.unwrap() });
        // All three stand at their awaits: no time passes before.
        heist::sleep(Duration::from_millis(1)).await;
        let asks = [
            cancels(&scene, top.as_ref(), "one"),
            cancels(&scene, top.as_ref(), "other"),
        ];
        for ask in asks {
            assert!(ask.await);
        }
        heist::sleep(Duration::from_millis(1)).await;
        let refused = refused.load(SeqCst);
        assert!((1..=2).contains(&refused), "{refused}");
        assert_eq!(end.cancelling(), 2, "each is forwarded, and counted");
        go_on.set();
        assert_eq!(top.await.unwrap(), 7);
        assert_eq!(scene.living(), 0);
    });
}

#[test]
fn two_tasks_that_await_each_other_can_be_cancelled_at_once() {
    explore(|scene| async move {
        let other: Arc<OnceLock<Shared<()>>> = Arc::default();
        let one = {
            let other = other.clone();
            scene.spawn(async move {
                while other.get().is_none() {
                    yield_now().await;
                }
                let other = other.get().unwrap().clone();
                let _ = heist::task::propagate_cancelled(other).await;
            })
        };
        let one = one.shared();
        let second = {
            let one = one.clone();
            scene.spawn(async move {
                let _ = heist::task::propagate_cancelled(one).await;
            })
        };
        let (first, last) = (one.task().unwrap(), second.as_ref());
        other.set(second.shared()).ok().unwrap();
        let asks = [
            cancels(&scene, first.clone(), "one"),
            cancels(&scene, last.clone(), "other"),
        ];
        for task in [&first, &last] {
            task.ended().await;
        }
        for ask in asks {
            ask.await;
        }
        drop(one);
        // The two handles hold each other no longer.
        drop(other);
        assert_eq!(scene.living(), 0);
    });
}

#[test]
fn nested_regions_meet_a_request_once_each() {
    explore(|scene| async move {
        let order = Arc::new(AtomicUsize::new(0));
        let task = {
            let (order, life) = (order.clone(), scene.life());
            scene.spawn(async move {
                let outer = catch_cancel(async {
                    let inner = catch_cancel(async {
                        let _life = life;
                        std::future::pending::<()>().await;
                    });
                    let cancelled = inner.await.unwrap_err();
                    assert_eq!(order.fetch_add(1, SeqCst), 0);
                    cancelled.propagate().await
                });
                let cancelled: Result<(), _> = outer.await;
                assert_eq!(order.fetch_add(1, SeqCst), 1);
                assert_eq!(cancelled.unwrap_err().message(), Some("one"));
                heist::current_task().unwrap().uncancel();
                9
            })
        };
        // It stands at its await: no time passes before.
        heist::sleep(Duration::from_millis(1)).await;
        assert!(cancels(&scene, task.as_ref(), "one").await);
        assert_eq!(task.await.unwrap(), 9);
        assert_eq!(order.load(SeqCst), 2);
        assert_eq!(scene.living(), 0);
    });
}

#[test]
fn a_request_is_never_lost_between_regions() {
    explore(|scene| async move {
        let inner = scene.clone();
        let task = scene.spawn(async move {
            for _ in 0..8 {
                // Regions come and go; none of them catches what is not its own.
                let _ = heist::timeout(Duration::from_secs(1), inner.yields(1)).await;
            }
            std::future::pending::<()>().await;
        });
        let asks = cancels(&scene, task.as_ref(), "enough");
        let error = task.await.unwrap_err();
        assert_eq!(error.cancel_message(), Some("enough"));
        assert!(asks.await);
        assert_eq!(scene.living(), 0);
    });
}

#[test]
fn a_value_that_wins_leaves_the_request_to_the_task() {
    explore(|scene| async move {
        let bell = Arc::new(Doorbell::default());
        let task: Task<()> = {
            let bell = bell.clone();
            scene.spawn(async move {
                // No leaf of ours: it gives its value, whatever was requested.
                if let Err(cancelled) = catch_cancel(bell.rings(1)).await {
                    cancelled.propagate().await;
                }
                std::future::pending().await
            })
        };
        let rings = {
            let (scene, bell) = (scene.clone(), bell.clone());
            scene.clone().thread(move || {
                scene.dawdle(10);
                bell.ring();
            })
        };
        let asks = cancels(&scene, task.as_ref(), "enough");
        let error = task.await.unwrap_err();
        assert_eq!(error.cancel_message(), Some("enough"));
        assert!(asks.await);
        rings.await;
        assert_eq!(scene.living(), 0);
    });
}

#[test]
fn a_look_at_a_task_changes_nothing() {
    explore(|scene| async move {
        let bell = Arc::new(Event::new());
        let task = {
            let bell = bell.clone();
            scene.spawn(async move {
                for _ in 0..3 {
                    bell.wait().await;
                    bell.clear();
                }
                heist::sleep(Duration::from_secs(1)).await;
            })
        };
        task.set_name("watched");
        let looks = {
            let (scene, task) = (scene.clone(), task.as_ref());
            scene.clone().thread(move || {
                for _ in 0..6 {
                    scene.dawdle(3);
                    assert!(format!("{task:?}").contains("watched"));
                }
            })
        };
        let rings = {
            let (scene, bell) = (scene.clone(), bell.clone());
            scene.clone().thread(move || {
                for _ in 0..6 {
                    scene.dawdle(3);
                    bell.set();
                }
            })
        };
        let asks = cancels(&scene, task.as_ref(), "stop");
        let error = task.await.err();
        let accepted = asks.await;
        assert_eq!(error.is_some(), accepted);
        looks.await;
        rings.await;
    });
}

#[test]
fn grace_then_force() {
    explore(|scene| async move {
        let inner = scene.clone();
        let cleanup = scene.sim.below(4);
        let task = scene.spawn(async move {
            let _ = catch_cancel(std::future::pending::<()>()).await;
            heist::sleep(Duration::from_millis(cleanup)).await;
            inner.yields(2).await;
            heist::Cancelled::new("clean").propagate().await
        });
        let task: heist::Task<()> = task;
        heist::sleep(Duration::from_micros(20)).await;
        let grace = Cancel::new()
            .grace(Duration::from_millis(2))
            .reason("close");
        let outcome = task.as_ref().cancel_with(grace).await;
        let error = task.await.unwrap_err();
        assert!(error.is_cancelled());
        match outcome {
            CancelOutcome::CleanedUp => assert!(cleanup <= 2, "{cleanup} ms"),
            CancelOutcome::Forced { ended, .. } => assert!(ended && cleanup >= 2, "{cleanup} ms"),
            other => panic!("{other}"),
        }
        assert_eq!(scene.living(), 0);
    });
}

#[test]
fn a_storm_of_requests_over_a_crowd() {
    explore(|scene| async move {
        let handle = here();
        let tasks: Vec<_> = (0..8)
            .map(|n| {
                let inner = scene.clone();
                scene.spawn(async move {
                    loop {
                        let part = catch_cancel(async {
                            inner.yields(3).await;
                            heist::sleep(Duration::from_micros(n)).await;
                        });
                        if part.await.is_err() && inner.sim.below(3) > 0 {
                            return n;
                        }
                        while heist::current_task().unwrap().uncancel() > 0 {}
                    }
                })
            })
            .collect();
        let storm: Vec<_> = (0..3)
            .map(|_| {
                let (scene, all) = (scene.clone(), tasks.iter().map(|task| task.as_ref()));
                let all: Vec<_> = all.collect();
                scene.clone().thread(move || {
                    for _ in 0..12 {
                        scene.dawdle(3);
                        let task = &all[scene.sim.below(8) as usize];
                        match scene.sim.below(6) {
                            0 => drop(task.uncancel()),
                            1 => drop(task.abort("storm")),
                            _ => drop(task.cancel("storm")),
                        }
                    }
                    for task in &all {
                        task.abort("the end");
                    }
                })
            })
            .collect();
        for (n, task) in tasks.into_iter().enumerate() {
            match task.await {
                Ok(value) => assert_eq!(value, n as u64),
                Err(error) => assert!(error.is_cancelled(), "{error}"),
            }
        }
        for thread in storm {
            thread.await;
        }
        assert_eq!(scene.living(), 0);
        assert!(handle.audit().is_balanced());
    });
}
