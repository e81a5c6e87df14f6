//! A test, cancelled at each of its awaits in turn.

use super::report::Kind;
use super::{Builder, Failure, Sim};
use crate::current;
use crate::task::{TaskError, TaskRef};
use std::fmt::Write;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

/// What still lives so long after the test is left behind.
const SETTLED: Duration = Duration::from_secs(3_600);

impl Builder {
    /// Runs `test` again and again: its task is cancelled at its first await, then at its second, and so on, until it ends before. An await is a
    /// poll of the task that ends without a value.
    ///
    /// After each run `check` is given the outcome, to look for what the cancellation may have lost: an item taken and not handed on, a
    /// permit not given back. Tasks that live on after that for an hour are left behind, which is a failure too. Gives the number of awaits.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run); the message says at which await.
    ///
    /// # Examples
    ///
    /// ```
    /// use heist_runtime::sim::Builder;
    /// use heist_runtime::task::yield_now;
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
    ///
    /// struct Open(Arc<AtomicU32>);
    /// impl Drop for Open {
    ///     fn drop(&mut self) {
    ///         self.0.fetch_sub(1, SeqCst);
    ///     }
    /// }
    ///
    /// let open = Arc::new(AtomicU32::new(0));
    /// let counted = open.clone();
    /// let awaits = Builder::new()
    ///     .cancel_at_every_await(
    ///         move |_| {
    ///             open.fetch_add(1, SeqCst);
    ///             let guard = Open(open.clone());
    ///             async move {
    ///                 yield_now().await;
    ///                 yield_now().await;
    ///                 drop(guard);
    ///             }
    ///         },
    ///         move |_| assert_eq!(counted.load(SeqCst), 0),
    ///     )
    ///     .unwrap();
    /// assert_eq!(awaits, 2);
    /// ```
    pub fn cancel_at_every_await<F, Fut, C>(&self, test: F, check: C) -> Result<usize, Failure>
    where
        F: Fn(Sim) -> Fut + 'static,
        Fut: Future + Send + 'static,
        Fut::Output: Send + 'static,
        C: Fn(Result<Fut::Output, TaskError>) + Send + Sync + 'static,
    {
        let (test, check) = (Rc::new(test), Arc::new(check));
        for at in 1.. {
            let reached = Arc::new(AtomicBool::new(false));
            let (test, check, mark) = (test.clone(), check.clone(), reached.clone());
            let run = self.run(move |sim| {
                let body = CancelAt {
                    body: Box::pin(test(sim)),
                    left: at,
                    reached: mark,
                };
                async move {
                    check(crate::spawn(body).await);
                    left_behind().await
                }
            });
            let cancelled = reached.load(Relaxed);
            let where_ = || format!("cancelled at await {at}");
            match run {
                Ok(run) if !run.value.is_empty() => {
                    return Err(Failure::new(
                        run.seed,
                        Kind::LeftBehind(where_(), run.value),
                    ));
                }
                Ok(_) if !cancelled => return Ok(at - 1),
                Ok(_) => {}
                Err(failure) if cancelled => return Err(failure.at(where_())),
                Err(failure) => return Err(failure),
            }
        }
        unreachable!("a run has no more awaits than turns, which are bounded")
    }
}

/// The tasks that live on, but for the one that asks.
async fn left_behind() -> String {
    crate::time::sleep(SETTLED).await;
    let me = current::current_task();
    let others = |task: &TaskRef| Some(task) != me.as_ref();
    let mut text = String::new();
    let tasks = crate::all_tasks().into_iter();
    for task in tasks.filter(others) {
        // Infallible: it is a string.
        let _ = write!(text, "\n  {task:?}");
    }
    text
}

/// Cancels its own task when it has been pending so many times.
struct CancelAt<F> {
    body: Pin<Box<F>>,
    left: usize,
    reached: Arc<AtomicBool>,
}

impl<F: Future> Future for CancelAt<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let polled = self.body.as_mut().poll(cx);
        if polled.is_pending() && self.left > 0 {
            self.left -= 1;
            if self.left == 0
                && let Some(task) = current::current_task()
            {
                self.reached.store(true, Relaxed);
                task.cancel("the simulation cancels at each await");
            }
        }
        polled
    }
}
