//! Time: sleeps, intervals, timeouts, and a clock that tests can stop and move.
//!
//! ```sh
//! cargo run --example timers
//! ```
#![allow(clippy::print_stdout)]

use heist::time::{MissedTick, interval};
use heist::{Builder, Elapsed, TaskError, sleep, spawn, timeout};
use std::error::Error;
use std::time::{Duration, Instant};

fn main() -> Result<(), Box<dyn Error>> {
    heist::run(async {
        on_the_dot().await?;
        steadily().await;
        not_for_ever().await;
        Ok::<(), TaskError>(())
    })??;
    a_year_in_a_moment()
}

/// Ten thousand sleeps at once: none ends early, and none much too late.
async fn on_the_dot() -> Result<(), TaskError> {
    let naps: Vec<_> = (0..10_000)
        .map(|n| {
            spawn(async move {
                let length = Duration::from_millis(50 + n % 100);
                let began = Instant::now();
                sleep(length).await;
                began.elapsed().checked_sub(length)
            })
        })
        .collect();
    let mut latest = Duration::ZERO;
    for nap in naps {
        latest = latest.max(nap.await?.expect("a sleep is never early"));
    }
    println!("10,000 sleeps: none early, the latest by {latest:.1?}");
    Ok(())
}

/// An interval keeps its pace, whatever its body takes.
async fn steadily() {
    let began = Instant::now();
    let mut ticks = interval(Duration::from_millis(20)).on_missed(MissedTick::Skip);
    for _ in 0..6 {
        ticks.tick().await;
        sleep(Duration::from_millis(5)).await;
    }
    println!(
        "6 ticks, every 20 ms from 0 on, and 5 ms of work: {} ms",
        began.elapsed().as_millis()
    );
}

/// A timeout drops what it encloses at its await.
async fn not_for_ever() {
    let forever: Result<(), Elapsed> =
        timeout(Duration::from_millis(30), std::future::pending()).await;
    println!(
        "an endless wait: {}",
        forever.expect_err("it cannot end otherwise")
    );
    let in_time = timeout(Duration::MAX, async { "as long as it takes" }).await;
    println!(
        "a timeout of Duration::MAX: {}",
        in_time.expect("it means never")
    );
}

/// With a paused clock, time passes only when there is nothing to do, and then at once.
fn a_year_in_a_moment() -> Result<(), Box<dyn Error>> {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    let runtime = Builder::new().start_paused(true).build()?;
    let began = Instant::now();
    let days = runtime.run(async {
        let year = spawn(timeout(DAY * 365, std::future::pending::<()>()));
        let mut days = 0;
        while !year.is_done() {
            sleep(DAY).await;
            days += 1;
        }
        days
    })?;
    println!(
        "a year of {days} days took {} ms",
        began.elapsed().as_millis()
    );
    assert!(
        (365..=366).contains(&days),
        "the two timers are due at the same moment on day 365"
    );
    Ok(())
}
