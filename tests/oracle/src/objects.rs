//! Locks, queues and their kin, as `new` makes them and `do` calls them.
//!
//! Each method is one call of the library's. Numbers that its types rule out (a negative permit, a barrier for nobody) are refused here, as
//! asyncio refuses them.

use crate::exc::Exc;
use crate::namespace::Counters;
use crate::scenario::{Kind, Method};
use heist::sync::{
    Barrier, BoundedSemaphore, Condition, Event, LifoQueue, Lock, PriorityQueue, Queue, Semaphore,
};
use serde_json::{Value as Json, json};
use std::cmp::Ordering;
use std::sync::Arc;

#[derive(Clone)]
pub(crate) enum Object {
    Event(Arc<Event>),
    Lock(Arc<Lock>),
    Semaphore(Arc<Semaphore>),
    BoundedSemaphore(Arc<BoundedSemaphore>),
    Condition(Arc<Condition>),
    Barrier(Arc<Barrier>),
    Queue(Arc<Queue<Json>>),
    PriorityQueue(Arc<PriorityQueue<Ranked>>),
    LifoQueue(Arc<LifoQueue<Json>>),
}

/// Why a call gave nothing.
pub(crate) enum Refusal {
    /// It raised this.
    Raised(Exc),
    /// The object has no such method, or the arguments do not fit: the scenario is at fault.
    Unfit,
}

impl From<Exc> for Refusal {
    fn from(exc: Exc) -> Self {
        Self::Raised(exc)
    }
}

type Answer = Result<Json, Refusal>;

impl Object {
    /// What `new` makes; `lock` is the one that a condition shares.
    pub(crate) fn new(kind: Kind, n: Option<i64>, lock: Option<Object>) -> Result<Self, Refusal> {
        Ok(match (kind, lock) {
            (Kind::Condition, Some(Self::Lock(lock))) => {
                Self::Condition(Arc::new(Condition::with_lock(lock)))
            }
            (_, Some(_)) => return Err(Refusal::Unfit),
            (Kind::Condition, None) => Self::Condition(Arc::new(Condition::new())),
            (Kind::Event, None) => Self::Event(Arc::new(Event::new())),
            (Kind::Lock, None) => Self::Lock(Arc::new(Lock::new())),
            (Kind::Semaphore, None) => Self::Semaphore(Arc::new(Semaphore::new(permits(n)?))),
            (Kind::BoundedSemaphore, None) => {
                Self::BoundedSemaphore(Arc::new(BoundedSemaphore::new(permits(n)?)))
            }
            (Kind::Barrier, None) => Self::Barrier(Arc::new(barrier(n)?)),
            (Kind::Queue, None) => Self::Queue(Arc::new(Queue::new(bound(n)))),
            (Kind::PriorityQueue, None) => {
                Self::PriorityQueue(Arc::new(PriorityQueue::new(bound(n))))
            }
            (Kind::LifoQueue, None) => Self::LifoQueue(Arc::new(LifoQueue::new(bound(n)))),
        })
    }

    /// What `do` does. Suspends where the method does.
    pub(crate) async fn call(
        self,
        method: Method,
        args: Vec<Json>,
        counters: Arc<Counters>,
    ) -> Answer {
        match self {
            Self::Event(event) => call_event(&event, method, &args).await,
            Self::Lock(lock) => call_lock(&lock, method, &args).await,
            Self::Semaphore(semaphore) => call_semaphore(&semaphore, method, &args).await,
            Self::BoundedSemaphore(semaphore) => call_bounded(&semaphore, method, &args).await,
            Self::Condition(condition) => call_condition(&condition, method, &args, counters).await,
            Self::Barrier(barrier) => call_barrier(&barrier, method, &args).await,
            Self::Queue(queue) => call_queue(&queue, method, args).await,
            Self::PriorityQueue(queue) => call_priority_queue(&queue, method, args).await,
            Self::LifoQueue(queue) => call_lifo_queue(&queue, method, args).await,
        }
    }

    /// What `with` does on entering: acquires, or waits at a barrier.
    pub(crate) async fn enter(self) -> Answer {
        let is_barrier = matches!(self, Self::Barrier(_));
        let method = if is_barrier {
            Method::Wait
        } else {
            Method::Acquire
        };
        if matches!(
            self,
            Self::Event(_) | Self::Queue(_) | Self::PriorityQueue(_) | Self::LifoQueue(_)
        ) {
            return Err(Refusal::Unfit);
        }
        let entered = self.call(method, Vec::new(), Arc::default()).await?;
        Ok(if is_barrier { entered } else { Json::Null })
    }

