//! In turn: a value that is dropped by the drop of another, a job that comes of another job, waits until that is over.
//!
//! So a chain of a million values, each owning the handle of the next, takes no more stack than one. Values, the outcomes of tasks
//! (`raw::drop_handle`) and jobs have a list each: what is dropped by a job is gone when the job is over.

use super::raw::drop_payload;
use crate::sync_switch::{LocalKey, thread_local};
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::mem::needs_drop;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// What came up while something of its kind ran on this thread.
pub(super) struct Waiting {
    /// Whether something runs.
    busy: Cell<bool>,
    jobs: RefCell<VecDeque<Box<dyn FnOnce()>>>,
}

impl Waiting {
    pub(super) const fn new() -> Self {
        Self {
            busy: Cell::new(false),
            jobs: RefCell::new(VecDeque::new()),
        }
    }
}

/// Drops `value`, now or when the value is gone that is being dropped on this thread. The first panic of a destructor goes on, when all are gone.
pub(super) fn drop_in_turn<T: 'static>(value: T) {
    thread_local! {
        static VALUES: Waiting = const { Waiting::new() };
    }
    if !needs_drop::<T>() {
        return;
    }
    if let Some(payload) = in_turn(&VALUES, move || drop(value)) {
        resume_unwind(payload);
    }
}

/// Runs `job`: now, or, if this is inside another one on this thread, after that. Its panic ends here.
///
/// For combinators: what the end of one handle does to another. So a gather of a gather of a million gathers ends without recursion.
///
/// # Examples
///
/// ```
/// use heist_runtime::task::run_in_turn;
/// use std::sync::mpsc;
///
/// let (sender, order) = mpsc::channel();
/// run_in_turn(move || {
///     let inner = sender.clone();
///     run_in_turn(move || inner.send("inner").unwrap());
///     sender.send("outer").unwrap();
/// });
/// assert!(order.iter().eq(["outer", "inner"]));
/// ```
pub fn run_in_turn(job: impl FnOnce() + 'static) {
    thread_local! {
        static JOBS: Waiting = const { Waiting::new() };
    }
    if let Some(payload) = in_turn(&JOBS, job) {
        drop_payload(payload);
    }
}

/// Runs `job`, and then what comes up meanwhile, if nothing on the list runs on this thread; else it waits. The first panic.
pub(super) fn in_turn(
    list: &'static LocalKey<Waiting>,
    job: impl FnOnce() + 'static,
) -> Option<Box<dyn Any + Send>> {
    let mut job = Some(job);
    // Fails while the thread's last destructors run: then it is nested, if at all.
    let _ = list.try_with(|list| {
        if list.busy.replace(true)
            && let Some(job) = job.take()
        {
            list.jobs.borrow_mut().push_back(Box::new(job));
        }
    });
    let mut panic = catch_unwind(AssertUnwindSafe(job?)).err();
    while let Some(job) = next(list) {
        if let Err(payload) = catch_unwind(AssertUnwindSafe(job)) {
            match panic {
                // It has nobody to tell.
                Some(_) => drop_payload(payload),
                None => panic = Some(payload),
            }
        }
    }
    panic
}

/// What is next; if nothing is, nothing runs any more.
fn next(list: &'static LocalKey<Waiting>) -> Option<Box<dyn FnOnce()>> {
    let next = list.try_with(|list| {
        let mut jobs = list.jobs.borrow_mut();
        let next = jobs.pop_front();
        if next.is_none() {
            list.busy.set(false);
            // The room for a few is kept, not that of a crowd.
            if jobs.capacity() > KEPT {
                *jobs = VecDeque::new();
            }
        }
        next
    });
    next.ok().flatten()
}

const KEPT: usize = 64;
