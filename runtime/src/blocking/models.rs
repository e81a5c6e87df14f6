//! Models of the pool: jobs that come while a thread gives up, while the pool is closed, and while no thread can be started.

use super::*;
use crate::sync_switch::check::{BOUNDED, UNBOUNDED, check, planted_bugs_fail};
use crate::sync_switch::{AtomicUsize, Bug};
use loom::thread;
use std::sync::atomic::AtomicUsize as Tally;
use std::sync::atomic::Ordering::Relaxed;

const LONG: Duration = Duration::from_secs(3600);

fn pool(keep_alive: Duration, stack_size: Option<usize>) -> BlockingPool {
    let thread = ThreadConfig {
        name: String::new(),
        stack_size,
        ..ThreadConfig::default()
    };
    BlockingPool::new(1, keep_alive, thread, heist_io_driver::Clock::new())
}

/// Counts how many jobs were run, and how many are gone.
#[derive(Default)]
struct Jobs {
    run: Tally,
    gone: Tally,
}

struct Gone(Arc<Jobs>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.gone.fetch_add(1, Relaxed);
    }
}

impl Jobs {
    /// Hands a job to the pool, which has to run it once, or to drop it.
    fn submit(self: &Arc<Self>, pool: &BlockingPool) -> bool {
        let gone = Gone(self.clone());
        let job = move || {
            gone.0.run.fetch_add(1, Relaxed);
        };
        pool.offload().run(Box::new(job)).is_ok()
    }

    fn counts(&self) -> (usize, usize) {
        (self.run.load(Relaxed), self.gone.load(Relaxed))
    }
}

fn far() -> Instant {
    Instant::now() + LONG
}

/// The thread's time is up whenever it has nothing to do.
#[test]
fn a_job_that_comes_as_the_thread_gives_up_is_run() {
    check(UNBOUNDED, || {
        let pool = pool(Duration::ZERO, None);
        let jobs = Arc::<Jobs>::default();
        assert!(jobs.submit(&pool));
        assert!(jobs.submit(&pool));
        assert!(pool.wait_ended(0, far()));
        assert_eq!(jobs.counts(), (2, 2), "run, and gone");
        assert_eq!((pool.threads(), pool.queued()), ((0, 0), 0));
    });
}

#[test]
fn a_job_that_comes_as_the_pool_is_closed_is_run_or_dropped() {
    check(UNBOUNDED, || {
        let pool = pool(LONG, None);
        let jobs = Arc::<Jobs>::default();
        let (there, theirs) = (pool.clone(), jobs.clone());
        let submitter = thread::spawn(move || theirs.submit(&there));
        pool.close();
        let accepted = submitter.join().unwrap();
        assert!(pool.wait_ended(0, far()));
        let (run, gone) = jobs.counts();
        assert_eq!(gone, 1, "kept by a pool that is closed");
        assert!(run <= 1 && (accepted || run == 0));
        assert_eq!((pool.threads(), pool.queued()), ((0, 0), 0));
    });
}

/// Two threads submit, each at its own pace; the one thread there may be runs both, and ends with the pool.
#[test]
fn two_jobs_share_the_thread_that_one_of_them_has_started() {
    check(BOUNDED, || {
        let pool = pool(LONG, None);
        let jobs = Arc::<Jobs>::default();
        let left = Arc::new(AtomicUsize::new(2));
        let ended = Arc::new((Mutex::new(()), Condvar::new()));
        let submit = {
            let (pool, jobs, left, ended) =
                (pool.clone(), jobs.clone(), left.clone(), ended.clone());
            move || {
                let gone = Gone(jobs.clone());
                let (left, ended) = (left.clone(), ended.clone());
                let job = move || {
                    gone.0.run.fetch_add(1, Relaxed);
                    let _lock = ended.0.lock();
                    left.fetch_sub(1, Relaxed);
                    ended.1.notify_all();
                };
                assert!(pool.offload().run(Box::new(job)).is_ok());
            }
        };
        let other = thread::spawn(submit.clone());
        submit();
        let mut lock = ended.0.lock();
        while left.load(Relaxed) > 0 {
            lock = crate::sync_switch::wait(&ended.1, lock);
        }
        drop(lock);
        other.join().unwrap();
        pool.close();
        assert!(pool.wait_ended(0, far()));
        assert_eq!(jobs.counts(), (2, 2), "run, and gone");
    });
}

#[test]
fn where_no_thread_starts_no_job_is_left_behind() {
    check(UNBOUNDED, || {
        let pool = pool(LONG, Some(usize::MAX));
        let jobs = Arc::<Jobs>::default();
        let (there, theirs) = (pool.clone(), jobs.clone());
        let other = thread::spawn(move || theirs.submit(&there));
        let mine = jobs.submit(&pool);
        let theirs = other.join().unwrap();
        assert!(!mine || !theirs, "nobody was told");
        assert_eq!(jobs.counts(), (0, 2), "run, and gone");
        assert_eq!((pool.threads(), pool.queued()), ((0, 0), 0));
    });
}

#[test]
fn every_model_fails_with_its_bugs_planted() {
    planted_bugs_fail(
        module_path!(),
        &[
            (
                "a_job_that_comes_as_the_thread_gives_up_is_run",
                &[Bug::GivesUpOverAJob, Bug::PoolEndUnheard],
            ),
            (
                "a_job_that_comes_as_the_pool_is_closed_is_run_or_dropped",
                &[Bug::PoolCloseUnheard, Bug::PoolEndUnheard],
            ),
            (
                "two_jobs_share_the_thread_that_one_of_them_has_started",
                &[Bug::PoolCloseUnheard],
            ),
            (
                "where_no_thread_starts_no_job_is_left_behind",
                &[Bug::OneStrandedRefused],
            ),
        ],
    );
}
