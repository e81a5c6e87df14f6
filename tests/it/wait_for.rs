//! `wait_for`: one handle, for so long; and `ensure_future`.

use crate::combining::{ms, on_each, settled, stubborn};
use crate::support::Gate;
use heist::task::promise;
use heist::{
    catch_cancel, current_task, ensure_future, sleep, spawn, try_spawn, try_wait_for_body,
    wait_for, wait_for_body,
};
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

#[test]
fn without_a_time_it_is_the_await() {
    on_each(|| async {
        assert_eq!(
            wait_for(spawn(async { 1 }), None).await.unwrap().unwrap(),
            1
        );
        let inner = spawn(pending::<()>()).shared();
        let same = inner.clone();
        let outer = spawn(async move { wait_for(same, None).await });
        settled().await;
        outer.cancel("forwarded");
        assert_eq!(outer.await.unwrap_err().cancel_message(), Some("forwarded"));
        assert_eq!(inner.await.unwrap_err().cancel_message(), Some("forwarded"));
    });
}

#[test]
fn with_zero_what_has_ended_gives_its_outcome_without_suspending() {
    on_each(|| async {
        let (promise, done) = promise();
        promise.set(1).unwrap();
        let passed = spawn(async {
            current_task().unwrap().cancel("kept");
            let value = wait_for(done, Duration::ZERO).await.unwrap().unwrap();
            current_task().unwrap().uncancel();
            value
        });
        assert_eq!(passed.await.unwrap(), 1);
    });
}

#[test]
fn with_zero_anything_else_is_cancelled_and_waited_for() {
    on_each(|| async {
        let stuck = spawn(pending::<()>()).shared();
        assert!(wait_for(stuck.clone(), Duration::ZERO).await.is_err());
        assert!(stuck.is_cancelled());
        let (gate, requests) = (Gate::default(), Arc::new(AtomicUsize::new(0)));
        let task = spawn(stubborn(gate.clone(), requests));
        settled().await;
        spawn(async move {
            sleep(ms(20)).await;
            gate.open();
        });
        let ended = wait_for(task, Duration::ZERO).await;
        assert_eq!(ended.unwrap().unwrap(), "suppressed");
    });
}

#[test]
fn when_the_time_is_up_a_value_or_an_error_passes_and_a_cancellation_is_elapsed() {
    on_each(|| async {
        let began = heist::time::now();
        let cleaned = Arc::new(AtomicBool::new(false));
        let seen = cleaned.clone();
        let task = spawn(async move {
            let cancelled = catch_cancel(pending::<()>()).await.unwrap_err();
            assert_eq!(cancelled.message(), None);
            sleep(ms(30)).await;
            seen.store(true, SeqCst);
            cancelled.propagate().await
        });
        assert!(wait_for(task, ms(10)).await.is_err());
        assert!(cleaned.load(SeqCst));
        assert_eq!((heist::time::now() - began).as_millis(), 40);
        let task = spawn(async { catch_cancel(pending::<()>()).await.map_err(|_| "error") });
        assert_eq!(wait_for(task, ms(10)).await.unwrap().unwrap(), Err("error"));
        let task = spawn(async {
            let _ = catch_cancel(pending::<()>()).await;
            panic!("passes")
        });
        let ended: Result<(), _> = wait_for(task, ms(10)).await.unwrap();
        assert_eq!(ended.unwrap_err().panic_message(), Some("passes"));
        let quick = spawn(async { sleep(ms(5)).await });
        assert!(wait_for(quick, ms(10)).await.unwrap().is_ok());
        let quick = spawn(async { sleep(ms(5)).await });
        assert!(wait_for(quick, Duration::MAX).await.unwrap().is_ok());
        let victim = spawn(pending::<()>());
        victim.cancel("by others");
        let ended = wait_for(victim, ms(10)).await.unwrap().unwrap_err();
        assert_eq!(ended.cancel_message(), Some("by others"));
    });
}

#[test]
fn a_cancelled_caller_cancels_and_waits_and_then_is_cancelled_whatever_came() {
    on_each(|| async {
        let (gate, requests) = (Gate::default(), Arc::new(AtomicUsize::new(0)));
        let inner = spawn(stubborn(gate.clone(), requests.clone())).shared();
        let same = inner.clone();
        let caller = spawn(async move { wait_for(same, ms(1000)).await });
        settled().await;
        caller.cancel("caller");
        settled().await;
        assert!(!caller.is_done() && requests.load(SeqCst) == 1);
        gate.open();
        let error = caller.await.unwrap_err();
        assert_eq!(error.cancel_message(), Some("caller"));
        assert_eq!(inner.result().unwrap(), "suppressed");
        // A second request does not wait.
        let (gate, requests) = (Gate::default(), Arc::new(AtomicUsize::new(0)));
        let inner = spawn(stubborn(gate.clone(), requests)).shared();
        let same = inner.clone();
        let caller = spawn(async move { wait_for(same, ms(1000)).await });
        settled().await;
        caller.cancel("first");
        settled().await;
        caller.cancel("second");
        let error = caller.await.unwrap_err();
        assert_eq!(error.cancel_message(), Some("second"));
        assert!(!inner.is_done());
        gate.open();
    });
}

