//! Where samples come from: the machine, the day, the versions, the options.

use std::collections::BTreeMap;
use std::fs;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::options::Options;

/// What all samples of a run have in common.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Origin {
    /// The day, in UTC, on which it began.
    pub(super) date: String,
    pub(super) machine: String,
    pub(super) workers: usize,
    pub(super) rounds: usize,
    pub(super) warm_up_ms: u64,
    pub(super) time_ms: u64,
    /// By runtime.
    pub(super) versions: BTreeMap<String, String>,
}

impl Origin {
    /// A run that begins now, here.
    pub(crate) fn here(options: &Options, versions: BTreeMap<String, String>) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let days = now.map_or(0, |since| since.as_secs() / (24 * 60 * 60));
        Self {
            date: date(days),
            machine: machine(),
            workers: options.workers,
            rounds: options.rounds,
            warm_up_ms: options.warm_up.as_millis() as u64,
            time_ms: options.time.as_millis() as u64,
            versions,
        }
    }

    /// Ratios hold within one setting: says in what the other run differs, if anything but the day and the length.
    pub(super) fn compare(&self, other: &Self) -> Result<(), String> {
        let setting = |origin: &Self| {
            format!(
                "{}, {} workers, {} ms after {} ms",
                origin.machine, origin.workers, origin.time_ms, origin.warm_up_ms
            )
        };
        let differ = |a: &str, b: &str| {
            Err(format!(
                "these samples do not belong together: some are of {a}, some of {b}"
            ))
        };
        let (own, others) = (setting(self), setting(other));
        if own != others {
            return differ(&own, &others);
        }
        for (runtime, version) in &self.versions {
            match other.versions.get(runtime) {
                Some(another) if another != version => return differ(version, another),
                _ => {}
            }
        }
        Ok(())
    }
}

/// The days of some runs, in words.
pub(super) fn dates(origins: &[Origin]) -> String {
    let days = || origins.iter().map(|origin| &origin.date);
    match (days().min(), days().max()) {
        (Some(first), Some(last)) if first != last => format!("{first} to {last}"),
        (Some(day), _) => day.clone(),
        (None, _) => "on no day".to_owned(),
    }
}

/// The versions that these runs measured, in the order of the columns and each once.
pub(super) fn versions(origins: &[Origin], columns: &[&str]) -> String {
    let mut versions: Vec<&str> = Vec::new();
    for column in columns {
        let version = origins
            .iter()
            .find_map(|origin| origin.versions.get(*column));
        match version {
            Some(version) if !versions.contains(&version.as_str()) => versions.push(version),
            _ => {}
        }
    }
    versions.join(", ")
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

/// The date so many days after the first of January 1970.
fn date(mut days: u64) -> String {
    let is_leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let mut year = 1970;
    loop {
        let length = 365 + u64::from(is_leap(year));
        if days < length {
            break;
        }
        days -= length;
        year += 1;
    }
    let february = 28 + u64::from(is_leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    format!("{year}-{month:02}-{:02}", days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_become_dates() {
        assert_eq!(date(0), "1970-01-01");
        assert_eq!(date(11_016), "2000-02-29");
        assert_eq!(date(11_017), "2000-03-01");
        assert_eq!(date(20_453), "2025-12-31");
        assert_eq!(date(20_454), "2026-01-01");
    }

    fn origin(date: &str, versions: &[(&str, &str)]) -> Origin {
        let text = |(runtime, version): &(&str, &str)| (runtime.to_string(), version.to_string());
        Origin {
            date: date.to_owned(),
            versions: versions.iter().map(text).collect(),
            ..Origin::default()
        }
    }

    #[test]
    fn runs_of_other_days_and_other_runtimes_belong_together() {
        let one = origin("2026-01-02", &[("tokio", "tokio 1"), ("ct", "tokio 1")]);
        let two = origin("2026-01-01", &[("tokio", "tokio 1"), ("go", "go 1.19")]);
        assert_eq!(one.compare(&two), Ok(()));
        let both = [one, two];
        assert_eq!(dates(&both), "2026-01-01 to 2026-01-02");
        assert_eq!(versions(&both, &["tokio", "ct", "go"]), "tokio 1, go 1.19");
    }

    #[test]
    fn runs_of_other_versions_and_other_machines_do_not() {
        let one = origin("", &[("tokio", "tokio 1")]);
        assert!(one.compare(&origin("", &[("tokio", "tokio 2")])).is_err());
        let elsewhere = Origin {
            machine: "another".to_owned(),
            ..one.clone()
        };
        assert!(one.compare(&elsewhere).is_err());
    }
}
