//! What the fuzzer's bytes mean: bodies of steps. Bodies name one another and tasks by numbers, so that every input means something and a small
//! change of the bytes is a small change of the program.

use std::time::Duration;

use arbitrary::{Arbitrary, Result, Unstructured};
use heist::ReturnWhen;

const MAX_BODIES: usize = 8;
const MAX_STEPS: usize = 12;

#[derive(Debug)]
pub(super) struct Program {
    pub(super) bodies: Vec<Vec<Step>>,
    pub(super) ending: Ending,
    /// Leaf operations per poll.
    pub(super) budget: u32,
    /// How long the root lets the tasks run; for ever if it says so.
    pub(super) root: Time,
}

/// How the tasks that are left are ended.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(super) enum Ending {
    /// Each is aborted.
    Abort,
    /// Each is asked, then aborted.
    CancelThenAbort,
    /// The runtime is shut down at once.
    Shutdown,
    /// The runtime is dropped.
    Drop,
}

/// A body, by its number.
pub(super) type Body = u8;
/// A task, counted from the one that was spawned last.
pub(super) type Who = u8;

#[derive(Arbitrary, Clone, Copy, Debug)]
pub(super) enum Keep {
    Own,
    Share,
    Detach,
}

#[derive(Arbitrary, Clone, Debug)]
pub(super) enum Step {
    Yield,
    Sleep(Time),
    Advance(Time),
    Return,
    Panic,
    /// A cancellation that nobody asked for.
    Propagate,

    Spawn(Body, Keep),
    Cancel(Who, Option<u8>),
    Uncancel(Who),
    Abort(Who),
    CancelWith(Who, Time),
    /// Drops the handle.
    Forget(Who),
    Look(Who),
    Await(Who),
    Ended(Who),
    Callback(Who, InDrop),
    /// Something in the future that does this when the future is dropped.
    OnDrop(InDrop),

    Call(Body),
    Timeout(Time, Body),
    Moved(Time, Time, Body),
    Catch(Body, Then),
    Group(Body, bool),
    GroupSpawn(Body),
    GroupCancel,
    Lock(Body),
    Permit(Body),

    Shield(Who),
    Gather([Who; 3], bool),
    Wait([Who; 3], Until, Option<Time>),
    WaitFor(Who, Option<Time>),
    WaitForBody(Body, Option<Time>),
    AsCompleted([Who; 3], Option<Time>),

    Promise,
    Set(u8),
    DropPromise(u8),
    AwaitPromise(u8),

    CallSoon(bool),
    CallLater(Time, bool),
    EventSet,
    EventClear,
    EventWait,
    Put,
    Get,
    Shutdown,
}

/// After a cancellation was caught.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(super) enum Then {
    Propagate,
    Swallow,
    /// Take the request back, and go on.
    Uncancel,
}

/// What a destructor or a callback does.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(super) enum InDrop {
    Nothing,
    Cancel(Who),
    Abort(Who),
    Forget(Who),
    Spawn(Body),
    EventSet,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub(super) enum Until {
    All,
    First,
    FirstException,
}

/// Of a byte: whole milliseconds mostly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Time(pub(super) Duration);

impl<'a> Arbitrary<'a> for Time {
    fn arbitrary(bytes: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self(match u8::arbitrary(bytes)? {
            ms @ 0..=199 => Duration::from_millis(ms.into()),
            s @ 200..=219 => Duration::from_secs(1 << (s - 200)),
            ns @ 220..=239 => Duration::from_nanos(1 << (ns - 220)),
            240..=247 => Duration::from_nanos(3_999),
            _ => Duration::MAX,
        }))
    }
}

impl From<Until> for ReturnWhen {
    fn from(until: Until) -> Self {
        match until {
            Until::All => Self::AllCompleted,
            Until::First => Self::FirstCompleted,
            Until::FirstException => Self::FirstException,
        }
    }
}

impl Program {
    pub(super) fn read(data: &[u8]) -> Result<Self> {
        let mut bytes = Unstructured::new(data);
        let ending = Ending::arbitrary(&mut bytes)?;
        let budget = match u8::arbitrary(&mut bytes)? {
            0..=200 => 128,
            small => u32::from(small - 200),
        };
        let root = Time::arbitrary(&mut bytes)?;
        let mut bodies = vec![Vec::new()];
        while !bytes.is_empty() {
            let Ok(step) = Step::arbitrary(&mut bytes) else {
                break;
            };
            let body = bodies.last_mut().expect("there is one");
            body.push(step);
            // A bit of the next byte ends a body; so do too many steps.
            let ends = body.len() == MAX_STEPS || u8::arbitrary(&mut bytes)? & 3 == 3;
            if ends && bodies.len() < MAX_BODIES {
                bodies.push(Vec::new());
            } else if ends {
                break;
            }
        }
        Ok(Self {
            bodies,
            ending,
            budget,
            root,
        })
    }

    pub(super) fn body(&self, number: Body) -> Vec<Step> {
        self.bodies[usize::from(number) % self.bodies.len()].clone()
    }
}
