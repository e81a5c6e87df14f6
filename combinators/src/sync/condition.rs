//! Waiting, under a lock, for something to be notified.
//!
//! A wait has three parts: get in line and release the lock, in one poll; wait to be notified; have the lock again. A cancellation of the
//! first two is caught, and so is each one that arrives during the third; only with the lock held does the last of them go on
//! (`Cancelled::propagate`). So whoever handles it, or unlocks on the way out, finds the lock as it was. Each part is a region of its own
//! (`catch_cancel`), hence the one that receives the request, and the wait as a whole is dropped only by those who drop futures.
//!
//! A notification must not end with a waiter who does not return because of it. The [`Baton`] holds it from the moment it is given, and
//! is put down by a wait that returns. Otherwise it notifies the next in its place: after a cancellation with the lock held (CPython 3.11
//! loses it there, 3.13 does not), after a plain drop at once.

use super::lock::{Lock, LockGuard, NotLocked};
use super::wait::{Look, Monitor, Wait, Waiting};
use super::wait_list::{WaitList, Wakes};
use heist_runtime::task::catch_cancel;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Lets tasks wait for something to change, under a lock that protects it. asyncio's `Condition`.
///
/// Whoever changes it holds the lock and [`notify`](Condition::notify)s; whoever waits holds the lock before and after, but not while
/// waiting. As waiters may be woken for nothing, prefer [`wait_for`](Condition::wait_for) with a predicate.
///
/// Several conditions can share one lock: [`with_lock`](Condition::with_lock).
///
/// # Examples
///
/// ```
/// use heist_combinators::sync::Condition;
/// use std::sync::{Arc, atomic::{AtomicU32, Ordering}};
///
/// # heist_runtime::run(async {
/// let shared = Arc::new((Condition::new(), AtomicU32::new(0)));
/// let waiter = heist_runtime::spawn({
///     let shared = shared.clone();
///     async move {
///         let (condition, count) = &*shared;
///         let mut guard = condition.lock().await;
///         condition.wait_for_with(&mut guard, || count.load(Ordering::Relaxed) == 3).await
///     }
/// });
/// let (condition, count) = &*shared;
/// for _ in 0..3 {
///     let _guard = condition.lock().await;
///     count.fetch_add(1, Ordering::Relaxed);
///     condition.notify(1).unwrap();
/// }
/// waiter.await.unwrap().unwrap();
/// # }).unwrap();
/// ```
pub struct Condition {
    lock: Arc<Lock>,
    line: Monitor<WaitList>,
}

impl Condition {
    /// A condition with a lock of its own. asyncio's `Condition()`.
    #[must_use]
    pub fn new() -> Self {
        Self::with_lock(Arc::default())
    }

    /// A condition on a lock that others use as well. asyncio's `Condition(lock)`.
    #[must_use]
    pub const fn with_lock(lock: Arc<Lock>) -> Self {
        Self {
            lock,
            line: Monitor::new(WaitList::new()),
        }
    }

