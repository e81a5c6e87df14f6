//! The monitor: one thread that looks after the workers a few hundred times a second while any of them is awake or in a poll, and
//! sleeps otherwise.
//!
//! It sees to what a worker in a long poll cannot do itself:
//!
//! * **Blocked.** The thread is asleep in the kernel, in the middle of a poll, and all other workers are busy: its permit goes to a
//!   spare (`scheduler`, "Permits").
//! * **Slow.** The thread burns CPU in one poll: it is reported, with the task's name, its spawn site and how long; once per poll.
//! * **Unseen work.** Tasks wait behind a long poll while others sleep: one is woken to steal them. For those in a slot it glances twice in a row, since one
//!   of 100 us is long already; where that finds something, they are looked after at once for a while (`Scheduler::slot_stuck`).
//! * **Unattended driver.** Nobody has turned the driver since the last look although somebody sleeps: that one is woken to do so.
//!
//! It decides by polls that have not changed since its last look, so nobody reads a clock on the hot path.

use super::crowd::Crowd;
use super::idle::{Idle, Rest, Sleep};
use super::{Parker, Scheduler, Slot};
use crate::handle::Handle;
use crate::sync_switch::{AtomicBool, Bug, fence, planted};
use crate::system::{self, Thread, ThreadId};
use crate::trace;
use parking_lot::Mutex;
use std::io;
use std::sync::atomic::Ordering::{AcqRel, Relaxed, SeqCst};
use std::time::Duration;

/// The time between two looks. Three of them pass before a blocked worker is replaced, and at most four: within the promised 20 ms. 250 looks a second cost about 0.2 % of one CPU, and none when all sleep.
const TICK: Duration = Duration::from_millis(4);
/// How many looks a poll has to last before its thread's state is asked for.
const BLOCKED_AFTER: u32 = 2;
/// After so many looks with all workers asleep the monitor sleeps too. More than one, so that a server with a request now and then does
/// not wake the monitor for each.
const QUIET_LOOKS: u32 = 8;

/// How long a task may stay in the slot behind one poll, at the least, when the monitor looks at it twice.
const GLANCE: Duration = Duration::from_micros(50);

pub(crate) struct Monitor {
    parker: Parker,
    /// Whether it sleeps until a worker wakes it. Only swapped.
    asleep: AtomicBool,
    thread: Mutex<Option<Thread>>,
}

/// What the monitor remembers of a worker's poll.
#[derive(Clone, Copy, Default)]
struct Seen {
    poll: Option<(u64, u64)>,
    looks: u32,
    /// The thread was asleep at the last look.
    asleep: bool,
    reported: bool,
}

impl Monitor {
    pub(super) fn new() -> Self {
        Self {
            parker: Parker::new(),
            asleep: AtomicBool::new(false),
            thread: Mutex::new(None),
        }
    }

    pub(super) fn start(&self, handle: &Handle) -> io::Result<()> {
        let mine = handle.clone();
        let config = &handle.scheduler().thread;
        let thread = Thread::start(config, "-monitor", move || {
            mine.scheduler().monitor.run(&mine)
        })?;
        *self.thread.lock() = Some(thread);
        Ok(())
    }

    /// A worker goes on after a sleep, or without a permit.
    ///
    /// Pairs with `sleep`: the worker counts itself awake, or astray, then looks here; the monitor says that it sleeps, then looks at that.
    #[inline]
    pub(super) fn wake_if_asleep(&self) {
        fence(SeqCst);
        if self.asleep.load(Relaxed) {
            self.wake();
        }
    }

    /// A worker's [`Idle::sleep`]. Between its two steps the worker does not count as awake, and the monitor may look just then; so a
    /// worker that stays awake after all says so.
    pub(super) fn watch_sleep(
        &self,
        idle: &Idle,
        worker: usize,
        searching: bool,
        rest: Rest,
        is_work: impl Fn() -> bool,
    ) -> Sleep {
        let slept = idle.sleep(worker, searching, rest, is_work);
        if slept == Sleep::Work && !planted(Bug::MonitorNotToldOfReturn) {
            self.wake_if_asleep();
        }
        slept
    }

    pub(super) fn wake(&self) {
        self.parker.unpark(|| {});
    }

    pub(super) fn join(&self) {
        let thread = self.thread.lock().take();
        if let Some(thread) = thread
            && thread.id() != ThreadId::current()
        {
            thread.join();
        }
    }

    fn run(&self, handle: &Handle) {
        let scheduler = handle.scheduler();
        let mut seen: Vec<Seen> = Vec::new();
        let mut crowd = Crowd::new(scheduler.workers);
        let mut turns = 0;
        let mut quiet = 0;
        while !scheduler.is_stopping() {
            if scheduler.is_unwatched() {
                quiet += 1;
            } else {
                quiet = 0;
            }
            if quiet > QUIET_LOOKS {
                quiet = 0;
                self.sleep(|| scheduler.is_unwatched() && !scheduler.is_stopping());
            } else {
                self.parker.park_until(system::now().checked_add(TICK));
            }
            look_at_workers(handle, &mut seen);
            glance_at_slots(scheduler);
            if let Some(wanted) = crowd.look(scheduler.slots())
                && let Some(worker) = scheduler.idle.want(wanted, || scheduler.is_work())
            {
                scheduler.unpark(worker);
            }
            let turns_now = scheduler.driver_turns();
            if turns_now == turns && !scheduler.io.waiting() {
                wake_somebody(scheduler);
            }
            turns = turns_now;
        }
    }

