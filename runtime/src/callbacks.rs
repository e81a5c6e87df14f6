//! Callbacks: closures that are called soon, or at a time. asyncio's `call_soon`, `call_later`, `call_at`.
//!
//! A callback is a task that calls its closure and ends: it is queued, stolen, shut down and reported like one. To users it is none:
//! `current_task` and `all_tasks` leave it out, as asyncio's do, so that code which cancels all tasks spares timers.
//!
//! The closure stands outside the task, in a [`Call`] that the handle has too. Who takes it out decides: the task, to call it; the handle, to
//! drop it at once, wherever the task is; the end of the task, so that no handle keeps a closure alive that will not be called.

use crate::handle::{Handle, HandleRoute};
use crate::spawn::Told;
use crate::sync_switch::{Bug, Mutex, planted};
use crate::task::{Ending, Header, Route, Schedule, TaskError, TaskRef, Values, Why, new_task};
use heist_io_driver::time::{Sleep, sleep, sleep_until};
use std::collections::VecDeque;
use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::ptr::NonNull;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

impl Handle {
    /// Calls `callback` on a worker, soon. asyncio's `loop.call_soon`.
    ///
    /// It starts with a copy of the calling code's [context](crate::context). A panic goes to the exception handler
    /// ([`Builder::exception_handler`](crate::Builder::exception_handler)) and the panic policy, like that of a task whose handle was dropped. A
    /// callback should be short, and not block: like a task's poll, it keeps its worker. If the runtime is shut down before, the
    /// closure is dropped uncalled; if it is already, at once, and the handle says so ([`CallHandle::is_refused`]).
    ///
    /// On a [current-thread](crate::Builder::current_thread) runtime, callbacks are called one after the other, in the order of the calls of
    /// `call_soon`, whichever threads made them. With workers of its own, even with one, a runtime promises no order; two callbacks may run at the
    /// same time.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::mpsc;
    ///
    /// let runtime = heist_runtime::Runtime::new()?;
    /// let (sender, receiver) = mpsc::channel();
    /// runtime.call_soon(move || sender.send(42).unwrap());
    /// assert_eq!(receiver.recv(), Ok(42));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn call_soon(&self, callback: impl FnOnce() + Send + 'static) -> CallHandle {
        let place = (!self.scheduler().is_threaded()).then(|| Place::last(self));
        self.call(Location::caller(), None, place, callback)
    }

    /// As [`call_soon`](Self::call_soon), which may be called on any thread just as well. asyncio's `loop.call_soon_threadsafe`.
    ///
    /// # Examples
    ///
    /// ```
    /// let runtime = heist_runtime::Builder::new().current_thread().build()?;
    /// let handle = runtime.handle().clone();
    /// let (sender, receiver) = std::sync::mpsc::channel();
    /// std::thread::spawn(move || handle.call_soon_threadsafe(move || sender.send(()).unwrap()));
    /// runtime.block_on(async {
    ///     while receiver.try_recv().is_err() {
    ///         heist_runtime::task::yield_now().await;
    ///     }
    /// }).unwrap();
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn call_soon_threadsafe(&self, callback: impl FnOnce() + Send + 'static) -> CallHandle {
        self.call_soon(callback)
    }

    /// Calls `callback` on a worker after `delay`, by the runtime's [clock](Self::clock). asyncio's `loop.call_later`.
    ///
    /// Never early; timers have a resolution of 4,000 ns. `Duration::ZERO` means soon, `Duration::MAX` and anything beyond what an
    /// [`Instant`] can hold means never. A timer is nothing that a paused clock waits for: it moves on to it. All else is as with
    /// [`call_soon`](Self::call_soon), but for the order, which is promised on no runtime.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let runtime = heist_runtime::Builder::new().start_paused(true).build()?;
    /// runtime.run(async {
    ///     let handle = heist_runtime::Handle::current().unwrap();
    ///     let (sender, receiver) = std::sync::mpsc::channel();
    ///     handle.call_later(Duration::from_secs(3600), move || sender.send("an hour later").unwrap());
    ///     let never = handle.call_later(Duration::from_secs(1), || unreachable!());
    ///     assert!(never.cancel());
    ///     heist_runtime::time::sleep(Duration::from_secs(3601)).await;
    ///     assert_eq!(receiver.try_recv(), Ok("an hour later"));
    /// }).unwrap();
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn call_later(
        &self,
        delay: Duration,
        callback: impl FnOnce() + Send + 'static,
    ) -> TimerHandle {
        let when = match delay {
            Duration::MAX => None,
            delay => self.clock().now().checked_add(delay),
        };
        self.call_when(Location::caller(), when, callback)
    }

    /// Calls `callback` on a worker at `when`, by the runtime's [clock](Self::clock); soon, if that has passed. asyncio's `loop.call_at`.
    ///
    /// As [`call_later`](Self::call_later) in all else.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let runtime = heist_runtime::Runtime::new()?;
    /// let (sender, receiver) = std::sync::mpsc::channel();
    /// let when = runtime.clock().now() + Duration::from_millis(5);
    /// let timer = runtime.call_at(when, move || sender.send(()).unwrap());
    /// assert_eq!(timer.when(), Some(when));
    /// receiver.recv().unwrap();
    /// assert!(runtime.clock().now() >= when);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn call_at(&self, when: Instant, callback: impl FnOnce() + Send + 'static) -> TimerHandle {
        self.call_when(Location::caller(), Some(when), callback)
    }

    fn call_when(
        &self,
        at: &'static Location<'static>,
        when: Option<Instant>,
        callback: impl FnOnce() + Send + 'static,
    ) -> TimerHandle {
        let sleep = when.map_or_else(|| sleep(Duration::MAX), sleep_until);
        TimerHandle {
            call: self.call(at, Some(sleep), None, callback),
            when,
        }
    }

    fn call<F: FnOnce() + Send + 'static>(
        &self,
        at: &'static Location<'static>,
        sleep: Option<Sleep>,
        place: Option<Place>,
        callback: F,
    ) -> CallHandle {
        let call = Arc::new(Call(Mutex::new(Stage::Waiting(callback))));
        let run = Run {
            call: call.clone(),
            sleep,
            place,
        };
        let (entry, task) = new_task::<_, _, Values>(CallScheduler(self.clone()), at, move || run);
        Told::default().tell(entry.header());
        let reference = task.as_ref();
        // Nobody awaits it: a panic is reported when it happens.
        drop(task);
        let accepted = self.accept(entry);
        let is_refused = accepted.is_none();
        if let Some(entry) = accepted {
            self.route().submit(entry, Why::Spawned);
        }
        CallHandle {
            call,
            task: reference,
            is_refused,
        }
    }
}

