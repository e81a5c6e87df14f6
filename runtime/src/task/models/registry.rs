//! Models of the registry: a task that comes as it is closed, one that ends while somebody waits for the last, and two that leave at once.

use super::*;
use crate::task::{Refusal, Registry};
use std::time::{Duration, Instant};

/// Queues nothing: a model runs its entries itself.
#[derive(Clone)]
struct Bound(Arc<Registry>);

impl Route for Bound {
    fn submit(self, _: Runnable, _: Why) {
        unreachable!("nobody wakes the task of a model that ends in its first poll");
    }
}

impl Schedule for Bound {
    type Route = Self;

    fn route(&self) -> Self {
        self.clone()
    }

    fn release(&self, task: NonNull<Header>, ending: Ending) {
        self.0.release(0, task, ending);
    }

    fn unhandled(&self, _: TaskRef, error: TaskError) {
        panic!("{error}");
    }
}

fn new(registry: &Arc<Registry>) -> (Runnable, Task<u32>) {
    let scheduler = Bound(registry.clone());
    new_task::<_, _, Values>(scheduler, Location::caller(), || async { 1 })
}

fn far() -> Instant {
    Instant::now() + Duration::from_secs(3600)
}

#[test]
fn a_task_is_found_by_who_has_closed_the_registry_or_refused() {
    check(UNBOUNDED, || {
        let registry = Arc::new(Registry::new(1));
        let there = registry.clone();
        let spawner = thread::spawn(move || {
            let (entry, task) = new(&there);
            if there.bind(0, &entry) {
                return Some((entry, task));
            }
            entry.abandon(TaskError::refused(Refusal::Closed));
            assert!(task.is_done());
            None
        });
        registry.close();
        let found = registry.tasks().len();
        let bound = spawner.join().unwrap();
        assert_eq!(found, usize::from(bound.is_some()));
        if let Some((entry, task)) = bound {
            entry.run();
            assert!(task.is_done());
        }
        assert!(registry.wait_drained(0, far()));
        assert_eq!(registry.tasks().len(), 0);
    });
}

/// As a shutdown does: close, find all there are, wait for the last.
#[test]
fn whoever_waits_for_the_last_task_is_told_of_its_end() {
    check(UNBOUNDED, || {
        let registry = Arc::new(Registry::new(1));
        let (entry, task) = new(&registry);
        assert!(registry.bind(0, &entry));
        let worker = thread::spawn(move || entry.run());
        registry.close();
        assert!(registry.wait_drained(0, far()));
        worker.join().unwrap();
        assert!(task.is_done());
    });
}

#[test]
fn two_tasks_that_end_at_a_time_both_leave_the_list() {
    check(UNBOUNDED, || {
        let registry = Arc::new(Registry::new(1));
        let tasks = [(); 3].map(|()| new(&registry));
        for (entry, _) in &tasks {
            assert!(registry.bind(0, entry));
        }
        let [(first, _first), (middle, _middle), (last, left)] = tasks;
        // Neighbours in the list.
        let workers = [first, middle].map(|entry| thread::spawn(move || entry.run()));
        registry.close();
        assert!(registry.wait_drained(1, far()));
        for worker in workers {
            worker.join().unwrap();
        }
        assert_eq!(registry.tasks(), [left.as_ref()]);
        last.run();
        assert!(registry.wait_drained(0, far()));
    });
}

#[test]
fn every_model_fails_with_its_bugs_planted() {
    planted_bugs_fail(
        module_path!(),
        &[
            (
                "a_task_is_found_by_who_has_closed_the_registry_or_refused",
                &[Bug::BoundAfterClose],
            ),
            (
                "whoever_waits_for_the_last_task_is_told_of_its_end",
                &[Bug::ReleaseFromOldLook, Bug::DrainedOutsideTheLock],
            ),
            (
                "two_tasks_that_end_at_a_time_both_leave_the_list",
                &[Bug::ReleaseFromOldLook, Bug::DrainedOutsideTheLock],
            ),
        ],
    );
}
