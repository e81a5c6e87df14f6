//! The regions of one task: which lies in which, what is awaited in each, and what each was asked.
//!
//! ```text
//!   Tree      the root region (the task itself) and every live region under it; a tree, not a stack: the branches of a `join!`
//!             stand side by side
//!   Region    its waits (handles awaited directly in it, to which a request is forwarded), and what it received
//!   Request   one request, wherever it goes; several regions may receive the same one
//! ```
//!
//! A future that was polled once and then put by, unpolled and undropped (`&mut task` in a `select!` that another branch won), is not what the
//! task is suspended on. So waits and regions bear the number of the poll in which they were polled last, and one that the task's last poll passed over
//! counts as absent. What an executor within the task polls (it has wakers of its own) is polled only when it was woken: that counts as long as it lives.
//!
//! Pure data: no lock, no state word, no foreign code. `task::cancel` walks it, `task::region` and `task::wait` enter and leave it.

use super::TaskRef;
use slab::Slab;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::Waker;

/// What a request says, if anything.
pub(crate) type Message = Option<Arc<str>>;

/// Names a region of a task. Never used again once the region is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    slot: u32,
    serial: u32,
}

impl Key {
    /// Its place among the regions that are not the root.
    fn index(self) -> Option<usize> {
        (self.slot as usize).checked_sub(1)
    }
}

/// The task itself.
pub(crate) const ROOT: Key = Key { slot: 0, serial: 0 };

/// A request for cancellation.
#[derive(Debug)]
pub(crate) struct Request {
    /// The region that is to end: the root for `cancel`, its own for a deadline.
    pub(crate) source: Key,
    pub(crate) message: Message,
    /// See `is_taken`. Only changed under the lock of the task's tree, so any ordering does.
    taken: AtomicBool,
}

impl Request {
    /// Whether some region has ended by it, or another request stands for it.
    pub(crate) fn is_taken(&self) -> bool {
        self.taken.load(Relaxed)
    }

    pub(crate) fn set_taken(&self) {
        self.taken.store(true, Relaxed);
    }

    pub(crate) fn new(source: Key, message: Message) -> Arc<Self> {
        Arc::new(Self {
            source,
            message,
            taken: AtomicBool::new(false),
        })
    }
}

/// A request that waits in a region for the region to be polled.
#[derive(Debug)]
struct Received {
    /// Whose message stands.
    request: Arc<Request>,
    /// Others that are part of the same delivery.
    merged: Vec<Arc<Request>>,
    /// The number of the task's last poll before: what was entered or awaited in a later one has come since.
    after: u64,
    /// The task was woken already, for another reason, when this arrived: until it runs a later request replaces the message.
    due: bool,
}

/// A handle that is awaited directly in a region.
#[derive(Debug)]
struct Wait {
    target: Target,
    /// The target has accepted a request on behalf of this await.
    forwarded: bool,
    polled: Polled,
    /// The number of the task's poll in which it began.
    begun: u64,
}

/// When something was polled last, and by whom.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Polled {
    /// The number of the task's poll.
    pub(crate) number: u64,
    /// By an executor within the task.
    pub(crate) by_other: bool,
}

impl Polled {
    fn is_live(self, last: u64) -> bool {
        self.by_other || self.number == last
    }
}

/// What a request can be forwarded to.
#[derive(Clone)]
pub enum Target {
    /// A task: accepts unless it has ended or is being cancelled by the same call.
    Task(TaskRef),
    /// One region of a task. Made by [`Region::target`](super::region::Region::target).
    Region(RegionRef),
    /// Any other handle.
    Other(Arc<dyn Forward>),
}

impl Target {
    /// Whether it is the task of a closure on the blocking pool.
    pub(crate) fn is_blocking(&self) -> bool {
        matches!(self, Self::Task(task) if task.is_blocking())
    }
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Task(task) => task.fmt(f),
            Self::Region(region) => region.fmt(f),
            Self::Other(handle) => write!(f, "<{}>", handle.kind()),
        }
    }
}