/// A callback that was handed in by [`Handle::call_soon`]. asyncio's `Handle`.
///
/// Clones are of the same callback; dropping them changes nothing.
#[derive(Clone)]
#[doc(alias = "asyncio.Handle")]
pub struct CallHandle {
    call: Arc<dyn Revoke>,
    task: TaskRef,
    is_refused: bool,
}

impl CallHandle {
    /// Sees to it that the callback is not called: true if it will not be, by this very call; false if it was called, is being
    /// called, or was cancelled before. asyncio's `Handle.cancel`.
    ///
    /// The closure is dropped here and now.
    ///
    /// # Examples
    ///
    /// ```
    /// let runtime = heist_runtime::Builder::new().current_thread().build()?;
    /// let call = runtime.call_soon(|| unreachable!());
    /// assert!(call.cancel() && call.cancelled());
    /// assert!(!call.cancel());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn cancel(&self) -> bool {
        self.call.revoke(Some(&self.task))
    }

    /// Whether the callback was dropped uncalled: by [`cancel`](Self::cancel), by the runtime's shutdown, or because it was refused.
    /// asyncio's `Handle.cancelled`.
    pub fn cancelled(&self) -> bool {
        self.call.is_revoked()
    }

    /// Whether the callback was refused, because the runtime was shut down, or left behind in the parent of a fork. (asyncio raises
    /// `RuntimeError('Event loop is closed')`.)
    pub fn is_refused(&self) -> bool {
        self.is_refused
    }

    fn fmt_as(&self, kind: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(kind)
            .field("spawned_at", &format_args!("{}", self.task.spawned_at()))
            .field("cancelled", &self.cancelled())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for CallHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_as("CallHandle", f)
    }
}

/// A callback that was handed in by [`Handle::call_later`] or [`Handle::call_at`]. asyncio's `TimerHandle`.
///
/// Clones are of the same callback; dropping them changes nothing.
#[derive(Clone)]
#[doc(alias = "asyncio.TimerHandle")]
pub struct TimerHandle {
    call: CallHandle,
    when: Option<Instant>,
}

impl TimerHandle {
    /// When the callback is due, by the runtime's clock; `None`: never. asyncio's `TimerHandle.when`.
    pub fn when(&self) -> Option<Instant> {
        self.when
    }

    /// See [`CallHandle::cancel`].
    pub fn cancel(&self) -> bool {
        self.call.cancel()
    }

    /// See [`CallHandle::cancelled`].
    pub fn cancelled(&self) -> bool {
        self.call.cancelled()
    }

    /// See [`CallHandle::is_refused`].
    pub fn is_refused(&self) -> bool {
        self.call.is_refused()
    }
}

