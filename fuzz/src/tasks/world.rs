//! What all tasks of a program share: the handles, and a record of what was seen of each task.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard};

use heist::sync::{Event, Lock, Queue, Semaphore};
use heist::{Deferred, Promise, Shared, Task, TaskError, TaskRef};

use super::program::{Program, Who};

/// What a program may spawn, and do, all in all.
pub(super) const MAX_TASKS: usize = 48;
const MAX_WORK: usize = 1_500;

pub(super) const PERMITS: usize = 2;

/// What a panic that a program wants carries. It is raised without the panic hook, which tells the fuzzer of all others.
pub(super) struct Planned;

pub(super) struct World {
    pub(super) program: Program,
    work: AtomicUsize,
    things: Mutex<Things>,
    pub(super) event: Event,
    pub(super) lock: Lock,
    pub(super) inside: AtomicUsize,
    pub(super) semaphore: Semaphore,
    pub(super) permitted: AtomicUsize,
    pub(super) queue: Queue<usize>,
    pub(super) puts: Puts,
    pub(super) promises: AtomicUsize,
    pub(super) gathers: AtomicUsize,
    /// Callbacks that were submitted and not cancelled, and those that were called.
    pub(super) calls: AtomicUsize,
    pub(super) called: AtomicUsize,
    /// Anything at all was asked to end.
    pub(super) asked: AtomicBool,
    /// A step panicked: whoever it was inside may tell of it.
    pub(super) panicked: AtomicBool,
    /// Time passed while a task could run: then a sleep may be late.
    pub(super) advanced: AtomicBool,
    pub(super) ending: AtomicBool,
}

#[derive(Default)]
pub(super) struct Puts {
    pub(super) begun: AtomicUsize,
    pub(super) done: AtomicUsize,
    pub(super) got: Mutex<Vec<usize>>,
}

#[derive(Default)]
struct Things {
    tasks: Vec<Known>,
    promises: Vec<Promised>,
}

/// Both ends of a promise, as long as nobody has taken them.
struct Promised {
    promise: Option<Promise<usize>>,
    deferred: Option<Deferred<usize>>,
}

struct Known {
    life: Arc<Life>,
    task: Option<TaskRef>,
    kept: Kept,
}

pub(super) enum Kept {
    Own(Task<usize>),
    Share(Shared<usize>),
    No,
}

/// What was seen of one task.
#[derive(Default)]
pub(super) struct Life {
    pub(super) began: AtomicBool,
    pub(super) returned: AtomicBool,
    pub(super) dropped: AtomicU32,
    pub(super) told: AtomicU32,
}

/// Lies in a task's future, and counts how often that is dropped.
pub(super) struct Canary(pub(super) Arc<Life>);

impl Drop for Canary {
    fn drop(&mut self) {
        assert_eq!(self.0.dropped.fetch_add(1, SeqCst), 0, "dropped twice");
    }
}

impl World {
    pub(super) fn new(program: Program) -> Self {
        Self {
            program,
            work: AtomicUsize::new(0),
            things: Mutex::default(),
            event: Event::new(),
            lock: Lock::new(),
            inside: AtomicUsize::new(0),
            semaphore: Semaphore::new(PERMITS),
            permitted: AtomicUsize::new(0),
            queue: Queue::new(2),
            puts: Puts::default(),
            promises: AtomicUsize::new(0),
            gathers: AtomicUsize::new(0),
            calls: AtomicUsize::new(0),
            called: AtomicUsize::new(0),
            asked: AtomicBool::new(false),
            panicked: AtomicBool::new(false),
            advanced: AtomicBool::new(false),
            ending: AtomicBool::new(false),
        }
    }

    fn things(&self) -> MutexGuard<'_, Things> {
        self.things
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Whether there may be one more step.
    pub(super) fn may_work(&self) -> bool {
        self.work.fetch_add(1, SeqCst) < MAX_WORK
    }

    pub(super) fn ask(&self) {
        self.asked.store(true, SeqCst);
    }

    /// A number for a task to be.
    pub(super) fn add(&self) -> Option<(usize, Arc<Life>)> {
        let mut things = self.things();
        let number = things.tasks.len();
        let life = Arc::new(Life::default());
        let known = Known {
            life: life.clone(),
            task: None,
            kept: Kept::No,
        };
        (number < MAX_TASKS).then(|| things.tasks.push(known))?;
        Some((number, life))
    }

    pub(super) fn adopt(&self, number: usize, task: TaskRef, kept: Kept) {
        let mut things = self.things();
        let known = &mut things.tasks[number];
        known.task = Some(task);
        known.kept = kept;
    }

