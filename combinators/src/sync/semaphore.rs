//! A number of permits.

use super::wait::{Look, Monitor, Waiting};
use super::wait_list::{WaitList, Wakes};
use std::fmt;

/// A number of permits, each held by one at a time. asyncio's `Semaphore`.
///
/// First come, first served: a newcomer does not overtake who waits. [`permit`](Semaphore::permit) gives a guard that gives its permit
/// back when it drops (asyncio's `async with`); [`acquire`](Semaphore::acquire) and [`release`](Semaphore::release) are the two halves
/// by themselves. There may be more releases than acquires: the number of permits then grows beyond the initial one, up to
/// `usize::MAX`, where it stays. [`BoundedSemaphore`] takes that for an error.
///
/// # Examples
///
/// ```
/// use heist_combinators::sync::Semaphore;
///
/// static CONNECTIONS: Semaphore = Semaphore::new(2);
///
/// # heist_runtime::run(async {
/// let first = CONNECTIONS.permit().await;
/// let _second = CONNECTIONS.permit().await;
/// assert!(CONNECTIONS.locked()); // a third would wait
/// drop(first);
/// assert!(!CONNECTIONS.locked());
/// # }).unwrap();
/// ```
pub struct Semaphore {
    permits: Permits,
}

impl Semaphore {
    /// A semaphore with `permits` to give, 0 allowed. asyncio's `Semaphore(value)`.
    #[must_use]
    pub const fn new(permits: usize) -> Self {
        Self {
            permits: Permits::new(permits, usize::MAX),
        }
    }

    /// Acquires a permit, to be held until the guard drops. asyncio's `async with semaphore`.
    ///
    /// Does not suspend unless the semaphore is [`locked`](Semaphore::locked).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives up the place in line; a permit that it had just been given goes to the next.
    pub async fn permit(&self) -> Permit<'_> {
        self.permits.acquire().await;
        Permit {
            permits: &self.permits,
        }
    }

    /// Takes a permit if there is one and nobody waits for it.
    #[must_use]
    pub fn try_permit(&self) -> Option<Permit<'_>> {
        self.permits.try_permit()
    }

    /// Acquires a permit, to be given back with [`release`](Semaphore::release). asyncio's `Semaphore.acquire`.
    ///
    /// Does not suspend unless the semaphore is [`locked`](Semaphore::locked).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives up the place in line; a permit that it had just been given goes to the next.
    pub async fn acquire(&self) {
        self.permits.acquire().await;
    }

    /// Adds a permit, which goes to whoever waits longest. asyncio's `Semaphore.release`.
    pub fn release(&self) {
        // At the bound, which is `usize::MAX`, it stays there.
        let _ = self.permits.release();
    }

    /// Whether an acquire would have to wait: there is no permit left, or some that were given to waiters who have not run
    /// since. asyncio's `Semaphore.locked`.
    #[must_use]
    pub fn locked(&self) -> bool {
        self.permits.locked()
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.permits.debug(f, "Semaphore")
    }
}

/// A [`Semaphore`] that cannot have more permits than it began with. asyncio's `BoundedSemaphore`.
///
/// # Examples
///
/// ```
/// use heist_combinators::sync::BoundedSemaphore;
///
/// # heist_runtime::run(async {
/// let semaphore = BoundedSemaphore::new(1);
/// semaphore.acquire().await;
/// assert!(semaphore.release().is_ok());
/// assert!(semaphore.release().is_err());
/// # }).unwrap();
/// ```
pub struct BoundedSemaphore {
    permits: Permits,
}

impl BoundedSemaphore {
    /// A semaphore with `permits` to give, now and at most. asyncio's `BoundedSemaphore(value)`.
    #[must_use]
    pub const fn new(permits: usize) -> Self {
        Self {
            permits: Permits::new(permits, permits),
        }
    }

