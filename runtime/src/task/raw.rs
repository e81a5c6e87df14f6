//! Running, waking and ending a task through a pointer to its header.
//!
//! Everything here works on a `NonNull<Header>` whose reference the caller holds; the vtable leads back to the future's type.
//! A panic, of the future, of its destructor or of the outcome's, becomes the task's outcome or a report; none goes further.
//! Rules are those of `task::cell`.
#![allow(unsafe_code)]

use super::cancel::{self, Met};
use super::cell::{Cell, Header, Outcome, Rare, Stage, tell_all};
use super::error::TaskError;
use super::id::TaskId;
use super::in_turn::{Waiting, in_turn};
use super::join::Task;
use super::stack::Tracing;
use super::state::{Ending, Finish, Join, Start, Suspend, Wake};
use super::{Route, Schedule, TaskRef, Why, waker};
use crate::current;
use crate::sync_switch::{Bug, planted, thread_local};
use std::any::Any;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::ptr::NonNull;
use std::task::{Context, Poll};

/// What a task's type decides. Invariant: all are of the one `Cell<F, S>` whose header points here (`vtable` alone makes one), so each may take a
/// pointer to that header for one to the cell.
pub(crate) struct Vtable {
    run: unsafe fn(NonNull<Header>),
    abandon: unsafe fn(NonNull<Header>, TaskError),
    submit: unsafe fn(NonNull<Header>, Why),
    take_outcome: unsafe fn(NonNull<Header>, *mut ()),
    peek_error: unsafe fn(NonNull<Header>) -> Option<TaskError>,
    peek_value: unsafe fn(NonNull<Header>) -> Option<NonNull<()>>,
    discard_outcome: unsafe fn(NonNull<Header>),
    free: unsafe fn(NonNull<Header>),
    pub(super) future_name: fn() -> &'static str,
    pub(super) is_callback: bool,
    pub(super) is_blocking: bool,
}

/// Tells a failure from a value.
pub(crate) trait Judge<T> {
    fn is_failure(value: &T) -> bool;

    /// What a failure says, for a report.
    fn describe(_: &T) -> String {
        String::new()
    }
}

/// Every value is one.
pub(crate) struct Values;

impl<T> Judge<T> for Values {
    fn is_failure(_: &T) -> bool {
        false
    }
}

/// An `Err` is a failure.
pub(crate) struct Results;

impl<T, E: std::fmt::Debug> Judge<Result<T, E>> for Results {
    fn is_failure(value: &Result<T, E>) -> bool {
        value.is_err()
    }

    fn describe(value: &Result<T, E>) -> String {
        match value {
            Ok(_) => String::new(),
            Err(error) => format!("{error:?}"),
        }
    }
}

fn vtable<F, S, J>() -> &'static Vtable
where
    F: Future,
    S: Schedule,
    J: Judge<F::Output>,
{
    const {
        &Vtable {
            run: run::<F, S, J>,
            abandon: abandon::<F, S, J>,
            submit: submit::<F, S>,
            take_outcome: take_outcome::<F, S>,
            peek_error: peek_error::<F, S>,
            peek_value: peek_value::<F, S>,
            discard_outcome: discard_outcome::<F, S, J>,
            free: free::<F, S>,
            future_name: std::any::type_name::<F>,
            is_callback: S::IS_CALLBACK,
            is_blocking: S::IS_BLOCKING,
        }
    }
}

/// A task's entry in a run queue: the right, and the duty, to run it. Invariant: it owns a reference, and the task is QUEUED or about to run for the
/// first time; there is no other.
pub(crate) struct Runnable(NonNull<Header>);

// SAFETY: a task is run on whichever thread takes it; `new_task` asks for `Send` where that can be another one.
unsafe impl Send for Runnable {}

impl Runnable {
    /// Polls the task once, and does what follows from it.
    #[inline]
    pub(crate) fn run(self) {
        let task = ManuallyDrop::new(self).0;
        // SAFETY: the entry's reference and its right to run go over to the callee.
        unsafe { (task.as_ref().vtable.run)(task) }
    }

