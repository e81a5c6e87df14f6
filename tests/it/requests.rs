//! Requests in corners: none is lost, none is met twice, and nothing is left behind.

use crate::support::{burn_until, limited, seated, threaded, until};
use heist::task::{Answer, Later, OnCancel, Target, deferred, request_all, yield_now};
use heist::{Awaitable, Task, catch_cancel, promise};
use parking_lot::Mutex;
use std::future::{Future, pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// Spends the budget of the poll on leaves that are polled with a waker that wakes nobody, as `now_or_never` of other crates does it.
fn spend_aside(done: &heist::Shared<()>) {
    let mut cx = Context::from_waker(Waker::noop());
    while pin!(done.clone()).poll(&mut cx).is_ready() {}
}

async fn done() -> heist::Shared<()> {
    let done = heist::spawn(async {}).shared();
    done.clone().await.unwrap();
    done
}

#[test]
fn a_yield_on_the_side_hides_no_suspension() {
    limited(|| {
        let runtime = seated();
        let task = runtime.spawn(async {
            let done = done().await;
            heist::current_task().unwrap().cancel("met");
            spend_aside(&done);
            pending::<()>().await;
        });
        let error = runtime.block_on(task).unwrap().unwrap_err();
        assert_eq!(error.cancel_message(), Some("met"));
    });
}

#[test]
fn a_yield_on_the_side_hides_no_suspension_of_a_region() {
    limited(|| {
        let runtime = seated();
        let task = runtime.spawn(async {
            let done = done().await;
            let mut polled = false;
            let region = poll_fn(|_| {
                if std::mem::replace(&mut polled, true) {
                    spend_aside(&done);
                }
                Poll::<()>::Pending
            });
            catch_cancel(region).await
        });
        let ended = runtime.run(async move {
            for _ in 0..9 {
                yield_now().await;
            }
            assert!(task.cancel("met"));
            task.await.unwrap()
        });
        let cancelled = ended.unwrap().unwrap_err();
        assert_eq!(cancelled.message(), Some("met"));
    });
}

#[test]
fn a_region_whose_future_panics_leaves_nothing_behind() {
    limited(|| {
        let runtime = seated();
        let task = runtime.spawn(async {
            let mut region = Some(Box::pin(catch_cancel(async {
                let (_promise, mut never) = promise::<()>();
                poll_fn(|cx| -> Poll<()> {
                    // This enters the region in the task's tree.
                    assert!(Pin::new(&mut never).poll(cx).is_pending());
                    resume_unwind(Box::new("as the test wants it"))
                })
                .await;
            })));
            poll_fn(|cx| {
                if let Some(mut region) = region.take() {
                    let poll = || region.as_mut().poll(cx).is_pending();
                    assert!(catch_unwind(AssertUnwindSafe(poll)).is_err());
                }
                Poll::<()>::Pending
            })
            .await;
        });
        let ended = runtime.run(async move {
            yield_now().await;
            assert!(task.cancel("met"));
            task.await
        });
        let error = ended.unwrap().unwrap_err();
        assert_eq!(error.cancel_message(), Some("met"));
    });
}

#[test]
fn a_handle_given_away_after_a_request_was_forwarded_unwinds_nobody_else() {
    limited(|| {
        let runtime = seated();
        let ended = runtime.run(async {
            let (go, gone) = promise::<()>();
            let child = heist::spawn(async {
                let cancelled = catch_cancel(pending::<()>()).await.unwrap_err();
                gone.await.unwrap();
                cancelled.propagate().await
            });
            yield_now().await;
            let give = Arc::new(Mutex::new((false, None::<Waker>)));
            let (mine, mut child) = (give.clone(), Some(child));
            let giver = heist::spawn(poll_fn(move |cx| {
                let mut give = mine.lock();
                if give.0 {
                    return Poll::Ready(child.take().unwrap());
                }
                give.1 = Some(cx.waker().clone());
                assert!(Pin::new(child.as_mut().unwrap()).poll(cx).is_pending());
                Poll::Pending
            }));
            yield_now().await;
            assert!(giver.cancel("forwarded"));
            let waker = {
                let mut give = give.lock();
                give.0 = true;
                give.1.take()
            };
            waker.unwrap().wake();
            let mut child: Task<()> = giver.await.unwrap();
            go.set(()).unwrap();
            Awaitable::ended(&mut child).await;
            // Nobody has asked this one to end.
            heist::spawn(child).await.unwrap()
        });
        let error = ended.unwrap().unwrap_err();
        assert_eq!(error.cancel_message(), Some("forwarded"));
    });
}

/// Two regions side by side receive one request; what is in the first is faster, the second ends by it.
#[test]
fn a_request_that_one_region_has_taken_is_not_met_again_for_another_that_has_not() {
    limited(|| {
        let runtime = seated();
        let ready = Arc::new(AtomicBool::new(false));
        let seen = ready.clone();
        let task = runtime.spawn(async move {
            let mut fast = pin!(catch_cancel(poll_fn(|_| match seen.load(SeqCst) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            })));
            let mut slow = pin!(catch_cancel(pending::<()>()));
            let mut won = false;
            poll_fn(|cx| {
                won |= !won && fast.as_mut().poll(cx).is_ready();
                slow.as_mut().poll(cx).map(|ended| ended.unwrap_err())
            })
            .await;
            assert!(won);
            yield_now().await;
            "went on"
        });
        let ended = runtime.run(async move {
            yield_now().await;
            ready.store(true, SeqCst);
            assert!(task.cancel(None));
            task.await
        });
        assert_eq!(ended.unwrap().unwrap(), "went on");
    });
}

