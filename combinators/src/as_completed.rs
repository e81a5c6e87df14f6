//! `as_completed`: children in the order in which they end.
//!
//! A child's waker writes down that it has ended and wakes one of those who wait; the outcome stays in its handle until somebody takes it. The
//! deadline is a timer with a waker of its own, not one of those who wait: it strikes whether anybody waits or not, and what ends after it is
//! not given any more.
//!
//! Who holds whom: the iterators, and the futures of `next`, hold the set; the wakers only know of it. With the last iterator the handles go, and the
//! children run on by themselves.

use crate::each;
use crate::timeout::Elapsed;
use futures_core::Stream;
use heist_runtime::TaskError;
use heist_runtime::leaf::{self, Leaf};
use heist_runtime::task::Awaitable;
use heist_runtime::time::{self, Sleep};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::fmt;
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

/// Gives `handles` one by one as they end, each once, with its index among the arguments. asyncio's `as_completed`.
///
/// Of handles of the same thing ([`Shared`](heist_runtime::task::Shared)) only the first counts. Each child costs a constant amount of time and
/// memory. It is a [`Stream`] too.
///
/// # Examples
///
/// ```
/// use heist_combinators::as_completed;
/// # heist_runtime::run(async {
/// let (promise, late) = heist_runtime::task::promise();
/// let (first, early) = heist_runtime::task::promise();
/// first.set("early").unwrap();
/// let completed = as_completed([late, early]);
/// let (index, value) = completed.next().await.unwrap().unwrap();
/// assert_eq!((index, value.unwrap()), (1, "early"));
/// promise.set("late").unwrap();
/// let (index, value) = completed.next().await.unwrap().unwrap();
/// assert_eq!((index, value.unwrap()), (0, "late"));
/// assert!(completed.next().await.is_none());
/// # }).unwrap();
/// ```
#[doc(alias = "asyncio.as_completed")]
pub fn as_completed<I>(handles: I) -> AsCompleted<I::Item>
where
    I: IntoIterator,
    I::Item: Awaitable,
{
    let mut seen = HashSet::new();
    let (kept, again): (Vec<_>, Vec<_>) = handles
        .into_iter()
        .enumerate()
        .partition(|(_, handle)| seen.insert(handle.identity()));
    again.into_iter().for_each(each::discard);
    AsCompleted {
        set: Set::new(kept),
        next: None,
    }
}

/// What [`as_completed`] gives. Clones share the children: each is given to one of those who ask.
#[must_use = "nothing is given before `next` is awaited"]
pub struct AsCompleted<A: Awaitable> {
    set: Arc<Set<A>>,
    /// That of the stream.
    next: Option<Next<A>>,
}

impl<A: Awaitable> AsCompleted<A> {
    /// Gives no more children, from `after` on from now, than have ended by then: each further [`next`](Self::next) is [`Elapsed`]. No child is
    /// cancelled. `None`, and [`Duration::MAX`], for as long as it takes.
    pub fn timeout(self, after: impl Into<Option<Duration>>) -> Self {
        if let Some(after) = after.into() {
            Set::expire_after(&self.set, after);
        }
        self
    }

    /// Waits for the next child that ends, and takes it; `None`, without suspending, after as many calls as there are children.
    ///
    /// Any number of tasks may do so at once. A child that has ended already is given without suspending; but those that had
    /// ended before [`as_completed`] was called are noticed soon, when the caller has suspended once, as in asyncio.
    ///
    /// # Errors
    ///
    /// The time was up: each call beyond the children that had ended by then.
    ///
    /// # Cancel safety
    ///
    /// A call that is cancelled, or dropped after its first poll, counts as one, but takes no child: the last children are not given then, as in
    /// asyncio. As a [`Stream`] nothing is counted before it is given.
    pub fn next(&self) -> Next<A> {
        Next {
            set: self.set.clone(),
            turn: Turn::New,
            leaf: Leaf::new(),
        }
    }
}

impl<A: Awaitable> Clone for AsCompleted<A> {
    fn clone(&self) -> Self {
        Self {
            set: self.set.clone(),
            next: None,
        }
    }
}

impl<A: Awaitable> fmt::Debug for AsCompleted<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.set.state.lock();
        f.debug_struct("AsCompleted")
            .field("children", &state.children.len())
            .field("left", &state.left)
            .field("expired", &state.expired)
            .finish()
    }
}

/// What a child gave: its index among the arguments, and its outcome.
pub type Completed<T> = (usize, Result<T, TaskError>);