/// A region of a task, to be asked to end from elsewhere.
#[derive(Clone, Debug)]
pub struct RegionRef {
    pub(crate) task: TaskRef,
    pub(crate) key: Key,
}

/// A handle that is no task but can be cancelled: a promise, a gather, a shield.
pub trait Forward: Send + Sync {
    /// Takes a request. Called with no lock held; must not wait, and must leave what others are to be told, or woken with, to `later`.
    fn request(&self, message: Option<&Arc<str>>, later: &mut Later) -> Answer;

    /// None of those for which the handle stands has accepted: takes the request back. True if it has had its effect meanwhile, and so counts as accepted.
    fn withdraw(&self) -> bool {
        false
    }

    /// One word for what it is, as `Debug` shows it for a task that awaits it.
    fn kind(&self) -> &'static str {
        "Handle"
    }
}

/// What a handle answers to a request.
#[derive(Debug)]
pub enum Answer {
    /// It has ended: the request counts nothing.
    Refused,
    /// It has ended by this request, or will see to it itself.
    Accepted,
    /// It stands for these, and each of them is asked in turn. Accepted if any of them accepts.
    Each(Vec<Target>),
}

/// What is done once everybody has been told: wakers to wake, callbacks to call.
#[derive(Default)]
pub struct Later(Vec<Box<dyn FnOnce() + Send>>);

impl Later {
    /// Leaves something to be done after the last target was told, with no lock held.
    pub fn push(&mut self, act: impl FnOnce() + Send + 'static) {
        self.0.push(Box::new(act));
    }

    pub(crate) fn take(&mut self) -> Vec<Box<dyn FnOnce() + Send>> {
        mem::take(&mut self.0)
    }
}

impl std::fmt::Debug for Later {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Later").field(&self.0.len()).finish()
    }
}

#[derive(Debug)]
struct Region {
    serial: u32,
    /// Invariant: `None` for the root alone.
    parent: Option<Key>,
    /// Live regions directly in this one.
    children: Vec<Key>,
    waits: Slab<Wait>,
    received: Option<Received>,
    waker: Whom,
    /// The number of the task's poll in which it was polled last.
    polled: u64,
    /// The number of the task's poll in which it was entered.
    entered: u64,
    /// This region has made a request that counts, and has not taken it back.
    requested: bool,
}

impl Region {
    fn new(serial: u32, parent: Option<Key>) -> Self {
        Self {
            serial,
            parent,
            children: Vec::new(),
            waits: Slab::new(),
            received: None,
            waker: Whom::Task,
            polled: 0,
            entered: 0,
            requested: false,
        }
    }
}

/// Whom to wake for a region: that of its last poll that was pending.
#[derive(Debug)]
enum Whom {
    /// The task.
    Task,
    /// Some executor within the task.
    Other(Waker),
    /// That one, and it was woken since.
    Woken,
}

impl Whom {
    fn is_task(&self) -> bool {
        matches!(self, Self::Task)
    }

    fn into_waker(self) -> Option<Waker> {
        match self {
            Self::Other(waker) => Some(waker),
            Self::Task | Self::Woken => None,
        }
    }
}

/// Whom a received request has to wake.
#[derive(Debug)]
pub(crate) enum WakeUp {
    Task,
    Other(Waker),
}

/// What a hand-down has to ask: the waits of a region, and, when none of them accepts, the region itself.
#[derive(Debug)]
pub(crate) struct Stop {
    region: Key,
    waits: Vec<usize>,
    forwarded: Vec<usize>,
    /// A live region lies directly in this one, and has been handed the request.
    has_children: bool,
}

/// The regions of a task.
#[derive(Debug)]
pub(crate) struct Tree {
    root: Region,
    /// The others; the one at `slot` here has `slot + 1` in its key.
    regions: Slab<Region>,
    next_serial: u32,
    /// The await in the header's own place (`Header::wait`) has forwarded a request.
    inline_forwarded: bool,
    /// The number of the poll in which it began.
    inline_begun: u64,
    /// The number of the last poll before the hand-down under way.
    last: u64,
    /// How many regions have made a request that counts.
    requesting: u32,
}