#[test]
fn a_chain_of_a_million_callbacks_each_of_which_settles_the_next_promise_does_not_recurse() {
    limited(|| {
        let (first, handle) = promise::<()>();
        let mut last = handle;
        let mut handles = Vec::new();
        for _ in 0..1_000_000 {
            let (next, handle) = promise::<()>();
            last.add_done_callback(move || next.set(()).unwrap());
            handles.push(std::mem::replace(&mut last, handle));
        }
        first.set(()).unwrap();
        assert!(last.is_done());
        // Unsettled ones end each other, too.
        let (first, mut last) = promise::<()>();
        for _ in 0..1_000_000 {
            let (next, handle) = promise::<()>();
            last.add_done_callback(move || drop(next));
            handles.push(std::mem::replace(&mut last, handle));
        }
        drop(first);
        assert!(last.is_cancelled());
    });
}

#[test]
fn a_region_that_ends_with_a_request_of_its_own_takes_no_other_with_it() {
    limited(|| {
        let runtime = seated();
        let task = runtime.spawn(async {
            // Both come in the same poll, its last one, and none is met in it.
            let group = heist::TaskGroup::run(|group| async move {
                yield_now().await;
                group.cancel();
                heist::current_task().unwrap().cancel("met");
            });
            let ended = group.await;
            assert!(ended.is_ok());
            pending::<()>().await;
        });
        let error = runtime.block_on(task).unwrap().unwrap_err();
        assert_eq!(error.cancel_message(), Some("met"));
    });
}

/// Does as it is told when it is asked, and refuses.
struct Meddles(Box<dyn Fn() + Send + Sync>);

impl OnCancel for Meddles {
    fn request(&self, _: Option<&Arc<str>>, _: &mut Later) -> Option<Answer> {
        self.0();
        Some(Answer::Refused)
    }
}

#[test]
fn a_request_that_is_still_on_its_way_stands_when_another_made_meanwhile_was_caught() {
    limited(|| {
        let runtime = threaded(1);
        let (runs, asked) = <(Arc<AtomicBool>, Arc<AtomicBool>)>::default();
        let (begun, go) = (runs.clone(), asked.clone());
        let task = runtime.spawn(async move {
            let caught = catch_cancel(async {
                begun.store(true, SeqCst);
                burn_until("asked", || go.load(SeqCst));
                pending::<()>().await;
            });
            caught.await.unwrap_err()
        });
        until("it runs", || runs.load(SeqCst));
        let other = task.as_ref();
        // While the first has been told to the task, but not yet to this.
        let (_promise, second) = deferred::<()>(Meddles(Box::new(move || {
            assert!(other.cancel("other"));
            asked.store(true, SeqCst);
            until("it has ended", || other.is_done());
        })));
        let targets = vec![task.target(), second.target()];
        assert_eq!(request_all(targets, Some("first")), 1);
        let error = runtime.block_on(task).unwrap().unwrap_err();
        assert_eq!(error.cancel_message(), Some("first"));
    });
}

