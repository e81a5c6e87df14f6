//! A body, step after step, in its task.

use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use heist::task::{Cancel, check_cancelled, yield_now};
use heist::time::now;
use heist::{
    Cancelled, Deadline, Handle, TaskGroup, as_completed, catch_cancel, current_task, gather,
    shield, sleep, timeout, wait, wait_for, wait_for_body,
};

use super::program::{Body, InDrop, Keep, Step, Then, Time};
use super::world::{Canary, Kept, PERMITS, Planned, World};

/// How deep blocks lie in blocks.
const MAX_DEPTH: usize = 5;

/// How many gathers there are at a time. A request goes down every path through them, and those of gathers that gather one another are more
/// than anybody can wait for.
const MAX_GATHERS: usize = 6;

/// Whether the next step follows.
#[derive(PartialEq, Eq)]
enum Flow {
    Next,
    Return,
}

/// Where a step stands.
#[derive(Clone)]
struct Place {
    world: Arc<World>,
    /// Of the task.
    number: usize,
    depth: usize,
    group: Option<TaskGroup>,
}

/// A task of the body.
pub(super) fn spawn(world: &Arc<World>, body: Body, keep: Keep) {
    if let Some((number, future)) = task_future(world, body) {
        let task = heist::spawn(future);
        adopt(world, number, task, keep);
    }
}

/// The future of a task to be, with its number.
fn task_future(
    world: &Arc<World>,
    body: Body,
) -> Option<(usize, impl Future<Output = usize> + use<>)> {
    let (number, life) = world.add()?;
    let canary = Canary(life.clone());
    let place = Place {
        world: world.clone(),
        number,
        depth: 0,
        group: None,
    };
    let future = async move {
        let _canary = canary;
        assert!(!life.began.swap(true, SeqCst), "begun twice");
        place.block(body).await;
        life.returned.store(true, SeqCst);
        number
    };
    Some((number, future))
}

fn adopt(world: &Arc<World>, number: usize, task: heist::Task<usize>, keep: Keep) {
    let (task_ref, life) = (task.as_ref(), world.life(number));
    task.add_done_callback({
        let task = task_ref.clone();
        move || {
            life.told.fetch_add(1, SeqCst);
            assert!(task.is_done(), "told of the end before it");
            assert_eq!(
                life.dropped.load(SeqCst),
                1,
                "told before the future is gone"
            );
        }
    });
    let kept = match keep {
        Keep::Own => Kept::Own(task),
        Keep::Share => Kept::Share(task.shared()),
        Keep::Detach => Kept::No,
    };
    world.adopt(number, task_ref, kept);
}

/// Counts whoever is somewhere, as long as he is.
struct Within<'a>(&'a AtomicUsize);

impl<'a> Within<'a> {
    fn at_most(count: &'a AtomicUsize, most: usize) -> Self {
        let others = count.fetch_add(1, SeqCst);
        assert!(others < most, "{others} others are there");
        Self(count)
    }
}

impl Drop for Within<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

/// Does something when it is dropped.
struct DoesInDrop(Arc<World>, InDrop);

impl Drop for DoesInDrop {
    fn drop(&mut self) {
        act(&self.0, self.1);
    }
}

fn act(world: &Arc<World>, what: InDrop) {
    match what {
        InDrop::Nothing => {}
        InDrop::Cancel(who) => {
            world.ask();
            if let Some((_, task)) = world.task(who) {
                task.cancel("from a destructor");
            }
        }
        InDrop::Abort(who) => {
            world.ask();
            if let Some((_, task)) = world.task(who) {
                task.abort("from a destructor");
            }
        }
        InDrop::Forget(who) => world.forget(who),
        // Where there is no runtime any more there is nothing to spawn on.
        InDrop::Spawn(body) if Handle::current().is_some() => spawn(world, body, Keep::Share),
        InDrop::Spawn(_) => {}
        InDrop::EventSet => world.event.set(),
    }
}

impl Place {
    fn deeper(&self) -> Self {
        Self {
            depth: self.depth + 1,
            ..self.clone()
        }
    }

