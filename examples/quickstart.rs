//! Everything at once, with checks: an HTTP server and its clients over real sockets, threads outside that submit
//! coroutines, timeouts that fire and that do not, cancelled tasks, blocking closures, and a shutdown with a deadline.
//!
//! ```sh
//! cargo run --release --example quickstart
//! ```
//!
//! Prints what was asked for and what came back, then the runtime's own counters. Exits with 1 if anything was lost.
#![allow(clippy::print_stdout)]

#[path = "support/http.rs"]
mod http;

use heist::net::{TcpListener, TcpStream};
use heist::{Handle, Metrics, Runtime, Task, run_coroutine_threadsafe, sleep, timeout};
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::{Request, StatusCode};
use std::error::Error;
use std::fmt;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const CONNECTIONS: u32 = 64;
const REQUESTS_EACH: u32 = 4_000;
const THREADS: u64 = 4;
const SUBMISSIONS_EACH: u64 = 5_000;
const TIMEOUTS: u64 = 10_000;
const CANCELLED: u64 = 10_000;
const CLOSURES: u64 = 64;
/// Tasks that are still asleep when the shutdown comes.
const LEFT_OVER: u64 = 1_000;

/// Far more than the whole takes: a wait that is longer has lost something.
const LIMIT: Duration = Duration::from_secs(60);
const SHUTDOWN: Duration = Duration::from_secs(5);

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> ExitCode {
    match quickstart() {
        Ok(checks) if checks.iter().all(Check::holds) => {
            println!("\nNothing was lost.");
            ExitCode::SUCCESS
        }
        Ok(_) => {
            println!("\nSomething was lost: see the lines above that say so.");
            ExitCode::FAILURE
        }
        Err(error) => {
            println!("\nIt went wrong: {error}");
            let mut cause = error.source();
            while let Some(error) = cause {
                println!("  because: {error}");
                cause = error.source();
            }
            ExitCode::FAILURE
        }
    }
}

fn quickstart() -> Result<Vec<Check>, Failure> {
    let began = Instant::now();
    let runtime = Runtime::new()?;
    println!("heist quickstart on {} workers", runtime.metrics().workers);

    // This thread is one that knows nothing of the runtime: it submits the programme and waits for its end.
    let programme = run_coroutine_threadsafe(programme(runtime.handle().clone()), runtime.handle());
    let mut checks = match programme.result(LIMIT) {
        Ok(checks) => checks?,
        Err(error) => {
            let stuck = runtime.all_tasks();
            for task in stuck.iter().take(20) {
                println!("  not ended: {task:?}");
            }
            return Err(format!("{error} ({} tasks had not ended)", stuck.len()).into());
        }
    };

    let put_away = Arc::new(AtomicU64::new(0));
    for _ in 0..LEFT_OVER {
        let counted = Counted(put_away.clone());
        runtime.spawn(async move {
            let _counted = counted;
            sleep(Duration::MAX).await;
        });
    }
    let report = runtime.shutdown(SHUTDOWN);
    checks.push(Check {
        what: "left-over tasks shut down",
        asked: LEFT_OVER,
        done: put_away.load(Ordering::Relaxed),
        note: String::new(),
    });
    checks.push(Check {
        what: "everybody out in time",
        asked: 1,
        done: report.is_complete().into(),
        note: report.to_string(),
    });

    println!("\n{:27} {:>8} {:>8}", "", "asked", "done");
    for check in &checks {
        println!("{check}");
    }
    print_counters(&runtime.metrics());
    println!("\n{:.1} s in all", began.elapsed().as_secs_f64());
    Ok(checks)
}

