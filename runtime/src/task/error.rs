//! Why a task has no value: it was cancelled, it panicked, or it was never accepted.

use std::any::Any;
use std::fmt;
use std::panic::resume_unwind;
use std::sync::Arc;

/// Why a task gave no value.
///
/// Ask with [`is_cancelled`](Self::is_cancelled), [`is_panic`](Self::is_panic) and [`is_refused`](Self::is_refused).
///
/// # Examples
///
/// ```
/// # heist_runtime::run(async {
/// let task = heist_runtime::spawn(async { panic!("out of cheese") });
/// let error = task.await.unwrap_err();
/// assert!(error.is_panic());
/// assert_eq!(error.panic_message(), Some("out of cheese"));
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct TaskError(Arc<Kind>);

enum Kind {
    Cancelled(Option<Arc<str>>),
    Panicked(PanicPayload),
    Refused(Refusal),
    Taken,
    InvalidState,
    SelfAwait,
    /// What an `Err` said that nobody has taken.
    Failed(String),
}

/// A panic's payload can be `!Sync`; it is only ever reached through `&mut` or by value, or read as one of the two string types.
struct PanicPayload(
    parking_lot::Mutex<Option<Box<dyn Any + Send>>>,
    Option<String>,
);

/// Why a runtime did not accept a task.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// No runtime on this thread.
    NoRuntime,
    /// The runtime is shutting down or gone.
    Closed,
    /// The process was forked after the runtime was built: its threads are in the parent.
    Forked,
    /// The worker that would have to wait cannot be replaced meanwhile.
    WouldDeadlock,
    /// The runtime could not be built.
    Build(std::io::Error),
    /// A blocking closure's thread could not be started. Shared: several may have waited for it.
    NoThread(Arc<std::io::Error>),
}

impl TaskError {
    pub(crate) fn cancelled(message: Option<Arc<str>>) -> Self {
        Self(Arc::new(Kind::Cancelled(message)))
    }

    /// The error of what panicked with `payload`, for combinators that call foreign code on behalf of a handle.
    pub fn panicked(payload: Box<dyn Any + Send>) -> Self {
        let message = message_of(&*payload).map(str::to_owned);
        let payload = PanicPayload(parking_lot::Mutex::new(Some(payload)), message);
        Self(Arc::new(Kind::Panicked(payload)))
    }

    pub(crate) fn refused(refusal: Refusal) -> Self {
        Self(Arc::new(Kind::Refused(refusal)))
    }

    /// The outcome had been taken before.
    pub(crate) fn taken() -> Self {
        Self(Arc::new(Kind::Taken))
    }

    /// The outcome was asked for before the end.
    pub(crate) fn invalid_state() -> Self {
        Self(Arc::new(Kind::InvalidState))
    }

    /// An `Err` that nobody has taken, for a report.
    pub(crate) fn failed(text: String) -> Self {
        Self(Arc::new(Kind::Failed(text)))
    }

    /// Whether it stands for an `Err` that nobody has taken; only seen by an exception handler.
    pub fn is_failure(&self) -> bool {
        matches!(*self.0, Kind::Failed(_))
    }

    /// A task awaits itself.
    pub(crate) fn self_await() -> Self {
        Self(Arc::new(Kind::SelfAwait))
    }

    /// Whether the outcome was asked for before there was one. asyncio's `InvalidStateError`.
    #[doc(alias = "InvalidStateError")]
    pub fn is_invalid_state(&self) -> bool {
        matches!(*self.0, Kind::InvalidState)
    }

    /// Whether a task awaited itself, which would never end. asyncio's `RuntimeError`.
    pub fn is_self_await(&self) -> bool {
        matches!(*self.0, Kind::SelfAwait)
    }

    /// The cancellation, to be [propagated](super::Cancelled::propagate).
    ///
    /// # Errors
    ///
    /// The error itself if it is no cancellation.
    pub fn into_cancelled(self) -> Result<super::Cancelled, Self> {
        match &*self.0 {
            Kind::Cancelled(message) => Ok(super::Cancelled::from_message(message.clone())),
            _ => Err(self),
        }
    }

    /// Whether the task was cancelled.
    ///
    /// # Examples
    ///
    /// ```
    /// # heist_runtime::run(async {
    /// let task = heist_runtime::spawn(std::future::pending::<()>());
    /// task.cancel("enough");
    /// let error = task.await.unwrap_err();
    /// assert!(error.is_cancelled() && !error.is_panic());
    /// assert_eq!(error.cancel_message(), Some("enough"));
    /// # }).unwrap();
    /// ```
    pub fn is_cancelled(&self) -> bool {
        matches!(*self.0, Kind::Cancelled(_))
    }

