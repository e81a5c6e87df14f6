//! The one place that chooses between the real primitives, loom's, and, with feature `sim`, those that a simulation can step through (`stepped`).
//!
//! The protocol cores (`task`, `scheduler`, `blocking`, `shutdown`) import their
//! atomics and cells from here, so that the code that ships is the code that is model-checked:
//! `RUSTFLAGS="--cfg loom" cargo test --release -p heist-runtime --lib models`. No other file of the crate asks for `cfg(loom)`
//! outside of its models. With `HEIST_PLANT=` a bug's name, one model is seen to fail with it.

#[cfg(not(loom))]
mod imp {
    use crate::scheduler::ThreadConfig;
    use std::io;
    pub(crate) use std::sync::atomic::{AtomicUsize as AtomicWord, fence};
    pub(crate) use std::thread::{JoinHandle, ThreadId};

    pub(crate) fn this_thread() -> ThreadId {
        std::thread::current().id()
    }

    pub(crate) fn start_thread(
        config: &ThreadConfig,
        what: &str,
        body: impl FnOnce() + Send + 'static,
    ) -> io::Result<JoinHandle<()>> {
        let builder = std::thread::Builder::new().name(config.name_of(what));
        let builder = match config.stack_size {
            Some(bytes) => builder.stack_size(bytes),
            None => builder,
        };
        builder.spawn(body)
    }

    /// `std::cell::UnsafeCell` with loom's closure interface, so that loom can see each access.
    #[derive(Debug)]
    pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

    impl<T> UnsafeCell<T> {
        pub(crate) const fn new(value: T) -> Self {
            Self(std::cell::UnsafeCell::new(value))
        }

        /// Hands out the pointer for reading. The caller of the closure's body argues the access.
        #[inline(always)]
        pub(crate) fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
            f(self.0.get())
        }

        /// Hands out the pointer for writing. The caller of the closure's body argues the access.
        #[inline(always)]
        pub(crate) fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
            f(self.0.get())
        }
    }

    #[cfg(not(feature = "sim"))]
    pub(crate) use super::plain::*;
    #[cfg(feature = "sim")]
    pub(crate) use super::stepped::*;

    /// A bug that a model plants to show that it would be caught; in a real build there is none.
    #[cfg(not(feature = "planted-bugs"))]
    #[inline(always)]
    pub(crate) const fn planted(_: super::Bug) -> bool {
        false
    }

    /// Whether `bug` was asked for, for the simulation's scenarios to catch.
    #[cfg(feature = "planted-bugs")]
    pub(crate) fn planted(bug: super::Bug) -> bool {
        super::is_planted(bug)
    }
}

#[cfg(loom)]
mod imp {
    use crate::scheduler::ThreadConfig;
    use std::io;
    use std::ops::{Deref, DerefMut};
    use std::time::Instant;