    /// Ends the task with `error` instead of running it.
    pub(crate) fn abandon(self, error: TaskError) {
        let task = ManuallyDrop::new(self).0;
        // SAFETY: as in `run`.
        unsafe { (task.as_ref().vtable.abandon)(task, error) }
    }

    /// Unlike a pointer to [`header`](Self::header), one that may be used for all of the cell.
    pub(super) fn as_non_null(&self) -> NonNull<Header> {
        self.0
    }

    pub(crate) fn header(&self) -> &Header {
        // SAFETY: the entry holds a reference.
        unsafe { self.0.as_ref() }
    }

    /// # Safety
    ///
    /// The caller has just made the task queued, in no queue, and hands the queue's reference over.
    pub(super) unsafe fn from_queued(task: NonNull<Header>) -> Self {
        Self(task)
    }

    /// Puts a task that was just made queued into its queue.
    pub(super) fn submit(self, why: Why) {
        let task = ManuallyDrop::new(self).0;
        // SAFETY: the entry's reference goes over to the queue.
        unsafe { (task.as_ref().vtable.submit)(task, why) }
    }

    pub(crate) fn into_raw(self) -> *mut Header {
        ManuallyDrop::new(self).0.as_ptr()
    }

    /// # Safety
    ///
    /// `raw` came from [`into_raw`](Self::into_raw) and is given back once.
    pub(crate) unsafe fn from_raw(raw: *mut Header) -> Option<Self> {
        NonNull::new(raw).map(Self)
    }
}

impl Drop for Runnable {
    /// A queue that dies with entries in it ends their tasks: nothing hangs that awaits them.
    fn drop(&mut self) {
        let task = self.0;
        // SAFETY: as in `run`; the entry is gone after this.
        unsafe { (task.as_ref().vtable.abandon)(task, TaskError::cancelled(None)) }
    }
}

/// Makes a task that stands queued: the entry to submit, the handle, and the header to register.
///
/// `future` is called once, to make the future in its place. The three references are the registry's, the handle's and the
/// entry's.
#[inline]
pub(crate) fn new_task<F, S, J>(
    scheduler: S,
    spawned_at: &'static Location<'static>,
    future: impl FnOnce() -> F,
) -> (Runnable, Task<F::Output>)
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
    S: Schedule,
    J: Judge<F::Output>,
{
    // SAFETY: the future and its outcome are `Send + 'static`.
    unsafe { new_task_unchecked::<F, S, J>(scheduler, spawned_at, future) }
}

/// As [`new_task`], for a future that borrows or must stay on its thread.
///
/// # Safety
///
/// The caller runs or abandons the entry, takes the outcome or drops the handle, all on this thread, before anything that the
/// future or its outcome borrows goes away.
#[inline]
pub(crate) unsafe fn new_task_unchecked<F, S, J>(
    scheduler: S,
    spawned_at: &'static Location<'static>,
    future: impl FnOnce() -> F,
) -> (Runnable, Task<F::Output>)
where
    F: Future,
    S: Schedule,
    J: Judge<F::Output>,
{
    let id = TaskId::next();
    let task = Cell::<F, S>::allocate(3, vtable::<F, S, J>(), id, spawned_at, scheduler, future);
    // SAFETY: two of the three references; the third is the registry's, given back through `Schedule::release`.
    (Runnable(task), unsafe { Task::from_raw(task) })
}

/// Drops a value that may panic in its destructor; gives the panic.
fn drop_caught<T>(value: T) -> Result<(), Box<dyn Any + Send>> {
    catch_unwind(AssertUnwindSafe(move || drop(value)))
}

/// Drops a panic's payload, whose own destructor may panic again, and so on; after so many the next one is leaked: it has to end somewhere.
pub(super) fn drop_payload(mut payload: Box<dyn Any + Send>) {
    for _ in 0..PAYLOADS {
        match drop_caught(payload) {
            Ok(()) => return,
            Err(again) => payload = again,
        }
    }
    std::mem::forget(payload);
}

const PAYLOADS: u32 = 8;

/// The first of two panics; the other's payload is dropped.
fn first_panic(
    first: Result<(), Box<dyn Any + Send>>,
    second: Result<(), Box<dyn Any + Send>>,
) -> Result<(), Box<dyn Any + Send>> {
    match (first, second) {
        (Err(first), Err(second)) => {
            drop_payload(second);
            Err(first)
        }
        (first, second) => first.and(second),
    }
}

