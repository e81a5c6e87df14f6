//! A place where a number of tasks meet.
//!
//! ```text
//!                 the last arrives              reset, some are inside
//!     Filling ----------------------> Draining ------------------------> Resetting
//!        ^                               |                                   |
//!        +---------- all have left ------+-----------------------------------+
//!     any --abort--> Broken --reset--> Filling, or Resetting while some are still inside
//! ```
//!
//! A task is *inside* from its arrival until its wait is over, however it ends; [`Inside`] counts it. Those inside wait in one line, and
//! newcomers that find the barrier draining or resetting in another. Whoever is told to look again decides by the phase alone. While
//! somebody is inside, a phase other than `Filling` does not become `Filling` again, so nobody misses what was meant for him.

use super::wait::{Look, Monitor, Waiting};
use super::wait_list::{WaitList, Wakes};
use std::fmt;

/// Lets tasks through in groups: each waits until as many have come as the barrier has parties. asyncio's `Barrier`.
///
/// It can be used again and again. A task that is cancelled while it waits leaves, and breaks nothing. Once all have come, newcomers
/// are let in when the last of them has left.
///
/// # Examples
///
/// ```
/// use heist_combinators::sync::Barrier;
/// use std::sync::Arc;
///
/// # heist_runtime::run(async {
/// let barrier = Arc::new(Barrier::new(3).unwrap());
/// let tasks: Vec<_> = (0..3)
///     .map(|_| {
///         let barrier = barrier.clone();
///         heist_runtime::spawn(async move { barrier.wait().await.unwrap() })
///     })
///     .collect();
/// let mut arrivals = Vec::new();
/// for task in tasks {
///     arrivals.push(task.await.unwrap());
/// }
/// arrivals.sort();
/// assert_eq!(arrivals, [0, 1, 2]);
/// # }).unwrap();
/// ```
pub struct Barrier {
    parties: usize,
    state: Monitor<State>,
}

struct State {
    parties: usize,
    phase: Phase,
    /// How many are inside.
    inside: usize,
    /// Invariant: nobody waits here ungranted but in `Filling`.
    arrived: WaitList,
    /// Invariant: nobody waits here ungranted but in `Draining` and `Resetting`, and then somebody is inside.
    entering: WaitList,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Not all have come.
    Filling,
    /// All have come; not all have left.
    Draining,
    /// Was reset; not all have left.
    Resetting,
    /// Was aborted, and not reset since.
    Broken,
}

impl Barrier {
    /// A barrier for groups of `parties`. asyncio's `Barrier(parties)`.
    ///
    /// # Errors
    ///
    /// [`NoParties`] if `parties` is 0: asyncio's `ValueError`.
    pub const fn new(parties: usize) -> Result<Self, NoParties> {
        if parties == 0 {
            return Err(NoParties(()));
        }
        Ok(Self {
            parties,
            state: Monitor::new(State {
                parties,
                phase: Phase::Filling,
                inside: 0,
                arrived: WaitList::new(),
                entering: WaitList::new(),
            }),
        })
    }

    /// Waits until all have come, and returns how many were waiting on arrival: 0 is the first, `parties() - 1` the last, who does not
    /// suspend. asyncio's `Barrier.wait`.
    ///
    /// While those of the last round are still leaving, it waits for them first. If waiters were cancelled, a number may be given twice.
    ///
    /// # Errors
    ///
    /// [`BrokenBarrier`] if the barrier is [`broken`](Barrier::broken), or was aborted or reset before this task could go on.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future takes the task out of the group, whose others go on waiting; if all had come, they go through.
    pub async fn wait(&self) -> Result<usize, BrokenBarrier> {
        let arrival = self.state.wait(Enter).await?;
        let _inside = Inside(self);
        if !arrival.last {
            self.state.wait(AllThere).await?;
        }
        Ok(arrival.number)
    }

    /// Makes the barrier as new, after an [`abort`](Barrier::abort) too: whoever is waiting gets [`BrokenBarrier`]. asyncio's
    /// `Barrier.reset`, which there is nothing to await for here.
    pub fn reset(&self) {
        self.state.update(|state, wakes| {
            if state.inside == 0 {
                state.phase = Phase::Filling;
            } else {
                state.phase = Phase::Resetting;
                state.arrived.grant_all(wakes);
            }
        });
    }