    pub(crate) use super::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicUsize};
    /// A task's state word.
    pub(crate) use AtomicUsize as AtomicWord;
    pub(crate) use loom::sync::atomic::fence;
    pub(crate) use loom::thread::{LocalKey, ThreadId};

    pub(crate) struct JoinHandle<T>(loom::thread::JoinHandle<T>);

    impl<T> JoinHandle<T> {
        pub(crate) fn thread(&self) -> &loom::thread::Thread {
            self.0.thread()
        }

        /// Nobody knows before the join.
        pub(crate) fn is_finished(&self) -> bool {
            false
        }

        pub(crate) fn join(self) -> std::thread::Result<T> {
            self.0.join()
        }
    }

    pub(crate) fn this_thread() -> ThreadId {
        loom::thread::current().id()
    }

    /// Fails if the stack is to be larger than any memory: so a model has a thread that does not start.
    pub(crate) fn start_thread(
        config: &ThreadConfig,
        _what: &str,
        body: impl FnOnce() + Send + 'static,
    ) -> io::Result<JoinHandle<()>> {
        match config.stack_size {
            Some(usize::MAX) => Err(io::ErrorKind::OutOfMemory.into()),
            _ => Ok(JoinHandle(loom::thread::spawn(body))),
        }
    }

    /// loom's thread-locals, each thread of a model having its own, with std's `const`.
    macro_rules! loomed_local {
        ($($(#[$attribute:meta])* static $name:ident: $of:ty = const $value:block;)*) => { $(
            $(#[$attribute])*
            static $name: loom::thread::LocalKey<$of> = loom::thread::LocalKey {
                init: || $value,
                _p: std::marker::PhantomData,
            };
        )* };
    }
    pub(crate) use loomed_local as thread_local;

    /// loom's cell, whose end is an access like any other: loom sees a cell freed that another thread may still be using, and one
    /// that is never freed.
    #[derive(Debug)]
    pub(crate) struct UnsafeCell<T>(
        loom::cell::UnsafeCell<T>,
        #[expect(dead_code, reason = "for its end alone")] loom::alloc::Track<()>,
    );

    impl<T> UnsafeCell<T> {
        #[track_caller]
        pub(crate) fn new(value: T) -> Self {
            Self(
                loom::cell::UnsafeCell::new(value),
                loom::alloc::Track::new(()),
            )
        }

        #[track_caller]
        pub(crate) fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
            self.0.with(f)
        }

        #[track_caller]
        pub(crate) fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
            self.0.with_mut(f)
        }
    }

    impl<T> Drop for UnsafeCell<T> {
        fn drop(&mut self) {
            // A model that has failed already is being torn down, and loom with it.
            if !std::thread::panicking() {
                self.0.with_mut(|_| ());
            }
        }
    }

    /// loom's mutex and condvar with parking_lot's unpoisoned interface.
    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

    pub(crate) struct MutexGuard<'a, T> {
        guard: loom::sync::MutexGuard<'a, T>,
        mutex: &'a Mutex<T>,
    }

    impl<T> Deref for MutexGuard<'_, T> {
        type Target = T;

        fn deref(&self) -> &T {
            &self.guard
        }
    }

    impl<T> DerefMut for MutexGuard<'_, T> {
        fn deref_mut(&mut self) -> &mut T {
            &mut self.guard
        }
    }

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            MutexGuard {
                guard: self.0.lock().expect("no model panics with the lock held"),
                mutex: self,
            }
        }

        pub(crate) fn get_mut(&mut self) -> &mut T {
            self.0
                .get_mut()
                .expect("no model panics with the lock held")
        }
    }

    #[derive(Debug, Default)]
    pub(crate) struct Condvar(loom::sync::Condvar);

    impl Condvar {
        pub(crate) fn new() -> Self {
            Self(loom::sync::Condvar::new())
        }

        pub(crate) fn notify_one(&self) {
            self.0.notify_one();
        }

        pub(crate) fn notify_all(&self) {
            self.0.notify_all();
        }
    }

    pub(crate) fn wait<'a, T>(condvar: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        let MutexGuard { guard, mutex } = guard;
        let guard = condvar.0.wait(guard);
        MutexGuard {
            guard: guard.expect("no model panics with the lock held"),
            mutex,
        }
    }

    /// loom has no time: a deadline that has passed already is all that passes. Others run before the lock is taken again, so that stands for one that
    /// passes at any moment.
    pub(crate) fn wait_until<'a, T>(
        condvar: &Condvar,
        guard: MutexGuard<'a, T>,
        deadline: Option<Instant>,
    ) -> (MutexGuard<'a, T>, bool) {
        if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            let mutex = guard.mutex;
            drop(guard);
            return (mutex.lock(), true);
        }
        (wait(condvar, guard), false)
    }

    /// Whether the model of this process was asked to plant `bug` (see [`super::Bug`]).
    pub(crate) fn planted(bug: super::Bug) -> bool {
        super::is_planted(bug)
    }
}

pub(crate) use imp::*;

/// Whether `HEIST_PLANT` names this bug.
#[cfg(any(loom, feature = "planted-bugs"))]
fn is_planted(bug: Bug) -> bool {
    static PLANTED: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    let name = PLANTED.get_or_init(|| std::env::var("HEIST_PLANT").unwrap_or_default());
    !name.is_empty() && *name == format!("{bug:?}")
}

pub(crate) mod channel;
#[cfg(not(loom))]
pub(crate) mod injector {
    pub(crate) use crossbeam_deque::Injector;
}
#[cfg(loom)]
pub(crate) mod injector;

#[cfg(loom)]
mod atomic;
#[cfg(not(any(loom, feature = "sim")))]
mod plain;
#[cfg(all(feature = "sim", not(loom)))]
mod stepped;