/// Calls foreign code whose panic has nowhere to go: it ends here.
pub(crate) fn contain(foreign: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(foreign)) {
        drop_payload(payload);
    }
}

unsafe fn run<F: Future, S: Schedule, J: Judge<F::Output>>(task: NonNull<Header>) {
    // SAFETY: the caller hands over a reference to a cell of this type.
    let (header, cell) = unsafe { (task.as_ref(), task.cast::<Cell<F, S>>().as_ref()) };
    let interrupted = match header.state.transition_to_running() {
        Start::Poll { interrupted } => interrupted,
        // SAFETY: this thread runs the task.
        Start::DropUnpolled => return unsafe { end_unpolled::<F, S, J>(task) },
        // Whoever delivers submits it again.
        Start::Owed => return,
    };
    header.begin_poll();
    let frame = current::Frame::new(task);
    let _current = current::enter_task(&frame);
    let waker = waker::borrowed(&task);
    let tracing = Tracing::begin(header, interrupted);
    let polled = catch_unwind(AssertUnwindSafe(|| {
        cell.stage.with_mut(|stage| {
            // SAFETY: rule 5, this thread runs the task; the future is pinned in its cell until it is dropped there.
            match unsafe { &mut *stage } {
                Stage::Future(future) => {
                    // SAFETY: the cell never moves.
                    let future = unsafe { std::pin::Pin::new_unchecked(future) };
                    future.poll(&mut Context::from_waker(&waker))
                }
                Stage::Outcome(_) | Stage::Taken => {
                    unreachable!("a task that is done is not run")
                }
            }
        })
    }));
    // SAFETY: by the caller's reference.
    let forced = tracing.end(matches!(polled, Ok(Poll::Pending)), || unsafe {
        TaskRef::new(task)
    });
    match polled {
        Ok(Poll::Pending) => {
            if let Some(cancelled) = frame.take_unwinding() {
                let error = TaskError::cancelled(cancelled.into_message());
                // SAFETY: this thread runs the task.
                return unsafe { finish::<F, S, J>(task, Err(error), Ending::Cancelled) };
            }
            // SAFETY: this thread runs the task.
            unsafe { suspend::<F, S, J>(task, forced) }
        }
        Ok(Poll::Ready(value)) => {
            let ending = if J::is_failure(&value) {
                Ending::Failure
            } else {
                if let Some(at) = header.rare().and_then(Rare::caught_at) {
                    // SAFETY: by the run's reference.
                    let swallowing = unsafe { TaskRef::new(task) };
                    contain(|| S::swallowed(swallowing, at));
                }
                Ending::Value
            };
            // SAFETY: this thread runs the task.
            unsafe { finish::<F, S, J>(task, Ok(value), ending) }
        }
        Err(payload) => {
            let error = TaskError::panicked(payload);
            // SAFETY: this thread runs the task.
            unsafe { finish::<F, S, J>(task, Err(error), Ending::Failure) }
        }
    }
}

/// What follows a poll that came back pending.
///
/// # Safety
///
/// The caller runs the task (RUNNING), and hands its reference over.
#[inline]
unsafe fn suspend<F: Future, S: Schedule, J: Judge<F::Output>>(
    task: NonNull<Header>,
    forced: bool,
) {
    // SAFETY: by the caller's reference.
    let header = unsafe { task.as_ref() };
    loop {
        match header.state.transition_to_suspended(forced) {
            Suspend::Idle => return,
            // SAFETY: the run's reference goes back into a queue.
            Suspend::Requeue => return unsafe { submit::<F, S>(task, Why::Yielded) },
            Suspend::Deliver => {
                // SAFETY: by the caller's reference.
                let task_ref = unsafe { TaskRef::borrowed(task) };
                let met = cancel::meet(&task_ref);
                if let Met::End(message) = met {
                    let error = TaskError::cancelled(message);
                    // SAFETY: this thread runs the task.
                    return unsafe { finish::<F, S, J>(task, Err(error), Ending::Cancelled) };
                }
            }
        }
    }
}