impl<A: Awaitable> Stream for AsCompleted<A> {
    type Item = Result<Completed<A::Value>, Elapsed>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut next = self.next.take().unwrap_or_else(|| AsCompleted::next(&self));
        let polled = Pin::new(&mut next).poll(cx);
        if polled.is_pending() {
            self.next = Some(next);
        }
        polled
    }
}

/// The future of [`AsCompleted::next`].
#[must_use = "futures do nothing unless awaited"]
pub struct Next<A: Awaitable> {
    set: Arc<Set<A>>,
    turn: Turn,
    leaf: Leaf,
}

enum Turn {
    /// Not counted yet.
    New,
    /// Counted. The ticket is that under which a waker was left, if one was.
    Waits(Option<u64>),
    Over,
}

impl<A: Awaitable> Unpin for Next<A> {}

impl<A: Awaitable> Future for Next<A> {
    type Output = Option<Result<Completed<A::Value>, Elapsed>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if this.leaf.poll_enter(cx).is_pending() {
            return Poll::Pending;
        }
        let waker = cx.waker().clone();
        let mut state = this.set.state.lock();
        let ticket = match this.turn {
            Turn::New if state.claimed < state.children.len() => {
                state.claimed += 1;
                None
            }
            Turn::New | Turn::Over => {
                this.turn = Turn::Over;
                return Poll::Ready(None);
            }
            Turn::Waits(ticket) => ticket,
        };
        let old = ticket.and_then(|ticket| state.waiters.remove(&ticket));
        let ended = match state.hushed {
            true => None,
            false => state.ended.pop_front(),
        };
        let found = match ended {
            Some(child) => Ok(child),
            None if state.expired && !state.hushed => Err(Elapsed(())),
            None => {
                let ticket = ticket.unwrap_or_else(|| state.new_ticket());
                state.waiters.insert(ticket, waker);
                this.turn = Turn::Waits(Some(ticket));
                drop(state);
                drop(old);
                this.leaf.suspend();
                return Poll::Pending;
            }
        };
        this.turn = Turn::Over;
        let found = found.map(|child| {
            let child = &mut state.children[child];
            (child.index, child.handle.take())
        });
        drop(state);
        drop(old);
        leaf::spend();
        Poll::Ready(Some(found.map(|(index, handle)| {
            let handle = handle.map(|mut handle| handle.take());
            (
                index,
                handle.expect("a child is written down once, and has its handle until it is taken"),
            )
        })))
    }
}

impl<A: Awaitable> Drop for Next<A> {
    fn drop(&mut self) {
        let Turn::Waits(Some(ticket)) = self.turn else {
            return;
        };
        let mut state = self.set.state.lock();
        let mine = state.waiters.remove(&ticket);
        // Woken, and gone before it looked: what it was woken for is for another.
        let other = match mine {
            None if !state.ended.is_empty() => state.waiters.pop_first(),
            _ => None,
        };
        drop(state);
        each::discard(mine);
        if let Some((_, waker)) = other {
            each::discard(each::caught(|| waker.wake()));
        }
    }
}

impl<A: Awaitable> fmt::Debug for Next<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Next").finish_non_exhaustive()
    }
}

struct Set<A: Awaitable> {
    state: Mutex<State<A>>,
    timer: Mutex<Timer>,
}

struct State<A> {
    children: Vec<Child<A>>,
    /// Those that have ended and that nobody has taken, in that order.
    ended: VecDeque<usize>,
    /// How many have not ended.
    left: usize,
    /// How many calls of `next` have begun.
    claimed: usize,
    expired: bool,
    /// Some had ended before: nobody is told of anything before that is noticed.
    hushed: bool,
    /// Those who wait, by tickets: the lowest came first.
    waiters: BTreeMap<u64, Waker>,
    next_ticket: u64,
}

impl<A> State<A> {
    fn new_ticket(&mut self) -> u64 {
        self.next_ticket += 1;
        self.next_ticket
    }
}

struct Child<A> {
    /// Among the arguments.
    index: usize,
    /// None once it was given.
    handle: Option<A>,
    /// Its end was written down.
    told: bool,
}

#[derive(Default)]
struct Timer {
    /// None if there is none, while somebody has it in hand, and when it is over.
    sleep: Option<Sleep>,
    /// Its waker was called while somebody had it in hand.
    rang: bool,
}