    /// Boxed, because blocks lie in blocks.
    fn block(&self, body: Body) -> Pin<Box<dyn Future<Output = Flow> + Send>> {
        let place = self.deeper();
        Box::pin(async move {
            if place.depth > MAX_DEPTH {
                return Flow::Next;
            }
            let mut guards = Vec::new();
            for step in place.world.program.body(body) {
                if !place.world.may_work() {
                    return Flow::Return;
                }
                if let Step::OnDrop(what) = step {
                    guards.push(DoesInDrop(place.world.clone(), what));
                } else if place.step(step).await == Flow::Return {
                    return Flow::Return;
                }
            }
            Flow::Next
        })
    }

    async fn step(&self, step: Step) -> Flow {
        let world = &self.world;
        match step {
            Step::Yield => yield_now().await,
            Step::Sleep(time) => self.sleep(time).await,
            Step::Advance(Time(by)) => {
                world.advanced.store(true, SeqCst);
                let runtime = Handle::current().expect("in a task");
                let by = by.min(Duration::from_secs(86_400));
                runtime.clock().advance(by).expect("it is paused");
            }
            Step::Return => return Flow::Return,
            Step::Panic => {
                world.panicked.store(true, SeqCst);
                world.ask();
                resume_unwind(Box::new(Planned));
            }
            Step::Propagate => {
                world.ask();
                Cancelled::new("unasked").propagate().await
            }

            Step::Spawn(body, keep) => spawn(world, body, keep),
            Step::Cancel(who, message) => self.cancel(who, message),
            Step::Uncancel(who) => {
                if let Some((_, task)) = world.task(who) {
                    let before = task.cancelling();
                    assert_eq!(task.uncancel(), before.saturating_sub(1), "uncancel");
                }
            }
            Step::Abort(who) => {
                world.ask();
                if let Some((_, task)) = world.task(who) {
                    let was_done = task.is_done();
                    assert_eq!(task.abort("aborted"), !was_done, "abort of {task:?}");
                }
            }
            Step::CancelWith(who, Time(grace)) => {
                world.ask();
                if let Some((number, task)) = world.task(who)
                    && number != self.number
                {
                    task.cancel_with(Cancel::new().reason("with").grace(grace))
                        .await;
                }
            }
            Step::Forget(who) => world.forget(who),
            Step::Look(who) => {
                self.look(who);
                if let Some((_, task)) = world.task(who) {
                    // Where there is none, the error says why.
                    let _ = format!("{:?}", task.get_stack().await);
                }
            }
            Step::Await(who) => self.wait_handle(who).await,
            Step::Ended(who) => {
                if let Some((_, task)) = world.task(who) {
                    task.ended().await;
                    assert!(task.is_done(), "ended, and not done: {task:?}");
                }
            }
            Step::Callback(who, what) => {
                if let Some((_, task)) = world.task(who) {
                    let (world, asked) = (world.clone(), task.clone());
                    task.add_done_callback(move || {
                        assert!(asked.is_done(), "told of the end before it");
                        act(&world, what);
                    });
                }
            }
            Step::OnDrop(_) => unreachable!("the block keeps those"),

            Step::Call(body) => return self.block(body).await,
            Step::Timeout(time, body) => return self.timeout(time, body).await,
            Step::Moved(first, then, body) => return self.moved(first, then, body).await,
            Step::Catch(body, then) => return self.catch(body, then).await,
            Step::Group(body, all) => return self.group(body, all).await,
            Step::GroupSpawn(body) => self.group_spawn(body),
            Step::GroupCancel => {
                if let Some(group) = &self.group {
                    world.ask();
                    group.cancel();
                }
            }
            Step::Lock(body) => {
                let _guard = world.lock.lock().await;
                let _within = Within::at_most(&world.inside, 1);
                return self.block(body).await;
            }
            Step::Permit(body) => {
                let _permit = world.semaphore.permit().await;
                let _within = Within::at_most(&world.permitted, PERMITS);
                return self.block(body).await;
            }

            Step::Shield(who) => {
                if let Some((number, handle)) = world.shared(who) {
                    // An error may be the shield's own end.
                    if let Ok(value) = shield(handle).await {
                        world.heard(number, &Ok(value));
                    }
                }
            }
            Step::Gather(who, everything) => self.gather(who, everything).await,
            Step::Wait(who, until, time) => {
                let mut handles = self.handles(who);
                let all = handles.len();
                let time = time.map(|time| time.0);
                match wait(&mut handles).until(until.into()).timeout(time).await {
                    Ok(done) => {
                        assert_eq!(done.len() + handles.len(), all, "handles were lost");
                        assert!(time.is_some() || !done.is_empty(), "nothing is done");
                        assert!(done.iter().all(|handle| handle.is_done()), "not done");
                    }
                    Err(_) => assert_eq!(all, 0, "there was something to wait for"),
                }
            }
            Step::WaitFor(who, time) => {
                if let Some((number, handle)) = world.shared(who)
                    && number != self.number
                {
                    let began = now();
                    // Too late is asked to end.
                    world.ask();
                    match wait_for(handle, time.map(|time| time.0)).await {
                        Ok(outcome) => world.heard(number, &outcome),
                        Err(_) => self.was_up(began, time),
                    }
                }
            }
            Step::WaitForBody(body, time) => {
                let began = now();
                world.ask();
                if let Some((number, future)) = task_future(world, body) {
                    let life = world.life(number);
                    match wait_for_body(future, time.map(|time| time.0)).await {
                        Ok(Ok(value)) => assert_eq!(value, number, "another's value"),
                        Ok(Err(error)) => {
                            assert!(!error.is_panic() || world.panicked.load(SeqCst), "{error}");
                        }
                        Err(_) => self.was_up(began, time),
                    }
                    assert_eq!(life.dropped.load(SeqCst), 1, "the body is not gone");
                }
            }
            Step::AsCompleted(who, time) => self.as_completed(who, time).await,

            Step::Promise => world.add_promise(),
            Step::Set(which) => {
                if let Some((index, promise)) = world.take_promise(which) {
                    let was_done = promise.is_done();
                    assert_eq!(promise.set(index).is_err(), was_done, "settled twice");
                }
            }
            Step::DropPromise(which) => {
                world.ask();
                drop(world.take_promise(which));
            }
            Step::AwaitPromise(which) => {
                if let Some((index, deferred)) = world.take_deferred(which) {
                    match deferred.await {
                        Ok(value) => assert_eq!(value, index, "another promise's value"),
                        Err(error) => assert!(error.is_cancelled(), "{error}"),
                    }
                }
            }

            Step::CallSoon(cancelled) => {
                let runtime = Handle::current().expect("in a task");
                let call = runtime.call_soon(self.counted());
                if cancelled && call.cancel() {
                    world.calls.fetch_sub(1, SeqCst);
                }
            }
            Step::CallLater(Time(after), cancelled) => {
                let runtime = Handle::current().expect("in a task");
                let due = now().checked_add(after);
                let counted = self.counted();
                let call = runtime.call_later(after, move || {
                    assert!(due.is_some_and(|due| due <= now()), "called early");
                    counted();
                });
                if cancelled && call.cancel() {
                    world.calls.fetch_sub(1, SeqCst);
                }
            }
            Step::EventSet => world.event.set(),
            Step::EventClear => world.event.clear(),
            Step::EventWait => world.event.wait().await,
            Step::Put => {
                let item = world.puts.begun.fetch_add(1, SeqCst);
                if world.queue.put(item).await.is_ok() {
                    world.puts.done.fetch_add(1, SeqCst);
                }
            }
            Step::Get => {
                if let Ok(item) = world.queue.get().await {
                    let mut got = world.puts.got.lock().expect("no panic while it is held");
                    got.push(item);
                }
            }
            Step::Shutdown => {
                world.ask();
                let runtime = Handle::current().expect("in a task");
                let closing = runtime.clone();
                // Not here: a task that shuts down is left out, and has to end by itself.
                runtime.call_soon(move || drop(closing.shutdown(Duration::ZERO)));
            }
        }
        Flow::Next
    }

