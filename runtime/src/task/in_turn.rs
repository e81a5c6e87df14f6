//! Dropping values in turn: one that is dropped by the drop of another waits until that is over.
//!
//! So a chain of a million values, each owning the handle of the next, takes no more stack than one. Tasks have the same for their outcomes
//! (`raw::drop_handle`), with a list of their own: a task's outcome reports the panic of what is dropped with it, so that has to come from within.

use super::raw::drop_payload;
use std::any::Any;
use std::cell::RefCell;
use std::mem::needs_drop;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Drops `value`, now or when the value is gone that is being dropped on this thread. The first panic of a destructor goes on, when all are gone.
pub(super) fn drop_in_turn<T: 'static>(value: T) {
    thread_local! {
        /// `Some` while a value is being dropped on this thread.
        static WAITING: RefCell<Option<Vec<Box<dyn Any>>>> = const { RefCell::new(None) };
    }
    if !needs_drop::<T>() {
        return;
    }
    let mut value = Some(value);
    let outermost = WAITING.try_with(|waiting| match &mut *waiting.borrow_mut() {
        Some(list) => {
            list.extend(value.take().map(|value| Box::new(value) as Box<dyn Any>));
            false
        }
        none => {
            *none = Some(Vec::new());
            true
        }
    });
    if outermost != Ok(true) {
        // It waits; or the thread is ending, and has no list any more.
        return drop(value);
    }
    let mut dropped = catch_unwind(AssertUnwindSafe(|| drop(value)));
    let next = || {
        WAITING.with(|waiting| {
            let mut waiting = waiting.borrow_mut();
            let next = waiting.as_mut().and_then(Vec::pop);
            if next.is_none() {
                *waiting = None;
            }
            next
        })
    };
    while let Some(value) = next() {
        let again = catch_unwind(AssertUnwindSafe(|| drop(value)));
        if let Err(payload) = again {
            match dropped {
                // It has nobody to tell.
                Err(_) => drop_payload(payload),
                Ok(()) => dropped = Err(payload),
            }
        }
    }
    if let Err(payload) = dropped {
        resume_unwind(payload);
    }
}
