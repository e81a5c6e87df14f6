//! Requests for cancellation: made, handed down, forwarded, kept, taken back.
//!
//! A request is made from anywhere, by a [`Call`]. What it finds decides:
//!
//! ```text
//!   the task has ended                      refused
//!   it runs, or another call delivers       reserved: when this call has told everybody else, it becomes kept, and whoever has the
//!                                           task meets it: the worker after the poll, the other call before it leaves
//!   it has not begun                        the same; it never will
//!   it is suspended, or only queued         the call takes the task (DELIVERING: nobody polls it), walks its regions, asks the handles
//!                                           that are awaited there, and leaves the request with the regions where none accepted
//! ```
//!
//! Nobody ever waits for a task that somebody else has: two calls round a ring of tasks pass each other. A call keeps every task that it
//! has taken until the last one has been told, so no task is seen to act on a request that its sibling has not heard of; then it lets
//! go of them, submits those that received something, and only then wakes and calls what is foreign.
//!
//! The walk has a stack of its own: a chain of a million tasks needs no more of the thread's than one. A task that is on that stack
//! refuses (its box has the call's number), which ends cycles.
//!
//! A task or a handle that several await is asked once for each, and asks in turn, as in asyncio. Where many of them stand one above the other that is a
//! number of ways that grows with the power of their depth; so after [`REPEATS`] times it is not asked on.
//!
//! Locks: one rare box at a time, for a few instructions, with no foreign code under it.

use super::cell::{Header, RareFields};
use super::join::Exit;
use super::raw::{Runnable, contain};
use super::state::{Abort, Requested};
use super::tree::{
    Answer, Forward, Key, Later, Message, ROOT, Request, Stop, Target, Tree, WakeUp,
};
use super::{TaskRef, Why};
use crate::sync_switch::{Bug, planted};
use crate::trace;
use std::collections::HashMap;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::Waker;

/// The part of a task's rare box that is about requests.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    /// How often the task was asked to end, less what was taken back. asyncio's `cancelling`.
    pub(super) count: u32,
    kept: Vec<Kept>,
    /// The calls on whose stack the task is.
    calls: Vec<u64>,
    pub(super) tree: Tree,
    abort_message: Message,
    /// The call that has taken the task, and the task's place among those it holds.
    holder: Option<(u64, usize)>,
}

#[derive(Debug)]
struct Kept {
    request: Arc<Request>,
    /// The call that has others to tell first.
    reserved: Option<u64>,
}

impl Requests {
    fn has_reserved(&self) -> bool {
        self.kept.iter().any(|kept| kept.reserved.is_some())
    }

    /// Takes the requests that are to be handed down. The last one made to the task itself stands for all that were kept with it: what a region
    /// asks for in the same poll, a deadline, it asks when the poll has come to suspend, where that one is on its way already.
    fn take_kept(&mut self, task: &Header) -> Vec<Arc<Request>> {
        let (reserved, kept): (Vec<_>, Vec<_>) = self
            .kept
            .drain(..)
            .partition(|kept| kept.reserved.is_some());
        task.state.transition_to_none_kept(reserved.is_empty());
        self.kept = reserved;
        let kept: Vec<_> = kept.into_iter().map(|kept| kept.request).collect();
        match kept.iter().rev().find(|kept| kept.source == ROOT) {
            Some(last) if kept.len() > 1 => {
                let one = Request::new(ROOT, last.message.clone());
                kept.iter().for_each(|kept| kept.set_taken());
                vec![one]
            }
            _ => kept,
        }
    }

    /// Takes what the region `key` received, as one delivery. It is not kept any longer either, if another region had received the same and has
    /// just left it to the task.
    pub(super) fn take_received(&mut self, task: &Header, key: Key) -> Option<Arc<Request>> {
        let request = self.tree.take_received(key)?;
        self.keep_only(task, |kept| !kept.is_taken());
        Some(request)
    }

    fn keep_only(&mut self, task: &Header, keep: impl Fn(&Request) -> bool) {
        let before = self.kept.len();
        self.kept.retain(|kept| keep(&kept.request));
        if self.kept.len() < before && self.kept.iter().all(|kept| kept.reserved.is_some()) {
            task.state.transition_to_none_kept(self.kept.is_empty());
        }
    }

    /// The message with which the task ends if it does so now.
    fn message(&mut self) -> Message {
        if self.abort_message.is_some() {
            return self.abort_message.clone();
        }
        match self.tree.take_received(ROOT) {
            Some(request) => request.message.clone(),
            None => self
                .kept
                .last()
                .and_then(|kept| kept.request.message.clone()),
        }
    }
}

