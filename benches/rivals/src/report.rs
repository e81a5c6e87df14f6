//! From samples to Markdown, and to JSON.

use std::fmt::{self, Write};
use std::fs;
use std::thread;

use crate::meter::{Better, Figure, Sample};
use crate::options::Options;
use crate::rt::{BASELINE, RIVALS};
use crate::workloads::Workload;

/// Stands where no sample was taken.
const NONE: &str = "none";

/// The samples of a run: a row for each workload, a column for each runtime.
pub(crate) struct Table<'a> {
    rows: Vec<Row<'a>>,
    columns: Vec<&'static str>,
}

struct Row<'a> {
    workload: &'a Workload,
    /// By column.
    samples: Vec<Vec<Sample>>,
}

impl<'a> Table<'a> {
    pub(crate) fn new(
        workloads: &'a [Workload],
        runtimes: impl Iterator<Item = &'static str>,
    ) -> Self {
        let columns: Vec<_> = runtimes.collect();
        let row = |workload| Row {
            workload,
            samples: vec![Vec::new(); columns.len()],
        };
        Self {
            rows: workloads.iter().map(row).collect(),
            columns,
        }
    }

    pub(crate) fn add(&mut self, row: usize, column: usize, sample: Sample) {
        self.rows[row].samples[column].push(sample);
    }

    fn baseline(&self) -> Option<usize> {
        self.columns.iter().position(|name| *name == BASELINE)
    }
}

pub(crate) fn markdown(options: &Options, table: &Table<'_>) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    write_markdown(&mut text, options, table).unwrap();
    text
}

fn write_markdown(text: &mut String, options: &Options, table: &Table<'_>) -> fmt::Result {
    let Options {
        rounds,
        workers,
        warm_up,
        time,
        ..
    } = options;
    writeln!(
        text,
        "# Rivals\n\n{}; {}.",
        machine(),
        versions(&table.columns)
    )?;
    writeln!(
        text,
        "{workers} workers, {rounds} rounds; each sample takes {time:?} after a warm-up of \
         {warm_up:?}, in a fresh process."
    )?;
    figures(text, table)?;
    costs(text, table)?;
    writeln!(text, "\n## Workloads\n")?;
    for Row { workload, .. } in &table.rows {
        writeln!(text, "* {}: {}", workload.name, workload.about)?;
    }
    Ok(())
}

fn figures(text: &mut String, table: &Table<'_>) -> fmt::Result {
    writeln!(
        text,
        "\n## Figures\n\nMedian (least-most); **x** says how many times better than {BASELINE}: \
         more is better, whatever the unit.\n"
    )?;
    header(text, &["workload", "unit"], &table.columns)?;
    for Row { workload, samples } in &table.rows {
        for (index, figure) in workload.figures.iter().enumerate() {
            let name = if index == 0 { workload.name } else { "" };
            write!(text, "| {name} | {} |", figure.unit)?;
            let spread = |samples: &Vec<Sample>| Spread::of(samples, |s| s.values[index]);
            let spreads: Vec<_> = samples.iter().map(spread).collect();
            for (column, spread) in spreads.iter().enumerate() {
                let other = table.baseline().filter(|baseline| *baseline != column);
                let baseline = other.and_then(|other| spreads[other]);
                write!(text, " {} |", figure_cell(*figure, *spread, baseline))?;
            }
            writeln!(text)?;
        }
    }
    Ok(())
}

fn costs(text: &mut String, table: &Table<'_>) -> fmt::Result {
    writeln!(
        text,
        "\n## Costs\n\nMedians: CPU time of the process per operation; CPUs busy; voluntary + \
         involuntary context switches per 1,000 operations; most memory resident.\n"
    )?;
    header(text, &["workload"], &table.columns)?;
    for Row { workload, samples } in &table.rows {
        write!(text, "| {} |", workload.name)?;
        for samples in samples {
            write!(text, " {} |", cost_cell(samples))?;
        }
        writeln!(text)?;
    }
    Ok(())
}

fn header(text: &mut String, first: &[&str], columns: &[&str]) -> fmt::Result {
    writeln!(text, "| {} | {} |", first.join(" | "), columns.join(" | "))?;
    writeln!(
        text,
        "|{}{}",
        "---|".repeat(first.len()),
        "---:|".repeat(columns.len())
    )
}

fn figure_cell(figure: Figure, spread: Option<Spread>, baseline: Option<Spread>) -> String {
    let Some(Spread {
        least,
        median,
        most,
    }) = spread
    else {
        return NONE.to_owned();
    };
    let ratio = match (baseline, figure.better) {
        (None, _) => String::new(),
        (Some(baseline), Better::Less) => format!(" **x{:.2}**", baseline.median / median),
        (Some(baseline), Better::More) => format!(" **x{:.2}**", median / baseline.median),
    };
    format!(
        "{} ({}-{}){ratio}",
        number(median),
        number(least),
        number(most)
    )
}

