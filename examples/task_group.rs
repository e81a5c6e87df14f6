//! Tasks that belong to a block: it ends when all of them have, one failure ends the others, and no task is left behind.
//!
//! In Python:
//!
//! ```python
//! async with asyncio.TaskGroup() as group:
//!     one = group.create_task(fetch("one"))
//!     two = group.create_task(fetch("two"))
//! print(one.result(), two.result())
//!
//! try:
//!     async with asyncio.TaskGroup() as group:
//!         group.create_task(serve())
//!         group.create_task(fail())
//! except* ValueError as group:
//!     print(group.exceptions)
//! ```
//!
//! ```sh
//! cargo run --example task_group
//! ```
#![allow(clippy::print_stdout)]

use heist::sync::Event;
use heist::{GroupClosed, TaskGroup, catch_cancel, current_task, sleep, timeout};
use std::error::Error;
use std::fmt;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

#[heist::main]
async fn main() -> Result<(), Box<dyn Error>> {
    all_is_well().await?;
    one_fails().await?;
    all_are_heard().await;
    not_too_many_at_once().await?;
    within_a_timeout().await;
    called_off().await;
    Ok(())
}

/// `run` gives the body's value when every child has ended, those that nobody awaits included. In `try_run` the body may fail as a child may.
async fn all_is_well() -> Result<(), Box<dyn Error>> {
    let ended = Arc::new(AtomicUsize::new(0));
    let count = ended.clone();
    let sum = TaskGroup::try_run(|group| async move {
        for n in 0..10 {
            let count = count.clone();
            group.spawn(async move {
                sleep(Duration::from_millis(n)).await;
                count.fetch_add(1, Ordering::Relaxed);
            })?;
        }
        let one = group.spawn(async { 1 })?;
        let two = group.spawn(async { 2 })?;
        Ok::<_, Box<dyn Error + Send + Sync>>(one.await? + two.await?)
    });
    let sum = sum.await?;
    println!(
        "the body gave {sum}, and {} more children ended before the block did",
        ended.load(Ordering::Relaxed)
    );
    Ok(())
}

/// The `Err` of a `try_spawn`, or a panic, ends the siblings and the body; they clean up, and only then the block ends.
async fn one_fails() -> Result<(), Box<dyn Error>> {
    let begun = Arc::new(Event::new());
    let ended = TaskGroup::try_run(|group| async move {
        let serves = begun.clone();
        group.spawn(async move {
            let work = async {
                serves.set();
                pending::<()>().await;
            };
            if let Err(cancelled) = catch_cancel(work).await {
                sleep(Duration::from_millis(10)).await;
                println!("the server has said goodbye");
                cancelled.propagate().await
            }
        })?;
        group.try_spawn(async move {
            begun.wait().await;
            Err::<(), _>(OutOfCheese)
        })?;
        sleep(Duration::MAX).await; // the body is asked to end, too
        Ok::<_, GroupClosed>(())
    });
    let error = ended.await.expect_err("a child failed");
    assert!(error.failures()[0].downcast_ref::<OutOfCheese>().is_some());
    println!("one failed: {error}");
    // The block's own request was taken back: this task is as it was.
    assert_eq!(current_task().map(|task| task.cancelling()), Some(0));
    Ok(())
}

/// `collect_all`: a failure ends nobody, and the error tells of all.
async fn all_are_heard() {
    let ended = TaskGroup::options().collect_all().run(|group| async move {
        for text in ["1", "two", "3", "four"] {
            // Refused only by a group that is full or shuts down, and this one does neither.
            let _ = group.try_spawn(async move { text.parse::<u32>() });
        }
    });
    let error = ended.await.expect_err("two failed");
    println!("of four, {} failed: {error}", error.failures().len());
}

/// `max_tasks`: a group that says no, and `room` to wait until it would not.
async fn not_too_many_at_once() -> Result<(), Box<dyn Error>> {
    let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let counts = Arc::new((now, most));
    let shared = counts.clone();
    let group = TaskGroup::options().max_tasks(3);
    let group = group.try_run(|group| async move {
        for _ in 0..12 {
            group.room().await;
            let shared = shared.clone();
            group.spawn(async move {
                let (now, most) = &*shared;
                most.fetch_max(now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                sleep(Duration::from_millis(3)).await;
                now.fetch_sub(1, Ordering::Relaxed);
            })?;
        }
        Ok::<_, GroupClosed>(())
    });
    group.await?;
    let most = counts.1.load(Ordering::Relaxed);
    assert!(most <= 3);
    println!("twelve tasks, {most} at a time");
    Ok(())
}

/// A deadline round a group ends its children and waits for them.
async fn within_a_timeout() {
    let group = TaskGroup::run(|group| async move {
        let _ = group.spawn(pending::<()>());
        pending::<()>().await;
    });
    let elapsed = timeout(Duration::from_millis(20), group)
        .await
        .expect_err("it would not end by itself");
    println!("a group under a timeout: {elapsed}");
}

/// A clone of the group's handle, anywhere, calls it off.
async fn called_off() {
    let ended = TaskGroup::run(|group| async move {
        let handle = group.clone();
        let _ = group.spawn(async move {
            sleep(Duration::from_millis(5)).await;
            handle.cancel();
        });
        pending::<()>().await;
    });
    let error = ended.await.expect_err("it was called off");
    assert!(error.is_cancelled());
    println!("called off: {error}");
}

#[derive(Debug)]
struct OutOfCheese;

impl fmt::Display for OutOfCheese {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("out of cheese")
    }
}

impl Error for OutOfCheese {}
