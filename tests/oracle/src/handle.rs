//! The handles that a scenario binds: tasks, futures, gathers, shields, thread handles.
//!
//! A gather's value is a list, a task's is what its body returned. To let every combinator take a mixture, [`Joint`] wraps the library's own
//! handles, passes on whatever is asked, and shows each value as an [`Outcome`].

use crate::exc::{Exc, Outcome, flatten, listed};
use heist::task::Target;
use heist::{Awaitable, EnsureFuture, Promise, Shared, TaskError, TaskRef, concurrent};
use serde_json::Value as Json;
use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// What a gather with `return_exceptions` gives.
pub(crate) type Listed = Vec<Result<Outcome, TaskError>>;

/// What a gather without gives.
pub(crate) type Gathered = Result<Vec<Json>, Exc>;

/// What a task of a group gives.
pub(crate) type Childs = Result<Json, Arc<dyn Error + Send + Sync>>;

#[derive(Clone)]
pub(crate) enum Handle {
    /// What can be asked anything.
    Joint(Joint),
    /// A coroutine submitted from another thread.
    Thread(Arc<concurrent::Future<Outcome>>),
    /// `self` of such a coroutine, which has no other handle of its own.
    Own(TaskRef),
}

/// A handle that combinators take.
#[derive(Clone)]
pub(crate) enum Joint {
    /// A task, a shield.
    Plain(Shared<Outcome>),
    /// A task of a group, which has the same error.
    Child(Shared<Childs>),
    /// A future, and the way to settle it.
    Future(Promise<Outcome>, Shared<Outcome>),
    Gather(Shared<Gathered>),
    GatherAll(Shared<Listed>),
}

/// Asks the library's handle, whichever it is.
macro_rules! ask {
    ($joint:expr, $shared:ident => $answer:expr) => {
        match $joint {
            Joint::Plain($shared) | Joint::Future(_, $shared) => $answer,
            Joint::Child($shared) => $answer,
            Joint::Gather($shared) => $answer,
            Joint::GatherAll($shared) => $answer,
        }
    };
}

impl Handle {
    pub(crate) fn is_done(&self) -> bool {
        match self {
            Self::Joint(joint) => joint.is_done(),
            Self::Thread(thread) => thread.done(),
            Self::Own(task) => task.is_done(),
        }
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        match self {
            Self::Joint(joint) => joint.is_cancelled(),
            Self::Thread(thread) => thread.cancelled(),
            Self::Own(task) => task.is_cancelled(),
        }
    }

    pub(crate) fn cancel(&self, message: Option<&str>) -> bool {
        match self {
            Self::Joint(joint) => ask!(joint, shared => shared.cancel(message)),
            // It takes no message.
            Self::Thread(thread) => thread.cancel(),
            Self::Own(task) => task.cancel(message),
        }
    }

    /// The task, if it is one's handle.
    pub(crate) fn task(&self) -> Option<TaskRef> {
        match self {
            Self::Joint(joint) => joint.task(),
            Self::Thread(_) => None,
            Self::Own(task) => Some(task.clone()),
        }
    }

    /// Waits for the end.
    pub(crate) async fn outcome(self) -> Outcome {
        match self {
            Self::Joint(joint) => flatten(joint.await),
            Self::Thread(thread) => flatten(thread.wrap().await),
            Self::Own(_) => Err(Exc::library("RuntimeError")),
        }
    }
}

impl Joint {
    /// The task, if it is one's handle.
    pub(crate) fn task(&self) -> Option<TaskRef> {
        ask!(self, shared => shared.task())
    }

    /// The outcome, without waiting; an error of its own if there is none yet.
    pub(crate) fn result(&self) -> Outcome {
        match self {
            Self::Plain(shared) | Self::Future(_, shared) => flatten(shared.result()),
            Self::Child(shared) => of_child(shared.result()?),
            Self::Gather(shared) => of_gathered(shared.result()?),
            Self::GatherAll(shared) => of_listed(shared.result()?),
        }
    }

    /// The error that it ended with, if any; raised instead of given are a cancellation and that there is no end yet.
    pub(crate) fn exception(&self) -> Result<Option<Exc>, Exc> {
        match ask!(self, shared => shared.exception()?) {
            Some(error) => Ok(Some(error.into())),
            // A body's own error is a value to the library.
            None => Ok(self.result().err()),
        }
    }

    pub(crate) fn add_done_callback(&self, callback: impl FnOnce() + Send + 'static) {
        ask!(self, shared => shared.add_done_callback(callback));
    }
}

impl Awaitable for Joint {
    type Value = Outcome;

    fn target(&self) -> Target {
        ask!(self, shared => shared.target())
    }

    fn is_done(&self) -> bool {
        ask!(self, shared => shared.is_done())
    }

    fn is_cancelled(&self) -> bool {
        ask!(self, shared => shared.is_cancelled())
    }

    fn error(&self) -> Option<TaskError> {
        ask!(self, shared => shared.error())
    }

    fn has_value(&mut self, holds: fn(&Outcome) -> bool) -> bool {
        self.is_done() && self.take().is_ok_and(|outcome| holds(&outcome))
    }

    fn poll_ended(&mut self, cx: &mut Context<'_>) -> bool {
        ask!(self, shared => shared.poll_ended(cx))
    }

    fn take(&mut self) -> Result<Outcome, TaskError> {
        match self {
            Self::Plain(shared) | Self::Future(_, shared) => shared.take(),
            Self::Child(shared) => shared.take().map(of_child),
            Self::Gather(shared) => shared.take().map(of_gathered),
            Self::GatherAll(shared) => shared.take().map(of_listed),
        }
    }

    fn identity(&self) -> usize {
        ask!(self, shared => shared.identity())
    }
}

impl EnsureFuture for Joint {
    type Handle = Self;

    fn ensure_future(self) -> Self {
        self
    }
}

impl Future for Joint {
    type Output = Result<Outcome, TaskError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(match &mut *self {
            Self::Plain(shared) | Self::Future(_, shared) => ready!(Pin::new(shared).poll(cx)),
            Self::Child(shared) => ready!(Pin::new(shared).poll(cx)).map(of_child),
            Self::Gather(shared) => ready!(Pin::new(shared).poll(cx)).map(of_gathered),
            Self::GatherAll(shared) => ready!(Pin::new(shared).poll(cx)).map(of_listed),
        })
    }
}

fn of_child(ended: Childs) -> Outcome {
    ended.map_err(|error| match error.downcast_ref::<Exc>() {
        Some(exc) => exc.clone(),
        // Nothing else is ever given to a group.
        None => Exc::Error("unexpected".to_owned(), Some(error.to_string())),
    })
}

fn of_gathered(values: Gathered) -> Outcome {
    values.map(Json::Array)
}

fn of_listed(outcomes: Listed) -> Outcome {
    Ok(Json::Array(outcomes.into_iter().map(listed).collect()))
}