/// All parts at the same time, on the same workers.
async fn programme(handle: Handle) -> Result<Vec<Check>, Failure> {
    let parts: [Task<Result<Check, Failure>>; 6] = [
        named("http", requests()),
        named("foreign threads", foreign_threads(handle)),
        named(
            "timeouts",
            timeouts("timeouts fired", |n| (staggered(n), Duration::MAX)),
        ),
        named(
            "no timeouts",
            timeouts("timeouts not needed", |n| (LIMIT, staggered(n))),
        ),
        named("cancellations", cancellations()),
        named("blocking", blocking()),
    ];
    let mut checks = Vec::new();
    for part in parts {
        checks.push(part.await??);
    }
    Ok(checks)
}

fn named<F>(name: &str, part: F) -> Task<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    heist::task::Builder::new().name(name).spawn(part)
}

/// A server on a loopback port, and clients that keep their connections busy.
async fn requests() -> Result<Check, Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let server = http::Server::default();
    let serving = named("http server", {
        let server = server.clone();
        async move { server.serve(listener).await }
    });

    let began = Instant::now();
    let clients: Vec<_> = (0..CONNECTIONS)
        .map(|client| heist::spawn(requests_of(client, address)))
        .collect();
    let mut answered = 0;
    for client in clients {
        answered += client.await??;
    }
    let rate = f64::from(answered) / began.elapsed().as_secs_f64();

    server.stop();
    let report = timeout(SHUTDOWN, serving).await???;
    let (seen, broken) = (report.requests_answered(), server.broken());
    Ok(Check {
        what: "HTTP requests answered",
        asked: u64::from(CONNECTIONS) * u64::from(REQUESTS_EACH),
        // What the server saw, and what its clients had back.
        done: seen.min(answered.into()),
        note: format!("on {CONNECTIONS} connections ({broken} broken), {rate:.0} per second"),
    })
}

/// One connection's requests, one after the other. Gives the number of right answers.
async fn requests_of(client: u32, address: SocketAddr) -> Result<u32, Failure> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = http1::handshake(stream).await?;
    let connection = heist::spawn(connection);
    let mut answered = 0;
    for n in 0..REQUESTS_EACH {
        let number = client * REQUESTS_EACH + n;
        let request = Request::get(format!("/double/{number}"))
            .header(HOST, "localhost")
            .body(Empty::<Bytes>::new())?;
        // hyper takes the next request once the connection's task has put the last one away.
        sender.ready().await?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        if status == StatusCode::OK && body == (2 * number).to_string() {
            answered += 1;
        }
    }
    drop(sender);
    connection.await??;
    Ok(answered)
}

/// Threads that have nothing of the runtime but a handle.
async fn foreign_threads(handle: Handle) -> Result<Check, Failure> {
    let began = Instant::now();
    // Waiting for a thread blocks.
    let results = heist::spawn_blocking(move || {
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                let handle = handle.clone();
                thread::spawn(move || submissions(&handle))
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or(0))
            .sum()
    });
    Ok(Check {
        what: "results for other threads",
        asked: THREADS * SUBMISSIONS_EACH,
        done: results.await?,
        note: format!(
            "from {THREADS} threads, in {:.1} s",
            began.elapsed().as_secs_f64()
        ),
    })
}

/// One thread's submissions. Gives the number of right results.
fn submissions(handle: &Handle) -> u64 {
    let square = |n: u64| async move {
        // Every tenth takes a while.
        if n.is_multiple_of(10) {
            sleep(Duration::from_millis(1)).await;
        }
        n * n
    };
    (0..SUBMISSIONS_EACH)
        .filter(|&n| {
            let squared = run_coroutine_threadsafe(square(n), handle);
            squared.result(LIMIT).is_ok_and(|squared| squared == n * n)
        })
        .count() as u64
}

