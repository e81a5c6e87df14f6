//! From a thread outside: submit a coroutine, wait for its result.

use crate::context::Context as Variables;
use crate::current;
use crate::handle::Handle;
use crate::spawn::Told;
use crate::sync_switch::channel::{End, Ended, oneway};
use crate::sync_switch::{Bug, planted};
use crate::system;
use crate::task::{
    Answer, Deferred, Later, OnCancel, Results, Schedule, Task, TaskError, TaskRef, Values,
    contain, deferred,
};
use parking_lot::Mutex;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

/// Submits a coroutine to a runtime from any thread, one that knows nothing of it included, and gives a handle to wait on.
///
/// asyncio's `run_coroutine_threadsafe(coro, loop)`. A runtime that is shut down refuses it: the result is an error. The coroutine starts with
/// an empty [context](crate::context), whatever the calling code has set.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// let runtime = heist_runtime::Runtime::new()?;
/// let handle = runtime.handle().clone();
/// std::thread::spawn(move || {
///     let sum = heist_runtime::run_coroutine_threadsafe(async { 40 + 2 }, &handle);
///     assert_eq!(sum.result(Duration::from_secs(5)).unwrap(), 42);
/// })
/// .join()
/// .unwrap();
/// # Ok::<(), std::io::Error>(())
/// ```
#[track_caller]
pub fn run_coroutine_threadsafe<F>(future: F, handle: &Handle) -> concurrent::Future<F::Output>
where
    F: std::future::Future + Send + 'static,
    F::Output: Send + 'static,
{
    let told = Told {
        name: None,
        context: Some(Variables::new()),
    };
    let task = handle.spawn_at::<Values, _>(Location::caller(), told, || future);
    concurrent::Future::new(task, handle)
}

/// As [`run_coroutine_threadsafe`], for a coroutine whose `Err` is a failure; see [`try_spawn`](crate::try_spawn).
#[track_caller]
pub fn try_run_coroutine_threadsafe<F, T, E>(
    future: F,
    handle: &Handle,
) -> concurrent::Future<F::Output>
where
    F: std::future::Future<Output = Result<T, E>> + Send + 'static,
    T: Send + 'static,
    E: std::fmt::Debug + Send + 'static,
{
    let told = Told {
        context: Some(Variables::new()),
        ..Told::default()
    };
    let task = handle.spawn_at::<Results, _>(Location::caller(), told, || future);
    concurrent::Future::new(task, handle)
}

/// The result of a coroutine that was submitted from outside: asyncio's `concurrent.futures`.
pub mod concurrent {
    use super::*;
    use std::fmt;

    /// A result that is to come, for threads that wait by blocking. asyncio's `concurrent.futures.Future`.
    ///
    /// Dropping it lets the coroutine run on by itself; its callbacks are called all the same.
    pub struct Future<T> {
        core: Arc<Core<T>>,
    }

    /// What the handle, the waits of tasks, and the coroutine's end share.
    struct Core<T> {
        state: Mutex<State<T>>,
        task: TaskRef,
        ended: Ended,
        handle: Handle,
    }

    struct State<T> {
        slot: Slot<T>,
        /// It was cancelled, by whomever.
        cancelled: bool,
        /// There until the end.
        end: Option<End>,
        callbacks: Vec<Box<dyn FnOnce() + Send>>,
    }

    enum Slot<T> {
        Pending,
        Ended(Result<T, TaskError>),
        Taken { failed: bool },
    }

    impl<T> Core<T> {
        /// Ends it; false, and the outcome is dropped, if it has ended.
        fn settle(&self, outcome: Result<T, TaskError>) -> bool {
            let mut state = self.state.lock();
            if !matches!(state.slot, Slot::Pending) {
                drop(state);
                return false;
            }
            state.cancelled = outcome.as_ref().is_err_and(TaskError::is_cancelled);
            state.slot = Slot::Ended(outcome);
            let callbacks = std::mem::take(&mut state.callbacks);
            let end = state.end.take();
            drop(state);
            if planted(Bug::ForeignWaitUnheard) {
                std::mem::forget(end);
            } else {
                drop(end);
            }
            for callback in callbacks {
                contain(callback);
            }
            true
        }

        /// The handle ends at once, the coroutine when it has done so: it is asked, and no message travels.
        fn cancel(&self) -> bool {
            let accepted = self.settle(Err(TaskError::cancelled(None)));
            if accepted {
                self.task.cancel(None);
            }
            accepted || self.state.lock().cancelled
        }

