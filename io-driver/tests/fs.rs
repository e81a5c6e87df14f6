//! Files and directories. Where it matters when a call is made, the test makes the calls itself.

#[path = "fs/dropped.rs"]
mod dropped;
#[path = "support/limit.rs"]
mod limit;
#[path = "fs/refused.rs"]
mod refused;
#[path = "fs/round_trips.rs"]
mod round_trips;
#[path = "support/net.rs"]
mod support;

use std::collections::VecDeque;
use std::future::Future;
use std::io::{self, ErrorKind, SeekFrom};
use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use heist_io_driver::fs::{self, File, OpenOptions};
use heist_io_driver::{Config, Job, Refused};
use support::{Rig, join};

/// A directory that is removed with all that is in it.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Dir {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        // Relaxed: a count.
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("heist-fs-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Dir(path)
    }

    /// A path in it.
    fn at(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

/// Calls that wait until the test makes them.
#[derive(Clone, Default)]
struct Held(Arc<Mutex<VecDeque<Job>>>);

impl Held {
    fn rig(&self) -> Rig {
        let jobs = self.0.clone();
        rig(move |job| {
            jobs.lock().unwrap().push_back(job);
            Ok(())
        })
    }

    fn next(&self) -> Option<Job> {
        self.0.lock().unwrap().pop_front()
    }

    /// Makes the only call that waits.
    #[track_caller]
    fn make(&self) {
        let job = self.next().expect("a call");
        assert!(self.next().is_none(), "two calls at once");
        job();
    }

    /// Polls, making a call whenever the future waits for one.
    #[track_caller]
    fn run<T>(&self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        loop {
            if let Poll::Ready(output) = poll(future.as_mut()) {
                return output;
            }
            self.make();
        }
    }
}

/// A rig whose blocking calls end as told.
fn rig(offload: impl Fn(Job) -> Result<(), Refused> + Send + Sync + 'static) -> Rig {
    Rig::new(Config {
        offload: Arc::new(offload),
        ..Config::default()
    })
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Polls once, finds the future waiting, and drops it.
#[track_caller]
fn begin_and_drop(future: impl Future) {
    assert!(poll(pin!(future)).is_pending());
}

fn kind<T>(result: io::Result<T>) -> ErrorKind {
    result.err().expect("an error").kind()
}

fn both_ways() -> OpenOptions {
    let mut options = File::options();
    options.read(true).write(true).create(true);
    options
}
