//! `TaskGroup`: tasks that belong to a block, and end before it does.
//!
//! ```text
//!   run      the block: the body in a region of its own, then the wait for all children in another
//!   Group    one lock: who is alive, what failed, whether the group shuts down, and which region the owner is in
//! ```
//!
//! A child that fails shuts the group down: in one step, the siblings and the owner's region of the moment are asked to end. So the owner's own request
//! never outlives the region that it was made against, and the task's count balances. Nobody is asked, woken or dropped with the lock held.

use heist_runtime::leaf::{self, Leaf};
use heist_runtime::task::{Cancelled, Region, Target, Task, TaskRef, Unwound, request_all};
use parking_lot::Mutex;
use pin_project_lite::pin_project;
use slab::Slab;
use std::any::Any;
use std::error::Error;
use std::fmt;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// An error that a child of a group ended with: the group has it, and so has the child's handle.
pub type ChildError = Arc<dyn Error + Send + Sync>;

/// The handle of a group of tasks, by which its body and its children spawn more. asyncio's `TaskGroup`.
///
/// Clones are of the same group. No child outlives the block that [`run`](Self::run) makes.
///
/// # Examples
///
/// ```
/// use heist_combinators::TaskGroup;
/// # heist_runtime::run(async {
/// let sum = TaskGroup::run(|group| async move {
///     let one = group.spawn(async { 1 }).unwrap();
///     let two = group.spawn(async { 2 }).unwrap();
///     one.await.unwrap() + two.await.unwrap()
/// });
/// assert_eq!(sum.await.unwrap(), 3);
/// # }).unwrap();
/// ```
///
/// A failure ends the siblings, and the block says what it was:
///
/// ```
/// use heist_combinators::TaskGroup;
/// # heist_runtime::run(async {
/// let ended = TaskGroup::run(|group| async move {
///     group.spawn(std::future::pending::<()>()).unwrap();
///     group.try_spawn(async { "twelve".parse::<u32>() }).unwrap();
/// });
/// let error = ended.await.unwrap_err();
/// assert!(error.failures()[0].downcast_ref::<std::num::ParseIntError>().is_some());
/// # }).unwrap();
/// ```
#[derive(Clone)]
#[doc(alias = "asyncio.TaskGroup")]
pub struct TaskGroup(Arc<Group>);

struct Group {
    state: Mutex<State>,
    collect_all: bool,
    max_tasks: Option<usize>,
}

struct State {
    members: Slab<Member>,
    failures: Vec<GroupFailure>,
    phase: Phase,
    /// The region that the owner is in. None before it was first pending, and once the block is over.
    owner: Option<Target>,
    /// The owner, waiting for the last child.
    waiter: Option<Waker>,
    /// Those who wait for room to spawn.
    room: Vec<Waker>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// The children were asked to end, and nobody joins them any more.
    ShuttingDown {
        /// The owner is asked too.
        owner: bool,
        /// By [`TaskGroup::cancel`].
        by_cancel: bool,
    },
    Over,
}

/// A child.
#[derive(Default)]
struct Member {
    /// None while it is being spawned.
    task: Option<TaskRef>,
    failure: Option<Failure>,
}

enum Failure {
    Error(ChildError),
    Panic(Option<String>),
}

/// A child, or the body, that failed.
pub struct GroupFailure {
    task: Option<TaskRef>,
    failure: Failure,
}

impl GroupFailure {
    /// The child that failed; none if it was the group's body.
    pub fn task(&self) -> Option<&TaskRef> {
        self.task.as_ref()
    }

    /// The error, unless it was a panic.
    pub fn error(&self) -> Option<&ChildError> {
        match &self.failure {
            Failure::Error(error) => Some(error),
            Failure::Panic(_) => None,
        }
    }

    /// The error as an `E`, if it is one.
    pub fn downcast_ref<E: Error + 'static>(&self) -> Option<&E> {
        self.error().and_then(|error| error.downcast_ref())
    }

    /// Whether it was a panic.
    pub fn is_panic(&self) -> bool {
        matches!(self.failure, Failure::Panic(_))
    }
}

impl fmt::Display for GroupFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.task {
            Some(task) => write!(f, "task {}: ", task.name())?,
            None => f.write_str("the body: ")?,
        }
        match &self.failure {
            Failure::Error(error) => error.fmt(f),
            Failure::Panic(Some(message)) => write!(f, "panicked: {message}"),
            Failure::Panic(None) => f.write_str("panicked"),
        }
    }
}

