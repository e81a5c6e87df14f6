//! Mixed load with faults, for as long as one likes: memory, descriptors and threads stay what they were.
//!
//! Ten seconds by default. `HEIST_SOAK_SECONDS=3600 HEIST_TEST_LIMIT=4000 cargo test --release --test soak -- --nocapture` is an hour.
//!
//! HTTP with clients that hang up in the middle, timers and time-outs, cancellations that are caught, blocking closures, panics, polls that block, submissions
//! and whole runtimes from threads outside, and times in which there are no descriptors left.
#![cfg(target_os = "linux")]
#![allow(unsafe_code)]

#[path = "../examples/support/http.rs"]
#[expect(dead_code, reason = "an example's too")]
mod http;
#[path = "it/limit.rs"]
mod limit;

use heist::net::{TcpListener, TcpStream};
use heist::{Builder, Handle, catch_cancel, sleep, spawn, spawn_blocking, timeout};
use std::alloc::{GlobalAlloc, Layout, System};
use std::fs::File;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// The system's allocator, and how many bytes of it are in use: what a leak adds to, whatever the allocator makes of it.
struct Counting;

static IN_USE: AtomicI64 = AtomicI64::new(0);

// SAFETY: the system's allocator, and a number that needs no memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        IN_USE.fetch_add(layout.size() as i64, Relaxed);
        // SAFETY: by the caller's word.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size() as i64, Relaxed);
        // SAFETY: by the caller's word.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const CLIENTS: u64 = 16;
/// So many descriptors the process may have, where that can be said.
const DESCRIPTORS: &str = "400";

#[derive(Default)]
struct Done {
    stop: AtomicBool,
    requests: AtomicU64,
    broken_off: AtomicU64,
    without_descriptors: AtomicU64,
    timers: AtomicU64,
    cancels: AtomicU64,
    cleanups: AtomicU64,
    blocking: AtomicU64,
    panics: AtomicU64,
    blocked_polls: AtomicU64,
    submissions: AtomicU64,
    runtimes: AtomicU64,
}

impl Done {
    fn is_over(&self) -> bool {
        self.stop.load(SeqCst)
    }
}

fn add(count: &AtomicU64) {
    count.fetch_add(1, SeqCst);
}

/// A number below `limit`.
fn below(limit: u64) -> u64 {
    fastrand::u64(..limit)
}

async fn client(done: Arc<Done>, address: SocketAddr) {
    while !done.is_over() {
        match visit(&done, address).await {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(24) => {
                add(&done.without_descriptors);
                sleep(Duration::from_millis(5)).await;
            }
            Err(_) => sleep(Duration::from_millis(1)).await,
        }
    }
}

async fn visit(done: &Done, address: SocketAddr) -> std::io::Result<()> {
    let stream = TcpStream::connect(address).await?;
    for _ in 0..1 + below(20) {
        let request = b"GET /double/21 HTTP/1.1\r\nhost: here\r\n\r\n";
        if below(50) == 0 {
            // Hangs up in the middle of a request, or of an answer.
            stream.write_all(&request[..below(40) as usize]).await?;
            add(&done.broken_off);
            return Ok(());
        }
        stream.write_all(request).await?;
        let mut answer = Vec::new();
        let whole = timeout(Duration::from_secs(10), async {
            while !answer.ends_with(b"\r\n\r\n42") {
                let mut part = [0; 256];
                match stream.read(&mut part).await? {
                    0 => return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof)),
                    n => answer.extend_from_slice(&part[..n]),
                }
            }
            Ok(())
        });
        whole.await.expect("an answer comes in time")?;
        add(&done.requests);
        sleep(Duration::from_micros(below(300))).await;
    }
    Ok(())
}

async fn timers(done: Arc<Done>) {
    while !done.is_over() {
        let sleeps: Vec<_> = (0..200)
            .map(|_| {
                let (length, limit) = (below(30_000), below(30_000));
                spawn(async move {
                    let (length, limit) =
                        (Duration::from_micros(length), Duration::from_micros(limit));
                    let began = Instant::now();
                    let in_time = timeout(limit, sleep(length)).await;
                    // Neither is early. On a machine this busy both may be due before anybody looks, so that no order of the two is certain.
                    let least = if in_time.is_ok() { length } else { limit };
                    assert!(began.elapsed() >= least);
                })
            })
            .collect();
        for sleep in sleeps {
            sleep.await.unwrap();
            add(&done.timers);
        }
    }
}

