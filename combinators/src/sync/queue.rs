//! Queues between tasks.
//!
//! A `put` wakes one getter, a `get` one putter; whoever is woken looks again when it runs, and if a newcomer was faster it gets in line
//! anew, behind the others. That is asyncio's rule. It keeps the item in the queue until somebody returns it, so that a getter that is
//! cancelled after its wake-up leaves everything in its place; it then wakes the next, if there is still something to get.
//!
//! Why nobody sleeps beside an item: at any time, if somebody waits ungranted, at least as many are granted as there are items. A `put`
//! adds one to both, a `get` by a newcomer takes one item, a granted getter takes one of each or, leaving without, grants another in
//! its place; and only who saw no item gets in line. The same holds for putters and room.

pub mod store;

use super::wait::{Look, Monitor, Waiting};
use super::wait_list::{WaitList, Wakes};
use std::fmt;
use std::marker::PhantomData;
use store::{Fifo, Lifo, Lowest, Store};

/// Gives the oldest item first. asyncio's `Queue`. The methods are those of [`QueueOf`].
pub type Queue<T> = QueueOf<Fifo<T>>;

/// Gives the lowest item first, by `Ord`; asyncio's `PriorityQueue`. The methods are those of [`QueueOf`].
///
/// Items that compare equal come in no promised order. `Ord` of the items runs with the queue locked: it must not use the queue.
/// [`std::cmp::Reverse`] gives the highest first.
///
/// # Examples
///
/// ```
/// use heist_combinators::sync::PriorityQueue;
///
/// # heist_runtime::run(async {
/// let queue = PriorityQueue::new(0);
/// for job in [(3, "sweep"), (1, "fire"), (2, "mail")] {
///     queue.put(job).await.unwrap();
/// }
/// assert_eq!(queue.get().await, Ok((1, "fire")));
/// # }).unwrap();
/// ```
pub type PriorityQueue<T> = QueueOf<Lowest<T>>;

/// Gives the newest item first. asyncio's `LifoQueue`. The methods are those of [`QueueOf`].
///
/// # Examples
///
/// ```
/// use heist_combinators::sync::LifoQueue;
///
/// let queue = LifoQueue::new(0);
/// queue.put_nowait("first").unwrap();
/// queue.put_nowait("second").unwrap();
/// assert_eq!(queue.get_nowait(), Ok("second"));
/// ```
pub type LifoQueue<T> = QueueOf<Lifo<T>>;

/// What [`Queue`], [`PriorityQueue`] and [`LifoQueue`] have in common: all but the order in which items come out.
///
/// Any number of tasks and threads put and get. A queue with a `maxsize` makes putters wait while it is full. Consumers that say
/// [`task_done`](QueueOf::task_done) after each item let others wait for all work to be done: [`join`](QueueOf::join).
///
/// # Examples
///
/// ```
/// use heist_combinators::sync::Queue;
/// use std::sync::Arc;
///
/// # heist_runtime::run(async {
/// let queue = Arc::new(Queue::new(2));
/// let worker = heist_runtime::spawn({
///     let queue = queue.clone();
///     async move {
///         let mut sum = 0;
///         while let Ok(number) = queue.get().await {
///             sum += number;
///             queue.task_done().unwrap();
///         }
///         sum
///     }
/// });
/// for number in 1..=10 {
///     queue.put(number).await.unwrap();
/// }
/// queue.join().await;
/// queue.shutdown(false);
/// assert_eq!(worker.await.unwrap(), 55);
/// # }).unwrap();
/// ```
pub struct QueueOf<S: Store> {
    maxsize: usize,
    state: Monitor<State<S>>,
}

struct State<S> {
    items: S,
    maxsize: usize,
    unfinished: usize,
    shut_down: bool,
    getters: WaitList,
    putters: WaitList,
    /// Invariant: nobody waits here ungranted while nothing is unfinished.
    joiners: WaitList,
}

