//! Runs a model through all its interleavings, and again, in child processes, with its bugs planted.
//!
//! Rules for models, learnt from what loom does:
//!
//! * Its threads are coroutines on one thread of the system, and std's thread-locals are one for all of them. So what a poll goes by (the current
//!   task and region, the leaves' bracket, outcomes and callbacks that wait their turn) stands in loom's (`sync_switch::thread_local`). Those that stay
//!   std's only hand out numbers, or are met by no model. A lock that is not `sync_switch`'s (a `OnceLock` too, whose closure takes one) stops them all.
//! * A panic may be caught on its way out of a model, by the very code that is checked. So panics are counted as they begin; a model that
//!   wants one uses `resume_unwind`, which does not count.
//! * SeqCst loads and stores are no more than AcqRel to it; only its fences are SeqCst. Condvars never wake by themselves, and waiting for
//!   one never times out.
//! * A std atomic is invisible: it orders nothing, and nothing is explored round it. The models count with them what they look at after all
//!   threads have been joined.

use super::Bug;
use std::cell::Cell;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Once};
use std::time::Instant;

/// A thread is interrupted at most so often where it could go on: nearly all bugs need one or two, and the number of interleavings grows
/// with the power of it.
pub(crate) const BOUNDED: Option<usize> = Some(3);
/// For models of several tasks, each step of which is many.
pub(crate) const NARROW: Option<usize> = Some(2);
/// Every interleaving, for the smallest models.
pub(crate) const UNBOUNDED: Option<usize> = None;

thread_local! {
    static PANICS: Cell<u64> = const { Cell::new(0) };
}

fn count_panics() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            PANICS.with(|panics| panics.set(panics.get() + 1));
            report(panic);
        }));
    });
}

/// Runs `model` once for each interleaving of its threads. `HEIST_PREEMPTIONS=` a number bounds it otherwise, `none` not at all.
pub(crate) fn check(preemptions: Option<usize>, model: impl Fn() + Send + Sync + 'static) {
    count_panics();
    let executions = Arc::new(AtomicU64::new(0));
    let counted = executions.clone();
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = match std::env::var("HEIST_PREEMPTIONS") {
        Ok(bound) => bound.parse().ok(),
        Err(_) => preemptions,
    };
    // Far more than a model takes: what reaches it waits in a loop for something that does not come.
    builder.max_branches = 5_000;
    let begun = Instant::now();
    builder.check(move || {
        counted.fetch_add(1, Relaxed);
        model();
    });
    assert_eq!(PANICS.with(Cell::get), 0, "a panic was swallowed");
    let executions = executions.load(Relaxed);
    let thread = std::thread::current();
    let name = thread.name().unwrap_or_default();
    let lasted = begun.elapsed().as_secs_f64();
    eprintln!("{name}: {executions} executions in {lasted:.2} s");
}

/// Runs each model of `module` once more for each bug it names, in a child process with that bug planted, and sees it fail there. (In a
/// process of its own, since a deadlock that loom finds ends it.) Every model of the module has to be named.
pub(crate) fn planted_bugs_fail(module: &str, twins: &[(&str, &[Bug])]) {
    let binary = std::env::current_exe().expect("the test binary has a path");
    let (_, module) = module.split_once("::").expect("the crate comes first");
    let run = |arguments: &[&str], planted: &str| {
        let mut child = Command::new(&binary);
        child.args(arguments).env("HEIST_PLANT", planted);
        let output = child.output().expect("the test binary runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.success(), text)
    };
    let (_, listed) = run(&["--list", "--format=terse"], "");
    let me = format!("{module}::every_model_fails_with_its_bugs_planted");
    let tests = listed.lines().map(|line| line.trim_end_matches(": test"));
    // Those of the modules in it have their own lists.
    let is_mine = |test: &&str| {
        let name = test.strip_prefix(module);
        name.is_some_and(|name| name.starts_with("::") && name.matches("::").count() == 1)
    };
    for test in tests.filter(is_mine) {
        let known = twins
            .iter()
            .any(|(model, _)| test == format!("{module}::{model}"));
        assert!(known || test == me, "{test} has no planted bug");
    }
    for (model, bugs) in twins {
        assert!(!bugs.is_empty(), "{model} has no planted bug");
        for bug in *bugs {
            let begun = Instant::now();
            let name = format!("{bug:?}");
            let (passed, text) = run(&[&format!("{module}::{model}"), "--exact"], &name);
            assert!(text.contains("running 1 test"), "{model}: no such model");
            assert!(!passed, "{model} passes with {name} planted");
            let lasted = begun.elapsed().as_secs_f64();
            eprintln!("{module}::{model} fails with {name} ({lasted:.2} s)");
        }
    }
}
