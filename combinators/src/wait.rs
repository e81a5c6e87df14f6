//! `wait`: until all of many handles have ended, or the first, or the time is up.
//!
//! The handles stay with the caller. Each is left a waker that counts down in a [`Tally`], which wakes the waiter when what it waits for may
//! hold: he does not look at handles that have not moved. Only for the first failure is he told which child has ended, and looks at that one.

use crate::each::{self, Parent};
use heist_runtime::leaf::{self, Leaf};
use heist_runtime::task::Awaitable;
use heist_runtime::time::{self, Sleep};
use parking_lot::Mutex;
use std::fmt;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

/// Waits until the handles have ended: all of them, or as [`until`](Wait::until) and [`timeout`](Wait::timeout) say. Takes those that have out of
/// the `Vec` and gives them, in their order; those that have not stay there, in theirs. asyncio's `wait`.
///
/// It never cancels a child, not even when it is cancelled itself, and gives none of their errors: those are in the handles.
/// Always suspends at least once, even if all have ended. Costs as much for each call as there are handles, and nothing for each
/// child that ends while it waits.
///
/// Every output is a success here, save that of a panic, to [`ReturnWhen::FirstException`]; [`try_wait`] also counts an `Err`. A cancelled child
/// does not count as an exception to either.
///
/// # Errors
///
/// There is nothing to wait for: asyncio's `ValueError`.
///
/// # Cancel safety
///
/// A request ends this await alone. All handles are in the `Vec` then, as they were.
///
/// # Examples
///
/// ```
/// use heist_combinators::{ReturnWhen, wait};
/// use std::time::Duration;
/// # heist_runtime::run(async {
/// let mut tasks = vec![
///     heist_runtime::spawn(std::future::pending::<u32>()),
///     heist_runtime::spawn(async { 42 }),
/// ];
/// let done = wait(&mut tasks).until(ReturnWhen::FirstCompleted).await.unwrap();
/// assert_eq!((done.len(), tasks.len()), (1, 1));
/// for task in done {
///     assert_eq!(task.await.unwrap(), 42);
/// }
/// let late = wait(&mut tasks).timeout(Duration::from_millis(5)).await.unwrap();
/// assert!(late.is_empty());
/// # }).unwrap();
/// ```
#[doc(alias = "asyncio.wait")]
pub fn wait<A: Awaitable>(handles: &mut Vec<A>) -> Wait<'_, A> {
    Wait::new(handles, has_error)
}

/// As [`wait`], of handles that give a `Result`: an `Err` counts for [`ReturnWhen::FirstException`] too, however its task was spawned.
///
/// # Errors
///
/// There is nothing to wait for.
///
/// # Cancel safety
///
/// As [`wait`].
///
/// # Examples
///
/// ```
/// use heist_combinators::{ReturnWhen, try_wait};
/// # heist_runtime::run(async {
/// let mut tasks = vec![
///     heist_runtime::spawn(std::future::pending::<Result<(), &str>>()),
///     heist_runtime::spawn(async { Err("out of cheese") }),
/// ];
/// let done = try_wait(&mut tasks).until(ReturnWhen::FirstException).await.unwrap();
/// assert_eq!((done.len(), tasks.len()), (1, 1));
/// # }).unwrap();
/// ```
#[doc(alias = "asyncio.wait")]
pub fn try_wait<A, T, E>(handles: &mut Vec<A>) -> Wait<'_, A>
where
    A: Awaitable<Value = Result<T, E>>,
{
    Wait::new(handles, |handle| {
        has_error(handle) || handle.has_value(Result::is_err)
    })
}

/// What [`wait`] waits for. asyncio's constants of the same names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[doc(alias = "return_when")]
pub enum ReturnWhen {
    /// All have ended.
    #[default]
    #[doc(alias = "ALL_COMPLETED")]
    AllCompleted,
    /// One has ended.
    #[doc(alias = "FIRST_COMPLETED")]
    FirstCompleted,
    /// One has failed, or all have ended.
    #[doc(alias = "FIRST_EXCEPTION")]
    FirstException,
}