impl<S: Store> QueueOf<S> {
    /// An empty queue for at most `maxsize` items; 0 means any number. asyncio's `Queue(maxsize)`.
    #[must_use]
    pub fn new(maxsize: usize) -> Self {
        Self {
            maxsize,
            state: Monitor::new(State {
                items: S::default(),
                maxsize,
                unfinished: 0,
                shut_down: false,
                getters: WaitList::new(),
                putters: WaitList::new(),
                joiners: WaitList::new(),
            }),
        }
    }

    /// Puts an item, once there is room. asyncio's `Queue.put`.
    ///
    /// Does not suspend if there is room.
    ///
    /// # Errors
    ///
    /// [`QueueShutDown`] with the item, if the queue is shut down, now or while this waits.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it returned, nothing was put, and the item drops with the future. If it had been told of room, another putter is.
    pub async fn put(&self, item: S::Item) -> Result<(), QueueShutDown<S::Item>> {
        self.state
            .wait(Put::<S> {
                item: Some(item),
                _store: PhantomData,
            })
            .await
    }

    /// Puts an item if there is room. asyncio's `Queue.put_nowait`.
    ///
    /// # Errors
    ///
    /// [`PutError`] with the item, if the queue is full (asyncio's `QueueFull`) or shut down (`QueueShutDown`).
    pub fn put_nowait(&self, item: S::Item) -> Result<(), PutError<S::Item>> {
        self.state.update(|state, wakes| {
            if state.shut_down || state.is_full() {
                return Err(PutError {
                    item,
                    shut_down: state.shut_down,
                });
            }
            state.put(item, wakes);
            Ok(())
        })
    }

    /// Takes the next item, once there is one. asyncio's `Queue.get`.
    ///
    /// Does not suspend if there is one.
    ///
    /// # Errors
    ///
    /// [`QueueShutDown`] if the queue is shut down, now or while this waits, and no item is left.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it returned, nothing was taken: the item is in the queue, in its place. If it had been told of an item, another
    /// getter is.
    pub async fn get(&self) -> Result<S::Item, QueueShutDown> {
        self.state.wait(Get(PhantomData::<S>)).await
    }

    /// Takes the next item if there is one. asyncio's `Queue.get_nowait`.
    ///
    /// # Errors
    ///
    /// [`GetError`] if the queue is empty (asyncio's `QueueEmpty`), which may be for good (`QueueShutDown`).
    pub fn get_nowait(&self) -> Result<S::Item, GetError> {
        self.state.update(|state, wakes| {
            state.take(wakes).ok_or(GetError {
                shut_down: state.shut_down,
            })
        })
    }

    /// Says that the work on an item that was got is done. asyncio's `Queue.task_done`.
    ///
    /// # Errors
    ///
    /// [`TooManyDone`] if it was said as often as items were put: asyncio's `ValueError`.
    pub fn task_done(&self) -> Result<(), TooManyDone> {
        self.state.update(|state, wakes| {
            if state.unfinished == 0 {
                return Err(TooManyDone(()));
            }
            state.finish(1, wakes);
            Ok(())
        })
    }

    /// Waits until [`task_done`](QueueOf::task_done) was said for every item that was put. asyncio's `Queue.join`.
    ///
    /// Does not suspend if that is so. Goes on as soon as it was so once, even if more was put since.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the wait; nothing is lost.
    pub async fn join(&self) {
        self.state.wait(AllDone(PhantomData::<S>)).await;
    }

    /// Ends the queue: nothing can be put any more. asyncio's `Queue.shutdown`, since Python 3.13.
    ///
    /// All waiting putters fail. Getters take what is left and fail then. With `immediate`, what is left is dropped, and counts as
    /// [done](QueueOf::task_done), so that a [`join`](QueueOf::join) waits only for items that were got.
    ///
    /// # Examples
    ///
    /// ```
    /// use heist_combinators::sync::Queue;
    ///
    /// # heist_runtime::run(async {
    /// let queue = Queue::new(0);
    /// queue.put("last").await.unwrap();
    /// queue.shutdown(false); // nothing more is put; what is there is still got
    /// assert!(queue.put("late").await.is_err());
    /// assert_eq!(queue.get().await, Ok("last"));
    /// assert!(queue.get().await.is_err());
    /// # }).unwrap();
    /// ```
    pub fn shutdown(&self, immediate: bool) {
        // The items are dropped after the lock was given back.
        let _left = self.state.update(|state, wakes| {
            state.shut_down = true;
            let left = immediate.then(|| std::mem::take(&mut state.items));
            if let Some(left) = &left {
                state.finish(left.count(), wakes);
            }
            state.getters.grant_all(wakes);
            state.putters.grant_all(wakes);
            left
        });
    }