#[test]
fn a_caller_cancelled_while_it_waits_out_the_time_s_cancel_goes_on_at_once() {
    on_each(|| async {
        for after in [Duration::ZERO, ms(5)] {
            let (gate, requests) = (Gate::default(), Arc::new(AtomicUsize::new(0)));
            let inner = spawn(stubborn(gate.clone(), requests.clone())).shared();
            settled().await;
            let same = inner.clone();
            let caller = spawn(async move { wait_for(same, after).await });
            sleep(ms(10)).await;
            assert_eq!(requests.load(SeqCst), 1);
            caller.cancel("now");
            assert_eq!(caller.await.unwrap_err().cancel_message(), Some("now"));
            assert!(!inner.is_done());
            assert_eq!(requests.load(SeqCst), 1, "and is not forwarded");
            gate.open();
        }
    });
}

#[test]
fn a_request_is_not_lost_when_the_handle_has_ended() {
    on_each(|| async {
        // It suspends once, though the handle has ended: the request of before meets it there.
        let caller = spawn(async {
            let (promise, done) = promise();
            promise.set(1).unwrap();
            current_task().unwrap().cancel("mine");
            wait_for(done, ms(10)).await
        });
        assert_eq!(caller.await.unwrap_err().cancel_message(), Some("mine"));
        let caller = spawn(async {
            let (promise, done) = promise::<()>();
            promise.cancel("its");
            current_task().unwrap().cancel("mine");
            wait_for(done, ms(10)).await
        });
        assert_eq!(caller.await.unwrap_err().cancel_message(), Some("its"));
    });
}

#[test]
fn with_zero_no_line_of_a_body_runs() {
    on_each(|| async {
        let ran = Arc::new(AtomicBool::new(false));
        for _ in 0..200 {
            let seen = ran.clone();
            let body = async move { seen.store(true, SeqCst) };
            assert!(wait_for_body(body, Duration::ZERO).await.is_err());
            let seen = ran.clone();
            let body = async move {
                seen.store(true, SeqCst);
                Err::<(), _>("no")
            };
            assert!(try_wait_for_body(body, Duration::ZERO).await.is_err());
        }
        assert!(!ran.load(SeqCst));
    });
}

#[test]
fn a_body_is_a_task_of_its_own_or_runs_right_here() {
    on_each(|| async {
        let here = current_task().unwrap().id();
        let id = async { current_task().unwrap().id() };
        assert_eq!(wait_for_body(id, None).await.unwrap().unwrap(), here);
        let id = async { current_task().unwrap().id() };
        assert_ne!(wait_for_body(id, ms(5)).await.unwrap().unwrap(), here);
        assert!(wait_for_body(pending::<()>(), ms(5)).await.is_err());
        // An error stands against the time's request, a plain value gives way.
        let late = || async {
            std::future::poll_fn(|_| std::task::Poll::Ready(())).await;
            current_task().unwrap().cancel(None);
            Err::<(), _>("stands")
        };
        let ended = try_wait_for_body(late(), ms(5)).await.unwrap();
        assert_eq!(ended.unwrap(), Err("stands"));
        let ended = wait_for_body(late(), ms(5)).await.unwrap();
        assert!(ended.unwrap_err().is_cancelled());
    });
}

#[test]
fn callers_race_ends_and_none_hangs() {
    on_each(|| async {
        for round in 0..300 {
            let gate = Gate::default();
            let inner = try_spawn({
                let passed = gate.passed();
                async move {
                    passed.await;
                    Ok::<_, ()>(1)
                }
            });
            let caller = spawn(wait_for(inner, ms(1)));
            if round % 2 == 0 {
                heist::task::yield_now().await;
            }
            let opener = spawn(async move { gate.open() });
            let accepted = caller.cancel("race");
            match caller.await {
                Ok(_) => assert!(!accepted),
                Err(error) => assert!(accepted && error.is_cancelled()),
            }
            opener.await.unwrap();
        }
    });
}

#[test]
fn ensure_future_gives_handles_themselves_and_closures_as_tasks() {
    on_each(|| async {
        let task = ensure_future(|| async { 1 });
        let id = task.id();
        let task = ensure_future(task);
        assert_eq!(task.id(), id);
        assert_eq!(task.spawned_at().file(), file!());
        let shared = ensure_future(task.shared());
        assert!(shared.ptr_eq(&ensure_future(shared.clone())));
        let (promise, deferred) = promise();
        promise.set(2).unwrap();
        assert_eq!(ensure_future(deferred).await.unwrap(), 2);
        assert_eq!(shared.await.unwrap(), 1);
    });
}
