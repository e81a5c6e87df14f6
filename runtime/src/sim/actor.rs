//! A thread that is none: a coroutine, which leaves its stack where it is while others run.
#![allow(unsafe_code)]

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult, Yielder};
use std::cell::{Cell, RefCell};

/// Room for a poll of a debug build; pages that are not touched cost nothing.
const STACK: usize = 1 << 20;
/// How many stacks are kept for the next simulation.
const KEPT: usize = 64;

type Switch = Yielder<(), ()>;

thread_local! {
    /// Of the coroutine that runs. Invariant: null, or that one's, which has not returned.
    static RUNNING: Cell<*const Switch> = const { Cell::new(std::ptr::null()) };
    static STACKS: RefCell<Vec<DefaultStack>> = const { RefCell::new(Vec::new()) };
}

/// An actor at rest.
pub(super) struct Routine(Coroutine<(), (), ()>);

pub(super) enum Resumed {
    Suspended,
    Ended,
}

impl Routine {
    pub(super) fn new(body: Box<dyn FnOnce()>) -> Self {
        let kept = STACKS.with(|stacks| stacks.borrow_mut().pop());
        // As a thread's stack: that there is no room for one is no error that somebody could go on after.
        let stack =
            kept.unwrap_or_else(|| DefaultStack::new(STACK).expect("there is room for a stack"));
        Self(Coroutine::with_stack(stack, |switch: &Switch, ()| {
            RUNNING.set(switch);
            body();
        }))
    }

    /// Lets it run until it suspends itself or returns. A panic of its body goes on here.
    pub(super) fn resume(&mut self) -> Resumed {
        let resumed = self.0.resume(());
        RUNNING.set(std::ptr::null());
        match resumed {
            CoroutineResult::Yield(()) => Resumed::Suspended,
            CoroutineResult::Return(()) => Resumed::Ended,
        }
    }

    /// It has ended: its stack is as good as new.
    pub(super) fn recycle(self) {
        let stack = self.0.into_stack();
        STACKS.with(|stacks| {
            let mut stacks = stacks.borrow_mut();
            if stacks.len() < KEPT {
                stacks.push(stack);
            }
        });
    }

    /// Never goes on: neither it nor its stack is dropped.
    pub(super) fn forget(self) {
        std::mem::forget(self);
    }
}

/// Lets others run. To be called on an actor.
pub(super) fn suspend() {
    let switch = RUNNING.get();
    assert!(
        !switch.is_null(),
        "nobody but an actor waits in a simulation"
    );
    // SAFETY: by the invariant of `RUNNING`; this is called on that coroutine.
    unsafe { (*switch).suspend(()) };
    RUNNING.set(switch);
}
