//! Going through the rounds: in each, every workload on every runtime, in a fresh process.
//!
//! The rounds are the outer loop, so that a bad moment of the machine spoils one sample of each, not all of one.
//! Each round begins with another runtime, so that none always runs into what the one before it left behind.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::{fs, thread};

use crate::meter::Sample;
use crate::options::Options;
use crate::report::{self, Table};
use crate::rt::{RIVALS, Rival};
use crate::workloads::Workload;
use crate::{say, workload_list};

pub(crate) fn run(options: &Options) -> Result<(), String> {
    let workloads = chosen(workload_list(), &options.only, |workload, part| {
        workload.name.contains(part)
    })?;
    let rivals = chosen(RIVALS.iter().collect(), &options.runtimes, |rival, name| {
        rival.name == name
    })?;
    let mut raw = options.out.as_deref().map(Raw::create).transpose()?;
    let mut table = Table::new(&workloads, rivals.iter().map(|rival| rival.name));
    for round in 0..options.rounds {
        for (row, workload) in workloads.iter().enumerate() {
            for turn in 0..rivals.len() {
                let column = (round + turn) % rivals.len();
                let rival = rivals[column];
                match sample(options, workload, rival) {
                    Ok(sample) => {
                        progress(options, round, workload, rival, &sample);
                        if let Some(raw) = &mut raw {
                            raw.write(&report::json(round, workload, rival.name, &sample))?;
                        }
                        table.add(row, column, sample);
                    }
                    Err(why) => eprintln!("{} on {}: no sample: {why}", workload.name, rival.name),
                }
            }
        }
    }
    let markdown = report::markdown(options, &table);
    if let Some(path) = &options.out {
        fs::write(path, &markdown).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    say(&markdown)
}

/// Those that any of the patterns matches; all if there are no patterns.
fn chosen<T>(
    all: Vec<T>,
    patterns: &[String],
    matches: impl Fn(&T, &str) -> bool,
) -> Result<Vec<T>, String> {
    if let Some(unknown) = patterns
        .iter()
        .find(|pattern| !all.iter().any(|item| matches(item, pattern)))
    {
        return Err(format!("nothing is called {unknown:?}: see `rivals list`"));
    }
    let wanted =
        |item: &T| patterns.is_empty() || patterns.iter().any(|pattern| matches(item, pattern));
    Ok(all.into_iter().filter(wanted).collect())
}

fn progress(options: &Options, round: usize, workload: &Workload, rival: &Rival, sample: &Sample) {
    eprintln!(
        "{}/{} {:18} {:8} {:>10} {}",
        round + 1,
        options.rounds,
        workload.name,
        rival.name,
        report::number(sample.values[0]),
        workload.figures[0].unit
    );
}

/// Takes a sample in a process of its own, and ends that process if it takes too long.
fn sample(options: &Options, workload: &Workload, rival: &Rival) -> Result<Sample, String> {
    let own_path =
        std::env::current_exe().map_err(|error| format!("this program has no path: {error}"))?;
    let mut child = Command::new(own_path)
        .args(["sample", workload.name, rival.name])
        .args(["--workers", &options.workers.to_string()])
        .args(["--warm-up", &options.warm_up.as_millis().to_string()])
        .args(["--time", &options.time.as_millis().to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot start a process: {error}"))?;
    let found = first_sample(&mut child, options);
    if found.is_err() {
        // It may have ended by itself.
        let _ = child.kill();
    }
    let status = child
        .wait()
        .map_err(|error| format!("cannot wait for a process: {error}"))?;
    let sample = found.map_err(|why| format!("{why} ({status})"))?;
    if sample.values.len() != workload.figures.len() {
        return Err("it has not the workload's figures".to_owned());
    }
    Ok(sample)
}

/// Waits for the sample, and for the end of the process: a runtime has to shut down, too.
fn first_sample(child: &mut Child, options: &Options) -> Result<Sample, String> {
    let output = BufReader::new(child.stdout.take().expect("its output is piped"));
    let (sender, result) = mpsc::channel();
    thread::spawn(move || {
        let lines = output.lines().map_while(Result::ok);
        let samples: Vec<_> = lines.filter_map(|line| Sample::from_line(&line)).collect();
        // Nobody listens any more once the time is up.
        let _ = sender.send(samples.into_iter().next());
    });
    match result.recv_timeout(options.limit) {
        Ok(Some(sample)) => Ok(sample),
        Ok(None) => Err("the process yielded none".to_owned()),
        Err(_) => Err(format!("the process took more than {:?}", options.limit)),
    }
}

/// The raw samples, one JSON object a line, written as they come.
struct Raw(File);

impl Raw {
    fn create(report: &Path) -> Result<Self, String> {
        let path = report.with_extension("jsonl");
        File::create(&path)
            .map(Self)
            .map_err(|error| format!("{}: {error}", path.display()))
    }

    fn write(&mut self, line: &str) -> Result<(), String> {
        writeln!(self.0, "{line}").map_err(|error| format!("cannot write a sample: {error}"))
    }
}