/// Ends a task that was cancelled before its first poll, or aborted.
///
/// # Safety
///
/// The caller runs the task (RUNNING), and hands its reference over.
#[cold]
unsafe fn end_unpolled<F: Future, S: Schedule, J: Judge<F::Output>>(task: NonNull<Header>) {
    let frame = current::Frame::new(task);
    let _current = current::enter_task(&frame);
    // SAFETY: by the caller's reference.
    let error = TaskError::cancelled(unsafe { task.as_ref() }.end_message());
    // SAFETY: this thread runs the task.
    unsafe { finish::<F, S, J>(task, Err(error), Ending::Cancelled) }
}

unsafe fn abandon<F: Future, S: Schedule, J: Judge<F::Output>>(
    task: NonNull<Header>,
    error: TaskError,
) {
    // SAFETY: the caller hands over a reference.
    let header = unsafe { task.as_ref() };
    let (Start::Poll { .. } | Start::DropUnpolled) = header.state.transition_to_running() else {
        // Whoever delivers submits it again, to a queue that refuses it in turn.
        return;
    };
    let frame = current::Frame::new(task);
    let _current = current::enter_task(&frame);
    let ending = if error.is_cancelled() {
        Ending::Cancelled
    } else {
        Ending::Failure
    };
    // SAFETY: this thread runs the task.
    unsafe { finish::<F, S, J>(task, Err(error), ending) }
}

/// Drops the future, stores the outcome, publishes it, tells the waiter and the registry, and gives the run's reference back.
///
/// # Safety
///
/// The caller runs the task (RUNNING) and hands its reference over.
unsafe fn finish<F: Future, S: Schedule, J: Judge<F::Output>>(
    task: NonNull<Header>,
    mut outcome: Outcome<F::Output>,
    mut ending: Ending,
) {
    // SAFETY: by the caller's reference.
    let (header, cell) = unsafe { (task.as_ref(), task.cast::<Cell<F, S>>().as_ref()) };
    // The future goes first: its destructors run before anybody can learn that the task is done.
    // SAFETY: rule 5, this thread runs the task.
    let mut dropped = cell.stage.with_mut(|stage| unsafe { drop_stage(stage) });
    if let Some(context) = header.take_context() {
        dropped = first_panic(dropped, drop_caught(context));
    }
    if let Err(payload) = dropped {
        let lost = std::mem::replace(&mut outcome, Err(TaskError::panicked(payload)));
        contain(|| drop(lost));
        ending = Ending::Failure;
    }
    // SAFETY: rule 6, this thread runs the task.
    unsafe { with_scheduler::<F, S, _>(task, |scheduler| scheduler.release(task, ending)) };
    let (join_interest, join_waker, watched) = loop {
        cell.stage.with_mut(|stage| {
            // SAFETY: rule 5; the place holds nothing that needs dropping.
            unsafe { stage.write(Stage::Outcome(outcome)) }
        });
        match header.state.transition_to_done(ending) {
            Finish::Done {
                join_interest,
                join_waker,
                watched,
            } => break (join_interest, join_waker, watched),
            Finish::CancelFirst => {
                // SAFETY: rule 5, still running.
                let dropped = cell.stage.with_mut(|stage| unsafe { drop_stage(stage) });
                (outcome, ending) = match dropped {
                    Ok(()) => {
                        // Looked at before the message is, which an abort leaves before it marks the task.
                        let ending = if header.state.load().is_aborted() {
                            Ending::Aborted
                        } else {
                            Ending::Cancelled
                        };
                        (Err(TaskError::cancelled(header.end_message())), ending)
                    }
                    Err(payload) => (Err(TaskError::panicked(payload)), Ending::Failure),
                };
            }
        }
    };
    crate::trace::task_ended(header);
    if !join_interest {
        // SAFETY: rule 5, nobody else will read the outcome.
        unsafe { discard_outcome::<F, S, J>(task) }
    }
    if join_waker {
        // SAFETY: rule 4, the field was handed over with JOIN_WAKER.
        let waker = header.join_waker.with_mut(|slot| unsafe { (*slot).take() });
        if let Some(waker) = waker {
            contain(|| waker.wake());
        }
    }
    if watched {
        tell_all(header.take_watchers());
    }
    if let Some(context) = header.take_context() {
        // What destructors have set between the two looks. Now the task is done, and nothing more can be set.
        contain(|| drop(context));
    }
    // The registry's, and the run's.
    if header.state.drop_references(2) {
        // SAFETY: the last reference.
        unsafe { free::<F, S>(task) }
    }
}

