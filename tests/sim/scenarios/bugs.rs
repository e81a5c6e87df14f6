//! That the scenarios find bugs: each that the runtime can be asked to have is caught by one of them, but for those that no simulation can see.
#![cfg(feature = "planted-bugs")]

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Each bug with a scenario that fails with it.
const CAUGHT: &[(&str, &str)] = &[
    (
        "SleepWithoutLookingAgain",
        "submit::whoever_waits_for_the_last_submission_is_served",
    ),
    ("ClaimUncounted", "runtimes::submissions_meet_a_shutdown"),
    (
        "EndsTasksUncounted",
        "runtimes::what_a_task_that_shuts_its_runtime_down_leaves_has_ended_after_the_next_shutdown",
    ),
    (
        "NobodyWanted",
        "submit::what_threads_outside_submit_runs_once",
    ),
    (
        "ParkOverNotification",
        "submit::what_threads_outside_submit_runs_once",
    ),
    (
        "NotifyOutsideTheLock",
        "submit::every_wake_is_followed_by_a_poll",
    ),
    (
        "WakeWhileRunningLost",
        "submit::every_wake_is_followed_by_a_poll",
    ),
    ("QueuedTwice", "submit::wakes_of_one_moment_are_one_poll"),
    (
        "JoinWakerAfterDone",
        "cancel::an_abort_meets_a_poll_that_suspends_for_good",
    ),
    (
        "HandleDropFromOldLook",
        "combining::a_gather_ends_with_all_or_with_the_first_cancelled",
    ),
    (
        "CancelMissedAfterPoll",
        "cancel::an_accepted_cancel_is_the_outcome",
    ),
    (
        "PanicGivesWayToCancel",
        "combining::a_group_ends_after_its_children_and_tells_of_the_failure",
    ),
    (
        "PolledDuringADelivery",
        "cancel::a_look_at_a_task_changes_nothing",
    ),
    ("OwedEntryLost", "cancel::a_plain_cancel_crosses_wakes"),
    (
        "DeliveryLeftWithKept",
        "cancel::who_suppresses_does_so_for_its_waiters",
    ),
    (
        "InterruptionNotMarked",
        "cancel::a_plain_cancel_crosses_wakes",
    ),
    (
        "VisitingMarkMissing",
        "cancel::two_tasks_that_await_each_other_can_be_cancelled_at_once",
    ),
    (
        "ReservedNotCommitted",
        "cancel::a_plain_cancel_crosses_wakes",
    ),
    (
        "UncancelLeavesTheMark",
        "combining::a_wait_that_is_cancelled_loses_no_handle",
    ),
    (
        "LateRegionRequestCounts",
        "combining::a_groups_body_ends_while_a_child_fails",
    ),
    (
        "UntakenDropped",
        "cancel::a_value_that_wins_leaves_the_request_to_the_task",
    ),
    (
        "AbortMissedAfterPoll",
        "cancel::an_abort_meets_a_poll_that_suspends_for_good",
    ),
    (
        "WatchedBeforeTheLock",
        "combining::a_gather_of_gathers_with_a_shared_child",
    ),
    (
        "UnwatchForgotten",
        "handles::who_gives_up_waiting_leaves_no_waker",
    ),
    (
        "PromiseWatchedAfterALook",
        "runtimes::wakers_outlive_their_runtime",
    ),
    ("SettledTwice", "handles::a_promise_is_settled_once"),
    (
        "RunOwedByLookForgotten",
        "cancel::a_look_at_a_task_changes_nothing",
    ),
    (
        "CancelDuringLookForgotten",
        "cancel::a_look_at_a_task_changes_nothing",
    ),
    ("BoundAfterClose", "runtimes::submissions_meet_a_shutdown"),
    (
        "DrainUnheard",
        "runtimes::block_on_from_outside_meets_wakes_and_a_shutdown",
    ),
    ("ShutdownEndUnheard", "runtimes::two_shutdowns_and_a_drop"),
    (
        "OwnTaskAwaited",
        "runtimes::a_shutdown_from_a_task_while_another_thread_shuts_down",
    ),
    (
        "GivesUpOverAJob",
        "runtimes::blocking_closures_run_once_each_whatever_becomes_of_the_threads",
    ),
    (
        "ForeignWaitUnheard",
        "runtimes::a_foreign_wait_hears_of_the_runtimes_end",
    ),
    (
        "OnlyTheFirstIsTold",
        "handles::all_who_wait_for_an_end_hear_of_it_and_who_gives_up_is_let_go",
    ),
    (
        "BrokenPromiseSilent",
        "handles::a_promise_that_is_dropped_says_so",
    ),
    (
        "CalledAndCancelled",
        "timers::a_callback_is_called_or_cancelled",
    ),
    (
        "BlockedUnreplaced",
        "runtimes::block_on_in_workers_never_runs_out_of_them",
    ),
    (
        "SpareUnheard",
        "runtimes::block_on_in_workers_never_runs_out_of_them",
    ),
    (
        "DriverUnheard",
        "runtimes::a_foreign_wait_hears_of_the_runtimes_end",
    ),
    (
        "RegionTakesAll",
        "cancel::a_request_is_never_lost_between_regions",
    ),
    (
        "OutcomeLeaked",
        "combining::a_gather_ends_with_all_or_with_the_first_cancelled",
    ),
    (
        "PoolEndUnheard",
        "runtimes::blocking_closures_run_once_each_whatever_becomes_of_the_threads",
    ),
    (
        "PoolCloseUnheard",
        "runtimes::blocking_closures_meet_a_cancel_and_a_shutdown",
    ),
    (
        "DrainedOutsideTheLock",
        "runtimes::submissions_meet_a_shutdown",
    ),
    (
        "ReleaseFromOldLook",
        "runtimes::blocking_closures_meet_a_cancel_and_a_shutdown",
    ),
    (
        "ShutdownWaitUnlooked",
        "runtimes::a_shutdown_from_a_task_while_another_thread_shuts_down",
    ),
    (
        "SlotTakenByALook",
        "cancel::an_abort_ends_who_catches_everything",
    ),
];

