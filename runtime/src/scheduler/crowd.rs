//! Crowding: for how many workers the CPUs have room.
//!
//! A machine's CPUs are shared with other processes, and with this one's other threads. Where more threads want to run than there are CPUs, a second worker
//! takes its time from the first, or from the clients whose requests both wait for, and whoever is preempted holds up what it had begun. Then fewer
//! workers do more: on two CPUs beside their clients, one answers a third more requests than two, and the slowest in half the time.
//!
//! The kernel counts how long each thread was ready to run and had no CPU. Where that is much of what the workers wanted, as many as are wanted (`Idle`) are
//! halved. Later more are tried, ever more seldom while that turns out badly. Whoever is awake and has tasks goes on; and nobody is kept from tasks that
//! wait too long (`nap`, `watch`).

use super::Slot;
use crate::system;
use std::fs::File;
use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// How much of the time that workers want a CPU they may be without one.
const TOLERABLE: f64 = 0.2;
/// How much of the time they have to want one, on average: those that mostly sleep disturb nobody, and are late for another reason, such as a kernel that wakes
/// them behind each other on one CPU while another is idle.
const BUSY: f64 = 0.4;
/// How many measurements in a row have to be bad, but for one after an attempt with more workers.
const PATIENCE: u32 = 2;
/// How long before the first attempt with more workers.
const SHORTEST: Duration = Duration::from_millis(500);
/// How long between attempts, after many that went badly.
const LONGEST: Duration = Duration::from_secs(8);
/// How long one measurement takes.
const INTERVAL: Duration = Duration::from_millis(16);

/// How many workers are wanted.
struct Wanted {
    workers: usize,
    now: usize,
    /// How many bad measurements there were in a row.
    bad: u32,
    /// How long it has been so many.
    since: Duration,
    /// How long before more are tried.
    hold: Duration,
    /// Where to go back to if this attempt goes badly.
    attempt_from: Option<usize>,
}

/// What threads did for a time, all together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Ran {
    on_cpu: Duration,
    /// Ready to run, without a CPU.
    without: Duration,
}

impl Wanted {
    fn new(workers: usize) -> Self {
        Self {
            workers,
            now: workers,
            bad: 0,
            since: Duration::ZERO,
            hold: SHORTEST,
            attempt_from: None,
        }
    }

    /// What the workers did in the last `time`. Gives how many are wanted, if that has changed.
    fn measured(&mut self, ran: Ran, time: Duration) -> Option<usize> {
        self.since += time;
        let ready = ran.on_cpu + ran.without;
        let busy = ready > time.mul_f64(BUSY * self.now as f64);
        if busy && ran.without > ready.mul_f64(TOLERABLE) {
            self.is_bad()
        } else {
            self.is_good()
        }
    }

    fn is_bad(&mut self) -> Option<usize> {
        self.bad += 1;
        if let Some(before) = self.attempt_from {
            self.hold = (self.hold * 2).min(LONGEST);
            return Some(self.change(before, None));
        }
        if self.now == 1 {
            // Others crowd, and more workers would only add to that.
            self.since = Duration::ZERO;
            return None;
        }
        (self.bad >= PATIENCE).then(|| self.change(self.now / 2, None))
    }

    fn is_good(&mut self) -> Option<usize> {
        self.bad = 0;
        if self.since < self.hold {
            return None;
        }
        if self.attempt_from.take().is_some() {
            self.hold = SHORTEST;
        }
        (self.now < self.workers).then(|| {
            let more = self.now + self.now.div_ceil(2);
            self.change(more.min(self.workers), Some(self.now))
        })
    }

    fn change(&mut self, to: usize, attempt_from: Option<usize>) -> usize {
        self.now = to;
        self.since = Duration::ZERO;
        self.bad = 0;
        self.attempt_from = attempt_from;
        to
    }
}

/// The monitor's part.
pub(super) struct Crowd {
    wanted: Wanted,
    measured: Instant,
    /// By the index of a worker.
    threads: Vec<Thread>,
}

/// A worker's thread as the kernel sees it.
#[derive(Default)]
struct Thread {
    id: u64,
    /// None if the kernel does not tell.
    stat: Option<File>,
    ran: Ran,
}

impl Crowd {
    pub(super) fn new(workers: usize) -> Self {
        Self {
            wanted: Wanted::new(workers),
            measured: system::now(),
            threads: Vec::new(),
        }
    }

    /// Called a few hundred times a second while any worker is awake. Gives how many workers are wanted, if that has changed.
    pub(super) fn look<'a>(
        &mut self,
        slots: impl Iterator<Item = (usize, &'a Slot)>,
    ) -> Option<usize> {
        let time = system::elapsed(self.measured);
        if time < INTERVAL || self.wanted.workers == 1 {
            return None;
        }
        self.measured = system::now();
        let mut ran = Ran::default();
        for (index, slot) in slots {
            if self.threads.len() <= index {
                self.threads.resize_with(index + 1, Thread::default);
            }
            let lately = self.threads[index].ran_lately(slot.counters.thread.load(Relaxed));
            ran.on_cpu += lately.on_cpu;
            ran.without += lately.without;
        }
        // Longer ago: the monitor has slept.
        (time < 4 * INTERVAL)
            .then(|| self.wanted.measured(ran, time))
            .flatten()
    }
}