impl fmt::Debug for GroupFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GroupFailure({self})")
    }
}

/// Why a group's block gave no value. asyncio's `ExceptionGroup`.
#[derive(Debug)]
#[doc(alias = "ExceptionGroup")]
pub struct GroupError {
    failures: Vec<GroupFailure>,
}

impl GroupError {
    /// What failed, in the order in which it ended; the body's own comes last.
    pub fn failures(&self) -> &[GroupFailure] {
        &self.failures
    }

    /// Whether nothing failed: the body was ended by [`TaskGroup::cancel`].
    pub fn is_cancelled(&self) -> bool {
        self.failures.is_empty()
    }
}

impl fmt::Display for GroupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.failures {
            [] => f.write_str("the task group was cancelled"),
            [one] => write!(f, "a task group failed: {one}"),
            [first, more @ ..] => {
                write!(f, "a task group failed: {first}")?;
                more.iter().try_for_each(|failure| write!(f, "; {failure}"))
            }
        }
    }
}

impl Error for GroupError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let error = self.failures.iter().find_map(GroupFailure::error)?;
        Some(&**error)
    }
}

/// A group took no new child. asyncio's `RuntimeError`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupClosed {
    full: bool,
}

impl GroupClosed {
    /// Whether it has as many children as it may: there will be room when one ends.
    pub fn is_full(&self) -> bool {
        self.full
    }
}

impl fmt::Display for GroupClosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.full {
            "the task group has as many tasks as it may: await `room()` first"
        } else {
            "the task group is shutting down or over, and takes no new task"
        })
    }
}

impl Error for GroupClosed {}

/// What a group is told before it begins; see [`TaskGroup::options`].
#[derive(Clone, Copy, Debug, Default)]
#[must_use = "nothing happens before `run`"]
pub struct GroupOptions {
    collect_all: bool,
    max_tasks: Option<usize>,
}

impl GroupOptions {
    /// A failure does not end the others: all run to their end, and the block tells of every failure.
    pub fn collect_all(mut self) -> Self {
        self.collect_all = true;
        self
    }

    /// At most `n` children at a time, at least one: further ones are refused until there is [room](TaskGroup::room).
    pub fn max_tasks(mut self, n: usize) -> Self {
        self.max_tasks = Some(n.max(1));
        self
    }

    /// See [`TaskGroup::run`].
    ///
    /// # Errors
    ///
    /// A child failed, or the group was cancelled.
    ///
    /// # Cancel safety
    ///
    /// See [`TaskGroup::run`].
    pub async fn run<F: Future>(
        self,
        body: impl FnOnce(TaskGroup) -> F,
    ) -> Result<F::Output, GroupError> {
        block(TaskGroup::new(self), body, Ok).await
    }

    /// See [`TaskGroup::try_run`].
    ///
    /// # Errors
    ///
    /// A child or the body failed, or the group was cancelled.
    ///
    /// # Cancel safety
    ///
    /// See [`TaskGroup::run`].
    pub async fn try_run<F, T, E>(self, body: impl FnOnce(TaskGroup) -> F) -> Result<T, GroupError>
    where
        F: Future<Output = Result<T, E>>,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let judge = |ended: Result<T, E>| ended.map_err(|error| Arc::from(error.into()));
        block(TaskGroup::new(self), body, judge).await
    }
}

impl TaskGroup {
    fn new(options: GroupOptions) -> Self {
        Self(Arc::new(Group {
            state: Mutex::new(State {
                members: Slab::new(),
                failures: Vec::new(),
                phase: Phase::Open,
                owner: None,
                waiter: None,
                room: Vec::new(),
            }),
            collect_all: options.collect_all,
            max_tasks: options.max_tasks,
        }))
    }

    /// A group that is told more than its body.
    pub fn options() -> GroupOptions {
        GroupOptions::default()
    }

    /// Runs `body`, then waits for all tasks that were spawned into the group, by it or by one another, and gives the body's value. asyncio's
    /// `async with TaskGroup() as group:`.
    ///
    /// If a child fails (its `Err`, if it was spawned by [`try_spawn`](Self::try_spawn), or a panic), the others and the body are asked to end, and
    /// all failures are the error. A child that is cancelled is no failure. If the task is asked to end, the body is first; while it waits at the end, the
    /// children are, and the cancellation goes on when all have ended. A panic of the body does the same and goes on when all have ended.
    ///
    /// # Errors
    ///
    /// A child failed, or the group was cancelled.
    ///
    /// # Cancel safety
    ///
    /// A block that is dropped (not cancelled: a `select!` gave it up, or its task was aborted) aborts its children and cannot wait for them.
    pub async fn run<F: Future>(
        body: impl FnOnce(TaskGroup) -> F,
    ) -> Result<F::Output, GroupError> {
        Self::options().run(body).await
    }