fn cost_cell(samples: &[Sample]) -> String {
    let median =
        |of: fn(&Sample) -> f64| Spread::of(samples, of).map(|spread| number(spread.median));
    let cell = || {
        Some(format!(
            "{} ns, {} CPUs, {} + {}, {} MiB",
            median(Sample::cpu_per_op)?,
            median(|s| s.usage.cpu.as_secs_f64() / s.wall.as_secs_f64())?,
            median(|s| s.usage.voluntary as f64 * 1e3 / s.ops as f64)?,
            median(|s| s.usage.involuntary as f64 * 1e3 / s.ops as f64)?,
            median(|s| s.peak_kib as f64 / 1024.0)?,
        ))
    };
    cell().unwrap_or_else(|| NONE.to_owned())
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Spread {
    least: f64,
    median: f64,
    most: f64,
}

impl Spread {
    /// `None` where there are no samples.
    fn of(samples: &[Sample], value: impl Fn(&Sample) -> f64) -> Option<Self> {
        let mut values: Vec<_> = samples.iter().map(value).collect();
        values.sort_unstable_by(f64::total_cmp);
        let (&least, &most) = (values.first()?, values.last()?);
        // Of an even number, the mean of the middle two.
        let median = (values[(values.len() - 1) / 2] + values[values.len() / 2]) / 2.0;
        Some(Self {
            least,
            median,
            most,
        })
    }
}

/// Three digits that count.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        100_000.0.. => format!("{:.0}k", value / 1e3),
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        0.01.. => format!("{value:.2}"),
        _ => "<0.01".to_owned(),
    }
}

/// One sample as a JSON object on one line. Names and units need no escapes.
pub(crate) fn json(round: usize, workload: &Workload, runtime: &str, sample: &Sample) -> String {
    let figures: Vec<_> = workload
        .figures
        .iter()
        .zip(&sample.values)
        .map(|(figure, value)| format!("\"{}\":{value}", figure.unit))
        .collect();
    format!(
        "{{\"round\":{},\"workload\":\"{}\",\"runtime\":\"{runtime}\",\"figures\":{{{}}},\"ops\":{},\"wall_ns\":{},\
         \"cpu_ns\":{},\"voluntary\":{},\"involuntary\":{},\"peak_kib\":{}}}",
        round + 1,
        workload.name,
        figures.join(","),
        sample.ops,
        sample.wall.as_nanos(),
        sample.usage.cpu.as_nanos(),
        sample.usage.voluntary,
        sample.usage.involuntary,
        sample.peak_kib
    )
}

fn machine() -> String {
    let cpus = thread::available_parallelism().map_or(0, usize::from);
    let model = fs::read_to_string("/proc/cpuinfo").ok().and_then(|info| {
        let line = info.lines().find(|line| line.starts_with("model name"))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    });
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease");
    format!(
        "{cpus} x {}, Linux {}",
        model.as_deref().unwrap_or("an unknown CPU"),
        kernel.as_deref().unwrap_or("of unknown version").trim()
    )
}

/// The versions of the measured crates, from the workspace's lock file.
fn versions(columns: &[&str]) -> String {
    const LOCK: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.lock"));
    let version = |package: &str| {
        let (_, found) = LOCK.split_once(&format!("\nname = \"{package}\"\nversion = \""))?;
        Some(format!("{package} {}", found.split_once('"')?.0))
    };
    let measured = RIVALS.iter().filter(|rival| columns.contains(&rival.name));
    let mut packages: Vec<_> = measured.map(|rival| rival.package).collect();
    packages.dedup();
    packages
        .into_iter()
        .filter_map(version)
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(value: f64) -> Sample {
        let usage = crate::usage::Usage::default();
        Sample {
            values: vec![value],
            ops: 1,
            wall: std::time::Duration::from_nanos(1),
            usage,
            peak_kib: 1,
        }
    }

    #[test]
    fn a_spread_has_the_middle_of_its_values() {
        let of = |values: &[f64]| {
            let samples: Vec<_> = values.iter().copied().map(sample).collect();
            Spread::of(&samples, |sample| sample.values[0])
        };
        assert_eq!(
            of(&[3.0, 1.0, 2.0]),
            Some(Spread {
                least: 1.0,
                median: 2.0,
                most: 3.0
            })
        );
        assert_eq!(
            of(&[4.0, 1.0, 2.0, 3.0]),
            Some(Spread {
                least: 1.0,
                median: 2.5,
                most: 4.0
            })
        );
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn more_than_one_is_better_for_every_figure() {
        let spread = |median| {
            Some(Spread {
                least: median,
                median,
                most: median,
            })
        };
        let cell = |figure| figure_cell(figure, spread(50.0), spread(100.0));
        assert_eq!(cell(Figure::less("ns")), "50.0 (50.0-50.0) **x2.00**");
        assert_eq!(cell(Figure::more("req/s")), "50.0 (50.0-50.0) **x0.50**");
    }
}
