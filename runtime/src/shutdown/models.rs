//! Models of shutdowns that meet: the real `Handle::shutdown`, of a runtime whose workers have left.

use super::*;
use crate::Builder;
use crate::sync_switch::check::{UNBOUNDED, check, planted_bugs_fail};
use loom::thread;

const LONG: Duration = Duration::from_secs(3600);

fn runtime() -> Handle {
    let builder = Builder::new().worker_threads(1);
    builder.assemble().expect("there are descriptors left")
}

/// Both get the report of the one who did it.
#[test]
fn two_shutdowns_are_one() {
    check(UNBOUNDED, || {
        let handle = runtime();
        let there = handle.clone();
        let other = thread::spawn(move || there.shutdown(LONG));
        let mine = handle.shutdown(LONG);
        let theirs = other.join().unwrap();
        assert!(mine.is_complete() && theirs.is_complete());
        assert_eq!(mine.took, theirs.took, "each has done it");
    });
}

/// A blocking closure shuts its runtime down: its own thread is left out of that, and not out of what somebody outside asks for.
#[test]
fn a_shutdown_from_outside_waits_for_who_has_left_himself_out() {
    check(UNBOUNDED, || {
        let handle = runtime();
        let there = handle.clone();
        let job = move || drop(there.shutdown(LONG));
        assert!(handle.pool().offload().run(Box::new(job)).is_ok());
        let report = handle.shutdown(LONG);
        assert!(report.is_complete(), "{report}");
        assert_eq!(handle.pool().threads(), (0, 0));
    });
}

#[test]
fn every_model_fails_with_its_bugs_planted() {
    planted_bugs_fail(
        module_path!(),
        &[
            (
                "two_shutdowns_are_one",
                &[Bug::ShutdownEndUnheard, Bug::ShutdownWaitUnlooked],
            ),
            (
                "a_shutdown_from_outside_waits_for_who_has_left_himself_out",
                &[Bug::PartialCountsAsWhole],
            ),
        ],
    );
}