    /// Breaks the barrier: whoever is waiting, and whoever comes before a [`reset`](Barrier::reset), gets [`BrokenBarrier`]. asyncio's
    /// `Barrier.abort`, which there is nothing to await for here.
    pub fn abort(&self) {
        self.state.update(|state, wakes| {
            state.phase = Phase::Broken;
            state.arrived.grant_all(wakes);
            state.entering.grant_all(wakes);
        });
    }

    /// The size of a group. asyncio's `Barrier.parties`.
    #[must_use]
    pub fn parties(&self) -> usize {
        self.parties
    }

    /// How many are waiting for the others to come; 0 while a group is leaving or the barrier is broken. asyncio's `Barrier.n_waiting`.
    #[must_use]
    pub fn n_waiting(&self) -> usize {
        self.state.read(State::n_waiting)
    }

    /// Whether the barrier was aborted, and not reset since. asyncio's `Barrier.broken`.
    #[must_use]
    pub fn broken(&self) -> bool {
        self.state.read(|state| state.phase == Phase::Broken)
    }
}

impl State {
    fn n_waiting(&self) -> usize {
        match self.phase {
            Phase::Filling => self.inside,
            Phase::Draining | Phase::Resetting | Phase::Broken => 0,
        }
    }
}

/// Counts a task that is inside.
struct Inside<'a>(&'a Barrier);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.state.update(|state, wakes| {
            state.inside -= 1;
            if state.inside == 0 && matches!(state.phase, Phase::Draining | Phase::Resetting) {
                state.phase = Phase::Filling;
                state.entering.grant_all(wakes);
            }
        });
    }
}

/// To be let in.
struct Enter;

struct Arrival {
    number: usize,
    last: bool,
}

impl Waiting for Enter {
    type State = State;
    type Output = Result<Arrival, BrokenBarrier>;

    fn line(state: &mut State) -> &mut WaitList {
        &mut state.entering
    }

    fn look(&mut self, state: &mut State, _: bool, wakes: &mut Wakes) -> Look<Self::Output> {
        match state.phase {
            Phase::Draining | Phase::Resetting => Look::Wait,
            Phase::Broken => Look::Done(Err(BrokenBarrier(()))),
            Phase::Filling => {
                let number = state.inside;
                state.inside += 1;
                let last = state.inside == state.parties;
                if last {
                    state.phase = Phase::Draining;
                    state.arrived.grant_all(wakes);
                }
                Look::Done(Ok(Arrival { number, last }))
            }
        }
    }

    /// All the others at the door were told as well.
    fn pass_on(&mut self, _: &mut State, _: &mut Wakes) {}
}

/// For the others to come.
struct AllThere;

impl Waiting for AllThere {
    type State = State;
    type Output = Result<(), BrokenBarrier>;

    fn line(state: &mut State) -> &mut WaitList {
        &mut state.arrived
    }

    fn look(&mut self, state: &mut State, _: bool, _: &mut Wakes) -> Look<Self::Output> {
        match state.phase {
            Phase::Filling => Look::Wait,
            Phase::Draining => Look::Done(Ok(())),
            Phase::Resetting | Phase::Broken => Look::Done(Err(BrokenBarrier(()))),
        }
    }

    /// All the others inside were told as well.
    fn pass_on(&mut self, _: &mut State, _: &mut Wakes) {}
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (phase, waiting) = self.state.read(|state| (state.phase, state.n_waiting()));
        f.debug_struct("Barrier")
            .field("parties", &self.parties)
            .field("phase", &phase)
            .field("waiting", &waiting)
            .finish()
    }
}

/// The barrier was aborted or reset. asyncio's `BrokenBarrierError`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokenBarrier(());

impl fmt::Display for BrokenBarrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the barrier was aborted or reset")
    }
}

impl std::error::Error for BrokenBarrier {}

/// A barrier for nobody. asyncio's `ValueError` from `Barrier(0)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoParties(());

impl fmt::Display for NoParties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a barrier needs at least 1 party")
    }
}

impl std::error::Error for NoParties {}
