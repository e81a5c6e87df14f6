//! Signals to this process. A program of its own; each test has signals of its own, since whoever listens hears all.
#![cfg(target_os = "linux")]
#![allow(unsafe_code)]

#[path = "support/limit.rs"]
mod limit;
#[path = "support/net.rs"]
mod net;

use heist_io_driver::signal::{self, SignalKind, Signals};
use heist_io_driver::{Config, Handle};
use net::Rig;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll, Waker};

fn rig() -> Rig {
    Rig::new(Config::default())
}

/// To this thread: its handler has returned when this does.
fn raise(kind: SignalKind) {
    // SAFETY: a call without memory; whoever listens, or the test's own handler, takes it.
    assert_eq!(unsafe { libc::raise(kind.as_raw()) }, 0);
}

/// The handler that is installed now.
fn handler(kind: SignalKind) -> libc::sighandler_t {
    let mut now = std::mem::MaybeUninit::uninit();
    // SAFETY: asks, and changes nothing; filled if it succeeds.
    unsafe {
        assert_eq!(
            libc::sigaction(kind.as_raw(), std::ptr::null(), now.as_mut_ptr()),
            0
        );
        now.assume_init().sa_sigaction
    }
}

fn install(kind: SignalKind, handler: libc::sighandler_t) {
    // SAFETY: to be ignored, or a handler of this file that only counts.
    let before = unsafe { libc::signal(kind.as_raw(), handler) };
    assert_ne!(before, libc::SIG_ERR);
}

/// Nothing has come.
fn is_quiet(signals: &mut Signals) -> bool {
    let mut cx = Context::from_waker(Waker::noop());
    matches!(signals.poll_recv(&mut cx), Poll::Pending)
}

#[test]
fn all_who_listen_hear_it_in_whichever_driver() {
    const KIND: SignalKind = SignalKind::USER_DEFINED1;
    let (one, other) = (rig(), rig());
    let listen = || async { signal::signal(KIND).unwrap() };
    let mut here = one.block_on(listen());
    let mut there = other.block_on(listen());
    let mut also = other.block_on(signal_of_both(KIND));
    for _ in 0..100 {
        raise(KIND);
        assert_eq!(one.block_on(here.recv()).unwrap(), KIND);
        assert_eq!(other.block_on(there.recv()).unwrap(), KIND);
        assert_eq!(other.block_on(also.recv()).unwrap(), KIND);
    }
    // One who has gone is missed by nobody.
    drop(there);
    raise(KIND);
    assert_eq!(one.block_on(here.recv()).unwrap(), KIND);
    assert_eq!(one.block_on(also.recv()).unwrap(), KIND);
    assert!(one.block_on(async { is_quiet(&mut here) }));
}

async fn signal_of_both(kind: SignalKind) -> Signals {
    signal::any([kind, SignalKind::WINDOW_CHANGE]).unwrap()
}

#[test]
fn a_signal_to_the_process_is_heard_whichever_thread_takes_it() {
    const KIND: SignalKind = SignalKind::from_raw(libc::SIGIO);
    let rig = rig();
    rig.block_on(async {
        let mut signals = signal::signal(KIND).unwrap();
        for _ in 0..1000 {
            // SAFETY: a call without memory.
            assert_eq!(unsafe { libc::kill(libc::getpid(), KIND.as_raw()) }, 0);
            assert_eq!(signals.recv().await.unwrap(), KIND);
        }
    });
}

#[test]
fn what_comes_between_two_waits_is_kept_and_counts_once() {
    const LOW: SignalKind = SignalKind::HANGUP;
    const HIGH: SignalKind = SignalKind::USER_DEFINED2;
    let rig = rig();
    rig.block_on(async {
        let mut signals = signal::any([HIGH, LOW]).unwrap();
        for _ in 0..3 {
            raise(HIGH);
        }
        raise(LOW);
        assert_eq!(signals.recv().await.unwrap(), LOW);
        assert_eq!(signals.recv().await.unwrap(), HIGH);
        assert!(is_quiet(&mut signals));
        // A flood of one kind, far more than fits in a socket, hides none of another.
        for _ in 0..10_000 {
            raise(HIGH);
        }
        raise(LOW);
        assert_eq!(signals.recv().await.unwrap(), LOW);
        assert_eq!(signals.recv().await.unwrap(), HIGH);
        assert!(is_quiet(&mut signals));
    });
}