async fn cancels(done: Arc<Done>) {
    while !done.is_over() {
        let tasks: Vec<_> = (0..50)
            .map(|_| {
                let done = done.clone();
                spawn(async move {
                    let work = async {
                        let inner = spawn(sleep(Duration::from_secs(3600)));
                        inner.await.unwrap();
                    };
                    if let Err(cancelled) = catch_cancel(work).await {
                        sleep(Duration::from_micros(below(500))).await;
                        add(&done.cleanups);
                        cancelled.propagate().await
                    }
                })
            })
            .collect();
        sleep(Duration::from_micros(below(2_000))).await;
        for task in &tasks {
            assert!(task.cancel("the soak"));
            add(&done.cancels);
        }
        for task in tasks {
            assert!(task.await.unwrap_err().is_cancelled());
        }
        sleep(Duration::from_millis(2)).await;
    }
}

async fn trouble(done: Arc<Done>) {
    while !done.is_over() {
        let panics = spawn(async { std::panic::resume_unwind(Box::new("as planned")) });
        let failed: Result<(), _> = panics.await;
        assert!(failed.unwrap_err().is_panic());
        add(&done.panics);
        let closures: Vec<_> = (0..8)
            .map(|n| spawn_blocking(move || std::thread::sleep(Duration::from_micros(n * 100))))
            .collect();
        for closure in closures {
            closure.await.unwrap();
            add(&done.blocking);
        }
        sleep(Duration::from_millis(20)).await;
    }
}

async fn blocks_its_poll(done: Arc<Done>) {
    while !done.is_over() {
        sleep(Duration::from_millis(400)).await;
        std::thread::sleep(Duration::from_millis(30));
        add(&done.blocked_polls);
    }
}

fn submits(done: &Done, handle: &Handle) {
    while !done.is_over() {
        let n = below(1_000_000);
        let future = heist::run_coroutine_threadsafe(
            async move {
                sleep(Duration::from_micros(below(200))).await;
                n
            },
            handle,
        );
        match below(4) {
            0 => drop(future),
            1 => drop(future.cancel()),
            _ => assert_eq!(future.result(Duration::from_secs(30)).unwrap(), n),
        }
        add(&done.submissions);
    }
}

