//! The simulated machine: several threads (*actors*) that take turns on one, and the time they go by.
//!
//! An actor is a coroutine. It runs until it waits, ends, or comes to a *point* at which others may run ([`World::point`]); then [`Order`] draws who
//! goes on. So what happens between two points happens at once for all others, and a run is a function of its seed.
//!
//! **Two times.** The *machine's* time ([`World::now`]) creeps on by a little with each turn: threads' sleeps, a shutdown's deadline, the wait of a foreign
//! thread go by it. The *clocks* of the drivers, which timers go by, stand still as long as any actor can run. When none can, both move on by the same
//! amount, to whatever comes first; where nothing will come, that is a deadlock.
//!
//! **What an actor has of its own**: its stack, and of the thread-locals the runtime's own: those that say where a thread is ([`ThreadState`]), and those of
//! `sync_switch`. All other thread-locals, a user's too, are one for all of them.

use super::Grain;
use super::actor::{Resumed, Routine};
use super::order::Order;
use crate::handle::Handle;
use crate::task::TaskRef;
use crate::{context, current};
use fastrand::Rng;
use heist_io_driver::sim as io;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::AcqRel};
use std::time::{Duration, Instant};

/// A turn takes up to so many nanoseconds of the machine's time.
const TURN: u64 = 2_000;
/// One of so many turns goes to an actor whose wait thereby ends for no reason, as a condvar's may.
const SPURIOUS: u32 = 256;

/// A simulated thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Actor(pub(super) usize);

pub(crate) struct World {
    /// Which one: other than all others of this thread.
    number: u64,
    seed: u64,
    /// When it began. The times below are nanoseconds since.
    base: Instant,
    machine: Cell<u64>,
    /// By how much the clocks are behind the machine's steps, since they move by whole ticks.
    owed: Cell<u64>,
    rng: RefCell<Rng>,
    order: RefCell<Order>,
    actors: RefCell<Vec<Entry>>,
    names: RefCell<Vec<String>>,
    running: Cell<usize>,
    /// The runtimes built here. They live until the world ends.
    runtimes: RefCell<Vec<Handle>>,
    /// Nobody else has a turn before this is false.
    alone: Cell<bool>,
    network: Arc<io::Network>,
    trace: RefCell<Vec<Turn>>,
    max_turns: Cell<usize>,
    grain: Grain,
}

/// Who ran, and what it was about to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) actor: usize,
    pub(super) what: u64,
    pub(super) at: u64,
}

struct Entry {
    name: String,
    /// `None` while it runs, and after its end.
    routine: Option<Routine>,
    state: State,
    thread: ThreadState,
    what: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Ready,
    /// For a notification of `key`, until `until` at the latest.
    Waiting {
        key: usize,
        until: Option<u64>,
    },
    /// The wait is over, for its time.
    TimedOut,
    Ended,
}

/// What is an actor's own of the thread-locals.
#[derive(Default)]
struct ThreadState {
    driver: io::ThreadState,
    current: current::ThreadState,
    context: context::ThreadState,
}

impl ThreadState {
    fn exchange(&mut self) {
        self.driver.exchange();
        self.current.exchange();
        self.context.exchange();
    }
}

/// Why a world stands still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Halt {
    /// Every actor has ended.
    Ended,
    /// All wait, and nothing will come.
    Deadlock,
    /// It has had its turns.
    Endless,
}

thread_local! {
    static HERE: RefCell<Option<Rc<World>>> = const { RefCell::new(None) };
}

/// The world that this thread simulates.
pub(crate) fn here() -> Option<Rc<World>> {
    HERE.try_with(|here| here.borrow().clone()).ok().flatten()
}

/// Makes `world` this thread's until the guard is dropped; `None` if it has one.
pub(super) fn enter(world: &Rc<World>) -> Option<impl Drop> {
    struct Leave;
    impl Drop for Leave {
        fn drop(&mut self) {
            HERE.set(None);
        }
    }
    HERE.with(|here| {
        let mut here = here.borrow_mut();
        here.is_none().then(|| {
            *here = Some(world.clone());
            Leave
        })
    })
}

