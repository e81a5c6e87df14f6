//! Time limits: round a part of a body, movable ones, nested ones, round somebody else's task; and what a limit does to what it encloses.
//!
//! In Python:
//!
//! ```python
//! try:
//!     async with asyncio.timeout(0.02):
//!         await work()
//! except TimeoutError:
//!     ...
//!
//! async with asyncio.timeout(0.02) as limit:
//!     await progress()
//!     limit.reschedule(loop.time() + 60)
//!     await more()
//!
//! await asyncio.wait_for(task, 0.02)             # cancels the task
//! await asyncio.wait_for(asyncio.shield(task), 0.02)   # lets it run on
//! ```
//!
//! ```sh
//! cargo run --example timeouts
//! ```
#![allow(clippy::print_stdout)]

use heist::time::now;
use heist::{
    Deadline, Elapsed, TaskError, catch_cancel, shield, sleep, spawn, spawn_blocking, timeout,
    wait_for,
};
use std::error::Error;
use std::future::pending;
use std::thread;
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_millis(20);
/// Longer than this program runs.
const HOUR: Duration = Duration::from_secs(3600);

#[heist::main]
async fn main() -> Result<(), Box<dyn Error>> {
    in_time_and_too_late().await;
    it_cleans_up().await;
    it_has_the_last_word().await;
    the_inner_one_and_the_outer().await;
    with_progress().await?;
    somebody_elses_task().await?;
    a_closure_that_blocks().await
}

async fn in_time_and_too_late() {
    println!("in time: {:?}", timeout(HOUR, async { 42 }).await);
    println!("too late: {:?}", timeout(SOON, pending::<()>()).await);
}

/// A limit asks what it encloses to end, as `cancel` does, and waits for its cleanup. Only then it is `Elapsed`.
async fn it_cleans_up() {
    let limited = timeout(SOON, async {
        if let Err(cancelled) = catch_cancel(pending::<()>()).await {
            sleep(Duration::from_millis(10)).await;
            println!("it has cleaned up");
            cancelled.propagate().await
        }
    });
    assert!(limited.await.is_err());
}

/// If it gives a value nevertheless, that is the answer.
async fn it_has_the_last_word() {
    let limited = timeout(SOON, async {
        let whole = catch_cancel(pending::<&str>()).await;
        whole.unwrap_or("what there was by then")
    });
    println!("the last word: {:?}", limited.await);
}

/// Which of two limits struck is never in doubt: the inner answer is not `Elapsed` if the outer one struck.
async fn the_inner_one_and_the_outer() {
    let inner = timeout(SOON, timeout(HOUR, pending::<()>())).await;
    assert!(inner.is_err());
    let outer = timeout(HOUR, timeout(SOON, pending::<()>())).await;
    assert!(matches!(outer, Ok(Err(_))));
    println!("the outer limit struck: {inner:?}; the inner one: {outer:?}");
}

/// A limit that is moved on as long as there is progress, by whoever holds a clone of it.
async fn with_progress() -> Result<(), Box<dyn Error>> {
    let limit = Deadline::after(HOUR);
    let moved = limit.clone();
    let download = limit.enclose(async move {
        for part in 1..=3 {
            moved.reschedule(now() + HOUR)?;
            sleep(Duration::from_millis(2)).await;
            println!("part {part}");
        }
        moved.reschedule(now() + SOON)?;
        pending::<Result<(), Box<dyn Error>>>().await
    });
    match download.await {
        Err(elapsed) => println!("no progress: {elapsed}"),
        Ok(ended) => ended?,
    }
    assert!(limit.expired());
    Ok(())
}

/// To await a task is to hand one's cancellations on to it: a limit round a handle ends the task. Wait for its `ended()`, or for a shield of
/// it, to leave it alone.
async fn somebody_elses_task() -> Result<(), Box<dyn Error>> {
    let mut task = spawn(pending::<()>());
    let limited: Result<(), Elapsed> = timeout(SOON, task.ended()).await;
    println!(
        "ended(): {limited:?}, and the task runs: {}",
        !task.is_done()
    );
    let limited: Result<Result<(), TaskError>, Elapsed> = timeout(SOON, &mut task).await;
    println!(
        "the handle: {limited:?}, and the task was cancelled: {}",
        task.is_cancelled()
    );

    let task = spawn(pending::<()>()).shared();
    let limited = wait_for(shield(task.clone()), SOON).await;
    println!("a shield: {limited:?}, and it runs: {}", !task.is_done());
    let limited = wait_for(task.clone(), SOON).await;
    println!("wait_for: {limited:?}, cancelled: {}", task.is_cancelled());
    Ok(())
}

/// A closure cannot be interrupted: a limit round its handle waits for it. A shield lets it go.
async fn a_closure_that_blocks() -> Result<(), Box<dyn Error>> {
    let nap = || {
        spawn_blocking(|| {
            thread::sleep(Duration::from_millis(100));
            "slept"
        })
    };
    let began = Instant::now();
    let limited = timeout(SOON, nap()).await;
    let whole = began.elapsed();
    let began = Instant::now();
    let let_go = timeout(SOON, shield(nap())).await;
    let short = began.elapsed();
    println!("a closure under a limit: {limited:?} after {whole:.0?}");
    println!("one that is let go of: {let_go:?} after {short:.0?}");
    Ok(())
}
