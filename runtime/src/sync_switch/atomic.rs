//! loom's atomics, with nothing forgotten.
//!
//! loom tries two operations in both orders if the later one *depends* on the last one before it, and remembers of each atomic the last
//! operation alone. Two loads do not depend on each other, so a thread that loads and then compares-and-swaps (as every transition does)
//! hides the load that another thread did before: what happens if that one comes second is never tried. (A model of 50 executions
//! ran one.) So each load is announced first, by the notification of a condvar that nobody waits on: it orders nothing, brings nothing, and
//! depends on the one before it.

use loom::sync::Condvar;
use loom::sync::atomic as loomed;
use std::sync::atomic::Ordering;

macro_rules! atomics {
    ($($name:ident $(<$of:ident>)? of $value:ty;)*) => { $(
        #[derive(Debug)]
        pub(crate) struct $name $(<$of>)? {
            atomic: loomed::$name $(<$of>)?,
            announced: Condvar,
        }

        impl $(<$of>)? $name $(<$of>)? {
            #[track_caller]
            pub(crate) fn new(value: $value) -> Self {
                Self {
                    atomic: loomed::$name::new(value),
                    announced: Condvar::new(),
                }
            }

            #[track_caller]
            pub(crate) fn load(&self, order: Ordering) -> $value {
                self.announced.notify_one();
                self.atomic.load(order)
            }

            #[allow(dead_code, reason = "not of each type")]
            #[track_caller]
            pub(crate) fn store(&self, value: $value, order: Ordering) {
                self.atomic.store(value, order);
            }

            #[allow(dead_code, reason = "not of each type")]
            #[track_caller]
            pub(crate) fn swap(&self, value: $value, order: Ordering) -> $value {
                self.atomic.swap(value, order)
            }

            #[allow(dead_code, reason = "not of each type")]
            #[track_caller]
            pub(crate) fn compare_exchange(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                self.atomic.compare_exchange(current, new, success, failure)
            }
        }
    )* };
}

atomics! {
    AtomicBool of bool;
    AtomicU32 of u32;
    AtomicUsize of usize;
    AtomicPtr<T> of *mut T;
}

impl AtomicUsize {
    #[track_caller]
    pub(crate) fn compare_exchange_weak(
        &self,
        current: usize,
        new: usize,
        success: Ordering,
        failure: Ordering,
    ) -> Result<usize, usize> {
        self.atomic
            .compare_exchange_weak(current, new, success, failure)
    }

    #[track_caller]
    pub(crate) fn fetch_add(&self, value: usize, order: Ordering) -> usize {
        self.atomic.fetch_add(value, order)
    }

    #[track_caller]
    pub(crate) fn fetch_sub(&self, value: usize, order: Ordering) -> usize {
        self.atomic.fetch_sub(value, order)
    }
}