    /// Blocks until a worker goes on, unless one has already: `is_quiet` is asked after it was said that this thread sleeps.
    pub(super) fn sleep(&self, is_quiet: impl Fn() -> bool) {
        self.asleep.swap(true, AcqRel);
        // Pairs with the fence in `wake_if_asleep`.
        fence(SeqCst);
        if planted(Bug::MonitorSleepsUnlooked) || is_quiet() {
            self.parker.park();
        }
        self.asleep.swap(false, AcqRel);
    }
}

impl Scheduler {
    pub(super) fn driver_turns(&self) -> u64 {
        self.slots()
            .map(|(_, slot)| slot.counters.driver_turns.get())
            .sum()
    }
}

fn wake_somebody(scheduler: &Scheduler) {
    if let Some(worker) = scheduler.idle.claim(true) {
        scheduler.unpark(worker);
    }
}

fn look_at_workers(handle: &Handle, seen: &mut Vec<Seen>) {
    let scheduler = handle.scheduler();
    for (index, slot) in scheduler.slots() {
        if seen.len() <= index {
            seen.resize(index + 1, Seen::default());
        }
        let seen = &mut seen[index];
        let poll = slot.counters.poll_now();
        if poll.is_none() || poll != seen.poll {
            *seen = Seen {
                poll,
                ..Seen::default()
            };
            continue;
        }
        seen.looks += 1;
        // Injected ones too: while fewer workers are wanted nobody was woken for them.
        if slot.queue.len() + scheduler.injected() > 0 {
            wake_somebody(scheduler);
        }
        look_at_long_poll(handle, index, slot, seen);
    }
}

fn glance_at_slots(scheduler: &Scheduler) {
    let waiting = |slot: &Slot| {
        slot.counters
            .poll_now()
            .filter(|_| !slot.queue.is_slot_empty())
    };
    let Some((slot, poll)) = scheduler
        .slots()
        .find_map(|(_, slot)| Some((slot, waiting(slot)?)))
    else {
        return;
    };
    system::sleep(GLANCE);
    if waiting(slot) == Some(poll) {
        scheduler.slot_stuck(true);
        wake_somebody(scheduler);
    }
}

fn look_at_long_poll(handle: &Handle, index: usize, slot: &Slot, seen: &mut Seen) {
    let scheduler = handle.scheduler();
    if seen.looks < BLOCKED_AFTER {
        return;
    }
    let all_busy = scheduler.idle.awake() >= scheduler.workers;
    let lasted = TICK * seen.looks;
    let slow = lasted >= handle.config().slow_poll && !seen.reported;
    if !(slow || all_busy && slot.has_permit()) {
        return;
    }
    let asleep = is_asleep(slot.counters.thread.load(Relaxed));
    // Twice in a row: a thread that is preempted now and then may well be waiting for a lock at one look.
    if asleep && seen.asleep && all_busy {
        scheduler.replace_blocked(handle, index, slot);
    }
    seen.asleep = asleep;
    if slow {
        seen.reported = true;
        slot.counters.slow_polls.add(1);
        let task = seen.poll.and_then(|(task, _)| handle.task_by_id(task));
        trace::slow_poll(task.as_ref(), lasted, asleep);
    }
}

/// The kernel's id of this thread, 0 where there is none to ask for.
pub(super) fn thread_id() -> u64 {
    if system::here().is_some() {
        return 0;
    }
    #[cfg(target_os = "linux")]
    return rustix::thread::gettid()
        .as_raw_nonzero()
        .get()
        .unsigned_abs()
        .into();
    #[cfg(not(target_os = "linux"))]
    return 0;
}

/// Whether a thread of this process is asleep in the kernel: in a blocking call, not preempted and not running. Where the system cannot
/// say, a poll that lasts this long counts as blocked.
fn is_asleep(thread: u64) -> bool {
    use std::io::Read;
    if !cfg!(target_os = "linux") || thread == 0 {
        return true;
    }
    let mut buffer = [0; 128];
    let read = std::fs::File::open(format!("/proc/self/task/{thread}/stat"))
        .and_then(|mut stat| stat.read(&mut buffer));
    let Ok(length) = read else { return false };
    // "PID (NAME) STATE ...", and the name may contain anything.
    let stat = &buffer[..length];
    let end_of_name = stat.iter().rposition(|byte| *byte == b')');
    let state = end_of_name.and_then(|end| stat.get(end + 2));
    matches!(state, Some(b'S' | b'D'))
}
