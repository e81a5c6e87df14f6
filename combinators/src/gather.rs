//! `gather`: many handles as one.
//!
//! ```text
//!   gather   what users call, and the rules: what is kept of a child's outcome, what ends the gather, what value it makes
//!   engine   a gather that is under way
//!   tuple    gather!, for handles of several types
//! ```

mod engine;
mod tuple;

pub use tuple::{GatherTuple, GatherTupleAll, Handles, gather_tuple};

use engine::{Rule, start};
use heist_runtime::TaskError;
use heist_runtime::task::{Awaitable, Deferred};
use std::fmt;

/// Waits for all of `handles`, and gives their values in the order of the arguments. asyncio's `gather`.
///
/// Await it, or [`start`](Gather::start) it for a handle that can itself be cancelled, shielded, shared or gathered.
///
/// The first child to fail (a panic) or to be cancelled ends it at once with that error; the others run on, as detached tasks do: the
/// runtime reports it if they panic later. Where an `Err` is a failure too, take [`try_gather`]; to have every outcome whatever it is,
/// [`return_exceptions`](Gather::return_exceptions); for handles of several types, [`gather!`](macro@crate::gather).
///
/// Cancelling it asks every child, with the same message and in one step, to end. It ends with the first that does so cancelled or failing; those that
/// suppress the request are waited for, and even if all of them give values, it ends with a cancellation then. It never reads as [`is_cancelled`](Deferred::is_cancelled): the cancellation is
/// an error like any other, so that of a child.
///
/// A handle may be given several times ([`Shared`](heist_runtime::task::Shared)): it fills each of its places, and is cancelled once for each. Of
/// nothing it is done at once, and awaiting it does not suspend. Each child costs a constant amount of time and memory, however many there
/// are.
///
/// # Cancel safety
///
/// A task that is cancelled while it awaits this cancels the children, and goes on when the gather has ended. Merely dropped, it lets the
/// children run on by themselves.
///
/// # Examples
///
/// ```
/// use heist_combinators::gather;
/// # heist_runtime::run(async {
/// let squares = (1..=3).map(|n| heist_runtime::spawn(async move { n * n }));
/// assert_eq!(gather(squares).await.unwrap(), [1, 4, 9]);
/// # }).unwrap();
/// ```
#[doc(alias = "asyncio.gather")]
pub fn gather<I>(handles: I) -> Gather<I::Item>
where
    I: IntoIterator,
    I::Item: Awaitable,
{
    Gather {
        handles: handles.into_iter().collect(),
    }
}

/// As [`gather`], of handles that give a `Result`: the first `Err` ends it at once, as a panic or a cancellation does, and is its value.
///
/// # Cancel safety
///
/// As [`gather`].
///
/// # Examples
///
/// ```
/// use heist_combinators::try_gather;
/// # heist_runtime::run(async {
/// let parsed = ["1", "two", "3"].map(|text| heist_runtime::try_spawn(async { text.parse::<u32>() }));
/// let ended = try_gather(parsed).await.unwrap(); // no task panicked
/// assert!(ended.is_err()); // but one failed
/// # }).unwrap();
/// ```
#[doc(alias = "asyncio.gather")]
pub fn try_gather<I, T, E>(handles: I) -> TryGather<I::Item>
where
    I: IntoIterator,
    I::Item: Awaitable<Value = Result<T, E>>,
    T: Send + 'static,
    E: Send + 'static,
{
    TryGather {
        handles: handles.into_iter().collect(),
    }
}

/// What [`gather`] gives: nothing happens before it is awaited or started.
#[must_use = "nothing waits for the handles before this is awaited or started"]
pub struct Gather<A> {
    handles: Vec<A>,
}

/// [`gather`] with every outcome: a failure ends nothing. See [`Gather::return_exceptions`].
#[must_use = "nothing waits for the handles before this is awaited or started"]
pub struct GatherAll<A> {
    handles: Vec<A>,
}

/// What [`try_gather`] gives: nothing happens before it is awaited or started.
#[must_use = "nothing waits for the handles before this is awaited or started"]
pub struct TryGather<A> {
    handles: Vec<A>,
}

impl<A: Awaitable> Gather<A> {
    /// Begins to wait, and gives the gather as a handle.
    pub fn start(self) -> Deferred<Vec<A::Value>> {
        start::<A, FirstFailure>(self.handles)
    }

    /// All children are waited for, and their errors are values. asyncio's `return_exceptions=True`.
    ///
    /// # Examples
    ///
    /// ```
    /// # heist_runtime::run(async {
    /// let stuck = heist_runtime::spawn(std::future::pending::<()>());
    /// stuck.cancel(None);
    /// let ended = heist_combinators::gather([stuck]).return_exceptions().await.unwrap();
    /// assert!(ended[0].as_ref().unwrap_err().is_cancelled());
    /// # }).unwrap();
    /// ```
    pub fn return_exceptions(self) -> GatherAll<A> {
        GatherAll {
            handles: self.handles,
        }
    }
}

