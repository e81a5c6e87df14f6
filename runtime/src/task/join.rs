//! `Task<T>`: the handle of a spawned task, and `TaskRef`, its untyped twin.
#![allow(unsafe_code)]

use super::awaitable::{Await, Awaitable, Awaited, Watched, leave_waker};
use super::cell::{Direct, Header, Outcome, Watcher};
use super::error::TaskError;
use super::id::TaskId;
use super::raw::{self, Runnable};
use super::state::{Abort, Delivered, Snapshot, Wake};
use super::tree::Target;
use super::{Cancel, CancelOutcome, Shared, Why};
use heist_io_driver::leaf::Leaf;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::panic::Location;
use std::pin::Pin;
use std::ptr::NonNull;
use std::task::{Context, Poll};

/// A spawned task. Awaiting it gives its outcome; dropping it lets the task run on by itself (it *detaches*).
///
/// asyncio's `Task`. The runtime keeps every unfinished task alive, so unlike there nothing is lost when the last handle goes.
///
/// # Cancel safety
///
/// Awaiting by `&mut task` may be given up and taken up again; the outcome is not lost.
///
/// # Examples
///
/// ```
/// # heist_runtime::run(async {
/// let task = heist_runtime::spawn(async { 6 * 7 });
/// assert_eq!(task.await.unwrap(), 42);
/// # }).unwrap();
/// ```
#[doc(alias = "asyncio.Task")]
pub struct Task<T> {
    /// Invariant: the handle owns a reference, and JOIN_INTEREST; the task's future gives a `T`.
    task: NonNull<Header>,
    taken: bool,
    waits: Await,
    _outcome: PhantomData<fn() -> T>,
}

// SAFETY: the handle gives the outcome, a `T`, to whichever thread it is on, and nothing else of the task; the header is Sync.
unsafe impl<T: Send> Send for Task<T> {}
// SAFETY: through `&Task<T>` only the header can be reached, and of the outcome only its error, a clone of which may be made by any number of
// threads. Whatever takes the outcome away has `&mut`.
unsafe impl<T: Send> Sync for Task<T> {}
impl<T> Unpin for Task<T> {}

impl<T> Task<T> {
    /// # Safety
    ///
    /// The caller hands over the handle's reference to a task whose future gives a `T`; there is no other handle.
    pub(super) unsafe fn from_raw(task: NonNull<Header>) -> Self {
        Self {
            task,
            taken: false,
            waits: Await::new(),
            _outcome: PhantomData,
        }
    }

    fn header(&self) -> &Header {
        // SAFETY: the handle holds a reference.
        unsafe { self.task.as_ref() }
    }

    /// An untyped reference to the same task.
    pub fn as_ref(&self) -> TaskRef {
        // SAFETY: the handle holds a reference.
        unsafe { TaskRef::new(self.task) }
    }

    /// Identifies the task, for the life of the process.
    pub fn id(&self) -> TaskId {
        self.header().id
    }

    /// The task's name: the one it was given, else `Task-N`. asyncio's `get_name`.
    #[doc(alias = "get_name")]
    pub fn name(&self) -> String {
        self.header().name()
    }

    /// Names the task. asyncio's `set_name`.
    pub fn set_name(&self, name: &str) {
        self.header().set_name(name);
    }

    /// Where the task was spawned.
    pub fn spawned_at(&self) -> &'static Location<'static> {
        self.header().spawned_at
    }

    /// Whether the task has ended: with a value, an error, or by a cancellation. asyncio's `done`.
    #[doc(alias("done", "is_finished"))]
    pub fn is_done(&self) -> bool {
        self.header().state.load().is_done()
    }

    /// Whether the task has ended by a cancellation. asyncio's `cancelled`.
    #[doc(alias = "cancelled")]
    pub fn is_cancelled(&self) -> bool {
        self.header().state.load().is_cancelled()
    }

