//! What may go to another thread, and what may be looked at from there: every handle and every guard, with contents of each kind.

use crate::limit::limited;
use heist::context::{Context, ContextVar, Enclosed, Token};
use heist::net::{TcpListener, TcpStream};
use heist::sync::{
    Barrier, BoundedSemaphore, Condition, Event, LifoQueue, Lock, LockGuard, Permit, PriorityQueue,
    PutError, Queue, Semaphore,
};
use heist::task::{
    Cancel, CatchCancel, Ended, Later, Region, RegionRef, Target, TaskEnded, YieldNow, track,
};
use heist::{
    AsCompleted, CallHandle, Clock, Deadline, Deferred, EnterGuard, Gather, GatherAll, Handle,
    Next, Promise, Runtime, Shared, ShutdownReport, Task, TaskError, TaskGroup, TaskRef, Timeout,
    TimerHandle, TryGather, Wait, WaitFor, concurrent, time,
};
use std::cell::Cell;
use std::future::Ready;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::MutexGuard;

/// Whether a type is `Send` and `Sync`: the constants of its own, where their bounds hold, hide the trait's.
struct Asked<T: ?Sized>(PhantomData<T>);

trait Unless {
    const SEND: bool = false;
    const SYNC: bool = false;
}
impl<T: ?Sized> Unless for T {}
impl<T: ?Sized + Send> Asked<T> {
    const SEND: bool = true;
}
impl<T: ?Sized + Sync> Asked<T> {
    const SYNC: bool = true;
}

fn word(send: bool, sync: bool) -> &'static str {
    match (send, sync) {
        (true, true) => "both",
        (true, false) => "send",
        (false, true) => "sync",
        (false, false) => "none",
    }
}

macro_rules! asked {
    ($type:ty) => {
        word(<Asked<$type>>::SEND, <Asked<$type>>::SYNC)
    };
}

/// The type round contents that are both, only `Send`, only `Sync`, and neither.
macro_rules! round {
    ($contents:ident, $type:ty) => {{
        fn of_both() -> &'static str {
            type $contents = u8;
            asked!($type)
        }
        fn of_send() -> &'static str {
            type $contents = Cell<u8>;
            asked!($type)
        }
        fn of_sync() -> &'static str {
            type $contents = MutexGuard<'static, u8>;
            asked!($type)
        }
        fn of_neither() -> &'static str {
            type $contents = Rc<u8>;
            asked!($type)
        }
        [of_both(), of_send(), of_sync(), of_neither()]
    }};
}

/// As an answer for the four kinds of contents: what they are themselves.
const AS_CONTENTS: [&str; 4] = ["both", "send", "sync", "none"];
/// A value that one thread leaves and another takes: it has to be `Send`, and then the handle may be anywhere.
const TRANSFERS: [&str; 4] = ["both", "both", "none", "none"];
/// Made for contents that are both, and for no others: see `SENDING.md` beside the programs that do not compile.
const MADE_FOR_BOTH: [&str; 4] = ["both"; 4];

#[test]
fn a_handle_goes_where_its_value_may() {
    limited(|| {
        assert_eq!(round!(T, Task<T>), TRANSFERS);
        assert_eq!(round!(T, Deferred<T>), TRANSFERS);
        assert_eq!(round!(T, concurrent::Future<T>), TRANSFERS);
        assert_eq!(round!(T, Gather<Task<T>>), TRANSFERS);
        assert_eq!(round!(T, GatherAll<Task<T>>), TRANSFERS);
        assert_eq!(round!(T, TryGather<Task<T>>), TRANSFERS);
        assert_eq!(round!(T, Ended<'static, Task<T>>), TRANSFERS);
        assert_eq!(round!(T, Wait<'static, Task<T>>), TRANSFERS);
        // Their own bounds admit nothing that is not `Send`.
        assert_eq!(asked!(Promise<Cell<u8>>), "both");
        assert_eq!(asked!(AsCompleted<Task<Cell<u8>>>), "both");
        assert_eq!(asked!(Next<Task<Cell<u8>>>), "both");
        assert_eq!(round!(T, Shared<T>), MADE_FOR_BOTH);
        assert_eq!(round!(T, WaitFor<T>), ["send"; 4]);
    });
}

#[test]
fn what_encloses_a_future_goes_where_that_may() {
    limited(|| {
        assert_eq!(round!(T, Region<Ready<T>>), AS_CONTENTS);
        assert_eq!(round!(T, CatchCancel<Ready<T>>), AS_CONTENTS);
        assert_eq!(round!(T, Timeout<Ready<T>>), AS_CONTENTS);
        assert_eq!(round!(T, Enclosed<Ready<T>>), AS_CONTENTS);
    });
}

#[test]
fn what_holds_values_goes_where_they_may() {
    limited(|| {
        assert_eq!(round!(T, Queue<T>), TRANSFERS);
        assert_eq!(round!(T, LifoQueue<T>), TRANSFERS);
        assert_eq!(asked!(PriorityQueue<Cell<u8>>), "both");
        assert_eq!(asked!(PriorityQueue<Rc<u8>>), "none");
        assert_eq!(round!(T, PutError<T>), AS_CONTENTS);
        assert_eq!(round!(T, ContextVar<T>), MADE_FOR_BOTH);
        assert_eq!(round!(T, Token<T>), MADE_FOR_BOTH);
    });
}

#[test]
fn what_belongs_to_a_thread_stays_there() {
    limited(|| {
        assert_eq!(asked!(EnterGuard), "none");
        assert_eq!(asked!(track::Entered), "none");
        // Only looked at by who has it, and handed on whole.
        assert_eq!(asked!(Later), "send");
    });
}

#[test]
fn everything_else_goes_anywhere() {
    limited(|| {
        let all = [
            asked!(Barrier),
            asked!(BoundedSemaphore),
            asked!(CallHandle),
            asked!(Cancel),
            asked!(Clock),
            asked!(Condition),
            asked!(Context),
            asked!(Deadline),
            asked!(Event),
            asked!(Handle),
            asked!(time::Interval),
            asked!(Lock),
            asked!(LockGuard<'static>),
            asked!(Permit<'static>),
            asked!(RegionRef),
            asked!(Runtime),
            asked!(Semaphore),
            asked!(ShutdownReport),
            asked!(time::Sleep),
            asked!(Target),
            asked!(TaskEnded),
            asked!(TaskError),
            asked!(TaskGroup),
            asked!(TaskRef),
            asked!(TcpListener),
            asked!(TcpStream),
            asked!(TimerHandle),
            asked!(track::Tracked),
            asked!(track::TrackedRef),
            asked!(YieldNow),
            asked!(heist::Async<std::net::TcpStream>),
        ];
        assert!(all.iter().all(|answer| *answer == "both"), "{all:?}");
    });
}