impl<A: Awaitable> GatherAll<A> {
    /// Begins to wait, and gives the gather as a handle.
    pub fn start(self) -> Deferred<Vec<Result<A::Value, TaskError>>> {
        start::<A, Everything>(self.handles)
    }
}

impl<A, T, E> TryGather<A>
where
    A: Awaitable<Value = Result<T, E>>,
    T: Send + 'static,
    E: Send + 'static,
{
    /// Begins to wait, and gives the gather as a handle.
    pub fn start(self) -> Deferred<Result<Vec<T>, E>> {
        start::<A, FirstErr>(self.handles)
    }

    /// All children are waited for, and their errors are values. asyncio's `return_exceptions=True`.
    pub fn return_exceptions(self) -> GatherAll<A> {
        GatherAll {
            handles: self.handles,
        }
    }
}

/// Awaiting a gather suspends, though all children may have ended; unless there are none.
fn point_of_cancellation<T: Send + 'static>(gathered: Deferred<T>, is_empty: bool) -> Deferred<T> {
    if is_empty {
        gathered
    } else {
        gathered.suspending()
    }
}

impl<A: Awaitable> IntoFuture for Gather<A> {
    type Output = Result<Vec<A::Value>, TaskError>;
    type IntoFuture = Deferred<Vec<A::Value>>;

    fn into_future(self) -> Self::IntoFuture {
        let is_empty = self.handles.is_empty();
        point_of_cancellation(self.start(), is_empty)
    }
}

impl<A: Awaitable> IntoFuture for GatherAll<A> {
    type Output = Result<Vec<Result<A::Value, TaskError>>, TaskError>;
    type IntoFuture = Deferred<Vec<Result<A::Value, TaskError>>>;

    fn into_future(self) -> Self::IntoFuture {
        let is_empty = self.handles.is_empty();
        point_of_cancellation(self.start(), is_empty)
    }
}

impl<A, T, E> IntoFuture for TryGather<A>
where
    A: Awaitable<Value = Result<T, E>>,
    T: Send + 'static,
    E: Send + 'static,
{
    type Output = Result<Result<Vec<T>, E>, TaskError>;
    type IntoFuture = Deferred<Result<Vec<T>, E>>;

    fn into_future(self) -> Self::IntoFuture {
        let is_empty = self.handles.is_empty();
        point_of_cancellation(self.start(), is_empty)
    }
}

struct FirstFailure;

impl<T: Send + 'static> Rule<T> for FirstFailure {
    type Kept = T;
    type Value = Vec<T>;

    fn keep(outcome: Result<T, TaskError>) -> Result<T, Result<Vec<T>, TaskError>> {
        outcome.map_err(Err)
    }

    fn value(kept: Vec<T>) -> Vec<T> {
        kept
    }
}

struct FirstErr;

impl<T: Send + 'static, E: Send + 'static> Rule<Result<T, E>> for FirstErr {
    type Kept = T;
    type Value = Result<Vec<T>, E>;

    fn keep(outcome: Result<Result<T, E>, TaskError>) -> Result<T, Result<Self::Value, TaskError>> {
        match outcome {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(Ok(Err(error))),
            Err(error) => Err(Err(error)),
        }
    }

    fn value(kept: Vec<T>) -> Self::Value {
        Ok(kept)
    }
}

struct Everything;

impl<T: Send + 'static> Rule<T> for Everything {
    type Kept = Result<T, TaskError>;
    type Value = Vec<Self::Kept>;

    fn keep(outcome: Result<T, TaskError>) -> Result<Self::Kept, Result<Self::Value, TaskError>> {
        Ok(outcome)
    }

    fn cancellation(last: &Self::Kept) -> Option<TaskError> {
        cancellation(last)
    }

    fn value(kept: Vec<Self::Kept>) -> Self::Value {
        kept
    }
}

fn cancellation<T>(outcome: &Result<T, TaskError>) -> Option<TaskError> {
    let error = outcome.as_ref().err();
    error.filter(|error| error.is_cancelled()).cloned()
}

impl<A> fmt::Debug for Gather<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Gather").field(&self.handles.len()).finish()
    }
}

impl<A> fmt::Debug for GatherAll<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.handles.len();
        f.debug_tuple("GatherAll").field(&count).finish()
    }
}

impl<A> fmt::Debug for TryGather<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.handles.len();
        f.debug_tuple("TryGather").field(&count).finish()
    }
}