/// The bugs that models plant, each named for what it does wrong. A model that passes with its bug proves nothing, so every model is run
/// again, in a child process, with each of its bugs planted, and has to fail (`check::planted_bugs_fail`).
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bug {
    /// A worker that goes to sleep does not look at the queues again.
    SleepWithoutLookingAgain,
    /// A submitter looks for sleepers without the fence after its push.
    SubmitWithoutFence,
    /// The last searcher does not see to the next when it finds work.
    SearchEndsUnheard,
    /// A sleeper is claimed but not counted as the searcher that it will be.
    ClaimUncounted,
    /// Who has napped takes work without seeing to the next.
    NapEndsUnheard,
    /// The end of a nap is not counted.
    NapNeverEnds,
    /// One worker less is wanted than was said.
    NobodyWanted,
    /// A thread parks although it was notified before.
    ParkOverNotification,
    /// The condvar is notified without its lock.
    NotifyOutsideTheLock,
    /// The monitor goes to sleep without looking at the workers again.
    MonitorSleepsUnlooked,
    /// A worker that stays awake after all does not tell the monitor.
    MonitorNotToldOfReturn,
    /// A wake-up that meets a running task is forgotten.
    WakeWhileRunningLost,
    /// A transition that changes nothing does not write, so that it releases nothing.
    UnchangedWordNotWritten,
    /// A wake-up that meets a queued task queues it once more.
    QueuedTwice,
    /// A reference is given back without ordering.
    ReferenceDroppedRelaxed,
    /// The join waker is published although the task is already done.
    JoinWakerAfterDone,
    /// The handle replaces the join waker while whoever finishes the task owns it.
    JoinWakerReplacedWhilePublished,
    /// The handle of a task that is done clears the join waker away although it was handed over.
    JoinWakerTakenByBoth,
    /// A handle that goes away decides by what it saw before.
    HandleDropFromOldLook,
    /// A cancel that was requested during a poll is not looked for after it.
    CancelMissedAfterPoll,
    /// A panic becomes a cancellation where one was requested, as a value does.
    PanicGivesWayToCancel,
    /// The task is seen done, but not what it did.
    DoneSeenRelaxed,
    /// A task is polled while somebody hands a request down in it.
    PolledDuringADelivery,
    /// A queue entry that was taken out during a delivery is not put back.
    OwedEntryLost,
    /// Who has delivered does not look for what was kept meanwhile.
    DeliveryLeftWithKept,
    /// The task is woken for a request that it has received, but not told.
    InterruptionNotMarked,
    /// A request that was forwarded back to where it came from is accepted.
    VisitingMarkMissing,
    /// A request that others had to be told of first is never made one to be met.
    ReservedNotCommitted,
    /// What the last `uncancel` withdraws is met all the same.
    UncancelLeavesTheMark,
    /// A request to a region that has ended is counted.
    LateRegionRequestCounts,
    /// What a region has received and not taken is forgotten with it.
    UntakenDropped,
    /// An abort that came during a poll is not looked for after it.
    AbortMissedAfterPoll,
    /// Who watches a task is entered in the list after the word has said so.
    WatchedBeforeTheLock,
    /// Who watches a task and gives up stays in the list.
    UnwatchForgotten,
    /// Who watches a promise is entered after the look at whether it is settled.
    PromiseWatchedAfterALook,
    /// A promise is settled although it is settled.
    SettledTwice,
    /// Who has looked at a task does not submit the entry that a worker left to him.
    RunOwedByLookForgotten,
    /// Who has looked at a task does not see to a cancel that came meanwhile.
    CancelDuringLookForgotten,
    /// A blocking thread whose time is up ends although there is a job.
    GivesUpOverAJob,
    /// A blocking thread ends, and nobody is told.
    PoolEndUnheard,
    /// The blocking threads that wait are not told that the pool is closed.
    PoolCloseUnheard,
    /// Who could not start a blocking thread refuses one job, though others relied on that thread too.
    OneStrandedRefused,
    /// A closed registry accepts a task.
    BoundAfterClose,
    /// Who takes a task out of the registry decides by an older look whether somebody waits for that.
    ReleaseFromOldLook,
    /// Who waits for the registry to drain is notified without the lock.
    DrainedOutsideTheLock,
    /// The slot of a queue is looked at, then emptied.
    SlotTakenByALook,
    /// The slot of a queue orders nothing.
    SlotUnordered,
    /// Who injects a task does not look whether the workers leave.
    DesertedUnlooked,
    /// The last worker to leave leaves the tasks to the shutdown, which has given up.
    LastExitLeavesTasks,
    /// Who ends tasks in place of the workers that have left does not count as one, so that a shutdown does not wait for it.
    EndsTasksUncounted,
    /// The last worker to leave looks for tasks without a fence.
    ClearWithoutFence,
    /// The permit of a worker that sleeps is taken.
    PermitOfSleeperTaken,
    /// A permit that was given back, for want of a spare, is no news.
    PermitGivenBackUnheard,
    /// A spare whose time is up ends although it was chosen.
    ChosenSpareEnds,
    /// The end of a shutdown is not told to those who wait for it.
    ShutdownEndUnheard,
    /// Who is about to wait for a shutdown does not look again whether it has ended.
    ShutdownWaitUnlooked,
    /// A shutdown that has left its caller out counts as a whole one.
    PartialCountsAsWhole,
    // From here on no model's: those that the simulation's scenarios catch.
    /// A shutdown is not told that the last task has ended.
    DrainUnheard,
    /// A shutdown waits for the task that calls it.
    OwnTaskAwaited,
    /// A thread that waits for a coroutine is not told of its end.
    ForeignWaitUnheard,
    /// Of those who watch a handle only the first is told.
    OnlyTheFirstIsTold,
    /// The last promise goes, unsettled, without a word.
    BrokenPromiseSilent,
    /// A callback that was called can be cancelled.
    CalledAndCancelled,
    /// A worker that blocks keeps its permit from the others.
    BlockedUnreplaced,
    /// A spare is given a permit and not woken.
    SpareUnheard,
    /// A thread that waits in the driver is not told.
    DriverUnheard,
    /// Between the last look for a request and the next suspension, a region that ends takes everybody's requests with it.
    RegionTakesAll,
    /// What an outcome that nobody wants owns is not dropped.
    OutcomeLeaked,
}

#[cfg(all(test, loom))]
pub(crate) mod check;
