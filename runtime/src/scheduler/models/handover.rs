//! Models of what changes hands between workers: the task in a slot, a permit, and what is queued when they leave.
#![allow(unsafe_code)]

use super::super::queue::{SharedQueue, queue};
use super::super::{Scheduler, ThreadExit, Worker};
use crate::Builder;
use crate::handle::Handle;
use crate::sync_switch::check::{BOUNDED, UNBOUNDED, check, planted_bugs_fail};
use crate::sync_switch::{Bug, UnsafeCell};
use crate::task::{
    Ending, Header, Route, Runnable, Schedule, Task, TaskError, TaskRef, Values, Why, new_task,
};
use loom::thread;
use std::panic::Location;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize as Tally, Ordering::Relaxed};
use std::task::Poll;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(3600);

/// Queues into a slot. Looked at by whoever queues the task, and gone with its end.
struct IntoSlot {
    queue: Arc<SharedQueue>,
    looked_at: UnsafeCell<()>,
}

struct SlotRoute(Arc<SharedQueue>);

// SAFETY: rule 6 of `task::cell` says who may touch the cell, and loom sees to it.
unsafe impl Sync for IntoSlot {}

impl Schedule for IntoSlot {
    type Route = SlotRoute;

    fn route(&self) -> SlotRoute {
        self.looked_at.with(|_| ());
        SlotRoute(self.queue.clone())
    }

    fn release(&self, _: NonNull<Header>, _: Ending) {}

    fn unhandled(&self, _: TaskRef, error: TaskError) {
        panic!("{error}");
    }
}

impl Route for SlotRoute {
    fn submit(self, task: Runnable, _: Why) {
        assert!(
            self.0.replace_slot(task).is_none(),
            "one task, queued twice"
        );
    }
}

/// A task that counts its polls, the last of which is the `polls`th.
fn counting(queue: &Arc<SharedQueue>, polls: usize) -> (Runnable, Task<()>, Arc<Tally>) {
    let scheduler = IntoSlot {
        queue: queue.clone(),
        looked_at: UnsafeCell::new(()),
    };
    let count = Arc::<Tally>::default();
    let polled = count.clone();
    let body = std::future::poll_fn(move |_| match polled.fetch_add(1, Relaxed) + 1 {
        now if now < polls => Poll::Pending,
        _ => Poll::Ready(()),
    });
    let (entry, task) = new_task::<_, _, Values>(scheduler, Location::caller(), || body);
    (entry, task, count)
}

/// The owner displaces one task by the next, and takes what it finds; a thief takes what it finds.
#[test]
fn a_task_in_a_slot_goes_to_the_owner_or_to_a_thief() {
    check(UNBOUNDED, || {
        let shared = Arc::new(queue().1);
        let (first, _first, firsts) = counting(&shared, 1);
        let (second, _second, seconds) = counting(&shared, 1);
        let theirs = shared.clone();
        let thief = thread::spawn(move || {
            theirs.take_slot().map(Runnable::run);
        });
        assert!(shared.replace_slot(first).is_none());
        shared.replace_slot(second).map(Runnable::run);
        shared.take_slot().map(Runnable::run);
        thief.join().unwrap();
        assert!(shared.is_slot_empty());
        assert_eq!([firsts, seconds].map(|count| count.load(Relaxed)), [1, 1]);
    });
}

/// Who wakes a task looks at its scheduler and then puts it into the slot; the thief runs it to its end, which takes the scheduler away.
#[test]
fn a_task_that_a_thief_ends_was_looked_at_before() {
    check(UNBOUNDED, || {
        let shared = Arc::new(queue().1);
        let (entry, task, polls) = counting(&shared, 2);
        entry.run();
        let theirs = shared.clone();
        let thief = thread::spawn(move || {
            theirs.take_slot().map(Runnable::run);
        });
        // Wakes it. Nobody keeps its outcome, so its end takes the scheduler along.
        let reference = task.as_ref();
        drop(task);
        assert!(reference.cancel(None));
        thief.join().unwrap();
        shared.take_slot().map(Runnable::run);
        assert!(reference.is_done() && polls.load(Relaxed) <= 2);
    });
}

/// A runtime of one worker, none of whose threads start but those that a model makes.
fn runtime() -> Handle {
    let builder = Builder::new().worker_threads(1);
    let builder = builder.thread_stack_size(usize::MAX);
    builder.assemble().expect("there are descriptors left")
}

