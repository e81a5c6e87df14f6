//! Tasks, futures and their handles.

use super::{Body, suspending};
use crate::exc::{Exc, Outcome};
use crate::handle::{Handle, Joint};
use crate::log::Record;
use crate::namespace::{Entry, Names};
use crate::scenario::{self, Arg, Block};
use heist::{Awaitable, TaskRef};
use serde_json::{Value as Json, json};
use std::sync::Arc;
use std::time::Duration;

/// An argument that is a body, numbered already, or a handle.
enum Planned {
    Handle(Joint),
    Fresh(Arc<Record>, Block),
}

impl Body {
    pub(super) async fn sleep(&self, ms: i64, result: Option<&Json>) -> Result<(), Exc> {
        suspending(heist::sleep(duration(ms))).await?;
        if let Some(result) = result {
            self.log(json!(["sleep", result]));
        }
        Ok(())
    }

    pub(super) fn spawn(
        &self,
        bind: &str,
        body: &scenario::Body,
        name: Option<&str>,
    ) -> Result<(), Exc> {
        let block = self.resolve(body)?;
        let record = self.run.add_record(self.task.child_path(bind));
        let body = Self::new(self.run.clone(), record.clone()).into_task(block);
        let mut names = self.run.names.lock();
        let handle = self.run.spawn(&mut names, &record, body, name);
        names.bind(bind, Entry::Handle(Handle::Joint(handle)));
        Ok(())
    }

    pub(super) fn ensure_future(&self, bind: &str, of: &Arg) -> Result<(), Exc> {
        let mut names = self.run.names.lock();
        let (handle, is_same) = match self.plan(&names, of)? {
            Planned::Handle(given) => {
                let handle = heist::ensure_future(given.clone());
                let is_same = handle.identity() == given.identity();
                (handle, is_same)
            }
            fresh => (self.begin(&mut names, fresh), false),
        };
        names.bind(bind, Entry::Handle(Handle::Joint(handle)));
        drop(names);
        self.log(json!(["ensure_future", is_same]));
        Ok(())
    }

    pub(super) fn threadsafe(&self, bind: &str, body: &scenario::Body) -> Result<(), Exc> {
        let block = self.resolve(body)?;
        let record = self.run.add_record(self.task.child_path(bind));
        let body = Self::new(self.run.clone(), record.clone()).into_thread_task(block);
        let runtime = self.run.runtime.clone();
        let mut names = self.run.names.lock();
        let submit = move || heist::try_run_coroutine_threadsafe(body, &runtime);
        let Some(future) = outside(submit) else {
            return Err(self.run.fail("the submitting thread panicked".to_owned()));
        };
        self.run.adopt_thread(&mut names, &record, future.task());
        names.bind(bind, Entry::Handle(Handle::Thread(Arc::new(future))));
        Ok(())
    }

    /// As [`into_task`](Self::into_task), for a body whose handle does not say how it ended: that is noted here.
    async fn into_thread_task(self, block: Block) -> Outcome {
        let outcome = self.body(&block).await;
        self.task.set_ended_with(&outcome);
        match outcome {
            Ok(value) => Ok(value),
            Err(exc) => super::let_out(exc).await,
        }
    }

    pub(super) async fn wait_end(&self, h: &str) -> Result<(), Exc> {
        let value = self.value_of(self.handle(h)?).await?;
        self.log(json!(["await", h, value]));
        Ok(())
    }

    /// Awaits a handle.
    pub(super) async fn value_of(&self, handle: Handle) -> Outcome {
        suspending(handle.outcome()).await?
    }

    pub(super) fn cancel(&self, h: &str, message: Option<&str>) -> Result<(), Exc> {
        let cancelled = self.handle(h)?.cancel(message);
        self.log(json!(["cancel", h, cancelled]));
        Ok(())
    }

    pub(super) fn cancelling(&self, h: &str) -> Result<(), Exc> {
        let count = self.task_of(h)?.cancelling();
        self.log(json!(["cancelling", h, count]));
        Ok(())
    }

    pub(super) fn uncancel(&self, h: &str) -> Result<(), Exc> {
        let count = self.task_of(h)?.uncancel();
        self.log(json!(["uncancel", h, count]));
        Ok(())
    }

    pub(super) fn exception(&self, h: &str) -> Result<(), Exc> {
        let exc = self.joint(h)?.exception()?;
        self.log(json!(["exception", h, exc.map(|exc| exc.to_json())]));
        Ok(())
    }

    pub(super) fn on_done(&self, h: &str, label: &str) -> Result<(), Exc> {
        self.run.record_end(&self.joint(h)?, label.to_owned());
        Ok(())
    }

    pub(super) fn future(&self, bind: &str) {
        let (promise, future) = heist::promise::<Outcome>();
        let handle = Joint::Future(promise, future.shared());
        self.run
            .names
            .lock()
            .bind(bind, Entry::Handle(Handle::Joint(handle)));
    }

