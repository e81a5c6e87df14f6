//! Scenarios: small programs in which threads meet at one protocol each, run under thousands of schedules.
//!
//! A schedule is how the order is drawn, how finely threads take turns, how many workers there are, and a seed. All four follow from one number, so a
//! failure says the one that goes the same way again: `HEIST_SIM_SEED=17 cargo test --release --features sim --test sim scenarios::its::name`.
//!
//! `HEIST_SIM_SCHEDULES` is how many schedules each scenario has at random, and as many more by priorities. A night has 20,000.
//!
//! What a scenario has to hold is asserted in it; what all have to is seen to by the simulation (no deadlock, a shutdown in time, balanced books), and here: each
//! [`Life`] that was begun has ended, once.

mod bugs;
mod cancel;
mod combining;
mod handles;
mod panics;
mod runtimes;
mod submit;
mod synced;
mod timers;

use heist::Task;
use heist::sim::{Builder, Grain, Policy, Sim, Thread};
use std::cell::RefCell;
use std::fmt;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// So many schedules of either policy, unless the environment says otherwise: all grains and numbers of workers, and each number of changes of priority.
const SCHEDULES: u64 = 60;
/// One schedule of so many is run twice, to see that it goes the same way.
const AGAIN: u64 = 16;
/// Far more turns than any of them takes: what reaches it runs for ever.
const TURNS: usize = 300_000;

/// How one run goes.
struct Schedule {
    policy: Policy,
    grain: Grain,
    workers: usize,
    seed: u64,
}

impl Schedule {
    /// Consecutive numbers go through all there are.
    fn of(seed: u64) -> Self {
        let policy = match seed % 2 {
            0 => Policy::Random,
            _ => Policy::Priorities {
                changes: 1 + (seed / 24 % 5) as usize,
            },
        };
        Self {
            policy,
            grain: [Grain::Polls, Grain::Calls, Grain::Steps][(seed / 2 % 3) as usize],
            workers: 1 + (seed / 6 % 4) as usize,
            seed,
        }
    }

    fn builder(&self) -> Builder {
        Builder::new()
            .policy(self.policy)
            .grain(self.grain)
            .workers(self.workers)
            .seed(self.seed)
            .max_turns(TURNS)
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            policy,
            grain,
            workers,
            seed,
        } = self;
        write!(
            f,
            "{policy:?}, grain {grain:?}, {workers} workers; again with HEIST_SIM_SEED={seed}"
        )
    }
}

fn number_of(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.trim().parse().ok()
}

/// Runs the scenario under all its schedules.
#[track_caller]
fn explore<F, Fut>(scenario: F)
where
    F: Fn(Scene) -> Fut + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let seeds = match number_of("HEIST_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..2 * number_of("HEIST_SIM_SCHEDULES").unwrap_or(SCHEDULES),
    };
    let scenario = Rc::new(scenario);
    let began = Instant::now();
    let (mut turns, mut longest) = (0, Duration::ZERO);
    let schedules = seeds.end - seeds.start;
    for seed in seeds {
        let schedule = Schedule::of(seed);
        let began = Instant::now();
        match play(&schedule, &scenario) {
            Ok(taken) => turns += taken,
            Err(failure) => panic!("{failure}\n{schedule}"),
        }
        longest = longest.max(began.elapsed());
    }
    let name = std::thread::current().name().map(str::to_owned);
    eprintln!(
        "{}: {schedules} schedules, {turns} turns, {:.2} s, the longest {:.1} ms",
        name.unwrap_or_default(),
        began.elapsed().as_secs_f64(),
        longest.as_secs_f64() * 1e3,
    );
}