/// So many times one call goes on through the same task, or the same handle at a depth at which the ways to it may be many. Only `cancelling()`, of those
/// below, tells the difference.
const REPEATS: u32 = 64;
/// Below this depth the ways are few: there were two at each level.
const DEEP: usize = 16;

/// One call to `cancel`, or one of a fan-out to many.
struct Call {
    number: u64,
    stack: Vec<Frame>,
    /// The tasks that this call has taken, and still has.
    held: Vec<Held>,
    /// The tasks that somebody else had.
    reserved: Vec<TaskRef>,
    /// The handles that were asked at a depth, and how often. By their address, which is theirs as long as they stand here.
    asked_deep: HashMap<usize, (Arc<dyn Forward>, u32)>,
    wakers: Vec<Waker>,
    later: Later,
}

struct Held {
    task: TaskRef,
    /// How often this call has asked it.
    asked: u32,
    /// It was woken already when this call took it.
    due: bool,
    /// A region of it has received something.
    wake: bool,
}

/// One level of the walk.
enum Frame {
    /// A task whose awaits are being asked.
    Task {
        task: TaskRef,
        /// Its place in `held`; none for the task that this thread runs.
        held: Option<usize>,
        request: Arc<Request>,
        due: bool,
        stops: Vec<Stop>,
        targets: std::vec::IntoIter<Target>,
        answers: Vec<bool>,
    },
    /// Many of which one has to accept.
    Each {
        message: Message,
        targets: std::vec::IntoIter<Target>,
        accepted: usize,
        /// Who stands for them.
        handle: Option<Arc<dyn Forward>>,
    },
}

/// What a target said.
enum Said {
    Yes,
    No,
    /// Yes, and there is more to ask.
    YesAnd(Frame),
    /// That depends on these.
    Ask(Frame),
}

impl Call {
    fn new() -> Self {
        /// Numbers calls; only has to be unique.
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self {
            number: NEXT.fetch_add(1, Relaxed),
            stack: Vec::new(),
            held: Vec::new(),
            reserved: Vec::new(),
            asked_deep: HashMap::new(),
            wakers: Vec::new(),
            later: Later::default(),
        }
    }

    /// Tells what is on the stack, and all that hangs on it. Gives how many of the lowest frame's targets accepted, if that is an `Each`.
    fn tell(&mut self) -> usize {
        let mut lowest = 0;
        while let Some(top) = self.stack.len().checked_sub(1) {
            if let Some((target, message)) = self.stack[top].next() {
                // A closure that blocks is told, but cannot end when it is asked: who awaits it does not wait for that.
                let forwards = matches!(self.stack[top], Frame::Task { .. });
                let ends = !(forwards && target.is_blocking());
                match self.ask(&target, &message) {
                    Said::Yes => self.stack[top].note(ends),
                    Said::No => self.stack[top].note(false),
                    Said::YesAnd(frame) => {
                        self.stack[top].note(ends);
                        self.stack.push(frame);
                    }
                    Said::Ask(frame) => self.stack.push(frame),
                }
                continue;
            }
            match self.stack.pop() {
                Some(Frame::Each {
                    accepted, handle, ..
                }) => {
                    let yes = accepted > 0 || handle.is_some_and(|handle| withdraw(&*handle));
                    match self.stack.last_mut() {
                        Some(below) => below.note(yes),
                        None => lowest = accepted,
                    }
                }
                Some(task) => self.conclude(task),
                None => {}
            }
        }
        lowest
    }

    fn ask(&mut self, target: &Target, message: &Message) -> Said {
        match target {
            Target::Task(task) => self.ask_task(task, ROOT, message),
            Target::Region(region) => self.ask_task(&region.task, region.key, message),
            Target::Other(handle) if self.is_asked_enough(handle) => Said::Yes,
            Target::Other(handle) => match self.ask_other(&**handle, message) {
                Answer::Refused => Said::No,
                Answer::Accepted => Said::Yes,
                Answer::Each(targets) => Said::Ask(Frame::Each {
                    message: message.clone(),
                    targets: targets.into_iter(),
                    accepted: 0,
                    handle: Some(handle.clone()),
                }),
            },
        }
    }