#[test]
fn a_dropped_wait_has_taken_nothing() {
    const KIND: SignalKind = SignalKind::from_raw(libc::SIGURG);
    let rig = rig();
    rig.block_on(async {
        let mut signals = signal::signal(KIND).unwrap();
        for _ in 0..100 {
            assert!(is_quiet(&mut signals));
            raise(KIND);
            drop(signals.recv());
            assert_eq!(signals.recv().await.unwrap(), KIND);
        }
    });
}

#[test]
fn the_default_comes_back_with_the_last_listener_again_and_again() {
    const KIND: SignalKind = SignalKind::ALARM;
    let rig = rig();
    rig.block_on(async {
        for _ in 0..20 {
            assert_eq!(handler(KIND), libc::SIG_DFL);
            let first = signal::signal(KIND).unwrap();
            let mut second = signal::signal(KIND).unwrap();
            assert_ne!(handler(KIND), libc::SIG_DFL);
            drop(first);
            raise(KIND);
            assert_eq!(second.recv().await.unwrap(), KIND);
        }
        assert_eq!(handler(KIND), libc::SIG_DFL);
        // A wait that is dropped listens no more.
        let mut wait = Box::pin(signal::terminate());
        assert!(
            wait.as_mut()
                .poll(&mut Context::from_waker(Waker::noop()))
                .is_pending()
        );
        assert_ne!(handler(SignalKind::TERMINATE), libc::SIG_DFL);
        drop(wait);
        assert_eq!(handler(SignalKind::TERMINATE), libc::SIG_DFL);
    });
}

static COUNTED: AtomicUsize = AtomicUsize::new(0);

extern "C" fn count(_: libc::c_int) {
    COUNTED.fetch_add(1, SeqCst);
}

#[test]
fn who_was_there_before_hears_it_too_and_is_there_after() {
    const KIND: SignalKind = SignalKind::CHILD;
    const IGNORED: SignalKind = SignalKind::PIPE;
    let counts = count as extern "C" fn(libc::c_int) as libc::sighandler_t;
    install(KIND, counts);
    install(IGNORED, libc::SIG_IGN);
    let rig = rig();
    rig.block_on(async {
        let mut signals = signal::any([KIND, IGNORED]).unwrap();
        raise(KIND);
        assert_eq!(signals.recv().await.unwrap(), KIND);
        assert_eq!(COUNTED.load(SeqCst), 1);
        raise(IGNORED);
        assert_eq!(signals.recv().await.unwrap(), IGNORED);
        drop(signals);
        assert_eq!((handler(KIND), handler(IGNORED)), (counts, libc::SIG_IGN));
        raise(KIND);
        assert_eq!(COUNTED.load(SeqCst), 2);
        // Somebody who installs a handler while we listen keeps it.
        let signals = signal::signal(KIND).unwrap();
        install(KIND, libc::SIG_IGN);
        drop(signals);
        assert_eq!(handler(KIND), libc::SIG_IGN);
    });
}

#[test]
fn what_nobody_can_listen_for_is_an_error_and_leaves_nothing() {
    let rig = rig();
    rig.block_on(async {
        for number in [
            -1,
            0,
            libc::SIGKILL,
            libc::SIGSTOP,
            libc::SIGSEGV,
            33,
            65,
            1000,
        ] {
            let kind = SignalKind::from_raw(number);
            let error = signal::any([SignalKind::QUIT, kind]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{number}: {error}");
            assert_eq!(handler(SignalKind::QUIT), libc::SIG_DFL);
        }
    });
}

#[test]
fn a_driver_that_has_gone_ends_the_wait_and_what_had_come_is_told() {
    const KIND: SignalKind = SignalKind::from_raw(libc::SIGCONT);
    let mut rig = rig();
    let mut signals = rig.block_on(async { signal::signal(KIND).unwrap() });
    let waiting = rig.spawn(async move {
        let ended = signals.recv().await;
        raise(KIND);
        (ended, signals.recv().await, signals.recv().await)
    });
    rig.stop();
    let (ended, told, ended_again) = waiting.join().unwrap();
    assert!(ended.is_err() && ended_again.is_err());
    assert_eq!(told.unwrap(), KIND);
    // No test may leave another in a driver.
    assert!(Handle::try_current().is_none());
}