    /// What `with` does on leaving.
    pub(crate) fn leave(&self) -> Result<(), Exc> {
        match self {
            Self::Lock(lock) => lock.release().map_err(|_| runtime_error()),
            Self::Condition(condition) => condition.release().map_err(|_| runtime_error()),
            Self::BoundedSemaphore(semaphore) => semaphore.release().map_err(|_| value_error()),
            Self::Semaphore(semaphore) => {
                semaphore.release();
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

async fn call_event(event: &Event, method: Method, args: &[Json]) -> Answer {
    match (method, args) {
        (Method::Set, []) => event.set(),
        (Method::Clear, []) => event.clear(),
        (Method::IsSet, []) => return Ok(event.is_set().into()),
        (Method::Wait, []) => {
            event.wait().await;
            return Ok(true.into());
        }
        _ => return Err(Refusal::Unfit),
    }
    Ok(Json::Null)
}

async fn call_lock(lock: &Lock, method: Method, args: &[Json]) -> Answer {
    match (method, args) {
        (Method::Acquire, []) => {
            lock.acquire().await;
            Ok(true.into())
        }
        (Method::Release, []) => lock.release().map(done).map_err(|_| runtime_error().into()),
        (Method::Locked, []) => Ok(lock.locked().into()),
        _ => Err(Refusal::Unfit),
    }
}

async fn call_semaphore(semaphore: &Semaphore, method: Method, args: &[Json]) -> Answer {
    match (method, args) {
        (Method::Acquire, []) => {
            semaphore.acquire().await;
            Ok(true.into())
        }
        (Method::Release, []) => {
            semaphore.release();
            Ok(Json::Null)
        }
        (Method::Locked, []) => Ok(semaphore.locked().into()),
        _ => Err(Refusal::Unfit),
    }
}

async fn call_bounded(semaphore: &BoundedSemaphore, method: Method, args: &[Json]) -> Answer {
    match (method, args) {
        (Method::Acquire, []) => {
            semaphore.acquire().await;
            Ok(true.into())
        }
        (Method::Release, []) => semaphore
            .release()
            .map(done)
            .map_err(|_| value_error().into()),
        (Method::Locked, []) => Ok(semaphore.locked().into()),
        _ => Err(Refusal::Unfit),
    }
}

async fn call_condition(
    condition: &Condition,
    method: Method,
    args: &[Json],
    counters: Arc<Counters>,
) -> Answer {
    let unlocked = |_| Refusal::from(runtime_error());
    match (method, args) {
        (Method::Acquire, []) => {
            condition.acquire().await;
            Ok(true.into())
        }
        (Method::Release, []) => condition.release().map(done).map_err(unlocked),
        (Method::Locked, []) => Ok(condition.locked().into()),
        (Method::Wait, []) => condition.wait().await.map(yes).map_err(unlocked),
        (Method::WaitFor, [Json::String(counter), at_least]) => {
            let at_least = at_least.as_i64().ok_or(Refusal::Unfit)?;
            let reached = || counters.get(counter) >= at_least;
            condition.wait_for(reached).await.map(yes).map_err(unlocked)
        }
        (Method::Notify, []) => condition.notify(1).map(done).map_err(unlocked),
        (Method::Notify, [n]) => {
            let n = n.as_i64().ok_or(Refusal::Unfit)?;
            let n = usize::try_from(n).unwrap_or_default();
            condition.notify(n).map(done).map_err(unlocked)
        }
        (Method::NotifyAll, []) => condition.notify_all().map(done).map_err(unlocked),
        _ => Err(Refusal::Unfit),
    }
}

async fn call_barrier(barrier: &Barrier, method: Method, args: &[Json]) -> Answer {
    match (method, args) {
        (Method::Wait, []) => {
            let number = barrier.wait().await;
            number
                .map(Json::from)
                .map_err(|_| Exc::library("BrokenBarrierError").into())
        }
        (Method::Reset, []) => {
            barrier.reset();
            Ok(Json::Null)
        }
        (Method::Abort, []) => {
            barrier.abort();
            Ok(Json::Null)
        }
        (Method::Broken, []) => Ok(barrier.broken().into()),
        (Method::NWaiting, []) => Ok(barrier.n_waiting().into()),
        (Method::Parties, []) => Ok(barrier.parties().into()),
        _ => Err(Refusal::Unfit),
    }
}

/// The three queues have the same methods, and no trait in common.
macro_rules! queue_calls {
    ($name:ident, $queue:ident, $item:ty, $wrap:expr, $unwrap:expr) => {
        async fn $name(queue: &$queue<$item>, method: Method, mut args: Vec<Json>) -> Answer {
            let wanted = usize::from(matches!(method, Method::Put | Method::PutNowait));
            if args.len() != wanted {
                return Err(Refusal::Unfit);
            }
            let item = args.pop().map($wrap);
            match (method, item) {
                (Method::Put, Some(item)) => {
                    queue.put(item).await.map(done).map_err(|_| shut_down())
                }
                (Method::PutNowait, Some(item)) => queue
                    .put_nowait(item)
                    .map(done)
                    .map_err(|_| Exc::library("QueueFull").into()),
                (Method::Get, None) => queue.get().await.map($unwrap).map_err(|_| shut_down()),
                (Method::GetNowait, None) => queue
                    .get_nowait()
                    .map($unwrap)
                    .map_err(|_| Exc::library("QueueEmpty").into()),
                (Method::TaskDone, None) => queue
                    .task_done()
                    .map(done)
                    .map_err(|_| value_error().into()),
                (Method::Join, None) => {
                    queue.join().await;
                    Ok(Json::Null)
                }
                (Method::Qsize, None) => Ok(queue.qsize().into()),
                (Method::Empty, None) => Ok(queue.empty().into()),
                (Method::Full, None) => Ok(queue.full().into()),
                _ => Err(Refusal::Unfit),
            }
        }
    };
}

queue_calls!(call_queue, Queue, Json, |item| item, |item: Json| item);
queue_calls!(
    call_lifo_queue,
    LifoQueue,
    Json,
    |item| item,
    |item: Json| item
);
queue_calls!(
    call_priority_queue,
    PriorityQueue,
    Ranked,
    Ranked,
    |item: Ranked| item.0
);

/// An item of a priority queue: a number, or a list that is compared element by element.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ranked(Json);

impl Eq for Ranked {}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> Ordering {
        compare(&self.0, &other.0)
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

fn compare(a: &Json, b: &Json) -> Ordering {
    match (a, b) {
        (Json::Array(a), Json::Array(b)) => {
            let differing = a
                .iter()
                .zip(b)
                .map(|(a, b)| compare(a, b))
                .find(|order| order.is_ne());
            differing.unwrap_or_else(|| a.len().cmp(&b.len()))
        }
        (Json::Number(a), Json::Number(b)) => a.as_i64().cmp(&b.as_i64()),
        (Json::String(a), Json::String(b)) => a.cmp(b),
        // Python refuses to compare these; any order will do.
        (a, b) => a.to_string().cmp(&b.to_string()),
    }
}

fn done((): ()) -> Json {
    Json::Null
}

fn yes((): ()) -> Json {
    json!(true)
}

/// No scenario shuts a queue down.
fn shut_down() -> Refusal {
    Exc::library("QueueShutDown").into()
}

fn runtime_error() -> Exc {
    Exc::library("RuntimeError")
}

fn value_error() -> Exc {
    Exc::library("ValueError")
}

fn permits(n: Option<i64>) -> Result<usize, Exc> {
    usize::try_from(n.unwrap_or(1)).map_err(|_| value_error())
}

fn barrier(n: Option<i64>) -> Result<Barrier, Refusal> {
    let parties = usize::try_from(n.ok_or(Refusal::Unfit)?).unwrap_or_default();
    Barrier::new(parties).map_err(|_| value_error().into())
}

/// How many items a queue holds at most; 0 stands for no limit.
fn bound(n: Option<i64>) -> usize {
    n.and_then(|n| usize::try_from(n).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_ranked_as_numbers_and_lists() {
        let ranked = |json| Ranked(json);
        assert!(ranked(json!(2)) < ranked(json!(10)));
        assert!(ranked(json!([1, "b"])) < ranked(json!([2, "a"])));
        assert!(ranked(json!([1, "a"])) < ranked(json!([1, "b"])));
        assert!(ranked(json!([1])) < ranked(json!([1, 0])));
    }

    #[test]
    fn a_bound_of_nothing_is_none() {
        assert_eq!([None, Some(0), Some(-1), Some(3)].map(bound), [0, 0, 0, 3]);
    }
}
