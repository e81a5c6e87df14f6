//! Recorded cases: scenarios, each with what CPython's asyncio did.
//!
//! A case is `{"scenario": ..., "expected": ...}`, the latter as the recorder wrote it. Packed, a file `SUBJECT.jsonl` holds the cases of a
//! subject, one a line. Unpacked, they are `NAME.json` beside `NAME.expected.json`, a directory for each subject.

use crate::scenario::Scenario;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const EXPECTED: &str = ".expected.json";

/// Behaviours of asyncio 3.11 that heist does not share and for which no other log was recorded: cases that depend on one are left out. For
/// the other such behaviours the recorder kept the log that asyncio would give without them.
const UNRECORDED_QUIRKS: [&str; 2] = ["condition-lost-notify", "condition-message"];

/// How far a log is promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// On any number of workers.
    Parallel,
    /// On one worker.
    Cooperative,
    /// On nothing but asyncio's own loop.
    Fifo,
}

impl Level {
    /// As the recorder spells it.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "parallel" => Some(Self::Parallel),
            "cooperative" => Some(Self::Cooperative),
            "fifo" => Some(Self::Fifo),
            _ => None,
        }
    }
}

/// A scenario and the log that heist is to give.
#[derive(Debug)]
pub struct Case {
    /// The statements.
    pub scenario: Arc<Scenario>,
    /// How far the log is promised.
    pub level: Level,
    /// The log.
    pub log: Json,
}

impl Case {
    /// A case from its two parts. `None` if it depends on what heist does otherwise on purpose.
    fn new(scenario: &Json, expected: &Json) -> Result<Option<Self>, String> {
        let scenario = Scenario::from_json(scenario).map_err(|error| error.to_string())?;
        let quirks = expected["quirks"].as_array().ok_or("no quirks")?;
        if quirks
            .iter()
            .filter_map(Json::as_str)
            .any(|quirk| UNRECORDED_QUIRKS.contains(&quirk))
        {
            return Ok(None);
        }
        let (level, log) = match expected.get("fixed_log") {
            Some(log) => (&expected["fixed_stability"], log),
            None => (&expected["stability"], &expected["log"]),
        };
        let level = level
            .as_str()
            .and_then(Level::parse)
            .ok_or("no stability")?;
        Ok(Some(Self {
            scenario,
            level,
            log: log.clone(),
        }))
    }
}

/// All cases at a path: packed or not, a file or a directory, in the order of their names.
///
/// # Errors
///
/// Something cannot be read, or is no case; the text says which and why.
pub fn load(path: &Path) -> Result<Vec<Case>, String> {
    let mut cases = Vec::new();
    for file in files_under(path)? {
        if file
            .extension()
            .is_some_and(|extension| extension == "jsonl")
        {
            for (index, line) in read(&file)?.lines().enumerate() {
                let place = || format!("{} line {}", file.display(), index + 1);
                let pair = json_of(line).map_err(|why| format!("{}: {why}", place()))?;
                let case = Case::new(&pair["scenario"], &pair["expected"]);
                cases.extend(case.map_err(|why| format!("{}: {why}", place()))?);
            }
        } else if let Some(expected) = expected_beside(&file) {
            let case = Case::new(&read_json(&file)?, &read_json(&expected)?);
            cases.extend(case.map_err(|why| format!("{}: {why}", file.display()))?);
        }
    }
    Ok(cases)
}

/// Packs a directory of cases: into `out` goes a file for each subject, the part of the scenario's name before its slash.
///
/// # Errors
///
/// Something cannot be read or written, or is no case.
pub fn pack(from: &Path, out: &Path) -> Result<usize, String> {
    let mut subjects: BTreeMap<String, String> = BTreeMap::new();
    let mut count = 0;
    for file in files_under(from)? {
        let Some(expected) = expected_beside(&file) else {
            continue;
        };
        let (scenario, expected) = (read_json(&file)?, read_json(&expected)?);
        Case::new(&scenario, &expected).map_err(|why| format!("{}: {why}", file.display()))?;
        let name = scenario["name"].as_str().unwrap_or_default();
        let subject = name.split_once('/').map_or("other", |(subject, _)| subject);
        let lines = subjects.entry(subject.to_owned()).or_default();
        lines.push_str(&json!({"scenario": scenario, "expected": expected}).to_string());
        lines.push('\n');
        count += 1;
    }
    fs::create_dir_all(out).map_err(|error| format!("{}: {error}", out.display()))?;
    for (subject, lines) in subjects {
        let file = out.join(subject + ".jsonl");
        fs::write(&file, lines).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    Ok(count)
}

/// The file itself, or those below the directory, sorted.
fn files_under(path: &Path) -> Result<Vec<PathBuf>, String> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let entries = fs::read_dir(path).map_err(failed)?;
    let entries: Result<Vec<_>, _> = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect();
    let mut entries = entries.map_err(failed)?;
    entries.sort();
    let below: Result<Vec<_>, _> = entries.iter().map(|entry| files_under(entry)).collect();
    Ok(below?.into_iter().flatten().collect())
}

/// The recording that belongs to a scenario's file; none if the file is no scenario's.
fn expected_beside(scenario: &Path) -> Option<PathBuf> {
    let name = scenario.file_name()?.to_str()?;
    let stem = name
        .strip_suffix(".json")
        .filter(|_| !name.ends_with(EXPECTED))?;
    Some(scenario.with_file_name(format!("{stem}{EXPECTED}")))
}

fn read(file: &Path) -> Result<String, String> {
    fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))
}

fn read_json(file: &Path) -> Result<Json, String> {
    json_of(&read(file)?).map_err(|why| format!("{}: {why}", file.display()))
}

fn json_of(text: &str) -> Result<Json, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(expected: Json) -> Result<Option<Case>, String> {
        Case::new(&json!({"name": "a/b", "main": []}), &expected)
    }

    #[test]
    fn the_log_without_quirks_is_the_one_that_binds() {
        let found = case(json!({
            "stability": "fifo", "quirks": ["taskgroup-count"], "log": 1,
            "fixed_stability": "parallel", "fixed_log": 2,
        }));
        let found = found.unwrap().unwrap();
        assert_eq!((found.level, found.log), (Level::Parallel, json!(2)));
        let found = case(json!({"stability": "cooperative", "quirks": [], "log": 1}));
        assert_eq!(found.unwrap().unwrap().level, Level::Cooperative);
    }

    #[test]
    fn a_quirk_without_a_log_of_its_own_leaves_the_case_out() {
        let found =
            case(json!({"stability": "parallel", "quirks": ["condition-message"], "log": 1}));
        assert!(found.unwrap().is_none());
    }

    #[test]
    fn what_is_no_case_is_an_error() {
        assert!(case(json!({"stability": "sometimes", "quirks": [], "log": 1})).is_err());
        assert!(case(json!({})).is_err());
    }

    #[test]
    fn a_recording_is_no_scenario() {
        assert_eq!(expected_beside(Path::new("d/x.expected.json")), None);
        assert_eq!(expected_beside(Path::new("d/x.txt")), None);
        assert_eq!(
            expected_beside(Path::new("d/x.json")),
            Some("d/x.expected.json".into())
        );
    }
}
