//! A whole runtime in a simulated world: on one thread, on virtual time, in an order drawn from a seed (feature `sim`).
//!
//! What runs is the runtime that ships: its tasks, cancellation, timers, queues, thefts, the monitor, the blocking pool and shutdown. Only what is under it is
//! put on: its threads take turns on the calling one, in an order that the *seed* decides; no time passes but when none of them can go on, and then
//! at once to whatever comes next. So an hour of sleeps takes no time, and a run that failed fails again with the same seed.
//!
//! ```
//! use heist_runtime::sim;
//! use std::time::Duration;
//!
//! let sum = sim::run(7, |_| async {
//!     let slow = heist_runtime::spawn(async {
//!         heist_runtime::time::sleep(Duration::from_secs(3_600)).await;
//!         40
//!     });
//!     slow.await.unwrap() + 2
//! });
//! assert_eq!(sum, 42);
//! ```
//!
//! **Threads outside.** [`Sim::thread`] begins a thread that is no worker: one that submits coroutines, wakes, waits for results, shuts down, while the others
//! do what they do.
//!
//! **What it finds by itself**: a deadlock (all wait, and nothing will come: the report names each thread and each task, and what that waits for), a run that
//! does not end, a runtime that does not shut down, books that do not balance ([`Handle::audit`](crate::Handle::audit)), and, in [`Builder::check`], a run that
//! does not go the same way twice.
//!
//! **Sockets** are those of a network in memory, for whatever uses `net` as it would in production: see [`NetConfig`] for how it behaves, [`Sim::host`] for names and
//! machines, [`Sim::reset`] and [`Sim::partition`] for what goes wrong at a moment of the test's choice.
//!
//! ```
//! use heist_io_driver::net::{TcpListener, TcpStream};
//! use heist_runtime::sim::{Builder, NetConfig};
//!
//! Builder::new()
//!     .network(NetConfig::new().buffer(16).short_reads(0.5))
//!     .seeds(0..20, |_| async {
//!         let listener = TcpListener::bind("localhost:80").await.unwrap();
//!         let server = heist_runtime::spawn(async move {
//!             let (stream, _) = listener.accept().await.unwrap();
//!             let mut bytes = [0; 100];
//!             stream.read_exact(&mut bytes).await.unwrap();
//!             stream.write_all(&bytes).await.unwrap();
//!         });
//!         let stream = TcpStream::connect("localhost:80").await.unwrap();
//!         stream.write_all(&[7; 100]).await.unwrap();
//!         let mut bytes = [0; 100];
//!         stream.read_exact(&mut bytes).await.unwrap();
//!         assert_eq!(bytes, [7; 100]);
//!         server.await.unwrap();
//!     })
//!     .unwrap();
//! ```
//!
//! Such a socket has no descriptor. Code that asks for one (`AsFd`, `AsRawFd`) is shown one of the process's, the same for all, that is never connected; `into_std` fails.
//! Sockets of the system (`from_std`, [`Async`](heist_io_driver::Async)) cannot be waited for in a simulation, and say so when they are registered.
//!
//! **What a test must leave alone**: what the seed does not decide. Other threads of the system, the system's clock, real sockets, the order of a
//! `HashMap` with std's hasher. Blocking by means that are not heist's (a `std::sync::mpsc`, a lock that another simulated thread holds where it waits) stops all of
//! them for good. Thread-locals are one for all simulated threads.

mod actor;
mod cancel;
mod network;
mod order;
mod report;
mod thread;
pub(crate) mod world;

pub use network::{Host, NetConfig};
pub use order::Policy;
pub use report::Failure;
pub use thread::Thread;

use crate::task::{Task, TaskError, id};
use crate::{Runtime, ShutdownReport};
use heist_io_driver::sim as io;
use order::Order;
use report::Kind;
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use world::{Halt, World};

/// More workers than this a seed does not draw.
const WORKERS: u64 = 4;
/// How many turns a run has, unless told otherwise.
const MAX_TURNS: usize = 1_000_000;
/// In how many turns the changes of priority lie.
const CHANGES_WITHIN: u64 = 2_000;
/// How long, in the machine's time, the runtime has to shut down after the test.
const SHUTDOWN: Duration = Duration::from_secs(60);
/// Overrides the seed of every simulation.
const SEED: &str = "HEIST_SIM_SEED";

