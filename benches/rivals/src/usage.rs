//! What this process has cost so far. The package's only unsafe code.

#![allow(unsafe_code)]

use std::fs;
use std::mem::MaybeUninit;
use std::ops::{AddAssign, Sub};
use std::time::Duration;

/// The counters of `getrusage(2)` that betray a runtime: a spin wins wall time and loses CPU, a wake-up costs switches.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Usage {
    /// User and system time of all threads.
    pub(crate) cpu: Duration,
    /// Context switches by which a thread went to sleep.
    pub(crate) voluntary: u64,
    /// Context switches by which a thread was made to wait.
    pub(crate) involuntary: u64,
}

impl Usage {
    pub(crate) fn now() -> Self {
        Self::of(libc::RUSAGE_SELF)
    }

    /// The part of it that this thread alone has cost.
    pub(crate) fn of_this_thread() -> Self {
        Self::of(libc::RUSAGE_THREAD)
    }

    fn of(who: libc::c_int) -> Self {
        let raw = getrusage(who);
        Self {
            cpu: duration(raw.ru_utime) + duration(raw.ru_stime),
            voluntary: count(raw.ru_nvcsw),
            involuntary: count(raw.ru_nivcsw),
        }
    }
}

impl Sub for Usage {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            cpu: self.cpu.saturating_sub(earlier.cpu),
            voluntary: self.voluntary - earlier.voluntary,
            involuntary: self.involuntary - earlier.involuntary,
        }
    }
}

impl AddAssign for Usage {
    fn add_assign(&mut self, more: Self) {
        self.cpu += more.cpu;
        self.voluntary += more.voluntary;
        self.involuntary += more.involuntary;
    }
}

/// The most memory that this process ever had resident, in KiB.
pub(crate) fn peak_kib() -> u64 {
    count(getrusage(libc::RUSAGE_SELF).ru_maxrss)
}

/// The memory that this process has resident now, in KiB.
pub(crate) fn resident_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("cannot read /proc/self/status");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .expect("the kernel tells no VmRSS");
    line.trim()
        .trim_end_matches(" kB")
        .parse()
        .expect("VmRSS is no number")
}

fn getrusage(who: libc::c_int) -> libc::rusage {
    let mut raw = MaybeUninit::uninit();
    // SAFETY: `raw` is as large as the call writes.
    let rc = unsafe { libc::getrusage(who, raw.as_mut_ptr()) };
    assert_eq!(rc, 0, "getrusage failed");
    // SAFETY: the call succeeded, so it has written all of `raw`.
    unsafe { raw.assume_init() }
}

fn duration(time: libc::timeval) -> Duration {
    Duration::from_secs(count(time.tv_sec)) + Duration::from_micros(count(time.tv_usec))
}

fn count(n: i64) -> u64 {
    u64::try_from(n).expect("the kernel counts from zero")
}
