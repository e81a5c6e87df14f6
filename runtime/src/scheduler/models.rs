//! Models of who sleeps and who is woken: the real `Idle`, `Parker` and `Monitor`, round a queue that is only a number.
//!
//! The loop of a worker is `Worker::next`, `run` and `park` in short, with the same steps in the same order. A task that nobody sees is a
//! deadlock here: workers leave their loop only once all tasks have run.

mod handover;

use super::idle::{Idle, Rest, Sleep, Woken};
use super::park::Parker;
use super::watch::Monitor;
use crate::sync_switch::check::{BOUNDED, UNBOUNDED, check, planted_bugs_fail};
use crate::sync_switch::{AtomicUsize, Bug, Condvar, Mutex, planted, wait};
use loom::thread;
use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::time::Instant;

/// What crossbeam's queues promise at the least: a push releases, a look acquires, and neither is a fence.
struct Queue(AtomicUsize);

impl Queue {
    fn push(&self) {
        self.0.fetch_add(1, Release);
    }

    fn is_work(&self) -> bool {
        self.0.load(Acquire) > 0
    }

    fn take(&self) -> bool {
        let mut tasks = self.0.load(Acquire);
        while tasks > 0 {
            match self.0.compare_exchange(tasks, tasks - 1, AcqRel, Acquire) {
                Ok(_) => return true,
                Err(now) => tasks = now,
            }
        }
        false
    }
}

/// The driver's wait, and the eventfd that ends it.
struct Driver {
    ready: Mutex<bool>,
    arrived: Condvar,
}

impl Driver {
    fn new() -> Self {
        Self {
            ready: Mutex::new(false),
            arrived: Condvar::new(),
        }
    }

    fn turn(&self) {
        let mut ready = self.ready.lock();
        while !*ready {
            ready = wait(&self.arrived, ready);
        }
        *ready = false;
    }

    fn notify(&self) {
        *self.ready.lock() = true;
        self.arrived.notify_one();
    }
}

/// What the workers share.
struct Workers {
    idle: Idle,
    parkers: Vec<Parker>,
    queue: Queue,
    /// Tasks that have not run, those included that were not submitted yet.
    left: AtomicUsize,
    /// Whether worker 0 waits in the driver.
    in_driver: bool,
    driver: Driver,
}

impl Workers {
    fn new(workers: usize, tasks: usize, in_driver: bool) -> Arc<Self> {
        Arc::new(Self {
            idle: Idle::new(workers),
            parkers: (0..workers).map(|_| Parker::new()).collect(),
            queue: Queue(AtomicUsize::new(0)),
            left: AtomicUsize::new(tasks),
            in_driver,
            driver: Driver::new(),
        })
    }

    fn unpark(&self, worker: usize) {
        self.parkers[worker].unpark(|| self.driver.notify());
    }

    /// `Scheduler::inject`.
    fn submit(&self) {
        self.queue.push();
        if let Some(worker) = self.idle.notify() {
            self.unpark(worker);
        }
    }

    /// `Worker::run_thread`, until all tasks have run.
    fn work(&self, me: usize, task: impl Fn()) {
        self.work_and_nap(me, 0, task);
    }

    /// As `work`; who is one too many the first `naps` times leaves what there is, and naps.
    fn work_in_a_crowd(&self, me: usize, naps: usize) {
        self.work_while(me, naps, || self.idle.is_crowded(), || {});
    }

    /// As `work`; the first `naps` times it has nothing to do it leaves what there is, and naps.
    fn work_and_nap(&self, me: usize, naps: usize, task: impl Fn()) {
        self.work_while(me, naps, || false, task);
    }

    fn work_while(&self, me: usize, mut naps: usize, leaves: impl Fn() -> bool, task: impl Fn()) {
        let mut searching = false;
        while self.left.load(Acquire) > 0 {
            if !(naps > 0 && leaves()) && self.next(&mut searching) {
                self.end_search(&mut searching);
                task();
                if self.left.fetch_sub(1, AcqRel) == 1 {
                    self.stop();
                }
            } else {
                let rest = Rest {
                    minds_work: naps == 0,
                    nap: naps > 0,
                };
                naps = naps.saturating_sub(1);
                self.park(me, &mut searching, rest);
            }
        }
        self.end_search(&mut searching);
    }

    /// `Scheduler::stop`.
    fn stop(&self) {
        for worker in 0..self.parkers.len() {
            self.unpark(worker);
        }
    }

    fn next(&self, searching: &mut bool) -> bool {
        if self.queue.take() {
            return true;
        }
        if !*searching {
            if !self.idle.begin_search() {
                return false;
            }
            *searching = true;
        }
        self.queue.take()
    }

