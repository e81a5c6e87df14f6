//! Regions: the parts of a body that can end by a cancellation.
//!
//! ```text
//!   Region          any future, as a region: what catch_cancel, timeout and TaskGroup are made of
//!   catch_cancel    a region whose cancellation is a value
//!   Cancelled       that value; `propagate` goes on unwinding from where it stands
//! ```
//!
//! A region is polled with a [`Scope`](current::Scope) on the stack, by which the leaves in it find it. Its place in the task's tree is made
//! when something in it suspends. Polled to pending with a request received, or with something in it unwinding, it drops its future: that
//! is the cancellation. It leaves the tree after its future is gone, however that came.
//!
//! In a foreign executor, outside of any task, nobody can ask anything of a region but the region itself; it ends all the same.

use super::tree::{Key, Message, RegionRef, Target};
use super::{TaskError, TaskRef, waker};
use crate::current::{self, Scope};
use heist_io_driver::leaf;
use pin_project_lite::pin_project;
use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// A cancellation that was caught. asyncio's `CancelledError`.
///
/// # Examples
///
/// ```
/// use heist_runtime::task::catch_cancel;
/// # heist_runtime::run(async {
/// let task = heist_runtime::spawn(async {
///     match catch_cancel(std::future::pending::<()>()).await {
///         Ok(()) => unreachable!(),
///         Err(cancelled) => {
///             heist_runtime::task::yield_now().await; // tidy up, with awaits
///             cancelled.propagate().await
///         }
///     }
/// });
/// heist_runtime::task::yield_now().await;
/// task.cancel("enough");
/// assert_eq!(task.await.unwrap_err().cancel_message(), Some("enough"));
/// # }).unwrap();
/// ```
#[derive(Clone, PartialEq, Eq)]
#[doc(alias = "CancelledError")]
pub struct Cancelled(Message);

impl Cancelled {
    /// One made by hand: `propagate` it to end the nearest region, or the task, as if it had been cancelled. asyncio's
    /// `raise CancelledError(msg)`.
    pub fn new<'m>(message: impl Into<Option<&'m str>>) -> Self {
        let message = message.into().filter(|text| !text.is_empty());
        Self(message.map(Arc::from))
    }

    pub(crate) fn from_message(message: Message) -> Self {
        Self(message)
    }

    pub(crate) fn into_message(self) -> Message {
        self.0
    }

    /// What was said with the request, if anything.
    pub fn message(&self) -> Option<&str> {
        self.0.as_deref()
    }

    /// Goes on unwinding: the nearest region round this await ends cancelled, or the task does. asyncio's bare `raise`.
    ///
    /// Everything in that region is dropped where it stands. No request is used up by it.
    ///
    /// # Panics
    ///
    /// Outside of any heist task and region (in a foreign executor) there is nothing to unwind.
    #[doc(alias = "raise")]
    pub async fn propagate(self) -> ! {
        let mut cancelled = Some(self);
        std::future::poll_fn(|_| {
            if let Some(cancelled) = cancelled.take() {
                cancelled.unwind();
            }
            Poll::Pending
        })
        .await
    }

    /// As [`propagate`](Self::propagate), for futures that are polled by hand: marks the region, after which the poll has to give `Pending`.
    ///
    /// # Panics
    ///
    /// As [`propagate`](Self::propagate).
    pub fn unwind(self) {
        if let Err(cancelled) = current::unwind(self) {
            panic!("{cancelled}, and nothing round this await can be: it is in no heist task");
        }
    }
}

impl fmt::Debug for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cancelled").field(&self.message()).finish()
    }
}

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.message() {
            None => f.write_str("cancelled"),
            Some(message) => write!(f, "cancelled: {message}"),
        }
    }
}

impl std::error::Error for Cancelled {}

impl From<Cancelled> for TaskError {
    fn from(cancelled: Cancelled) -> Self {
        Self::cancelled(cancelled.0)
    }
}

/// How a region ended that did not end by itself.
#[derive(Debug)]
pub struct Unwound {
    /// What goes on unwinding, or is caught.
    pub cancelled: Cancelled,
    /// The requests that the task counts, now that the region has taken its own back. Those of regions beside it are left out.
    pub count: u32,
}

pin_project! {
    /// A future as a region, for combinators: it can be asked to end apart from the task round it.
    ///
    /// It gives `Err` if it was ended by a cancellation, whosever request that was. When it is over, however it came to that, its own
    /// request is taken back.
    #[must_use = "futures do nothing unless awaited"]
    pub struct Region<F> {
        // None once it has ended. Dropped before `place`.
        #[pin]
        inner: Option<F>,
        place: Place,
    }
}

