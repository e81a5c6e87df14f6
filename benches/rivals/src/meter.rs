//! From a stopwatch to a sample, and a sample's way from the process that took it to the one that asked for it.

use std::time::{Duration, Instant};

use crate::usage::{self, Usage};

/// One number that a workload yields.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figure {
    pub(crate) unit: &'static str,
    pub(crate) better: Better,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Better {
    Less,
    More,
}

impl Figure {
    pub(crate) const fn less(unit: &'static str) -> Self {
        Self {
            unit,
            better: Better::Less,
        }
    }

    pub(crate) const fn more(unit: &'static str) -> Self {
        Self {
            unit,
            better: Better::More,
        }
    }
}

/// A stopwatch that may be started and stopped many times, so that a workload can leave its preparations out.
pub(crate) struct Meter {
    ops: u64,
    wall: Duration,
    usage: Usage,
    running: Option<(Instant, Usage)>,
}

impl Meter {
    pub(crate) fn new() -> Self {
        Self {
            ops: 0,
            wall: Duration::ZERO,
            usage: Usage::default(),
            running: None,
        }
    }

    pub(crate) fn start(&mut self) {
        self.running = Some((Instant::now(), Usage::now()));
    }

    /// `ops` operations were done since [`start`](Self::start).
    pub(crate) fn stop(&mut self, ops: u64) {
        let (since, before) = self.running.take().expect("the meter was not started");
        self.wall += since.elapsed();
        self.usage += Usage::now() - before;
        self.ops += ops;
    }

    pub(crate) fn wall(&self) -> Duration {
        self.wall
    }

    /// The sample of a workload whose only figure is wall time per operation, in nanoseconds.
    pub(crate) fn ns_per_op(self) -> Sample {
        let ns = self.wall.as_nanos() as f64 / self.ops as f64;
        self.sample(vec![ns])
    }

    pub(crate) fn sample(self, values: Vec<f64>) -> Sample {
        Sample {
            values,
            ops: self.ops,
            wall: self.wall,
            usage: self.usage,
            peak_kib: usage::peak_kib(),
        }
    }
}

/// What one process measured.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sample {
    /// In the order of the workload's figures.
    pub(crate) values: Vec<f64>,
    pub(crate) ops: u64,
    pub(crate) wall: Duration,
    pub(crate) usage: Usage,
    pub(crate) peak_kib: u64,
}

/// Every sample's line begins with it, so that other output cannot be taken for one.
const MARK: &str = "rivals-sample";

impl Sample {
    /// CPU time per operation, in nanoseconds.
    pub(crate) fn cpu_per_op(&self) -> f64 {
        self.usage.cpu.as_nanos() as f64 / self.ops as f64
    }

    pub(crate) fn to_line(&self) -> String {
        let values: Vec<_> = self.values.iter().map(f64::to_string).collect();
        format!(
            "{MARK} {} {} {} {} {} {} {}",
            values.join(","),
            self.ops,
            self.wall.as_nanos(),
            self.usage.cpu.as_nanos(),
            self.usage.voluntary,
            self.usage.involuntary,
            self.peak_kib
        )
    }

    /// The inverse of [`to_line`](Self::to_line); `None` for any other line.
    pub(crate) fn from_line(line: &str) -> Option<Self> {
        let (values, counts) = line.strip_prefix(MARK)?.trim_start().split_once(' ')?;
        let values = values
            .split(',')
            .map(str::parse)
            .collect::<Result<_, _>>()
            .ok()?;
        let counts: Vec<u64> = counts
            .split(' ')
            .map(str::parse)
            .collect::<Result<_, _>>()
            .ok()?;
        let &[ops, wall, cpu, voluntary, involuntary, peak_kib] = counts.as_slice() else {
            return None;
        };
        let usage = Usage {
            cpu: Duration::from_nanos(cpu),
            voluntary,
            involuntary,
        };
        Some(Self {
            values,
            ops,
            wall: Duration::from_nanos(wall),
            usage,
            peak_kib,
        })
    }
}

/// The value below which `share` of them lie; sorts them. Zero when there are none.
pub(crate) fn percentile(values: &mut [u64], share: f64) -> u64 {
    values.sort_unstable();
    let last = values.len().saturating_sub(1);
    values
        .get((last as f64 * share).round() as usize)
        .copied()
        .unwrap_or(0)
}

/// Percentiles of some nanoseconds, in microseconds.
pub(crate) fn us<const N: usize>(mut ns: Vec<u64>, shares: [f64; N]) -> Vec<f64> {
    shares
        .map(|share| percentile(&mut ns, share) as f64 / 1e3)
        .into()
}

pub(crate) fn us_p50_p99(ns: Vec<u64>) -> Vec<f64> {
    us(ns, [0.5, 0.99])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_survives_its_way_between_processes() {
        let usage = Usage {
            cpu: Duration::from_nanos(11),
            voluntary: 3,
            involuntary: 4,
        };
        let sample = Sample {
            values: vec![1.5, 20.0],
            ops: 7,
            wall: Duration::from_nanos(9),
            usage,
            peak_kib: 5,
        };
        assert_eq!(Sample::from_line(&sample.to_line()), Some(sample));
        assert_eq!(Sample::from_line("warming up"), None);
    }

    #[test]
    fn percentiles_are_taken_from_the_sorted_values() {
        let mut values = [5, 1, 4, 2, 3];
        assert_eq!(percentile(&mut values, 0.5), 3);
        assert_eq!(percentile(&mut values, 1.0), 5);
        assert_eq!(percentile(&mut [], 0.5), 0);
    }
}
