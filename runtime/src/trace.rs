//! Every tracing event of the runtime, at life-cycle edges only. Disabled events cost about a nanosecond.

use crate::task::{Header, TaskError, TaskRef};
use std::time::Duration;

const TARGET: &str = "heist";

#[inline]
pub(crate) fn task_spawned(task: &Header) {
    tracing::trace!(target: TARGET, id = task.id().get(), spawned_at = %task.spawned_at(), "task spawned");
}

#[inline]
pub(crate) fn task_ended(task: &Header) {
    tracing::trace!(target: TARGET, id = task.id().get(), "task ended");
}

#[inline]
pub(crate) fn cancel_requested(task: &Header) {
    tracing::debug!(target: TARGET, id = task.id().get(), "cancel requested");
}

#[cold]
pub(crate) fn unhandled(task: &TaskRef, error: &TaskError) {
    tracing::error!(
        target: TARGET,
        id = task.id().get(),
        name = task.name(),
        spawned_at = %task.spawned_at(),
        %error,
        "a task failed and nobody retrieved its outcome"
    );
}

#[cold]
pub(crate) fn slow_poll(task: Option<&TaskRef>, lasted: Duration, asleep: bool) {
    let what = if asleep {
        "a task blocks its worker: move the blocking call to spawn_blocking"
    } else {
        "a task has kept its worker busy for long: let it await now and then, or move the work to spawn_blocking"
    };
    tracing::warn!(
        target: TARGET,
        id = task.map(|task| task.id().get()),
        name = task.map(TaskRef::name),
        spawned_at = task.map(|task| tracing::field::display(task.spawned_at())),
        ?lasted,
        "{what}"
    );
}

pub(crate) fn worker_started(index: usize) {
    tracing::debug!(target: TARGET, worker = index, "worker started");
}

pub(crate) fn worker_stopped(index: usize) {
    tracing::debug!(target: TARGET, worker = index, "worker stopped");
}

#[cold]
pub(crate) fn worker_replaced(index: usize) {
    tracing::debug!(target: TARGET, worker = index, "a blocked worker is replaced by this one");
}

#[cold]
pub(crate) fn not_replaced(error: &std::io::Error) {
    tracing::warn!(target: TARGET, %error, "a blocked worker could not be replaced");
}

#[cold]
pub(crate) fn driver_failed(error: &std::io::Error) {
    tracing::error!(target: TARGET, %error, "the I/O driver failed");
}

pub(crate) fn shutdown_begun(tasks: usize) {
    tracing::debug!(target: TARGET, tasks, "shutdown begun");
}

pub(crate) fn shutdown_ended(late_tasks: usize, late_threads: usize) {
    if late_tasks + late_threads == 0 {
        tracing::debug!(target: TARGET, "shutdown complete");
    } else {
        tracing::warn!(target: TARGET, late_tasks, late_threads, "shutdown left tasks or threads behind");
    }
}
