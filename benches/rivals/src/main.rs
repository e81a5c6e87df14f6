//! heist beside its peers: the same workloads on every runtime, each sample in a fresh process.
//!
//! The program plays three roles. `run` goes through the rounds and starts itself as `sample` for each sample;
//! a sample of a workload that serves TCP starts it once more, as the load generator. README.md tells how to read
//! what comes out.

mod limits;
mod load;
mod meter;
mod options;
mod report;
mod rt;
mod run;
mod usage;
mod workloads;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use options::Options;
use rt::{RIVALS, Rival};
use workloads::Workload;

const USAGE: &str = "\
usage: rivals run [--only WORKLOAD,..] [--runtimes NAME,..] [--rounds N] [--workers N]
                  [--warm-up MS] [--time MS] [--limit SECONDS] [--out FILE.md]
       rivals report FILE.jsonl.. [--out FILE.md]
       rivals sample WORKLOAD RUNTIME [--workers N] [--warm-up MS] [--time MS]
       rivals list

run     takes every sample in a process of its own, the runtimes in turn, and prints a table;
        --out also writes it to a file, with a picture beside it in FILE.svg and the raw samples in FILE.jsonl
report  makes the table and the picture of the raw samples of earlier runs
sample  takes one sample in this process
list    tells the workloads and the runtimes";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match act(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn act(arguments: &[String]) -> Result<(), String> {
    let (role, rest) = arguments.split_first().ok_or(USAGE)?;
    match role.as_str() {
        "run" => run::run(&Options::parse(rest)?),
        "report" => report(rest),
        "sample" => sample(rest),
        "list" => say(&list()),
        load::ROLE => load::run(rest)
            .ok_or(USAGE)?
            .map_err(|error| format!("load: {error}")),
        _ => Err(USAGE.to_owned()),
    }
}

fn report(arguments: &[String]) -> Result<(), String> {
    let (files, out) = match arguments {
        [files @ .., option, path] if option == "--out" => (files, Some(Path::new(path))),
        files => (files, None),
    };
    if files.is_empty() || files.iter().any(|file| file.starts_with("--")) {
        return Err(USAGE.to_owned());
    }
    let files: Vec<_> = files.iter().map(PathBuf::from).collect();
    report::report(&files, &run::runtimes(), out)
}

fn sample(arguments: &[String]) -> Result<(), String> {
    let [workload, rival, options @ ..] = arguments else {
        return Err(USAGE.to_owned());
    };
    let rival = RIVALS
        .iter()
        .find(|known| known.name == rival)
        .ok_or_else(|| format!("there is no runtime {rival:?}"))?;
    let workload = (rival.workloads)()
        .into_iter()
        .find(|known| known.name == workload)
        .ok_or_else(|| format!("there is no workload {workload:?}"))?;
    if let Some(lacking) = (workload.lacking)() {
        return Err(format!("no sample: {lacking}"));
    }
    let sample = (workload.run)(Options::parse(options)?.plan());
    say(&sample.to_line())
}

fn list() -> String {
    let workloads = workload_list();
    let width = workloads
        .iter()
        .map(|workload| workload.name.len())
        .max()
        .unwrap_or(0);
    let mut lines = vec!["workloads:".to_owned()];
    lines.extend(
        workloads
            .iter()
            .map(|Workload { name, about, .. }| format!("  {name:width$}  {about}")),
    );
    lines.push("runtimes:".to_owned());
    lines.extend(run::runtimes().iter().map(|name| format!("  {name}")));
    lines.join("\n")
}

/// The workloads' names and figures are the same for every runtime.
fn workload_list() -> Vec<Workload> {
    let [Rival { workloads, .. }, ..] = RIVALS else {
        unreachable!("there are runtimes")
    };
    workloads()
}

fn say(text: &str) -> Result<(), String> {
    writeln!(io::stdout().lock(), "{text}").map_err(|error| format!("cannot write: {error}"))
}