    /// As [`run`](Self::run), where an `Err` of the body is a failure like a child's: it ends the children, and comes last among the failures.
    ///
    /// # Errors
    ///
    /// A child or the body failed, or the group was cancelled.
    ///
    /// # Cancel safety
    ///
    /// As [`run`](Self::run).
    pub async fn try_run<F, T, E>(body: impl FnOnce(TaskGroup) -> F) -> Result<T, GroupError>
    where
        F: Future<Output = Result<T, E>>,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        Self::options().try_run(body).await
    }

    /// Spawns a child; its panic is a failure of the group. asyncio's `create_task`.
    ///
    /// # Errors
    ///
    /// The group shuts down, or is over, or full.
    #[doc(alias = "create_task")]
    #[track_caller]
    pub fn spawn<F>(&self, future: F) -> Result<Task<F::Output>, GroupClosed>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let key = self.join()?;
        let child = Child {
            inner: future,
            group: self.0.clone(),
            key,
        };
        let task = heist_runtime::spawn(child);
        self.joined(key, &task.as_ref());
        Ok(task)
    }

    /// As [`spawn`](Self::spawn), where an `Err` is a failure of the group as well.
    ///
    /// # Errors
    ///
    /// The group shuts down, or is over, or full.
    #[track_caller]
    pub fn try_spawn<F, T, E>(&self, future: F) -> Result<Task<Result<T, ChildError>>, GroupClosed>
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let key = self.join()?;
        let group = self.0.clone();
        let inner = async move {
            let ended = future.await;
            ended.map_err(|error| {
                let error: ChildError = Arc::from(error.into());
                group.note(key, Failure::Error(error.clone()));
                error
            })
        };
        let child = Child {
            inner,
            group: self.0.clone(),
            key,
        };
        let task = heist_runtime::try_spawn(child);
        self.joined(key, &task.as_ref());
        Ok(task)
    }

    /// Asks every child, and the body, to end; the block gives an error unless the body has ended by itself.
    pub fn cancel(&self) {
        self.0.shut_down(true, true);
    }

    /// Waits until the group has room for a child, as far as it is limited, or takes none any more.
    ///
    /// # Cancel safety
    ///
    /// Nothing is reserved: somebody else may be faster, and `spawn` says so.
    pub async fn room(&self) {
        let mut leaf = Leaf::new();
        std::future::poll_fn(|cx| {
            if leaf.poll_enter(cx).is_pending() {
                return Poll::Pending;
            }
            let waker = cx.waker().clone();
            let mut state = self.0.state.lock();
            if state.phase == Phase::Open && self.0.is_full(&state) {
                if !state.room.iter().any(|other| other.will_wake(&waker)) {
                    state.room.push(waker);
                }
                drop(state);
                leaf.suspend();
                return Poll::Pending;
            }
            leaf::spend();
            Poll::Ready(())
        })
        .await;
    }

    /// How many children have not ended.
    pub fn len(&self) -> usize {
        self.0.state.lock().members.len()
    }

    /// Whether there is no child that has not ended.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn join(&self) -> Result<usize, GroupClosed> {
        let mut state = self.0.state.lock();
        if state.phase != Phase::Open {
            return Err(GroupClosed { full: false });
        }
        if self.0.is_full(&state) {
            return Err(GroupClosed { full: true });
        }
        Ok(state.members.insert(Member::default()))
    }

    fn joined(&self, key: usize, task: &TaskRef) {
        let mut state = self.0.state.lock();
        let late = state.phase != Phase::Open;
        if let Some(member) = state.members.get_mut(key) {
            member.task = Some(task.clone());
        }
        drop(state);
        // The block's error tells of its failure.
        task.set_answered();
        let (group, child) = (self.0.clone(), task.clone());
        task.add_done_callback(move || group.child_ended(key, child));
        if late {
            // The group began to shut down while this one was being spawned.
            task.cancel(None);
        }
    }
}