        fn take(&self) -> Result<T, TaskError> {
            let mut state = self.state.lock();
            let failed = match &state.slot {
                Slot::Pending => return Err(TaskError::invalid_state()),
                Slot::Ended(Err(error)) if error.is_cancelled() => return Err(error.clone()),
                Slot::Ended(outcome) => outcome.is_err(),
                Slot::Taken { failed } => *failed,
            };
            match std::mem::replace(&mut state.slot, Slot::Taken { failed }) {
                Slot::Ended(outcome) => outcome,
                Slot::Pending | Slot::Taken { .. } => Err(TaskError::taken()),
            }
        }

        fn add_done_callback(&self, callback: Box<dyn FnOnce() + Send>) {
            let mut state = self.state.lock();
            if let Slot::Pending = state.slot {
                state.callbacks.push(callback);
            } else {
                drop(state);
                callback();
            }
        }
    }

    impl<T> Drop for Core<T> {
        fn drop(&mut self) {
            let slot = &mut self.state.get_mut().slot;
            if let Slot::Ended(Err(error)) = std::mem::replace(slot, Slot::Pending)
                && error.is_panic()
            {
                self.handle.unhandled(self.task.clone(), error);
            }
        }
    }

    /// The await of a task: cancelled itself, it ends at once with the task's own message, and cancels the handle.
    struct Awaited<T>(Arc<Core<T>>);

    impl<T: Send + 'static> OnCancel for Awaited<T> {
        fn request(&self, _: Option<&Arc<str>>, later: &mut Later) -> Option<Answer> {
            let core = self.0.clone();
            later.push(move || {
                core.cancel();
            });
            None
        }