fn makes_runtimes(done: &Done) {
    while !done.is_over() {
        if let Ok(runtime) = Builder::new().worker_threads(1 + below(3) as usize).build() {
            for _ in 0..20 {
                runtime
                    .spawn(sleep(Duration::from_millis(below(20))))
                    .detach();
            }
            drop(runtime.spawn_blocking(|| {}));
            std::thread::sleep(Duration::from_millis(below(15)));
            let report = runtime.shutdown(Duration::from_secs(30));
            assert!(report.is_complete(), "{report}");
            assert!(runtime.audit().is_settled(), "{}", runtime.audit());
            add(&done.runtimes);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Takes all descriptors there are for a moment, now and then.
fn takes_descriptors(done: &Done) {
    while !done.is_over() {
        std::thread::sleep(Duration::from_millis(900));
        let (mut taken, began) = (Vec::new(), Instant::now());
        while began.elapsed() < Duration::from_millis(50) {
            match File::open("/dev/null") {
                Ok(file) => taken.push(file),
                Err(_) => std::thread::yield_now(),
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Held {
    /// Of memory that was allocated and not freed.
    bytes: i64,
    /// Of memory that the process keeps, free or not.
    resident_kb: i64,
    descriptors: usize,
    threads: usize,
}

impl Held {
    fn now() -> Self {
        let status = std::fs::read_to_string("/proc/self/status");
        let line = status.as_ref().ok().and_then(|status| {
            let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
            line.split_whitespace().nth(1)?.parse().ok()
        });
        let entries = |path| std::fs::read_dir(path).map_or(0, Iterator::count);
        Self {
            bytes: IN_USE.load(Relaxed),
            resident_kb: line.unwrap_or(0),
            descriptors: entries("/proc/self/fd"),
            threads: entries("/proc/self/task"),
        }
    }
}

/// What is held at least, but for the lowest tenth: how much is under way at a moment is not what a leak shows in. One more runtime that is just there is a third of it.
fn base(samples: &[Held], of: impl Fn(&Held) -> i64) -> i64 {
    // Without a descriptor left the kernel could not be asked, and its answer counts as 0.
    let told = samples.iter().filter(|held| held.threads > 0);
    let mut sizes: Vec<_> = told.map(of).collect();
    sizes.sort_unstable();
    sizes[sizes.len() / 10]
}

/// What the process holds when it rests: tasks and threads of a load that has just ended may take a moment.
fn at_rest(than: Option<Held>) -> Held {
    let began = Instant::now();
    loop {
        let held = Held::now();
        let more = than
            .is_some_and(|than| held.descriptors > than.descriptors || held.threads > than.threads);
        if !more || began.elapsed() > Duration::from_secs(30) {
            return held;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn under_load_and_faults_nothing_grows() {
    let seconds = std::env::var("HEIST_SOAK_SECONDS").map_or(10, |text| text.parse().unwrap());
    limit::limited(move || soak(seconds));
}

fn soak(seconds: u64) {
    // glibc gives threads eight heaps per core to share, and each becomes as large as the largest burst that it happens to serve. Until all of them have
    // seen one, hours go by in which resident memory grows, and says nothing of heist. Two have within a minute.
    #[cfg(target_env = "gnu")]
    // SAFETY: sets a number.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 2)
    };
    let limited = Command::new("prlimit")
        .args(["--pid", &std::process::id().to_string()])
        .arg(format!("--nofile={DESCRIPTORS}:"))
        .status()
        .is_ok_and(|status| status.success());
    if !limited {
        eprintln!("skipped: running out of descriptors, for want of prlimit");
    }
    let mut samples = Vec::with_capacity(2 * seconds as usize);
    let before = at_rest(None);
    let done = Arc::new(Done::default());
    let runtime = Builder::new()
        .worker_threads(2)
        .blocking_keep_alive(Duration::from_millis(500))
        .slow_poll_threshold(Duration::MAX)
        .exception_handler(|_| {})
        .build()
        .unwrap();
    let (server, listener) = (http::Server::default(), bind(&runtime));
    let address = listener.local_addr().unwrap();
    let serving = {
        let server = server.clone();
        runtime.spawn(async move { server.serve(listener).await })
    };
    let mut tasks: Vec<_> = (0..CLIENTS)
        .map(|_| runtime.spawn(client(done.clone(), address)))
        .collect();
    tasks.push(runtime.spawn(timers(done.clone())));
    tasks.push(runtime.spawn(cancels(done.clone())));
    tasks.push(runtime.spawn(trouble(done.clone())));
    tasks.push(runtime.spawn(blocks_its_poll(done.clone())));
    let thread = |body: fn(&Done, &Handle)| {
        let (done, handle) = (done.clone(), runtime.handle().clone());
        std::thread::spawn(move || body(&done, &handle))
    };
    let mut threads = vec![
        thread(submits),
        thread(|done, _| makes_runtimes(done)),
        thread(submits),
    ];
    if limited {
        threads.push(thread(|done, _| takes_descriptors(done)));
    }

    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(seconds) {
        std::thread::sleep(Duration::from_millis(500));
        samples.push(Held::now());
        assert!(runtime.audit().is_balanced(), "{}", runtime.audit());
    }

    done.stop.store(true, SeqCst);
    for thread in threads {
        thread.join().unwrap();
    }
    runtime
        .block_on(async {
            for task in tasks {
                task.await.unwrap();
            }
            server.stop();
            serving.await.unwrap().unwrap();
        })
        .unwrap();
    let report = runtime.shutdown(Duration::from_secs(30));
    assert!(report.is_complete(), "{report}");
    let audit = runtime.audit();
    assert!(audit.is_balanced() && audit.is_settled(), "{audit}");
    drop(runtime);
    let after = at_rest(Some(before));
    let get = |count: &AtomicU64| count.load(SeqCst);
    eprintln!(
        "{seconds} s: {} requests ({} broken off, {} times no descriptor), {} timers, {} cancels, {} closures, {} panics, {} blocked polls, {} submissions, \
         {} runtimes",
        get(&done.requests),
        get(&done.broken_off),
        get(&done.without_descriptors),
        get(&done.timers),
        get(&done.cancels),
        get(&done.blocking),
        get(&done.panics),
        get(&done.blocked_polls),
        get(&done.submissions),
        get(&done.runtimes)
    );
    eprintln!("{audit}");
    eprintln!("before {before:?}\nafter  {after:?}");
    let quarters: Vec<_> = samples.chunks(samples.len().div_ceil(4)).collect();
    let in_use = quarters
        .iter()
        .map(|quarter| base(quarter, |held| held.bytes))
        .collect::<Vec<_>>();
    let resident = quarters
        .iter()
        .map(|quarter| base(quarter, |held| held.resident_kb))
        .collect::<Vec<_>>();
    eprintln!("at least, by quarters: {in_use:?} bytes in use, {resident:?} kB resident");
    assert_eq!(
        get(&done.cleanups),
        get(&done.cleanups).min(get(&done.cancels))
    );
    for count in [
        &done.requests,
        &done.timers,
        &done.cancels,
        &done.submissions,
        &done.runtimes,
    ] {
        assert!(get(count) > 0);
    }
    assert_eq!(
        (after.descriptors, after.threads),
        (before.descriptors, before.threads)
    );
    // What a thread's end, or the next use of a queue, frees later.
    assert!(after.bytes <= before.bytes + (64 << 10));
    // A quarter of a short run is too short to say anything of growth.
    if seconds >= 300 {
        assert!(in_use[3] <= in_use[1] + in_use[1] / 20);
        assert!(resident[3] <= resident[1] + resident[1] / 4 + 1024);
    }
}

fn bind(runtime: &Handle) -> TcpListener {
    runtime
        .block_on(TcpListener::bind("127.0.0.1:0"))
        .unwrap()
        .unwrap()
}