impl Group {
    fn is_full(&self, state: &State) -> bool {
        self.max_tasks
            .is_some_and(|most| state.members.len() >= most)
    }

    /// A child is about to end with a failure.
    fn note(&self, key: usize, failure: Failure) {
        let mut state = self.state.lock();
        let member = state.members.get_mut(key);
        let old = member.and_then(|member| member.failure.replace(failure));
        drop(state);
        drop(old);
    }

    fn child_ended(&self, key: usize, task: TaskRef) {
        let (wake, failed) = {
            let mut state = self.state.lock();
            let member = state.members.try_remove(key);
            let failed = task.has_failed();
            if failed {
                let noted = member.and_then(|member| member.failure);
                state.failures.push(GroupFailure {
                    task: Some(task),
                    failure: noted.unwrap_or(Failure::Panic(None)),
                });
            }
            let mut wake = mem::take(&mut state.room);
            if state.members.is_empty() {
                wake.extend(state.waiter.take());
            }
            (wake, failed)
        };
        if failed && !self.collect_all {
            self.shut_down(true, false);
        }
        for waker in wake {
            waker.wake();
        }
    }

    /// Takes no more children, and asks those there are to end, and the owner too if `owner`. Only the first time counts.
    fn shut_down(&self, owner: bool, by_cancel: bool) {
        let (targets, wake) = {
            let mut state = self.state.lock();
            if state.phase != Phase::Open {
                return;
            }
            state.phase = Phase::ShuttingDown { owner, by_cancel };
            let children = state.members.iter();
            let mut targets: Vec<_> = children
                .filter_map(|(_, member)| member.task.clone().map(Target::Task))
                .collect();
            if owner {
                targets.extend(state.owner.clone());
            }
            (targets, mem::take(&mut state.room))
        };
        request_all(targets, None);
        for waker in wake {
            waker.wake();
        }
    }

    fn poll_empty(&self, leaf: &mut Leaf, cx: &mut Context<'_>) -> Poll<()> {
        if leaf.poll_enter(cx).is_pending() {
            return Poll::Pending;
        }
        let waker = cx.waker().clone();
        let mut state = self.state.lock();
        if state.members.is_empty() {
            leaf::spend();
            return Poll::Ready(());
        }
        let old = state.waiter.replace(waker);
        drop(state);
        drop(old);
        leaf.suspend();
        Poll::Pending
    }
}

pin_project! {
    /// A child's future: notes the panic that ends it.
    struct Child<F> {
        #[pin]
        inner: F,
        group: Arc<Group>,
        key: usize,
    }
}

impl<F: Future> Future for Child<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        match catch_unwind(AssertUnwindSafe(|| this.inner.poll(cx))) {
            Ok(polled) => polled,
            Err(payload) => {
                this.group
                    .note(*this.key, Failure::Panic(message_of(&*payload)));
                resume_unwind(payload)
            }
        }
    }
}

fn message_of(payload: &(dyn Any + Send)) -> Option<String> {
    let text = payload.downcast_ref::<&'static str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .map(str::to_owned)
}

pin_project! {
    /// A part of the block as a region that a failing child can ask to end.
    struct Owner<'a, F> {
        #[pin]
        region: Region<F>,
        group: &'a Group,
        is_body: bool,
        told: bool,
    }
}

impl<F: Future> Future for Owner<'_, F> {
    type Output = Result<F::Output, Ended>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let ended = this.region.as_mut().poll(cx);
        if ended.is_pending() && !*this.told {
            *this.told = true;
            let target = this.region.target();
            let asked = {
                let mut state = this.group.state.lock();
                state.owner = target;
                matches!(state.phase, Phase::ShuttingDown { owner: true, .. })
            };
            if asked && *this.is_body {
                // A child failed before the body was first pending.
                this.region.as_mut().request();
            }
        }
        if ended.is_ready() {
            let owner = this.group.state.lock().owner.take();
            drop(owner);
        }
        let entry = this.region.count_at_entry();
        ended.map(|ended| {
            ended.map_err(|unwound| Ended {
                cancelled: unwound.cancelled,
                by_others: unwound.count > entry,
            })
        })
    }
}

/// How a part of the block was ended.
struct Ended {
    cancelled: Cancelled,
    /// Somebody outside has requested it too.
    by_others: bool,
}

/// How the body ended.
enum Body<T> {
    Value(T),
    Failed(ChildError),
    Panicked(Box<dyn Any + Send>),
    Cancelled,
}