/// There was nothing to wait for. asyncio's `ValueError`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitError(());

impl fmt::Display for WaitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there is nothing to wait for: ask whether the handles are empty first")
    }
}

impl std::error::Error for WaitError {}

/// What [`wait`] gives: nothing happens before it is awaited.
#[must_use = "nothing waits before this is awaited"]
pub struct Wait<'a, A> {
    handles: &'a mut Vec<A>,
    /// Whether a handle that has ended counts as an exception. Of `A`, not of its value: a future that holds this is then seen to be `Send` whatever lifetimes
    /// stand in there, which the compiler forgets.
    has_failed: fn(&mut A) -> bool,
    until: ReturnWhen,
    timeout: Option<Duration>,
}

impl<'a, A: Awaitable> Wait<'a, A> {
    fn new(handles: &'a mut Vec<A>, has_failed: fn(&mut A) -> bool) -> Self {
        Self {
            handles,
            has_failed,
            until: ReturnWhen::default(),
            timeout: None,
        }
    }

    /// What to wait for. asyncio's `return_when`.
    pub fn until(mut self, until: ReturnWhen) -> Self {
        self.until = until;
        self
    }

    /// How long to wait, from the first poll on; `None`, and [`Duration::MAX`], for as long as it takes. Zero looks once, after one suspension.
    /// That the time was up is no error: what had not ended is still in the `Vec`.
    pub fn timeout(mut self, after: impl Into<Option<Duration>>) -> Self {
        self.timeout = after.into();
        self
    }
}

impl<'a, A: Awaitable> IntoFuture for Wait<'a, A> {
    type Output = Result<Vec<A>, WaitError>;
    type IntoFuture = WaitFuture<'a, A>;

    fn into_future(self) -> WaitFuture<'a, A> {
        WaitFuture {
            wait: self,
            sleep: None,
            tally: None,
            leaf: Leaf::new(),
        }
    }
}

/// The future of [`wait`] and [`try_wait`].
#[must_use = "futures do nothing unless awaited"]
pub struct WaitFuture<'a, A> {
    wait: Wait<'a, A>,
    sleep: Option<Sleep>,
    /// None before the first poll.
    tally: Option<Arc<Tally>>,
    leaf: Leaf,
}

impl<A: Awaitable> Future for WaitFuture<'_, A> {
    type Output = Result<Vec<A>, WaitError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if this.leaf.poll_enter(cx).is_pending() {
            return Poll::Pending;
        }
        if this.wait.handles.is_empty() {
            return Poll::Ready(Err(WaitError(())));
        }
        if this.tally.is_none() {
            this.sleep = this.wait.timeout.map(time::sleep);
            this.arm();
            this.leaf.suspend();
            if this.is_up(cx) || this.holds(cx) {
                cx.waker().wake_by_ref();
            }
            return Poll::Pending;
        }
        // A handle whose waker was called for no reason: none of heist's does that.
        if this.is_up(cx) || this.holds(cx) && this.really_holds(cx) {
            leaf::spend();
            let done = this.wait.handles.extract_if(.., |handle| handle.is_done());
            return Poll::Ready(Ok(done.collect()));
        }
        Poll::Pending
    }
}