    pub(super) fn settle(&self, h: &str, outcome: Outcome) -> Result<(), Exc> {
        if let Err(Exc::Cancelled(_)) = outcome {
            return Err(self
                .run
                .fail("a future cannot be settled with a cancellation".to_owned()));
        }
        match self.joint(h)? {
            Joint::Future(promise, _) => {
                let set = promise.set(outcome);
                set.map_err(|_| Exc::library("InvalidStateError"))
            }
            _ => Err(self.misused(h, "a future")),
        }
    }

    pub(super) fn current_task(&self) -> Result<(), Exc> {
        let path = {
            let names = self.run.names.lock();
            heist::current_task().and_then(|task| self.run.path_of(&names, task.id()))
        };
        let path = path.ok_or_else(|| {
            self.run
                .fail("no current task, or a foreign one".to_owned())
        })?;
        self.log(json!(["current_task", path]));
        Ok(())
    }

    pub(super) fn all_tasks(&self) {
        let names = self.run.names.lock();
        let tasks = heist::all_tasks();
        let unfinished = tasks.iter().filter(|task| !task.is_done());
        // Those that are not the scenario's have no path: the root is one.
        let paths = unfinished.filter_map(|task| self.run.path_of(&names, task.id()));
        let mut paths: Vec<_> = paths.collect();
        drop(names);
        paths.sort();
        self.log(json!(["all_tasks", paths]));
    }

    pub(super) fn get_name(&self, h: &str) -> Result<(), Exc> {
        let name = self.task_of(h)?.explicit_name();
        self.log(json!(["get_name", h, name]));
        Ok(())
    }

    pub(super) fn set_name(&self, h: &str, name: &str) -> Result<(), Exc> {
        self.task_of(h)?.set_name(name);
        Ok(())
    }

    fn task_of(&self, h: &str) -> Result<TaskRef, Exc> {
        let task = self.handle(h)?.task();
        task.ok_or_else(|| self.misused(h, "a task"))
    }

    // -- arguments of combinators

    /// Turns arguments into handles: bodies are numbered in the order given before any can run, then started.
    pub(super) fn arguments(&self, names: &mut Names, args: &[Arg]) -> Result<Vec<Joint>, Exc> {
        let planned: Result<Vec<_>, _> = args.iter().map(|arg| self.plan(names, arg)).collect();
        let planned = planned?.into_iter();
        Ok(planned.map(|planned| self.begin(names, planned)).collect())
    }

    pub(super) fn argument(&self, names: &mut Names, arg: &Arg) -> Result<Joint, Exc> {
        let planned = self.plan(names, arg)?;
        Ok(self.begin(names, planned))
    }

    fn plan(&self, names: &Names, arg: &Arg) -> Result<Planned, Exc> {
        let fresh = match arg {
            Arg::Handle(name) => return self.joint_in(names, name).map(Planned::Handle),
            Arg::Fresh(fresh) => fresh,
        };
        let label = match (&fresh.label, &fresh.body) {
            (Some(label), _) if !label.is_empty() => label,
            (_, scenario::Body::Named(name)) => name,
            _ => "anon",
        };
        let block = self.resolve(&fresh.body)?;
        let record = self.run.add_record(self.task.child_path(label));
        Ok(Planned::Fresh(record, block))
    }

    fn begin(&self, names: &mut Names, planned: Planned) -> Joint {
        match planned {
            Planned::Handle(handle) => handle,
            Planned::Fresh(record, block) => {
                let body = Self::new(self.run.clone(), record.clone());
                let body = body.into_gated_task(block, heist::current_task());
                self.run.spawn(names, &record, body, None)
            }
        }
    }
}

impl Body {
    /// As [`into_task`](Self::into_task), for a body that a statement starts and goes on with: it must not be seen to act before the
    /// statement has got as far as it gets in one poll. Such a statement is one step, in which it may start the body, suspend, and hand a
    /// request that was kept down to the body; or cancel it, having no time to wait.
    ///
    /// A body that waits here has not begun: cancelled, it never will.
    async fn into_gated_task(self, block: Block, starter: Option<TaskRef>) -> Outcome {
        let mut is_running = true;
        while is_running {
            is_running = starter
                .as_ref()
                .is_some_and(|starter| self.run.is_running(starter));
            // What the starter asked for before it was seen to rest is met here.
            heist::task::yield_now().await;
        }
        self.into_task(block).await
    }
}

/// A span of time; none is negative.
pub(super) fn duration(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or_default())
}

/// Calls `submit` on another thread; `None` if it panicked.
fn outside<T: Send + 'static>(submit: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    #[cfg(feature = "sim")]
    if let Some(sim) = heist::sim::current() {
        return Some(sim.outside(submit));
    }
    std::thread::spawn(submit).join().ok()
}
