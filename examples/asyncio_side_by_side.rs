//! A Python program and the same program in Rust, line by line. Both print the same.
//!
//! ```python
//! import asyncio
//!
//! begun = asyncio.Event()
//!
//! async def fetch(name, ms):
//!     begun.set()
//!     try:
//!         await asyncio.sleep(ms / 1000)
//!         return f"{name} in {ms} ms"
//!     except asyncio.CancelledError:
//!         await asyncio.sleep(0.005)
//!         print(f"{name} has tidied up")
//!         raise
//!
//! async def broken_link():
//!     await begun.wait()
//!     raise ValueError("no such page")
//!
//! async def add(queue):
//!     total = 0
//!     while (number := await queue.get()) is not None:
//!         total += number
//!     return total
//!
//! async def main():
//!     a, b = await asyncio.gather(fetch("a", 20), fetch("b", 10))
//!     print(f"{a}, {b}")
//!
//!     begun.clear()
//!     task = asyncio.create_task(fetch("c", 60_000))
//!     await begun.wait()
//!     task.cancel("enough")
//!     try:
//!         await task
//!     except asyncio.CancelledError as cancelled:
//!         print(f"c was cancelled: {cancelled}")
//!
//!     try:
//!         async with asyncio.timeout(0.02):
//!             await fetch("d", 60_000)
//!     except TimeoutError:
//!         print("d was too late")
//!
//!     begun.clear()
//!     try:
//!         async with asyncio.TaskGroup() as group:
//!             group.create_task(fetch("e", 60_000))
//!             group.create_task(broken_link())
//!     except* ValueError as errors:
//!         print(f"the group failed: {errors.exceptions[0]}")
//!
//!     queue = asyncio.Queue(maxsize=2)
//!     adder = asyncio.create_task(add(queue))
//!     for number in (1, 2, 3, None):
//!         await queue.put(number)
//!     print(f"1 + 2 + 3 = {await adder}")
//!
//! asyncio.run(main())
//! ```
//!
//! ```sh
//! cargo run --example asyncio_side_by_side
//! ```
#![allow(clippy::print_stdout)]

use heist::sync::{Event, Queue};
use heist::{TaskGroup, catch_cancel, gather, sleep, spawn, timeout};
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

static BEGUN: Event = Event::new();

async fn fetch(name: &str, ms: u64) -> String {
    BEGUN.set();
    match catch_cancel(sleep(Duration::from_millis(ms))).await {
        Ok(()) => format!("{name} in {ms} ms"),
        Err(cancelled) => {
            sleep(Duration::from_millis(5)).await;
            println!("{name} has tidied up");
            cancelled.propagate().await
        }
    }
}

async fn broken_link() -> Result<(), &'static str> {
    BEGUN.wait().await;
    Err("no such page")
}

async fn add(queue: Arc<Queue<Option<u32>>>) -> u32 {
    let mut total = 0;
    while let Ok(Some(number)) = queue.get().await {
        total += number;
    }
    total
}

#[heist::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (a, b) = gather!(spawn(fetch("a", 20)), spawn(fetch("b", 10))).await?;
    println!("{a}, {b}");

    BEGUN.clear();
    let task = spawn(fetch("c", 60_000));
    BEGUN.wait().await;
    task.cancel("enough");
    match task.await {
        Err(error) if error.is_cancelled() => {
            println!("c was cancelled: {}", error.cancel_message().unwrap_or(""));
        }
        other => unreachable!("{other:?}"),
    }

    match timeout(Duration::from_millis(20), fetch("d", 60_000)).await {
        Err(_elapsed) => println!("d was too late"),
        Ok(page) => unreachable!("{page}"),
    }

    BEGUN.clear();
    let group = TaskGroup::run(|group| async move {
        group.spawn(fetch("e", 60_000))?;
        group.try_spawn(broken_link())?;
        Ok::<_, heist::GroupClosed>(())
    });
    match group.await {
        Err(error) => println!(
            "the group failed: {}",
            error.failures()[0].error().ok_or("no panic")?
        ),
        Ok(ended) => unreachable!("{ended:?}"),
    }

    let queue = Arc::new(Queue::new(2));
    let adder = spawn(add(queue.clone()));
    for number in [Some(1), Some(2), Some(3), None] {
        queue.put(number).await?;
    }
    println!("1 + 2 + 3 = {}", adder.await?);
    Ok(())
}