/// A handle that stands for others, and takes back what it did when none of them accepts.
struct StandsFor {
    others: Vec<Target>,
    withdrawn: Arc<AtomicUsize>,
}

impl OnCancel for StandsFor {
    fn request(&self, _: Option<&Arc<str>>, _: &mut Later) -> Option<Answer> {
        Some(Answer::Each(self.others.clone()))
    }

    fn withdraw(&self) -> bool {
        self.withdrawn.fetch_add(1, SeqCst);
        false
    }
}

#[test]
fn a_handle_that_stands_for_others_accepts_if_one_of_them_does() {
    limited(|| {
        let runtime = seated();
        let ended = runtime.run(async {
            let withdrawn = Arc::new(AtomicUsize::new(0));
            let stands_for = |others| {
                let withdrawn = withdrawn.clone();
                deferred::<()>(StandsFor { others, withdrawn })
            };
            let (gone, ended) = promise::<()>();
            gone.set(()).unwrap();
            let (_open, waiting) = promise::<()>();
            let mixed = vec![ended.target(), waiting.target(), ended.target()];
            let (_promise, handle) = stands_for(mixed);
            assert!(handle.cancel("one accepts"));
            assert!(waiting.is_cancelled());
            assert_eq!(withdrawn.load(SeqCst), 0);

            let (_promise, handle) = stands_for(vec![ended.target(), waiting.target()]);
            assert!(!handle.cancel("all have ended"));
            assert_eq!(withdrawn.load(SeqCst), 1);
            // So who awaits it meets the request itself.
            let task = heist::spawn(async move { catch_cancel(handle).await.unwrap_err() });
            yield_now().await;
            assert!(task.cancel("met"));
            let cancelled = task.await.unwrap();
            assert_eq!(withdrawn.load(SeqCst), 2);
            cancelled.message().map(str::to_owned)
        });
        assert_eq!(ended.unwrap().as_deref(), Some("met"));
    });
}

/// Counts who asks, and accepts.
struct Bottom(Arc<AtomicUsize>);

impl OnCancel for Bottom {
    fn request(&self, _: Option<&Arc<str>>, _: &mut Later) -> Option<Answer> {
        self.0.fetch_add(1, SeqCst);
        Some(Answer::Accepted)
    }
}

