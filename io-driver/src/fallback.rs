//! The process-wide driver for threads that have entered none, turned by a thread of its own.
//!
//! Started at the first need; runs until the process ends, asleep while nobody waits.

use std::io;
use std::time::Duration;

use parking_lot::Mutex;

use crate::batch::WakeBatch;
use crate::driver::{Config, Driver};
use crate::handle::Handle;

/// How many shards at most: enough that a few dozen threads rarely meet at one lock.
const MAX_SHARDS: usize = 8;
/// How long the thread pauses after the poller failed, so as not to spin should it fail for good.
const FAILURE_PAUSE: Duration = Duration::from_millis(10);

static FALLBACK: Mutex<Option<Handle>> = Mutex::new(None);

/// The fallback driver's handle. Starts it if need be; a start that failed is tried again by the
/// next caller.
pub(crate) fn handle() -> io::Result<Handle> {
    let mut fallback = FALLBACK.lock();
    // That of a parent process has no thread here.
    if let Some(handle) = &*fallback
        && !handle.is_forked()
    {
        return Ok(handle.clone());
    }
    let handle = start()?;
    *fallback = Some(handle.clone());
    Ok(handle)
}

fn start() -> io::Result<Handle> {
    let driver = Driver::new(Config {
        shards: std::thread::available_parallelism().map_or(1, |n| n.get().min(MAX_SHARDS)),
        ..Config::default()
    })?;
    let handle = driver.handle().clone();
    std::thread::Builder::new()
        .name("heist-fallback".to_owned())
        .spawn(move || run(driver))?;
    Ok(handle)
}

fn run(mut driver: Driver) {
    let mut batch = WakeBatch::new();
    loop {
        if let Err(error) = driver.turn(None, false, &mut batch) {
            tracing::error!(%error, "the fallback driver's poller failed");
            std::thread::sleep(FAILURE_PAUSE);
        }
        batch.wake_all();
    }
}