impl<A: Awaitable> WaitFuture<'_, A> {
    /// Leaves a waker with each handle.
    fn arm(&mut self) {
        let count = self.wait.handles.len();
        let tally = Arc::new(Tally(Mutex::new(Count {
            left: match self.wait.until {
                ReturnWhen::FirstCompleted => 1,
                ReturnWhen::AllCompleted | ReturnWhen::FirstException => count,
            },
            ended: Vec::new(),
            failed: false,
            tells_each: self.wait.until == ReturnWhen::FirstException,
            waiter: None,
        })));
        let of_all = Waker::from(tally.clone());
        for (index, handle) in self.wait.handles.iter_mut().enumerate() {
            let is_done = match self.wait.until {
                ReturnWhen::FirstException => {
                    let waker = each::waker_of(&tally, index);
                    handle.poll_ended(&mut Context::from_waker(&waker))
                }
                _ => handle.poll_ended(&mut Context::from_waker(&of_all)),
            };
            if is_done {
                tally.note(index);
            }
        }
        self.tally = Some(tally);
    }

    fn is_up(&mut self, cx: &mut Context<'_>) -> bool {
        let sleep = self.sleep.as_mut();
        sleep.is_some_and(|sleep| Pin::new(sleep).poll(cx).is_ready())
    }

    /// Whether what is waited for has come, as far as the tally knows; if not, it wakes the waiter when it has.
    fn holds(&mut self, cx: &Context<'_>) -> bool {
        let Some(tally) = &self.tally else {
            return false;
        };
        let waker = cx.waker().clone();
        let mut count = tally.0.lock();
        let ended = mem::take(&mut count.ended);
        let mut holds = count.left == 0 || count.failed;
        let old = count.waiter.replace(waker);
        drop(count);
        drop(old);
        for index in ended {
            if let Some(handle) = self.wait.handles.get_mut(index)
                && (self.wait.has_failed)(handle)
            {
                tally.0.lock().failed = true;
                holds = true;
            }
        }
        holds
    }

    /// Whether it has come indeed; if not, the counting begins anew.
    fn really_holds(&mut self, cx: &Context<'_>) -> bool {
        let mut handles = self.wait.handles.iter();
        let holds = match self.wait.until {
            ReturnWhen::FirstException if self.has_failed() => true,
            ReturnWhen::AllCompleted | ReturnWhen::FirstException => handles.all(A::is_done),
            ReturnWhen::FirstCompleted => handles.any(A::is_done),
        };
        if !holds {
            self.arm();
            if self.holds(cx) {
                cx.waker().wake_by_ref();
            }
        }
        holds
    }

    fn has_failed(&self) -> bool {
        self.tally
            .as_ref()
            .is_some_and(|tally| tally.0.lock().failed)
    }
}

/// Whether the handle has ended with an error. A gather that was cancelled has: asyncio's `exception` gives that, too.
fn has_error<A: Awaitable>(handle: &mut A) -> bool {
    !handle.is_cancelled() && handle.error().is_some()
}

/// What the children's ends are counted in.
struct Tally(Mutex<Count>);

struct Count {
    /// How many more have to end before the waiter is told.
    left: usize,
    /// Those who have ended, and at whom the waiter has not looked.
    ended: Vec<usize>,
    /// One of those at whom he has looked failed.
    failed: bool,
    /// The waiter is told of each, and looks at it.
    tells_each: bool,
    waiter: Option<Waker>,
}

impl Tally {
    fn note(&self, index: usize) {
        let mut count = self.0.lock();
        count.left = count.left.saturating_sub(1);
        if count.tells_each {
            count.ended.push(index);
        }
        let tells = count.left == 0 || count.tells_each;
        let waiter = tells.then(|| count.waiter.take()).flatten();
        drop(count);
        if let Some(waiter) = waiter {
            waiter.wake();
        }
    }
}

/// The waker of all children, where it does not matter which one it was.
impl Wake for Tally {
    fn wake(self: Arc<Self>) {
        self.note(0);
    }
}

impl Parent for Tally {
    fn child_ended(self: Arc<Self>, index: usize, _: &Waker) {
        self.note(index);
    }
}

impl<A> fmt::Debug for Wait<'_, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wait")
            .field("handles", &self.handles.len())
            .field("until", &self.until)
            .field("timeout", &self.timeout)
            .finish()
    }
}

impl<A> fmt::Debug for WaitFuture<'_, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.wait.fmt(f)
    }
}
