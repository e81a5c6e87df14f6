//! The runtimes of a run: those written in Rust are part of this program, the others are programs of their own.
//!
//! Such a program tells with `about` what it is and which workloads it knows, a line each, and takes a sample with
//! `WORKLOAD WORKERS WARM-UP TIME`, times in milliseconds. What it prints is [`Sample`](crate::meter::Sample)'s line. To put load
//! on a server it starts this program as the load generator, by the path in [`OWN_PATH`].

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::options::Options;
use crate::rt::RIVALS;
use crate::workloads::Workload;

/// The variable of the environment that holds the path of this program.
const OWN_PATH: &str = "RIVALS_PROGRAM";

/// A runtime that is not Rust's.
struct Foreign {
    name: &'static str,
    /// Makes its program in the directory and returns the words that start it.
    make: fn(&Path) -> Result<Vec<OsString>, String>,
    /// Takes part without being named only where this one is missing.
    instead_of: Option<&'static str>,
}

const FOREIGN: [Foreign; 3] = [
    Foreign {
        name: "go",
        make: go,
        instead_of: None,
    },
    Foreign {
        name: "uvloop",
        make: |directory| python(directory, "uvloop"),
        instead_of: None,
    },
    Foreign {
        name: "asyncio",
        make: |directory| python(directory, "asyncio"),
        instead_of: Some("uvloop"),
    },
];

/// The names of all runtimes, installed or not, in the order of the columns.
pub(crate) fn runtimes() -> Vec<&'static str> {
    let own = RIVALS.iter().map(|rival| rival.name);
    own.chain(FOREIGN.iter().map(|foreign| foreign.name))
        .collect()
}

/// A runtime that can be measured here.
pub(super) struct Peer {
    pub(super) name: &'static str,
    version: String,
    program: Program,
}

enum Program {
    Own,
    Foreign {
        command: Vec<OsString>,
        workloads: Vec<String>,
    },
}

impl Peer {
    pub(super) fn version(&self) -> (String, String) {
        (self.name.to_owned(), self.version.clone())
    }

    pub(super) fn takes(&self, workload: &str) -> bool {
        match &self.program {
            Program::Own => true,
            Program::Foreign { workloads, .. } => workloads.iter().any(|known| known == workload),
        }
    }

    /// The command that takes a sample.
    pub(super) fn command(&self, workload: &Workload, options: &Options) -> Command {
        let workers = options.workers.to_string();
        let warm_up = options.warm_up.as_millis().to_string();
        let time = options.time.as_millis().to_string();
        match &self.program {
            Program::Own => {
                let mut command = Command::new(own_path());
                command
                    .args(["sample", workload.name, self.name])
                    .args(["--workers", &workers])
                    .args(["--warm-up", &warm_up])
                    .args(["--time", &time]);
                command
            }
            Program::Foreign { command: words, .. } => {
                let mut command = command(words);
                command
                    .args([workload.name, &workers, &warm_up, &time])
                    .env(OWN_PATH, own_path());
                command
            }
        }
    }
}

/// Keeps the programs that were made for as long as they may be started.
pub(super) struct Peers {
    list: Vec<Peer>,
    _workshop: Workshop,
}

