//! A task's handle that waits and nothing else.

use heist::task::TaskEnded;
use heist::{Task, TaskError};
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// The handle of a task that openraft spawned. Dropped, it lets the task run on.
///
/// Unlike a [`heist::Task`] it does not hand a cancellation on: whoever awaits it is cancelled alone.
///
/// # Cancel safety
///
/// Nothing is lost: await it again.
///
/// # Examples
///
/// ```
/// use heist_openraft::{HeistJoinHandle, HeistRuntime};
/// use openraft_rt::AsyncRuntime;
///
/// # heist::run(async {
/// let handle: HeistJoinHandle<u32> = HeistRuntime::spawn(async { panic!("oh no") });
/// let error = handle.await.unwrap_err();
/// assert!(HeistRuntime::is_panic(&error));
/// # }).unwrap();
/// ```
pub struct HeistJoinHandle<T> {
    ended: TaskEnded,
    task: Task<T>,
}

impl<T> HeistJoinHandle<T> {
    pub(crate) fn new(task: Task<T>) -> Self {
        Self {
            ended: task.ended(),
            task,
        }
    }
}

impl<T> Future for HeistJoinHandle<T> {
    type Output = Result<T, TaskError>;

    /// The outcome is given once; awaited again, the handle says so with an error.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        ready!(Pin::new(&mut self.ended).poll(cx));
        Poll::Ready(self.task.result())
    }
}

impl<T> fmt::Debug for HeistJoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HeistJoinHandle").field(&self.task).finish()
    }
}