    /// Whether the queue was [shut down](QueueOf::shutdown).
    #[must_use]
    pub fn is_shut_down(&self) -> bool {
        self.state.read(|state| state.shut_down)
    }

    /// How many items are in the queue. asyncio's `Queue.qsize`.
    #[must_use]
    #[doc(alias = "len")]
    pub fn qsize(&self) -> usize {
        self.state.read(|state| state.items.count())
    }

    /// Whether no item is in the queue. asyncio's `Queue.empty`.
    #[must_use]
    #[doc(alias = "is_empty")]
    pub fn empty(&self) -> bool {
        self.qsize() == 0
    }

    /// Whether as many items are in the queue as it may hold; never of an unbounded one. asyncio's `Queue.full`.
    #[must_use]
    #[doc(alias = "is_full")]
    pub fn full(&self) -> bool {
        self.state.read(State::is_full)
    }

    /// How many items the queue may hold; 0 means any number. asyncio's `Queue.maxsize`.
    #[must_use]
    pub fn maxsize(&self) -> usize {
        self.maxsize
    }
}

impl<S: Store> State<S> {
    fn is_full(&self) -> bool {
        self.maxsize != 0 && self.items.count() >= self.maxsize
    }

    /// There is room. The item comes last: should a comparison panic, the item is in all the same, and everything else is done.
    fn put(&mut self, item: S::Item, wakes: &mut Wakes) {
        self.unfinished += 1;
        self.getters.grant_first(wakes);
        self.items.push(item);
    }

    /// Likewise last.
    fn take(&mut self, wakes: &mut Wakes) -> Option<S::Item> {
        if self.items.count() == 0 {
            return None;
        }
        self.putters.grant_first(wakes);
        self.items.pop()
    }

    fn finish(&mut self, items: usize, wakes: &mut Wakes) {
        // Fewer, if `task_done` was called for items that nobody got.
        self.unfinished = self.unfinished.saturating_sub(items);
        if self.unfinished == 0 {
            self.joiners.grant_all(wakes);
        }
    }
}

/// For an item.
struct Get<S>(PhantomData<S>);

impl<S: Store> Waiting for Get<S> {
    type State = State<S>;
    type Output = Result<S::Item, QueueShutDown>;

    fn line(state: &mut State<S>) -> &mut WaitList {
        &mut state.getters
    }

    fn look(&mut self, state: &mut State<S>, _: bool, wakes: &mut Wakes) -> Look<Self::Output> {
        match state.take(wakes) {
            Some(item) => Look::Done(Ok(item)),
            None if state.shut_down => Look::Done(Err(QueueShutDown { item: () })),
            None => Look::Wait,
        }
    }

    fn pass_on(&mut self, state: &mut State<S>, wakes: &mut Wakes) {
        if state.items.count() > 0 {
            state.getters.grant_first(wakes);
        }
    }
}

/// For room.
struct Put<S: Store> {
    /// Invariant: there until the wait is over.
    item: Option<S::Item>,
    _store: PhantomData<S>,
}

impl<S: Store> Waiting for Put<S> {
    type State = State<S>;
    type Output = Result<(), QueueShutDown<S::Item>>;

    fn line(state: &mut State<S>) -> &mut WaitList {
        &mut state.putters
    }

    fn look(&mut self, state: &mut State<S>, _: bool, wakes: &mut Wakes) -> Look<Self::Output> {
        if !state.shut_down && state.is_full() {
            return Look::Wait;
        }
        let Some(item) = self.item.take() else {
            unreachable!("asked again after it was done")
        };
        if state.shut_down {
            return Look::Done(Err(QueueShutDown { item }));
        }
        state.put(item, wakes);
        Look::Done(Ok(()))
    }