    /// A callback that is called once, if at all.
    fn counted(&self) -> impl FnOnce() + Send + use<> {
        let world = self.world.clone();
        world.calls.fetch_add(1, SeqCst);
        move || {
            world.called.fetch_add(1, SeqCst);
        }
    }

    /// Time was up: not before its time.
    fn was_up(&self, began: std::time::Instant, time: Option<Time>) {
        let time = time.expect("no time was set");
        let passed = now().duration_since(began);
        assert!(passed >= time.0, "{:?} were up after {passed:?}", time.0);
    }

    async fn sleep(&self, time: Time) {
        let began = now();
        sleep(time.0).await;
        let passed = now().duration_since(began);
        assert!(passed >= time.0, "{:?} took {passed:?}", time.0);
        let world = &self.world;
        if !world.advanced.load(SeqCst) && !world.ending.load(SeqCst) {
            // The clock is where the timers' ticks left it: late by less than a tick, unless all times were whole.
            let late = passed.saturating_sub(time.0);
            assert!(
                late < Duration::from_micros(4),
                "{:?} took {passed:?}",
                time.0
            );
        }
    }

    fn cancel(&self, who: u8, message: Option<u8>) {
        self.world.ask();
        let Some((number, task)) = self.world.task(who) else {
            return;
        };
        let was_done = task.is_done();
        let message = message.map(|message| message.to_string());
        let asked = task.cancel(message.as_deref());
        assert_eq!(asked, !was_done, "cancel of {task:?}");
        if number == self.number {
            // Met at the next suspension, or taken back before.
            assert!(!task.is_done(), "the running task is done");
            let _ = check_cancelled();
        }
    }