    /// Whether the task panicked: in a poll, or in the destructor of its future.
    pub fn is_panic(&self) -> bool {
        matches!(*self.0, Kind::Panicked(_))
    }

    /// Whether no runtime accepted the task: none on this thread, one that is shut down, has no thread for a blocking closure, or was left
    /// behind in the parent of a fork.
    pub fn is_refused(&self) -> bool {
        matches!(*self.0, Kind::Refused(_))
    }

    /// The message of the request that cancelled the task, if it had one.
    pub fn cancel_message(&self) -> Option<&str> {
        match &*self.0 {
            Kind::Cancelled(message) => message.as_deref(),
            _ => None,
        }
    }

    /// The panic's message, if it is a string, as that of `panic!` is.
    ///
    /// # Examples
    ///
    /// ```
    /// # heist_runtime::run(async {
    /// let error = heist_runtime::spawn(async { panic!("oops") }).await.unwrap_err();
    /// assert!(error.is_panic());
    /// assert_eq!(error.panic_message(), Some("oops"));
    /// # }).unwrap();
    /// ```
    pub fn panic_message(&self) -> Option<&str> {
        match &*self.0 {
            Kind::Panicked(payload) => payload.1.as_deref(),
            _ => None,
        }
    }

    /// The panic's payload, to be inspected or to go on panicking with ([`std::panic::resume_unwind`]).
    ///
    /// # Errors
    ///
    /// The error itself if it is not a panic's.
    pub fn into_panic(self) -> Result<Box<dyn Any + Send>, Self> {
        let payload = match &*self.0 {
            Kind::Panicked(payload) => payload.0.lock().take(),
            _ => None,
        };
        payload.ok_or(self)
    }

    /// Goes on panicking with the task's panic, or panics with this error's text if there was none.
    ///
    /// # Panics
    ///
    /// Always; that is its purpose.
    #[track_caller]
    pub fn resume(self) -> ! {
        match self.into_panic() {
            Ok(payload) => resume_unwind(payload),
            Err(error) => panic!("{error}"),
        }
    }
}

/// The text of a panic, if it has one.
pub(crate) fn message_of(payload: &(dyn Any + Send)) -> Option<&str> {
    payload
        .downcast_ref::<&'static str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Kind::Cancelled(None) => f.write_str("the task was cancelled"),
            Kind::Cancelled(Some(message)) => write!(f, "the task was cancelled: {message}"),
            Kind::Panicked(payload) => match &payload.1 {
                Some(message) => write!(f, "the task panicked: {message}"),
                None => f.write_str("the task panicked"),
            },
            Kind::Refused(refusal) => refusal.fmt(f),
            Kind::Taken => f.write_str("the task's outcome was taken before"),
            Kind::InvalidState => {
                f.write_str("the task has not ended: await it, or ask is_done() first")
            }
            Kind::Failed(text) => write!(f, "the task failed: {text}"),
            Kind::SelfAwait => f.write_str("a task cannot await itself: it would never end"),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRuntime => f.write_str(
                "no heist runtime on this thread: call this inside heist::run, enter one with Handle::enter, or use the Handle's own methods",
            ),
            Self::Closed => f.write_str("the heist runtime is shut down"),
            Self::Forked => f.write_str(
                "this process was forked after the heist runtime was built, and the runtime's threads stayed in the parent: build a new one here",
            ),
            Self::WouldDeadlock => f.write_str(
                "waiting here would block the only worker that could do the awaited work: await it instead, or wait on a thread of your own",
            ),
            Self::Build(error) => write!(f, "the heist runtime could not be built: {error}"),
            Self::NoThread(error) => write!(f, "no thread could be started for a blocking closure: {error}"),
        }
    }
}

impl fmt::Debug for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Kind::Cancelled(message) => f.debug_tuple("Cancelled").field(message).finish(),
            Kind::Panicked(payload) => f.debug_tuple("Panicked").field(&payload.1).finish(),
            Kind::Refused(refusal) => f.debug_tuple("Refused").field(refusal).finish(),
            Kind::Taken => f.write_str("Taken"),
            Kind::InvalidState => f.write_str("InvalidState"),
            Kind::SelfAwait => f.write_str("SelfAwait"),
            Kind::Failed(text) => f.debug_tuple("Failed").field(text).finish(),
        }
    }
}

impl std::error::Error for TaskError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &*self.0 {
            Kind::Refused(Refusal::Build(error)) => Some(error),
            Kind::Refused(Refusal::NoThread(error)) => Some(&**error),
            _ => None,
        }
    }
}

impl From<TaskError> for std::io::Error {
    fn from(error: TaskError) -> Self {
        Self::other(error)
    }
}