    /// Asks the task to end, and returns at once: false if it has ended already.
    ///
    /// The request goes to where the task is suspended. If it awaits another task, or a handle of another kind, that is asked
    /// in its place, and the task goes on with what comes of it. Else the innermost regions round the await receive it
    /// ([`catch_cancel`](super::catch_cancel), timeouts, task groups; the task itself is the outermost): they are dropped at the await, destructors
    /// and all, and whoever made the region decides what follows. If nobody holds it up, the task ends with a
    /// [`TaskError`] with [`is_cancelled`](TaskError::is_cancelled) and `message`.
    ///
    /// A task that runs meets the request at its next suspension; if it returns before, it ends cancelled and its value is dropped, whereas a panic,
    /// or the error of a [`try_spawn`](crate::try_spawn), stands. One that has not been polled is never polled. A closure of `spawn_blocking` that
    /// runs cannot be interrupted: its value is dropped.
    ///
    /// asyncio's `cancel(msg)`.
    ///
    /// # Examples
    ///
    /// ```
    /// # heist_runtime::run(async {
    /// let task = heist_runtime::spawn(std::future::pending::<()>());
    /// assert!(task.cancel("no longer needed"));
    /// let error = task.await.unwrap_err();
    /// assert!(error.is_cancelled());
    /// assert_eq!(error.cancel_message(), Some("no longer needed"));
    /// # }).unwrap();
    /// ```
    pub fn cancel<'m>(&self, message: impl Into<Option<&'m str>>) -> bool {
        // SAFETY: the handle holds a reference, and is borrowed.
        unsafe { TaskRef::borrowed(self.task) }.request(message.into())
    }

    /// How often the task was asked to end, less what was taken back. asyncio's `cancelling`.
    pub fn cancelling(&self) -> u32 {
        self.header().cancelling()
    }

    /// Takes one request back, and gives how many are left. At none, those that no await has met yet are withdrawn. asyncio's
    /// `uncancel`.
    pub fn uncancel(&self) -> u32 {
        self.header().uncancel()
    }

    /// Drops the task where it is suspended, or will next suspend, whatever stands in the way: no region can hold this up. Returns
    /// at once; false if it has ended already.
    ///
    /// Destructors run; a value or an error that comes before the next suspension: the value is dropped, the error stands. A cancellation
    /// that is ending the task already gets the abort's message. Of several aborts the first message counts.
    ///
    /// # Examples
    ///
    /// ```
    /// use heist_runtime::task::catch_cancel;
    /// # heist_runtime::run(async {
    /// let stubborn = heist_runtime::spawn(async {
    ///     loop {
    ///         let _ = catch_cancel(std::future::pending::<()>()).await;
    ///     }
    /// });
    /// heist_runtime::task::yield_now().await;
    /// stubborn.cancel("please");
    /// stubborn.abort("now");
    /// assert_eq!(stubborn.await.unwrap_err().cancel_message(), Some("now"));
    /// # }).unwrap();
    /// ```
    pub fn abort<'m>(&self, message: impl Into<Option<&'m str>>) -> bool {
        // SAFETY: as above.
        unsafe { TaskRef::borrowed(self.task) }.force(message.into())
    }

    /// Asks the task to end, gives it a grace to clean up, then aborts it; see [`TaskRef::cancel_with`].
    ///
    /// # Cancel safety
    ///
    /// See [`TaskRef::cancel_with`].
    ///
    /// # Examples
    ///
    /// ```
    /// use heist_runtime::{spawn, task::Cancel};
    /// use std::time::Duration;
    ///
    /// # heist_runtime::run(async {
    /// let task = spawn(std::future::pending::<()>());
    /// let cancel = Cancel::new().reason("shutting down").grace(Duration::from_secs(5));
    /// task.cancel_with(cancel).await;
    /// assert!(task.is_cancelled());
    /// # }).unwrap();
    /// ```
    pub async fn cancel_with(&self, cancel: Cancel) -> CancelOutcome {
        let task = self.as_ref();
        task.cancel_with(cancel).await
    }

    /// Calls `callback` when the task has ended: on the thread that ends it, or here and now if it has. asyncio's `add_done_callback`.
    ///
    /// It is called in a copy of the calling code's [context](crate::context), and should be short. A panic in one that waited is contained.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::mpsc;
    ///
    /// # heist_runtime::run(async {
    /// let (tell, told) = mpsc::channel();
    /// let task = heist_runtime::spawn(async {});
    /// task.add_done_callback(move || tell.send("done").unwrap());
    /// task.await.unwrap();
    /// # heist_runtime::spawn_blocking(move ||
    /// assert_eq!(told.recv().unwrap(), "done")
    /// # ).await.unwrap();
    /// # }).unwrap();
    /// ```
    pub fn add_done_callback(&self, callback: impl FnOnce() + Send + 'static) {
        self.header().add_done_callback(callback);
    }

    /// A handle that can be cloned and gives the outcome any number of times.
    ///
    /// # Examples
    ///
    /// ```
    /// # heist_runtime::run(async {
    /// let one = heist_runtime::spawn(async { "hello" }).shared();
    /// let two = one.clone();
    /// assert_eq!(one.await.unwrap(), two.await.unwrap());
    /// # }).unwrap();
    /// ```
    pub fn shared(self) -> Shared<T>
    where
        T: Clone + Send + Sync + 'static,
    {
        self.into()
    }

    /// Waits for the task's end, by any way, and leaves the outcome where it is. Does not forward: a request ends this await alone.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost.
    pub fn ended(&self) -> TaskEnded {
        self.as_ref().ended()
    }

    /// The value, without waiting; given once. asyncio's `result`.
    ///
    /// # Errors
    ///
    /// Why there is none; [`is_invalid_state`](TaskError::is_invalid_state) before the end.
    ///
    /// # Examples
    ///
    /// ```
    /// # heist_runtime::run(async {
    /// let mut endless = heist_runtime::spawn(std::future::pending::<()>());
    /// assert!(endless.result().unwrap_err().is_invalid_state());
    /// let mut task = heist_runtime::spawn(async { 42 });
    /// task.ended().await;
    /// assert_eq!(task.result().unwrap(), 42);
    /// assert!(task.result().is_err()); // it is given once
    /// # }).unwrap();
    /// ```
    pub fn result(&mut self) -> Result<T, TaskError> {
        self.take_outcome()
            .unwrap_or_else(|| Err(TaskError::invalid_state()))
    }

    /// The error, without waiting and without taking the outcome; `None` if there is a value. asyncio's `exception`.
    ///
    /// # Errors
    ///
    /// The task was cancelled, or has not ended.
    pub fn exception(&self) -> Result<Option<TaskError>, TaskError> {
        if !self.is_done() {
            return Err(TaskError::invalid_state());
        }
        // SAFETY: this is the only handle, and the task is done.
        match unsafe { raw::error(self.task) } {
            Some(error) if error.is_cancelled() => Err(error),
            error => Ok(error),
        }
    }

    /// Lets the task run on by itself. The same as dropping the handle, for code that wants to say so.
    pub fn detach(self) {}

    /// Takes the outcome of a task that is done; once.
    pub(crate) fn take_outcome(&mut self) -> Option<Outcome<T>> {
        // SAFETY: this is the only handle.
        unsafe { take_once(self.task, &mut self.taken) }
    }
}