    fn pass_on(&mut self, state: &mut State<S>, wakes: &mut Wakes) {
        if !state.is_full() {
            state.putters.grant_first(wakes);
        }
    }
}

/// For all work to be done.
struct AllDone<S>(PhantomData<S>);

impl<S: Store> Waiting for AllDone<S> {
    type State = State<S>;
    type Output = ();

    fn line(state: &mut State<S>) -> &mut WaitList {
        &mut state.joiners
    }

    fn look(&mut self, state: &mut State<S>, granted: bool, _: &mut Wakes) -> Look<()> {
        if granted || state.unfinished == 0 {
            Look::Done(())
        } else {
            Look::Wait
        }
    }

    /// All the others were told as well.
    fn pass_on(&mut self, _: &mut State<S>, _: &mut Wakes) {}
}

/// An unbounded queue.
impl<S: Store> Default for QueueOf<S> {
    fn default() -> Self {
        Self::new(0)
    }
}

impl<S: Store> fmt::Debug for QueueOf<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.state.read(|state| {
            f.debug_struct("Queue")
                .field("qsize", &state.items.count())
                .field("maxsize", &self.maxsize)
                .field("unfinished", &state.unfinished)
                .field("getters", &state.getters.len())
                .field("putters", &state.putters.len())
                .field("shut_down", &state.shut_down)
                .finish()
        })
    }
}

/// The queue was shut down: nothing can be put, or nothing is left to get. asyncio's `QueueShutDown`.
///
/// From a `put` it holds the item.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct QueueShutDown<T = ()> {
    item: T,
}

impl<T> QueueShutDown<T> {
    /// The item that could not be put.
    #[must_use]
    pub fn into_item(self) -> T {
        self.item
    }
}

impl<T> fmt::Debug for QueueShutDown<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueShutDown").finish_non_exhaustive()
    }
}

impl<T> fmt::Display for QueueShutDown<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the queue was shut down")
    }
}

impl<T> std::error::Error for QueueShutDown<T> {}

/// The item could not be put at once. asyncio's `QueueFull`, or `QueueShutDown`.
#[derive(Clone, Copy, PartialEq, Eq)]
#[doc(alias = "QueueFull")]
pub struct PutError<T> {
    item: T,
    shut_down: bool,
}

impl<T> PutError<T> {
    /// Whether the queue is full, and a later try may succeed.
    #[must_use]
    pub fn is_full(&self) -> bool {
        !self.shut_down
    }

    /// Whether the queue was shut down.
    #[must_use]
    pub fn is_shut_down(&self) -> bool {
        self.shut_down
    }

    /// The item.
    #[must_use]
    pub fn into_item(self) -> T {
        self.item
    }
}

impl<T> fmt::Debug for PutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PutError")
            .field("shut_down", &self.shut_down)
            .finish_non_exhaustive()
    }
}

impl<T> fmt::Display for PutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.shut_down {
            "the queue was shut down"
        } else {
            "the queue is full"
        })
    }
}

impl<T> std::error::Error for PutError<T> {}

/// There is no item to get. asyncio's `QueueEmpty`, or `QueueShutDown`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[doc(alias = "QueueEmpty")]
pub struct GetError {
    shut_down: bool,
}

impl GetError {
    /// Whether the queue is merely empty, and a later try may succeed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.shut_down
    }

    /// Whether the queue was shut down: no item will ever come.
    #[must_use]
    pub fn is_shut_down(&self) -> bool {
        self.shut_down
    }
}

impl fmt::Display for GetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.shut_down {
            "the queue was shut down"
        } else {
            "the queue is empty"
        })
    }
}

impl std::error::Error for GetError {}

/// More items were said to be done than were put. asyncio's `ValueError` from `Queue.task_done`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyDone(());

impl fmt::Display for TooManyDone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("task_done was called more often than items were put")
    }
}

impl std::error::Error for TooManyDone {}