impl Default for Tree {
    fn default() -> Self {
        Self {
            root: Region::new(ROOT.serial, None),
            regions: Slab::new(),
            next_serial: 1,
            inline_forwarded: false,
            inline_begun: 0,
            last: 0,
            requesting: 0,
        }
    }
}

/// Stands for the await in the header's own place among the waits of the root.
const INLINE: usize = usize::MAX;

impl Tree {
    fn get(&mut self, key: Key) -> Option<&mut Region> {
        if key == ROOT {
            return Some(&mut self.root);
        }
        self.regions
            .get_mut(key.index()?)
            .filter(|region| region.serial == key.serial)
    }

    /// A new region in `parent`, which is live.
    pub(crate) fn enter(&mut self, parent: Key, poll: u64) -> Key {
        let serial = self.next_serial;
        // Wraps after four billion regions of one task; one that has lived since the last time round would have to be in the same slot.
        self.next_serial = self.next_serial.wrapping_add(1).max(1);
        let mut region = Region::new(serial, Some(parent));
        region.polled = poll;
        region.entered = poll;
        let slot = self.regions.insert(region);
        let key = Key {
            slot: u32::try_from(slot + 1)
                .expect("fewer live regions in one task than bytes of memory"),
            serial,
        };
        if let Some(parent) = self.get(parent) {
            parent.children.push(key);
        }
        key
    }

    /// Takes the region out. Says what it had received that is somebody else's and that no region has taken.
    pub(crate) fn leave(&mut self, key: Key) -> Left {
        let (Some(_), Some(index)) = (self.get(key), key.index()) else {
            return Left::default();
        };
        let region = self.regions.remove(index);
        self.requesting -= u32::from(region.requested);
        let parent = region.parent.unwrap_or(ROOT);
        if let Some(parent) = self.get(parent) {
            parent.children.retain(|child| *child != key);
        }
        // Regions that were moved elsewhere before this one ended go on in what was round it.
        for child in &region.children {
            if let Some(orphan) = self.get(*child) {
                orphan.parent = Some(parent);
            }
            if let Some(parent) = self.get(parent) {
                parent.children.push(*child);
            }
        }
        let mut untaken = Vec::new();
        if let Some(received) = region.received {
            untaken.extend(received.merged);
            untaken.push(received.request);
        }
        untaken.retain(|request| request.source != key && !request.is_taken());
        untaken.retain(|request| self.get(request.source).is_some());
        Left {
            untaken,
            requested: region.requested,
            parent: Some(parent),
            waker: region.waker.into_waker(),
            waits: region.waits,
        }
    }

    /// Whether the region is live.
    pub(crate) fn contains(&mut self, key: Key) -> bool {
        self.get(key).is_some()
    }

    /// Marks that the region has made a request; false if it has one that still counts, or is gone.
    pub(crate) fn set_requested(&mut self, key: Key) -> bool {
        let is_new = self
            .get(key)
            .is_some_and(|region| !mem::replace(&mut region.requested, true));
        self.requesting += u32::from(is_new);
        is_new
    }

    /// Of the `count` requests that the task counts, those that concern `key`: the task's own, and those of the regions round it. What regions
    /// beside it have asked for (another branch of a `join!`) is not its affair.
    pub(crate) fn concerning(&self, key: Key, count: u32) -> u32 {
        if count == 0 || self.requesting == 0 {
            return count;
        }
        let mut beside = self.requesting;
        let mut next = Some(key);
        // The root makes no requests of its own.
        while let Some(region) = next.and_then(|key| self.regions.get(key.index()?)) {
            beside -= u32::from(region.requested);
            next = region.parent;
        }
        count.saturating_sub(beside)
    }

    /// Whether the region has to be told whom to wake; `None` is the task itself.
    pub(crate) fn wants_waker(&mut self, key: Key, waker: Option<&Waker>) -> bool {
        self.get(key)
            .is_some_and(|region| match (&region.waker, waker) {
                (Whom::Task, None) => false,
                (Whom::Other(old), Some(new)) => !old.will_wake(new),
                _ => true,
            })
    }

