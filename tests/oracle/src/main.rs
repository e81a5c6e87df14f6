//! The scenario runner.
//!
//! ```text
//! heist-oracle [--workers N] FILE...          one log, a line of JSON, for each scenario, in order
//! heist-oracle --check PATH [--workers 1,2,4,8] [--repeat 50] [--level parallel|cooperative] [--only TEXT,TEXT] [--sim SEED]
//!                                             runs recorded cases and compares; PATH: a packed file, or a directory of any kind;
//!                                             SEED: in simulations, that of the first round, which needs the feature sim
//! heist-oracle --pack DIR --out DATA          packs a directory of recorded cases
//! ```
//!
//! Exit status: 0 if all went well, 1 if a log is missing or wrong, 2 if the command line is.
#![forbid(unsafe_code)]

mod options;

use heist_oracle::cases;
use heist_oracle::check::check;
use heist_oracle::guard;
use heist_oracle::scenario::Scenario;
use options::{Job, Options};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::exit;

const USAGE: &str = "usage:
    heist-oracle [--workers N] FILE...
    heist-oracle --check PATH [--workers 1,2,4,8] [--repeat 50] [--level parallel|cooperative] [--only TEXT,TEXT] [--sim SEED]
    heist-oracle --pack DIR --out DATA";

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let options =
        Options::parse(&arguments).unwrap_or_else(|why| leave(2, &format!("{why}\n{USAGE}")));
    match options.job {
        Job::Run(files) => run_files(&files, options.plan.workers[0]),
        Job::Check(path) => {
            let cases = cases::load(&path).unwrap_or_else(|why| leave(1, &why));
            let report = check(&cases, &options.plan);
            say(&report);
            if !report.is_clean() || report.runs == 0 {
                exit(1);
            }
        }
        Job::Pack { from, out } => match cases::pack(&from, &out) {
            Ok(count) => say(&format_args!("{count} cases")),
            Err(why) => leave(1, &why),
        },
    }
}

/// Prints a log for each file. The first that gives none ends it: a line too few is what the caller looks for.
fn run_files(files: &[PathBuf], workers: usize) {
    for file in files {
        match run_file(file, workers) {
            Ok(log) => say(&log),
            Err(why) => leave(1, &format!("{}: {why}", file.display())),
        }
    }
}

fn run_file(file: &Path, workers: usize) -> Result<serde_json::Value, String> {
    let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
    let scenario = Scenario::parse(&text).map_err(|error| error.to_string())?;
    guard::run(&scenario, workers, None).map_err(|failure| failure.to_string())
}

/// Each line is written through: whoever reads it may not wait for the end, which may never come.
fn say(what: &dyn std::fmt::Display) {
    let mut out = io::stdout().lock();
    if writeln!(out, "{what}").and_then(|()| out.flush()).is_err() {
        exit(1);
    }
}

/// Ends the process at once, whatever threads still run.
fn leave(status: i32, why: &str) -> ! {
    // If not even this can be said, the status says it.
    let _ = writeln!(io::stderr(), "{why}");
    exit(status)
}
