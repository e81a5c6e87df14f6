//! The record: `counts.tsv`, a line for each path, under a head that says where they were counted.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::io::ErrorKind;
use std::process::Command;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/counts.tsv");

/// What the counts depend on besides heist. The libc is part of it: its allocator is in every spawn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Environment {
    rustc: String,
    target: String,
    libc: String,
}

impl Environment {
    pub(crate) fn here() -> Self {
        Self {
            rustc: env!("COUNTS_RUSTC").to_owned(),
            target: env!("COUNTS_TARGET").to_owned(),
            libc: libc().unwrap_or_else(|| "unknown".to_owned()),
        }
    }
}

fn libc() -> Option<String> {
    let output = Command::new("getconf").arg("GNU_LIBC_VERSION").output();
    let text = String::from_utf8(output.ok()?.stdout).ok()?;
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

#[derive(Clone, Debug)]
pub(crate) struct Table {
    environment: Environment,
    counts: BTreeMap<String, f64>,
}

impl Table {
    pub(crate) fn new(environment: Environment) -> Self {
        Self {
            environment,
            counts: BTreeMap::new(),
        }
    }

    /// That of the file; `None` if there is no file.
    pub(crate) fn read() -> Result<Option<Self>, String> {
        match fs::read_to_string(FILE) {
            Ok(text) => Self::parse(&text)
                .map(Some)
                .map_err(|error| format!("{FILE}: {error}")),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!("{FILE}: {error}")),
        }
    }

    pub(crate) fn write(&self) -> Result<(), String> {
        fs::write(FILE, self.to_text()).map_err(|error| format!("{FILE}: {error}"))
    }

    pub(crate) fn environment(&self) -> &Environment {
        &self.environment
    }

    pub(crate) fn get(&self, name: &str) -> Option<f64> {
        self.counts.get(name).copied()
    }

    pub(crate) fn set(&mut self, name: &str, count: f64) {
        self.counts.insert(name.to_owned(), count);
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.counts.keys().map(String::as_str)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut table = Self::new(Environment::default());
        for line in text.lines() {
            if let Some(head) = line.strip_prefix('#') {
                let Environment {
                    rustc,
                    target,
                    libc,
                } = &mut table.environment;
                match head.split_once(':') {
                    Some((" rustc", is)) => *rustc = is.trim().to_owned(),
                    Some((" target", is)) => *target = is.trim().to_owned(),
                    Some((" libc", is)) => *libc = is.trim().to_owned(),
                    _ => {}
                }
                continue;
            }
            let row = line.split_once('\t').and_then(|(name, count)| {
                let count: f64 = count.parse().ok()?;
                (count.is_finite() && count > 0.0).then_some((name, count))
            });
            let (name, count) = row.ok_or_else(|| format!("{line:?} is no name and count"))?;
            table.set(name, count);
        }
        Ok(table)
    }

    fn to_text(&self) -> String {
        let Environment {
            rustc,
            target,
            libc,
        } = &self.environment;
        let mut text = format!(
            "# Instructions per operation. Made by: cargo run --release -p instructions -- --write\n\
             # rustc: {rustc}\n# target: {target}\n# libc: {libc}\n"
        );
        for (name, count) in &self.counts {
            writeln!(text, "{name}\t{count:.1}").expect("a string takes all");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_the_same() {
        let mut table = Table::new(Environment::here());
        table.set("yield", 203.4);
        table.set("spawn", 637.0);
        let read = Table::parse(&table.to_text()).unwrap();
        assert_eq!(read.environment(), &Environment::here());
        assert_eq!(read.names().collect::<Vec<_>>(), ["spawn", "yield"]);
        assert_eq!(read.get("yield"), Some(203.4));
    }

    #[test]
    fn a_line_that_is_no_row_is_refused() {
        for text in ["yield", "yield\t", "yield\tmany", "yield\tNaN", "yield\t0"] {
            assert!(Table::parse(text).is_err(), "{text}");
        }
    }
}