/// Tasks with a time limit and a time to sleep; those count that end by whichever is shorter, and not before.
async fn timeouts(
    what: &'static str,
    limit_and_length: fn(u64) -> (Duration, Duration),
) -> Result<Check, Failure> {
    let tasks: Vec<_> = (0..TIMEOUTS)
        .map(|n| {
            let (limit, length) = limit_and_length(n);
            let shorter = limit.min(length);
            heist::spawn(async move {
                let began = Instant::now();
                let is_elapsed = timeout(limit, sleep(length)).await.is_err();
                let late = began.elapsed().checked_sub(shorter);
                late.filter(|_| is_elapsed == (limit < length))
            })
        })
        .collect();
    let mut done = 0;
    let mut latest = Duration::ZERO;
    for task in tasks {
        if let Some(late) = task.await? {
            done += 1;
            latest = latest.max(late);
        }
    }
    Ok(Check {
        what,
        asked: TIMEOUTS,
        done,
        note: format!("the latest by {:.1} ms", latest.as_secs_f64() * 1e3),
    })
}

/// From 100 to 1,100 ms, so that timers fall due all the time.
fn staggered(n: u64) -> Duration {
    Duration::from_millis(100 + n % 1_000)
}

/// Tasks that would never end: each is dropped at its await, and says that it was cancelled.
async fn cancellations() -> Result<Check, Failure> {
    let put_away = Arc::new(AtomicU64::new(0));
    let tasks: Vec<_> = (0..CANCELLED)
        .map(|_| {
            let counted = Counted(put_away.clone());
            heist::spawn(async move {
                let _counted = counted;
                std::future::pending::<()>().await;
            })
        })
        .collect();
    sleep(Duration::from_millis(50)).await;
    let mut done = 0;
    for task in &tasks {
        task.cancel("no longer needed");
    }
    for task in tasks {
        let error = task.await.err();
        let message = error.as_ref().and_then(heist::TaskError::cancel_message);
        done += u64::from(message == Some("no longer needed"));
    }
    let put_away = put_away.load(Ordering::Relaxed);
    Ok(Check {
        what: "tasks cancelled",
        asked: CANCELLED,
        done: done.min(put_away),
        note: format!("{put_away} destructors ran"),
    })
}

/// Closures that block, each on a thread made for that.
async fn blocking() -> Result<Check, Failure> {
    let began = Instant::now();
    let closures: Vec<_> = (0..CLOSURES)
        .map(|n| {
            heist::spawn_blocking(move || {
                thread::sleep(Duration::from_millis(100));
                n
            })
        })
        .collect();
    let mut done = 0;
    for (n, closure) in (0..).zip(closures) {
        done += u64::from(closure.await? == n);
    }
    Ok(Check {
        what: "blocking closures",
        asked: CLOSURES,
        done,
        note: format!("of 100 ms each, in {} ms", began.elapsed().as_millis()),
    })
}

/// What was asked for, and what came back.
struct Check {
    what: &'static str,
    asked: u64,
    done: u64,
    note: String,
}

impl Check {
    fn holds(&self) -> bool {
        self.asked == self.done
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            what,
            asked,
            done,
            note,
        } = self;
        let verdict = if self.holds() { "ok  " } else { "LOST" };
        write!(f, "{what:27} {asked:8} {done:8}  {verdict}  {note}")
    }
}

fn print_counters(metrics: &Metrics) {
    println!(
        "\n{:27} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8}",
        "counters", "polls", "steals", "parks", "turns", "events", "timers"
    );
    for (index, worker) in metrics.per_worker.iter().enumerate() {
        let kind = if index < metrics.workers {
            "worker"
        } else {
            "spare"
        };
        println!(
            "  {kind:6} {index:<18} {:8} {:8} {:8} {:8} {:8} {:8}",
            worker.polls,
            worker.steals,
            worker.parks,
            worker.driver_turns,
            worker.io_events,
            worker.timers_fired,
        );
    }
    println!(
        "  {} tasks spawned, {} alive, {} slow polls",
        metrics.tasks_spawned,
        metrics.tasks_alive,
        metrics.total().slow_polls,
    );
}

/// Counts that it was dropped.
struct Counted(Arc<AtomicU64>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}
