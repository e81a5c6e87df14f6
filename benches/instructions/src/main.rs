//! How many instructions do heist's hot paths take?
//!
//! Times jump about on a busy machine; instructions do not. The program starts itself under callgrind, as `run`, twice for each path:
//! once with few operations and once with many. The difference is what the operations cost, free of what it takes to start and to end.
//! Everything runs on one thread. What many cores make of it (shared cache lines, steals, wake-ups) is not to be seen here: that is for
//! the benches beside this folder.

mod compare;
mod measure;
mod paths;
mod table;

use std::io::{self, Write};
use std::process::ExitCode;

use compare::{Tolerance, Verdict};
use paths::{PATHS, Path};
use table::{Environment, Table};

const USAGE: &str = "\
usage: instructions [--check | --write] [PART..]
       instructions run NAME N
       instructions list

Counts the instructions of each path, or of those whose name has one of the parts in it, and shows them beside the recorded ones.

--check  fails if a path costs more than was recorded
--write  records the counts
run      takes a path N times in this process; this is what callgrind looks at
list     tells the paths";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Show,
    Check,
    Write,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match act(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn act(words: &[&str]) -> Result<(), String> {
    match words {
        ["run", name, n] => {
            let path = PATHS.iter().find(|path| path.name == *name);
            let path = path.ok_or_else(|| format!("there is no path {name:?}"))?;
            path.run(n.parse().map_err(|_| USAGE)?)
        }
        ["list"] => list(),
        ["--check", parts @ ..] => count(Mode::Check, parts),
        ["--write", parts @ ..] => count(Mode::Write, parts),
        parts => count(Mode::Show, parts),
    }
}

fn list() -> Result<(), String> {
    for Path { name, about, .. } in PATHS {
        say(&format!("{name:18} {about}"))?;
    }
    Ok(())
}

fn count(mode: Mode, parts: &[&str]) -> Result<(), String> {
    let wanted = select(parts)?;
    if !measure::is_possible() {
        return match mode {
            Mode::Write => Err("nothing recorded: there is no valgrind here".to_owned()),
            Mode::Show | Mode::Check => say("skipped: there is no valgrind here"),
        };
    }
    let recorded = Table::read()?;
    let here = Environment::here();
    let all = wanted.len() == PATHS.len();
    let mut table = match &recorded {
        // The other rows stay.
        Some(recorded) if !all => recorded.clone(),
        _ => Table::new(here.clone()),
    };
    if mode == Mode::Write && *table.environment() != here {
        return Err(
            "the record is of another compiler, target or libc: run --write for all paths"
                .to_owned(),
        );
    }
    let recorded = recorded.unwrap_or_else(|| Table::new(here.clone()));
    let tolerance = Tolerance::between(recorded.environment(), &here);
    if let Some(why) = tolerance.why() {
        say(why)?;
    }
    let mut verdicts = Vec::new();
    for path in wanted {
        let now = measure::per_operation(path.name)?;
        let before = recorded.get(path.name);
        let verdict = Verdict::of(now, before, tolerance);
        say(&line(path.name, now, before, verdict))?;
        verdicts.push(verdict);
        table.set(path.name, now);
    }
    if mode == Mode::Write {
        return table.write();
    }
    for name in recorded.names().filter(|name| all && !is_path(name)) {
        say(&format!("{name:18} is recorded, and there is no such path"))?;
        verdicts.push(Verdict::Unrecorded);
    }
    let (failed, hint) = compare::sum_up(&verdicts);
    if let Some(hint) = hint {
        say(hint)?;
    }
    match failed {
        Some(failed) if mode == Mode::Check => Err(failed),
        _ => Ok(()),
    }
}

/// The paths whose name has one of `parts` in it; all, if there are none.
fn select(parts: &[&str]) -> Result<Vec<&'static Path>, String> {
    for part in parts {
        if part.starts_with('-') || !PATHS.iter().any(|path| path.name.contains(part)) {
            return Err(format!("there is no path {part:?}\n{USAGE}"));
        }
    }
    let is_wanted =
        |path: &&Path| parts.is_empty() || parts.iter().any(|part| path.name.contains(part));
    Ok(PATHS.iter().filter(is_wanted).collect())
}

fn is_path(name: &str) -> bool {
    PATHS.iter().any(|path| path.name == name)
}

fn line(name: &str, now: f64, recorded: Option<f64>, verdict: Verdict) -> String {
    let Some(recorded) = recorded else {
        return format!("{name:18} {now:8.1}  {}", verdict.word());
    };
    // Rounded first, and no negative zero.
    let change = ((now / recorded - 1.0) * 1000.0).round() / 10.0 + 0.0;
    let text = format!(
        "{name:18} {now:8.1}  recorded {recorded:8.1}  {change:+6.1} %  {}",
        verdict.word()
    );
    text.trim_end().to_owned()
}

fn say(text: &str) -> Result<(), String> {
    writeln!(io::stdout().lock(), "{text}").map_err(|error| format!("cannot write: {error}"))
}