    fn number_of(&self, who: Who) -> usize {
        let last = self.things().tasks.len() - 1;
        last - usize::from(who) % (last + 1)
    }

    /// A task by its number; none in the moment before its spawner has it.
    pub(super) fn task(&self, who: Who) -> Option<(usize, TaskRef)> {
        let number = self.number_of(who);
        let task = self.things().tasks[number].task.clone()?;
        Some((number, task))
    }

    pub(super) fn life(&self, number: usize) -> Arc<Life> {
        self.things().tasks[number].life.clone()
    }

    pub(super) fn all(&self) -> Vec<(Arc<Life>, TaskRef)> {
        let things = self.things();
        let known = things.tasks.iter();
        known
            .filter_map(|known| Some((known.life.clone(), known.task.clone()?)))
            .collect()
    }

    /// The task's handle: a shared one stays, one of its own is given away.
    pub(super) fn handle(&self, who: Who) -> (usize, Kept) {
        let number = self.number_of(who);
        let kept = &mut self.things().tasks[number].kept;
        let handle = match kept {
            Kept::Share(shared) => Kept::Share(shared.clone()),
            kept => std::mem::replace(kept, Kept::No),
        };
        (number, handle)
    }

    /// The task's handle, which from now on is a shared one.
    pub(super) fn shared(&self, who: Who) -> Option<(usize, Shared<usize>)> {
        let (number, kept) = self.handle(who);
        let shared = match kept {
            Kept::Own(task) => task.shared(),
            Kept::Share(shared) => shared,
            Kept::No => return None,
        };
        self.things().tasks[number].kept = Kept::Share(shared.clone());
        Some((number, shared))
    }

    pub(super) fn some_shared(&self, who: [Who; 3]) -> Vec<(usize, Shared<usize>)> {
        who.into_iter().filter_map(|who| self.shared(who)).collect()
    }

    pub(super) fn forget(&self, who: Who) {
        let number = self.number_of(who);
        let kept = std::mem::replace(&mut self.things().tasks[number].kept, Kept::No);
        drop(kept);
    }

    pub(super) fn forget_all(&self) {
        let kept = |known: &mut Known| std::mem::replace(&mut known.kept, Kept::No);
        let kept: Vec<_> = self.things().tasks.iter_mut().map(kept).collect();
        drop(kept);
        let promises = std::mem::take(&mut self.things().promises);
        drop(promises);
    }

    pub(super) fn add_promise(&self) {
        if self.promises.fetch_add(1, SeqCst) < MAX_TASKS {
            let (promise, deferred) = heist::promise();
            self.things().promises.push(Promised {
                promise: Some(promise),
                deferred: Some(deferred),
            });
        }
    }

    pub(super) fn take_promise(&self, which: u8) -> Option<(usize, Promise<usize>)> {
        let mut things = self.things();
        let index = usize::from(which).checked_rem(things.promises.len())?;
        Some((index, things.promises[index].promise.take()?))
    }

    pub(super) fn take_deferred(&self, which: u8) -> Option<(usize, Deferred<usize>)> {
        let mut things = self.things();
        let index = usize::from(which).checked_rem(things.promises.len())?;
        Some((index, things.promises[index].deferred.take()?))
    }

    /// What a handle of a task gave must be what became of the task.
    pub(super) fn heard(&self, number: usize, outcome: &Result<usize, TaskError>) {
        let (life, task) = {
            let things = self.things();
            let known = &things.tasks[number];
            (known.life.clone(), known.task.clone())
        };
        let Some(task) = task else {
            panic!("a handle of a task that has none");
        };
        match outcome {
            Ok(value) => {
                assert_eq!(*value, number, "another task's value");
                assert!(life.returned.load(SeqCst), "a value that was not returned");
                assert!(
                    task.is_done() && !task.is_cancelled(),
                    "a value of {task:?}"
                );
            }
            Err(error) if error.is_cancelled() => {
                assert!(task.is_done(), "cancelled, and not done: {task:?}");
                assert!(task.is_cancelled(), "cancelled, and says not: {task:?}");
            }
            Err(error) if error.is_panic() => {
                assert!(self.panicked.load(SeqCst), "nobody panicked: {error}");
                assert!(task.is_done() && task.has_failed(), "failed: {task:?}");
            }
            Err(error) if error.is_refused() => {
                assert!(!life.began.load(SeqCst), "refused, and yet begun");
            }
            Err(error) => assert!(error.is_self_await(), "unexpected: {error}"),
        }
    }
}
