//! Threads and time: the system's, or, on a thread that simulates others (`sim`), those of the simulation.
//!
//! Whatever in this crate starts a thread, waits for one, or asks for the time outside of a runtime's own clock does so through here or through
//! `sync_switch`. Without the feature `sim` there is nowhere to be, and all of it is the system's.

use crate::scheduler::ThreadConfig;
use crate::sync_switch::{self, JoinHandle};
use std::io;
use std::time::{Duration, Instant};

#[cfg(feature = "sim")]
pub(crate) use crate::sim::world::{Actor, here};
#[cfg(not(feature = "sim"))]
pub(crate) use nowhere::{Actor, here};

/// The time by which threads sleep and shutdowns end. Not that of timers, which is the driver's.
#[inline]
pub(crate) fn now() -> Instant {
    match here() {
        Some(world) => world.now(),
        None => Instant::now(),
    }
}

/// As [`Instant::elapsed`].
pub(crate) fn elapsed(since: Instant) -> Duration {
    now().saturating_duration_since(since)
}

/// Puts the calling thread to sleep.
pub(crate) fn sleep(length: Duration) {
    match here() {
        Some(world) => drop(world.wait(0, world.now().checked_add(length))),
        None => std::thread::sleep(length),
    }
}

/// A moment of a loop that waits for another thread to do something.
#[inline]
pub(crate) fn spin() {
    match here() {
        Some(world) => world.point(0),
        None => std::hint::spin_loop(),
    }
}

/// Other threads may run here: only a simulation has to be told. `what` goes into its trace.
#[inline(always)]
pub(crate) fn point(what: impl FnOnce() -> u64) {
    if let Some(world) = here() {
        world.point(what());
    }
}

/// As [`point`], in the middle of a poll: where that task may hold locks of its own, so that it counts only if the simulation was told that it may.
#[inline(always)]
pub(crate) fn preempt() {
    if let Some(world) = here() {
        world.preempt();
    }
}

/// As [`preempt`], between any two steps of a protocol.
#[inline(always)]
pub(crate) fn step() {
    if let Some(world) = here() {
        world.step();
    }
}

/// A thread, to wait for its end.
pub(crate) struct Thread(Kind);

enum Kind {
    Real(JoinHandle<()>),
    Simulated(Actor),
}

/// Which thread.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum ThreadId {
    Real(sync_switch::ThreadId),
    Simulated(Actor),
}

impl ThreadId {
    pub(crate) fn current() -> Self {
        match here() {
            Some(world) => Self::Simulated(world.running()),
            None => Self::Real(sync_switch::this_thread()),
        }
    }
}

impl Thread {
    pub(crate) fn start(
        config: &ThreadConfig,
        what: &str,
        body: impl FnOnce() + Send + 'static,
    ) -> io::Result<Self> {
        if let Some(world) = here() {
            let actor = world.start(config.name_of(what), Box::new(body))?;
            return Ok(Self(Kind::Simulated(actor)));
        }
        let shows = config.shows.clone();
        let thread = sync_switch::start_thread(config, what, move || {
            let _shown = shows.enter();
            body();
        })?;
        Ok(Self(Kind::Real(thread)))
    }

    pub(crate) fn id(&self) -> ThreadId {
        match &self.0 {
            Kind::Real(thread) => ThreadId::Real(thread.thread().id()),
            Kind::Simulated(actor) => ThreadId::Simulated(*actor),
        }
    }

    pub(crate) fn is_finished(&self) -> bool {
        match &self.0 {
            Kind::Real(thread) => thread.is_finished(),
            Kind::Simulated(actor) => here().is_none_or(|world| world.is_ended(*actor)),
        }
    }

    /// Waits for its end. One that panicked has printed that.
    pub(crate) fn join(self) {
        match self.0 {
            Kind::Real(thread) => drop(thread.join()),
            Kind::Simulated(actor) => {
                if let Some(world) = here() {
                    world.join(actor);
                }
            }
        }
    }
}

/// What wakes who waits for something that is no condvar: of a simulation's threads only.
#[cfg(not(feature = "sim"))]
#[derive(Clone)]
pub(crate) struct Signal;

#[cfg(not(feature = "sim"))]
impl Signal {
    pub(crate) fn new() -> Self {
        Self
    }

    pub(crate) fn key(&self) -> usize {
        0
    }

    #[inline(always)]
    pub(crate) fn notify(&self, _all: bool) {}
}

#[cfg(feature = "sim")]
#[derive(Clone)]
pub(crate) struct Signal(std::sync::Arc<u8>);

#[cfg(feature = "sim")]
impl Signal {
    pub(crate) fn new() -> Self {
        Self(std::sync::Arc::new(0))
    }

    pub(crate) fn key(&self) -> usize {
        std::sync::Arc::as_ptr(&self.0).addr()
    }

    pub(crate) fn notify(&self, all: bool) {
        if let Some(world) = here() {
            world.notify(self.key(), all);
        }
    }
}

/// Without the feature `sim`: no thread simulates others.
#[cfg(not(feature = "sim"))]
mod nowhere {
    use std::io;
    use std::time::Instant;

    #[derive(Clone, Copy, PartialEq, Eq)]
    pub(crate) struct Actor;

    pub(crate) enum World {}

    #[inline(always)]
    pub(crate) fn here() -> Option<World> {
        None
    }

    impl World {
        pub(crate) fn now(&self) -> Instant {
            match *self {}
        }

        pub(crate) fn wait(&self, _key: usize, _until: Option<Instant>) -> bool {
            match *self {}
        }

        pub(crate) fn point(&self, _what: u64) {
            match *self {}
        }

        pub(crate) fn preempt(&self) {
            match *self {}
        }

        pub(crate) fn step(&self) {
            match *self {}
        }

        pub(crate) fn running(&self) -> Actor {
            match *self {}
        }

        pub(crate) fn start(&self, _name: String, _body: Box<dyn FnOnce()>) -> io::Result<Actor> {
            match *self {}
        }

        pub(crate) fn is_ended(&self, _actor: Actor) -> bool {
            match *self {}
        }

        pub(crate) fn join(&self, _actor: Actor) {
            match *self {}
        }
    }
}