        fn kind(&self) -> &'static str {
            "concurrent::Future"
        }
    }

    /// Why there is no result.
    #[derive(Debug)]
    pub struct Error(Kind);

    #[derive(Debug)]
    enum Kind {
        TimedOut,
        Task(TaskError),
    }

    impl Error {
        /// Whether the time was up. The coroutine runs on.
        pub fn is_timeout(&self) -> bool {
            matches!(self.0, Kind::TimedOut)
        }

        /// Whether the coroutine was cancelled, a shutdown of its runtime included.
        pub fn is_cancelled(&self) -> bool {
            self.task_error().is_some_and(TaskError::is_cancelled)
        }

        /// Whether the coroutine panicked.
        pub fn is_panic(&self) -> bool {
            self.task_error().is_some_and(TaskError::is_panic)
        }

        /// Whether the coroutine was refused, or waiting for it here would never end.
        pub fn is_refused(&self) -> bool {
            self.task_error().is_some_and(TaskError::is_refused)
        }

        /// The coroutine's error, unless the time was up.
        pub fn task_error(&self) -> Option<&TaskError> {
            match &self.0 {
                Kind::TimedOut => None,
                Kind::Task(error) => Some(error),
            }
        }
    }

    impl fmt::Display for Error {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            match &self.0 {
                Kind::TimedOut => f.write_str("the result did not come in time"),
                Kind::Task(error) => error.fmt(f),
            }
        }
    }

    impl std::error::Error for Error {}

    impl<T> Future<T> {
        pub(super) fn new(mut task: Task<T>, handle: &Handle) -> Self
        where
            T: Send + 'static,
        {
            let (end, ended) = oneway();
            let core = Arc::new(Core {
                state: Mutex::new(State {
                    slot: Slot::Pending,
                    cancelled: false,
                    end: Some(end),
                    callbacks: Vec::new(),
                }),
                task: task.as_ref(),
                ended,
                handle: handle.clone(),
            });
            let (at_end, reference) = (core.clone(), task.as_ref());
            reference.add_done_callback(move || {
                let outcome = task.result();
                let cancelled = |error: TaskError| match error.is_cancelled() {
                    true => TaskError::cancelled(None),
                    false => error,
                };
                at_end.settle(outcome.map_err(cancelled));
            });
            Self { core }
        }

        /// As a handle that a task can await; the value is given once. asyncio's `wrap_future`.
        ///
        /// A task that is cancelled while it awaits this cancels the coroutine, and goes on unwinding at once.
        #[doc(alias = "wrap_future")]
        pub fn wrap(&self) -> Deferred<T>
        where
            T: Send + 'static,
        {
            let (promise, deferred) = deferred(Awaited(self.core.clone()));
            let core = self.core.clone();
            self.core.add_done_callback(Box::new(move || {
                if promise.is_done() {
                    return;
                }
                match core.take() {
                    Err(error) if error.is_cancelled() => drop(promise.cancel(None)),
                    // Lost only in a race with a cancel, which wins.
                    outcome => drop(promise.settle(outcome)),
                }
            }));
            deferred
        }

        /// Waits for the coroutine's end and gives its value; `None` waits for as long as it takes.
        ///
        /// The value is given once; who asks later gets an error.
        ///
        /// # Errors
        ///
        /// The time was up, the coroutine was cancelled or panicked, its runtime is gone, or this thread is the only one that could
        /// run it.
        ///
        /// # Examples
        ///
        /// ```
        /// use heist_runtime::{Runtime, run_coroutine_threadsafe};
        /// use std::time::Duration;
        ///
        /// let runtime = Runtime::new()?;
        /// let endless = run_coroutine_threadsafe(std::future::pending::<()>(), runtime.handle());
        /// let error = endless.result(Duration::from_millis(5)).unwrap_err();
        /// assert!(error.is_timeout()); // it runs on
        /// endless.cancel();
        /// assert!(endless.result(None).unwrap_err().is_cancelled());
        /// # Ok::<(), std::io::Error>(())
        /// ```
        pub fn result(&self, timeout: impl Into<Option<Duration>>) -> Result<T, Error> {
            self.wait(timeout.into())?;
            self.core.take().map_err(|error| Error(Kind::Task(error)))
        }

        /// Waits for the coroutine's end and gives its error, if it failed; the value, if it did not, stays for
        /// [`result`](Self::result).
        ///
        /// # Errors
        ///
        /// The time was up, or waiting here would never end; or it failed, and the error, which is given once, was taken before.
        pub fn exception(
            &self,
            timeout: impl Into<Option<Duration>>,
        ) -> Result<Option<TaskError>, Error> {
            self.wait(timeout.into())?;
            let mut state = self.core.state.lock();
            match &state.slot {
                Slot::Ended(Err(error)) if error.is_cancelled() => Ok(Some(error.clone())),
                Slot::Ended(Err(_)) => {
                    let taken = Slot::Taken { failed: true };
                    match std::mem::replace(&mut state.slot, taken) {
                        Slot::Ended(Err(error)) => Ok(Some(error)),
                        _ => Ok(None),
                    }
                }
                Slot::Taken { failed: true } => Err(Error(Kind::Task(TaskError::taken()))),
                _ => Ok(None),
            }
        }

        /// Cancels it, and returns at once: this handle ends cancelled here and now, and the coroutine is asked to end. True also if it was
        /// cancelled before; false if it has ended otherwise.
        pub fn cancel(&self) -> bool {
            self.core.cancel()
        }

        /// Cancels it, and waits until the coroutine itself has ended, whichever way.
        ///
        /// # Errors
        ///
        /// The time was up, or waiting here would never end.
        pub fn cancel_and_wait(&self, timeout: impl Into<Option<Duration>>) -> Result<(), Error> {
            self.cancel();
            let (end, ended) = oneway();
            self.core.task.add_done_callback(move || drop(end));
            self.wait_on(&ended, timeout.into())
        }

        /// Whether this has ended: with the coroutine, or by a cancellation.
        pub fn done(&self) -> bool {
            !matches!(self.core.state.lock().slot, Slot::Pending)
        }

        /// Whether it was cancelled.
        pub fn cancelled(&self) -> bool {
            self.core.state.lock().cancelled
        }

        /// The coroutine's task, which may still be cleaning up after this was cancelled.
        pub fn task(&self) -> &TaskRef {
            &self.core.task
        }

        /// Calls `callback` when the coroutine ends: on the thread that ends it, or here and now if it has ended.
        ///
        /// It should be short. A panic in one that waited is contained.
        pub fn add_done_callback(&self, callback: impl FnOnce() + Send + 'static) {
            self.core.add_done_callback(Box::new(callback));
        }

        fn wait(&self, timeout: Option<Duration>) -> Result<(), Error> {
            if self.done() {
                return Ok(());
            }
            self.wait_on(&self.core.ended, timeout)
        }

        /// Blocks until the end.
        fn wait_on(&self, ended: &Ended, timeout: Option<Duration>) -> Result<(), Error> {
            if self.core.handle.is_forked() {
                let refused = TaskError::refused(crate::task::Refusal::Forked);
                return Err(Error(Kind::Task(refused)));
            }
            let _blocking = self
                .core
                .handle
                .begin_blocking()
                .map_err(|error| Error(Kind::Task(error)))?;
            let _aside = heist_io_driver::leaf::set_aside();
            // A time that no instant can hold is as good as none.
            let until = timeout.and_then(|timeout| system::now().checked_add(timeout));
            match current::without_worker(|| ended.wait_until(until)) {
                true => Ok(()),
                false => Err(Error(Kind::TimedOut)),
            }
        }
    }

    impl<T> fmt::Debug for Future<T> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_tuple("Future").field(&self.core.task).finish()
        }
    }
}
