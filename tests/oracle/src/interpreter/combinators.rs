//! Combinators: several handles at once.

use super::tasks::duration;
use super::{Body, suspending};
use crate::exc::{Exc, flatten};
use crate::handle::{Handle, Joint};
use crate::namespace::{Entry, Iteration};
use crate::scenario::{Arg, ReturnWhen};
use heist::Awaitable;
use serde_json::json;

impl Body {
    pub(super) async fn gather(
        &self,
        of: &[Arg],
        return_exceptions: bool,
        bind: Option<&str>,
    ) -> Result<(), Exc> {
        let gathered = {
            let mut names = self.run.names.lock();
            let args = self.arguments(&mut names, of)?;
            let gathered = match (return_exceptions, bind) {
                (true, Some(_)) => {
                    Joint::GatherAll(heist::gather(args).return_exceptions().start().shared())
                }
                (true, None) => {
                    let gather = heist::gather(args).return_exceptions();
                    Joint::GatherAll(gather.into_future().shared())
                }
                (false, Some(_)) => Joint::Gather(heist::try_gather(args).start().shared()),
                (false, None) => Joint::Gather(heist::try_gather(args).into_future().shared()),
            };
            if let Some(bind) = bind {
                names.bind(bind, Entry::Handle(Handle::Joint(gathered)));
                return Ok(());
            }
            gathered
        };
        let values = self.value_of(Handle::Joint(gathered)).await?;
        self.log(json!(["gather", values]));
        Ok(())
    }

    pub(super) async fn wait(
        &self,
        of: &[String],
        timeout_ms: Option<i64>,
        until: ReturnWhen,
    ) -> Result<(), Exc> {
        let named = self.handles(of)?;
        let mut pending = distinct(named.iter().map(|(_, handle)| handle.clone()));
        let until = match until {
            ReturnWhen::AllCompleted => heist::ReturnWhen::AllCompleted,
            ReturnWhen::FirstCompleted => heist::ReturnWhen::FirstCompleted,
            ReturnWhen::FirstException => heist::ReturnWhen::FirstException,
        };
        let waiting = async {
            heist::try_wait(&mut pending)
                .timeout(timeout_ms.map(duration))
                .until(until)
                .await
        };
        let waited = suspending(waiting).await?;
        let finished = waited.map_err(|_| Exc::library("ValueError"))?;
        let among = |handles: &[Joint]| -> Vec<&str> {
            let is_in = |handle: &Joint| {
                handles
                    .iter()
                    .any(|other| other.identity() == handle.identity())
            };
            let named = named.iter().filter(|(_, handle)| is_in(handle));
            named.map(|(name, _)| *name).collect()
        };
        self.log(json!(["wait", among(&finished), among(&pending)]));
        Ok(())
    }

    /// The names, sorted, each once, with what they stand for.
    fn handles<'a>(&self, of: &'a [String]) -> Result<Vec<(&'a str, Joint)>, Exc> {
        let mut sorted: Vec<_> = of.iter().map(String::as_str).collect();
        sorted.sort_unstable();
        sorted.dedup();
        let names = self.run.names.lock();
        let handles = sorted
            .into_iter()
            .map(|name| Ok((name, self.joint_in(&names, name)?)));
        handles.collect()
    }

    pub(super) async fn wait_for(&self, of: &Arg, timeout_ms: Option<i64>) -> Result<(), Exc> {
        let value = match (of, timeout_ms) {
            (Arg::Fresh(fresh), None) => self.body(&self.resolve(&fresh.body)?).await?,
            (of, timeout_ms) => {
                let handle = self.argument(&mut self.run.names.lock(), of)?;
                let waited = suspending(heist::wait_for(handle, timeout_ms.map(duration))).await?;
                flatten(waited.map_err(|_| Exc::Timeout)?)?
            }
        };
        self.log(json!(["wait_for", value]));
        Ok(())
    }

    pub(super) fn as_completed(
        &self,
        bind: &str,
        of: &[Arg],
        timeout_ms: Option<i64>,
    ) -> Result<(), Exc> {
        let mut names = self.run.names.lock();
        let children = distinct(self.arguments(&mut names, of)?.into_iter());
        let len = children.len();
        let children = heist::as_completed(children);
        let children = match timeout_ms {
            Some(ms) => children.timeout(duration(ms)),
            None => children,
        };
        names.bind(bind, Entry::Iterator(Iteration::new(children, len)));
        Ok(())
    }

    pub(super) async fn next(&self, it: &str) -> Result<(), Exc> {
        let entry = self.entry(&self.run.names.lock(), it)?;
        let Entry::Iterator(iteration) = entry else {
            return Err(self.misused(it, "an iterator"));
        };
        if !iteration.begin_next() {
            self.log(json!(["next_end", it]));
            return Ok(());
        }
        let Some(next) = suspending(iteration.children.next()).await? else {
            return Err(self.run.fail(format!("{it:?} ended with a child left")));
        };
        let (_index, outcome) = next.map_err(|_| Exc::Timeout)?;
        self.log(json!(["next", it, flatten(outcome)?]));
        Ok(())
    }

    pub(super) async fn shield(&self, of: &Arg, bind: Option<&str>) -> Result<(), Exc> {
        let shield = {
            let mut names = self.run.names.lock();
            let inner = self.argument(&mut names, of)?;
            let shield = Joint::Plain(heist::shield(inner).shared());
            if let Some(bind) = bind {
                names.bind(bind, Entry::Handle(Handle::Joint(shield)));
                return Ok(());
            }
            shield
        };
        let value = self.value_of(Handle::Joint(shield)).await?;
        self.log(json!(["shield", value]));
        Ok(())
    }
}

/// Each handle once, where it stands first.
fn distinct(handles: impl Iterator<Item = Joint>) -> Vec<Joint> {
    let mut distinct: Vec<Joint> = Vec::new();
    for handle in handles {
        if !distinct
            .iter()
            .any(|other| other.identity() == handle.identity())
        {
            distinct.push(handle);
        }
    }
    distinct
}