/// Runs `test` in a simulation and gives its value.
///
/// `test` is called on a worker's behalf, inside the runtime, and its future is a task there. How many workers there are, from 1 to 4, and how the order is
/// drawn, the seed decides; see [`Builder`] for more.
///
/// # Panics
///
/// The simulation failed; the message says how, and with which seed. A panic of the test goes on here, after a line with the seed.
///
/// # Examples
///
/// ```
/// use heist_runtime::{run_coroutine_threadsafe, sim, Handle};
///
/// for seed in 0..20 {
///     sim::run(seed, |sim| async move {
///         let handle = Handle::current().unwrap();
///         let outside = sim.thread("outside", move || {
///             run_coroutine_threadsafe(async { 6 * 7 }, &handle).result(None).unwrap()
///         });
///         assert_eq!(outside.await, 42);
///     });
/// }
/// ```
#[track_caller]
pub fn run<F, Fut>(seed: u64, test: F) -> Fut::Output
where
    F: FnOnce(Sim) -> Fut + 'static,
    Fut: Future + Send + 'static,
    Fut::Output: Send + 'static,
{
    match Builder::new().seed(seed).run(test) {
        Ok(run) => run.value,
        Err(failure) => failure.raise(),
    }
}

/// How to simulate.
///
/// # Examples
///
/// ```
/// use heist_runtime::sim::{Builder, Policy};
///
/// let run = Builder::new()
///     .workers(3)
///     .policy(Policy::Priorities { changes: 3 })
///     .seed(11)
///     .check(|_| async { heist_runtime::spawn(async { 1 }).await.unwrap() })
///     .unwrap();
/// assert_eq!(run.value, 1);
/// ```
#[derive(Clone)]
#[must_use = "a builder does nothing until it runs something"]
pub struct Builder {
    seed: u64,
    workers: Option<usize>,
    policy: Option<Policy>,
    max_turns: usize,
    grain: Grain,
    network: NetConfig,
    configure: Arc<dyn Fn(crate::Builder) -> crate::Builder>,
}

/// Where the threads of a simulation take turns. The finer, the more it finds, and the longer a run is.
///
/// From [`Calls`](Self::Calls) on that is in the middle of polls too: a test whose futures hold a lock of std's while they call heist, or whose channels wake with
/// their own lock held, would stop there for good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Grain {
    /// Between polls, and where a thread waits.
    #[default]
    Polls,
    /// Also where a poll spawns, wakes, cancels or awaits a handle.
    Calls,
    /// Also before each step of the runtime's own protocols: every change of a task's state, of the idle counts, of a slot, every lock.
    Steps,
}

/// What a simulation gave.
#[derive(Debug)]
#[non_exhaustive]
pub struct Run<T> {
    /// The test's value.
    pub value: T,
    /// The seed.
    pub seed: u64,
    /// How many workers the runtime had.
    pub workers: usize,
    /// How many turns its threads had.
    pub turns: usize,
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}

impl Builder {
    /// Seed 0, and all else drawn from the seed.
    pub fn new() -> Self {
        Self {
            seed: 0,
            workers: None,
            policy: None,
            max_turns: MAX_TURNS,
            grain: Grain::Polls,
            network: NetConfig::new(),
            configure: Arc::new(|builder| builder),
        }
    }