impl World {
    pub(super) fn new(
        seed: u64,
        order: Order,
        max_turns: usize,
        grain: Grain,
        network: Arc<io::Network>,
    ) -> Rc<Self> {
        std::thread_local! {
            static LAST: Cell<u64> = const { Cell::new(0) };
        }
        LAST.set(LAST.get() + 1);
        Rc::new(Self {
            number: LAST.get(),
            seed,
            base: Instant::now(),
            machine: Cell::new(0),
            owed: Cell::new(0),
            rng: RefCell::new(Rng::with_seed(seed)),
            order: RefCell::new(order),
            actors: RefCell::default(),
            names: RefCell::default(),
            running: Cell::new(usize::MAX),
            runtimes: RefCell::default(),
            alone: Cell::new(false),
            network,
            trace: RefCell::default(),
            max_turns: Cell::new(max_turns),
            grain,
        })
    }

    pub(super) fn seed(&self) -> u64 {
        self.seed
    }

    pub(super) fn network(&self) -> &Arc<io::Network> {
        &self.network
    }

    /// A number for the test itself.
    pub(super) fn random(&self) -> u64 {
        self.rng.borrow_mut().u64(..)
    }

    pub(super) fn trace(&self) -> std::cell::Ref<'_, Vec<Turn>> {
        self.trace.borrow()
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.names.borrow().clone()
    }

    /// The actors that wait, each with the time at which it would stop.
    pub(super) fn waiting(&self) -> Vec<(String, Option<Duration>)> {
        let actors = self.actors.borrow();
        let waiting = actors.iter().filter_map(|actor| match actor.state {
            State::Waiting { until, .. } => {
                Some((actor.name.clone(), until.map(Duration::from_nanos)))
            }
            _ => None,
        });
        waiting.collect()
    }

    /// A driver's kernel. The driver is made known by [`adopt`](Self::adopt).
    pub(crate) fn kernel(&self) -> Arc<dyn io::Kernel> {
        Arc::new(Kernel {
            notified: AtomicBool::new(false),
        })
    }

    /// Moves this runtime's clock on with those of the others.
    pub(crate) fn adopt(&self, runtime: &Handle) {
        self.runtimes.borrow_mut().push(runtime.clone());
    }

    /// The unfinished tasks of all runtimes.
    pub(super) fn tasks(&self) -> Vec<TaskRef> {
        let runtimes = self.runtimes.borrow();
        let tasks = runtimes.iter().map(|runtime| runtime.registry().tasks());
        tasks.flatten().collect()
    }

    /// Calls `f` on a thread that knows nothing, without a turn for anybody else.
    pub(super) fn outside<T>(&self, f: impl FnOnce() -> T) -> T {
        struct Back<'a>(&'a Cell<bool>, bool, ThreadState);
        impl Drop for Back<'_> {
            fn drop(&mut self) {
                self.2.exchange();
                self.0.set(self.1);
            }
        }
        let mut back = Back(
            &self.alone,
            self.alone.replace(true),
            ThreadState::default(),
        );
        back.2.exchange();
        f()
    }

    // What actors call.

    pub(crate) fn now(&self) -> Instant {
        self.base + Duration::from_nanos(self.machine.get())
    }

    pub(crate) fn running(&self) -> Actor {
        Actor(self.running.get())
    }

    /// The world's number and the running thread's; `None` if no thread runs.
    pub(crate) fn thread(&self) -> Option<(u64, usize)> {
        (!self.is_host()).then(|| (self.number, self.running.get()))
    }

    pub(crate) fn is_ended(&self, actor: Actor) -> bool {
        self.actors.borrow()[actor.0].state == State::Ended
    }

    /// Begins a thread.
    #[expect(clippy::unnecessary_wraps, reason = "a real thread may not start")]
    pub(crate) fn start(
        self: &Rc<Self>,
        name: String,
        body: Box<dyn FnOnce()>,
    ) -> std::io::Result<Actor> {
        let mut actors = self.actors.borrow_mut();
        let actor = Actor(actors.len());
        self.names.borrow_mut().push(name.clone());
        actors.push(Entry {
            name,
            routine: Some(Routine::new(body)),
            state: State::Ready,
            thread: ThreadState::default(),
            what: 0,
        });
        self.order.borrow_mut().started(&mut self.rng.borrow_mut());
        Ok(actor)
    }

    /// Waits for a thread's end.
    pub(crate) fn join(&self, actor: Actor) {
        while !self.is_ended(actor) {
            self.wait(end_of(actor), None);
        }
    }

    /// Others may run here.
    pub(crate) fn point(&self, what: u64) {
        if self.is_host() || self.alone.get() {
            return;
        }
        self.actors.borrow_mut()[self.running.get()].what = what;
        super::actor::suspend();
    }

    /// Others may run here, if this is no poll, or the test can bear that in the middle of one.
    pub(crate) fn preempt(&self) {
        if self.grain >= Grain::Calls || current::frame().is_null() {
            self.point(0);
        }
    }

    /// Others may run here, if the test can bear that anywhere.
    pub(crate) fn step(&self) {
        if self.grain == Grain::Steps {
            self.point(0);
        }
    }

    /// Waits for a notification of `key`; true if the time is up. May end for no reason.
    pub(crate) fn wait(&self, key: usize, until: Option<Instant>) -> bool {
        if self.is_host() {
            return true;
        }
        let until = until.map(|until| nanos(until.saturating_duration_since(self.base)));
        let me = self.running.get();
        self.actors.borrow_mut()[me].state = State::Waiting { key, until };
        super::actor::suspend();
        let state = &mut self.actors.borrow_mut()[me].state;
        std::mem::replace(state, State::Ready) == State::TimedOut
    }

    /// Ends the wait of those who wait for `key`: of one of them, or of all.
    pub(crate) fn notify(&self, key: usize, all: bool) {
        let mut actors = self.actors.borrow_mut();
        let is_one =
            |actor: &Entry| matches!(actor.state, State::Waiting { key: of, .. } if of == key);
        let count = actors.iter().filter(|actor| is_one(actor)).count();
        if count == 0 {
            return;
        }
        let chosen = self.rng.borrow_mut().usize(..count);
        let waiting = actors.iter_mut().filter(|actor| is_one(actor));
        for (place, actor) in waiting.enumerate() {
            if all || place == chosen {
                actor.state = State::Ready;
            }
        }
    }

    /// Whether no actor runs: a destructor, say, that the world itself has called.
    fn is_host(&self) -> bool {
        self.running.get() == usize::MAX
    }

    // What turns the world.

    /// As [`run`](Self::run), with so many turns more.
    pub(super) fn run_on(&self, turns: usize) -> Halt {
        self.max_turns.set(self.trace.borrow().len() + turns);
        self.run()
    }

    /// Gives turns until all have ended, or nothing goes on.
    pub(super) fn run(&self) -> Halt {
        loop {
            let actors = self.actors.borrow();
            if actors.iter().all(|actor| actor.state == State::Ended) {
                return Halt::Ended;
            }
            drop(actors);
            if self.trace.borrow().len() >= self.max_turns.get() {
                return Halt::Endless;
            }
            self.network.advance(self.machine.get());
            match self.choose() {
                Some(next) => self.turn(next),
                None if self.advance() => {}
                None => return Halt::Deadlock,
            }
        }
    }

    /// Who goes on.
    fn choose(&self) -> Option<usize> {
        let mut actors = self.actors.borrow_mut();
        let mut rng = self.rng.borrow_mut();
        let now = self.machine.get();
        for actor in actors.iter_mut() {
            if let State::Waiting {
                until: Some(until), ..
            } = actor.state
                && until <= now
            {
                actor.state = State::TimedOut;
            }
        }
        let can_run = |actor: &Entry| matches!(actor.state, State::Ready | State::TimedOut);
        let ready = (0..actors.len()).filter(|&index| can_run(&actors[index]));
        let next = self.order.borrow_mut().next(ready, &mut rng)?;
        if rng.u32(..SPURIOUS) == 0 {
            let waits = |actor: &Entry| matches!(actor.state, State::Waiting { .. });
            let waiting: Vec<_> = (0..actors.len())
                .filter(|&index| waits(&actors[index]))
                .collect();
            if let Some(&woken) = rng.choice(&waiting) {
                actors[woken].state = State::Ready;
            }
        }
        self.machine.set(now + rng.u64(1..TURN));
        Some(next)
    }

    /// One turn of an actor.
    fn turn(&self, index: usize) {
        let (mut routine, mut thread) = {
            let actor = &mut self.actors.borrow_mut()[index];
            let turn = Turn {
                actor: index,
                what: std::mem::take(&mut actor.what),
                at: self.machine.get(),
            };
            self.trace.borrow_mut().push(turn);
            let Some(routine) = actor.routine.take() else {
                unreachable!("who can run is at rest");
            };
            (routine, std::mem::take(&mut actor.thread))
        };
        self.running.set(index);
        thread.exchange();
        let resumed = routine.resume();
        thread.exchange();
        self.running.set(usize::MAX);
        match resumed {
            Resumed::Suspended => {
                let actor = &mut self.actors.borrow_mut()[index];
                actor.routine = Some(routine);
                actor.thread = thread;
            }
            Resumed::Ended => {
                routine.recycle();
                self.actors.borrow_mut()[index].state = State::Ended;
                self.notify(end_of(Actor(index)), true);
                // Outside of the borrow: there may be destructors in it.
                drop(thread);
            }
        }
    }

    /// Nobody can run: moves time on to what comes next. False if nothing will.
    fn advance(&self) -> bool {
        let now = self.machine.get();
        let sleepers = self.actors.borrow();
        let sleeper = sleepers.iter().filter_map(|actor| match actor.state {
            State::Waiting { until, .. } => until,
            _ => None,
        });
        let sleeper = sleeper.min().map(|until| until.saturating_sub(now));
        drop(sleepers);
        let runtimes = self.runtimes.borrow();
        let drivers = runtimes.iter().map(|runtime| runtime.scheduler().io());
        let timer = drivers.clone().filter_map(|driver| {
            let left = driver
                .next_deadline()?
                .saturating_duration_since(driver.clock().now());
            // One that is due is nobody's who could look at it: waiting longer does not help.
            (!left.is_zero()).then(|| nanos(left))
        });
        let timer = timer.min().map(|left| left.saturating_sub(self.owed.get()));
        let packet = self.network.next_event().map(|at| at.saturating_sub(now));
        let Some(step) = [sleeper, timer, packet].into_iter().flatten().min() else {
            return false;
        };
        self.machine.set(now.saturating_add(step));
        let clocks = self.owed.get().saturating_add(step);
        let whole = clocks - clocks % io::TICK;
        self.owed.set(clocks - whole);
        if whole > 0 {
            for driver in drivers {
                io::advance(driver, Duration::from_nanos(whole));
            }
        }
        true
    }

    /// What has not ended is never going to: it is forgotten, with its stack and all that is on it. Gives the names.
    pub(super) fn abandon(&self) -> Vec<String> {
        let runtimes = std::mem::take(&mut *self.runtimes.borrow_mut());
        drop(runtimes);
        let actors = std::mem::take(&mut *self.actors.borrow_mut());
        let mut names = Vec::new();
        for actor in actors {
            if let Some(routine) = actor.routine {
                names.push(actor.name);
                routine.forget();
            }
            std::mem::forget(actor.thread);
        }
        names
    }
}

/// What who waits for the end of an actor waits for. No address is so low.
fn end_of(actor: Actor) -> usize {
    1 + actor.0
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// In the place of a driver's poller.
struct Kernel {
    notified: AtomicBool,
}

impl Kernel {
    fn key(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }
}

impl io::Kernel for Kernel {
    fn wait(&self, limit: Option<Duration>) -> bool {
        // AcqRel, here and below: pairs with itself in `notify`.
        if self.notified.swap(false, AcqRel) {
            return true;
        }
        if limit != Some(Duration::ZERO)
            && let Some(world) = here()
        {
            let until = limit.and_then(|limit| world.now().checked_add(limit));
            world.wait(self.key(), until);
        }
        self.notified.swap(false, AcqRel)
    }

    fn notify(&self) {
        self.notified.swap(true, AcqRel);
        if let Some(world) = here() {
            world.notify(self.key(), false);
        }
    }

    fn interrupt(&self) {
        if let Some(world) = here() {
            world.notify(self.key(), false);
        }
    }
}