impl<A: Awaitable> Set<A> {
    fn new(handles: Vec<(usize, A)>) -> Arc<Self> {
        let count = handles.len();
        let (indexes, handles): (Vec<_>, Vec<_>) = handles.into_iter().unzip();
        let child = |index| Child {
            index,
            handle: None,
            told: false,
        };
        let set = Arc::new(Self {
            state: Mutex::new(State {
                children: indexes.into_iter().map(child).collect(),
                ended: VecDeque::new(),
                left: count,
                claimed: 0,
                expired: false,
                hushed: false,
                waiters: BTreeMap::new(),
                next_ticket: 0,
            }),
            timer: Mutex::new(Timer::default()),
        });
        for (child, mut handle) in handles.into_iter().enumerate() {
            let bell = Waker::from(Arc::new(Bell {
                set: Arc::downgrade(&set),
                child,
            }));
            let is_done = handle.poll_ended(&mut Context::from_waker(&bell));
            set.state.lock().children[child].handle = Some(handle);
            if is_done {
                set.state.lock().hushed = true;
                set.child_ended(child);
            }
        }
        if set.state.lock().hushed {
            let notice = Notice(set.clone());
            each::soon(move || drop(notice));
        }
        set
    }

    /// Those that had ended before are noticed.
    fn notice(&self) {
        let mut state = self.state.lock();
        state.hushed = false;
        let wanted = if state.expired {
            usize::MAX
        } else {
            state.ended.len()
        };
        let waiters: Vec<_> = std::iter::from_fn(|| state.waiters.pop_first())
            .take(wanted)
            .collect();
        drop(state);
        wake_all(waiters);
    }

    fn child_ended(&self, child: usize) {
        let mut state = self.state.lock();
        if state.expired || mem::replace(&mut state.children[child].told, true) {
            return;
        }
        state.ended.push_back(child);
        state.left -= 1;
        let was_last = state.left == 0;
        let waiter = state.waiters.pop_first();
        drop(state);
        if was_last {
            let sleep = self.timer.lock().sleep.take();
            drop(sleep);
        }
        if let Some((_, waker)) = waiter {
            waker.wake();
        }
    }

    fn expire_after(set: &Arc<Self>, after: Duration) {
        if set.state.lock().left > 0 {
            set.attend(
                time::sleep(after),
                &Waker::from(Arc::new(Alarm(Arc::downgrade(set)))),
            );
        }
    }

    /// Puts the timer, which is out, back to wait, or strikes.
    fn attend(&self, mut sleep: Sleep, alarm: &Waker) {
        loop {
            let polled = {
                // The budget, and the interruptions, of the task that happens to be polled here are not the timer's.
                let _aside = leaf::set_aside();
                Pin::new(&mut sleep).poll(&mut Context::from_waker(alarm))
            };
            if polled.is_ready() {
                return self.expire();
            }
            let mut timer = self.timer.lock();
            if !mem::take(&mut timer.rang) {
                timer.sleep = Some(sleep);
                break;
            }
        }
        // The last child may have ended while the timer was out.
        if self.state.lock().left == 0 {
            let sleep = self.timer.lock().sleep.take();
            drop(sleep);
        }
    }

    fn expire(&self) {
        let mut state = self.state.lock();
        if state.left == 0 {
            return;
        }
        state.expired = true;
        let waiters = mem::take(&mut state.waiters);
        drop(state);
        wake_all(waiters);
    }
}

fn wake_all(waiters: impl IntoIterator<Item = (u64, Waker)>) {
    for (_, waker) in waiters {
        each::discard(each::caught(|| waker.wake()));
    }
}

impl<A: Awaitable> Drop for Set<A> {
    fn drop(&mut self) {
        let children = mem::take(&mut self.state.get_mut().children);
        children.into_iter().for_each(each::discard);
    }
}

/// What is to be noticed soon; or now, if nobody will call back.
struct Notice<A: Awaitable>(Arc<Set<A>>);

impl<A: Awaitable> Drop for Notice<A> {
    fn drop(&mut self) {
        self.0.notice();
    }
}

/// A child's waker.
struct Bell<A: Awaitable> {
    set: Weak<Set<A>>,
    child: usize,
}

impl<A: Awaitable> Wake for Bell<A> {
    fn wake(self: Arc<Self>) {
        if let Some(set) = self.set.upgrade() {
            set.child_ended(self.child);
        }
    }
}

/// The timer's waker.
struct Alarm<A: Awaitable>(Weak<Set<A>>);

impl<A: Awaitable> Wake for Alarm<A> {
    fn wake(self: Arc<Self>) {
        let Some(set) = self.0.upgrade() else { return };
        let mut timer = set.timer.lock();
        let Some(sleep) = timer.sleep.take() else {
            timer.rang = true;
            return;
        };
        drop(timer);
        set.attend(sleep, &Waker::from(self));
    }
}
