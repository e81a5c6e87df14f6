//! What cannot be brought about from outside.

use super::*;
use crate::Builder;

/// In a process of its own, which has to end: by itself, within the time that the thread of the worker takes.
#[test]
fn a_worker_that_panics_ends_the_process_and_hangs_nobody() {
    const CHILD: &str = "HEIST_WORKER_PANICS";
    if std::env::var_os(CHILD).is_some() {
        let runtime = Builder::new().worker_threads(1).build().unwrap();
        let exit = ThreadExit(runtime.handle().clone());
        let worker = std::thread::spawn(move || {
            let _exit = exit;
            panic!("in the scheduler");
        });
        // Without the end of the process this is a hang, as it would be for whoever awaits a task of that worker.
        let _ = worker.join();
        std::thread::sleep(std::time::Duration::from_secs(60));
        return;
    }
    let me = "scheduler::tests::a_worker_that_panics_ends_the_process_and_hangs_nobody";
    let began = std::time::Instant::now();
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args([me, "--exact", "--test-threads=1"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    assert_eq!(child.status.code(), None, "ended by a signal: {child:?}");
    assert!(began.elapsed() < std::time::Duration::from_secs(50));
}
