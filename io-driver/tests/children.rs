//! Child processes, real ones. A program of its own: it looks for zombies among its children.
#![cfg(target_os = "linux")]

#[path = "support/limit.rs"]
mod limit;
#[path = "support/net.rs"]
mod net;

use heist_io_driver::Config;
use heist_io_driver::process::{Child, Command, Stdio};
use heist_io_driver::signal::SignalKind;
use net::Rig;
use std::future::Future;
use std::io::ErrorKind;
use std::os::unix::process::ExitStatusExt;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

const MS: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_secs(60);

fn on_a_driver<F: Future>(body: impl FnOnce() -> F) -> F::Output {
    Rig::new(Config::default()).block_on(async { body().await })
}

fn sh(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

/// The state of a child of ours, as the kernel's table has it: `None` if it was reaped.
fn state_of(id: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.chars().next()
}

#[track_caller]
fn until(what: &str, condition: impl Fn() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < LONG, "still not: {what}");
        std::thread::sleep(MS);
    }
}

#[test]
fn it_gives_its_status_and_what_it_wrote() {
    on_a_driver(|| async {
        let output = sh("echo out; echo err >&2; exit 3").output().await.unwrap();
        assert_eq!(output.status.code(), Some(3));
        assert_eq!(
            (&*output.stdout, &*output.stderr),
            (&b"out\n"[..], &b"err\n"[..])
        );
        let status = Command::new("true").status().await.unwrap();
        assert!(status.success());
        // Nothing to read: it does not wait for a terminal.
        let output = Command::new("cat").output().await.unwrap();
        assert!(output.status.success() && output.stdout.is_empty());
        // Told where and with what.
        let output = sh("pwd; echo $GREETING $1")
            .args(["sh", "there"])
            .current_dir("/")
            .env("GREETING", "hello")
            .output()
            .await
            .unwrap();
        assert_eq!(output.stdout, b"/\nhello there\n");
    });
}

#[test]
fn it_is_talked_with_line_by_line() {
    on_a_driver(|| async {
        let mut child = Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        for n in 0..1000 {
            let line = format!("line {n}\n");
            stdin.write_all(line.as_bytes()).await.unwrap();
            let mut echo = vec![0; line.len()];
            stdout.read_exact(&mut echo).await.unwrap();
            assert_eq!(echo, line.as_bytes());
        }
        assert_eq!(child.try_wait().unwrap(), None);
        drop(stdin);
        assert_eq!(stdout.read(&mut [0; 8]).await.unwrap(), 0);
        assert!(child.wait().await.unwrap().success());
        // Again, from what is known.
        assert!(child.wait().await.unwrap().success());
        assert_eq!(child.id(), None);
    });
}

#[test]
fn a_hundred_megabytes_come_through_both_pipes_at_once_and_others_go_in() {
    const MUCH: usize = 100 << 20;
    on_a_driver(|| async {
        let script = format!("head -c {MUCH} /dev/zero & head -c {MUCH} /dev/zero >&2; wait");
        let output = sh(&script).output().await.unwrap();
        assert!(output.status.success());
        assert_eq!((output.stdout.len(), output.stderr.len()), (MUCH, MUCH));
        // As much in and out again as no pipe takes.
        let input: Vec<u8> = (0..4_u64 << 20).map(|n| (n * n / 7 % 251) as u8).collect();
        let child = Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        assert!(child.communicate(&input).await.unwrap().stdout == input);
        // One that does not want to know is no error.
        let child = Command::new("true").stdin(Stdio::piped()).spawn().unwrap();
        assert!(child.communicate(&input).await.unwrap().status.success());
    });
}

/// A child that has set its trap, so that a signal finds it.
async fn trapping(trap: &str) -> Child {
    // `exec` would lose the trap; a sleep in the background and a wait let the shell hear the signal.
    let script = format!("trap '{trap}' TERM; echo ready; while :; do sleep 1000 & wait; done");
    let mut child = sh(&script)
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap();
    let mut ready = [0; 6];
    child
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut ready)
        .await
        .unwrap();
    child
}

/// What a test leaves behind goes with its whole group.
fn end_group(id: u32) {
    let group = rustix::process::Pid::from_raw(id.cast_signed()).unwrap();
    let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
}