/// Takes the outcome of a task that is done, if it was not taken before.
///
/// # Safety
///
/// The caller is the task's only handle, of this type, and `taken` is its own.
unsafe fn take_once<T>(task: NonNull<Header>, taken: &mut bool) -> Option<Outcome<T>> {
    // SAFETY: by the handle's reference.
    if !unsafe { task.as_ref() }.state.load().is_done() {
        return None;
    }
    if std::mem::replace(taken, true) {
        return Some(Err(TaskError::taken()));
    }
    // SAFETY: by the caller's word; the outcome has not been taken.
    unsafe { raw::take(task) }
}

/// A handle but for its await.
struct Bare<'a, T> {
    /// Invariant: of the task's only handle, which is borrowed.
    task: NonNull<Header>,
    taken: &'a mut bool,
    _outcome: PhantomData<fn() -> T>,
}

impl<T> Bare<'_, T> {
    fn header(&self) -> &Header {
        // SAFETY: by the invariant, the handle holds a reference.
        unsafe { self.task.as_ref() }
    }
}

impl<T> Awaited for Bare<'_, T> {
    type Value = T;

    fn target(&self) -> Target {
        // SAFETY: by the invariant, the handle holds a reference.
        Target::Task(unsafe { TaskRef::new(self.task) })
    }

    #[inline]
    fn direct(&self) -> Option<Direct> {
        Some(Direct::new(self.task))
    }

    fn error(&self) -> Option<TaskError> {
        if !self.header().state.load().is_done() {
            return None;
        }
        // SAFETY: by the invariant; the task is done.
        unsafe { raw::error(self.task) }
    }

    #[inline]
    fn ends_cancelled(&self) -> bool {
        self.header().state.load().is_cancelled()
    }

    #[inline]
    fn poll_ended(&mut self, cx: &mut Context<'_>) -> bool {
        // SAFETY: by the invariant.
        unsafe { raw::poll_done(self.task, cx) }
    }

    #[inline]
    fn take(&mut self) -> Outcome<T> {
        // SAFETY: by the invariant.
        let outcome = unsafe { take_once(self.task, self.taken) };
        outcome.unwrap_or_else(|| Err(TaskError::invalid_state()))
    }
}

