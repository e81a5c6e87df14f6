//! Many tasks as one: all of them, the first of them, one by one as they end; and one that must not be cancelled with who waits for it.
//!
//! In Python:
//!
//! ```python
//! pages = await asyncio.gather(fetch("a"), fetch("b"))
//! results = await asyncio.gather(*tasks, return_exceptions=True)
//!
//! done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
//! for task in pending:
//!     task.cancel()
//!
//! for task in asyncio.as_completed(tasks):
//!     print(await task)
//!
//! await asyncio.shield(save())
//! ```
//!
//! ```sh
//! cargo run --example gather_wait_shield
//! ```
#![allow(clippy::print_stdout)]

use heist::sync::Event;
use heist::{
    ReturnWhen, TaskError, as_completed, catch_cancel, gather, shield, sleep, spawn, try_gather,
    try_spawn, wait,
};
use std::error::Error;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

#[heist::main]
async fn main() -> Result<(), Box<dyn Error>> {
    all_of_them().await?;
    all_or_the_first_failure().await?;
    every_outcome().await?;
    the_first().await?;
    as_they_end().await?;
    what_must_be_done().await?;
    Ok(())
}

/// Values come in the order of the arguments, whatever ended first. Of one type: `gather`; of several: `gather!`.
async fn all_of_them() -> Result<(), TaskError> {
    let squares = gather((1..=5).map(|n| spawn(square(n)))).await?;
    println!("gather: {squares:?}");
    let (name, age) = gather!(spawn(async { "Ada" }), spawn(square(6))).await?;
    println!("gather!: {name} is {age}");
    Ok(())
}

async fn square(n: u64) -> u64 {
    sleep(Duration::from_millis(10 - n)).await;
    n * n
}

/// `gather` takes every value for a success. Its twin `try_gather` takes an `Err` as asyncio takes an exception: it ends the gather.
///
/// As in asyncio, the others run on. In a `TaskGroup` they would be cancelled.
async fn all_or_the_first_failure() -> Result<(), TaskError> {
    let numbers = ["1", "two", "3"].map(|text| try_spawn(async { text.parse::<u32>() }));
    match try_gather(numbers).await? {
        Ok(numbers) => println!("try_gather: {numbers:?}"),
        Err(error) => println!("try_gather: {error}"),
    }
    Ok(())
}

/// Cancellations and panics as values.
async fn every_outcome() -> Result<(), TaskError> {
    let stuck = spawn(pending::<u64>());
    stuck.cancel("no longer needed");
    let ended = gather([spawn(square(3)), stuck])
        .return_exceptions()
        .await?;
    println!("return_exceptions: {ended:?}");
    Ok(())
}

/// `wait` cancels nobody. It takes those that have ended out of the `Vec`; the rest is left to the caller.
async fn the_first() -> Result<(), Box<dyn Error>> {
    let mut mirrors = vec![
        spawn(mirror("far", Duration::from_secs(3600))),
        spawn(mirror("near", Duration::from_millis(5))),
        spawn(mirror("farther", Duration::MAX)),
    ];
    let done = wait(&mut mirrors)
        .until(ReturnWhen::FirstCompleted)
        .timeout(Duration::from_secs(60))
        .await?;
    for task in done {
        println!("wait: the {} mirror was first", task.await?);
    }
    for task in &mirrors {
        task.cancel("too slow");
    }
    let rest = gather(mirrors).return_exceptions().await?;
    assert!(rest.iter().all(Result::is_err));
    Ok(())
}

async fn mirror(name: &'static str, takes: Duration) -> &'static str {
    sleep(takes).await;
    name
}

/// Each as soon as it ends, with its index among the arguments.
async fn as_they_end() -> Result<(), Box<dyn Error>> {
    let naps = [80, 1, 40].map(|ms| spawn(sleep(Duration::from_millis(ms))));
    let mut order = Vec::new();
    let completed = as_completed(naps);
    while let Some(next) = completed.next().await {
        let (index, nap) = next?;
        nap?;
        order.push(index);
    }
    println!("as_completed: {order:?}");
    order.sort();
    assert_eq!(order, [0, 1, 2]);
    Ok(())
}

/// Who is cancelled while he awaits a task hands the request on to that task. A shield takes it instead. Keep a `shared()` handle to hear
/// how the work ends.
async fn what_must_be_done() -> Result<(), TaskError> {
    let (waits, disk) = (Arc::new(Event::new()), Arc::new(Event::new()));
    let ready = disk.clone();
    let save = spawn(async move {
        ready.wait().await;
        "saved"
    })
    .shared();
    let (shielded, told) = (save.clone(), waits.clone());
    let hasty = spawn(async move {
        let waiting = async {
            told.set();
            shield(shielded).await
        };
        if let Err(cancelled) = catch_cancel(waiting).await {
            println!("shield: the waiter goes ({cancelled})");
            cancelled.propagate().await
        }
    });
    waits.wait().await;
    hasty.cancel("never mind");
    assert!(hasty.await.is_err_and(|error| error.is_cancelled()));
    disk.set();
    println!("shield: and it is {}", save.await?);
    Ok(())
}