impl Peers {
    /// Those of the wanted ones that can be had here; says why one cannot.
    pub(super) fn find(wanted: &[&'static str], by_name: bool) -> Result<Self, String> {
        let workshop = Workshop::open()?;
        let own = RIVALS.iter().filter(|rival| wanted.contains(&rival.name));
        let mut list: Vec<_> = own
            .map(|rival| Peer {
                name: rival.name,
                version: crate_version(rival.package),
                program: Program::Own,
            })
            .collect();
        for foreign in FOREIGN
            .iter()
            .filter(|foreign| wanted.contains(&foreign.name))
        {
            let is_there = |name| list.iter().any(|peer| peer.name == name);
            if !by_name && foreign.instead_of.is_some_and(is_there) {
                continue;
            }
            match find_foreign(foreign, &workshop.0) {
                Ok(peer) => list.push(peer),
                Err(why) => eprintln!("{}: skipped: {why}", foreign.name),
            }
        }
        if list.is_empty() {
            return Err("no runtime is left".to_owned());
        }
        Ok(Self {
            list,
            _workshop: workshop,
        })
    }

    pub(super) fn list(&self) -> &[Peer] {
        &self.list
    }
}

fn find_foreign(foreign: &Foreign, directory: &Path) -> Result<Peer, String> {
    let words = (foreign.make)(directory)?;
    let about = output(command(&words).arg("about"))?;
    let mut lines = about.lines().map(str::to_owned);
    let version = lines.next().ok_or("it does not say what it is")?;
    Ok(Peer {
        name: foreign.name,
        version,
        program: Program::Foreign {
            command: words,
            workloads: lines.collect(),
        },
    })
}

/// Files of the programs, by name.
type Sources = &'static [(&'static str, &'static str)];

const GO: Sources = &[
    ("rivals.go", include_str!("../../scripts/rivals.go")),
    ("tasks.go", include_str!("../../scripts/tasks.go")),
    ("waiting.go", include_str!("../../scripts/waiting.go")),
];

const PYTHON: Sources = &[
    ("rivals.py", include_str!("../../scripts/rivals.py")),
    ("measuring.py", include_str!("../../scripts/measuring.py")),
    ("tasks.py", include_str!("../../scripts/tasks.py")),
    ("waiting.py", include_str!("../../scripts/waiting.py")),
];

fn go(directory: &Path) -> Result<Vec<OsString>, String> {
    let program = directory.join("rivals-go");
    let mut build = Command::new("go");
    build.arg("build").arg("-o").arg(&program);
    build.args(write(GO, directory)?);
    output(&mut build)?;
    Ok(vec![program.into()])
}

fn python(directory: &Path, event_loop: &str) -> Result<Vec<OsString>, String> {
    let files = write(PYTHON, directory)?;
    let script = files.into_iter().next().expect("the script is the first");
    Ok(vec!["python3".into(), script.into(), event_loop.into()])
}

fn write(sources: Sources, directory: &Path) -> Result<Vec<PathBuf>, String> {
    let write = |(name, text): &(&str, &str)| {
        let path = directory.join(name);
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(path)
    };
    sources.iter().map(write).collect()
}

fn command(words: &[OsString]) -> Command {
    let (program, arguments) = words.split_first().expect("a command has a first word");
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

/// What a program says that ends well.
fn output(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().display().to_string();
    let Output {
        status,
        stdout,
        stderr,
    } = command
        .output()
        .map_err(|error| format!("cannot start {name}: {error}"))?;
    if status.success() {
        return Ok(String::from_utf8_lossy(&stdout).into_owned());
    }
    let complaint = String::from_utf8_lossy(&stderr);
    Err(format!(
        "{name}: {}",
        complaint.lines().last().unwrap_or("it failed")
    ))
}

fn own_path() -> PathBuf {
    env::current_exe().expect("this program has a path")
}

/// The version of a measured crate, from the workspace's lock file.
fn crate_version(package: &str) -> String {
    const LOCK: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.lock"));
    let version = || {
        let (_, found) = LOCK.split_once(&format!("\nname = \"{package}\"\nversion = \""))?;
        Some(found.split_once('"')?.0)
    };
    format!("{package} {}", version().unwrap_or("of unknown version"))
}

/// A directory for what is made for one run. It goes with the run.
struct Workshop(PathBuf);

impl Workshop {
    fn open() -> Result<Self, String> {
        let path = env::temp_dir().join(format!("rivals-{}", std::process::id()));
        fs::create_dir_all(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        // What cannot be removed is left to who cleans the directory of temporary files.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_not_there_or_fails_is_told_with_its_reason() {
        let missing = Foreign {
            name: "missing",
            make: |directory| Ok(vec![directory.join("no-such-program").into()]),
            instead_of: None,
        };
        let failing = Foreign {
            name: "failing",
            make: |_| {
                Ok(["sh", "-c", "echo no loop >&2; exit 1"]
                    .map(OsString::from)
                    .to_vec())
            },
            instead_of: None,
        };
        let directory = Path::new("/nonexistent");
        let why = |foreign| find_foreign(foreign, directory).err().unwrap();
        assert!(
            why(&missing).starts_with("cannot start"),
            "{}",
            why(&missing)
        );
        assert_eq!(why(&failing), "sh: no loop");
    }

    #[test]
    fn a_program_takes_the_workloads_that_it_names() {
        let foreign = Foreign {
            name: "some",
            make: |_| {
                Ok(["printf", "some 1.0\\ntree\\nyield\\n%.0s"]
                    .map(OsString::from)
                    .to_vec())
            },
            instead_of: None,
        };
        let peer = find_foreign(&foreign, Path::new("/nonexistent")).unwrap();
        assert_eq!(peer.version(), ("some".to_owned(), "some 1.0".to_owned()));
        assert!(peer.takes("tree") && peer.takes("yield") && !peer.takes("cancel"));
    }

    #[test]
    fn the_measured_crates_are_in_the_lock_file() {
        for rival in RIVALS {
            let version = crate_version(rival.package);
            assert!(!version.ends_with("of unknown version"), "{version}");
        }
    }

    #[test]
    fn a_workshop_goes_with_its_run() {
        let workshop = Workshop::open().unwrap();
        let path = workshop.0.clone();
        fs::write(path.join("tool"), "").unwrap();
        drop(workshop);
        assert!(!path.exists());
    }
}
