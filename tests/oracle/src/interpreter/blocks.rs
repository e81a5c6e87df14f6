//! Blocks: regions of the library that enclose statements.
//!
//! ```text
//!   inside the region, the body ends with     the region's value            and the statement ends with
//!   nothing, or a `return`                    Ok(flow)                      that, unless the region has errors of its own
//!   an error                                  Err(error)                    that, or a group that holds it
//!   a cancellation                            none: it is propagated, so that the region itself says what it comes to
//! ```
//!
//! A region that comes to a cancellation unwinds further, to the `catch_cancel` around it, and is raised from the block like from any other
//! statement.

use super::{Body, Frame, Step, let_out, suspending};
use crate::exc::Exc;
use crate::handle::{Handle, Joint};
use crate::namespace::Entry;
use crate::objects::Refusal;
use crate::scenario::{self, Block};
use heist::{Deadline, GroupError, TaskGroup};
use serde_json::json;

impl Body {
    /// The statements of a block inside a region.
    async fn enclosed(&self, body: &Block, frame: &mut Frame) -> Step {
        match self.block(body, frame).await {
            Ok(flow) => Ok(flow),
            Err(exc) => let_out(exc).await,
        }
    }

    pub(super) async fn timeout(
        &self,
        ms: Option<i64>,
        bind: Option<&str>,
        body: &Block,
        frame: &mut Frame,
    ) -> Step {
        let scope = match ms {
            Some(ms) => Deadline::at(self.run.instant_in(ms)),
            None => Deadline::never(),
        };
        if let Some(bind) = bind {
            self.run
                .names
                .lock()
                .bind(bind, Entry::Scope(scope.clone()));
        }
        let ended = suspending(scope.enclose(self.enclosed(body, frame))).await?;
        ended.unwrap_or(Err(Exc::Timeout))
    }

    pub(super) fn reschedule(&self, scope: &str, ms: Option<i64>) -> Result<(), Exc> {
        let at = ms.map(|ms| self.run.instant_in(ms));
        let moved = self.scope(scope)?.reschedule(at);
        moved.map_err(|_| Exc::library("RuntimeError"))
    }

    pub(super) fn when(&self, scope: &str) -> Result<(), Exc> {
        let at = self.scope(scope)?.when().map(|at| self.run.millis(at));
        self.log(json!(["when", scope, at]));
        Ok(())
    }

    pub(super) fn scope(&self, name: &str) -> Result<Deadline, Exc> {
        let entry = self.entry(&self.run.names.lock(), name)?;
        match entry {
            Entry::Scope(scope) => Ok(scope),
            _ => Err(self.misused(name, "a timeout")),
        }
    }

    pub(super) async fn task_group(&self, bind: &str, body: &Block, frame: &mut Frame) -> Step {
        let group = TaskGroup::try_run(async |group: TaskGroup| {
            self.run.names.lock().bind(bind, Entry::Group(group));
            self.enclosed(body, frame).await
        });
        let ended = suspending(group).await?;
        ended.map_err(|errors| self.group_of(&errors))
    }

    fn group_of(&self, errors: &GroupError) -> Exc {
        let errors = errors
            .failures()
            .iter()
            .map(|failure| match failure.downcast_ref::<Exc>() {
                Some(exc) => exc.clone(),
                None => self
                    .run
                    .fail(format!("a group's task failed with {failure}")),
            });
        Exc::Group(errors.collect())
    }

    pub(super) fn group_spawn(
        &self,
        tg: &str,
        bind: &str,
        body: &scenario::Body,
        name: Option<&str>,
    ) -> Result<(), Exc> {
        let block = self.resolve(body)?;
        let mut names = self.run.names.lock();
        let Entry::Group(group) = self.entry(&names, tg)? else {
            return Err(self.misused(tg, "a task group"));
        };
        let record = self.run.add_record(self.task.child_path(bind));
        let child = Self::new(self.run.clone(), record.clone()).into_task(block);
        let Ok(task) = group.try_spawn(child) else {
            self.task.forget_child(bind);
            self.run.remove_record(&record);
            return Err(Exc::library("RuntimeError"));
        };
        if let Some(name) = name {
            task.set_name(name);
        }
        let handle = self
            .run
            .adopt(&mut names, &record, Joint::Child(task.shared()));
        names.bind(bind, Entry::Handle(Handle::Joint(handle)));
        Ok(())
    }

    pub(super) async fn with(&self, on: &str, body: &Block, frame: &mut Frame) -> Step {
        let object = self.object(on)?;
        let entered = suspending(object.clone().enter()).await?;
        let entered =
            entered.map_err(|refusal| self.refused(refusal, on, "something to be `with`"))?;
        self.log(json!(["with", on, entered]));
        let step = self.block(body, frame).await;
        // An error here replaces whatever was under way.
        object.leave()?;
        step
    }

    /// What an object's refusal is raised as.
    pub(super) fn refused(&self, refusal: Refusal, on: &str, as_what: &str) -> Exc {
        match refusal {
            Refusal::Raised(exc) => exc,
            Refusal::Unfit => self.misused(on, as_what),
        }
    }
}
