//! `gather!`: handles whose types differ.
//!
//! The engine knows handles of one type: here each is boxed, and so is its value, until all of them are there and become a tuple.

use super::cancellation;
use super::engine::{Part, Rule, start};
use heist_runtime::TaskError;
use heist_runtime::task::{Awaitable, Deferred, Target};
use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::task::Context;

/// As [`gather`](fn@crate::gather), of handles whose types differ: the values come as a tuple. Of 1 to 12 handles.
///
/// Gives a [`GatherTuple`]: to be awaited or started.
///
/// # Examples
///
/// ```
/// use heist_combinators::gather;
/// use heist_runtime::spawn;
/// # heist_runtime::run(async {
/// let (name, age) = gather!(spawn(async { "Ada" }), spawn(async { 36 })).await.unwrap();
/// assert_eq!((name, age), ("Ada", 36));
/// # }).unwrap();
/// ```
#[doc(alias = "asyncio.gather")]
#[macro_export]
macro_rules! gather {
    ($($handle:expr),+ $(,)?) => {
        $crate::gather_tuple(($($handle,)+))
    };
}

/// What [`gather!`](macro@crate::gather) expands to: [`gather`](fn@crate::gather) of a tuple of handles.
///
/// # Cancel safety
///
/// As [`gather`](fn@crate::gather).
///
/// # Examples
///
/// ```
/// use heist_runtime::spawn;
/// # heist_runtime::run(async {
/// let both = heist_combinators::gather_tuple((spawn(async { 1 }), spawn(async { "a" })));
/// assert_eq!(both.await.unwrap(), (1, "a"));
/// # }).unwrap();
/// ```
pub fn gather_tuple<W: Handles>(handles: W) -> GatherTuple<W> {
    GatherTuple { handles }
}

/// What [`gather!`](macro@crate::gather) gives: nothing happens before it is awaited or started.
#[must_use = "nothing waits for the handles before this is awaited or started"]
pub struct GatherTuple<W> {
    handles: W,
}

/// [`gather!`](macro@crate::gather) with every outcome. See [`GatherTuple::return_exceptions`].
#[must_use = "nothing waits for the handles before this is awaited or started"]
pub struct GatherTupleAll<W> {
    handles: W,
}

impl<W: Handles> GatherTuple<W> {
    /// Begins to wait, and gives the gather as a handle.
    pub fn start(self) -> Deferred<W::Values> {
        start::<Erased, InTuple<W>>(self.handles.erase())
    }

    /// All children are waited for, and their errors are values. asyncio's `return_exceptions=True`.
    pub fn return_exceptions(self) -> GatherTupleAll<W> {
        GatherTupleAll {
            handles: self.handles,
        }
    }
}

impl<W: Handles> GatherTupleAll<W> {
    /// Begins to wait, and gives the gather as a handle.
    pub fn start(self) -> Deferred<W::Outcomes> {
        start::<Erased, AllInTuple<W>>(self.handles.erase())
    }
}

impl<W: Handles> IntoFuture for GatherTuple<W> {
    type Output = Result<W::Values, TaskError>;
    type IntoFuture = Deferred<W::Values>;

    fn into_future(self) -> Self::IntoFuture {
        self.start().suspending()
    }
}

impl<W: Handles> IntoFuture for GatherTupleAll<W> {
    type Output = Result<W::Outcomes, TaskError>;
    type IntoFuture = Deferred<W::Outcomes>;

    fn into_future(self) -> Self::IntoFuture {
        self.start().suspending()
    }
}

/// The first failure ends it; the values make a tuple.
struct InTuple<W>(PhantomData<fn() -> W>);

impl<W: Handles> Rule<AnyValue> for InTuple<W> {
    type Kept = AnyValue;
    type Value = W::Values;

    fn keep(
        outcome: Result<AnyValue, TaskError>,
    ) -> Result<AnyValue, Result<W::Values, TaskError>> {
        outcome.map_err(Err)
    }

    fn value(kept: Vec<AnyValue>) -> W::Values {
        W::values(kept)
    }
}

struct AllInTuple<W>(PhantomData<fn() -> W>);

impl<W: Handles> Rule<AnyValue> for AllInTuple<W> {
    type Kept = Result<AnyValue, TaskError>;
    type Value = W::Outcomes;