    /// Whether a handle was asked so often, at a depth, that it is not asked on.
    fn is_asked_enough(&mut self, handle: &Arc<dyn Forward>) -> bool {
        if self.stack.len() < DEEP {
            return false;
        }
        let address = Arc::as_ptr(handle).addr();
        let (_, asked) = self
            .asked_deep
            .entry(address)
            .or_insert_with(|| (handle.clone(), 0));
        *asked += 1;
        *asked > REPEATS
    }

    /// A panic of what is foreign is a refusal: this call has tasks that it must let go of.
    fn ask_other(&mut self, handle: &dyn Forward, message: &Message) -> Answer {
        let mut answer = Answer::Refused;
        contain(|| answer = handle.request(message.as_ref(), &mut self.later));
        answer
    }

    fn ask_task(&mut self, task: &TaskRef, source: Key, message: &Message) -> Said {
        let header = task.header();
        if header.state.load().is_done() {
            return Said::No;
        }
        let mut fields = header.rare_or_new().lock();
        let requests = &mut fields.requests;
        let is_asked = requests.calls.contains(&self.number) && !planted(Bug::VisitingMarkMissing);
        if source == ROOT && is_asked {
            return Said::No;
        }
        let is_late = source != ROOT && !requests.tree.set_requested(source);
        if is_late && !planted(Bug::LateRegionRequestCounts) {
            return Said::No;
        }
        if let Some((by, held)) = requests.holder
            && by == self.number
        {
            // Asked twice in one call, by two that await it, say: the task is still this call's.
            requests.count = requests.count.saturating_add(1);
            let held_task = &mut self.held[held];
            held_task.asked += 1;
            if held_task.asked > REPEATS {
                return Said::Yes;
            }
            let request = Request::new(source, message.clone());
            let due = held_task.due;
            return Said::YesAnd(self.hand_down(&mut fields, task, Some(held), request, due));
        }
        match header.state.transition_to_requested() {
            Requested::Refused => Said::No,
            Requested::Kept => {
                requests.count += 1;
                requests.kept.push(Kept {
                    request: Request::new(source, message.clone()),
                    reserved: Some(self.number),
                });
                self.reserved.push(task.clone());
                Said::Yes
            }
            Requested::Deliver { due } => {
                requests.count += 1;
                let held = self.hold(task, due);
                requests.holder = Some((self.number, held));
                let request = Request::new(source, message.clone());
                Said::YesAnd(self.hand_down(&mut fields, task, Some(held), request, due))
            }
        }
    }

    fn hold(&mut self, task: &TaskRef, due: bool) -> usize {
        self.held.push(Held {
            task: task.clone(),
            asked: 1,
            due,
            wake: false,
        });
        self.held.len() - 1
    }

    /// Begins to hand `request` down in a task that this call, or this thread, has.
    fn hand_down(
        &mut self,
        fields: &mut RareFields,
        task: &TaskRef,
        held: Option<usize>,
        request: Arc<Request>,
        due: bool,
    ) -> Frame {
        let requests = &mut fields.requests;
        requests.calls.push(self.number);
        let mut wake = Vec::new();
        let header = task.header();
        if header.state.load().is_interrupted() {
            requests
                .tree
                .receive_plainly(header.rare_or_new().poll_number());
        }
        let last = header.rare_or_new().poll_number();
        let inline = header.wait();
        let (stops, targets) = requests
            .tree
            .hand_down(&request, due, last, inline, &mut wake);
        self.will_wake(task, held, wake);
        Frame::Task {
            task: task.clone(),
            held,
            request,
            due,
            answers: Vec::with_capacity(targets.len()),
            stops,
            targets: targets.into_iter(),
        }
    }

    /// Ends a hand-down: every handle that is awaited has answered.
    fn conclude(&mut self, frame: Frame) {
        let Frame::Task {
            task,
            held,
            request,
            due,
            stops,
            answers,
            ..
        } = frame
        else {
            return;
        };
        let mut wake = Vec::new();
        {
            let mut fields = task.header().rare_or_new().lock();
            let requests = &mut fields.requests;
            let tree = &mut requests.tree;
            let all = tree.conclude(stops, &answers, &request, due, &mut wake);
            if !all && tree.contains(request.source) && !request.is_taken() {
                requests.kept.push(Kept {
                    request,
                    reserved: None,
                });
                // This call, or this thread, has the task, and looks again before it lets go of it.
                let kept = task.header().state.transition_to_kept();
                debug_assert_eq!(kept, Requested::Kept);
            }
            if let Some(at) = requests.calls.iter().rposition(|call| *call == self.number) {
                requests.calls.swap_remove(at);
            }
        }
        self.will_wake(&task, held, wake);
    }

