//! Every tracing event of the runtime, at life-cycle edges only. Disabled events cost about a nanosecond.
//!
//! A subscriber is foreign code: its panics end here (`contain`).

use crate::failure::Failure;
use crate::task::{Header, TaskRef, contain};
use std::time::Duration;

const TARGET: &str = "heist";

/// Emits an event of `level`, if anybody listens. Whether this very subscriber does is its own code to say, so it is asked where its panics end too.
macro_rules! event {
    ($level:ident, $($event:tt)+) => {
        if tracing::Level::$level <= tracing::level_filters::LevelFilter::current() {
            contain(|| tracing::event!(target: TARGET, tracing::Level::$level, $($event)+));
        }
    };
}

/// A task that no runtime accepted. Its outcome says so too, but the handle may be dropped.
#[cold]
pub(crate) fn refused(task: &Header) {
    event!(WARN, spawned_at = %task.spawned_at(), "a task was spawned on a thread that is in no runtime, and dropped");
}

#[inline]
pub(crate) fn task_spawned(task: &Header) {
    event!(TRACE, id = task.id().get(), spawned_at = %task.spawned_at(), "task spawned");
}

#[inline]
pub(crate) fn task_ended(task: &Header) {
    event!(TRACE, id = task.id().get(), "task ended");
}

#[inline]
pub(crate) fn cancel_requested(task: &Header) {
    event!(DEBUG, id = task.id().get(), "cancel requested");
}

#[cold]
pub(crate) fn failure(failure: &Failure) {
    let task = failure.task.as_ref();
    event!(ERROR, id = task.map(|task| task.id().get()),
        name = task.map(TaskRef::name),
        spawned_at = task.map(|task| tracing::field::display(task.spawned_at())),
        kind = ?failure.kind,
        "{failure}"
    );
}

#[cold]
pub(crate) fn slow_poll(task: Option<&TaskRef>, lasted: Duration, asleep: bool) {
    let what = if asleep {
        "a task blocks its worker: move the blocking call to spawn_blocking"
    } else {
        "a task has kept its worker busy for long: let it await now and then, or move the work to spawn_blocking"
    };
    event!(
        WARN,
        id = task.map(|task| task.id().get()),
        name = task.map(TaskRef::name),
        spawned_at = task.map(|task| tracing::field::display(task.spawned_at())),
        ?lasted,
        "{what}"
    );
}

pub(crate) fn worker_started(index: usize) {
    event!(DEBUG, worker = index, "worker started");
}

pub(crate) fn worker_stopped(index: usize) {
    event!(DEBUG, worker = index, "worker stopped");
}

#[cold]
pub(crate) fn worker_replaced(index: usize) {
    event!(
        DEBUG,
        worker = index,
        "a blocked worker is replaced by this one"
    );
}

#[cold]
pub(crate) fn not_replaced(error: &std::io::Error) {
    event!(WARN, %error, "a blocked worker could not be replaced");
}

#[cold]
pub(crate) fn driver_failed(error: &std::io::Error) {
    event!(ERROR, %error, "the I/O driver failed");
}

pub(crate) fn shutdown_begun(tasks: usize) {
    event!(DEBUG, tasks, "shutdown begun");
}

pub(crate) fn shutdown_ended(late_tasks: usize, late_threads: usize) {
    if late_tasks + late_threads == 0 {
        event!(DEBUG, "shutdown complete");
    } else {
        event!(
            WARN,
            late_tasks,
            late_threads,
            "shutdown left tasks or threads behind"
        );
    }
}
