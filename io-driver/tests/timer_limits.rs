//! Timers of threads that have no driver, in a process that is out of descriptors, so that none can be made for them either.
//!
//! One test in a binary of its own, because it lowers the limit of the whole process, in which no driver may have been made before.
#![cfg(unix)]

#[path = "support/limit.rs"]
mod limit;

use futures_lite::future::block_on;
use heist_io_driver::time::{Sleep, sleep};
use limit::Limit;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fs::File;
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

const NAP: Duration = Duration::from_millis(30);

/// Longer than the test takes, unless a timer is lost.
const HOUR: Duration = Duration::from_secs(3_600);

fn is_pending(sleep: Pin<&mut Sleep>) -> bool {
    let mut context = Context::from_waker(Waker::noop());
    sleep.poll(&mut context).is_pending()
}

#[test]
fn timers_without_a_driver_are_neither_lost_nor_early() {
    let _limit = Limit::new();
    let before = getrlimit(Resource::Nofile);
    let lowered = Rlimit {
        current: Some(64),
        maximum: before.maximum,
    };
    setrlimit(Resource::Nofile, lowered).unwrap();
    let files: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();

    let began = Instant::now();
    block_on(sleep(NAP));
    assert!(began.elapsed() >= NAP, "early: {:?}", began.elapsed());
    let mut later = pin!(sleep(HOUR));
    assert!(is_pending(later.as_mut()));
    assert!(!later.is_elapsed());

    // With descriptors again it is one like any other.
    drop(files);
    setrlimit(Resource::Nofile, before).unwrap();
    assert!(is_pending(later.as_mut()));
    let began = Instant::now();
    later.as_mut().reset(heist_io_driver::time::now() + NAP);
    block_on(later.as_mut());
    assert!(began.elapsed() >= NAP, "early: {:?}", began.elapsed());
    assert!(later.is_elapsed());
}