impl<T> Future for Task<T> {
    type Output = Result<T, TaskError>;

    /// A task awaited again after its outcome was given says so with an error; so does one that awaits itself.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        crate::system::preempt();
        let this = &mut *self;
        let mut bare = Bare {
            task: this.task,
            taken: &mut this.taken,
            _outcome: PhantomData,
        };
        this.waits.poll(&mut bare, cx)
    }
}

impl<T: Send + 'static> Awaitable for Task<T> {
    type Value = T;

    fn target(&self) -> Target {
        Target::Task(self.as_ref())
    }

    fn is_done(&self) -> bool {
        self.header().state.load().is_done()
    }

    fn is_cancelled(&self) -> bool {
        self.header().state.load().is_cancelled()
    }

    fn error(&self) -> Option<TaskError> {
        // SAFETY: this is the only handle, and the task is done.
        self.is_done()
            .then(|| unsafe { raw::error(self.task) })
            .flatten()
    }

    fn has_value(&mut self, holds: fn(&T) -> bool) -> bool {
        // SAFETY: this is the only handle, borrowed for as long as `holds` looks, and the task is done.
        self.is_done() && unsafe { raw::has_value(self.task, holds) }
    }

    fn ends_cancelled(&self) -> bool {
        self.is_cancelled()
    }

    fn poll_ended(&mut self, cx: &mut Context<'_>) -> bool {
        // SAFETY: this is the only handle.
        unsafe { raw::poll_done(self.task, cx) }
    }

    fn take(&mut self) -> Result<T, TaskError> {
        self.take_outcome()
            .unwrap_or_else(|| Err(TaskError::invalid_state()))
    }

    fn identity(&self) -> usize {
        self.task.as_ptr().addr()
    }
}

impl<T> Watched for Task<T> {
    fn watch(&self, watcher: Watcher) -> Result<usize, Watcher> {
        self.header().watch(watcher)
    }

    fn rewatch(&self, key: usize, watcher: Watcher) -> Result<Watcher, Watcher> {
        self.header().rewatch(key, watcher)
    }

    fn unwatch(&self, key: usize) -> Option<Watcher> {
        self.header().unwatch(key)
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        // First: whoever awaits this task must not find it when it may be gone (rule 8).
        self.waits = Await::new();
        if self.taken {
            // The task is done and its outcome was given away: nothing is left to clear.
            // SAFETY: the handle's reference.
            unsafe { raw::drop_reference(self.task) }
        } else {
            // SAFETY: the only handle, gone after this.
            unsafe { raw::drop_handle(self.task) }
        }
    }
}

/// A reference to a task of whatever type: what `current_task` and `all_tasks` give. Cloning is cheap; it keeps the
/// task's memory, not the task, alive.
pub struct TaskRef(
    /// Invariant: this owns a reference.
    NonNull<Header>,
);

// SAFETY: only the header is reached, which is Send and Sync.
unsafe impl Send for TaskRef {}
// SAFETY: as above.
unsafe impl Sync for TaskRef {}