/// Aborts what is left of a group whose block is dropped.
struct Block(TaskGroup);

impl Drop for Block {
    fn drop(&mut self) {
        let group = &(self.0).0;
        let (children, wake) = {
            let mut state = group.state.lock();
            state.phase = Phase::Over;
            let members = state.members.iter();
            let children: Vec<_> = members
                .filter_map(|(_, member)| member.task.clone())
                .collect();
            (children, mem::take(&mut state.room))
        };
        for child in children {
            child.abort("the block of its task group was dropped");
        }
        for waker in wake {
            waker.wake();
        }
    }
}

async fn block<F: Future, T>(
    group: TaskGroup,
    body: impl FnOnce(TaskGroup) -> F,
    judge: impl FnOnce(F::Output) -> Result<T, ChildError>,
) -> Result<T, GroupError> {
    let block = Block(group.clone());
    let inner = &*group.0;
    let (body, mut unwinding) = run_body(inner, || body(group.clone()), judge).await;
    if !matches!(body, Body::Value(_)) {
        inner.shut_down(false, false);
    }
    if let Some(late) = wait_for_children(inner).await {
        unwinding.get_or_insert(late);
    }
    drop(block);
    let mut failures = mem::take(&mut inner.state.lock().failures);
    if let Body::Panicked(payload) = body {
        resume_unwind(payload);
    }
    if let (Some(cancelled), true) = (unwinding, failures.is_empty()) {
        cancelled.propagate().await;
    }
    match body {
        Body::Value(value) if failures.is_empty() => Ok(value),
        Body::Failed(error) => {
            failures.push(GroupFailure {
                task: None,
                failure: Failure::Error(error),
            });
            Err(GroupError { failures })
        }
        _ => Err(GroupError { failures }),
    }
}

/// Runs the body. Says which cancellation ended it, unless that was the group's own.
async fn run_body<F: Future, T>(
    group: &Group,
    body: impl FnOnce() -> F,
    judge: impl FnOnce(F::Output) -> Result<T, ChildError>,
) -> (Body<T>, Option<Cancelled>) {
    let caught = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(body) => Caught { body },
        Err(payload) => return (Body::Panicked(payload), None),
    };
    let owner = Owner {
        region: Region::new(caught),
        group,
        is_body: true,
        told: false,
    };
    match owner.await {
        Ok(Ok(value)) => match judge(value) {
            Ok(value) => (Body::Value(value), None),
            Err(error) => (Body::Failed(error), None),
        },
        Ok(Err(payload)) => (Body::Panicked(payload), None),
        Err(ended) => {
            let phase = group.state.lock().phase;
            let own = matches!(
                phase,
                Phase::ShuttingDown {
                    by_cancel: true,
                    ..
                }
            );
            let goes_on = ended.by_others || !own;
            (Body::Cancelled, goes_on.then_some(ended.cancelled))
        }
    }
}

/// Waits for the last child, whatever comes; gives the first cancellation that came while the group was not shutting down.
async fn wait_for_children(group: &Group) -> Option<Cancelled> {
    let mut unwinding = None;
    let wait = async {
        loop {
            let mut leaf = Leaf::new();
            let empty = std::future::poll_fn(|cx| group.poll_empty(&mut leaf, cx));
            let Err(Unwound { cancelled, .. }) = Region::new(empty).await else {
                return;
            };
            let is_open = group.state.lock().phase == Phase::Open;
            if is_open {
                group.shut_down(false, false);
                unwinding = Some(cancelled);
            }
        }
    };
    let owner = Owner {
        region: Region::new(wait),
        group,
        is_body: false,
        told: false,
    };
    // Only what unwinds in it could end this region, and nothing does.
    let _ = owner.await;
    unwinding
}

pin_project! {
    /// A future whose panic is a value.
    struct Caught<F> {
        #[pin]
        body: F,
    }
}

impl<F: Future> Future for Caught<F> {
    type Output = Result<F::Output, Box<dyn Any + Send>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let body = self.project().body;
        match catch_unwind(AssertUnwindSafe(|| body.poll(cx))) {
            Ok(polled) => polled.map(Ok),
            Err(payload) => Poll::Ready(Err(payload)),
        }
    }
}

impl fmt::Debug for TaskGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.state.lock();
        f.debug_struct("TaskGroup")
            .field("tasks", &state.members.len())
            .field("failures", &state.failures.len())
            .field("phase", &state.phase)
            .finish()
    }
}
