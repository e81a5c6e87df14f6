//! The smallest useful program: tasks that run at the same time, sleep, and give values.
//!
//! ```sh
//! cargo run --example hello
//! ```
#![allow(clippy::print_stdout)]

use std::time::{Duration, Instant};

#[heist::main]
async fn main() -> Result<(), heist::TaskError> {
    let began = Instant::now();
    let greetings = ["Ahoj", "Bonjour", "Ciao", "Hello"].map(|greeting| {
        heist::spawn(async move {
            heist::sleep(Duration::from_millis(100)).await;
            (greeting, heist::current_task().map(|task| task.name()))
        })
    });
    for task in greetings {
        let (greeting, by) = task.await?;
        println!("{greeting}, world! (from {})", by.unwrap_or_default());
    }
    println!(
        "four sleeps of 100 ms took {} ms together",
        began.elapsed().as_millis()
    );
    Ok(())
}