/// The thread of a slot, after a poll, or among the spares: until it holds a permit that nobody may take from it.
fn hold(handle: &Handle, index: usize, keep_alive: Duration, holders: &Tally) {
    let scheduler = handle.scheduler();
    let worker = Worker::take_seat(handle, index).expect("the seat is free");
    let slot = scheduler.slot(index).expect("it has a slot");
    while slot.has_permit() || worker.wait_for_permit(keep_alive) {
        if slot.keep_permit() {
            holders.fetch_add(1, Relaxed);
            scheduler.stop();
            break;
        }
        // Taken since that look.
    }
    worker.leave_seat();
}

fn permits(scheduler: &Scheduler) -> usize {
    let slots = scheduler.slots();
    slots.filter(|(_, slot)| slot.has_permit()).count()
}

/// A worker whose poll may end at any moment is found blocked; beside it is a spare, if `keep_alive`.
fn a_blocked_worker_is_replaced(keep_alive: Option<Duration>) {
    let handle = runtime();
    let scheduler = handle.scheduler();
    let holders = Arc::<Tally>::default();
    let mut threads = Vec::new();
    let mut begin = |index, keep_alive| {
        let (handle, holders) = (handle.clone(), holders.clone());
        threads.push(thread::spawn(move || {
            hold(&handle, index, keep_alive, &holders)
        }));
    };
    if let Some(keep_alive) = keep_alive {
        let spare = scheduler.vacant_slot().expect("there is room for spares");
        begin(spare, keep_alive);
    }
    begin(0, LONG);
    let slot = scheduler.slot(0).expect("it has a slot");
    scheduler.replace_blocked(&handle, 0, slot);
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(holders.load(Relaxed), 1, "who hold the one permit");
    assert_eq!(permits(scheduler), 1);
}

#[test]
fn a_permit_goes_to_a_spare_or_stays() {
    check(BOUNDED, || a_blocked_worker_is_replaced(Some(LONG)));
}

#[test]
fn a_permit_for_which_there_is_no_spare_comes_back() {
    check(UNBOUNDED, || a_blocked_worker_is_replaced(None));
}

#[test]
fn a_spare_that_was_chosen_as_its_time_was_up_stays() {
    check(BOUNDED, || {
        a_blocked_worker_is_replaced(Some(Duration::ZERO))
    });
}

/// The last worker leaves while a task is spawned outside. `waits`: the shutdown waits for it; else it has given up.
fn a_task_comes_as_the_last_worker_leaves(waits: bool) {
    let handle = runtime();
    let scheduler = handle.scheduler();
    *scheduler.live.lock() = 1;
    let there = handle.clone();
    let worker = thread::spawn(move || {
        let exit = ThreadExit(there.clone());
        let worker = Worker::take_seat(&there, 0).expect("the seat is free");
        let slot = there.scheduler().slot(0).expect("it has a slot");
        while !there.scheduler().is_stopping() {
            slot.parker.park();
        }
        worker.leave_seat();
        drop(exit);
    });
    let outside = handle.clone();
    let spawner = thread::spawn(move || outside.spawn(async {}));
    scheduler.stop();
    if waits {
        assert!(scheduler.join(None, false));
        scheduler.clear();
    }
    worker.join().unwrap();
    let task = spawner.join().unwrap();
    assert!(task.is_done(), "queued, and nobody will run it");
    assert_eq!(handle.registry().len(), 0);
}

#[test]
fn a_task_that_comes_after_the_last_worker_is_ended() {
    check(BOUNDED, || a_task_comes_as_the_last_worker_leaves(true));
}

#[test]
fn a_task_that_comes_after_the_shutdown_has_given_up_is_ended() {
    check(BOUNDED, || a_task_comes_as_the_last_worker_leaves(false));
}

#[test]
fn every_model_fails_with_its_bugs_planted() {
    planted_bugs_fail(
        module_path!(),
        &[
            (
                "a_task_in_a_slot_goes_to_the_owner_or_to_a_thief",
                &[Bug::SlotTakenByALook],
            ),
            (
                "a_task_that_a_thief_ends_was_looked_at_before",
                &[Bug::SlotUnordered],
            ),
            (
                "a_permit_goes_to_a_spare_or_stays",
                &[Bug::PermitOfSleeperTaken],
            ),
            (
                "a_permit_for_which_there_is_no_spare_comes_back",
                &[Bug::PermitGivenBackUnheard],
            ),
            (
                "a_spare_that_was_chosen_as_its_time_was_up_stays",
                &[Bug::ChosenSpareEnds],
            ),
            (
                "a_task_that_comes_after_the_last_worker_is_ended",
                &[Bug::DesertedUnlooked, Bug::SubmitWithoutFence],
            ),
            (
                "a_task_that_comes_after_the_shutdown_has_given_up_is_ended",
                &[
                    Bug::DesertedUnlooked,
                    Bug::LastExitLeavesTasks,
                    Bug::ClearWithoutFence,
                ],
            ),
        ],
    );
}
