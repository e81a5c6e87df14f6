//! Many cases, many times, on several numbers of workers, in one process: what a race needs to show itself.

use crate::cases::{Case, Level};
use crate::compare::differences;
use crate::guard::{self, Failure};
use std::collections::BTreeMap;
use std::fmt;

/// How many lines of a mismatch are shown.
const SHOWN: usize = 8;

/// What to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Each case runs on each of these numbers of workers.
    pub workers: Vec<usize>,
    /// How often, on each.
    pub repeat: usize,
    /// The least promise that a case may give to be run. Those that promise a log on one worker only run on one only.
    pub level: Level,
    /// Parts of scenarios' names; empty for all.
    pub only: Vec<String>,
    /// In simulations: the seed of the first round, the next one's is one more.
    pub seed: Option<u64>,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Report {
    /// Cases that were run at all.
    pub cases: usize,
    /// Runs of theirs.
    pub runs: usize,
    /// Runs whose log was not the expected one.
    pub mismatches: usize,
    /// The mismatching cases, by name, each with its first mismatch.
    pub failed: BTreeMap<String, String>,
    /// Whether a run did not end: nothing was run after it, and the process should be left.
    pub stuck: bool,
}

/// Runs what the plan says. Ends early if a run does not end.
pub fn check(cases: &[Case], plan: &Plan) -> Report {
    let mut report = Report::default();
    let chosen: Vec<_> = cases.iter().filter(|case| plan.wants(case)).collect();
    report.cases = chosen.len();
    // Round after round, not case after case: what one run leaves behind meets all the others.
    for round in 0..plan.repeat {
        let seed = plan.seed.map(|seed| seed.wrapping_add(round as u64));
        for &workers in &plan.workers {
            for case in chosen
                .iter()
                .filter(|case| case.level == Level::Parallel || workers == 1)
            {
                report.run(case, workers, seed);
                if report.stuck {
                    return report;
                }
            }
        }
    }
    report
}

impl Plan {
    fn wants(&self, case: &Case) -> bool {
        let name = &case.scenario.name;
        let named = self.only.is_empty() || self.only.iter().any(|part| name.contains(part));
        let runs = case.level == Level::Parallel || self.workers.contains(&1);
        named && runs && case.level <= self.level
    }
}

impl Report {
    fn run(&mut self, case: &Case, workers: usize, seed: Option<u64>) {
        self.runs += 1;
        let problem = match guard::run(&case.scenario, workers, seed) {
            Ok(log) => {
                let mut found = differences(&case.log, &log);
                if found.is_empty() {
                    return;
                }
                found.truncate(SHOWN);
                // A race may not show itself again.
                found.push(format!("the whole log: {log}"));
                found.join("\n    ")
            }
            Err(failure) => {
                self.stuck |= matches!(failure, Failure::Stuck(_));
                failure.to_string()
            }
        };
        self.mismatches += 1;
        let (run, scenario) = (self.runs, &case.scenario);
        self.failed.entry(scenario.name.clone()).or_insert_with(|| {
            format!(
                "on {workers} workers, in run {run}{}\n    rule: {}\n    {problem}",
                seed.map_or_else(String::new, |seed| format!(", seed {seed}")),
                scenario.about
            )
        });
    }

    /// Whether every log was the expected one.
    pub fn is_clean(&self) -> bool {
        self.mismatches == 0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, problem) in &self.failed {
            writeln!(f, "FAILED {name} {problem}")?;
        }
        if self.stuck {
            writeln!(f, "given up after a run that did not end")?;
        }
        let (cases, runs) = (self.cases, self.runs);
        let (failed, mismatches) = (self.failed.len(), self.mismatches);
        write!(
            f,
            "{cases} cases, {runs} runs, {mismatches} mismatches in {failed} cases"
        )
    }
}