    fn end_search(&self, searching: &mut bool) {
        if std::mem::take(searching)
            && let Some(next) = self.idle.end_search(|| self.queue.is_work())
        {
            self.unpark(next);
        }
    }

    fn park(&self, me: usize, searching: &mut bool, rest: Rest) {
        let slept = self
            .idle
            .sleep(me, *searching, rest, || self.queue.is_work());
        if slept == Sleep::Work {
            *searching = true;
            return;
        }
        if slept == Sleep::Napping {
            // Its time may be up at any moment.
            thread::yield_now();
        } else if self.in_driver && me == 0 {
            if self.parkers[me].begin_in_driver() {
                self.driver.turn();
                self.parkers[me].end();
            }
        } else {
            self.parkers[me].park();
        }
        *searching = match self.idle.wake(me) {
            Woken::Unclaimed => false,
            Woken::FromNap => !planted(Bug::NapEndsUnheard),
            Woken::Claimed => true,
        };
    }

    /// After everybody has left: all are awake, nobody searches.
    fn assert_counts(&self) {
        assert_eq!(self.idle.awake(), self.parkers.len());
        assert!(
            self.idle.begin_search(),
            "somebody is counted as a searcher"
        );
    }
}

/// Workers on threads of their own, and submitters, the last of them on this one.
fn workers_and_submitters(workers: usize, submitters: usize) {
    let shared = Workers::new(workers, submitters, false);
    let mut threads = Vec::new();
    for me in 0..workers {
        let shared = shared.clone();
        threads.push(thread::spawn(move || shared.work(me, || {})));
    }
    for _ in 1..submitters {
        let shared = shared.clone();
        threads.push(thread::spawn(move || shared.submit()));
    }
    shared.submit();
    for thread in threads {
        thread.join().unwrap();
    }
    shared.assert_counts();
}

#[test]
fn a_submitted_task_finds_the_worker_awake() {
    check(UNBOUNDED, || workers_and_submitters(1, 1));
}

#[test]
fn of_two_submitters_at_least_one_wakes_the_worker() {
    check(BOUNDED, || workers_and_submitters(1, 2));
}

#[test]
fn a_submitted_task_finds_one_of_two_workers_awake() {
    check(BOUNDED, || workers_and_submitters(2, 1));
}

/// Two tasks, each of which ends only once the other has begun: both workers have to come, though the second submission may find
/// a searcher and wake nobody. The first `naps` times that it has nothing to do, each worker naps.
fn two_tasks_that_need_each_other(naps: [usize; 2]) {
    let shared = Workers::new(2, 2, false);
    let begun = Arc::new((loom::sync::Mutex::new(0), loom::sync::Condvar::new()));
    let workers = [0, 1].map(|me| {
        let (shared, begun) = (shared.clone(), begun.clone());
        thread::spawn(move || {
            shared.work_and_nap(me, naps[me], || {
                let mut count = begun.0.lock().unwrap();
                *count += 1;
                begun.1.notify_all();
                while *count < 2 {
                    count = begun.1.wait(count).unwrap();
                }
            });
        })
    });
    shared.submit();
    shared.submit();
    for worker in workers {
        worker.join().unwrap();
    }
    shared.assert_counts();
}

#[test]
fn the_last_searcher_wakes_the_next_worker() {
    check(Some(2), || two_tasks_that_need_each_other([0, 0]));
}

/// What is submitted while one worker naps and the other is awake wakes nobody; what comes when the nap is over does.
#[test]
fn what_is_left_to_a_nap_is_done_after_it() {
    check(Some(2), || two_tasks_that_need_each_other([0, 1]));
}

#[test]
fn a_claim_of_the_monitor_is_counted_once() {
    check(BOUNDED, || {
        let shared = Workers::new(1, 1, false);
        let [worker, monitor] = [shared.clone(), shared.clone()];
        let worker = thread::spawn(move || worker.work(0, || {}));
        let monitor = thread::spawn(move || {
            if let Some(worker) = monitor.idle.claim(true) {
                monitor.unpark(worker);
            }
        });
        shared.submit();
        worker.join().unwrap();
        monitor.join().unwrap();
        shared.assert_counts();
    });
}

/// An event of the driver wakes the worker too, unclaimed.
#[test]
fn a_submitted_task_reaches_the_worker_in_the_driver() {
    check(BOUNDED, || {
        let shared = Workers::new(1, 1, true);
        let [worker, kernel] = [shared.clone(), shared.clone()];
        let worker = thread::spawn(move || worker.work(0, || {}));
        let kernel = thread::spawn(move || kernel.driver.notify());
        shared.submit();
        worker.join().unwrap();
        kernel.join().unwrap();
        shared.assert_counts();
    });
}

