//! What do workers share, per operation, with 1 to 64 of them?
//!
//! Not a measurement of time: it counts what goes to lines and locks that all workers share, which is what many cores pay for. So it tells something
//! about 64 workers on a machine with two CPUs as well. An operation's own atomics (its task's state word, its worker's queue) are not counted: nobody else writes
//! those lines at the same time.
//!
//! * a search writes the idle word twice, its beginning and its end;
//! * a sleep writes it twice, and takes the list of sleepers' lock twice, going and coming;
//! * a task taken from another worker writes that worker's queue, at most once each;
//! * a batch from the injector writes its head; each submission from outside writes its tail.

#![allow(clippy::print_stdout)] // Its result.

use heist::{Builder, Runtime, WorkerMetrics};

const OPERATIONS: u64 = 20_000;
const DEPTH: u32 = 13;
const TREE: u64 = (1 << (DEPTH + 1)) - 1;
const WORKERS: [usize; 7] = [1, 2, 4, 8, 16, 32, 64];

async fn spawn_and_await() {
    for _ in 0..OPERATIONS {
        heist::spawn(async {}).await.expect("it ends well");
    }
}

async fn fan_out() {
    for _ in 0..OPERATIONS / 1000 {
        let tasks: Vec<_> = (0..1000).map(|_| heist::spawn(async {})).collect();
        for task in tasks {
            task.await.expect("it ends well");
        }
    }
}

fn tree(depth: u32) -> heist::Task<u64> {
    heist::spawn(async move {
        if depth == 0 {
            return 1;
        }
        let (left, right) = (tree(depth - 1), tree(depth - 1));
        1 + left.await.expect("it ends well") + right.await.expect("it ends well")
    })
}

async fn forks_and_joins() {
    assert_eq!(tree(DEPTH).await.expect("it ends well"), TREE);
}

async fn yields() {
    let tasks: Vec<_> = (0..200)
        .map(|_| {
            heist::spawn(async {
                for _ in 0..OPERATIONS / 200 {
                    heist::task::yield_now().await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("it ends well");
    }
}

async fn timers() {
    let tasks: Vec<_> = (0..OPERATIONS)
        .map(|n| heist::spawn(heist::sleep(std::time::Duration::from_micros(n % 1000))))
        .collect();
    for task in tasks {
        task.await.expect("it ends well");
    }
}

fn from_outside(runtime: &Runtime) {
    let tasks: Vec<_> = (0..OPERATIONS).map(|_| runtime.spawn(async {})).collect();
    for task in tasks {
        runtime
            .block_on(task)
            .expect("it runs")
            .expect("it ends well");
    }
}

/// Runs `body` as a task of its own, on a worker. Gives how many operations it had.
fn inside(
    runtime: &Runtime,
    operations: u64,
    body: impl Future<Output = ()> + Send + 'static,
) -> u64 {
    let body = async { heist::spawn(body).await.expect("it ends well") };
    runtime.run(body).expect("it runs");
    operations
}

/// Per 1,000 operations: writes of shared lines, and locks.
fn shared(
    before: &WorkerMetrics,
    after: &WorkerMetrics,
    submissions: u64,
    operations: u64,
) -> (f64, f64) {
    let since = |count: fn(&WorkerMetrics) -> u64| count(after) - count(before);
    let parks = since(|it| it.parks);
    let writes = 2 * since(|it| it.searches)
        + 2 * parks
        + since(|it| it.steals)
        + since(|it| it.injected)
        + submissions;
    let per_1000 = |n: u64| n as f64 * 1000.0 / operations as f64;
    (per_1000(writes), per_1000(2 * parks))
}

fn main() {
    type Body = fn(&Runtime) -> u64;
    let bodies: [(&str, Body); 6] = [
        ("spawn and await", |it| {
            inside(it, OPERATIONS, spawn_and_await())
        }),
        ("fan-out of 1,000", |it| inside(it, OPERATIONS, fan_out())),
        ("forks and joins", |it| inside(it, TREE, forks_and_joins())),
        ("yields of 200", |it| inside(it, OPERATIONS, yields())),
        ("timers", |it| inside(it, OPERATIONS, timers())),
        ("from outside", |it| {
            from_outside(it);
            OPERATIONS
        }),
    ];
    println!("Per 1,000 operations: writes of shared lines / locks.\n");
    println!(
        "| operation | {} |",
        WORKERS.map(|n| format!("{n} workers")).join(" | ")
    );
    println!("|---|{}", "---:|".repeat(WORKERS.len()));
    for (name, body) in bodies {
        let cells = WORKERS.map(|workers| {
            let runtime = Builder::new()
                .worker_threads(workers)
                .build()
                .expect("a runtime");
            body(&runtime);
            let before = runtime.metrics().total();
            let operations = body(&runtime);
            let after = runtime.metrics().total();
            let submissions = if name == "from outside" {
                operations
            } else {
                0
            };
            let (writes, locks) = shared(&before, &after, submissions, operations);
            format!("{writes:.1} / {locks:.1}")
        });
        println!("| {name} | {} |", cells.join(" | "));
    }
}