#[test]
fn it_is_asked_to_end_and_killed_if_it_does_not() {
    on_a_driver(|| async {
        let mut obeys = trapping("exit 7").await;
        let id = obeys.id().unwrap();
        obeys.signal(SignalKind::TERMINATE).unwrap();
        assert_eq!(obeys.wait().await.unwrap().code(), Some(7));
        let error = obeys.signal(SignalKind::TERMINATE).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        obeys.start_kill().unwrap();
        end_group(id);

        let mut ignores = trapping("").await;
        let id = ignores.id().unwrap();
        ignores.signal(SignalKind::TERMINATE).unwrap();
        assert_eq!(ignores.wait_timeout(50 * MS).await.unwrap(), None);
        let error = ignores.signal(SignalKind::from_raw(1000)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        ignores.kill().await.unwrap();
        assert_eq!(ignores.wait().await.unwrap().signal(), Some(9));
        assert_eq!(
            ignores
                .wait_timeout(Duration::MAX)
                .await
                .unwrap()
                .unwrap()
                .signal(),
            Some(9)
        );
        end_group(id);
    });
}

#[test]
fn a_dropped_wait_loses_nothing() {
    on_a_driver(|| async {
        let mut child = Command::new("sleep").arg("0.2").spawn().unwrap();
        for _ in 0..100 {
            let mut wait = pin!(child.wait());
            assert!(
                wait.as_mut()
                    .poll(&mut Context::from_waker(Waker::noop()))
                    .is_pending()
            );
        }
        assert_eq!(child.wait_timeout(Duration::ZERO).await.unwrap(), None);
        assert!(child.wait().await.unwrap().success());
    });
}

#[test]
fn a_dropped_child_is_reaped_when_it_ends_or_killed_if_it_was_to_be() {
    on_a_driver(|| async {
        let spawn = |command: &mut Command| {
            let child = command.spawn().unwrap();
            child.id().unwrap()
        };
        // Ended already; ends later.
        let ids: Vec<_> = (0..50)
            .map(|n| spawn(Command::new("sleep").arg(format!("0.{:02}", n % 10))))
            .collect();
        for id in ids {
            until("reaped", || state_of(id).is_none());
        }
        let id = spawn(Command::new("sleep").arg("1000").kill_on_drop(true));
        until("killed and reaped", || state_of(id).is_none());
    });
}

#[test]
fn children_outlive_their_driver_and_are_reaped_all_the_same() {
    let rig = Rig::new(Config::default());
    let (mut child, dropped) = rig.block_on(async {
        let dropped = Command::new("sleep").arg("0.3").spawn().unwrap();
        let child = Command::new("sleep").arg("0.3").spawn().unwrap();
        (child, dropped.id().unwrap())
    });
    assert_eq!(state_of(dropped).map(|state| state == 'Z'), Some(false));
    drop(rig);
    let id = child.id().unwrap();
    let ended = on_a_driver(|| async { child.wait().await });
    assert!(ended.is_err(), "nobody wakes who waits");
    drop(child);
    // Whoever starts the next one sees to it.
    until("reaped", || {
        let another = on_a_driver(|| async { Command::new("true").status().await });
        assert!(another.unwrap().success());
        state_of(id).is_none() && state_of(dropped).is_none()
    });
}

#[test]
fn what_cannot_be_started_is_an_error_and_leaves_nothing() {
    on_a_driver(|| async {
        let error = Command::new("/no/such/program").spawn().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        let error = Command::new("true")
            .current_dir("/no/such/place")
            .status()
            .await;
        assert_eq!(error.unwrap_err().kind(), ErrorKind::NotFound);
    });
}

#[test]
fn fifty_at_a_time_each_give_their_own() {
    let rig = Rig::new(Config::default());
    let waits: Vec<_> = (0..50)
        .map(|n| {
            rig.spawn(async move {
                let output = sh(&format!("echo {n}; exit {n}")).output().await.unwrap();
                assert_eq!(output.stdout, format!("{n}\n").as_bytes());
                assert_eq!(output.status.code(), Some(n));
            })
        })
        .collect();
    for wait in waits {
        wait.join().unwrap();
    }
}