    /// Stores whom to wake for the region, and gives the old waker to be dropped.
    pub(crate) fn set_waker(&mut self, key: Key, waker: Option<Waker>) -> Option<Waker> {
        let region = self.get(key)?;
        let whom = waker.map_or(Whom::Task, Whom::Other);
        mem::replace(&mut region.waker, whom).into_waker()
    }

    /// The region's poll begins; says whether it has received something.
    pub(crate) fn begin_poll(&mut self, key: Key, poll: u64) -> bool {
        self.get(key).is_some_and(|region| {
            region.polled = poll;
            region.received.is_some()
        })
    }

    pub(crate) fn add_wait(&mut self, key: Key, target: Target, polled: Polled) -> Option<usize> {
        let wait = Wait {
            target,
            forwarded: false,
            begun: polled.number,
            polled,
        };
        self.get(key).map(|region| region.waits.insert(wait))
    }

    /// The await is polled again; false if it does not stand there any more.
    pub(crate) fn touch_wait(&mut self, key: Key, wait: usize, polled: Polled) -> bool {
        let region = self.get(key);
        let wait = region.and_then(|region| region.waits.get_mut(wait));
        wait.map(|wait| wait.polled = polled).is_some()
    }

    /// Whether the await in the header's own place has forwarded a request; it has not from now on.
    pub(crate) fn take_inline_forwarded(&mut self) -> bool {
        mem::take(&mut self.inline_forwarded)
    }

    /// Takes a wait out; says whether it had forwarded, and gives the target to be dropped.
    pub(crate) fn remove_wait(&mut self, key: Key, wait: usize) -> Option<(bool, Target)> {
        let wait = self.get(key)?.waits.try_remove(wait)?;
        Some((wait.forwarded, wait.target))
    }

    /// The handles that are awaited in live regions, the outer ones first.
    pub(crate) fn awaited(&mut self, last: u64) -> Vec<Target> {
        let mut awaited = Vec::new();
        let mut below = vec![ROOT];
        while let Some(key) = below.pop() {
            below.extend(self.live_children(key, last).into_iter().rev());
            if let Some(region) = self.get(key) {
                let live = region
                    .waits
                    .iter()
                    .filter(|(_, wait)| wait.polled.is_live(last));
                awaited.extend(live.map(|(_, wait)| wait.target.clone()));
            }
        }
        awaited
    }

    /// What the state word says alone: a request without a message was received by the task.
    pub(crate) fn receive_plainly(&mut self, last: u64) {
        if self.root.received.is_none() {
            self.root.received = Some(Received {
                request: Request::new(ROOT, None),
                merged: Vec::new(),
                after: last,
                due: false,
            });
        }
    }

    /// The await in the header's own place begins.
    pub(crate) fn begin_inline(&mut self, poll: u64) {
        self.inline_forwarded = false;
        self.inline_begun = poll;
    }

    /// Whether the region has come to be suspended on something else since it received a request, so that this is for that to meet: in a region that was
    /// entered since, or at a handle that is awaited since. `inline`: something is awaited in the header's own place.
    pub(crate) fn has_moved_on(&mut self, key: Key, last: u64, inline: bool) -> bool {
        let region = self.get(key);
        let received = region.and_then(|region| region.received.as_ref());
        let Some(after) = received.map(|received| received.after) else {
            return false;
        };
        if key == ROOT && inline && self.inline_begun > after {
            return true;
        }
        let children = self.live_children(key, last);
        let mut children = children.into_iter();
        if children.any(|child| self.get(child).is_some_and(|child| child.entered > after)) {
            return true;
        }
        self.get(key).is_some_and(|region| {
            let mut waits = region.waits.iter();
            waits.any(|(_, wait)| wait.begun > after && wait.polled.is_live(last))
        })
    }