    /// What everything is drawn from. The environment variable `HEIST_SIM_SEED` overrides it.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// How many workers the runtime has. The default is 1 to 4, as the seed draws.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = Some(workers.max(1));
        self
    }

    /// How the order is drawn. By default the seed draws that too.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = Some(policy);
        self
    }

    /// After how many turns a run counts as endless. The default is a million.
    pub fn max_turns(mut self, turns: usize) -> Self {
        self.max_turns = turns;
        self
    }

    /// How often the simulated threads take turns. The default is [`Grain::Polls`].
    pub fn grain(mut self, grain: Grain) -> Self {
        self.grain = grain;
        self
    }

    /// How the network behaves. The default is a good one: see [`NetConfig`].
    pub fn network(mut self, network: NetConfig) -> Self {
        self.network = network;
        self
    }

    /// What else the runtime is to be. A current-thread runtime has nobody to run it here, and is not to be asked for.
    pub fn runtime(
        mut self,
        configure: impl Fn(crate::Builder) -> crate::Builder + 'static,
    ) -> Self {
        self.configure = Arc::new(configure);
        self
    }

    /// Runs `test` once.
    ///
    /// # Errors
    ///
    /// What went wrong, the test's own panic included.
    pub fn run<F, Fut>(&self, test: F) -> Result<Run<Fut::Output>, Failure>
    where
        F: FnOnce(Sim) -> Fut + 'static,
        Fut: Future + Send + 'static,
        Fut::Output: Send + 'static,
    {
        self.run_traced(test).map(|(run, _)| run)
    }

    /// Runs `test` twice, and sees that both go the same way: that the seed decides all there is to decide.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run), and if they do not.
    pub fn check<F, Fut>(&self, test: F) -> Result<Run<Fut::Output>, Failure>
    where
        F: Fn(Sim) -> Fut + 'static,
        Fut: Future + Send + 'static,
        Fut::Output: Send + 'static,
    {
        let test = Rc::new(test);
        let again = test.clone();
        let (_, first) = self.run_traced(move |sim| again(sim))?;
        let (run, second) = self.run_traced(move |sim| test(sim))?;
        match first.difference(&second) {
            None => Ok(run),
            Some(difference) => Err(Failure::new(run.seed, Kind::Different(difference))),
        }
    }

    /// As [`check`](Self::check), with each seed of `seeds`: the first failure, or how many turns all of them took. With `HEIST_SIM_SEED` set, that one alone.
    ///
    /// # Errors
    ///
    /// As [`check`](Self::check).
    pub fn seeds<F, Fut>(
        &self,
        seeds: impl IntoIterator<Item = u64>,
        test: F,
    ) -> Result<usize, Failure>
    where
        F: Fn(Sim) -> Fut + 'static,
        Fut: Future + Send + 'static,
        Fut::Output: Send + 'static,
    {
        let test = Rc::new(test);
        let check = |seed| {
            let test = test.clone();
            let run = self.clone().seed(seed).check(move |sim| test(sim))?;
            Ok(run.turns)
        };
        match seed_of_environment() {
            Some(seed) => check(seed),
            None => seeds.into_iter().map(check).sum(),
        }
    }

    /// Runs `main` once, on a simulated thread that is in no runtime: for a test that builds its runtimes itself. How many workers they have, and that they
    /// are shut down, is its own affair.
    ///
    /// # Errors
    ///
    /// What went wrong, a panic of `main` included.
    ///
    /// # Examples
    ///
    /// ```
    /// let run = heist_runtime::sim::Builder::new().run_main(|_| {
    ///     let runtime = heist_runtime::Runtime::new().unwrap();
    ///     runtime.block_on(async { 6 * 7 }).unwrap()
    /// });
    /// assert_eq!(run.unwrap().value, 42);
    /// ```
    pub fn run_main<T: 'static>(
        &self,
        main: impl FnOnce(Sim) -> T + 'static,
    ) -> Result<Run<T>, Failure> {
        let simulated = self.simulate(|stage, _| {
            let main = catch_unwind(AssertUnwindSafe(|| main(Sim(()))));
            stage.end(main.map_or_else(Ended::Panicked, Ended::Value));
        });
        simulated.map(|(run, _)| run)
    }

    fn run_traced<F, Fut>(&self, test: F) -> Result<(Run<Fut::Output>, report::Trace), Failure>
    where
        F: FnOnce(Sim) -> Fut + 'static,
        Fut: Future + Send + 'static,
        Fut::Output: Send + 'static,
    {
        let configure = self.configure.clone();
        self.simulate(move |stage, workers| {
            let builder = configure(crate::Builder::new()).worker_threads(workers);
            let ended = match builder.build() {
                Ok(runtime) => stage.perform(&runtime, test),
                Err(error) => Ended::NotBuilt(error),
            };
            stage.end(ended);
        })
    }

    /// Runs a world whose first thread does `main`, which is told how many workers the seed has drawn.
    fn simulate<T: 'static>(
        &self,
        main: impl FnOnce(&Stage<T>, usize) + 'static,
    ) -> Result<(Run<T>, report::Trace), Failure> {
        let seed = seed_of_environment().unwrap_or(self.seed);
        let mut rng = fastrand::Rng::with_seed(seed);
        let drawn = rng.u64(1..=WORKERS);
        let workers = self.workers.unwrap_or(drawn as usize);
        let drawn = match rng.u8(..4) {
            0 | 1 => Policy::Random,
            _ => Policy::Priorities {
                changes: rng.usize(1..=5),
            },
        };
        let order = Order::new(self.policy.unwrap_or(drawn), CHANGES_WITHIN, &mut rng);
        let network = io::Network::new(self.network.clone(), rng.u64(..), network::host);
        let world = World::new(seed, order, self.max_turns, self.grain, network);
        let Some(_here) = world::enter(&world) else {
            return Err(Failure::new(seed, Kind::Nested));
        };
        let _network = world.network().enter();
        let _ids = id::number_from_one();
        let _rng = seed_thread_rng(seed);
        let stage = Rc::new(Stage::default());
        let body = {
            let stage = stage.clone();
            move || main(&stage, workers)
        };
        let outcome = match world.start("main".into(), Box::new(body)) {
            Ok(_) => self.direct(&world, &stage),
            Err(error) => Err(Kind::Build(error)),
        };
        let left = world.abandon();
        let trace = report::Trace::of(&world);
        let outcome = outcome.and_then(|value| match left.is_empty() {
            true => Ok(value),
            false => Err(Kind::Abandoned(left)),
        });
        let turns = trace.len();
        match outcome {
            Ok(value) => Ok((
                Run {
                    value,
                    seed,
                    workers,
                    turns,
                },
                trace,
            )),
            Err(kind) => Err(Failure::new(seed, kind)),
        }
    }

    /// Turns the world until the test and all that it began have ended, or it is seen that they will not.
    fn direct<T>(&self, world: &World, stage: &Stage<T>) -> Result<T, Kind> {
        let halt = world.run();
        let stuck = match halt {
            Halt::Ended => None,
            Halt::Deadlock | Halt::Endless => {
                let report = report::standstill(halt, world);
                // What can end, ends: what the test has on its stacks is dropped as it would be.
                stage.give_up(world);
                world.run_on(self.max_turns);
                Some(report)
            }
        };
        let ended = stage.ended.borrow_mut().take();
        match (stuck, ended) {
            // A test that has failed leaves others waiting for it.
            (_, Some(Ended::Panicked(payload))) => Err(Kind::Panicked(payload)),
            (Some(report), _) => Err(Kind::Standstill(report)),
            (None, Some(Ended::NotBuilt(error))) => Err(Kind::Build(error)),
            (None, Some(Ended::Late(report))) => Err(Kind::Late(report)),
            (None, Some(Ended::Unbalanced(audit))) => Err(Kind::Unbalanced(audit)),
            (None, Some(Ended::Cancelled(error))) => Err(Kind::Cancelled(error)),
            (None, Some(Ended::Value(value))) => Ok(value),
            (None, None) => Err(Kind::Abandoned(vec!["main".into()])),
        }
    }
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder")
            .field("seed", &self.seed)
            .field("workers", &self.workers)
            .field("policy", &self.policy)
            .field("max_turns", &self.max_turns)
            .finish_non_exhaustive()
    }
}

