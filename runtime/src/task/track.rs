//! Tasks of other types than ours: who is one, and which of them a thread is in. For the authors of task types of their own, which are polled on
//! our workers, in a callback or on any thread.
//!
//! ```text
//!   asyncio                                heist
//!   _register_task, _unregister_task       register, the drop of Tracked
//!   _enter_task, _leave_task               Tracked::enter, the drop of Entered or Tracked::leave
//!   _swap_current_task                     Tracked::swap
//!   all_tasks, current_task                all, current
//! ```
//!
//! A [`TaskRef`] is a reference to a task of the runtime's own, so these have a listing of their own: [`all`] beside
//! [`all_tasks`](crate::all_tasks), [`current`] beside [`current_task`](crate::current_task). They belong to the process, not to a runtime.
//!
//! On one thread one task is executed at a time, of whichever type. In the poll of a task of the runtime, that one is: [`enter`](Tracked::enter) says so with an
//! error, as asyncio does, and a step of another task type belongs into a callback ([`Handle::call_soon`](crate::Handle::call_soon)) or on a thread of its own.
//! A task type that is polled *inside* a task of the runtime takes the task's place with [`swap`](Tracked::swap).
//!
//! # Examples
//!
//! ```
//! use heist_runtime::task::track;
//!
//! let job = track::register("job 7");
//! assert_eq!(track::all(), [job.as_ref().clone()]);
//! {
//!     let _step = job.enter().unwrap();
//!     assert_eq!(track::current().unwrap().name(), "job 7");
//!     assert!(track::register("job 8").enter().is_err());
//! }
//! assert!(track::current().is_none());
//! drop(job);
//! assert!(track::all().is_empty());
//! ```

use super::TaskRef;
use crate::current;
use crate::sync_switch::thread_local;
use parking_lot::Mutex;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// Those that are registered, in the order in which that was done.
static ALL: Mutex<BTreeMap<u64, TrackedRef>> = Mutex::new(BTreeMap::new());

thread_local! {
    /// Those that this thread is in, the one entered last on top.
    static INSIDE: RefCell<Vec<Inside>> = const { RefCell::new(Vec::new()) };
}

struct Inside {
    /// Which entry it is; unique.
    entry: u64,
    task: TrackedRef,
    /// The run of a task of the runtime's own in which it was entered; only compared.
    frame: *const current::Frame,
}

impl Inside {
    /// Whether no task of the runtime's own was begun since.
    fn is_here(&self) -> bool {
        self.frame == current::frame()
    }
}

/// Numbers for tasks and entries; only have to be unique.
fn number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Relaxed)
}

/// Registers a task of another type: it stands in [`all`] until what this gives is dropped. asyncio's `_register_task`.
///
/// # Examples
///
/// See the [module](self).
#[doc(alias = "_register_task")]
#[track_caller]
pub fn register(name: &str) -> Tracked {
    let task = TrackedRef(Arc::new(Inner {
        id: number(),
        name: name.into(),
        registered_at: Location::caller(),
        entered: AtomicBool::new(false),
    }));
    ALL.lock().insert(task.id(), task.clone());
    Tracked(task)
}

/// The tasks that are registered, the oldest first. asyncio's `all_tasks`, as far as it lists tasks that are not asyncio's own.
///
/// # Examples
///
/// See the [module](self).
#[doc(alias = "all_tasks")]
pub fn all() -> Vec<TrackedRef> {
    ALL.lock().values().cloned().collect()
}

/// The task that this thread was made to execute by [`Tracked::enter`] or [`swap`](Tracked::swap), unless it executes a task of the runtime that was
/// begun since. asyncio's `current_task`.
///
/// [`current_task`](crate::current_task) is not changed by this: in a callback or on a thread outside it is `None`, after a `swap` the task of the runtime whose
/// place was taken.
///
/// # Examples
///
/// See the [module](self).
#[doc(alias = "current_task")]
pub fn current() -> Option<TrackedRef> {
    innermost(|inside| Some(inside?.task.clone()))
}

/// Asks the innermost entry that counts here.
fn innermost<R>(ask: impl FnOnce(Option<&Inside>) -> Option<R>) -> Option<R> {
    INSIDE
        .try_with(|inside| ask(inside.borrow().last().filter(|inside| inside.is_here())))
        .ok()
        .flatten()
}