    fn will_wake(&mut self, task: &TaskRef, held: Option<usize>, wake: Vec<WakeUp>) {
        for wake in wake {
            match (wake, held) {
                (WakeUp::Other(waker), _) => self.wakers.push(waker),
                (WakeUp::Task, Some(held)) => self.held[held].wake = true,
                // Only marks it: it runs.
                (WakeUp::Task, None) => task.wake(),
            }
        }
    }

    /// Everybody was told. Lets go of every task, and wakes whom it concerns.
    fn end(mut self) {
        let mut next = 0;
        loop {
            // Either may bring more of both.
            if let Some(task) = self.reserved.pop() {
                self.commit(task);
            } else if next < self.held.len() {
                if let Some(entry) = self.let_go(next) {
                    entry.submit(Why::Woken);
                }
                next += 1;
            } else {
                break;
            }
        }
        for waker in self.wakers.drain(..) {
            contain(|| waker.wake());
        }
        for act in self.later.take() {
            contain(act);
        }
    }

    /// What this call had reserved in a task may be met from now on.
    fn commit(&mut self, task: TaskRef) {
        let header = task.header();
        let mut fields = header.rare_or_new().lock();
        let requests = &mut fields.requests;
        let mut found = false;
        for kept in &mut requests.kept {
            if kept.reserved == Some(self.number) {
                kept.reserved = None;
                found = true;
            }
        }
        if !found || planted(Bug::ReservedNotCommitted) {
            // Withdrawn meanwhile, or committed with an earlier request of this call.
            return;
        }
        let more = requests.has_reserved();
        if let Requested::Deliver { due } = header.state.transition_to_committed(more) {
            let held = self.hold(&task, due);
            requests.holder = Some((self.number, held));
            let kept = requests.take_kept(header);
            drop(fields);
            self.deliver(&task, Some(held), kept, due);
        }
    }

    fn deliver(&mut self, task: &TaskRef, held: Option<usize>, kept: Vec<Arc<Request>>, due: bool) {
        for request in kept {
            let mut fields = task.header().rare_or_new().lock();
            let frame = self.hand_down(&mut fields, task, held, request, due);
            drop(fields);
            self.stack.push(frame);
            self.tell();
        }
    }

    /// Lets go of a task, once nothing is kept for it any more.
    fn let_go(&mut self, held: usize) -> Option<Runnable> {
        let task = self.held[held].task.clone();
        loop {
            let mut fields = task.header().rare_or_new().lock();
            let interrupted = fields.requests.tree.has_received(ROOT);
            fields.requests.holder = None;
            match task.leave_delivery(self.held[held].wake, interrupted) {
                Exit::Left => return None,
                Exit::Submit(entry) => return Some(entry),
                Exit::Again => {
                    fields.requests.holder = Some((self.number, held));
                    let kept = fields.requests.take_kept(task.header());
                    drop(fields);
                    self.deliver(&task, Some(held), kept, false);
                }
            }
        }
    }
}

impl Frame {
    fn next(&mut self) -> Option<(Target, Message)> {
        match self {
            Self::Task {
                targets, request, ..
            } => Some((targets.next()?, request.message.clone())),
            Self::Each {
                targets, message, ..
            } => Some((targets.next()?, message.clone())),
        }
    }

    fn note(&mut self, yes: bool) {
        match self {
            Self::Task { answers, .. } => answers.push(yes),
            Self::Each { accepted, .. } => *accepted += usize::from(yes),
        }
    }
}

/// Nobody for whom the handle stands has accepted: true if the request has had its effect all the same. A panic is a no, as in `ask_other`.
fn withdraw(handle: &dyn Forward) -> bool {
    let mut has_effect = false;
    contain(|| has_effect = handle.withdraw());
    has_effect
}

/// Asks each of `targets` to end; all are told before any is woken. Says how many accepted.
///
/// For combinators: what one handle does to many others, in one step.
pub fn request_all(targets: Vec<Target>, message: Option<&str>) -> usize {
    let mut call = Call::new();
    call.stack.push(Frame::Each {
        message: message.filter(|text| !text.is_empty()).map(Arc::from),
        targets: targets.into_iter(),
        accepted: 0,
        handle: None,
    });
    let accepted = call.tell();
    call.end();
    accepted
}

/// What the end of a poll, which came back pending, brought.
pub(super) enum Met {
    /// The task ends here, cancelled.
    End(Message),
    /// Everything was handed down to regions and awaited handles.
    GoOn,
}