/// Where a region stands. Leaves the tree when dropped.
#[derive(Debug, Default)]
struct Place {
    within: Option<(TaskRef, Key)>,
    /// `cancelling()` of the task when the region was first polled.
    count_at_entry: Option<u32>,
    /// Outside of any task: the region is to end when it is pending next.
    wanted: bool,
}

impl Place {
    #[inline]
    fn leave(&mut self) -> u32 {
        self.within
            .take()
            .map_or(0, |(task, key)| task.leave_region(key))
    }

    /// The region's place in the tree of the task that polls it, if it has one there.
    #[inline]
    fn key(&mut self) -> Option<Key> {
        if let Some((task, _)) = &self.within
            && !current::is_current(task)
        {
            // Moved to another task between two polls.
            self.leave();
        }
        self.within.as_ref().map(|(_, key)| *key)
    }
}

/// Tells a region's place, when dropped, where its scope has found that it stands.
struct Adopt<'a>(&'a mut Place, &'a Scope);

impl Drop for Adopt<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.0.within.is_none() {
            self.0.within = self.1.place();
        }
    }
}

impl Drop for Place {
    #[inline]
    fn drop(&mut self) {
        self.leave();
    }
}

impl<F: Future> Region<F> {
    /// A region that is not entered before its first poll.
    #[inline]
    pub fn new(future: F) -> Self {
        Self {
            inner: Some(future),
            place: Place::default(),
        }
    }

    /// Asks this region to end, between two polls of it by its own task: counted with the task, handed down when the task is pending. Only
    /// the first request counts.
    pub fn request(self: Pin<&mut Self>) {
        let place = self.project().place;
        match &place.within {
            Some((task, key)) => task.request_from(*key),
            None => place.wanted = true,
        }
    }

    /// The task's count of requests when the region was first polled, without those of regions beside it. asyncio's `cancelling()` at entry.
    #[inline]
    pub fn count_at_entry(&self) -> u32 {
        self.place.count_at_entry.unwrap_or(0)
    }

    /// The region as something that can be asked to end, from any thread. None before it was pending, after it has ended, and outside of
    /// any task.
    pub fn target(&self) -> Option<Target> {
        let (task, key) = self.place.within.as_ref()?;
        Some(Target::Region(RegionRef {
            task: task.clone(),
            key: *key,
        }))
    }
}

impl<F: Future> Future for Region<F> {
    type Output = Result<F::Output, Unwound>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let place = this.place;
        let Some(inner) = this.inner.as_mut().as_pin_mut() else {
            // Polled again after its end.
            return Poll::Pending;
        };
        let key = place.key();
        if place.count_at_entry.is_none() {
            place.count_at_entry = Some(current::cancelling());
        }
        let received = match (&place.within, key) {
            (Some((task, _)), Some(key)) => task.begin_region_poll(key),
            _ => false,
        };
        let scope = Scope::new(key);
        let (polled, forced) = {
            // If what it encloses panics, it leaves the tree all the same.
            let _adopt = Adopt(place, &scope);
            let _scope = current::enter_scope(&scope);
            let region = leaf::enter_region(received);
            let polled = inner.poll(cx);
            (polled, region.is_forced())
        };
        if let Poll::Ready(value) = polled {
            this.inner.set(None);
            place.leave();
            return Poll::Ready(Ok(value));
        }
        if place.within.is_none() {
            place.within = current::current_task().map(|task| {
                let key = scope.key_in(&task);
                (task, key)
            });
        }
        let ended = scope.take_unwinding().or_else(|| match &place.within {
            Some((task, key)) => task.suspend_region(*key, cx.waker(), forced),
            None => (place.wanted && !forced).then_some(Cancelled(None)),
        });
        let Some(cancelled) = ended else {
            return Poll::Pending;
        };
        this.inner.set(None);
        let count = place.leave();
        Poll::Ready(Err(Unwound { cancelled, count }))
    }
}

impl<F> fmt::Debug for Region<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Region")
            .field("ended", &self.inner.is_none())
            .finish_non_exhaustive()
    }
}

