//! Raw samples, as they are kept: one JSON object a line, and before the samples of a run what that run was.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Origin;
use crate::meter::Sample;
use crate::usage::Usage;
use crate::workloads::Workload;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Line {
    Run { run: Origin },
    Taken(Taken),
    Failed(Failed),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Taken {
    round: usize,
    pub(super) workload: String,
    pub(super) runtime: String,
    /// By unit.
    figures: BTreeMap<String, f64>,
    ops: u64,
    wall_ns: u64,
    cpu_ns: u64,
    voluntary: u64,
    involuntary: u64,
    peak_kib: u64,
}

/// A sample that was to be taken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Failed {
    round: usize,
    pub(super) workload: String,
    pub(super) runtime: String,
    /// Why it was not.
    pub(super) failed: String,
}

impl Line {
    pub(crate) fn taken(round: usize, workload: &Workload, runtime: &str, sample: &Sample) -> Self {
        let units = workload.figures.iter().map(|figure| figure.unit.to_owned());
        Self::Taken(Taken {
            round: round + 1,
            workload: workload.name.to_owned(),
            runtime: runtime.to_owned(),
            figures: units.zip(sample.values.iter().copied()).collect(),
            ops: sample.ops,
            wall_ns: sample.wall.as_nanos() as u64,
            cpu_ns: sample.usage.cpu.as_nanos() as u64,
            voluntary: sample.usage.voluntary,
            involuntary: sample.usage.involuntary,
            peak_kib: sample.peak_kib,
        })
    }

    pub(crate) fn failed(round: usize, workload: &Workload, runtime: &str, why: &str) -> Self {
        Self::Failed(Failed {
            round: round + 1,
            workload: workload.name.to_owned(),
            runtime: runtime.to_owned(),
            failed: why.to_owned(),
        })
    }
}

impl Taken {
    pub(super) fn sample(&self, workload: &Workload) -> Result<Sample, String> {
        let value = |unit: &str| self.figures.get(unit).copied();
        let values: Option<Vec<_>> = workload
            .figures
            .iter()
            .map(|figure| value(figure.unit))
            .collect();
        let usage = Usage {
            cpu: Duration::from_nanos(self.cpu_ns),
            voluntary: self.voluntary,
            involuntary: self.involuntary,
        };
        Ok(Sample {
            values: values
                .ok_or_else(|| format!("a sample lacks a figure of {:?}", workload.name))?,
            ops: self.ops,
            wall: Duration::from_nanos(self.wall_ns),
            usage,
            peak_kib: self.peak_kib,
        })
    }
}

/// Goes through the lines of a file. The last one may have been cut short with its run, and is left out then.
pub(super) fn read(
    text: &str,
    mut take: impl FnMut(Line) -> Result<(), String>,
) -> Result<(), String> {
    for (index, piece) in text.split_inclusive('\n').enumerate() {
        match serde_json::from_str(piece) {
            Ok(line) => take(line).map_err(|why| format!("line {}: {why}", index + 1))?,
            Err(_) if !piece.ends_with('\n') => {}
            Err(error) => return Err(format!("line {}: {error}", index + 1)),
        }
    }
    Ok(())
}

/// The file of a run, written line by line, so that what was measured is there if the run ends early.
pub(crate) struct Raw(File);

impl Raw {
    pub(crate) fn create(report: &Path) -> Result<Self, String> {
        let path = report.with_extension("jsonl");
        File::create(&path)
            .map(Self)
            .map_err(|error| format!("{}: {error}", path.display()))
    }

    pub(crate) fn write(&mut self, line: &Line) -> Result<(), String> {
        let mut text = serde_json::to_string(line).expect("its keys are strings");
        text.push('\n');
        self.0
            .write_all(text.as_bytes())
            .map_err(|error| format!("cannot write a sample: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::{ECHO, NS, sample, workload};

    fn some_lines() -> Vec<Line> {
        let echo = workload("echo", ECHO);
        let run = Origin {
            machine: "a \"good\" one".to_owned(),
            versions: [("go".to_owned(), "go1.19".to_owned())].into(),
            ..Origin::default()
        };
        vec![
            Line::Run { run },
            Line::taken(0, &echo, "heist", &sample(&[1.5, 20.0])),
            Line::failed(1, &echo, "go", "it took\nlong"),
        ]
    }

    fn text(lines: &[Line]) -> String {
        let line = |line| serde_json::to_string(line).unwrap() + "\n";
        lines.iter().map(line).collect()
    }

    fn lines(text: &str) -> Result<Vec<Line>, String> {
        let mut lines = Vec::new();
        read(text, |line| {
            lines.push(line);
            Ok(())
        })?;
        Ok(lines)
    }

    #[test]
    fn lines_come_back_as_they_were_written() {
        let written = some_lines();
        let read = lines(&text(&written)).unwrap();
        assert_eq!(read, written);
        let Line::Taken(taken) = &read[1] else {
            panic!("{read:?}");
        };
        assert_eq!(
            taken.sample(&workload("echo", ECHO)),
            Ok(sample(&[1.5, 20.0]))
        );
    }

    #[test]
    fn a_last_line_may_be_cut_short_but_no_other() {
        let whole = text(&some_lines());
        let cut = &whole[..whole.len() - 5];
        assert_eq!(lines(cut).unwrap(), some_lines()[..2]);
        let error = lines(&format!("{cut}\n{whole}")).unwrap_err();
        assert!(error.starts_with("line 3:"), "{error}");
    }

    #[test]
    fn a_sample_without_one_of_the_figures_is_refused() {
        let Line::Taken(taken) = &some_lines()[1] else {
            panic!("a sample is second");
        };
        let other = workload("echo", NS);
        assert!(taken.sample(&other).is_err());
    }
}
