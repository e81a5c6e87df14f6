//! Mutual exclusion of tasks.

use super::wait::{Look, Monitor, Waiting};
use super::wait_list::{WaitList, Wakes};
use std::fmt;

/// A lock for tasks, held across awaits by one at a time. asyncio's `Lock`.
///
/// First come, first served: a newcomer does not overtake who waits. Not reentrant, and, like asyncio's, not owned: any task or thread may
/// [`release`](Lock::release) it. [`lock`](Lock::lock) gives a guard that does so when it drops, which is what most programs want
/// (asyncio's `async with`); [`acquire`](Lock::acquire) and `release` are the two halves by themselves.
///
/// The lock holds no data: what it protects stands beside it.
///
/// # Examples
///
/// ```
/// use heist_combinators::sync::Lock;
/// use std::sync::Arc;
///
/// # heist_runtime::run(async {
/// let lock = Arc::new(Lock::new());
/// let tasks: Vec<_> = (0..3)
///     .map(|_| {
///         let lock = lock.clone();
///         heist_runtime::spawn(async move {
///             let _guard = lock.lock().await;
///             heist_runtime::task::yield_now().await; // one at a time here
///         })
///     })
///     .collect();
/// for task in tasks {
///     task.await.unwrap();
/// }
/// assert!(!lock.locked());
/// # }).unwrap();
/// ```
pub struct Lock {
    state: Monitor<State>,
}

/// Invariants: at most one waiter is granted, and then it is not locked. If somebody waits, it is locked or somebody is granted.
struct State {
    locked: bool,
    line: WaitList,
}

impl State {
    /// Whether a newcomer may have it.
    fn is_free(&self) -> bool {
        !self.locked && self.line.is_empty()
    }
}

impl Lock {
    /// A lock that nobody holds.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            state: Monitor::new(State {
                locked: false,
                line: WaitList::new(),
            }),
        }
    }

    /// Acquires the lock, to be held until the guard drops. asyncio's `async with lock`.
    ///
    /// Does not suspend if the lock is free and nobody waits for it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives up the place in line; a lock that it had just been given goes to the next.
    #[doc(alias = "__aenter__")]
    pub async fn lock(&self) -> LockGuard<'_> {
        self.acquire().await;
        LockGuard {
            lock: self,
            held: true,
        }
    }

    /// Takes the lock if it is free and nobody waits for it.
    #[must_use]
    pub fn try_lock(&self) -> Option<LockGuard<'_>> {
        let taken = self.state.update(|state, _| {
            let free = state.is_free();
            state.locked |= free;
            free
        });
        // Lazily: a guard that is made and dropped would release.
        taken.then(|| LockGuard {
            lock: self,
            held: true,
        })
    }

    /// Acquires the lock until somebody calls [`release`](Lock::release). asyncio's `Lock.acquire`.
    ///
    /// Does not suspend if the lock is free and nobody waits for it. It is held whether or not the task lives on: a cancellation
    /// between here and the release leaves it locked, unless it is caught. [`lock`](Lock::lock) has no such gap.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives up the place in line; a lock that it had just been given goes to the next.
    pub async fn acquire(&self) {
        self.state.wait(Hold).await;
    }

    /// Releases the lock, which goes to whoever waits longest. asyncio's `Lock.release`.
    ///
    /// Until that one runs, the lock is not [`locked`](Lock::locked), although an `acquire` would wait its turn.
    ///
    /// # Errors
    ///
    /// [`NotLocked`] if nobody holds it: asyncio's `RuntimeError`.
    pub fn release(&self) -> Result<(), NotLocked> {
        self.state.update(|state, wakes| {
            if !state.locked {
                return Err(NotLocked(()));
            }
            state.locked = false;
            state.line.grant_first(wakes);
            Ok(())
        })
    }

    /// Whether somebody holds the lock. asyncio's `Lock.locked`.
    #[must_use]
    pub fn locked(&self) -> bool {
        self.state.read(|state| state.locked)
    }
}

struct Hold;

impl Waiting for Hold {
    type State = State;
    type Output = ();

    fn line(state: &mut State) -> &mut WaitList {
        &mut state.line
    }

    fn look(&mut self, state: &mut State, granted: bool, _: &mut Wakes) -> Look<()> {
        if granted || state.is_free() {
            state.locked = true;
            Look::Done(())
        } else {
            Look::Wait
        }
    }

    fn pass_on(&mut self, state: &mut State, wakes: &mut Wakes) {
        state.line.grant_first(wakes);
    }
}

impl Default for Lock {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (locked, waiters) = self.state.read(|state| (state.locked, state.line.len()));
        f.debug_struct("Lock")
            .field("locked", &locked)
            .field("waiters", &waiters)
            .finish()
    }
}

/// Holds a [`Lock`] and releases it when dropped.
///
/// As the lock is not owned, somebody may release it under the guard's hands; then the guard's own release finds it free and does nothing,
/// or, if another holds it by now, takes it from that one. Do not release what a guard holds.
#[must_use = "the lock is released when the guard drops"]
pub struct LockGuard<'a> {
    lock: &'a Lock,
    /// False only if a wait on a condition was dropped midway.
    held: bool,
}

impl<'a> LockGuard<'a> {
    /// Whether the lock is held through this guard: always, unless a [`Condition::wait_with`](super::Condition::wait_with) was dropped
    /// after it had released the lock and before it had it again.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.held
    }

    /// For a condition, which releases and re-acquires: the flag, if this guard is one of `lock`.
    pub(super) fn held_of(&mut self, lock: &Lock) -> Option<&mut bool> {
        std::ptr::eq(self.lock, lock).then_some(&mut self.held)
    }
}

impl Drop for LockGuard<'_> {
    fn drop(&mut self) {
        if self.held {
            // Somebody may have released it: the type's documentation says what then.
            let _ = self.lock.release();
        }
    }
}

impl fmt::Debug for LockGuard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockGuard")
            .field("held", &self.held)
            .finish_non_exhaustive()
    }
}

/// The lock is not locked. asyncio's `RuntimeError` from a [`Lock`] or a [`Condition`](super::Condition).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotLocked(pub(super) ());

impl fmt::Display for NotLocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the lock is not locked: acquire it first, and release it once")
    }
}

impl std::error::Error for NotLocked {}
