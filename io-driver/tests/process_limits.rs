//! A process that is out of descriptors and is to start another: an error that says so, and nothing is left behind.
//!
//! One test in a binary of its own, because it lowers the limit of the whole process, and looks at all of its children.
#![cfg(target_os = "linux")]

#[path = "support/limit.rs"]
mod limit;
#[path = "support/net.rs"]
mod net;

use heist_io_driver::process::{Command, Stdio};
use net::on_both_paths;
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, WaitOptions, getrlimit, setrlimit, wait};
use std::fs::File;
use std::os::unix::process::ExitStatusExt;

/// More than a child with three pipes takes.
const ENOUGH: usize = 16;

/// How many descriptors there are. Itself takes one, which is among them.
fn open() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Every descriptor that the process may still have.
fn exhaust() -> Vec<File> {
    std::iter::from_fn(|| File::open("/dev/null").ok()).collect()
}

/// No child, neither running nor ended.
#[track_caller]
fn is_childless() {
    let child = wait(WaitOptions::NOHANG);
    assert_eq!(child.unwrap_err(), Errno::CHILD);
}

#[test]
fn what_lacks_descriptors_is_an_error_and_leaves_nothing() {
    on_both_paths(|rig| {
        let before = getrlimit(Resource::Nofile);
        let lowered = Rlimit {
            current: Some(96),
            maximum: before.maximum,
        };
        setrlimit(Resource::Nofile, lowered).unwrap();
        // What is made once and stays: the one that is told of signals where children have no descriptors, the lock of the standard streams.
        rig.block_on(async { Command::new("true").output().await })
            .unwrap();
        is_childless();
        let held = open();
        let mut files = exhaust();
        // It needs no pipe, and runs; but who could tell when it ends?
        let error = rig.block_on(async { Command::new("sleep").arg("20").spawn() });
        let error = error.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(Errno::MFILE.raw_os_error()));
        is_childless();

        let mut failed = 0;
        for spare in 0..ENOUGH {
            let outcome = rig.block_on(async {
                let mut child = Command::new("cat")
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .stderr(Stdio::piped())
                    .spawn()?;
                child.kill().await?;
                child.wait().await
            });
            match outcome {
                Ok(status) => assert_eq!(status.signal(), Some(9), "{spare} to spare"),
                Err(error) => {
                    let number = Some(Errno::MFILE.raw_os_error());
                    assert_eq!(error.raw_os_error(), number, "{spare} to spare: {error}");
                    assert_eq!(spare, failed, "fewer were enough");
                    failed += 1;
                }
            }
            is_childless();
            // The ones that were to spare are free again, and no more than these.
            let free = exhaust();
            assert_eq!(free.len(), spare, "{spare} to spare");
            drop(free);
            files.pop();
        }
        // Both ends of three pipes, of which three are the child's; what tells of the end comes later.
        assert!((6..ENOUGH).contains(&failed), "{failed} were too few");
        drop(files);
        assert_eq!(open(), held);
        setrlimit(Resource::Nofile, before).unwrap();
        let output = rig.block_on(async { Command::new("echo").arg("hello").output().await });
        assert_eq!(output.unwrap().stdout, b"hello\n");
    });
}
