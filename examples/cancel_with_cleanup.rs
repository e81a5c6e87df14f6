//! A cancellation that can be caught: clean up with awaits, then let it go on; or refuse it; or do not see it at all.
//!
//! In Python:
//!
//! ```python
//! async def transfer(log):
//!     try:
//!         await work()
//!     except asyncio.CancelledError as cancelled:
//!         await log.put(f"rolled back: {cancelled}")
//!         raise
//!
//! async def stubborn():
//!     try:
//!         await asyncio.sleep(3600)
//!     except asyncio.CancelledError:
//!         asyncio.current_task().uncancel()
//!     return "I stay"
//!
//! task = asyncio.create_task(transfer(log))
//! ...
//! task.cancel("the user left")
//! ```
//!
//! ```sh
//! cargo run --example cancel_with_cleanup
//! ```
#![allow(clippy::print_stdout)]

use heist::sync::{Event, Queue};
use heist::{Cancelled, TaskError, catch_cancel, current_task, sleep, spawn};
use std::error::Error;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

/// Longer than this program runs.
const HOUR: Duration = Duration::from_secs(3600);

#[heist::main]
async fn main() -> Result<(), Box<dyn Error>> {
    clean_up().await?;
    refuse().await?;
    too_early().await;
    whose_cancellation().await?;
    by_force().await?;
    by_hand().await;
    Ok(())
}

/// What `catch_cancel` encloses is dropped at its await, destructors and all. Then the body goes on, with awaits if it likes.
async fn clean_up() -> Result<(), Box<dyn Error>> {
    let begun = Arc::new(Event::new());
    let log = Arc::new(Queue::new(0));
    let transfer = spawn({
        let (begun, log) = (begun.clone(), log.clone());
        async move {
            let work = async {
                let _guard = Told("a destructor ran first");
                begun.set();
                sleep(HOUR).await;
            };
            if let Err(cancelled) = catch_cancel(work).await {
                sleep(Duration::from_millis(10)).await; // whatever it takes
                let line = format!("rolled back: {cancelled}");
                let _ = log.put(line).await;
                cancelled.propagate().await // asyncio's `raise`
            }
        }
    });
    begun.wait().await;
    assert!(transfer.cancel("the user left"));
    let error = transfer.await.expect_err("it went on unwinding");
    println!("{}; {error}", log.get().await?);
    assert_eq!(error.cancel_message(), Some("the user left"));
    Ok(())
}

/// Not to propagate is to refuse. `uncancel` says so to whoever counts.
async fn refuse() -> Result<(), TaskError> {
    let begun = Arc::new(Event::new());
    let stubborn = spawn({
        let begun = begun.clone();
        async move {
            let work = async {
                begun.set();
                sleep(HOUR).await;
            };
            let refused = catch_cancel(work).await.is_err();
            let requests = current_task().map(|task| task.uncancel());
            assert!(refused && requests == Some(0));
            "I stay"
        }
    });
    begun.wait().await;
    stubborn.cancel("go");
    println!("asked to go: {}", stubborn.await?);
    Ok(())
}

/// A task that no worker has begun never begins: no line of it runs, and what it owns is dropped. One that runs meets the request at its next
/// await. On many workers it may be either.
async fn too_early() {
    let guard = Told("what it owned was dropped");
    let task = spawn(async move {
        let _guard = guard;
        pending::<()>().await;
    });
    task.cancel("changed my mind");
    println!("{}", task.await.expect_err("it was cancelled"));
}

/// `Err` from an awaited task says that somebody cancelled *that* one. One's own cancellation is never an error: it unwinds.
async fn whose_cancellation() -> Result<(), TaskError> {
    let child = spawn(pending::<()>());
    child.cancel("somebody did");
    let parent = spawn(async move {
        match child.await {
            Err(error) if error.is_cancelled() => "the child was cancelled, I was not",
            _ => "something else",
        }
    });
    println!("seen by the parent: {}", parent.await?);
    Ok(())
}

/// `cancel` asks and may be refused for ever. `abort` does not ask.
async fn by_force() -> Result<(), TaskError> {
    let (begun, asked) = (Arc::new(Event::new()), Arc::new(Event::new()));
    let deaf = spawn({
        let (begun, asked) = (begun.clone(), asked.clone());
        async move {
            let _guard = Told("even so, destructors run");
            loop {
                begun.set();
                if catch_cancel(pending::<()>()).await.is_err() {
                    asked.set();
                }
            }
        }
    });
    begun.wait().await;
    deaf.cancel("please");
    asked.wait().await;
    assert!(!deaf.is_done());
    deaf.abort("now");
    println!("{}", deaf.await.expect_err("it was aborted"));
    Ok(())
}

/// A body may end itself, or a part of itself, as if it had been cancelled. asyncio's `raise CancelledError("...")`.
async fn by_hand() {
    let ended: Result<(), Cancelled> = catch_cancel(async {
        Cancelled::new("nothing to do").propagate().await;
    })
    .await;
    println!("by hand: {}", ended.expect_err("it was propagated"));
}

struct Told(&'static str);

impl Drop for Told {
    fn drop(&mut self) {
        println!("{}", self.0);
    }
}