/// Drops what the stage holds, in place, and marks it taken; gives the panic, if its destructor does.
///
/// # Safety
///
/// Rule 5.
unsafe fn drop_stage<F: Future>(stage: *mut Stage<F>) -> Result<(), Box<dyn Any + Send>> {
    let dropped = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: rule 5. Even if the destructor panics, the value counts as dropped: it is overwritten below.
        unsafe { std::ptr::drop_in_place(stage) }
    }));
    // SAFETY: the old value is dropped.
    unsafe { stage.write(Stage::Taken) };
    dropped
}

/// Hands a queued task to its scheduler.
///
/// # Safety
///
/// The caller has just made the task queued, and hands the queue's reference over.
unsafe fn submit<F: Future, S: Schedule>(task: NonNull<Header>, why: Why) {
    // The route is found first, and owns what it needs: once the entry is in a queue, the task may run, end and be freed elsewhere.
    // SAFETY: rule 6, the caller has just queued the task.
    let route = unsafe { with_scheduler::<F, S, _>(task, S::route) };
    match route {
        Some(route) => route.submit(Runnable(task), why),
        None => unreachable!("a task that is queued has not ended"),
    }
}

/// Asks the task's scheduler, which is there as long as rule 6 holds.
///
/// # Safety
///
/// Rule 6: the caller runs the task, or has just queued it.
unsafe fn with_scheduler<F: Future, S, R>(
    task: NonNull<Header>,
    ask: impl FnOnce(&S) -> R,
) -> Option<R> {
    // SAFETY: the caller has a reference.
    let cell = unsafe { task.cast::<Cell<F, S>>().as_ref() };
    cell.scheduler.with(|scheduler| {
        // SAFETY: by the caller's word.
        unsafe { &*scheduler }.as_ref().map(ask)
    })
}

/// Moves the outcome to `place`, an `Option<Outcome<F::Output>>`; leaves it alone if the outcome was taken before.
unsafe fn take_outcome<F: Future, S: Schedule>(task: NonNull<Header>, place: *mut ()) {
    // SAFETY: by the handle's reference.
    let cell = unsafe { task.cast::<Cell<F, S>>().as_ref() };
    let stage = cell.stage.with_mut(|stage| {
        // SAFETY: rule 5, the task is done and the caller is its handle.
        std::mem::replace(unsafe { &mut *stage }, Stage::Taken)
    });
    if let Stage::Outcome(outcome) = stage {
        // SAFETY: the caller passes a place of this type.
        unsafe { *place.cast::<Option<Outcome<F::Output>>>() = Some(outcome) };
    }
    // SAFETY: rule 6, it goes with the outcome.
    drop(
        cell.scheduler
            .with_mut(|scheduler| unsafe { (*scheduler).take() }),
    );
}

/// The error of the outcome, if it is one and has not been taken.
unsafe fn peek_error<F: Future, S: Schedule>(task: NonNull<Header>) -> Option<TaskError> {
    // SAFETY: by the handle's reference.
    let cell = unsafe { task.cast::<Cell<F, S>>().as_ref() };
    cell.stage.with(|stage| {
        // SAFETY: rule 5, the task is done and the caller is its handle.
        match unsafe { &*stage } {
            Stage::Outcome(Err(error)) => Some(error.clone()),
            Stage::Outcome(Ok(_)) | Stage::Future(_) | Stage::Taken => None,
        }
    })
}

/// The value of the outcome, an `F::Output` in its place, if it is one and has not been taken.
unsafe fn peek_value<F: Future, S: Schedule>(task: NonNull<Header>) -> Option<NonNull<()>> {
    // SAFETY: by the handle's reference.
    let cell = unsafe { task.cast::<Cell<F, S>>().as_ref() };
    cell.stage.with(|stage| {
        // SAFETY: rule 5, the task is done and the caller is its handle.
        match unsafe { &*stage } {
            Stage::Outcome(Ok(value)) => Some(NonNull::from(value).cast()),
            Stage::Outcome(Err(_)) | Stage::Future(_) | Stage::Taken => None,
        }
    })
}

