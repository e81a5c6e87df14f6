//! One run of one scenario: a fresh runtime with a paused clock, the state that all tasks share, and the end.
//!
//! ```text
//!   1  the root (a `block_on`) starts main's task and sleeps until the end of time
//!   2  the paused clock jumps from timer to timer whenever nothing can run; the root's is the last
//!   3  so when the root wakes, nothing can run and no timer is left: the log is closed and read
//!   4  every task is aborted, and the runtime shut down: its threads have to end
//! ```

use crate::exc::{Exc, Outcome, logged};
use crate::handle::{Handle, Joint};
use crate::interpreter::Body;
use crate::log::Record;
use crate::namespace::{Counters, Entry, Names};
use crate::scenario::{AtExit, Scenario};
use heist::{TaskId, TaskRef, task};
use parking_lot::Mutex;
use serde_json::{Map, Value as Json, json};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// When the root wakes, by the paused clock: later than any timer of a scenario.
const END_OF_TIME: Duration = Duration::from_secs(50 * 365 * 24 * 3600);

/// How long the tasks and threads of a run have to end, by the real clock, once all tasks were aborted.
const TEARDOWN: Duration = Duration::from_secs(10);

/// What a run may use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// How many workers; `None` for the calling thread alone.
    pub(crate) workers: Option<usize>,
    /// How many statements all tasks begin, all in all.
    pub(crate) statements: u64,
}

/// Why a run has no log.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The scenario or the interpreter is at fault: an unbound name, a method that an object does not have.
    Scenario(String),
    /// The runtime is: it could not be built, or did not end.
    Runtime(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scenario(why) | Self::Runtime(why) => f.write_str(why),
        }
    }
}

/// What the tasks of a run share.
pub(crate) struct Run {
    pub(crate) scenario: Arc<Scenario>,
    pub(crate) runtime: heist::Handle,
    /// Moment 0 of the log.
    start: Instant,
    pub(crate) names: Mutex<Names>,
    pub(crate) counters: Arc<Counters>,
    records: Mutex<Vec<Arc<Record>>>,
    paths: Mutex<HashMap<TaskId, String>>,
    callbacks: Mutex<BTreeMap<String, Vec<Json>>>,
    /// Nothing is recorded any more.
    closed: AtomicBool,
    /// How many statements may still begin.
    statements: AtomicU64,
    /// The scenario's or the interpreter's own fault, the first that showed: there is no log then.
    bug: OnceLock<String>,
}

/// Runs a scenario to its end and gives its log. `begun` is told of the run before anything of it can hang.
///
/// # Errors
///
/// See [`Fault`].
pub(crate) fn execute(
    scenario: &Arc<Scenario>,
    bounds: Bounds,
    begun: impl FnOnce(Arc<Run>),
) -> Result<Json, Fault> {
    let builder = match bounds.workers {
        Some(workers) => heist::Builder::new().worker_threads(workers),
        None => heist::Builder::new().current_thread(),
    };
    let runtime = builder
        .start_paused(true)
        .slow_poll_threshold(Duration::MAX)
        .build()
        .map_err(|error| Fault::Runtime(format!("no runtime: {error}")))?;
    let run = Arc::new(Run::new(scenario.clone(), bounds, runtime.handle().clone()));
    begun(run.clone());
    runtime
        .block_on(run.clone().until_idle())
        .map_err(|error| Fault::Runtime(format!("the root was ended: {error}")))?;
    let log = run.close();
    for task in runtime.all_tasks() {
        task.abort(None);
    }
    let report = runtime.shutdown(TEARDOWN);
    run.forget();
    match run.bug.get() {
        _ if !report.is_complete() => {
            Err(Fault::Runtime(format!("the runtime did not end: {report}")))
        }
        Some(bug) => Err(Fault::Scenario(bug.clone())),
        None => Ok(log),
    }
}

/// As [`execute`], in a simulation.
#[cfg(feature = "sim")]
pub(crate) fn simulate(scenario: &Arc<Scenario>, bounds: Bounds, seed: u64) -> Result<Json, Fault> {
    let scenario = scenario.clone();
    let simulation = heist::sim::Builder::new().seed(seed);
    match simulation.run_main(move |_| execute(&scenario, bounds, drop)) {
        Ok(run) => run.value,
        Err(failure) => Err(Fault::Runtime(failure.to_string())),
    }
}