    /// All that can be asked without waiting.
    fn look(&self, who: u8) {
        let own = current_task().expect("in a task");
        assert!(!own.is_done(), "the running task is done");
        let all = heist::all_tasks();
        assert!(all.contains(&own), "the running task is not listed");
        if let Some((_, task)) = self.world.task(who) {
            let shown = format!("{task:?} {:?} {}", task.waits_for(), task.future_name());
            assert!(!shown.is_empty());
            task.set_name("looked at");
            assert_eq!(task.name(), "looked at");
            if !task.is_done() {
                assert!(all.contains(&task), "not listed: {task:?}");
            }
        }
        let (number, handle) = self.world.handle(who);
        match handle {
            Kept::Own(task) => {
                let error = task.exception();
                assert_eq!(
                    error.is_ok(),
                    task.is_done() && !task.is_cancelled(),
                    "{task:?}"
                );
                let task_ref = task.as_ref();
                self.world.adopt(number, task_ref, Kept::Own(task));
            }
            Kept::Share(shared) => {
                let outcome = shared.result();
                if shared.is_done() {
                    self.world.heard(number, &outcome);
                } else {
                    assert!(outcome.is_err_and(|error| error.is_invalid_state()));
                }
            }
            Kept::No => {}
        }
    }

    async fn wait_handle(&self, who: u8) {
        match self.world.handle(who) {
            (number, Kept::Own(task)) => self.world.heard(number, &task.await),
            (number, Kept::Share(shared)) => self.world.heard(number, &shared.await),
            (_, Kept::No) => {}
        }
    }

    async fn timeout(&self, time: Time, body: Body) -> Flow {
        let began = now();
        self.world.ask();
        match timeout(time.0, self.block(body)).await {
            Ok(flow) => flow,
            Err(_) => {
                self.was_up(began, Some(time));
                Flow::Next
            }
        }
    }

    async fn moved(&self, first: Time, then: Time, body: Body) -> Flow {
        let began = now();
        self.world.ask();
        let deadline = Deadline::after(first.0);
        let (mover, block) = (deadline.clone(), self.block(body));
        let moved = async move {
            yield_now().await;
            let moved = mover.reschedule_after(then.0).is_ok();
            (moved, block.await)
        };
        match deadline.enclose(moved).await {
            // It may have expired all the same: the body did not listen.
            Ok((_, flow)) => flow,
            Err(_) => {
                assert!(deadline.expired(), "not expired, and elapsed");
                self.was_up(began, Some(Time(first.0.min(then.0))));
                Flow::Next
            }
        }
    }

