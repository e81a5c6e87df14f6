//! `shield`: a handle of another's end that is cancelled alone.

use crate::combining::{Touchy, ms, on_each, settled, stubborn};
use crate::support::{Gate, limited};
use heist::task::{Deferred, promise};
use heist::{gather, shield, sleep, spawn};
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

#[test]
fn it_mirrors_values_and_errors() {
    on_each(|| async {
        let value = spawn(async {
            sleep(ms(5)).await;
            1
        });
        assert_eq!(shield(value).await.unwrap(), 1);
        let panics = spawn(async {
            sleep(ms(5)).await;
            panic!("mirrored")
        });
        let error = shield::<heist::Task<()>>(panics).await.unwrap_err();
        assert_eq!(error.panic_message(), Some("mirrored"));
    });
}

#[test]
fn cancelled_it_ends_at_once_and_the_inner_one_goes_on() {
    on_each(|| async {
        let (gate, requests) = (Gate::default(), Arc::new(AtomicUsize::new(0)));
        let inner = spawn(stubborn(gate.clone(), requests.clone())).shared();
        let shielded = shield(inner.clone());
        settled().await;
        assert!(shielded.cancel("only this"));
        assert!(shielded.is_done() && shielded.is_cancelled());
        assert!(!shielded.cancel(None));
        let error = shielded.await.unwrap_err();
        assert_eq!(error.cancel_message(), Some("only this"));
        let same = inner.clone();
        let waiter = spawn(async move { shield(same).await });
        settled().await;
        waiter.cancel("waiter");
        let error = waiter.await.unwrap_err();
        assert_eq!(error.cancel_message(), Some("waiter"));
        settled().await;
        assert_eq!(requests.load(SeqCst), 0);
        gate.open();
        assert_eq!(inner.await.unwrap(), "suppressed");
    });
}

#[test]
fn of_one_that_has_ended_it_has_ended_with_the_same_outcome() {
    on_each(|| async {
        let (set, done) = promise();
        set.set(1).unwrap();
        let shielded = shield(done);
        assert!(shielded.is_done());
        assert_eq!(shielded.await.unwrap(), 1);
        let (set, done) = promise::<()>();
        set.cancel("kept");
        let shielded = shield(done);
        assert!(shielded.is_cancelled());
        assert_eq!(shielded.await.unwrap_err().cancel_message(), Some("kept"));
    });
}

#[test]
fn it_is_cancelled_without_message_when_the_inner_one_is() {
    on_each(|| async {
        let inner = spawn(pending::<()>()).shared();
        let mut shielded = shield(inner.clone());
        inner.cancel("lost");
        let error = (&mut shielded).await.unwrap_err();
        assert_eq!(error.cancel_message(), None);
        assert!(error.is_cancelled() && shielded.is_cancelled());
        // A gather that ends with a cancellation is not cancelled, and so is not its shield.
        let child = spawn(pending::<()>()).shared();
        let mut shielded = shield(gather([child.clone()]).start());
        child.cancel("kept");
        let error = (&mut shielded).await.unwrap_err();
        assert_eq!(error.cancel_message(), Some("kept"));
        assert!(!shielded.is_cancelled());
    });
}

#[test]
fn a_task_whose_shield_was_cancelled_runs_on_without_a_handle() {
    on_each(|| async {
        let done = Arc::new(AtomicBool::new(false));
        let seen = done.clone();
        let shielded = shield(spawn(async move {
            sleep(ms(5)).await;
            seen.store(true, SeqCst);
            Touchy
        }));
        settled().await;
        shielded.cancel(None);
        sleep(ms(10)).await;
        assert!(done.load(SeqCst));
    });
}

#[test]
fn a_panicking_clone_is_its_error() {
    on_each(|| async {
        let (set, touchy) = promise();
        let shielded = shield(touchy.shared());
        assert!(set.set(Touchy).is_ok());
        let error = shielded.await.unwrap_err();
        assert_eq!(error.panic_message(), Some("touched"));
    });
}

#[test]
fn a_chain_of_shields_ends_without_recursion() {
    limited(|| {
        for sets in [true, false] {
            let (promise, mut last): (_, Deferred<u8>) = promise();
            for _ in 0..200_000 {
                last = shield(last);
            }
            if sets {
                promise.set(1).unwrap();
                assert_eq!(heist::run(last).unwrap().unwrap(), 1);
            } else {
                drop(promise);
                assert!(last.is_cancelled());
            }
        }
        // Let go of from the outer end.
        let (promise, mut last): (_, Deferred<u8>) = promise();
        for _ in 0..200_000 {
            last = shield(last);
        }
        last.cancel(None);
        drop(last);
        drop(promise);
    });
}

#[test]
fn cancels_race_ends_from_foreign_threads() {
    limited(|| {
        for _ in 0..500 {
            let (promise, inner) = promise();
            let shielded = shield(inner);
            let thread = std::thread::spawn(move || promise.set(1).unwrap());
            let accepted = shielded.cancel("race");
            thread.join().unwrap();
            assert!(shielded.is_done());
            assert_eq!(shielded.is_cancelled(), accepted);
            match heist::run(shielded).unwrap() {
                Ok(value) => assert!(!accepted && value == 1),
                Err(error) => assert!(accepted && error.is_cancelled()),
            }
        }
    });
}