    /// Gives back what the region has received and cannot answer: what lies in it has come since.
    pub(crate) fn return_received(&mut self, key: Key) -> Vec<Arc<Request>> {
        let received = self.get(key).and_then(|region| region.received.take());
        received.map_or_else(Vec::new, |received| {
            let mut returned = received.merged;
            returned.push(received.request);
            returned
        })
    }

    pub(crate) fn has_received(&mut self, key: Key) -> bool {
        self.get(key)
            .is_some_and(|region| region.received.is_some())
    }

    /// Takes what the region received, as one delivery.
    pub(crate) fn take_received(&mut self, key: Key) -> Option<Arc<Request>> {
        let received = self.get(key)?.received.take()?;
        for merged in &received.merged {
            merged.set_taken();
        }
        received.request.set_taken();
        Some(received.request)
    }

    /// Hands a request down from `request.source`: says which handles to ask. `inline` is awaited in the header's own place. Regions in which nothing is awaited receive it here and
    /// now.
    pub(crate) fn hand_down(
        &mut self,
        request: &Arc<Request>,
        due: bool,
        last: u64,
        inline: Option<TaskRef>,
        wake: &mut Vec<WakeUp>,
    ) -> (Vec<Stop>, Vec<Target>) {
        self.last = last;
        let mut inline = inline.map(Target::Task);
        let mut stops = Vec::new();
        let mut targets = Vec::new();
        let mut below = vec![request.source];
        while let Some(key) = below.pop() {
            let children = self.live_children(key, last);
            let has_children = !children.is_empty();
            below.extend(children.into_iter().rev());
            let Some(region) = self.get(key) else {
                continue;
            };
            let waits = region.waits.iter();
            let (mut keys, mut found): (Vec<_>, Vec<_>) = waits
                .filter(|(_, wait)| wait.polled.is_live(last))
                .map(|(key, wait)| (key, wait.target.clone()))
                .unzip();
            if key == ROOT
                && let Some(target) = inline.take()
            {
                keys.push(INLINE);
                found.push(target);
            }
            if found.is_empty() {
                if !has_children {
                    self.receive(key, request, due, wake);
                }
                continue;
            }
            targets.extend(found);
            stops.push(Stop {
                region: key,
                waits: keys,
                forwarded: Vec::new(),
                has_children,
            });
        }
        (stops, targets)
    }

    fn live_children(&mut self, key: Key, last: u64) -> Vec<Key> {
        let mut children = match self.get(key) {
            Some(region) => region.children.clone(),
            None => Vec::new(),
        };
        children.retain(|child| {
            self.get(*child)
                .is_some_and(|child| !child.waker.is_task() || child.polled == last)
        });
        children
    }

    /// Ends a hand-down with the answers, one for each target in order: awaits are marked, and regions in which nobody accepted receive
    /// the request. False if one of those has left meanwhile (it was moved out of the task's poll, and dropped elsewhere): then nobody has
    /// received what was meant for it.
    pub(crate) fn conclude(
        &mut self,
        stops: Vec<Stop>,
        answers: &[bool],
        request: &Arc<Request>,
        due: bool,
        wake: &mut Vec<WakeUp>,
    ) -> bool {
        let mut answers = answers.iter();
        let mut all = true;
        for mut stop in stops {
            for wait in stop.waits {
                if answers.next().is_some_and(|accepted| *accepted) {
                    stop.forwarded.push(wait);
                }
            }
            let nobody = stop.forwarded.is_empty() && !stop.has_children;
            let Some(region) = self.get(stop.region) else {
                all &= !nobody;
                continue;
            };
            let mut inline_forwarded = false;
            for wait in &stop.forwarded {
                inline_forwarded |= *wait == INLINE;
                if let Some(wait) = region.waits.get_mut(*wait) {
                    wait.forwarded = true;
                }
            }
            self.inline_forwarded |= inline_forwarded;
            if nobody {
                self.receive(stop.region, request, due, wake);
            }
        }
        all
    }

