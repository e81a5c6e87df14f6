//! The books: whether every task that was ever accepted is accounted for.

use crate::handle::Handle;
use std::fmt;

/// What became of the tasks of a runtime, as of [`Handle::audit`].
///
/// The counts are kept where tasks begin and end; [`unfinished`](Self::unfinished) and [`marked_queued`](Self::marked_queued) are counted anew, task by task. That
/// the two agree is what [`is_balanced`](Self::is_balanced) says.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// let runtime = heist_runtime::Builder::new().worker_threads(2).build()?;
/// let cancelled = runtime.spawn(std::future::pending::<()>());
/// runtime.block_on(runtime.spawn(async { 1 })).unwrap().unwrap();
/// cancelled.cancel(None);
/// runtime.shutdown(Duration::from_secs(1));
/// runtime.spawn(async { 2 }).detach();
///
/// let audit = runtime.audit();
/// assert!(audit.is_balanced() && audit.is_settled(), "{audit}");
/// assert_eq!((audit.cancelled, audit.refused, audit.unfinished), (1, 1, 0));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Audit {
    /// Tasks ever accepted, blocking closures, callbacks and the futures of `block_on` among them.
    pub accepted: u64,
    /// Those of them that threads outside of the workers submitted.
    pub accepted_outside: u64,
    /// Tasks that were refused: the runtime was shutting down, or no thread could be had.
    pub refused: u64,
    /// Accepted tasks that have ended with a value. A cancellation that comes in the instant in which a task returns ends it otherwise, and is counted here.
    pub with_value: u64,
    /// Those that have ended by a cancellation, a shutdown's too.
    pub cancelled: u64,
    /// Those that have ended by a panic, or with the `Err` of a `try_spawn`.
    pub failed: u64,
    /// Tasks that have not ended, counted one by one.
    pub unfinished: u64,
    /// Those of them that say of themselves that they stand in a queue.
    pub marked_queued: u64,
    /// Entries in the queues of the workers and of the blocking pool.
    pub queue_entries: u64,
    /// Whether each part of the runtime balances.
    balanced: bool,
}

impl Audit {
    fn of(handle: &Handle) -> Self {
        let mut audit = Self {
            refused: handle.refused(),
            balanced: true,
            ..Self::default()
        };
        for books in handle.registry().books() {
            audit.accepted += books.bound;
            // The last shard is that of everybody but the workers.
            audit.accepted_outside = books.bound;
            let ended = books.ended;
            audit.with_value += ended.with_value;
            audit.cancelled += ended.cancelled;
            audit.failed += ended.failed;
            audit.unfinished += books.listed;
            audit.marked_queued += books.queued;
            let ended = ended.with_value + ended.cancelled + ended.failed;
            audit.balanced &= books.bound == ended + books.listed;
        }
        let scheduler = handle.scheduler();
        let local: usize = scheduler.slots().map(|(_, slot)| slot.queued()).sum();
        audit.queue_entries = (local + scheduler.injected() + handle.pool().queued()) as u64;
        audit
    }

    /// Whether all accepted tasks are accounted for: they have ended, each in one way, or are there. True at any moment, whatever else goes on.
    pub fn is_balanced(&self) -> bool {
        self.balanced
    }

    /// Whether nothing is left over, as it is to be after a complete shutdown: no task, and no entry in a queue.
    pub fn is_settled(&self) -> bool {
        self.unfinished == 0 && self.queue_entries == 0
    }
}

impl fmt::Display for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            accepted,
            accepted_outside,
            refused,
            with_value,
            cancelled,
            failed,
            unfinished,
            marked_queued,
            queue_entries,
            balanced,
        } = self;
        let sign = if *balanced { "=" } else { "!=" };
        write!(
            f,
            "{accepted} accepted ({accepted_outside} from outside) {sign} {with_value} ended with a value + {cancelled} cancelled + {failed} failed + \
             {unfinished} unfinished; {marked_queued} marked as queued, {queue_entries} entries in queues; {refused} refused"
        )
    }
}

impl Handle {
    /// The books of the runtime's tasks. For tests, and for whoever wants to know that nothing is lost; walks all tasks.
    pub fn audit(&self) -> Audit {
        Audit::of(self)
    }
}
