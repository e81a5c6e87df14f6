//! The fault table: what has gone wrong in other runtimes, and the tests that see that it does not here. `cargo test --test faults -- --nocapture`
//! prints it.
//!
//! The tests that docs/what-heist-promises.md names are looked for in the same way.
//!
//! `faults.tsv` has a row for each scenario and target. What is checked: no scenario is missing, and each test that is named is there, is a test, and is not
//! ignored; that they pass, and within which time, is their own affair. A scenario that nobody tests has `-` for its test and says why; there may only
//! be fewer of those.

#[path = "it/limit.rs"]
mod limit;

use limit::limited;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

const SCENARIOS: u32 = 73;
/// How many of them nobody tests. It may only shrink.
const GAPS: usize = 1;

struct Row<'t> {
    id: u32,
    what: &'t str,
    place: &'t str,
    tests: Vec<&'t str>,
}

fn rows(table: &str) -> Vec<Row<'_>> {
    let mut lines = table.lines();
    assert_eq!(lines.next(), Some("id\twhat can go wrong\twhere\ttest"));
    let row = |line| {
        let columns: Vec<_> = str::split(line, '\t').collect();
        let [id, what, place, tests] = columns[..] else {
            panic!("not four columns: {line}");
        };
        Row {
            id: id.parse().unwrap_or_else(|_| panic!("no number: {line}")),
            what,
            place,
            tests: tests.split(' ').collect(),
        }
    };
    lines.map(row).collect()
}

/// Where the sources of a target are: the directory of its modules, and the file that they hang from.
fn sources(place: &str) -> (PathBuf, PathBuf) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (modules, top) = match place {
        "it" => ("tests/it", "main.rs"),
        "io-driver it" => ("io-driver/tests/it", "main.rs"),
        "io-driver net" => ("io-driver/tests/net", "../net.rs"),
        "io-driver net_limits" => ("io-driver/tests", "net_limits.rs"),
        "io-driver leaks" => ("io-driver/tests", "leaks.rs"),
        "io-driver unit" => ("io-driver/src", "lib.rs"),
        "combinators unit" => ("combinators/src", "lib.rs"),
        "runtime unit" | "runtime models" => ("runtime/src", "lib.rs"),
        "lock_order unit" => ("tests/lock_order/src", "lib.rs"),
        "oracle recorded" => ("tests/oracle/tests", "recorded.rs"),
        program => {
            let modules = root.join("tests");
            let top = modules.join(format!("{program}.rs"));
            return (modules, top);
        }
    };
    (root.join(modules), root.join(modules).join(top))
}

/// What is wrong with a test of this path, if anything is.
fn fault(place: &str, test: &str) -> Option<String> {
    // Not tests of Rust's: programs that must not compile, and what runs other tests in a way of its own.
    let (file, sign) = match place {
        "doc" => (format!("tests/{test}.md"), "```compile_fail"),
        "script" => (test.to_owned(), "cargo test"),
        _ => return fault_of_test(place, test),
    };
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file));
    (!text.is_ok_and(|text| text.contains(sign))).then(|| "there is no such file".to_owned())
}

fn fault_of_test(place: &str, test: &str) -> Option<String> {
    let (modules, top) = sources(place);
    let mut path: Vec<_> = test.split("::").collect();
    let name = path.pop()?;
    if place == "runtime models" && !path.contains(&"models") {
        return Some("no model".to_owned());
    }
    // The file of the innermost module that has one; modules within it stand in it by name.
    let mut inline = Vec::new();
    let file = loop {
        if path.is_empty() {
            break top;
        }
        let file = modules.join(path.join("/")).with_extension("rs");
        if file.is_file() {
            break file;
        }
        inline.extend(path.pop());
    };
    let Ok(source) = std::fs::read_to_string(&file) else {
        return Some(format!("there is no {}", file.display()));
    };
    if let Some(module) = inline
        .iter()
        .find(|module| !source.contains(&format!("mod {module} {{")))
    {
        return Some(format!("no module {module} in {}", file.display()));
    }
    let head = format!("fn {name}(");
    let lines: Vec<_> = source.lines().map(str::trim_start).collect();
    let Some(at) = lines.iter().position(|line| line.starts_with(&head)) else {
        return Some(format!("there is none in {}", file.display()));
    };
    let attributes = lines[..at]
        .iter()
        .rev()
        .take_while(|line| line.starts_with("#["));
    let attributes: Vec<_> = attributes.collect();
    if !attributes.contains(&&"#[test]") {
        return Some("it is no test".to_owned());
    }
    if attributes.iter().any(|line| line.contains("ignore")) {
        return Some("it is ignored".to_owned());
    }
    None
}