/// Runs `future`, and gives a cancellation of what is inside it as a value. asyncio's `try: ... except CancelledError`.
///
/// When the task is asked to end and is suspended in here, `future` is dropped at its await, destructors and all, and the answer is
/// `Err(Cancelled)`: then tidy up, with awaits, and [propagate](Cancelled::propagate), or go on as if nothing had been. Works for any future: heist's own,
/// those of other crates, `join!` and `select!`.
///
/// What `future` owns goes with it: lend it what the cleanup needs.
///
/// # Cancel safety
///
/// Dropping it drops `future`; a request that it had received and not answered goes back to the task.
///
/// # Examples
///
/// ```
/// use heist_runtime::task::catch_cancel;
/// # heist_runtime::run(async {
/// let task = heist_runtime::spawn(async {
///     match catch_cancel(std::future::pending::<&str>()).await {
///         Ok(value) => value,
///         Err(_) => "declined", // suppressed: the task goes on
///     }
/// });
/// heist_runtime::task::yield_now().await;
/// task.cancel(None);
/// assert_eq!(task.await.unwrap(), "declined");
/// # }).unwrap();
/// ```
#[track_caller]
pub fn catch_cancel<F: Future>(future: F) -> CatchCancel<F> {
    CatchCancel {
        region: Region::new(future),
        at: Location::caller(),
    }
}

pin_project! {
    /// The future of [`catch_cancel`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless awaited"]
    pub struct CatchCancel<F> {
        #[pin]
        region: Region<F>,
        at: &'static Location<'static>,
    }
}

impl<F: Future> Future for CatchCancel<F> {
    type Output = Result<F::Output, Cancelled>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let ended = this.region.poll(cx);
        ended.map(|ended| {
            ended.map_err(|unwound| {
                current::caught(Some(this.at));
                unwound.cancelled
            })
        })
    }
}

/// Awaits something that may be cancelled by others, and lets such a cancellation unwind from here, as asyncio does with every await: the answer is then
/// never an error with [`is_cancelled`](TaskError::is_cancelled).
///
/// # Cancel safety
///
/// That of `future`.
///
/// # Examples
///
/// ```
/// # heist_runtime::run(async {
/// let inner = heist_runtime::spawn(std::future::pending::<()>());
/// inner.cancel("stop");
/// let outer = heist_runtime::spawn(heist_runtime::task::propagate_cancelled(inner));
/// assert_eq!(outer.await.unwrap_err().cancel_message(), Some("stop"));
/// # }).unwrap();
/// ```
pub async fn propagate_cancelled<T>(
    future: impl Future<Output = Result<T, TaskError>>,
) -> Result<T, TaskError> {
    match future.await.map_err(TaskError::into_cancelled) {
        Ok(value) => Ok(value),
        Err(Ok(cancelled)) => cancelled.propagate().await,
        Err(Err(error)) => Err(error),
    }
}

/// What regions and their waits do to a task's tree.
impl TaskRef {
    pub(crate) fn enter_region(&self, parent: Key) -> Key {
        let rare = self.header().rare_or_new();
        let mut fields = rare.lock();
        fields.requests.tree.enter(parent, rare.poll_number())
    }

    fn begin_region_poll(&self, key: Key) -> bool {
        let rare = self.header().rare_or_new();
        let mut fields = rare.lock();
        fields.requests.tree.begin_poll(key, rare.poll_number())
    }

    /// The end of a region's poll that came back pending: takes what it has received, if this is a point of cancellation (it is none if the poll
    /// was `forced` to yield); else sees to it
    /// that a request wakes `waker`.
    fn suspend_region(
        &self,
        key: Key,
        waker: &std::task::Waker,
        forced: bool,
    ) -> Option<Cancelled> {
        let header = self.header();
        let other = (!waker::is_of(waker, header)).then_some(waker);
        let rare = header.rare_or_new();
        let mut fields = rare.lock();
        // A forced yield has woken the task. One that has not (a leaf polled on the side, with a waker that wakes nobody) is none.
        let take = !forced || !header.state.load().is_queued();
        if take && fields.requests.tree.has_received(key) {
            let requests = &mut fields.requests;
            if !requests.tree.has_moved_on(key, rare.poll_number(), false) {
                let received = requests.take_received(header, key);
                return received.map(|request| Cancelled(request.message.clone()));
            }
            // What is suspended in it now has come since: something foreign gave its value although the region was asked to end.
            let returned = requests.tree.return_received(key);
            drop(fields);
            self.keep_requests(returned);
            fields = rare.lock();
        }
        if !fields.requests.tree.wants_waker(key, other) {
            return None;
        }
        drop(fields);
        // Foreign code, so not under the lock. Nobody else is at this region meanwhile: the task runs.
        let other = other.cloned();
        let mut fields = header.rare_or_new().lock();
        let old = fields.requests.tree.set_waker(key, other);
        drop(fields);
        drop(old);
        None
    }
}
