//! Workers that take jobs from a queue: as many as can be done at a time, no more waiting than there is room for, and an orderly end.
//!
//! The example of asyncio's documentation of queues, and what it leaves out. In Python:
//!
//! ```python
//! async def worker(queue):
//!     while True:
//!         job = await queue.get()
//!         await do(job)
//!         queue.task_done()
//!
//! queue = asyncio.Queue(maxsize=4)
//! workers = [asyncio.create_task(worker(queue)) for _ in range(3)]
//! for job in range(20):
//!     await queue.put(job)
//! await queue.join()
//! for worker in workers:
//!     worker.cancel()
//! await asyncio.gather(*workers, return_exceptions=True)
//! ```
//!
//! ```sh
//! cargo run --example queue_workers
//! ```
#![allow(clippy::print_stdout)]

use heist::sync::{PriorityQueue, Queue};
use heist::{gather, sleep, spawn};
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

#[heist::main]
async fn main() -> Result<(), Box<dyn Error>> {
    until_all_is_done().await?;
    until_the_queue_is_shut_down().await?;
    by_priority().await
}

/// As in Python: `join` waits for all jobs, then the workers, who wait for more, are cancelled.
async fn until_all_is_done() -> Result<(), Box<dyn Error>> {
    let queue = Arc::new(Queue::new(4));
    let sum = Arc::new(AtomicU64::new(0));
    let workers = [1, 2, 3].map(|_| {
        let (queue, sum) = (queue.clone(), sum.clone());
        spawn(async move {
            while let Ok(job) = queue.get().await {
                sleep(Duration::from_millis(job % 3)).await;
                sum.fetch_add(job, Ordering::Relaxed);
                if queue.task_done().is_err() {
                    break; // said more often than there were jobs
                }
            }
        })
    });
    for job in 1..=20 {
        queue.put(job).await?; // waits while four are waiting
    }
    queue.join().await;
    println!("all done: {}", sum.load(Ordering::Relaxed));
    assert_eq!(sum.load(Ordering::Relaxed), 210);

    for worker in &workers {
        worker.cancel("no more work");
    }
    let ended = gather(workers).return_exceptions().await?;
    println!("the workers: {ended:?}");
    Ok(())
}

/// Without a cancel: `shutdown` lets the workers take what is left, and then their `get` fails.
async fn until_the_queue_is_shut_down() -> Result<(), Box<dyn Error>> {
    let queue = Arc::new(Queue::new(0)); // any number
    for job in 1..=20_u64 {
        queue.put_nowait(job)?;
    }
    let workers = [1, 2, 3].map(|_| {
        let queue = queue.clone();
        spawn(async move {
            let mut sum = 0;
            while let Ok(job) = queue.get().await {
                sleep(Duration::from_millis(job % 3)).await;
                sum += job;
            }
            sum
        })
    });
    queue.shutdown(false);
    assert!(queue.put(21).await.is_err());
    let sums = gather(workers).await?;
    println!("shut down: {} altogether", sums.iter().sum::<u64>());
    assert_eq!(sums.iter().sum::<u64>(), 210);
    Ok(())
}

/// The lowest first, by `Ord`. Any thread may put: a queue needs no runtime for what does not wait.
async fn by_priority() -> Result<(), Box<dyn Error>> {
    let queue = Arc::new(PriorityQueue::new(0));
    let threads = [(2, "mail"), (1, "fire"), (3, "sweep")].map(|job| {
        let queue = queue.clone();
        std::thread::spawn(move || queue.put_nowait(job))
    });
    for thread in threads {
        thread.join().map_err(|_| "the thread panicked")??;
    }
    for _ in 0..3 {
        let (priority, job) = queue.get().await?;
        println!("{priority}: {job}");
    }
    Ok(())
}