impl TaskRef {
    /// # Safety
    ///
    /// `task` is alive: the caller holds a reference, or the lock of the registry shard in which the task stands.
    pub(crate) unsafe fn new(task: NonNull<Header>) -> Self {
        // SAFETY: by the caller's word.
        unsafe { task.as_ref() }.state.add_reference();
        Self(task)
    }

    /// The same without counting.
    ///
    /// # Safety
    ///
    /// The caller holds a reference for as long as the answer lives.
    pub(super) unsafe fn borrowed(task: NonNull<Header>) -> ManuallyDrop<Self> {
        ManuallyDrop::new(Self(task))
    }

    pub(super) fn header(&self) -> &Header {
        // SAFETY: this holds a reference.
        unsafe { self.0.as_ref() }
    }

    /// Identifies the task, for the life of the process.
    pub fn id(&self) -> TaskId {
        self.header().id
    }

    /// The task's name: the one it was given, else `Task-N`.
    pub fn name(&self) -> String {
        self.header().name()
    }

    /// Names the task.
    pub fn set_name(&self, name: &str) {
        self.header().set_name(name);
    }

    /// Whether the task has ended.
    pub fn is_done(&self) -> bool {
        self.header().state.load().is_done()
    }

    /// Whether the task has ended by a cancellation.
    pub fn is_cancelled(&self) -> bool {
        self.header().state.load().is_cancelled()
    }

    /// Whether the task has ended with a panic, was refused, or, if it was made by a `try_spawn`, with an `Err`.
    pub fn has_failed(&self) -> bool {
        self.header().state.load().is_failed()
    }

    /// Says that somebody will tell of the task's failure, as a task group does: it is not reported when the outcome is dropped.
    pub fn set_answered(&self) {
        self.header().state.transition_to_answered();
    }

    /// Where the task was spawned.
    pub fn spawned_at(&self) -> &'static Location<'static> {
        self.header().spawned_at
    }

    /// The type name of the task's future. asyncio's `get_coro`, as far as a compiled language has one.
    #[doc(alias = "get_coro")]
    pub fn future_name(&self) -> &'static str {
        (self.header().vtable.future_name)()
    }

    /// Asks the task to end; see [`Task::cancel`].
    pub fn cancel<'m>(&self, message: impl Into<Option<&'m str>>) -> bool {
        self.request(message.into())
    }

    /// How often the task was asked to end, less what was taken back.
    pub fn cancelling(&self) -> u32 {
        self.header().cancelling()
    }

    /// Takes one request back; see [`Task::uncancel`].
    pub fn uncancel(&self) -> u32 {
        self.header().uncancel()
    }

    /// Drops the task where it is suspended; see [`Task::abort`].
    pub fn abort<'m>(&self, message: impl Into<Option<&'m str>>) -> bool {
        self.force(message.into())
    }

    /// Calls `callback` when the task has ended; see [`Task::add_done_callback`].
    pub fn add_done_callback(&self, callback: impl FnOnce() + Send + 'static) {
        self.header().add_done_callback(callback);
    }

    /// The name that the task was given, if it was.
    pub fn explicit_name(&self) -> Option<String> {
        self.header()
            .explicit_name()
            .map(|name| String::from(&*name))
    }

    /// Waits for the task's end, by any way. Does not forward: a request ends this await alone.
    pub fn ended(&self) -> TaskEnded {
        TaskEnded {
            task: self.clone(),
            watch: None,
            leaf: Leaf::new(),
        }
    }

    pub(crate) fn state(&self) -> Snapshot {
        self.header().state.load()
    }

    /// Whether this is a closure on the blocking pool.
    pub(crate) fn is_blocking(&self) -> bool {
        self.header().vtable.is_blocking
    }

    /// Whether this is a callback, which is a task to the runtime alone.
    pub(crate) fn is_callback(&self) -> bool {
        self.header().vtable.is_callback
    }
}

/// The future of [`TaskRef::ended`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct TaskEnded {
    task: TaskRef,
    watch: Option<usize>,
    leaf: Leaf,
}

impl Watched for TaskRef {
    fn watch(&self, watcher: Watcher) -> Result<usize, Watcher> {
        self.header().watch(watcher)
    }

