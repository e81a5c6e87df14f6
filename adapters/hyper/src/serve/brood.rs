//! The tasks of one connection: it and its streams end before the server does, and a panic of one costs it alone.

use super::ConnectionError;
use heist::TaskGroup;
use pin_project_lite::pin_project;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Tells of a connection's error.
pub(super) type Report = Arc<dyn Fn(&ConnectionError) + Send + Sync>;

/// Spawns a connection's tasks into the server's groups.
///
/// Streams have a group of their own, which ends first: while a cancelled handler cleans up its connection has to be there, since hyper drops
/// the streams of one that is gone.
#[derive(Clone)]
pub(crate) struct Brood {
    pub(super) connections: TaskGroup,
    /// HTTP/1 has none.
    #[cfg_attr(not(feature = "http2"), expect(dead_code))]
    pub(super) streams: TaskGroup,
    pub(super) report: Report,
}

impl Brood {
    pub(super) fn spawn_connection(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.spawn(&self.connections, future);
    }

    #[cfg(feature = "http2")]
    pub(crate) fn spawn_stream<F>(&self, future: F)
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.spawn(&self.streams, future);
    }

    /// A group that shuts down takes no more: the future is dropped.
    fn spawn<F>(&self, group: &TaskGroup, future: F)
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let task = group.spawn(Contained {
            inner: Some(future),
            report: self.report.clone(),
        });
        drop(task);
    }

    pub(super) fn report(&self, error: &ConnectionError) {
        report(&self.report, error);
    }
}

/// The hook is foreign code, and may panic too. There is nobody left to tell.
fn report(report: &Report, error: &ConnectionError) {
    drop(catch_unwind(AssertUnwindSafe(|| report(error))));
}

pin_project! {
    /// A future whose panic is an error like others. To the group, a panic would be a reason to end everybody.
    struct Contained<F> {
        #[pin]
        inner: Option<F>,
        report: Report,
    }
}

impl<F: Future> Contained<F> {
    /// Polls the future, and drops it once it has ended.
    fn step(mut inner: Pin<&mut Option<F>>, cx: &mut Context<'_>) -> Poll<()> {
        let ended = match inner.as_mut().as_pin_mut() {
            Some(future) => future.poll(cx).is_ready(),
            None => true,
        };
        if !ended {
            return Poll::Pending;
        }
        inner.set(None);
        Poll::Ready(())
    }
}

impl<F: Future> Future for Contained<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        let inner = this.inner.as_mut();
        let told = |payload: Box<dyn Any + Send>| {
            report(this.report, &ConnectionError::panic(&*payload));
        };
        match catch_unwind(AssertUnwindSafe(|| Self::step(inner, cx))) {
            Ok(polled) => return polled,
            Err(payload) => told(payload),
        }
        let mut inner = this.inner.as_mut();
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| inner.set(None))) {
            told(payload);
        }
        Poll::Ready(())
    }
}