/// One run, or two that have to be the same. Gives the turns.
fn play<F, Fut>(schedule: &Schedule, scenario: &Rc<F>) -> Result<usize, String>
where
    F: Fn(Scene) -> Fut + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let scenes: Rc<RefCell<Vec<Lives>>> = Rc::default();
    let test = {
        let (scenario, scenes) = (scenario.clone(), scenes.clone());
        move |sim| {
            let lives = Lives::default();
            scenes.borrow_mut().push(lives.clone());
            scenario(Scene { sim, lives })
        }
    };
    let builder = schedule.builder();
    let run = if (schedule.seed + 1).is_multiple_of(AGAIN) {
        builder.check(test)
    } else {
        builder.run(test)
    };
    let run = run.map_err(|failure| failure.to_string())?;
    for lives in scenes.take() {
        let (begun, ended) = (lives.begun.load(SeqCst), lives.ended.load(SeqCst));
        if begun != ended {
            return Err(format!("{begun} lives begun, {ended} ended"));
        }
    }
    Ok(run.turns)
}

/// What a scenario has to work with: the simulation, and a count of what lives.
#[derive(Clone)]
struct Scene {
    sim: Sim,
    lives: Lives,
}

#[derive(Clone, Default)]
struct Lives(Arc<Counts>);

#[derive(Default)]
struct Counts {
    begun: AtomicUsize,
    ended: AtomicUsize,
}

impl Deref for Lives {
    type Target = Counts;

    fn deref(&self) -> &Counts {
        &self.0
    }
}

/// Kept in a future, an outcome or a closure: it is dropped exactly once, or the scenario fails.
struct Life(Lives);

impl Drop for Life {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, SeqCst);
    }
}

impl Scene {
    fn life(&self) -> Life {
        self.lives.begun.fetch_add(1, SeqCst);
        Life(self.lives.clone())
    }

    /// How many lives have not ended.
    fn living(&self) -> usize {
        self.lives.begun.load(SeqCst) - self.lives.ended.load(SeqCst)
    }

    /// Spawns the future with a life in it.
    #[track_caller]
    fn spawn<F>(&self, future: F) -> Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let life = self.life();
        heist::spawn(async move {
            let _life = life;
            future.await
        })
    }

    /// A thread outside that does this.
    fn thread<T: Send + 'static>(&self, body: impl FnOnce() -> T + Send + 'static) -> Thread<T> {
        self.sim.thread("outside", body)
    }

    /// Suspends up to so many times, as the seed draws.
    async fn yields(&self, limit: u64) {
        for _ in 0..self.sim.below(limit + 1) {
            heist::task::yield_now().await;
        }
    }

    /// Lets others run up to so many times, now and then many times as often, on a thread outside.
    fn dawdle(&self, limit: u64) {
        let limit = limit << (2 * self.sim.below(3));
        for _ in 0..self.sim.below(limit + 1) {
            self.sim.preempt();
        }
    }
}

/// The runtime that this runs on.
fn here() -> heist::Handle {
    heist::Handle::current().expect("a scenario runs in a runtime")
}

/// A number that one thread raises, and a future that waits for it with a waker of its own: what every reactor outside of heist does.
#[derive(Default)]
struct Doorbell {
    rung: AtomicUsize,
    waker: Mutex<Option<Waker>>,
    polls: AtomicUsize,
}

impl Doorbell {
    fn ring(&self) {
        self.rung.fetch_add(1, SeqCst);
        let waker = self.waker.lock().unwrap().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Only wakes: nothing has happened.
    fn shake(&self) {
        let waker = self.waker.lock().unwrap().take();
        if let Some(waker) = waker {
            waker.wake_by_ref();
            waker.wake();
        }
    }

    fn polls(&self) -> usize {
        self.polls.load(SeqCst)
    }

    async fn rings(&self, times: usize) {
        std::future::poll_fn(|cx| self.poll(cx, times)).await;
    }

    fn poll(&self, cx: &mut Context<'_>, times: usize) -> Poll<()> {
        self.polls.fetch_add(1, SeqCst);
        let waker = cx.waker().clone();
        let before = self.waker.lock().unwrap().replace(waker);
        drop(before);
        match self.rung.load(SeqCst) >= times {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }
}
