//! Two logs of one scenario: what differs, in words.
//!
//! Objects compare as sets of members, lists in order. Of each task only the first event that differs is told: what follows from it is
//! rarely of interest.

use serde_json::{Map, Value as Json};
use std::collections::BTreeSet;

/// What is different in `got`, one difference a line, the tasks in the order of their paths. Empty if the logs are equal.
pub fn differences(want: &Json, got: &Json) -> Vec<String> {
    let mut found = Vec::new();
    for key in ["scenario", "status"] {
        if want[key] != got[key] {
            found.push(expected(key, &want[key], &got[key]));
        }
    }
    for path in keys(&want["tasks"], &got["tasks"]) {
        let (want, got) = (&want["tasks"][path], &got["tasks"][path]);
        match (want, got) {
            (_, Json::Null) => found.push(format!("{path}: task is missing")),
            (Json::Null, _) => found.push(format!(
                "{path}: unexpected task, outcome {}",
                got["outcome"]
            )),
            _ => task_differences(path, want, got, &mut found),
        }
    }
    for label in keys(&want["callbacks"], &got["callbacks"]) {
        let (want, got) = (&want["callbacks"][label], &got["callbacks"][label]);
        if want != got {
            found.push(expected(&format!("callback {label}"), want, got));
        }
    }
    if found.is_empty() && want != got {
        found.push("the logs differ in a member that is none of a log's".to_owned());
    }
    found
}

fn task_differences(path: &str, want: &Json, got: &Json, found: &mut Vec<String>) {
    let none = Vec::new();
    let events = |task: &'_ Json| task["events"].as_array().unwrap_or(&none).clone();
    let (wanted, seen) = (events(want), events(got));
    let differing =
        (0..wanted.len().max(seen.len())).find(|&index| wanted.get(index) != seen.get(index));
    if let Some(index) = differing {
        let show = |event: Option<&Json>| event.map_or("end of events".to_owned(), Json::to_string);
        let (want, got) = (show(wanted.get(index)), show(seen.get(index)));
        found.push(format!("{path}: event {index}: expected {want}, got {got}"));
    }
    for key in ["outcome", "t"] {
        if want[key] != got[key] {
            found.push(expected(&format!("{path}: {key}"), &want[key], &got[key]));
        }
    }
}

fn expected(what: &str, want: &Json, got: &Json) -> String {
    format!("{what}: expected {want}, got {got}")
}

/// The members of either, sorted, each once.
fn keys<'a>(a: &'a Json, b: &'a Json) -> BTreeSet<&'a str> {
    let members = |json: &'a Json| json.as_object().into_iter().flat_map(Map::keys);
    members(a).chain(members(b)).map(String::as_str).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn log() -> Json {
        json!({
            "scenario": "s", "status": "ok",
            "tasks": {
                "main": {"events": [[0, "log", "a"], [1, "log", "b"]], "outcome": ["value", null], "t": 1},
                "main/w": {"events": [], "outcome": ["cancelled", "m"], "t": 3},
            },
            "callbacks": {"done": [[3, "cancelled", "m"]]},
        })
    }

    fn changed(change: impl FnOnce(&mut Json)) -> Vec<String> {
        let mut got = log();
        change(&mut got);
        differences(&log(), &got)
    }

    #[test]
    fn members_in_another_order_are_no_difference() {
        let text = r#"{"b": 1, "a": {"d": [1], "c": 2}}"#;
        let other = r#"{"a": {"c": 2, "d": [1]}, "b": 1}"#;
        let read = |text| serde_json::from_str::<Json>(text).unwrap();
        assert_eq!(read(text), read(other));
        assert!(differences(&log(), &log()).is_empty());
    }

    #[test]
    fn the_first_event_that_differs_is_told() {
        let found = changed(|got| {
            got["tasks"]["main"]["events"] = json!([[0, "log", "x"], [1, "log", "y"]])
        });
        assert_eq!(
            found,
            [r#"main: event 0: expected [0,"log","a"], got [0,"log","x"]"#]
        );
        let found = changed(|got| got["tasks"]["main"]["events"] = json!([[0, "log", "a"]]));
        assert_eq!(
            found,
            [r#"main: event 1: expected [1,"log","b"], got end of events"#]
        );
    }

    #[test]
    fn outcomes_times_tasks_callbacks_and_status_count() {
        let found = changed(|got| got["tasks"]["main/w"]["outcome"] = json!(["cancelled", null]));
        assert_eq!(
            found,
            [r#"main/w: outcome: expected ["cancelled","m"], got ["cancelled",null]"#]
        );
        assert_eq!(
            changed(|got| got["tasks"]["main"]["t"] = json!(null)),
            ["main: t: expected 1, got null"]
        );
        let missing = changed(|got| drop(got["tasks"].as_object_mut().unwrap().remove("main/w")));
        assert_eq!(missing, ["main/w: task is missing"]);
        let found = changed(|got| got["tasks"]["main/x"] = json!({"outcome": ["pending"]}));
        assert_eq!(found, [r#"main/x: unexpected task, outcome ["pending"]"#]);
        let found = changed(|got| got["callbacks"] = json!({}));
        assert_eq!(
            found,
            [r#"callback done: expected [[3,"cancelled","m"]], got null"#]
        );
        assert_eq!(changed(|got| got["status"] = json!("deadlock")).len(), 1);
        assert_eq!(changed(|got| got["more"] = json!(1)).len(), 1);
    }
}
