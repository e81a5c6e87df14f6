//! From a thread outside: submit a coroutine, wait for its result.

use crate::current;
use crate::handle::Handle;
use crate::task::{Task, TaskError, TaskRef, contain};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use parking_lot::Mutex;
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::time::Duration;

/// Submits a coroutine to a runtime from any thread, one that knows nothing of it included, and gives a handle to wait on.
///
/// asyncio's `run_coroutine_threadsafe(coro, loop)`. A runtime that is shut down refuses it: the result is an error.
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
    concurrent::Future::new(handle.spawn(future), handle)
}

/// The result of a coroutine that was submitted from outside: asyncio's `concurrent.futures`.
pub mod concurrent {
    use super::*;
    use std::fmt;

    /// A result that is to come, for threads that wait by blocking. asyncio's `concurrent.futures.Future`.
    ///
    /// Dropping it lets the coroutine run on by itself; its callbacks are called all the same.
    pub struct Future<T> {
        outcome: Mutex<Slot<T>>,
        /// How the task's handle is kept once this is gone.
        keep: fn(Task<T>) -> Box<dyn Send>,
        task: TaskRef,
        notice: Arc<Notice>,
        /// Disconnected once the task has ended: all who wait learn it at once, and any number of times.
        ended: Receiver<Infallible>,
        handle: Handle,
    }

    /// Where the outcome is: with the task, then here, then with whoever asked.
    enum Slot<T> {
        Pending(Task<T>),
        Ended(Result<T, TaskError>),
        Taken { failed: bool },
    }

    /// The waker of the task's end.
    struct Notice(Mutex<Option<Waiting>>);

    struct Waiting {
        /// Never sends: dropping it is the message.
        _sender: Sender<Infallible>,
        callbacks: Vec<Box<dyn FnOnce() + Send>>,
        /// The task's handle, if the future was dropped before the end: the handle has to stay for the callbacks to be called.
        kept: Option<Box<dyn Send>>,
    }

    impl Wake for Notice {
        fn wake(self: Arc<Self>) {
            let waiting = self.0.lock().take();
            if let Some(waiting) = waiting {
                drop(waiting._sender);
                for callback in waiting.callbacks {
                    contain(callback);
                }
                drop(waiting.kept);
            }
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
            let (sender, ended) = crossbeam_channel::bounded(0);
            let notice = Arc::new(Notice(Mutex::new(Some(Waiting {
                _sender: sender,
                callbacks: Vec::new(),
                kept: None,
            }))));
            let waker = Waker::from(notice.clone());
            let done = task.leave_waker(&Context::from_waker(&waker));
            if done {
                notice.clone().wake();
            }
            Self {
                task: task.as_ref(),
                outcome: Mutex::new(Slot::Pending(task)),
                keep: |task| Box::new(task),
                notice,
                ended,
                handle: handle.clone(),
            }
        }

        /// Waits for the coroutine's end and gives its value; `None` waits for as long as it takes.
        ///
        /// The value is given once; who asks later gets an error.
        ///
        /// # Errors
        ///
        /// The time was up, the coroutine was cancelled or panicked, its runtime is gone, or this thread is the only one that could
        /// run it.
        pub fn result(&self, timeout: impl Into<Option<Duration>>) -> Result<T, Error> {
            self.wait(timeout.into())?;
            let mut slot = self.outcome.lock();
            let outcome = slot.ended().take();
            outcome.map_err(|error| Error(Kind::Task(error)))
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
            let mut slot = self.outcome.lock();
            let slot = slot.ended();
            match slot {
                Slot::Ended(Err(_)) => Ok(slot.take().err()),
                Slot::Taken { failed: true } => Err(Error(Kind::Task(TaskError::taken()))),
                _ => Ok(None),
            }
        }

        /// Requests that the coroutine end, and returns at once: false if it has ended already.
        pub fn cancel(&self) -> bool {
            self.task.cancel(None)
        }

        /// Requests that the coroutine end, and waits until it has, whichever way: [`cancelled`](Self::cancelled) tells.
        ///
        /// # Errors
        ///
        /// The time was up, or waiting here would never end.
        pub fn cancel_and_wait(&self, timeout: impl Into<Option<Duration>>) -> Result<(), Error> {
            self.cancel();
            self.wait(timeout.into())
        }

        /// Whether the coroutine has ended.
        pub fn done(&self) -> bool {
            self.task.is_done()
        }

        /// Whether the coroutine has ended by a cancellation.
        pub fn cancelled(&self) -> bool {
            self.task.is_cancelled()
        }

        /// Calls `callback` when the coroutine ends: on the thread that ends it, or here and now if it has ended.
        ///
        /// It should be short. A panic in one that waited is contained.
        pub fn add_done_callback(&self, callback: impl FnOnce() + Send + 'static) {
            let mut waiting = self.notice.0.lock();
            match &mut *waiting {
                Some(waiting) => waiting.callbacks.push(Box::new(callback)),
                None => {
                    drop(waiting);
                    callback();
                }
            }
        }

        fn wait(&self, timeout: Option<Duration>) -> Result<(), Error> {
            if self.done() && self.notice.0.lock().is_none() {
                return Ok(());
            }
            if self.handle.is_forked() {
                let refused = TaskError::refused(crate::task::Refusal::Forked);
                return Err(Error(Kind::Task(refused)));
            }
            let _blocking = self
                .handle
                .begin_blocking()
                .map_err(|error| Error(Kind::Task(error)))?;
            let _aside = heist_io_driver::leaf::set_aside();
            // `recv` cannot give a value: it returns when the task has ended.
            let waited = current::without_worker(|| match timeout {
                None => match self.ended.recv() {
                    Ok(never) => match never {},
                    Err(_) => RecvTimeoutError::Disconnected,
                },
                Some(timeout) => match self.ended.recv_timeout(timeout) {
                    Ok(never) => match never {},
                    Err(why) => why,
                },
            });
            match waited {
                RecvTimeoutError::Disconnected => Ok(()),
                RecvTimeoutError::Timeout => Err(Error(Kind::TimedOut)),
            }
        }
    }

    impl<T> Drop for Future<T> {
        fn drop(&mut self) {
            let taken = Slot::Taken { failed: false };
            let slot = std::mem::replace(self.outcome.get_mut(), taken);
            if let Slot::Pending(task) = slot {
                let mut waiting = self.notice.0.lock();
                match &mut *waiting {
                    Some(waiting) if !waiting.callbacks.is_empty() => {
                        waiting.kept = Some((self.keep)(task));
                    }
                    _ => {
                        drop(waiting);
                        drop(task);
                    }
                }
            }
        }
    }

    impl<T> Slot<T> {
        /// Moves the outcome here if the task has ended.
        fn ended(&mut self) -> &mut Self {
            if let Self::Pending(task) = self
                && let Some(outcome) = task.take_outcome()
            {
                *self = Self::Ended(outcome);
            }
            self
        }

        /// Takes the outcome, which is there once.
        fn take(&mut self) -> Result<T, TaskError> {
            let failed = matches!(self, Self::Ended(Err(_)) | Self::Taken { failed: true });
            match std::mem::replace(self, Self::Taken { failed }) {
                Self::Ended(outcome) => outcome,
                Self::Pending(_) | Self::Taken { .. } => Err(TaskError::taken()),
            }
        }
    }

    impl<T> fmt::Debug for Future<T> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_tuple("Future").field(&self.task).finish()
        }
    }
}