/// Here one thread runs at a time, and sees all that those before it did: what is wrong is only an ordering, or two accesses of one cell, between two
/// steps. Models see it.
const ORDERINGS: &[&str] = &[
    "SubmitWithoutFence",
    "UnchangedWordNotWritten",
    "ReferenceDroppedRelaxed",
    "DoneSeenRelaxed",
    "JoinWakerReplacedWhilePublished",
    "JoinWakerTakenByBoth",
    "SlotUnordered",
    "ClearWithoutFence",
];

/// What these do wrong costs time, which the monitor, or the next look, ends: nothing is lost for good. Models see it.
const UNSEEN: &[&str] = &[
    "SearchEndsUnheard",
    "NapEndsUnheard",
    "NapNeverEnds",
    "MonitorSleepsUnlooked",
    "MonitorNotToldOfReturn",
];

/// What makes these matter no scenario has: a thread that does not start, a shutdown that gives up, spares and permits at the limit. Models have it.
const RARE: &[&str] = &[
    "OneStrandedRefused",
    "DesertedUnlooked",
    "LastExitLeavesTasks",
    "PermitOfSleeperTaken",
    "PermitGivenBackUnheard",
    "ChosenSpareEnds",
    "PartialCountsAsWhole",
];

/// The bugs there are, as they stand in the source.
fn all() -> Vec<&'static str> {
    let source = include_str!("../../../runtime/src/sync_switch.rs");
    let (_, bugs) = source.split_once("enum Bug {").expect("it is there");
    let (bugs, _) = bugs.split_once("\n}").expect("it ends");
    let names = bugs.lines().map(|line| line.trim().trim_end_matches(','));
    names
        .filter(|name| name.starts_with(char::is_uppercase))
        .collect()
}

#[test]
fn every_bug_is_on_a_list() {
    for bug in all() {
        let mut caught = CAUGHT.iter().map(|(bug, _)| bug);
        let mut others = ORDERINGS.iter().chain(UNSEEN).chain(RARE);
        assert!(
            caught.any(|other| *other == bug) != others.any(|other| *other == bug),
            "{bug} has to be on one list"
        );
    }
    for (bug, _) in CAUGHT {
        assert!(all().contains(bug), "there is no {bug}");
    }
}

/// A scenario in a process of its own, with a bug.
fn start(bug: &str, scenario: &str) -> Child {
    let mut child = Command::new(std::env::current_exe().expect("the test binary has a path"));
    child
        .args([&format!("scenarios::{scenario}"), "--exact"])
        .env("HEIST_PLANT", bug)
        .env("HEIST_SIM_SCHEDULES", "2000")
        .env_remove("HEIST_SIM_SEED")
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    child.spawn().expect("the test binary runs")
}

#[test]
fn every_bug_is_caught() {
    if std::env::var_os("HEIST_PLANT").is_some() {
        return;
    }
    let mut missed = Vec::new();
    for (bug, scenario) in CAUGHT {
        let began = Instant::now();
        let mut child = start(bug, scenario);
        // One that hangs for good is caught too: with a bug, the threads of a simulation may wait for each other out of its sight.
        while child.try_wait().expect("it is our child").is_none() {
            if began.elapsed() > Duration::from_secs(10) {
                child.kill().expect("it runs");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let output = child.wait_with_output().expect("it has ended");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains("running 1 test"), "{scenario}: no such test");
        if output.status.success() {
            missed.push(format!("{scenario} passes with {bug}"));
        }
        let how = said.lines().find(|line| line.contains("HEIST_SIM_SEED"));
        let how = how.unwrap_or("it hangs, or has corrupted memory");
        let lasted = began.elapsed().as_secs_f64();
        eprintln!("{bug}: {scenario}, {lasted:.2} s: {how}");
    }
    assert!(missed.is_empty(), "{missed:#?}");
}
