//! The options of the command line.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::workloads::Plan;

pub(crate) struct Options {
    /// Parts of workload names; empty for all.
    pub(crate) only: Vec<String>,
    /// Names of runtimes; empty for all.
    pub(crate) runtimes: Vec<String>,
    pub(crate) rounds: usize,
    pub(crate) workers: usize,
    pub(crate) warm_up: Duration,
    pub(crate) time: Duration,
    /// How long a sample may take before it is given up.
    pub(crate) limit: Duration,
    pub(crate) out: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            only: Vec::new(),
            runtimes: Vec::new(),
            rounds: 5,
            workers: 2,
            warm_up: Duration::from_millis(200),
            time: Duration::from_millis(500),
            limit: Duration::from_secs(60),
            out: None,
        }
    }
}

impl Options {
    pub(crate) fn parse(arguments: &[String]) -> Result<Self, String> {
        let mut options = Self::default();
        let mut words = arguments.iter();
        while let Some(name) = words.next() {
            let value = words
                .next()
                .ok_or_else(|| format!("{name} wants a value"))?;
            match name.as_str() {
                "--only" => options.only = list(value),
                "--runtimes" => options.runtimes = list(value),
                "--rounds" => options.rounds = number(name, value)?,
                "--workers" => options.workers = number(name, value)?,
                "--warm-up" => options.warm_up = Duration::from_millis(number(name, value)?),
                "--time" => options.time = Duration::from_millis(number(name, value)?),
                "--limit" => options.limit = Duration::from_secs(number(name, value)?),
                "--out" => options.out = Some(value.into()),
                _ => return Err(format!("there is no option {name:?}")),
            }
        }
        if options.rounds == 0 || options.workers == 0 || options.time.is_zero() {
            return Err("--rounds, --workers and --time want at least 1".to_owned());
        }
        Ok(options)
    }

    pub(crate) fn plan(&self) -> Plan {
        Plan {
            workers: self.workers,
            warm_up: self.warm_up,
            time: self.time,
        }
    }
}

fn list(value: &str) -> Vec<String> {
    value.split(',').map(str::to_owned).collect()
}

fn number<N: FromStr>(name: &str, value: &str) -> Result<N, String> {
    value
        .parse()
        .map_err(|_| format!("{name} wants a number, not {value:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        Options::parse(
            &line
                .split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>(),
        )
    }

    #[test]
    fn what_is_not_given_keeps_its_default() {
        let options = parse("--rounds 3 --only tree,echo").unwrap();
        assert_eq!((options.rounds, options.workers), (3, 2));
        assert_eq!(options.only, ["tree", "echo"]);
    }

    #[test]
    fn nonsense_is_refused() {
        for line in ["--rounds", "--rounds x", "--rounds 0", "--round 3", "tree"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
