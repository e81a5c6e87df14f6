//! A flag that tasks can wait for.

use super::wait::{Look, Monitor, Waiting};
use super::wait_list::{WaitList, Wakes};
use std::fmt;

/// A flag that is set by one and waited for by any number. asyncio's `Event`.
///
/// # Examples
///
/// ```
/// use heist_combinators::sync::Event;
/// use std::sync::Arc;
///
/// # heist_runtime::run(async {
/// let ready = Arc::new(Event::new());
/// let waiter = heist_runtime::spawn({
///     let ready = ready.clone();
///     async move { ready.wait().await }
/// });
/// ready.set(); // from any thread
/// waiter.await.unwrap();
/// assert!(ready.is_set());
/// # }).unwrap();
/// ```
pub struct Event {
    state: Monitor<State>,
}

struct State {
    set: bool,
    /// Invariant: nobody waits ungranted while it is set.
    line: WaitList,
}

impl Event {
    /// An event that is not set.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            state: Monitor::new(State {
                set: false,
                line: WaitList::new(),
            }),
        }
    }

    /// Sets the flag and wakes all who wait; they go on even if it is cleared before they run. asyncio's `Event.set`.
    pub fn set(&self) {
        self.state.update(|state, wakes| {
            state.set = true;
            state.line.grant_all(wakes);
        });
    }

    /// Takes the flag back: whoever comes from now on waits. asyncio's `Event.clear`.
    pub fn clear(&self) {
        self.state.update(|state, _| state.set = false);
    }

    /// Whether the flag is set. asyncio's `Event.is_set`.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.state.read(|state| state.set)
    }

    /// Waits until the flag is set; does not suspend if it is. asyncio's `Event.wait`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the wait; nothing is lost.
    pub async fn wait(&self) {
        self.state.wait(IsSet).await;
    }
}

struct IsSet;

impl Waiting for IsSet {
    type State = State;
    type Output = ();

    fn line(state: &mut State) -> &mut WaitList {
        &mut state.line
    }

    fn look(&mut self, state: &mut State, granted: bool, _: &mut Wakes) -> Look<()> {
        if granted || state.set {
            Look::Done(())
        } else {
            Look::Wait
        }
    }

    /// Everybody else was told as well.
    fn pass_on(&mut self, _: &mut State, _: &mut Wakes) {}
}

impl Default for Event {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (set, waiters) = self.state.read(|state| (state.set, state.line.len()));
        f.debug_struct("Event")
            .field("set", &set)
            .field("waiters", &waiters)
            .finish()
    }
}