/// A registered task. Dropping it takes it out of [`all`]. asyncio's `_unregister_task`.
///
/// A thread that is in it then stays so until it leaves.
#[doc(alias = "_unregister_task")]
#[must_use = "the task is registered for as long as this lives"]
pub struct Tracked(TrackedRef);

impl Tracked {
    /// Makes it the task that this thread executes, until what this gives is dropped: round each of the task's steps. asyncio's `_enter_task`.
    ///
    /// # Errors
    ///
    /// The thread executes another task, one of the runtime included, or this one already; or another thread executes this one. Nothing is changed then.
    ///
    /// # Examples
    ///
    /// ```
    /// use heist_runtime::task::track;
    ///
    /// let job = track::register("job");
    /// let step = job.enter().unwrap();
    /// assert!(job.enter().is_err(), "entered twice");
    /// drop(step);
    /// # heist_runtime::run(async move {
    /// let error = job.enter().unwrap_err();
    /// assert_eq!(error.task_of_runtime(), heist_runtime::current_task().as_ref());
    /// # }).unwrap();
    /// ```
    #[doc(alias = "_enter_task")]
    pub fn enter(&self) -> Result<Entered, EnterError> {
        if let Some(executed) = Executed::here() {
            return Err(EnterError {
                task: self.0.clone(),
                executed,
            });
        }
        self.swap()
    }

    /// As [`enter`](Self::enter), in the place of whatever task the thread executes, which is the current one again when this is left. asyncio's
    /// `_swap_current_task`.
    ///
    /// # Errors
    ///
    /// This very task is being executed already, here or on another thread.
    ///
    /// # Examples
    ///
    /// ```
    /// use heist_runtime::task::track;
    ///
    /// # heist_runtime::run(async {
    /// let inner = track::register("inner");
    /// {
    ///     let _step = inner.swap().unwrap();
    ///     assert_eq!(track::current().unwrap().name(), "inner");
    /// }
    /// assert!(track::current().is_none() && heist_runtime::current_task().is_some());
    /// # }).unwrap();
    /// ```
    #[doc(alias = "_swap_current_task")]
    pub fn swap(&self) -> Result<Entered, EnterError> {
        let error = |executed| EnterError {
            task: self.0.clone(),
            executed,
        };
        // Relaxed: says that it is entered and nothing else.
        if self.0.0.entered.swap(true, Relaxed) {
            return Err(error(Executed::Itself));
        }
        let entry = number();
        let entered = INSIDE.try_with(|inside| {
            inside.borrow_mut().push(Inside {
                entry,
                task: self.0.clone(),
                frame: current::frame(),
            });
        });
        if entered.is_err() {
            self.0.0.entered.store(false, Relaxed);
            return Err(error(Executed::LastDestructors));
        }
        Ok(Entered {
            entry,
            _not_send: PhantomData,
        })
    }

    /// Leaves it, where dropping [`Entered`] would not be told of a mistake. asyncio's `_leave_task`.
    ///
    /// The [`Entered`] of it does nothing more.
    ///
    /// # Errors
    ///
    /// It is not the task that this thread executes. Nothing is changed then.
    ///
    /// # Examples
    ///
    /// ```
    /// let job = heist_runtime::task::track::register("job");
    /// let _step = job.enter().unwrap();
    /// job.leave().unwrap();
    /// assert!(job.leave().is_err());
    /// ```
    #[doc(alias = "_leave_task")]
    pub fn leave(&self) -> Result<(), LeaveError> {
        let mine = innermost(|inside| {
            let inside = inside.filter(|inside| inside.task == self.0)?;
            Some(inside.entry)
        });
        match mine {
            Some(entry) => {
                leave(entry);
                Ok(())
            }
            None => Err(LeaveError {
                task: self.0.clone(),
                executed: Executed::here(),
            }),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.0.name()
    }
}

impl AsRef<TrackedRef> for Tracked {
    fn as_ref(&self) -> &TrackedRef {
        &self.0
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        let listed = ALL.lock().remove(&self.0.id());
        drop(listed);
    }
}

impl fmt::Debug for Tracked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Takes an entry out, if it is still there.
fn leave(entry: u64) {
    let left = INSIDE.try_with(|inside| {
        let mut inside = inside.borrow_mut();
        let at = inside.iter().rposition(|inside| inside.entry == entry)?;
        Some(inside.remove(at).task)
    });
    if let Ok(Some(task)) = left {
        task.0.entered.store(false, Relaxed);
    }
}

/// This thread executes the task until this is dropped, or [`Tracked::leave`] was called.
#[must_use = "the task is left when this is dropped"]
pub struct Entered {
    entry: u64,
    /// Belongs to its thread.
    _not_send: PhantomData<*const ()>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        leave(self.entry);
    }
}