/// Drops an outcome that nobody will retrieve; a panic in it, or in its destructor, is reported.
unsafe fn discard_outcome<F: Future, S: Schedule, J: Judge<F::Output>>(task: NonNull<Header>) {
    // SAFETY: by the caller's reference.
    let cell = unsafe { task.cast::<Cell<F, S>>().as_ref() };
    // SAFETY: rule 6, it goes with the outcome.
    let scheduler = cell
        .scheduler
        .with_mut(|scheduler| unsafe { (*scheduler).take() });
    let mut outcome: Option<Outcome<F::Output>> = None;
    // SAFETY: by the caller's right to the outcome (rule 5); the place has the right type.
    unsafe { take_outcome::<F, S>(task, (&raw mut outcome).cast()) };
    let failure = match outcome {
        Some(Err(error)) if error.is_panic() => Some(error),
        Some(Ok(value)) if J::is_failure(&value) => {
            // What the error says is foreign code, and so is its destructor.
            let mut text = String::new();
            contain(|| text = J::describe(&value));
            contain(|| drop(value));
            Some(TaskError::failed(text))
        }
        other => drop_caught(other).err().map(TaskError::panicked),
    };
    // SAFETY: by the caller's reference.
    let answered = unsafe { task.as_ref() }.state.load().is_answered();
    if let (Some(error), Some(scheduler), false) = (failure, scheduler, answered) {
        // SAFETY: by the caller's reference; the one made here is dropped with the `TaskRef`.
        let failed = unsafe { TaskRef::new(task) };
        contain(|| scheduler.unhandled(failed, error));
    }
}

unsafe fn free<F: Future, S>(task: NonNull<Header>) {
    // SAFETY: the last reference is gone; the cell was made by `Cell::allocate` with these types.
    drop(unsafe { Box::from_raw(task.cast::<Cell<F, S>>().as_ptr()) });
}

/// Wakes a task, keeping the caller's reference.
///
/// # Safety
///
/// The caller holds a reference.
#[inline]
pub(super) unsafe fn wake_by_ref(task: NonNull<Header>) {
    // SAFETY: by the caller's reference.
    let header = unsafe { task.as_ref() };
    match header.state.transition_to_queued() {
        Wake::Nothing => {}
        // SAFETY: the transition made the queue's reference.
        Wake::Submit => unsafe { (header.vtable.submit)(task, Why::Woken) },
    }
}

/// Wakes a task and gives the caller's reference back.
///
/// # Safety
///
/// The caller holds a reference, and loses it.
#[inline]
pub(super) unsafe fn wake_by_value(task: NonNull<Header>) {
    // SAFETY: by the caller's reference.
    let header = unsafe { task.as_ref() };
    match header.state.transition_to_queued_by_value() {
        // SAFETY: the reference is still the caller's, and given back here.
        Wake::Nothing => unsafe { drop_reference(task) },
        // SAFETY: the reference went over to the queue.
        Wake::Submit => unsafe { (header.vtable.submit)(task, Why::Woken) },
    }
}

/// Gives back one reference.
///
/// # Safety
///
/// The caller holds it.
#[inline]
pub(super) unsafe fn drop_reference(task: NonNull<Header>) {
    // SAFETY: by the caller's reference.
    let header = unsafe { task.as_ref() };
    if header.state.drop_references(1) {
        // SAFETY: the last reference.
        unsafe { (header.vtable.free)(task) }
    }
}

/// Takes the outcome of a task that is done.
///
/// # Safety
///
/// The caller is the task's only handle, of this type, has seen it done, and keeps its reference.
pub(super) unsafe fn take<T>(task: NonNull<Header>) -> Option<Outcome<T>> {
    let mut outcome: Option<Outcome<T>> = None;
    // SAFETY: by the caller's word; the place has the right type.
    unsafe { (task.as_ref().vtable.take_outcome)(task, (&raw mut outcome).cast()) };
    outcome
}