    fn receive(&mut self, key: Key, request: &Arc<Request>, due: bool, wake: &mut Vec<WakeUp>) {
        let after = self.last;
        let Some(region) = self.get(key) else {
            return;
        };
        match &mut region.received {
            // Delivered to a suspended await already: that message stands, and this one is part of the same delivery.
            Some(received) if !received.due => received.merged.push(request.clone()),
            Some(received) => {
                let before = mem::replace(&mut received.request, request.clone());
                received.merged.push(before);
            }
            empty => {
                *empty = Some(Received {
                    after,
                    request: request.clone(),
                    merged: Vec::new(),
                    due,
                });
            }
        }
        match mem::replace(&mut region.waker, Whom::Woken) {
            Whom::Task => {
                region.waker = Whom::Task;
                wake.push(WakeUp::Task);
            }
            Whom::Other(waker) => wake.push(WakeUp::Other(waker)),
            Whom::Woken => {}
        }
    }
}

/// What a region leaves.
#[derive(Debug, Default)]
pub(crate) struct Left {
    /// Requests of somebody else that go back to the task.
    pub(crate) untaken: Vec<Arc<Request>>,
    /// Its own request still counts.
    pub(crate) requested: bool,
    /// What it lay in.
    pub(crate) parent: Option<Key>,
    #[expect(dead_code, reason = "to be dropped outside of every lock")]
    waker: Option<Waker>,
    #[expect(
        dead_code,
        reason = "likewise: each may be the last to keep what it stands for"
    )]
    waits: Slab<Wait>,
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// Hands `request` down in a task that was suspended in its first poll.
    fn hand_down(tree: &mut Tree, request: &Arc<Request>, due: bool) {
        let mut wake = Vec::new();
        let (stops, targets) = tree.hand_down(request, due, 1, None, &mut wake);
        assert!(stops.is_empty() && targets.is_empty());
    }

    /// A deadline round the region that receives, and the task's own request, in either order: the deadline goes with its region, and takes the other
    /// request along only if somebody ends by it.
    #[test]
    fn requests_that_are_one_delivery_go_back_each_for_itself() {
        for (due, task_first) in [(false, false), (false, true), (true, false), (true, true)] {
            let mut tree = Tree::default();
            let outer = tree.enter(ROOT, 1);
            let inner = tree.enter(outer, 1);
            let deadline = Request::new(outer, None);
            let cancel = Request::new(ROOT, Some("stop".into()));
            let mut order = [&deadline, &cancel];
            if task_first {
                order.reverse();
            }
            for request in order {
                hand_down(&mut tree, request, due);
            }
            let untaken = tree.leave(inner).untaken;
            let has = |request| untaken.iter().any(|untaken| Arc::ptr_eq(untaken, request));
            assert!(untaken.len() == 2 && has(&deadline) && has(&cancel));
            tree.leave(outer);
            assert!(tree.contains(cancel.source) && !tree.contains(deadline.source));
        }
    }

    #[test]
    fn requests_that_are_one_delivery_are_taken_together() {
        for (due, message) in [(false, "one"), (true, "two")] {
            let mut tree = Tree::default();
            let inner = tree.enter(ROOT, 1);
            let requests = ["one", "two"].map(|text| Request::new(ROOT, Some(text.into())));
            for request in &requests {
                hand_down(&mut tree, request, due);
            }
            let taken = tree.take_received(inner).unwrap();
            assert_eq!(taken.message.as_deref(), Some(message));
            assert!(requests.iter().all(|request| request.is_taken()));
            assert!(tree.leave(inner).untaken.is_empty());
        }
    }

    #[test]
    fn what_was_meant_for_a_region_that_has_left_is_not_forgotten() {
        let mut tree = Tree::default();
        let inner = tree.enter(ROOT, 1);
        let request = Request::new(ROOT, None);
        let stop = Stop {
            region: inner,
            waits: vec![0],
            forwarded: Vec::new(),
            has_children: false,
        };
        tree.leave(inner);
        let mut wake = Vec::new();
        assert!(!tree.conclude(vec![stop], &[false], &request, false, &mut wake));
        assert!(wake.is_empty());
    }
}
