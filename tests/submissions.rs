//! Foreign submissions race shutdowns: each is accepted and ends once, or is refused at once; nobody waits for ever, nothing is lost, nothing comes twice.
//!
//! A quick round by default. `HEIST_SHUTDOWNS=10000 cargo test --release --test submissions` is ten million submissions over ten thousand shutdowns.

use heist::{Builder, Handle, run_coroutine_threadsafe};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

#[path = "it/limit.rs"]
mod limit;

const SUBMITTERS: u64 = 2;
const EACH: u64 = 500;
/// How long anybody waits for a result: for ever, had it been lost.
const LOST: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Counts {
    made: AtomicU64,
    /// Futures that were polled to their end.
    ran: AtomicU64,
    dropped: AtomicU64,
    values: AtomicU64,
    cancelled: AtomicU64,
    refused: AtomicU64,
}

/// Counts its drop, so that a future that is dropped twice, or never, is noticed.
struct Held(Arc<Counts>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.dropped.fetch_add(1, SeqCst);
    }
}

fn submit(handle: &Handle, counts: &Arc<Counts>, number: u64) {
    let mut waits = Vec::new();
    for n in 0..EACH {
        counts.made.fetch_add(1, SeqCst);
        let held = Held(counts.clone());
        let future = run_coroutine_threadsafe(
            async move {
                if n.is_multiple_of(3) {
                    heist::task::yield_now().await;
                }
                held.0.ran.fetch_add(1, SeqCst);
                n
            },
            handle,
        );
        waits.push((n, future));
        // Some are waited for at once, so that threads sleep in there when the runtime ends.
        if n % 64 == number {
            settle(counts, waits.pop());
        }
    }
    for wait in waits {
        settle(counts, Some(wait));
    }
}

fn settle(counts: &Counts, wait: Option<(u64, heist::concurrent::Future<u64>)>) {
    let Some((n, future)) = wait else { return };
    match future.result(LOST) {
        Ok(value) => {
            assert_eq!(value, n);
            counts.values.fetch_add(1, SeqCst);
        }
        Err(error) if error.is_cancelled() => {
            counts.cancelled.fetch_add(1, SeqCst);
        }
        Err(error) => {
            assert!(
                error.task_error().is_some_and(heist::TaskError::is_refused),
                "a result was lost: {error}"
            );
            counts.refused.fetch_add(1, SeqCst);
        }
    }
    assert!(future.result(Duration::ZERO).is_err(), "a value came twice");
}

fn race(round: u64, totals: &Counts) {
    let counts = Arc::new(Counts::default());
    let runtime = Builder::new()
        .worker_threads(1 + (round % 3) as usize)
        .build()
        .unwrap();
    let submitters: Vec<_> = (0..SUBMITTERS)
        .map(|number| {
            let (handle, counts) = (runtime.handle().clone(), counts.clone());
            std::thread::spawn(move || submit(&handle, &counts, number))
        })
        .collect();
    // Anywhere from before the first to after the last.
    let until = round * 37 % (SUBMITTERS * EACH + 50);
    while counts.made.load(SeqCst) < until.min(SUBMITTERS * EACH) {
        std::hint::spin_loop();
    }
    let report = runtime.shutdown(LOST);
    assert!(report.is_complete(), "{report}");
    for submitter in submitters {
        submitter.join().unwrap();
    }
    let audit = runtime.audit();
    drop(runtime);
    let get = |count: &AtomicU64| count.load(SeqCst);
    let (made, refused) = (get(&counts.made), get(&counts.refused));
    let (values, cancelled) = (get(&counts.values), get(&counts.cancelled));
    assert_eq!(made, SUBMITTERS * EACH);
    assert_eq!(made, values + cancelled + refused, "{audit}");
    assert_eq!(get(&counts.dropped), made, "each future is dropped once");
    // What was cancelled in its last step may have run to its end.
    assert!(get(&counts.ran) >= values);
    assert!(audit.is_balanced() && audit.is_settled(), "{audit}");
    assert_eq!(
        (audit.accepted, audit.refused),
        (values + cancelled, refused),
        "{audit}"
    );
    totals.made.fetch_add(made, SeqCst);
    totals.values.fetch_add(values, SeqCst);
    totals.cancelled.fetch_add(cancelled, SeqCst);
    totals.refused.fetch_add(refused, SeqCst);
}

#[test]
fn every_submission_ends_once_or_is_refused() {
    let rounds = std::env::var("HEIST_SHUTDOWNS").map_or(200, |rounds| rounds.parse().unwrap());
    limit::limited(move || {
        let totals = Counts::default();
        for round in 0..rounds {
            race(round, &totals);
        }
        let get = |count: &AtomicU64| count.load(SeqCst);
        eprintln!(
            "{rounds} shutdowns, {} submissions: {} values, {} cancelled, {} refused, 0 lost",
            get(&totals.made),
            get(&totals.values),
            get(&totals.cancelled),
            get(&totals.refused)
        );
        assert!(get(&totals.values) > 0 && get(&totals.refused) > 0);
    });
}