#[test]
fn every_scenario_has_its_tests() {
    limited(|| {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults.tsv");
        let table = std::fs::read_to_string(file).unwrap();
        let rows = rows(&table);
        let mut wrong = Vec::new();
        let mut told = BTreeMap::new();
        let mut tests = BTreeSet::new();
        let mut gaps = 0;
        for row in &rows {
            let Row {
                id, what, place, ..
            } = row;
            if told.insert(id, what).is_none() {
                eprintln!("{id:>3}  {what}");
                if what.is_empty() {
                    wrong.push(format!("{id}: it is not said what"));
                }
            } else if !what.is_empty() {
                wrong.push(format!("{id}: it is said twice what"));
            }
            for test in &row.tests {
                if (*place, *test) == ("-", "-") {
                    eprintln!("       -");
                    gaps += 1;
                    continue;
                }
                eprintln!("       {place}: {test}");
                tests.insert((*place, *test));
                let fault = fault(place, test);
                wrong.extend(fault.map(|fault| format!("{id}: {place}: {test}: {fault}")));
            }
        }
        let missing: Vec<_> = (1..=SCENARIOS)
            .filter(|id| !told.contains_key(id))
            .collect();
        eprintln!(
            "{} scenarios, {} tests, {gaps} without",
            told.len(),
            tests.len()
        );
        assert!(missing.is_empty(), "not in the table: {missing:?}");
        assert!(told.keys().all(|id| (1..=SCENARIOS).contains(*id)));
        assert!(rows.is_sorted_by_key(|row| row.id));
        assert_eq!(
            gaps, GAPS,
            "untested scenarios; fewer? then lower the constant"
        );
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

/// The tests that a page names in the last column of its tables: "place: `test`, `test`; place: `test`".
fn promises(page: &str) -> Vec<(&str, &str)> {
    let mut named = Vec::new();
    for row in page.lines().filter(|line| line.starts_with("| ")) {
        let cell = row.trim_end_matches(['|', ' ']).rsplit('|').next();
        for (place, tests) in cell
            .unwrap_or_default()
            .split(';')
            .filter_map(|group| group.split_once(": "))
        {
            let tests = tests.split('`').skip(1).step_by(2);
            named.extend(tests.map(|test| (place.trim(), test)));
        }
    }
    named
}

#[test]
fn every_promise_has_its_tests() {
    limited(|| {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/what-heist-promises.md");
        let page = std::fs::read_to_string(file).unwrap();
        let named = promises(&page);
        assert!(named.len() > 30, "{named:?}");
        let wrong = |(place, test): &(&str, &str)| {
            fault(place, test).map(|fault| format!("{place}: {test}: {fault}"))
        };
        let wrong: Vec<_> = named.iter().filter_map(wrong).collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        eprintln!("{} tests of promises", named.len());
    });
}

#[test]
fn what_is_not_there_is_found_out() {
    limited(|| {
        let there = "waking::a_wake_after_the_end_does_nothing";
        assert_eq!(fault("it", there), None);
        for (place, test) in [
            ("it", "waking::no_such_test"),
            ("it", "no_such_module::a_wake_after_the_end_does_nothing"),
            ("it", "support::until"),
            (
                "runtime models",
                "scheduler::idle::tests::a_burst_wakes_one_after_the_other",
            ),
            (
                "runtime unit",
                "scheduler::idle::checks::a_burst_wakes_one_after_the_other",
            ),
            ("no_such_program", "a_wake_after_the_end_does_nothing"),
            ("doc", "FAULTS"),
        ] {
            assert!(fault(place, test).is_some(), "{place}: {test}");
        }
    });
}