impl fmt::Debug for TimerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.call.fmt_as("TimerHandle", f)
    }
}

/// A closure, and who may have it: whoever takes it out of here, which happens once.
struct Call<F>(Mutex<Stage<F>>);

enum Stage<F> {
    Waiting(F),
    Called,
    Revoked,
}

impl<F> Call<F> {
    /// The closure, if nobody took it before.
    fn take(&self, next: Stage<F>) -> Option<F> {
        let mut stage = self.0.lock();
        match std::mem::replace(&mut *stage, next) {
            Stage::Waiting(closure) => Some(closure),
            taken => {
                if !planted(Bug::CalledAndCancelled) {
                    *stage = taken;
                }
                None
            }
        }
    }
}

/// What a handle knows of a [`Call`].
trait Revoke: Send + Sync {
    /// Drops the closure, and ends the task that would call it; true if it had not been taken.
    fn revoke(&self, task: Option<&TaskRef>) -> bool;
    fn is_revoked(&self) -> bool;
}

impl<F: Send> Revoke for Call<F> {
    fn revoke(&self, task: Option<&TaskRef>) -> bool {
        let closure = self.take(Stage::Revoked);
        // First: the closure's destructor may panic.
        if let (Some(_), Some(task)) = (&closure, task) {
            task.cancel(None);
        }
        closure.is_some()
    }

    fn is_revoked(&self) -> bool {
        matches!(*self.0.lock(), Stage::Revoked)
    }
}

/// The future of a callback: waits for its time or its turn, and calls the closure.
struct Run<F: Send> {
    call: Arc<Call<F>>,
    sleep: Option<Sleep>,
    place: Option<Place>,
}

impl<F: Send> Unpin for Run<F> {}

impl<F: FnOnce() + Send> Future for Run<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(sleep) = &mut self.sleep {
            ready!(Pin::new(sleep).poll(cx));
        }
        if let Some(place) = &self.place {
            ready!(place.poll_first(cx));
        }
        self.place = None;
        if let Some(closure) = self.call.take(Stage::Called) {
            closure();
        }
        Poll::Ready(())
    }
}

impl<F: Send> Drop for Run<F> {
    fn drop(&mut self) {
        self.call.revoke(None);
    }
}

/// The callbacks of a current-thread runtime's `call_soon`, in the order in which they came. Its queues do not keep it: the newest task goes
/// first, and what was injected comes in between. A callback that is run before its turn waits for it.
#[derive(Default)]
pub(crate) struct Line(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    tickets: u64,
    /// Each with its ticket, which rise, and the waker of a task that came too early.
    places: VecDeque<(u64, Option<Waker>)>,
}

/// A callback's place in its runtime's line, left by dropping it.
struct Place {
    handle: Handle,
    ticket: u64,
}

impl Place {
    fn last(handle: &Handle) -> Self {
        let mut waiting = handle.line().0.lock();
        let ticket = waiting.tickets;
        waiting.tickets += 1;
        waiting.places.push_back((ticket, None));
        drop(waiting);
        let handle = handle.clone();
        Self { handle, ticket }
    }

    fn poll_first(&self, cx: &Context<'_>) -> Poll<()> {
        let early = {
            let mut waiting = self.handle.line().0.lock();
            match waiting.index(self.ticket) {
                // A task's own waker: cloning it runs no foreign code.
                Some(index) if index > 0 => {
                    Some(waiting.places[index].1.replace(cx.waker().clone()))
                }
                _ => None,
            }
        };
        match early {
            Some(replaced) => {
                drop(replaced);
                Poll::Pending
            }
            None => Poll::Ready(()),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let (left, next) = {
            let mut waiting = self.handle.line().0.lock();
            let Some(index) = waiting.index(self.ticket) else {
                return;
            };
            let left = waiting.places.remove(index);
            let first = waiting.places.front_mut().filter(|_| index == 0);
            (left, first.and_then(|(_, waker)| waker.take()))
        };
        drop(left);
        if let Some(next) = next {
            next.wake();
        }
    }
}

impl Waiting {
    fn index(&self, ticket: u64) -> Option<usize> {
        let found = self.places.binary_search_by_key(&ticket, |place| place.0);
        found.ok()
    }
}

/// A handle whose tasks are callbacks.
struct CallScheduler(Handle);

impl Schedule for CallScheduler {
    type Route = HandleRoute;

    const IS_CALLBACK: bool = true;

    fn route(&self) -> HandleRoute {
        self.0.route()
    }

    fn release(&self, task: NonNull<Header>, ending: Ending) {
        self.0.release(task, ending);
    }

    fn unhandled(&self, task: TaskRef, error: TaskError) {
        self.0.unhandled(task, error);
    }
}