fn seed_of_environment() -> Option<u64> {
    std::env::var(SEED).ok()?.trim().parse().ok()
}

/// The thread's random numbers come from the seed too, until the guard is dropped.
fn seed_thread_rng(seed: u64) -> impl Drop {
    struct Back(u64);
    impl Drop for Back {
        fn drop(&mut self) {
            fastrand::seed(self.0);
        }
    }
    let back = Back(fastrand::get_seed());
    fastrand::seed(seed);
    back
}

/// What the first thread and the world's host say to each other.
struct Stage<T> {
    ended: RefCell<Option<Ended<T>>>,
    given_up: Cell<bool>,
}

enum Ended<T> {
    Value(T),
    Panicked(Box<dyn Any + Send>),
    Cancelled(TaskError),
    Late(ShutdownReport),
    Unbalanced(crate::Audit),
    NotBuilt(std::io::Error),
}

impl<T> Default for Stage<T> {
    fn default() -> Self {
        Self {
            ended: RefCell::new(None),
            given_up: Cell::new(false),
        }
    }
}

impl<T> Stage<T> {
    fn end(&self, ended: Ended<T>) {
        *self.ended.borrow_mut() = Some(ended);
    }

    fn give_up(&self, world: &World) {
        self.given_up.set(true);
        world.notify(std::ptr::from_ref(self).addr(), true);
    }
}