/// The error of a task that is done, if it ended with one that has not been taken.
///
/// # Safety
///
/// The caller is the task's only handle, and has seen it done.
pub(super) unsafe fn error(task: NonNull<Header>) -> Option<TaskError> {
    // SAFETY: by the caller's word.
    unsafe { (task.as_ref().vtable.peek_error)(task) }
}

/// Whether a task that is done ended with a value, which has not been taken, of which `holds` is true.
///
/// # Safety
///
/// The caller is the task's only handle, of this type, stays on this thread meanwhile, and has seen the task done.
pub(super) unsafe fn has_value<T>(task: NonNull<Header>, holds: fn(&T) -> bool) -> bool {
    // SAFETY: by the caller's word.
    let value = unsafe { (task.as_ref().vtable.peek_value)(task) };
    // SAFETY: a `T`, which stays in its place until the handle takes it.
    value.is_some_and(|value| holds(unsafe { value.cast::<T>().as_ref() }))
}

/// Clears away what a handle leaves, and gives its reference back.
///
/// # Safety
///
/// The caller is the task's only handle, and is gone after this.
pub(super) unsafe fn drop_handle(task: NonNull<Header>) {
    // SAFETY: by the handle's reference.
    let header = unsafe { task.as_ref() };
    let left = header.state.transition_to_handle_dropped();
    // If the task is done, a waker that was stored is being taken just now by whoever finished it: the field is not the handle's.
    if left.waker || planted(Bug::JoinWakerTakenByBoth) && left.outcome {
        // SAFETY: rule 4, JOIN_WAKER was taken back by this transition.
        let waker = header.join_waker.with_mut(|slot| unsafe { (*slot).take() });
        contain(|| drop(waker));
    }
    if left.outcome {
        // SAFETY: the transition gave the outcome to the handle, which is gone, with its reference.
        unsafe { discard_in_turn(task) }
    } else {
        // SAFETY: the handle's reference.
        unsafe { drop_reference(task) }
    }
}

/// Drops the outcome of a task, and the reference of the handle that left it; one that is left by the drop of another waits its turn. So a chain of a
/// million outcomes, each owning the next one's handle, takes no more stack than one.
///
/// # Safety
///
/// The task is done, its outcome is the caller's (rule 5), and so is the handle's reference.
unsafe fn discard_in_turn(task: NonNull<Header>) {
    thread_local! {
        static OUTCOMES: Waiting = const { Waiting::new() };
    }
    let discard = move || {
        // SAFETY: by the caller's word, and nobody else comes to have either while this waits.
        unsafe {
            if !planted(Bug::OutcomeLeaked) {
                (task.as_ref().vtable.discard_outcome)(task);
            }
            drop_reference(task);
        }
    };
    if let Some(payload) = in_turn(&OUTCOMES, discard) {
        drop_payload(payload);
    }
}

/// Leaves a waker to be woken at the task's end; true if the task is done already.
///
/// # Safety
///
/// The caller is the task's only handle.
pub(super) unsafe fn poll_done(task: NonNull<Header>, cx: &Context<'_>) -> bool {
    // SAFETY: by the handle's reference.
    let header = unsafe { task.as_ref() };
    let state = header.state.load();
    if state.is_done() {
        return true;
    }
    let taken_back = planted(Bug::JoinWakerReplacedWhilePublished) || !state.has_join_waker();
    if !taken_back && header.state.transition_to_join_waker_taken() == Join::Done {
        return true;
    }
    let replaced = header.join_waker.with_mut(|slot| {
        // SAFETY: rule 4, JOIN_WAKER is clear and only the handle sets it.
        let slot = unsafe { &mut *slot };
        match slot {
            Some(stored) if stored.will_wake(cx.waker()) => None,
            _ => slot.replace(cx.waker().clone()),
        }
    });
    if header.state.transition_to_join_waker_stored() == Join::Done {
        // SAFETY: rule 4, the task ended while JOIN_WAKER was clear: the field stays the handle's.
        let unused = header.join_waker.with_mut(|slot| unsafe { (*slot).take() });
        drop((replaced, unused));
        return true;
    }
    drop(replaced);
    false
}
