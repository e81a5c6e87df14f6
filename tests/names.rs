//! A name that nobody answers for, asked of the system's own resolver. The test starts this program again, where the machine's name server is one that
//! it makes itself: in namespaces of its own, as a user may make them. Where that is not allowed, it says so.
#![cfg(target_os = "linux")]

#[path = "it/limit.rs"]
mod limit;

use heist::net::lookup_host;
use heist::{Builder, timeout};
use limit::limited;
use std::io::ErrorKind;
use std::net::UdpSocket;
use std::process::Command;
use std::time::{Duration, Instant};

const MS: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_secs(20);

/// Tells the child that it is one.
const CHILD: &str = "HEIST_CHILD";

/// How long the resolver waits for its server. Users have 10 s, if nobody has said anything else.
const PATIENCE: Duration = Duration::from_secs(3);

/// Ends with `NOT_ALLOWED` if the world cannot be made.
const WORLD: &str = r#"
    set -e
    trap 'exit 77' EXIT
    ip link set lo up
    printf 'nameserver 127.0.0.1\noptions timeout:3 attempts:1\n' >"$0/resolv.conf"
    echo 'hosts: files dns' >"$0/nsswitch.conf"
    for file in resolv.conf nsswitch.conf; do mount --bind "$0/$file" "/etc/$file"; done
    trap - EXIT
    exec "$@"
"#;
const NOT_ALLOWED: i32 = 77;

#[test]
fn a_name_that_is_never_answered_for_keeps_its_thread_and_nobody_else() {
    const TEST: &str = "a_name_that_is_never_answered_for_keeps_its_thread_and_nobody_else";
    if std::env::var_os(CHILD).is_some() {
        return limited(among_silence);
    }
    let directory = std::env::temp_dir().join(format!("heist-names-{}", std::process::id()));
    std::fs::create_dir(&directory).unwrap();
    let child = Command::new("unshare")
        .args(["--map-root-user", "--mount", "--net", "sh", "-c", WORLD])
        .arg(&directory)
        .arg(std::env::current_exe().unwrap())
        .args([TEST, "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD, "yes")
        .output();
    std::fs::remove_dir_all(&directory).unwrap();
    match child {
        Ok(child) if child.status.success() => {}
        Ok(child) if !made(&child.status) => {
            let told = String::from_utf8_lossy(&child.stderr);
            eprintln!("skipped: no namespaces here: {}", told.trim());
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            eprintln!("skipped: no unshare here");
        }
        other => panic!("{other:?}"),
    }
}

/// Whether the test itself has begun. 1 is how `unshare` says that it could not.
fn made(status: &std::process::ExitStatus) -> bool {
    !matches!(status.code(), Some(1 | NOT_ALLOWED))
}

fn among_silence() {
    let server = UdpSocket::bind("127.0.0.1:53").unwrap();
    server.set_read_timeout(Some(LONG)).unwrap();
    // For what it is asked next; waits for it.
    let asked_for = || {
        let mut query = [0; 512];
        let length = server.recv(&mut query).unwrap();
        let text = String::from_utf8_lossy(&query[..length]).into_owned();
        let names = ["first", "second", "third", "fourth"];
        names.into_iter().find(|name| text.contains(name)).unwrap()
    };
    // Absolute names: no search list is gone through.
    let asks =
        |name: &'static str, limit| async move { timeout(limit, lookup_host((name, 80))).await };
    let builder = Builder::new().worker_threads(2).max_blocking_threads(1);
    let runtime = builder.build().unwrap();

    // Whoever awaits it is free when the limit has passed.
    let began = Instant::now();
    let looked_up = runtime.block_on(asks("first.example.", 100 * MS)).unwrap();
    looked_up.unwrap_err();
    let took = began.elapsed();
    assert!((100 * MS..PATIENCE).contains(&took), "{took:?}");
    assert_eq!(asked_for(), "first");
    // The thread is not: what else is to block waits for one.
    let metrics = runtime.handle().metrics();
    assert_eq!((metrics.blocking_threads, metrics.blocking_busy), (1, 1));
    let closure = runtime.spawn_blocking(Instant::now);

    // One that has not begun by its limit is never made.
    let looked_up = runtime.block_on(asks("second.example.", 100 * MS)).unwrap();
    looked_up.unwrap_err();
    // Files know this one, and the thread is back by itself.
    let looked_up = runtime.block_on(asks("localhost", LONG)).unwrap();
    assert!(
        looked_up
            .unwrap()
            .unwrap()
            .all(|found| found.ip().is_loopback())
    );
    let waited = runtime.block_on(closure).unwrap().unwrap() - began;
    assert!(waited >= PATIENCE, "{waited:?}");

    // Without a limit it is the resolver's.
    let began = Instant::now();
    let looked_up = runtime.block_on(lookup_host("third.example.:80")).unwrap();
    let error = looked_up.unwrap_err().to_string();
    assert!(error.contains("name resolution"), "{error}");
    assert!(began.elapsed() >= PATIENCE, "{:?}", began.elapsed());
    // Two kinds of addresses are two queries. Nobody has asked for the second name.
    let asked = [asked_for(), asked_for(), asked_for()];
    assert_eq!(asked, ["first", "third", "third"]);

    // Nor does a shutdown wait beyond its deadline.
    let asking = runtime.spawn(asks("fourth.example.", LONG));
    assert_eq!(asked_for(), "fourth");
    let began = Instant::now();
    let report = runtime.shutdown(100 * MS);
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
    assert_eq!(report.late_blocking_threads, 1, "{report}");
    assert!(asking.is_done());
}