/// Meets what is kept, at the end of a poll on this thread that came back pending.
#[cold]
pub(super) fn meet(task: &TaskRef) -> Met {
    let header = task.header();
    if header.is_plain() {
        return Met::End(None);
    }
    let kept = {
        let rare = header.rare_or_new();
        let mut fields = rare.lock();
        let requests = &mut fields.requests;
        let state = header.state.load();
        if state.is_aborted() {
            return Met::End(requests.message());
        }
        let mut returned = Vec::new();
        if state.is_interrupted() {
            // What the state word says alone was received when there was no rare box, and nothing awaited: whatever is there now has come since.
            let plain = !requests.tree.has_received(ROOT);
            requests.tree.receive_plainly(0);
            let (last, awaits) = (rare.poll_number(), header.wait().is_some());
            let moved_on = plain && awaits || requests.tree.has_moved_on(ROOT, last, awaits);
            if !moved_on {
                let received = requests.take_received(header, ROOT);
                return Met::End(received.and_then(|request| request.message.clone()));
            }
            // What is suspended now has come since: something foreign gave its value although the task was asked to end.
            returned = requests.tree.return_received(ROOT);
            header.state.transition_to_uninterrupted();
        }
        let mut kept = requests.take_kept(header);
        if kept.is_empty() {
            kept.extend(returned);
        }
        kept
    };
    let mut call = Call::new();
    call.deliver(task, None, kept, false);
    call.end();
    let mut fields = header.rare_or_new().lock();
    let received = fields.requests.take_received(header, ROOT);
    drop(fields);
    match received {
        Some(request) => Met::End(request.message.clone()),
        None => Met::GoOn,
    }
}

impl Header {
    /// The message with which a task ends that is cancelled now.
    #[cold]
    pub(super) fn end_message(&self) -> Message {
        // A request without a message may be in the state word alone.
        self.rare().and_then(|rare| rare.lock().requests.message())
    }

    /// Whether a request waits for the task's next suspension.
    pub(crate) fn is_requested(&self) -> bool {
        self.state.load().is_requested()
    }

    /// The message of the last such request.
    pub(crate) fn requested_message(&self) -> Message {
        let rare = self.rare()?;
        let fields = rare.lock();
        let kept = fields.requests.kept.last();
        kept.and_then(|kept| kept.request.message.clone())
    }

    pub(crate) fn cancelling(&self) -> u32 {
        let counted = u32::from(self.state.load().is_counted());
        counted + self.rare().map_or(0, |rare| rare.lock().requests.count)
    }

    /// The task has caught a cancellation there, or answers it.
    pub(crate) fn caught(&self, at: Option<&'static Location<'static>>) {
        if let Some(rare) = self.rare() {
            rare.set_caught_at(at);
        }
    }

    /// Those of the requests that concern the region.
    #[inline]
    pub(crate) fn cancelling_in(&self, region: Key) -> u32 {
        let counted = u32::from(self.state.load().is_counted());
        self.rare().map_or(counted, |rare| {
            let fields = rare.lock();
            let requests = &fields.requests;
            requests.tree.concerning(region, requests.count + counted)
        })
    }

    pub(super) fn uncancel(&self) -> u32 {
        self.caught(None);
        if self.rare().is_none() && !self.state.load().is_counted() {
            return 0;
        }
        let mut fields = self.rare_or_new().lock();
        let requests = &mut fields.requests;
        let counted = u32::from(self.state.load().is_counted());
        if requests.count > 0 {
            requests.count -= 1;
        } else if counted > 0 {
            self.state.transition_to_uncounted();
            return 0;
        }
        let left = requests.count + counted;
        let withdrawn = if left == 0 && !requests.kept.is_empty() {
            if !planted(Bug::UncancelLeavesTheMark) {
                self.state.transition_to_none_kept(true);
            }
            std::mem::take(&mut requests.kept)
        } else {
            Vec::new()
        };
        drop(fields);
        drop(withdrawn);
        left
    }
}

impl TaskRef {
    /// Asks the task to end; see [`Task::cancel`](super::Task::cancel).
    pub(super) fn request(&self, message: Option<&str>) -> bool {
        crate::system::preempt();
        if self.header().state.load().is_done() {
            return false;
        }
        let plain = message.is_none_or(str::is_empty) && self.request_plainly();
        let accepted = plain || request_all(vec![Target::Task(self.clone())], message) > 0;
        if accepted {
            trace::cancel_requested(self.header());
        }
        accepted
    }

