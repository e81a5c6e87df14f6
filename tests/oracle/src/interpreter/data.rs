//! Locks and queues, shared counters, context variables.

use super::{Body, suspending};
use crate::exc::Exc;
use crate::namespace::Entry;
use crate::objects::Object;
use crate::scenario::{Kind, Method};
use heist::context::ContextVar;
use parking_lot::Mutex;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;

impl Body {
    pub(super) fn create(
        &self,
        bind: &str,
        kind: Kind,
        n: Option<i64>,
        lock: Option<&str>,
    ) -> Result<(), Exc> {
        let lock = lock.map(|lock| self.object(lock)).transpose()?;
        let object = Object::new(kind, n, lock);
        let object = object.map_err(|refusal| self.refused(refusal, bind, "made like this"))?;
        self.run.names.lock().bind(bind, Entry::Object(object));
        Ok(())
    }

    pub(super) async fn call_method(
        &self,
        on: &str,
        method: Method,
        args: &[Json],
    ) -> Result<(), Exc> {
        let counters = self.run.counters.clone();
        let call = self.object(on)?.call(method, args.to_vec(), counters);
        let name = method.name();
        let answer = suspending(call).await?;
        let answer = answer
            .map_err(|refusal| self.refused(refusal, on, &format!("something with {name}")))?;
        self.log(json!(["do", on, name, answer]));
        Ok(())
    }

    pub(super) fn object(&self, name: &str) -> Result<Object, Exc> {
        let entry = self.entry(&self.run.names.lock(), name)?;
        match entry {
            Entry::Object(object) => Ok(object),
            _ => Err(self.misused(name, "a lock, a queue or the like")),
        }
    }

    pub(super) fn set_variable(&self, name: &str, value: &Json) {
        drop(variable(name).set(value.clone()));
    }

    pub(super) fn get_variable(&self, name: &str) {
        let value = variable(name).get();
        self.log(json!(["ctx_get", name, value.unwrap_or_default()]));
    }
}

/// The variable of this name. A variable lives for ever, so there is one for all runs, each of which begins with it unset.
fn variable(name: &str) -> &'static ContextVar<Json> {
    static VARIABLES: Mutex<BTreeMap<String, &'static ContextVar<Json>>> =
        Mutex::new(BTreeMap::new());
    let mut variables = VARIABLES.lock();
    let known = variables.entry(name.to_owned());
    known.or_insert_with(|| {
        let name = Box::leak(name.to_owned().into_boxed_str());
        Box::leak(Box::new(ContextVar::new(name)))
    })
}