/// One worker waits in the driver, the other on its condvar; a task for each.
#[test]
fn a_burst_reaches_the_worker_in_the_driver_and_the_one_beside() {
    check(Some(2), || {
        let shared = Workers::new(2, 2, true);
        let workers = [0, 1].map(|me| {
            let shared = shared.clone();
            thread::spawn(move || shared.work(me, || {}))
        });
        shared.submit();
        shared.submit();
        for worker in workers {
            worker.join().unwrap();
        }
        shared.assert_counts();
    });
}

/// Both would leave work where it is: only one may, the other looks after it.
#[test]
fn of_two_that_leave_work_one_looks_again() {
    check(Some(2), || {
        let shared = Workers::new(2, 1, false);
        let workers = [0, 1].map(|me| {
            let shared = shared.clone();
            thread::spawn(move || shared.work_and_nap(me, 1, || {}))
        });
        shared.submit();
        for worker in workers {
            worker.join().unwrap();
        }
        shared.assert_counts();
    });
}

/// `park` with what the parked thread is told.
fn unparked(unparkers: usize, park: fn(&Parker, &Driver)) {
    let shared = Arc::new((Parker::new(), Driver::new(), AtomicUsize::new(0)));
    let threads: Vec<_> = (0..unparkers)
        .map(|_| {
            let shared = shared.clone();
            thread::spawn(move || {
                let (parker, driver, told) = &*shared;
                told.fetch_add(1, Relaxed);
                parker.unpark(|| driver.notify());
            })
        })
        .collect();
    let (parker, driver, told) = &*shared;
    // Two notifications may count as one; the one that made the park return brings its data.
    while told.load(Relaxed) < unparkers {
        park(parker, driver);
        assert!(
            told.load(Relaxed) > 0,
            "notified without what was told before"
        );
    }
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn a_parked_thread_is_unparked() {
    check(UNBOUNDED, || unparked(1, |parker, _| parker.park()));
}

#[test]
fn a_parked_thread_sees_what_each_of_two_has_told_it() {
    check(BOUNDED, || unparked(2, |parker, _| parker.park()));
}

#[test]
fn a_thread_in_the_driver_is_unparked() {
    check(UNBOUNDED, || {
        unparked(1, |parker, driver| {
            if parker.begin_in_driver() {
                driver.turn();
                parker.end();
            }
        });
    });
}

#[test]
fn a_thread_in_the_driver_sees_what_each_of_two_has_told_it() {
    check(BOUNDED, || {
        unparked(2, |parker, driver| {
            if parker.begin_in_driver() {
                driver.turn();
                parker.end();
            }
        });
    });
}

/// One park whose time is up, then one that lasts: the notification ends one of them.
#[test]
fn a_park_whose_time_is_up_leaves_the_notification_or_takes_it() {
    check(UNBOUNDED, || {
        let shared = Arc::new((Parker::new(), AtomicUsize::new(0)));
        let theirs = shared.clone();
        let other = thread::spawn(move || {
            theirs.1.fetch_add(1, Relaxed);
            theirs.0.unpark(|| {});
        });
        let (parker, told) = &*shared;
        if !parker.park_until(Some(Instant::now())) {
            parker.park();
        }
        assert_eq!(told.load(Relaxed), 1, "notified without what was told");
        other.join().unwrap();
    });
}

/// A worker that was asleep, and a monitor that is about to sleep for good since nobody is awake.
fn monitor_meets(worker: impl Fn(&Idle, &Monitor) + Send + Sync + 'static) {
    let shared = Arc::new((Idle::new(1), Monitor::new()));
    let mine = shared.clone();
    let other = thread::spawn(move || worker(&mine.0, &mine.1));
    let (idle, monitor) = &*shared;
    if idle.awake() == 0 {
        // Returns, or this is a deadlock: the worker ends awake.
        monitor.sleep(|| idle.awake() == 0);
    }
    other.join().unwrap();
    assert_eq!(idle.awake(), 1);
}

#[test]
fn a_worker_that_goes_on_wakes_the_monitor() {
    check(UNBOUNDED, || {
        monitor_meets(|idle, monitor| {
            // As `Worker::park` ends: woken, though not claimed.
            assert_eq!(idle.sleep(0, false, Rest::SLEEP, || false), Sleep::Asleep);
            assert_eq!(idle.wake(0), Woken::Unclaimed);
            monitor.wake_if_asleep();
        });
    });
}

/// Between the two steps of `Idle::sleep` the worker does not count as awake, and that may be the moment when the monitor looks.
#[test]
fn a_worker_that_finds_work_before_it_parks_wakes_the_monitor() {
    check(UNBOUNDED, || {
        monitor_meets(|idle, monitor| {
            let slept = monitor.watch_sleep(idle, 0, false, Rest::SLEEP, || true);
            assert_eq!(slept, Sleep::Work);
        });
    });
}

/// The claim counts the worker awake, on another thread than the one that tells the monitor.
#[test]
fn a_claimed_worker_wakes_the_monitor() {
    check(BOUNDED, || {
        let shared = Arc::new((Idle::new(1), Monitor::new(), Parker::new()));
        assert_eq!(
            shared.0.sleep(0, false, Rest::SLEEP, || false),
            Sleep::Asleep
        );
        let [mine, theirs] = [shared.clone(), shared.clone()];
        let worker = thread::spawn(move || {
            mine.2.park();
            assert_eq!(mine.0.wake(0), Woken::Claimed);
            mine.1.wake_if_asleep();
        });
        let submitter = thread::spawn(move || {
            assert_eq!(theirs.0.notify(), Some(0));
            theirs.2.unpark(|| {});
        });
        let (idle, monitor, _) = &*shared;
        monitor.sleep(|| idle.awake() == 0);
        worker.join().unwrap();
        submitter.join().unwrap();
    });
}

#[test]
fn while_one_worker_is_wanted_nothing_is_lost() {
    check(BOUNDED, || {
        let shared = Workers::new(2, 1, false);
        assert_eq!(shared.idle.want(1, || false), None);
        let workers = [0, 1].map(|me| {
            let shared = shared.clone();
            thread::spawn(move || shared.work_in_a_crowd(me, 1))
        });
        shared.submit();
        for worker in workers {
            worker.join().unwrap();
        }
        shared.assert_counts();
    });
}

#[test]
fn every_model_fails_with_its_bugs_planted() {
    planted_bugs_fail(
        module_path!(),
        &[
            (
                "a_submitted_task_finds_the_worker_awake",
                &[Bug::SleepWithoutLookingAgain, Bug::SubmitWithoutFence],
            ),
            (
                "of_two_submitters_at_least_one_wakes_the_worker",
                &[Bug::SleepWithoutLookingAgain, Bug::SubmitWithoutFence],
            ),
            (
                "a_submitted_task_finds_one_of_two_workers_awake",
                &[Bug::SleepWithoutLookingAgain, Bug::SubmitWithoutFence],
            ),
            (
                "the_last_searcher_wakes_the_next_worker",
                &[Bug::SearchEndsUnheard],
            ),
            (
                "a_claim_of_the_monitor_is_counted_once",
                &[Bug::ClaimUncounted],
            ),
            (
                "a_submitted_task_reaches_the_worker_in_the_driver",
                &[Bug::ParkOverNotification, Bug::SleepWithoutLookingAgain],
            ),
            (
                "a_burst_reaches_the_worker_in_the_driver_and_the_one_beside",
                &[Bug::ParkOverNotification, Bug::ClaimUncounted],
            ),
            (
                "what_is_left_to_a_nap_is_done_after_it",
                &[Bug::NapEndsUnheard, Bug::NapNeverEnds],
            ),
            (
                "while_one_worker_is_wanted_nothing_is_lost",
                &[Bug::NobodyWanted, Bug::SleepWithoutLookingAgain],
            ),
            (
                "of_two_that_leave_work_one_looks_again",
                &[Bug::SleepWithoutLookingAgain],
            ),
            (
                "a_parked_thread_is_unparked",
                &[Bug::ParkOverNotification, Bug::NotifyOutsideTheLock],
            ),
            (
                "a_parked_thread_sees_what_each_of_two_has_told_it",
                &[Bug::ParkOverNotification, Bug::NotifyOutsideTheLock],
            ),
            (
                "a_thread_in_the_driver_is_unparked",
                &[Bug::ParkOverNotification],
            ),
            (
                "a_thread_in_the_driver_sees_what_each_of_two_has_told_it",
                &[Bug::ParkOverNotification],
            ),
            (
                "a_park_whose_time_is_up_leaves_the_notification_or_takes_it",
                &[Bug::ParkOverNotification, Bug::NotifyOutsideTheLock],
            ),
            (
                "a_worker_that_goes_on_wakes_the_monitor",
                &[Bug::MonitorSleepsUnlooked],
            ),
            (
                "a_worker_that_finds_work_before_it_parks_wakes_the_monitor",
                &[Bug::MonitorNotToldOfReturn],
            ),
            (
                "a_claimed_worker_wakes_the_monitor",
                &[Bug::MonitorSleepsUnlooked],
            ),
        ],
    );
}