    /// The common case, which takes no lock and allocates nothing: no message, and a suspended task that awaits no handle, has no regions, and was never
    /// named, watched or asked before. False, and nothing was done, if it is another.
    fn request_plainly(&self) -> bool {
        let header = self.header();
        if header.rare().is_some() || !header.state.transition_to_idle_taken() {
            return false;
        }
        if header.is_plain() {
            match self.leave_delivery_plainly() {
                Exit::Again => {}
                Exit::Left => return true,
                Exit::Submit(entry) => {
                    entry.submit(Why::Woken);
                    return true;
                }
            }
        }
        // Lets go of it in the proper way: somebody may have left a request meanwhile.
        let mut call = Call::new();
        call.hold(self, false);
        call.end();
        false
    }

    /// Ends the task where it is suspended; see [`Task::abort`](super::Task::abort).
    pub(super) fn force(&self, message: Option<&str>) -> bool {
        crate::system::preempt();
        let header = self.header();
        if header.state.load().is_done() {
            return false;
        }
        let mut fields = header.rare_or_new().lock();
        if fields.requests.abort_message.is_none() {
            let message = message.filter(|text| !text.is_empty());
            fields.requests.abort_message = message.map(Arc::from);
        }
        let aborted = self.begin_abort();
        drop(fields);
        match aborted {
            (Abort::Refused, _) => false,
            (_, entry) => {
                if let Some(entry) = entry {
                    entry.submit(Why::Woken);
                }
                true
            }
        }
    }

    /// A request of one of the task's own regions, made in a poll of the task on this thread.
    pub(super) fn request_from(&self, source: Key) {
        let header = self.header();
        let mut fields = header.rare_or_new().lock();
        let requests = &mut fields.requests;
        if requests.tree.set_requested(source) {
            requests.count += 1;
            let request = Request::new(source, None);
            self.keep(fields, vec![request]);
        }
    }

    /// The region has ended: what it asked for is withdrawn, what others asked of it and nobody took goes back to the task.
    ///
    /// Gives the count that is left, of the requests that concern it.
    pub(super) fn leave_region(&self, key: Key) -> u32 {
        let header = self.header();
        let mut fields = header.rare_or_new().lock();
        let requests = &mut fields.requests;
        let mut left = requests.tree.leave(key);
        if left.requested {
            requests.count = requests.count.saturating_sub(1);
        }
        requests.keep_only(header, |kept| {
            kept.source != key && !planted(Bug::RegionTakesAll)
        });
        let counted = requests.count + u32::from(header.state.load().is_counted());
        let round_it = left.parent.unwrap_or(ROOT);
        let count = requests.tree.concerning(round_it, counted);
        let mut again = std::mem::take(&mut left.untaken);
        again.retain(|untaken| {
            let mut kept = requests.kept.iter();
            !kept.any(|kept| Arc::ptr_eq(&kept.request, untaken))
        });
        if again.is_empty() || planted(Bug::UntakenDropped) {
            drop(fields);
        } else {
            self.keep(fields, again);
        }
        drop(left);
        count
    }

    /// Requests that a region gives back, in a poll of the task on this thread.
    pub(super) fn keep_requests(&self, requests: Vec<Arc<Request>>) {
        self.keep(self.header().rare_or_new().lock(), requests);
    }

    fn keep(
        &self,
        mut fields: crate::sync_switch::MutexGuard<'_, RareFields>,
        requests: Vec<Arc<Request>>,
    ) {
        let header = self.header();
        let kept = requests.into_iter().map(|request| Kept {
            request,
            reserved: None,
        });
        fields.requests.kept.extend(kept);
        if let Requested::Deliver { due } = header.state.transition_to_kept() {
            // A region that was moved out of the task's poll, and ends elsewhere.
            let mut call = Call::new();
            let held = call.hold(self, due);
            fields.requests.holder = Some((call.number, held));
            let kept = fields.requests.take_kept(header);
            drop(fields);
            call.deliver(self, Some(held), kept, due);
            call.end();
        }
    }

    /// Takes what the region has received: an await in it unwinds by itself.
    pub(super) fn consume_received(&self, key: Key) {
        let header = self.header();
        let mut fields = header.rare_or_new().lock();
        let taken = fields.requests.take_received(header, key);
        if key == ROOT {
            header.state.transition_to_uninterrupted();
        }
        drop(fields);
        drop(taken);
    }
}