    fn rewatch(&self, key: usize, watcher: Watcher) -> Result<Watcher, Watcher> {
        self.header().rewatch(key, watcher)
    }

    fn unwatch(&self, key: usize) -> Option<Watcher> {
        self.header().unwatch(key)
    }
}

impl Future for TaskEnded {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if this.leaf.poll_enter(cx).is_pending() {
            return Poll::Pending;
        }
        if this.task.is_done() || leave_waker(&this.task, &mut this.watch, cx) {
            this.watch = None;
            heist_io_driver::leaf::spend();
            return Poll::Ready(());
        }
        this.leaf.suspend();
        Poll::Pending
    }
}

impl Drop for TaskEnded {
    fn drop(&mut self) {
        if let Some(key) = self.watch.take() {
            drop(self.task.unwatch(key));
        }
    }
}

impl Clone for TaskRef {
    fn clone(&self) -> Self {
        // SAFETY: this holds a reference.
        unsafe { Self::new(self.0) }
    }
}

impl Drop for TaskRef {
    fn drop(&mut self) {
        // SAFETY: this holds a reference, and gives it back.
        unsafe { raw::drop_reference(self.0) }
    }
}

impl PartialEq for TaskRef {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for TaskRef {}

impl std::hash::Hash for TaskRef {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.id().hash(state);
    }
}

/// How a task is let go of after a delivery.
pub(super) enum Exit {
    /// A further request came.
    Again,
    Left,
    /// The task is queued, and this is its entry.
    Submit(Runnable),
}

/// What `task::cancel` does to the state word, with the entries that come of it.
impl TaskRef {
    pub(super) fn leave_delivery(&self, wake: bool, interrupted: bool) -> Exit {
        let state = &self.header().state;
        self.exit(state.transition_to_delivered(wake, interrupted))
    }

    pub(super) fn leave_delivery_plainly(&self) -> Exit {
        self.exit(self.header().state.transition_to_delivered_plainly())
    }

    /// Lets go of a task that was taken to be looked at.
    pub(super) fn leave_look(&self) -> Exit {
        self.exit(self.header().state.transition_to_put_back())
    }

    fn exit(&self, delivered: Delivered) -> Exit {
        match delivered {
            Delivered::Again => Exit::Again,
            Delivered::Left => Exit::Left,
            // SAFETY: the transition made, or took over, the queue's reference.
            Delivered::Submit => Exit::Submit(unsafe { Runnable::from_queued(self.0) }),
        }
    }

    /// Whether this is a reference to `task`.
    pub(crate) fn is(&self, task: NonNull<Header>) -> bool {
        self.0 == task
    }

    pub(super) fn begin_abort(&self) -> (Abort, Option<Runnable>) {
        let aborted = self.header().state.transition_to_aborted();
        let entry = (aborted == Abort::Submit).then(|| {
            // SAFETY: the transition made the queue's reference.
            unsafe { Runnable::from_queued(self.0) }
        });
        (aborted, entry)
    }

    /// Wakes the task.
    pub(super) fn wake(&self) {
        if self.header().state.transition_to_queued() == Wake::Submit {
            // SAFETY: the transition made the queue's reference.
            unsafe { Runnable::from_queued(self.0) }.submit(Why::Woken);
        }
    }
}

impl Header {
    fn add_done_callback(&self, callback: impl FnOnce() + Send + 'static) {
        if let Err(callback) = self.watch(Watcher::call(callback)) {
            callback.tell();
        }
    }

    pub(crate) fn name(&self) -> String {
        match self.explicit_name() {
            Some(name) => String::from(&*name),
            None => format!("Task-{}", self.id),
        }
    }

    pub(crate) fn id(&self) -> TaskId {
        self.id
    }

    pub(crate) fn spawned_at(&self) -> &'static Location<'static> {
        self.spawned_at
    }

    /// One word for what the task does now.
    pub(crate) fn phase(state: Snapshot) -> &'static str {
        if state.is_cancelled() {
            "cancelled"
        } else if state.is_done() {
            "done"
        } else if state.is_running() {
            "running"
        } else if state.is_queued() {
            "queued"
        } else {
            "suspended"
        }
    }
}