#[cfg(not(feature = "sim"))]
pub(crate) fn simulate(_: &Arc<Scenario>, _: Bounds, _: u64) -> Result<Json, Fault> {
    let why = "this runner was built without simulations: --features sim";
    Err(Fault::Runtime(why.to_owned()))
}

impl Run {
    fn new(scenario: Arc<Scenario>, bounds: Bounds, runtime: heist::Handle) -> Self {
        Self {
            scenario,
            start: runtime.clock().now(),
            runtime,
            names: Mutex::default(),
            counters: Arc::default(),
            records: Mutex::default(),
            paths: Mutex::default(),
            callbacks: Mutex::default(),
            closed: AtomicBool::new(false),
            statements: AtomicU64::new(bounds.statements),
            bug: OnceLock::new(),
        }
    }

    async fn until_idle(self: Arc<Self>) {
        self.start_main();
        heist::sleep(END_OF_TIME).await;
    }

    fn start_main(self: &Arc<Self>) {
        let record = self.add_record("main".to_owned());
        let body = Body::new(self.clone(), record.clone()).into_task(self.scenario.main.clone());
        let mut names = self.names.lock();
        let main = self.spawn(&mut names, &record, body, None);
        names.bind("main", Entry::Handle(Handle::Joint(main.clone())));
        drop(names);
        if self.scenario.at_exit == AtExit::Cancel {
            let run = self.clone();
            main.add_done_callback(move || run.cancel_all());
        }
    }

    fn cancel_all(&self) {
        // Without the lock: a cancellation may end in this very thread, and run callbacks.
        let records = self.records.lock().clone();
        for handle in records.iter().filter_map(|record| record.own_handle()) {
            handle.cancel(None);
        }
    }

    // -- tasks and their records

    /// A record for a task to be. The order of the calls is that of the numbers of equal labels.
    pub(crate) fn add_record(&self, path: String) -> Arc<Record> {
        let record = Arc::new(Record::new(path));
        self.records.lock().push(record.clone());
        record
    }

    /// The task did not come to be.
    pub(crate) fn remove_record(&self, record: &Arc<Record>) {
        self.records
            .lock()
            .retain(|other| !Arc::ptr_eq(other, record));
    }

    /// Starts a body as a task of its own. Whoever has the names can bind the task before anybody, the task included, can miss it.
    pub(crate) fn spawn(
        self: &Arc<Self>,
        names: &mut Names,
        record: &Arc<Record>,
        body: impl Future<Output = Outcome> + Send + 'static,
        name: Option<&str>,
    ) -> Joint {
        let builder = match name {
            Some(name) => task::Builder::new().name(name),
            None => task::Builder::new(),
        };
        let task = builder.try_spawn(body);
        self.adopt(names, record, Joint::Plain(task.shared()))
    }

    /// Makes a task that was just spawned the one of `record`.
    pub(crate) fn adopt(
        self: &Arc<Self>,
        _names: &mut Names,
        record: &Arc<Record>,
        task: Joint,
    ) -> Joint {
        if let Some(task) = task.task() {
            self.paths.lock().insert(task.id(), record.path.clone());
        }
        record.set_handle(task.clone());
        let (run, ended) = (self.clone(), record.clone());
        // The end of the task, be it before its first step.
        task.add_done_callback(move || run.note_end(&ended));
        task
    }

    /// As [`adopt`](Self::adopt), for a body that was submitted from another thread.
    pub(crate) fn adopt_thread(
        self: &Arc<Self>,
        _names: &mut Names,
        record: &Arc<Record>,
        task: &TaskRef,
    ) {
        self.paths.lock().insert(task.id(), record.path.clone());
        record.set_thread(task.clone());
        let (run, ended) = (self.clone(), record.clone());
        task.add_done_callback(move || run.note_end(&ended));
    }

    /// The path of a task; none if it is not one of the scenario's. With the names in hand: else a task that runs already may not be noted yet.
    pub(crate) fn path_of(&self, _names: &Names, task: TaskId) -> Option<String> {
        self.paths.lock().get(&task).cloned()
    }