    async fn catch(&self, body: Body, then: Then) -> Flow {
        match (catch_cancel(self.block(body)).await, then) {
            (Ok(flow), _) => flow,
            (Err(cancelled), Then::Propagate) => cancelled.propagate().await,
            (Err(_), Then::Swallow) => Flow::Next,
            (Err(_), Then::Uncancel) => {
                current_task().expect("in a task").uncancel();
                Flow::Next
            }
        }
    }

    async fn group(&self, body: Body, collect_all: bool) -> Flow {
        self.world.ask();
        let mut options = TaskGroup::options().max_tasks(4);
        if collect_all {
            options = options.collect_all();
        }
        let seen = std::sync::Mutex::new(None);
        let ended = options
            .run(|group| {
                *seen.lock().expect("no panic here") = Some(group.clone());
                let place = Self {
                    group: Some(group),
                    ..self.clone()
                };
                async move { place.block(body).await }
            })
            .await;
        let group = seen.into_inner().expect("no panic here");
        let group = group.expect("the body was made");
        assert!(
            group.is_empty(),
            "{} children outlive their group",
            group.len()
        );
        assert!(
            group.spawn(async {}).is_err(),
            "a child of a group that is over"
        );
        ended.unwrap_or_else(|error| {
            let _ = format!("{error} {error:?}");
            let why = error.is_cancelled() || !error.failures().is_empty();
            assert!(why, "an error without a reason: {error:?}");
            Flow::Next
        })
    }

    fn group_spawn(&self, body: Body) {
        let Some(group) = &self.group else {
            return;
        };
        if group.len() >= 4 {
            return;
        }
        let Some((number, future)) = task_future(&self.world, body) else {
            return;
        };
        if let Ok(task) = group.spawn(future) {
            adopt(&self.world, number, task, Keep::Share);
        }
    }

    /// Handles of other tasks, each once.
    fn handles(&self, who: [u8; 3]) -> Vec<heist::Shared<usize>> {
        self.others(who)
            .into_iter()
            .map(|(_, handle)| handle)
            .collect()
    }

    fn others(&self, who: [u8; 3]) -> Vec<(usize, heist::Shared<usize>)> {
        let mut handles = self.world.some_shared(who);
        handles.retain(|(number, _)| *number != self.number);
        handles.sort_by_key(|(number, _)| *number);
        handles.dedup_by_key(|(number, _)| *number);
        handles
    }

    async fn gather(&self, who: [u8; 3], everything: bool) {
        if self.world.gathers.load(SeqCst) == MAX_GATHERS {
            return;
        }
        let _within = Within::at_most(&self.world.gathers, MAX_GATHERS);
        let (numbers, handles): (Vec<_>, Vec<_>) = self.others(who).into_iter().unzip();
        if everything {
            let outcomes = gather(handles).return_exceptions().await;
            for (number, outcome) in numbers.into_iter().zip(outcomes.unwrap_or_default()) {
                self.world.heard(number, &outcome);
            }
        } else if let Ok(values) = gather(handles).await {
            assert_eq!(values, numbers, "values in the order of the arguments");
        }
    }

    async fn as_completed(&self, who: [u8; 3], time: Option<Time>) {
        let began = now();
        let (numbers, handles): (Vec<_>, Vec<_>) = self.others(who).into_iter().unzip();
        let completed = as_completed(handles).timeout(time.map(|time| time.0));
        let mut given = vec![false; numbers.len()];
        for _ in 0..numbers.len() {
            match completed.next().await {
                Some(Ok((index, outcome))) => {
                    assert!(!std::mem::replace(&mut given[index], true), "given twice");
                    self.world.heard(numbers[index], &outcome);
                }
                Some(Err(_)) => self.was_up(began, time),
                None => panic!("fewer than there are"),
            }
        }
        assert!(completed.next().await.is_none(), "more than there are");
    }
}