impl<T: Send + 'static> Stage<T> {
    /// The test as a task of the runtime, and their end.
    fn perform<F, Fut>(&self, runtime: &Runtime, test: F) -> Ended<T>
    where
        F: FnOnce(Sim) -> Fut,
        Fut: Future<Output = T> + Send + 'static,
    {
        let begun = catch_unwind(AssertUnwindSafe(|| {
            let _inside = runtime.enter();
            runtime.spawn(test(Sim(())))
        }));
        let outcome = begun.map(|task| self.wait_for(task));
        let report = runtime.shutdown(SHUTDOWN);
        match outcome {
            Err(payload) => Ended::Panicked(payload),
            Ok(Some(Err(error))) => match error.into_panic() {
                Ok(payload) => Ended::Panicked(payload),
                Err(error) => Ended::Cancelled(error),
            },
            Ok(Some(Ok(value))) if report.is_complete() => {
                let audit = runtime.audit();
                match audit.is_balanced() && audit.is_settled() {
                    true => Ended::Value(value),
                    false => Ended::Unbalanced(audit),
                }
            }
            Ok(_) => Ended::Late(report),
        }
    }

    /// `None`: the world has given up.
    fn wait_for(&self, mut task: Task<T>) -> Option<Result<T, TaskError>> {
        let here = std::ptr::from_ref(self).addr();
        task.add_done_callback(move || {
            if let Some(world) = world::here() {
                world.notify(here, true);
            }
        });
        while !task.is_done() && !self.given_up.get() {
            if let Some(world) = world::here() {
                world.wait(here, None);
            }
        }
        task.is_done().then(|| task.result())
    }
}

/// The simulation that the calling thread is part of, if it is: for code that runs both inside and outside.
pub fn current() -> Option<Sim> {
    world::here().map(|_| Sim(()))
}

/// The simulation, as its test sees it.
#[derive(Clone, Copy, Debug)]
pub struct Sim(());

impl Sim {
    /// The seed, 0 outside of a simulation.
    pub fn seed(self) -> u64 {
        world::here().map_or(0, |world| world.seed())
    }

    /// A number drawn from the seed; another one each time.
    pub fn random(self) -> u64 {
        world::here().map_or(0, |world| world.random())
    }

    /// A number below `limit` drawn from the seed; 0 if that is 0.
    pub fn below(self, limit: u64) -> u64 {
        // Not quite even, by less than a test could tell.
        self.random().checked_rem(limit).unwrap_or(0)
    }

    /// Other threads may run here, in the middle of a poll.
    pub fn preempt(self) {
        crate::system::point(|| 0);
    }

    /// Calls `f` as a thread would that is none of the runtime's: it is in no task and no runtime. Nobody else has a turn meanwhile, so that it may hold locks,
    /// and must not wait.
    pub fn outside<T>(self, f: impl FnOnce() -> T) -> T {
        match world::here() {
            Some(world) => world.outside(f),
            None => f(),
        }
    }

    /// Begins a thread that is none of the runtime's, and runs `body` there.
    ///
    /// What heist does for threads outside it does for this one; blocking in other ways stops the simulation for good. The simulation ends when all of
    /// them have ended.
    pub fn thread<T: Send + 'static>(
        self,
        name: impl Into<String>,
        body: impl FnOnce() -> T + Send + 'static,
    ) -> Thread<T> {
        Thread::start(name.into(), body)
    }
}

/// What `#[heist::test(sim)]` expands to.
#[doc(hidden)]
#[track_caller]
pub fn run_test<F, Fut>(builder: Builder, seeds: u64, test: F)
where
    F: Fn(Sim) -> Fut + 'static,
    Fut: Future + Send + 'static,
    Fut::Output: Send + 'static,
{
    if let Err(failure) = builder.seeds(0..seeds.max(1), test) {
        failure.raise();
    }
}

impl Failure {
    /// Ends the test with it.
    #[track_caller]
    pub(crate) fn raise(self) -> ! {
        match self.into_panic() {
            Ok((line, payload)) => {
                eprintln!("{line}");
                resume_unwind(payload)
            }
            Err(failure) => panic!("{failure}"),
        }
    }
}
