//! What is recorded of a run: of each task its path, its events, its outcome, and when it ended.

use crate::exc::{Exc, Outcome, logged};
use crate::handle::{Handle, Joint};
use heist::{Awaitable, TaskRef};
use parking_lot::Mutex;
use serde_json::{Value as Json, json};
use std::collections::HashMap;
use std::sync::OnceLock;

/// No scenario has a task with a hundredth of this; one with more does not end, and would fill the memory before anybody notices.
const MAX_EVENTS: usize = 100_000;

/// One task's record.
pub(crate) struct Record {
    pub(crate) path: String,
    events: Mutex<Vec<Json>>,
    /// How often each label was used for a child.
    labels: Mutex<HashMap<String, usize>>,
    task: OnceLock<Tracked>,
    /// What a body that was submitted from another thread has ended with, of itself.
    ended_with: Mutex<Option<Outcome>>,
    ended_at: Mutex<Option<u64>>,
}

/// What is known of the task.
enum Tracked {
    Handle(Joint),
    /// Of a body submitted from another thread: its handle may end before the body does, and otherwise.
    Thread(TaskRef),
}

impl Record {
    pub(crate) fn new(path: String) -> Self {
        Self {
            path,
            events: Mutex::default(),
            labels: Mutex::default(),
            task: OnceLock::new(),
            ended_with: Mutex::new(None),
            ended_at: Mutex::new(None),
        }
    }

    /// The path of the next child that is labelled so.
    pub(crate) fn child_path(&self, label: &str) -> String {
        let mut labels = self.labels.lock();
        let count = labels.entry(label.to_owned()).or_default();
        *count += 1;
        match *count {
            1 => format!("{}/{label}", self.path),
            count => format!("{}/{label}#{count}", self.path),
        }
    }

    /// The last child that was labelled so did not come to be.
    pub(crate) fn forget_child(&self, label: &str) {
        if let Some(count) = self.labels.lock().get_mut(label) {
            *count -= 1;
        }
    }

    /// Adds an event; false if there are too many.
    pub(crate) fn push(&self, at: u64, mut event: Json) -> bool {
        if let Json::Array(parts) = &mut event {
            parts.insert(0, at.into());
        }
        let mut events = self.events.lock();
        let has_room = events.len() < MAX_EVENTS;
        if has_room {
            events.push(event);
        }
        has_room
    }

    /// It is a task now, with this handle.
    pub(crate) fn set_handle(&self, handle: Joint) {
        // A record is made for one task, so this is the first time.
        let _ = self.task.set(Tracked::Handle(handle));
    }

    /// It was submitted from another thread, as this task.
    pub(crate) fn set_thread(&self, task: TaskRef) {
        let _ = self.task.set(Tracked::Thread(task));
    }

    /// The body that was submitted from another thread has ended, of itself.
    pub(crate) fn set_ended_with(&self, outcome: &Outcome) {
        *self.ended_with.lock() = Some(outcome.clone());
    }

    pub(crate) fn set_ended(&self, at: u64) {
        *self.ended_at.lock() = Some(at);
    }

    /// What `self` means to the task.
    pub(crate) fn own_handle(&self) -> Option<Handle> {
        match self.task.get()? {
            Tracked::Handle(handle) => Some(Handle::Joint(handle.clone())),
            Tracked::Thread(task) => Some(Handle::Own(task.clone())),
        }
    }

    fn is_done(&self) -> bool {
        match self.task.get() {
            None => false,
            Some(Tracked::Handle(handle)) => handle.is_done(),
            Some(Tracked::Thread(task)) => task.is_done(),
        }
    }

    fn outcome(&self) -> Json {
        if !self.is_done() {
            return json!(["pending"]);
        }
        match self.task.get() {
            None => json!(["pending"]),
            Some(Tracked::Handle(handle)) => logged(handle.result()),
            Some(Tracked::Thread(task)) => match self.ended_with.lock().clone() {
                // Ended before its first step, or its value gave way to a request that was kept.
                None => Exc::Cancelled(None).to_json(),
                Some(Ok(_)) if task.is_cancelled() => Exc::Cancelled(None).to_json(),
                Some(outcome) => logged(outcome),
            },
        }
    }

    /// The task's part of the log.
    pub(crate) fn to_json(&self) -> Json {
        json!({"events": *self.events.lock(), "outcome": self.outcome(), "t": *self.ended_at.lock()})
    }

    /// Whether it has not ended, and what is known of it, for whoever wonders why the run does not end.
    pub(crate) fn stuck(&self) -> Option<String> {
        if self.is_done() {
            return None;
        }
        let events = self.events.lock();
        let last = events.last().map_or("nothing".to_owned(), Json::to_string);
        Some(format!(
            "{}: {} events, the last: {last}",
            self.path,
            events.len()
        ))
    }
}