impl Thread {
    /// What the thread did since the last look.
    fn ran_lately(&mut self, id: u64) -> Ran {
        if id != self.id {
            let stat = File::open(format!("/proc/self/task/{id}/schedstat")).ok();
            let ran = stat.as_ref().and_then(|stat| read(stat).ok());
            *self = Self {
                id,
                stat,
                ran: ran.unwrap_or_default(),
            };
            return Ran::default();
        }
        let Some(Ok(ran)) = self.stat.as_ref().map(read) else {
            return Ran::default();
        };
        let before = std::mem::replace(&mut self.ran, ran);
        Ran {
            on_cpu: ran.on_cpu.saturating_sub(before.on_cpu),
            without: ran.without.saturating_sub(before.without),
        }
    }
}

#[cfg(unix)]
fn read_from_start(file: &File, buffer: &mut [u8]) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, 0)
}

/// No such file is ever open.
#[cfg(not(unix))]
fn read_from_start(_: &File, _: &mut [u8]) -> io::Result<usize> {
    Ok(0)
}

/// Reads "ON_CPU WITHOUT SLICES", in nanoseconds.
fn read(stat: &File) -> io::Result<Ran> {
    let mut buffer = [0; 64];
    let length = read_from_start(stat, &mut buffer)?;
    let text = std::str::from_utf8(&buffer[..length]).unwrap_or_default();
    let mut numbers = text.split(' ').map(|number| number.parse().ok());
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(on_cpu), Some(without)) => Ok(Ran {
            on_cpu: Duration::from_nanos(on_cpu),
            without: Duration::from_nanos(without),
        }),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const CALM: Ran = Ran {
        on_cpu: INTERVAL,
        without: Duration::from_micros(100),
    };
    const BAD: Ran = Ran {
        on_cpu: Duration::from_secs(1),
        without: Duration::from_secs(1),
    };

    /// The same for that long. Gives the last change.
    fn go_on(wanted: &mut Wanted, ran: Ran, time: Duration) -> Option<usize> {
        let times = time.div_duration_f64(INTERVAL).ceil() as u32;
        (0..times)
            .filter_map(|_| wanted.measured(ran, INTERVAL))
            .last()
    }

    fn one_of(workers: usize) -> Wanted {
        let mut wanted = Wanted::new(workers);
        go_on(&mut wanted, BAD, INTERVAL * 20);
        assert_eq!(wanted.now, 1);
        wanted
    }

    #[test]
    fn in_a_crowd_they_are_halved_and_one_stays() {
        let mut wanted = Wanted::new(16);
        assert_eq!(wanted.measured(BAD, INTERVAL), None, "it may be chance");
        assert_eq!(wanted.measured(BAD, INTERVAL), Some(8));
        assert_eq!(wanted.measured(BAD, INTERVAL), None);
        assert_eq!(wanted.measured(CALM, INTERVAL), None);
        assert_eq!(wanted.measured(BAD, INTERVAL), None, "not in a row");
        assert_eq!(wanted.measured(BAD, INTERVAL), Some(4));
        assert_eq!(go_on(&mut wanted, BAD, LONGEST), Some(1));
    }

    #[test]
    fn who_hardly_runs_is_in_no_crowd() {
        let mut wanted = Wanted::new(2);
        let seldom = Ran {
            on_cpu: INTERVAL / 3,
            without: INTERVAL / 3,
        };
        assert_eq!(go_on(&mut wanted, seldom, LONGEST), None);
    }

    #[test]
    fn when_it_is_calm_all_come_back() {
        let mut wanted = one_of(16);
        assert_eq!(go_on(&mut wanted, CALM, SHORTEST - INTERVAL), None);
        let mut seen = vec![];
        for _ in 0..1000 {
            seen.extend(wanted.measured(CALM, INTERVAL));
        }
        assert_eq!(seen, [2, 3, 5, 8, 12, 16]);
    }

    #[test]
    fn attempts_that_go_badly_are_made_ever_more_seldom() {
        let mut wanted = one_of(2);
        let mut hold = SHORTEST;
        for _ in 0..6 {
            assert_eq!(go_on(&mut wanted, CALM, hold - INTERVAL), None, "{hold:?}");
            assert_eq!(go_on(&mut wanted, CALM, 2 * INTERVAL), Some(2));
            assert_eq!(wanted.measured(BAD, INTERVAL), Some(1), "at once");
            hold = (2 * hold).min(LONGEST);
        }
        // One that goes well is the end of that.
        assert_eq!(go_on(&mut wanted, CALM, LONGEST + INTERVAL), Some(2));
        assert_eq!(go_on(&mut wanted, CALM, LONGEST + INTERVAL), None);
        go_on(&mut wanted, BAD, PATIENCE * INTERVAL);
        assert_eq!(go_on(&mut wanted, CALM, SHORTEST + INTERVAL), Some(2));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_kernel_tells_how_long_a_thread_ran() {
        let id = super::super::watch::thread_id();
        let mut thread = Thread::default();
        assert_eq!(thread.ran_lately(id), Ran::default());
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(30) {
            std::hint::spin_loop();
        }
        let ran = thread.ran_lately(id);
        if thread.ran == Ran::default() {
            return eprintln!("this kernel does not count it");
        }
        let ready = ran.on_cpu + ran.without;
        assert!(ready >= Duration::from_millis(15), "{ran:?}");
    }
}
