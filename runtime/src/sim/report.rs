//! What a simulation says when it fails.

use super::world::{Halt, Turn, World};
use crate::Audit;
use crate::shutdown::ShutdownReport;
use crate::task::TaskError;
use std::any::Any;
use std::fmt::{self, Write};
use std::io;

/// Why a simulation failed. Its `Display` says it at length, with the seed.
pub struct Failure {
    seed: u64,
    kind: Kind,
    /// In which of several runs with this seed.
    at: Option<String>,
}

pub(super) enum Kind {
    Panicked(Box<dyn Any + Send>),
    Cancelled(TaskError),
    /// A deadlock, or a run that does not end: who waits for what.
    Standstill(String),
    Late(ShutdownReport),
    Unbalanced(Audit),
    /// These threads did not end, though all was told to.
    Abandoned(Vec<String>),
    Different(String),
    /// These tasks live on, after this.
    LeftBehind(String, String),
    Build(io::Error),
    Nested,
}

impl Failure {
    pub(super) fn new(seed: u64, kind: Kind) -> Self {
        Self {
            seed,
            kind,
            at: None,
        }
    }

    /// Says in which of several runs it was.
    pub(super) fn at(mut self, at: String) -> Self {
        self.at = Some(at);
        self
    }

    /// The seed that it fails with.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Whether the test itself panicked.
    pub fn is_panic(&self) -> bool {
        matches!(self.kind, Kind::Panicked(_))
    }

    /// Whether nothing could go on, or nothing came to an end.
    pub fn is_standstill(&self) -> bool {
        matches!(self.kind, Kind::Standstill(_) | Kind::Abandoned(_))
    }

    /// The panic of the test, and a line that goes before it.
    pub(super) fn into_panic(self) -> Result<(String, Box<dyn Any + Send>), Self> {
        let line = self.to_string();
        match self.kind {
            Kind::Panicked(payload) => Ok((line, payload)),
            _ => Err(self),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seed = self.seed;
        match &self.kind {
            Kind::Panicked(payload) => {
                let said = payload.downcast_ref::<String>().map(String::as_str);
                let said = said.or_else(|| payload.downcast_ref::<&str>().copied());
                write!(f, "the test panicked: {}", said.unwrap_or("no text"))
            }
            Kind::Cancelled(error) => write!(f, "the test did not end: {error}"),
            Kind::Standstill(report) => f.write_str(report),
            Kind::Late(report) => write!(f, "the runtime did not shut down: {report}"),
            Kind::Unbalanced(audit) => write!(f, "the runtime's books do not balance: {audit}"),
            Kind::Abandoned(threads) => write!(
                f,
                "these threads wait for something that is none of heist's, or never end: {}",
                threads.join(", ")
            ),
            Kind::Different(difference) => write!(
                f,
                "the same seed went two ways, so something other than the seed decides here: {difference}"
            ),
            Kind::LeftBehind(after, tasks) => {
                write!(f, "tasks that were left behind, {after}:{tasks}")
            }
            Kind::Build(error) => write!(f, "the runtime could not be built: {error}"),
            Kind::Nested => f.write_str("a simulation cannot be run inside a simulation"),
        }?;
        if let Some(at) = &self.at {
            write!(f, "\n{at}")?;
        }
        write!(f, "\nseed {seed}: run it again with {}={seed}", super::SEED)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Failure {}

/// Who waits for what, where nothing goes on.
pub(super) fn standstill(halt: Halt, world: &World) -> String {
    let mut text = match halt {
        Halt::Endless => format!("no end after {} turns", world.trace().len()),
        Halt::Deadlock | Halt::Ended => "deadlock: all wait, and nothing will come".to_owned(),
    };
    for task in world.tasks() {
        // Infallible: it is a string.
        let _ = write!(text, "\n  {task:?}");
    }
    for (thread, until) in world.waiting() {
        let _ = match until {
            Some(until) => write!(text, "\n  thread {thread} waits, until {until:?}"),
            None => write!(text, "\n  thread {thread} waits"),
        };
    }
    text
}

/// The turns of a run.
pub(super) struct Trace {
    turns: Vec<Turn>,
    names: Vec<String>,
}

impl Trace {
    pub(super) fn of(world: &World) -> Self {
        Self {
            turns: world.trace().clone(),
            names: world.names(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.turns.len()
    }

    /// Where the other one went another way.
    pub(super) fn difference(&self, other: &Self) -> Option<String> {
        if self.turns == other.turns {
            return None;
        }
        let mut pairs = self.turns.iter().zip(&other.turns);
        let place = pairs.position(|(mine, theirs)| mine != theirs);
        let place = place.unwrap_or(self.len().min(other.len()));
        let tell = |trace: &Self| match trace.turns.get(place) {
            Some(turn) => format!(
                "{} at {} ns, task {}",
                trace.names[turn.actor], turn.at, turn.what
            ),
            None => "nobody".into(),
        };
        Some(format!(
            "turn {place} was the one of {}, then that of {}",
            tell(self),
            tell(other)
        ))
    }
}
