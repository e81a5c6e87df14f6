//! The waker of a task: a pointer to its header with one reference. Cloning, waking and dropping allocate nothing.
#![allow(unsafe_code)]

use super::cell::Header;
use super::raw;
use crate::system;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::ptr::NonNull;
use std::task::{RawWaker, RawWakerVTable, Waker};

static VTABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, drop_waker);

/// A waker that borrows the run's reference: the poll itself counts nothing, only the clones do.
pub(super) struct Borrowed<'a> {
    waker: ManuallyDrop<Waker>,
    _task: std::marker::PhantomData<&'a NonNull<Header>>,
}

pub(super) fn borrowed(task: &NonNull<Header>) -> Borrowed<'_> {
    let raw = RawWaker::new(task.as_ptr().cast_const().cast(), &VTABLE);
    Borrowed {
        // SAFETY: the four functions below keep the contract of a waker; `ManuallyDrop` keeps this one from giving back a reference
        // that it does not have.
        waker: ManuallyDrop::new(unsafe { Waker::from_raw(raw) }),
        _task: std::marker::PhantomData,
    }
}

/// Whether `waker` wakes this very task, and nothing else.
pub(super) fn is_of(waker: &Waker, task: &Header) -> bool {
    std::ptr::eq(waker.data().cast::<Header>(), task) && std::ptr::eq(waker.vtable(), &VTABLE)
}

impl Deref for Borrowed<'_> {
    type Target = Waker;

    fn deref(&self) -> &Waker {
        &self.waker
    }
}

/// # Safety
///
/// `data` is the pointer of a waker made here, so never null.
unsafe fn header(data: *const ()) -> NonNull<Header> {
    // SAFETY: by the caller's word.
    unsafe { NonNull::new_unchecked(data.cast::<Header>().cast_mut()) }
}

unsafe fn clone(data: *const ()) -> RawWaker {
    // SAFETY: the waker that is being cloned holds, or borrows, a reference.
    unsafe { header(data).as_ref().state.add_reference() };
    RawWaker::new(data, &VTABLE)
}

unsafe fn wake(data: *const ()) {
    system::preempt();
    // SAFETY: the waker's reference is given up.
    unsafe { raw::wake_by_value(header(data)) }
}

unsafe fn wake_by_ref(data: *const ()) {
    system::preempt();
    // SAFETY: the waker holds, or borrows, a reference.
    unsafe { raw::wake_by_ref(header(data)) }
}

unsafe fn drop_waker(data: *const ()) {
    // SAFETY: the waker's reference is given up.
    unsafe { raw::drop_reference(header(data)) }
}