    /// Acquires a permit, to be held until the guard drops; as [`Semaphore::permit`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives up the place in line; a permit that it had just been given goes to the next.
    pub async fn permit(&self) -> Permit<'_> {
        self.permits.acquire().await;
        Permit {
            permits: &self.permits,
        }
    }

    /// Takes a permit if there is one and nobody waits for it.
    #[must_use]
    pub fn try_permit(&self) -> Option<Permit<'_>> {
        self.permits.try_permit()
    }

    /// Acquires a permit, to be given back with [`release`](BoundedSemaphore::release); as [`Semaphore::acquire`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives up the place in line; a permit that it had just been given goes to the next.
    pub async fn acquire(&self) {
        self.permits.acquire().await;
    }

    /// Gives a permit back, which goes to whoever waits longest. asyncio's `BoundedSemaphore.release`.
    ///
    /// # Errors
    ///
    /// [`TooManyReleases`] if all permits are there: asyncio's `ValueError`.
    pub fn release(&self) -> Result<(), TooManyReleases> {
        self.permits.release()
    }

    /// Whether an acquire would have to wait; as [`Semaphore::locked`].
    #[must_use]
    pub fn locked(&self) -> bool {
        self.permits.locked()
    }
}

impl fmt::Debug for BoundedSemaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.permits.debug(f, "BoundedSemaphore")
    }
}

/// Holds a permit of a [`Semaphore`] or a [`BoundedSemaphore`] and gives it back when dropped.
///
/// `std::mem::forget` takes the permit out of circulation for good.
#[must_use = "the permit is given back when the guard drops"]
pub struct Permit<'a> {
    permits: &'a Permits,
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        // All there already: somebody gave this one's back by hand.
        let _ = self.permits.release();
    }
}

impl fmt::Debug for Permit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").finish_non_exhaustive()
    }
}

/// What both semaphores are.
struct Permits {
    state: Monitor<State>,
    bound: usize,
}

/// Invariant: if somebody waits ungranted, `left` is 0.
struct State {
    left: usize,
    line: WaitList,
}

impl State {
    fn is_locked(&self) -> bool {
        self.left == 0 || !self.line.is_empty()
    }

    fn give_back(&mut self, wakes: &mut Wakes) {
        if !self.line.grant_first(wakes) {
            self.left = self.left.saturating_add(1);
        }
    }
}

impl Permits {
    const fn new(permits: usize, bound: usize) -> Self {
        Self {
            state: Monitor::new(State {
                left: permits,
                line: WaitList::new(),
            }),
            bound,
        }
    }

    async fn acquire(&self) {
        self.state.wait(Take).await;
    }

    fn try_permit(&self) -> Option<Permit<'_>> {
        let taken = self.state.update(|state, _| {
            let free = !state.is_locked();
            state.left -= usize::from(free);
            free
        });
        // Lazily: a permit that is made and dropped would be given back.
        taken.then(|| Permit { permits: self })
    }

    fn release(&self) -> Result<(), TooManyReleases> {
        self.state.update(|state, wakes| {
            if state.left >= self.bound {
                return Err(TooManyReleases(()));
            }
            state.give_back(wakes);
            Ok(())
        })
    }

    fn locked(&self) -> bool {
        self.state.read(State::is_locked)
    }

    fn debug(&self, f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
        let (left, waiters) = self.state.read(|state| (state.left, state.line.len()));
        f.debug_struct(name)
            .field("permits", &left)
            .field("waiters", &waiters)
            .finish()
    }
}

struct Take;

impl Waiting for Take {
    type State = State;
    type Output = ();

    fn line(state: &mut State) -> &mut WaitList {
        &mut state.line
    }

    fn look(&mut self, state: &mut State, granted: bool, _: &mut Wakes) -> Look<()> {
        if granted {
            return Look::Done(());
        }
        if state.left == 0 {
            return Look::Wait;
        }
        state.left -= 1;
        if state.line.is_empty() {
            Look::Done(())
        } else {
            // Nobody is before this one that has no permit. It is given its own now: if it had to wait until those have run, and one of
            // them never does (a future that is kept and not polled), it would wait for ever beside a free permit.
            Look::Yield
        }
    }

    fn pass_on(&mut self, state: &mut State, wakes: &mut Wakes) {
        state.give_back(wakes);
    }
}

/// All permits are there already. asyncio's `ValueError` from a [`BoundedSemaphore`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyReleases(());

impl fmt::Display for TooManyReleases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("released more often than acquired; a Semaphore would allow it")
    }
}

impl std::error::Error for TooManyReleases {}
