//! Going through the rounds: in each, every workload on every runtime, in a fresh process.
//!
//! The rounds are the outer loop, so that a bad moment of the machine spoils one sample of each, not all of one.
//! Each round begins with another runtime, so that none always runs into what the one before it left behind.

mod peers;
mod process;

use crate::options::Options;
use crate::report::{self, Line, Origin, Raw, Table};
use crate::workload_list;
use crate::workloads::Workload;

pub(crate) use peers::runtimes;
use peers::{Peer, Peers};

pub(crate) fn run(options: &Options) -> Result<(), String> {
    let workloads = chosen(workload_list(), &options.only, |workload, part| {
        workload.name.contains(part)
    })?;
    let wanted = chosen(runtimes(), &options.runtimes, |runtime, name| {
        *runtime == name
    })?;
    let peers = Peers::find(&wanted, !options.runtimes.is_empty())?;
    let peers = peers.list();
    let mut table = Table::new(&workloads, &runtimes());
    let mut raw = options.out.as_deref().map(Raw::create).transpose()?;
    let mut keep = |line: Line| {
        if let Some(raw) = &mut raw {
            raw.write(&line)?;
        }
        table.add(line)
    };
    let versions = peers.iter().map(Peer::version).collect();
    keep(Line::Run {
        run: Origin::here(options, versions),
    })?;
    for round in 0..options.rounds {
        for workload in &workloads {
            for turn in 0..peers.len() {
                let peer = &peers[(round + turn) % peers.len()];
                if peer.takes(workload.name) {
                    keep(sample(options, round, workload, peer))?;
                }
            }
        }
    }
    report::publish(table, options.out.as_deref())
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

/// Takes a sample, and says how it went.
fn sample(options: &Options, round: usize, workload: &Workload, peer: &Peer) -> Line {
    let name = peer.name;
    match process::sample(peer.command(workload, options), workload, options.limit) {
        Ok(sample) => {
            eprintln!(
                "{}/{} {:22} {:8} {:>10} {}",
                round + 1,
                options.rounds,
                workload.name,
                name,
                report::number(sample.values[0]),
                workload.figures[0].unit
            );
            Line::taken(round, workload, name, &sample)
        }
        Err(why) => {
            eprintln!("{} on {name}: no sample: {why}", workload.name);
            Line::failed(round, workload, name, &why)
        }
    }
}
