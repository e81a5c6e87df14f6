//! Plain threads that know nothing of the runtime but a `Handle`: they submit coroutines, wait for results with a time
//! limit, cancel, are called back, and run futures of their own.
//!
//! ```sh
//! cargo run --example foreign_threads
//! ```
#![allow(clippy::print_stdout)]

use heist::concurrent::Error;
use heist::{Handle, Runtime, TaskError, run_coroutine_threadsafe, sleep};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// Far more than anything here takes.
const LIMIT: Duration = Duration::from_secs(10);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let runtime = Runtime::new()?;
    let threads = [0, 1, 2, 3].map(|number| {
        let handle = runtime.handle().clone();
        thread::spawn(move || sum_of_squares(number, &handle))
    });
    for (number, thread) in threads.into_iter().enumerate() {
        let sum = thread.join().expect("the thread does not panic")?;
        println!("thread {number}: the squares add up to {sum}");
        assert_eq!(
            sum,
            (0..100).map(|n| (n + number as u64).pow(2)).sum::<u64>()
        );
    }
    give_up_and_cancel(runtime.handle())?;
    be_called_back(runtime.handle())?;
    drive_a_future(runtime.handle())?;
    after_the_end(runtime)
}

/// Submits a hundred coroutines, then waits for each.
fn sum_of_squares(offset: usize, handle: &Handle) -> Result<u64, Error> {
    let squares: Vec<_> = (0..100)
        .map(|n| {
            let square = async move {
                sleep(Duration::from_millis(n % 10)).await;
                (n + offset as u64).pow(2)
            };
            run_coroutine_threadsafe(square, handle)
        })
        .collect();
    squares.iter().map(|square| square.result(LIMIT)).sum()
}

/// A wait that ends does not end the coroutine; a cancel does, and can be waited for.
fn give_up_and_cancel(handle: &Handle) -> Result<(), Error> {
    let endless = run_coroutine_threadsafe(std::future::pending::<()>(), handle);
    let error = endless
        .result(Duration::from_millis(50))
        .expect_err("it never ends");
    assert!(error.is_timeout() && !endless.done());
    println!("waiting: {error}");

    endless.cancel_and_wait(LIMIT)?;
    assert!(endless.cancelled());
    let error = endless.result(None).expect_err("it was cancelled");
    assert!(error.is_cancelled());
    println!("after the cancel: {error}");
    Ok(())
}

/// A callback instead of a thread that waits.
fn be_called_back(handle: &Handle) -> Result<(), Box<dyn std::error::Error>> {
    let (sender, receiver) = mpsc::channel();
    let nap = run_coroutine_threadsafe(sleep(Duration::from_millis(20)), handle);
    nap.add_done_callback(move || {
        let _ = sender.send(thread::current().name().map(str::to_owned));
    });
    let thread = receiver.recv_timeout(LIMIT)?;
    println!(
        "called back on {}",
        thread.as_deref().unwrap_or("a thread without a name")
    );
    Ok(())
}

/// Any thread may run a future to its end, with borrowed data too.
fn drive_a_future(handle: &Handle) -> Result<(), TaskError> {
    let words = ["any", "thread", "will", "do"];
    let length = handle.block_on(async {
        sleep(Duration::from_millis(5)).await;
        words.iter().map(|word| word.len()).sum::<usize>()
    })?;
    println!("block_on: {length} letters");
    Ok(())
}

/// Once the runtime is gone, who waits and who submits learns it at once.
fn after_the_end(runtime: Runtime) -> Result<(), Box<dyn std::error::Error>> {
    let handle = runtime.handle().clone();
    let endless = run_coroutine_threadsafe(std::future::pending::<()>(), &handle);
    let waiting = thread::spawn(move || endless.result(None));
    let report = runtime.shutdown(LIMIT);
    let error = waiting
        .join()
        .expect("no panic")
        .expect_err("nothing ends it but the shutdown");
    println!("who waited was told: {error}");
    assert!(error.is_cancelled());

    let late = run_coroutine_threadsafe(async { 42 }, &handle);
    let error = late.result(None).expect_err("the runtime is gone");
    println!("who came late was told: {error}");
    assert!(error.is_refused() && report.is_complete());
    Ok(())
}
