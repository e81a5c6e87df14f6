//! Without the feature `stacks`: no poll is traced, and the answer is there at once.

use super::super::cell::Header;
use super::{Answer, Asked, Frame, Stack};
use crate::current;
use crate::task::TaskRef;
use heist_io_driver::leaf;
use std::convert::Infallible;
use std::task::{Context, Poll};
use std::time::Instant;

/// The bracket round a task's poll.
pub(in crate::task) struct Tracing;

impl Tracing {
    #[inline]
    pub(in crate::task) fn begin(_: &Header, interrupted: bool) -> Self {
        leaf::begin_poll(current::budget(), interrupted);
        Self
    }

    /// Says whether the poll yielded for want of budget.
    #[inline]
    pub(in crate::task) fn end(self, _: bool, _: impl FnOnce() -> TaskRef) -> bool {
        leaf::end_poll().forced_yield
    }
}

pub(super) struct Chains;

impl Chains {
    pub(super) fn none() -> Self {
        Self
    }

    pub(super) fn of_here() -> Self {
        Self
    }

    pub(super) fn frames(&self) -> &[Frame] {
        &[]
    }

    pub(super) fn left_out(&self) -> usize {
        0
    }
}

pub(super) fn ask(task: &TaskRef) -> Asked {
    Asked::Break(Ok(Stack::new(task, task.waits_for(), Chains)))
}

/// Nobody waits.
pub(super) struct Waiting(Infallible);

impl Waiting {
    pub(super) fn poll(&self, _: &Context<'_>) -> Poll<Answer> {
        match self.0 {}
    }

    pub(super) fn wait_until(&self, _: Option<Instant>) -> Option<Answer> {
        match self.0 {}
    }
}
