//! What the names of a scenario stand for, and the shared counters.
//!
//! One map for all tasks. Whoever makes something and binds it holds the map's lock meanwhile, so that no task sees the one without the
//! other; functions that may only be called then ask for `&mut Names` as proof. Nothing is awaited, and no foreign code runs, under it.

use crate::handle::{Handle, Joint};
use crate::objects::Object;
use heist::{AsCompleted, Deadline, TaskGroup};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// What a name stands for.
#[derive(Clone)]
pub(crate) enum Entry {
    Handle(Handle),
    Object(Object),
    Scope(Deadline),
    Group(TaskGroup),
    Iterator(Iteration),
}

#[derive(Default)]
pub(crate) struct Names {
    bound: HashMap<String, Entry>,
    /// What was bound to a name that stands for something else now. Handles do nothing when they are dropped, or so they should; but no
    /// scenario is about that.
    replaced: Vec<Entry>,
}

impl Names {
    pub(crate) fn bind(&mut self, name: &str, entry: Entry) {
        self.replaced
            .extend(self.bound.insert(name.to_owned(), entry));
    }

    pub(crate) fn get(&self, name: &str) -> Option<Entry> {
        self.bound.get(name).cloned()
    }

    /// Every handle that was ever bound.
    pub(crate) fn handles(&self) -> impl Iterator<Item = &Handle> {
        let entries = self.bound.values().chain(&self.replaced);
        entries.filter_map(|entry| match entry {
            Entry::Handle(handle) => Some(handle),
            _ => None,
        })
    }
}

/// An `as_completed` under way. Each `next` counts, one that was cancelled too.
#[derive(Clone)]
pub(crate) struct Iteration {
    pub(crate) children: AsCompleted<Joint>,
    left: Arc<AtomicUsize>,
}

impl Iteration {
    pub(crate) fn new(children: AsCompleted<Joint>, len: usize) -> Self {
        Self {
            children,
            left: Arc::new(AtomicUsize::new(len)),
        }
    }

    /// Whether there is a child left for one more `next`.
    pub(crate) fn begin_next(&self) -> bool {
        // Relaxed: a number that publishes nothing.
        self.left
            .fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1))
            .is_ok()
    }
}

/// Named shared integers, 0 at first.
#[derive(Default)]
pub(crate) struct Counters(Mutex<HashMap<String, i64>>);

impl Counters {
    pub(crate) fn add(&self, name: &str, by: i64) {
        *self.0.lock().entry(name.to_owned()).or_default() += by;
    }

    pub(crate) fn get(&self, name: &str) -> i64 {
        self.0.lock().get(name).copied().unwrap_or_default()
    }
}