    /// Acquires the lock, to be held until the guard drops; [`Lock::lock`]. asyncio's `async with condition`.
    ///
    /// # Cancel safety
    ///
    /// As [`Lock::lock`]: nothing is lost.
    pub async fn lock(&self) -> LockGuard<'_> {
        self.lock.lock().await
    }

    /// Acquires the lock; [`Lock::acquire`]. asyncio's `Condition.acquire`.
    ///
    /// # Cancel safety
    ///
    /// As [`Lock::acquire`]: nothing is lost.
    pub async fn acquire(&self) {
        self.lock.acquire().await;
    }

    /// Releases the lock; [`Lock::release`]. asyncio's `Condition.release`.
    ///
    /// # Errors
    ///
    /// [`NotLocked`] if nobody holds it.
    pub fn release(&self) -> Result<(), NotLocked> {
        self.lock.release()
    }

    /// Whether somebody holds the lock; [`Lock::locked`]. asyncio's `Condition.locked`.
    #[must_use]
    pub fn locked(&self) -> bool {
        self.lock.locked()
    }

    /// Releases the lock, waits to be notified, and acquires the lock again. asyncio's `Condition.wait`.
    ///
    /// Always suspends. Returns after a [`notify`](Condition::notify), or for nothing: if a waiter that had been notified is cancelled, the
    /// next in line, whom nobody had in mind then, is woken in its place. For a lock held by a guard see
    /// [`wait_with`](Condition::wait_with).
    ///
    /// # Errors
    ///
    /// [`NotLocked`] if nobody holds the lock: asyncio's `RuntimeError`.
    ///
    /// # Cancel safety
    ///
    /// *Cancelled*, it acquires the lock again, however long that takes and however often it is cancelled meanwhile, and only then goes on
    /// unwinding with the last cancellation: the lock is held, as it is after a wait that returns, and has to be released. A notification
    /// that it had been given goes to the next.
    ///
    /// *Dropped* (by a `select!`, say, or by `Task::abort`), it cannot wait for the lock: a notification goes to the next, but
    /// the lock is **not held** any more once the wait has suspended, and must not be released. Only
    /// [`wait_with`](Condition::wait_with) can tell.
    pub async fn wait(&self) -> Result<(), NotLocked> {
        self.wait_holding(&mut true).await
    }

    /// [`wait`](Condition::wait) for a lock that is held by a guard, which keeps track of it. asyncio's `Condition.wait` in `async with`.
    ///
    /// # Errors
    ///
    /// [`NotLocked`] if the guard is not one of this condition's lock, or does not hold it.
    ///
    /// # Cancel safety
    ///
    /// *Cancelled*, as [`wait`](Condition::wait): the guard holds the lock again. *Dropped* while it waits, the guard
    /// [does not hold](LockGuard::is_held) the lock, and does nothing when it drops.
    pub async fn wait_with(&self, guard: &mut LockGuard<'_>) -> Result<(), NotLocked> {
        let held = guard.held_of(&self.lock).ok_or(NotLocked(()))?;
        if !*held {
            return Err(NotLocked(()));
        }
        self.wait_holding(held).await
    }

    /// Waits until `predicate` is true, asking it at once and then each time it is woken, with the lock held. asyncio's
    /// `Condition.wait_for`.
    ///
    /// Does not suspend, nor ask for the lock, if it is true at once.
    ///
    /// # Errors
    ///
    /// [`NotLocked`] if it has to wait and nobody holds the lock.
    ///
    /// # Cancel safety
    ///
    /// As [`wait`](Condition::wait).
    pub async fn wait_for(&self, mut predicate: impl FnMut() -> bool) -> Result<(), NotLocked> {
        while !predicate() {
            self.wait().await?;
        }
        Ok(())
    }

    /// [`wait_for`](Condition::wait_for) for a lock that is held by a guard.
    ///
    /// # Errors
    ///
    /// [`NotLocked`] if it has to wait and the guard does not hold this condition's lock.
    ///
    /// # Cancel safety
    ///
    /// As [`wait_with`](Condition::wait_with).
    pub async fn wait_for_with(
        &self,
        guard: &mut LockGuard<'_>,
        mut predicate: impl FnMut() -> bool,
    ) -> Result<(), NotLocked> {
        while !predicate() {
            self.wait_with(guard).await?;
        }
        Ok(())
    }

    /// Wakes the `n` that wait longest, or all if there are fewer; they go on when they have the lock again, one at a time. asyncio's
    /// `Condition.notify`.
    ///
    /// # Errors
    ///
    /// [`NotLocked`] if nobody holds the lock: asyncio's `RuntimeError`.
    pub fn notify(&self, n: usize) -> Result<(), NotLocked> {
        if !self.lock.locked() {
            return Err(NotLocked(()));
        }
        self.line.update(|line, wakes| {
            for _ in 0..n {
                if !line.grant_first(wakes) {
                    break;
                }
            }
        });
        Ok(())
    }

    /// Wakes all who wait. asyncio's `Condition.notify_all`.
    ///
    /// # Errors
    ///
    /// [`NotLocked`] if nobody holds the lock: asyncio's `RuntimeError`.
    pub fn notify_all(&self) -> Result<(), NotLocked> {
        self.notify(usize::MAX)
    }

    /// The wait. `held` says at every suspension whether the caller's lock is held: true at first, and at the end unless it fails.
    async fn wait_holding(&self, held: &mut bool) -> Result<(), NotLocked> {
        if !self.lock.locked() {
            *held = false;
            return Err(NotLocked(()));
        }
        let mut baton = Baton {
            line: &self.line,
            given: false,
        };
        let mut last = match catch_cancel(Notified {
            wait: self.line.wait(Turn {
                given: &mut baton.given,
            }),
            lock: &self.lock,
            held,
        })
        .await
        {
            Ok(notified) => {
                notified?;
                None
            }
            Err(cancelled) => Some(cancelled),
        };
        while !*held {
            // Cancelled while somebody else holds the lock, and again: neither makes it leave without, and "b" goes on in the end.
            //
            //     waiter.cancel("a"); sleep(MS).await; waiter.cancel("b");
            match catch_cancel(self.lock.acquire()).await {
                Ok(()) => *held = true,
                Err(cancelled) => last = Some(cancelled),
            }
        }
        match last {
            None => {
                baton.given = false;
                Ok(())
            }
            Some(cancelled) => {
                drop(baton);
                cancelled.propagate().await
            }
        }
    }
}

/// A notification, from being given to the return of the wait. Dropped with one, it notifies the next.
struct Baton<'a> {
    line: &'a Monitor<WaitList>,
    given: bool,
}

impl Drop for Baton<'_> {
    fn drop(&mut self) {
        if self.given {
            self.line.update(|line, wakes| {
                line.grant_first(wakes);
            });
        }
    }
}

/// Gets in line and releases the lock, then waits to be notified.
struct Notified<'a> {
    wait: Wait<'a, Turn<'a>>,
    lock: &'a Lock,
    held: &'a mut bool,
}

impl Future for Notified<'_> {
    type Output = Result<(), NotLocked>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.wait).poll(cx);
        // In line first: who notifies as soon as the lock is free finds this waiter. Not in line: the budget was spent.
        if *this.held && this.wait.is_in_line() {
            *this.held = false;
            this.lock.release()?;
        }
        polled.map(Ok)
    }
}

/// One's turn to be notified. The baton outlives this, however this ends.
struct Turn<'a> {
    given: &'a mut bool,
}

impl Waiting for Turn<'_> {
    type State = WaitList;
    type Output = ();

    fn line(state: &mut WaitList) -> &mut WaitList {
        state
    }

    fn look(&mut self, _: &mut WaitList, granted: bool, _: &mut Wakes) -> Look<()> {
        if !granted {
            return Look::Wait;
        }
        *self.given = true;
        Look::Done(())
    }

    fn pass_on(&mut self, _: &mut WaitList, _: &mut Wakes) {
        *self.given = true;
    }
}

impl Default for Condition {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condition")
            .field("lock", &self.lock)
            .field("waiters", &self.line.read(WaitList::len))
            .finish()
    }
}