/// Each layer stands for the one below twice: as many ways to the bottom as two to the power of the layers.
#[test]
fn many_ways_to_the_same_handle_take_no_longer_than_few() {
    limited(|| {
        for (layers, least, most) in [(3, 8, 8), (10, 1 << 10, 1 << 10), (40, 1, 1 << 10)] {
            let (asked, withdrawn) = <(Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
            let mut handles = vec![deferred::<()>(Bottom(asked.clone()))];
            for layer in 0..layers {
                let below = handles[layer].1.target();
                let (others, withdrawn) = (vec![below.clone(), below], withdrawn.clone());
                handles.push(deferred(StandsFor { others, withdrawn }));
            }
            assert!(handles[layers].1.cancel("from the top"));
            let asked = asked.load(SeqCst);
            assert!((least..=most).contains(&asked), "{layers}: {asked}");
            assert_eq!(withdrawn.load(SeqCst), 0);
        }
    });
}

#[test]
fn a_request_of_a_running_task_that_is_withdrawn_before_all_were_asked_leaves_nothing_behind() {
    limited(|| {
        let runtime = threaded(1);
        let (runs, asked) = <(Arc<AtomicBool>, Arc<AtomicBool>)>::default();
        let (begun, go) = (runs.clone(), asked.clone());
        let task = runtime.spawn(async move {
            begun.store(true, SeqCst);
            burn_until("asked", || go.load(SeqCst));
            "its value"
        });
        until("it runs", || runs.load(SeqCst));
        let target = task.as_ref();
        let (_promise, second) = deferred::<()>(Meddles(Box::new(move || {
            assert_eq!(target.uncancel(), 0);
        })));
        let targets = vec![task.target(), second.target()];
        assert_eq!(request_all(targets, Some("taken back")), 1);
        asked.store(true, SeqCst);
        assert_eq!(runtime.block_on(task).unwrap().unwrap(), "its value");
    });
}

/// A region that was polled in the task, and is dropped elsewhere while the request is on its way to it.
#[test]
fn what_was_meant_for_a_region_that_is_gone_goes_to_the_task() {
    type Slot = Arc<Mutex<Option<Pin<Box<dyn Future<Output = ()> + Send>>>>>;
    limited(|| {
        let runtime = seated();
        let slot = Slot::default();
        let ended = runtime.run(async move {
            let empties = slot.clone();
            let (_promise, handle) = deferred::<()>(Meddles(Box::new(move || {
                drop(empties.lock().take());
            })));
            let region = async move {
                let _ = catch_cancel(handle).await;
            };
            *slot.lock() = Some(Box::pin(region));
            let polled = slot.clone();
            let task = heist::spawn(poll_fn(move |cx| {
                if let Some(region) = polled.lock().as_mut() {
                    assert!(region.as_mut().poll(cx).is_pending());
                }
                Poll::<()>::Pending
            }));
            yield_now().await;
            assert!(task.cancel("goes on"));
            assert!(slot.lock().is_none());
            task.await
        });
        let error = ended.unwrap().unwrap_err();
        assert_eq!(error.cancel_message(), Some("goes on"));
    });
}

/// Polls a deadline by hand.
struct PollsAtItsEnd(Arc<AtomicBool>);

impl Drop for PollsAtItsEnd {
    fn drop(&mut self) {
        let mut cx = Context::from_waker(Waker::noop());
        let deadline = pin!(heist::timeout(Duration::from_secs(60), pending::<()>()));
        assert!(deadline.poll(&mut cx).is_pending());
        self.0.store(true, SeqCst);
    }
}

/// A request without a message to a task of which nothing is known yet is counted in its state word.
#[test]
fn a_plain_request_counts_with_all_others_and_is_withdrawn_as_they_are() {
    limited(|| {
        let runtime = seated();
        let polled = Arc::new(AtomicBool::new(false));
        let at_end = PollsAtItsEnd(polled.clone());
        runtime
            .run(async move {
                let alone = heist::spawn(pending::<()>());
                let with_others = heist::spawn(async move {
                    let _at_end = at_end;
                    pending::<()>().await;
                });
                yield_now().await;
                assert!(alone.cancel(None));
                assert_eq!((alone.cancelling(), alone.uncancel()), (1, 0));
                assert_eq!((alone.cancelling(), alone.uncancel()), (0, 0));
                assert!(with_others.cancel(None));
                for count in 2..=3 {
                    assert!(with_others.cancel("as well"));
                    assert_eq!(with_others.cancelling(), count);
                }
                for left in [2, 1] {
                    assert_eq!(with_others.uncancel(), left);
                    assert_eq!(with_others.cancelling(), left);
                }
                // It was handed down at once: neither is taken back.
                assert!(alone.await.unwrap_err().is_cancelled());
                assert!(with_others.await.unwrap_err().is_cancelled());
            })
            .unwrap();
        assert!(polled.load(SeqCst));
    });
}

/// Each layer awaits the one below twice, with nothing between the tasks.
#[test]
fn many_ways_through_tasks_alone_take_no_longer_than_few() {
    limited(|| {
        for (layers, least, most) in [(3, 8, 8), (6, 64, 64), (40, 64, 128)] {
            let asked = Arc::new(AtomicUsize::new(0));
            let bottom = deferred::<()>(Bottom(asked.clone()));
            let asked = seated().run(async move {
                let (_promise, bottom) = bottom;
                let mut below = heist::spawn(async move { bottom.await.unwrap() }).shared();
                for _ in 0..layers {
                    let mut ways = [below.clone(), below];
                    let both = poll_fn(move |cx| {
                        for way in &mut ways {
                            assert!(Pin::new(way).poll(cx).is_pending());
                        }
                        Poll::<()>::Pending
                    });
                    yield_now().await;
                    below = heist::spawn(both).shared();
                }
                for _ in 0..100 {
                    yield_now().await;
                }
                assert!(below.cancel("from the top"));
                asked.load(SeqCst)
            });
            let asked = asked.unwrap();
            assert!((least..=most).contains(&asked), "{layers}: {asked}");
        }
    });
}