    /// Whether a task is in a poll at this moment.
    pub(crate) fn is_running(&self, task: &TaskRef) -> bool {
        let workers = self.runtime.metrics().per_worker.len();
        (0..workers).any(|worker| self.runtime.current_task_of(worker).as_ref() == Some(task))
    }

    pub(crate) fn note_end(&self, record: &Record) {
        if !self.is_closed() {
            record.set_ended(self.now());
        }
    }

    // -- time

    /// Whole milliseconds since the start.
    pub(crate) fn now(&self) -> u64 {
        let since = self
            .runtime
            .clock()
            .now()
            .saturating_duration_since(self.start);
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    /// The moment that lies `ms` from now, or before it.
    pub(crate) fn instant_in(&self, ms: i64) -> Instant {
        let now = self.runtime.clock().now();
        let moved = match Duration::from_millis(ms.unsigned_abs()) {
            by if ms < 0 => now.checked_sub(by),
            by => now.checked_add(by),
        };
        moved.unwrap_or(now)
    }

    /// A moment in milliseconds since the start.
    pub(crate) fn millis(&self, at: Instant) -> i64 {
        let count = |span: Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        match at.checked_duration_since(self.start) {
            Some(after) => count(after),
            None => -count(self.start.duration_since(at)),
        }
    }

    // -- bounds

    /// Whether one more statement may begin.
    pub(crate) fn may_go_on(&self) -> bool {
        let less_one = |left: u64| left.checked_sub(1);
        self.statements
            .fetch_update(SeqCst, SeqCst, less_one)
            .is_ok()
    }

    // -- what is recorded

    pub(crate) fn log(&self, record: &Record, event: Json) {
        if !self.is_closed() && !record.push(self.now(), event) {
            self.fail(format!("{} does not end", record.path));
        }
    }

    /// Has the outcome of `handle` recorded under `label` once it is done.
    pub(crate) fn record_end(self: &Arc<Self>, handle: &Joint, label: String) {
        self.callbacks.lock().entry(label.clone()).or_default();
        let (run, asked) = (self.clone(), handle.clone());
        handle.add_done_callback(move || {
            if run.is_closed() {
                return;
            }
            let mut entry = logged(asked.result());
            if let Json::Array(parts) = &mut entry {
                parts.insert(0, run.now().into());
            }
            run.callbacks.lock().entry(label).or_default().push(entry);
        });
    }

    /// Abandons the run: it will have no log. What is raised in the meantime is for nobody.
    pub(crate) fn fail(&self, why: String) -> Exc {
        let exc = Exc::Error("ScenarioBug".to_owned(), Some(why.clone()));
        let _ = self.bug.set(why);
        exc
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(SeqCst)
    }

    // -- the end

    /// Closes the log and gives it.
    fn close(&self) -> Json {
        self.closed.store(true, SeqCst);
        let records = self.records.lock().clone();
        let tasks: Map<_, _> = records
            .iter()
            .map(|record| (record.path.clone(), record.to_json()))
            .collect();
        let pending = tasks
            .get("main")
            .is_none_or(|main| main["outcome"] == json!(["pending"]));
        json!({
            "scenario": self.scenario.name,
            "status": if pending { "deadlock" } else { "ok" },
            "tasks": tasks,
            "callbacks": *self.callbacks.lock(),
        })
    }

    /// Lets go of everything. Handles know callbacks that know the run, which knows the handles.
    fn forget(&self) {
        let names = std::mem::take(&mut *self.names.lock());
        for handle in names.handles() {
            handle.cancel(None);
        }
        drop(names);
        let records = std::mem::take(&mut *self.records.lock());
        drop(records);
    }

    /// What has not ended, a line for each, asked from outside while the run goes on.
    pub(crate) fn stuck(&self) -> Vec<String> {
        let records = self.records.lock().clone();
        let tasks = records.iter().filter_map(|record| record.stuck());
        let seen = self.runtime.all_tasks();
        let seen = seen.iter().map(|task| format!("the runtime says {task:?}"));
        let at = std::iter::once(format!("at {} ms of its clock", self.now()));
        at.chain(tasks).chain(seen).collect()
    }
}
