//! A body: statement after statement, in the task that it belongs to. Control flow here; in the rooms below, one library call a statement.
//!
//! ```text
//!   tasks         spawning, awaiting, cancelling, looking at handles
//!   combinators   gather, wait, wait_for, as_completed, shield
//!   blocks        timeout, taskgroup, with: regions that enclose statements
//!   data          locks and queues, counters, context variables
//! ```
//!
//! What a cancellation is here. Python raises it at the `await`; the library drops a future at its await. So each statement that may suspend
//! is a future of its own inside `catch_cancel` ([`suspending`]), and what comes out of that as an error is raised from the statement: handlers
//! and `finally` blocks of the body run on, awaiting what they like. A body that lets a cancellation out goes on unwinding with
//! `Cancelled::propagate` ([`let_out`]), from its top or from inside the innermost block that the library has to see end.
//! A statement that does not suspend never awaits, and so meets no cancellation.

mod blocks;
mod combinators;
mod data;
mod tasks;

use crate::exc::{Exc, Outcome};
use crate::handle::{Handle, Joint};
use crate::log::Record;
use crate::namespace::{Entry, Names};
use crate::run::Run;
use crate::scenario::{self, Block, Clause, Match, Raised, Stmt, Try};
use heist::{Cancelled, catch_cancel};
use serde_json::{Value as Json, json};
use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;

/// Whether the next statement follows.
#[derive(Debug)]
pub(crate) enum Flow {
    Next,
    Return(Json),
}

/// How a statement or a block ends.
type Step = Result<Flow, Exc>;

/// The errors being handled around a statement, innermost last.
#[derive(Default)]
struct Frame {
    handling: Vec<Exc>,
}

/// A body in its task.
#[derive(Clone)]
pub(crate) struct Body {
    run: Arc<Run>,
    task: Arc<Record>,
}

impl Body {
    pub(crate) fn new(run: Arc<Run>, task: Arc<Record>) -> Self {
        Self { run, task }
    }

    /// The whole body, as a task's future.
    pub(crate) async fn into_task(self, block: Block) -> Outcome {
        match self.body(&block).await {
            Ok(value) => Ok(value),
            Err(exc) => let_out(exc).await,
        }
    }

    /// A body from its first statement to its end or its `return`.
    async fn body(&self, block: &Block) -> Outcome {
        let flow = self.block(block, &mut Frame::default()).await?;
        Ok(match flow {
            Flow::Next => Json::Null,
            Flow::Return(value) => value,
        })
    }

