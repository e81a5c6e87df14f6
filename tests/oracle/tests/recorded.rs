//! Every recorded case gives the recorded log: those promised on any number of workers on four, the others on one.

#[path = "../../it/limit.rs"]
mod limit;

use heist_oracle::cases::{Case, Level, load};
use heist_oracle::check::{Plan, check};
use limit::limited;
use std::path::Path;

fn recorded() -> Vec<Case> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("data");
    load(&data).unwrap()
}

#[track_caller]
fn passes(cases: &[Case], workers: usize) {
    let plan = Plan {
        workers: vec![workers],
        repeat: 1,
        level: Level::Cooperative,
        only: Vec::new(),
        seed: None,
    };
    let report = check(cases, &plan);
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.runs, cases.len(), "{report}");
}

#[test]
fn parallel_cases_on_four_workers() {
    limited(|| {
        let mut cases = recorded();
        cases.retain(|case| case.level == Level::Parallel);
        assert!(cases.len() > 400, "{} cases", cases.len());
        passes(&cases, 4);
    });
}

#[test]
fn cooperative_cases_on_one_worker() {
    limited(|| {
        let mut cases = recorded();
        cases.retain(|case| case.level == Level::Cooperative);
        assert!(cases.len() > 50, "{} cases", cases.len());
        passes(&cases, 1);
    });
}