impl fmt::Debug for Entered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entered").finish_non_exhaustive()
    }
}

/// A reference to a registered task: what [`all`] and [`current`] give. It does not keep it registered.
#[derive(Clone)]
pub struct TrackedRef(Arc<Inner>);

struct Inner {
    id: u64,
    name: Box<str>,
    registered_at: &'static Location<'static>,
    /// Some thread is in it.
    entered: AtomicBool,
}

impl TrackedRef {
    /// Identifies it among all that were ever registered in this process. Has nothing to do with a [`TaskId`](super::TaskId).
    pub fn id(&self) -> u64 {
        self.0.id
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Where it was registered.
    pub fn registered_at(&self) -> &'static Location<'static> {
        self.0.registered_at
    }

    /// Whether some thread executes it at this moment.
    pub fn is_entered(&self) -> bool {
        self.0.entered.load(Relaxed)
    }
}

impl PartialEq for TrackedRef {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for TrackedRef {}

impl std::hash::Hash for TrackedRef {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.id().hash(state);
    }
}

impl fmt::Debug for TrackedRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let running = if self.is_entered() { " running" } else { "" };
        write!(
            f,
            "<Tracked{running} name='{}' registered at {}>",
            self.name().escape_debug(),
            self.registered_at()
        )
    }
}

/// What stands in the way.
#[derive(Clone, Debug)]
enum Executed {
    OfRuntime(TaskRef),
    Tracked(TrackedRef),
    Itself,
    LastDestructors,
}

impl Executed {
    fn here() -> Option<Self> {
        let tracked = current().map(Self::Tracked);
        tracked.or_else(|| crate::current_task().map(Self::OfRuntime))
    }
}

/// Why a task could not be [entered](Tracked::enter). asyncio's `RuntimeError`.
#[derive(Clone, Debug)]
pub struct EnterError {
    task: TrackedRef,
    executed: Executed,
}

impl EnterError {
    /// The task of the runtime that the thread executes, if that is why.
    pub fn task_of_runtime(&self) -> Option<&TaskRef> {
        match &self.executed {
            Executed::OfRuntime(task) => Some(task),
            _ => None,
        }
    }

    /// The registered task that is executed, if that is why: another one, or the same one.
    pub fn tracked(&self) -> Option<&TrackedRef> {
        match &self.executed {
            Executed::Tracked(task) => Some(task),
            Executed::Itself => Some(&self.task),
            Executed::OfRuntime(_) | Executed::LastDestructors => None,
        }
    }
}

impl fmt::Display for EnterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let task = &self.task;
        match &self.executed {
            Executed::OfRuntime(other) => write!(
                f,
                "cannot enter into task {task:?} while another task {other:?} is being executed"
            ),
            Executed::Tracked(other) if other != task => write!(
                f,
                "cannot enter into task {task:?} while another task {other:?} is being executed"
            ),
            Executed::Tracked(_) | Executed::Itself => write!(
                f,
                "cannot enter into task {task:?}, which is being executed already"
            ),
            Executed::LastDestructors => write!(
                f,
                "cannot enter into task {task:?} while the thread's last destructors run"
            ),
        }
    }
}

impl std::error::Error for EnterError {}

/// Why a task could not be [left](Tracked::leave). asyncio's `RuntimeError`.
#[derive(Clone, Debug)]
pub struct LeaveError {
    task: TrackedRef,
    executed: Option<Executed>,
}

impl fmt::Display for LeaveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "leaving task {:?} does not match ", self.task)?;
        match &self.executed {
            Some(Executed::OfRuntime(task)) => write!(f, "the current task {task:?}"),
            Some(Executed::Tracked(task)) => write!(f, "the current task {task:?}"),
            Some(Executed::Itself | Executed::LastDestructors) | None => {
                f.write_str("the current task: there is none")
            }
        }
    }
}

impl std::error::Error for LeaveError {}