    fn keep(
        outcome: Result<AnyValue, TaskError>,
    ) -> Result<Self::Kept, Result<W::Outcomes, TaskError>> {
        Ok(outcome)
    }

    fn cancellation(last: &Self::Kept) -> Option<TaskError> {
        cancellation(last)
    }

    fn value(kept: Vec<Self::Kept>) -> W::Outcomes {
        W::outcomes(kept)
    }
}

type AnyValue = Box<dyn Any + Send>;

/// A handle of whatever type.
#[doc(hidden)]
pub struct Erased(Box<dyn AnyPart>);

trait AnyPart: Send {
    fn any_target(&self) -> Target;
    fn any_is_done(&self) -> bool;
    fn any_poll_ended(&mut self, cx: &mut Context<'_>) -> bool;
    fn any_take(&mut self) -> Result<AnyValue, TaskError>;
}

impl<A: Awaitable> AnyPart for A {
    fn any_target(&self) -> Target {
        self.target()
    }

    fn any_is_done(&self) -> bool {
        self.is_done()
    }

    fn any_poll_ended(&mut self, cx: &mut Context<'_>) -> bool {
        self.poll_ended(cx)
    }

    fn any_take(&mut self) -> Result<AnyValue, TaskError> {
        self.take().map(|value| Box::new(value) as AnyValue)
    }
}

impl Part for Erased {
    type Value = AnyValue;

    fn target(&self) -> Target {
        self.0.any_target()
    }

    fn is_done(&self) -> bool {
        self.0.any_is_done()
    }

    fn poll_ended(&mut self, cx: &mut Context<'_>) -> bool {
        self.0.any_poll_ended(cx)
    }

    fn take(&mut self) -> Result<AnyValue, TaskError> {
        self.0.any_take()
    }
}

/// A tuple of handles, for [`gather!`](macro@crate::gather). Implemented for 1 to 12 of them.
pub trait Handles: Send + 'static {
    /// Their values.
    type Values: Send + 'static;
    /// Their outcomes.
    type Outcomes: Send + 'static;

    #[doc(hidden)]
    fn erase(self) -> Vec<Erased>;
    #[doc(hidden)]
    fn values(kept: Vec<Box<dyn Any + Send>>) -> Self::Values;
    #[doc(hidden)]
    fn outcomes(kept: Vec<Result<Box<dyn Any + Send>, TaskError>>) -> Self::Outcomes;
}

/// Each place gives back what its own handle put there.
const SAME: &str = "a value comes back from the place of its own handle";

fn restored<T: 'static>(value: AnyValue) -> T {
    *value.downcast().expect(SAME)
}

macro_rules! impl_handles {
    ($($handle:ident)+) => {
        impl<$($handle: Awaitable),+> Handles for ($($handle,)+) {
            type Values = ($($handle::Value,)+);
            type Outcomes = ($(Result<$handle::Value, TaskError>,)+);

            fn erase(self) -> Vec<Erased> {
                #[expect(non_snake_case, reason = "named as their types")]
                let ($($handle,)+) = self;
                vec![$(Erased(Box::new($handle))),+]
            }

            fn values(kept: Vec<AnyValue>) -> Self::Values {
                let mut kept = kept.into_iter();
                ($(restored::<$handle::Value>(kept.next().expect(SAME)),)+)
            }

            fn outcomes(kept: Vec<Result<AnyValue, TaskError>>) -> Self::Outcomes {
                let mut kept = kept.into_iter();
                ($(kept.next().expect(SAME).map(restored::<$handle::Value>),)+)
            }
        }
    };
}

impl_handles!(A);
impl_handles!(A B);
impl_handles!(A B C);
impl_handles!(A B C D);
impl_handles!(A B C D E);
impl_handles!(A B C D E F);
impl_handles!(A B C D E F G);
impl_handles!(A B C D E F G H);
impl_handles!(A B C D E F G H I);
impl_handles!(A B C D E F G H I J);
impl_handles!(A B C D E F G H I J K);
impl_handles!(A B C D E F G H I J K L);

impl<W> fmt::Debug for GatherTuple<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GatherTuple").finish_non_exhaustive()
    }
}

impl<W> fmt::Debug for GatherTupleAll<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GatherTupleAll").finish_non_exhaustive()
    }
}