    /// Boxed, because blocks lie in blocks.
    fn block<'a>(
        &'a self,
        block: &'a [Stmt],
        frame: &'a mut Frame,
    ) -> Pin<Box<dyn Future<Output = Step> + Send + 'a>> {
        Box::pin(async move {
            for statement in block {
                if let Flow::Return(value) = self.statement(statement, frame).await? {
                    return Ok(Flow::Return(value));
                }
            }
            Ok(Flow::Next)
        })
    }

    async fn statement(&self, statement: &Stmt, frame: &mut Frame) -> Step {
        if !self.run.may_go_on() {
            // Until it is aborted.
            return pending().await;
        }
        match statement {
            Stmt::Log { msg } => self.log(json!(["log", msg])),
            Stmt::Return { value } => return Ok(Flow::Return(value.clone())),
            Stmt::Raise(Raised { kind, msg }) => return Err(Exc::raised(kind, msg.as_deref())),
            Stmt::Reraise {} => return Err(self.handled(frame)),
            Stmt::Repeat { n, body } => return self.repeat(*n, body, frame).await,
            Stmt::Call { body } => self.call(body).await?,
            Stmt::Try(parts) => return self.attempt(parts, frame).await,

            Stmt::Sleep { ms, result } => self.sleep(*ms, result.as_ref()).await?,
            Stmt::Spawn { bind, body, name } => self.spawn(bind, body, name.as_deref())?,
            Stmt::EnsureFuture { bind, of } => self.ensure_future(bind, of)?,
            Stmt::Threadsafe { bind, body } => self.threadsafe(bind, body)?,
            Stmt::Await { h } => self.wait_end(h).await?,
            Stmt::Cancel { h, msg } => self.cancel(h, msg.as_deref())?,
            Stmt::Cancelling { h } => self.cancelling(h)?,
            Stmt::Uncancel { h } => self.uncancel(h)?,
            Stmt::Done { h } => self.log(json!(["done", h, self.handle(h)?.is_done()])),
            Stmt::Cancelled { h } => {
                self.log(json!(["cancelled", h, self.handle(h)?.is_cancelled()]))
            }
            Stmt::Result { h } => self.log(json!(["result", h, self.joint(h)?.result()?])),
            Stmt::Exception { h } => self.exception(h)?,
            Stmt::OnDone { h, label } => self.on_done(h, label)?,
            Stmt::Future { bind } => self.future(bind),
            Stmt::SetResult { h, value } => self.settle(h, Ok(value.clone()))?,
            Stmt::SetException { h, kind, msg } => {
                self.settle(h, Err(Exc::raised(kind, msg.as_deref())))?
            }
            Stmt::CurrentTask {} => self.current_task()?,
            Stmt::AllTasks {} => self.all_tasks(),
            Stmt::GetName { h } => self.get_name(h)?,
            Stmt::SetName { h, name } => self.set_name(h, name)?,

            Stmt::Gather {
                of,
                return_exceptions,
                bind,
            } => {
                self.gather(of, *return_exceptions, bind.as_deref()).await?;
            }
            Stmt::Wait {
                of,
                timeout_ms,
                return_when,
            } => self.wait(of, *timeout_ms, *return_when).await?,
            Stmt::WaitFor { of, timeout_ms } => self.wait_for(of, *timeout_ms).await?,
            Stmt::AsCompleted {
                bind,
                of,
                timeout_ms,
            } => self.as_completed(bind, of, *timeout_ms)?,
            Stmt::Next { it } => self.next(it).await?,
            Stmt::Shield { of, bind } => self.shield(of, bind.as_deref()).await?,

            Stmt::Timeout { ms, bind, body } => {
                return self.timeout(*ms, bind.as_deref(), body, frame).await;
            }
            Stmt::Reschedule { scope, ms } => self.reschedule(scope, *ms)?,
            Stmt::Expired { scope } => {
                self.log(json!(["expired", scope, self.scope(scope)?.expired()]))
            }
            Stmt::When { scope } => self.when(scope)?,
            Stmt::Taskgroup { bind, body } => return self.task_group(bind, body, frame).await,
            Stmt::TgSpawn {
                tg,
                bind,
                body,
                name,
            } => self.group_spawn(tg, bind, body, name.as_deref())?,
            Stmt::With { on, body } => return self.with(on, body, frame).await,

            Stmt::New {
                bind,
                kind,
                n,
                lock,
            } => self.create(bind, *kind, *n, lock.as_deref())?,
            Stmt::Do { on, method, args } => self.call_method(on, *method, args).await?,
            Stmt::Add { counter, by } => self.run.counters.add(counter, *by),
            Stmt::CtxSet { var, value } => self.set_variable(var, value),
            Stmt::CtxGet { var } => self.get_variable(var),
        }
        Ok(Flow::Next)
    }

    // -- control flow

    async fn repeat(&self, n: u32, body: &Block, frame: &mut Frame) -> Step {
        // A body of nothing is over at once, however often.
        let n = if body.is_empty() { 0 } else { n };
        for _ in 0..n {
            if let Flow::Return(value) = self.block(body, frame).await? {
                return Ok(Flow::Return(value));
            }
        }
        Ok(Flow::Next)
    }

    async fn call(&self, body: &scenario::Body) -> Result<(), Exc> {
        let block = self.resolve(body)?;
        let value = self.body(&block).await?;
        self.log(json!(["call", value]));
        Ok(())
    }

    async fn attempt(&self, parts: &Try, frame: &mut Frame) -> Step {
        let step = self.attempt_and_handle(parts, frame).await;
        // An error or a `return` in here replaces whatever was under way.
        match self.block(&parts.finally, frame).await? {
            Flow::Next => step,
            replaced => Ok(replaced),
        }
    }

    async fn attempt_and_handle(&self, parts: &Try, frame: &mut Frame) -> Step {
        let exc = match self.block(&parts.body, frame).await {
            Ok(Flow::Next) => return self.block(&parts.otherwise, frame).await,
            Ok(returned) => return Ok(returned),
            Err(exc) => exc,
        };
        let Some(clause) = parts.except.iter().find(|clause| clause.fits(&exc)) else {
            return Err(exc);
        };
        self.log(json!(["except", exc.to_json()]));
        frame.handling.push(exc);
        let step = self.block(&clause.body, frame).await;
        frame.handling.pop();
        step
    }

    /// The error that the innermost handler is handling.
    fn handled(&self, frame: &Frame) -> Exc {
        match frame.handling.last() {
            Some(exc) => exc.clone(),
            None => self.run.fail("reraise outside an except block".to_owned()),
        }
    }

    // -- what all statements use

    fn log(&self, event: Json) {
        self.run.log(&self.task, event);
    }

    fn resolve(&self, body: &scenario::Body) -> Result<Block, Exc> {
        match body {
            scenario::Body::Inline(block) => Ok(block.clone()),
            scenario::Body::Named(name) => match self.run.scenario.bodies.get(name) {
                Some(block) => Ok(block.clone()),
                None => Err(self.run.fail(format!("unknown body {name:?}"))),
            },
        }
    }

    fn handle(&self, name: &str) -> Result<Handle, Exc> {
        self.handle_in(&self.run.names.lock(), name)
    }

    /// The names are asked for `self` too: whoever spawned this task may still be about to name it.
    fn handle_in(&self, names: &Names, name: &str) -> Result<Handle, Exc> {
        if name == "self" {
            let own = self.task.own_handle();
            return own.ok_or_else(|| self.run.fail("a task without a handle".to_owned()));
        }
        match self.entry(names, name)? {
            Entry::Handle(handle) => Ok(handle),
            _ => Err(self.misused(name, "a handle")),
        }
    }

    fn joint(&self, name: &str) -> Result<Joint, Exc> {
        self.joint_in(&self.run.names.lock(), name)
    }

    fn joint_in(&self, names: &Names, name: &str) -> Result<Joint, Exc> {
        match self.handle_in(names, name)? {
            Handle::Joint(joint) => Ok(joint),
            Handle::Thread(_) | Handle::Own(_) => {
                Err(self.misused(name, "a handle for more than awaiting and cancelling"))
            }
        }
    }

    fn entry(&self, names: &Names, name: &str) -> Result<Entry, Exc> {
        let entry = names.get(name);
        entry.ok_or_else(|| self.run.fail(format!("unbound name {name:?}")))
    }

    fn misused(&self, name: &str, as_what: &str) -> Exc {
        self.run.fail(format!("{name:?} is not {as_what}"))
    }
}

impl Clause {
    fn fits(&self, exc: &Exc) -> bool {
        let matches = match exc {
            Exc::Cancelled(_) => self.matches == Match::Cancelled,
            Exc::Timeout => self.matches == Match::Timeout,
            Exc::Error(..) => self.matches == Match::Error,
            Exc::Group(_) => self.matches == Match::Group,
        };
        let kind_fits = match (&self.kind, exc) {
            (None, _) => true,
            (Some(wanted), Exc::Error(kind, _)) => wanted == kind,
            (Some(_), _) => false,
        };
        (matches || self.matches == Match::Any) && kind_fits
    }
}

/// Runs a statement's operation. A cancellation delivered meanwhile is raised from the statement.
async fn suspending<T>(operation: impl Future<Output = T>) -> Result<T, Exc> {
    catch_cancel(operation).await.map_err(Exc::from)
}

/// Ends a region of the library's with an error of its body: a cancellation goes on unwinding, and does not come back.
async fn let_out<T>(exc: Exc) -> Result<T, Exc> {
    match exc {
        Exc::Cancelled(message) => Cancelled::new(message.as_deref()).propagate().await,
        exc => Err(exc),
    }
}
