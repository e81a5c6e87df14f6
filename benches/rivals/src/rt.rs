//! What a runtime must be able to do to be measured, and the list of those that can.
//!
//! A workload knows [`Rt`] and nothing of the runtime behind it. An adapter does each thing the way the users of
//! its runtime would write it: neither a shortcut that they would not take nor a layer that they would not pay for.

mod heist;
mod smol;
mod tokio;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crate::workloads::{self, Workload};

/// One runtime, as a type: everything is called from inside its tasks, except [`run`](Self::run) and
/// [`spawn_remote`](Self::spawn_remote).
pub(crate) trait Rt: Sized + 'static {
    /// Resolves to the output of the task. Dropping it before that may cancel the task or not:
    /// use [`detach`](Self::detach) for a task that nobody waits for.
    type Task<T: Send + 'static>: Future<Output = T> + Send + Unpin + 'static;
    /// Spawns from a thread that the runtime does not own.
    type Remote: Send + 'static;
    type Sender<T: Send + 'static>: Clone + Send + Sync + 'static;
    type Receiver<T: Send + 'static>: Send + 'static;
    type Mutex: Send + Sync + 'static;
    type Semaphore: Send + Sync + 'static;
    type Listener: Send + 'static;
    type Stream: Send + 'static;
    /// A stream as hyper takes it.
    type Hyper: hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static;

    /// Builds a runtime of `workers` threads, runs `main` as one of its tasks and waits for it.
    fn run<F>(workers: usize, main: F) -> F::Output
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static;

    fn spawn<F>(future: F) -> Self::Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static;

    fn detach<F>(future: F)
    where
        F: Future<Output = ()> + Send + 'static;

    fn remote() -> Self::Remote;

    /// Spawns a detached task from a foreign thread.
    fn spawn_remote<F>(remote: &Self::Remote, future: F)
    where
        F: Future<Output = ()> + Send + 'static;

    /// Waits for all of them, in the neutral way unless the runtime has its own.
    fn gather<T: Send + 'static>(tasks: Vec<Self::Task<T>>) -> impl Future<Output = Vec<T>> + Send {
        futures_util::future::join_all(tasks)
    }

    /// Cancels all of them and waits until the last is gone.
    fn cancel_all(tasks: Vec<Self::Task<()>>) -> impl Future<Output = ()> + Send;

    fn yield_now() -> impl Future<Output = ()> + Send;

    fn sleep(duration: Duration) -> impl Future<Output = ()> + Send;

    /// `None` when the time was up first.
    fn timeout<F>(duration: Duration, future: F) -> impl Future<Output = Option<F::Output>> + Send
    where
        F: Future + Send,
        F::Output: Send;

    fn spawn_blocking<T, F>(job: F) -> impl Future<Output = T> + Send + 'static
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static;

    /// The runtime's own channel of many senders, which makes senders wait when it is full.
    fn channel<T: Send + 'static>(capacity: usize) -> (Self::Sender<T>, Self::Receiver<T>);

    fn send<T: Send + 'static>(
        sender: &Self::Sender<T>,
        message: T,
    ) -> impl Future<Output = ()> + Send;

    fn receive<T: Send + 'static>(
        receiver: &mut Self::Receiver<T>,
    ) -> impl Future<Output = T> + Send;

    fn mutex() -> Self::Mutex;

    /// Runs the section with the mutex locked.
    fn with_mutex<F>(mutex: &Self::Mutex, section: F) -> impl Future<Output = ()> + Send
    where
        F: Future<Output = ()> + Send;

    fn semaphore(permits: usize) -> Self::Semaphore;

    /// Runs the section with a permit.
    fn with_permit<F>(semaphore: &Self::Semaphore, section: F) -> impl Future<Output = ()> + Send
    where
        F: Future<Output = ()> + Send;

    fn bind(address: SocketAddr) -> impl Future<Output = io::Result<Self::Listener>> + Send;

    fn local_addr(listener: &Self::Listener) -> io::Result<SocketAddr>;

    /// The accepted stream has `TCP_NODELAY` set.
    fn accept(listener: &Self::Listener) -> impl Future<Output = io::Result<Self::Stream>> + Send;

    fn read(
        stream: &mut Self::Stream,
        into: &mut [u8],
    ) -> impl Future<Output = io::Result<usize>> + Send;

    fn write_all(
        stream: &mut Self::Stream,
        bytes: &[u8],
    ) -> impl Future<Output = io::Result<()>> + Send;

    fn hyper(stream: Self::Stream) -> Self::Hyper;
}

/// A runtime's name on the command line and in the tables, with every workload written out for it.
pub(crate) struct Rival {
    pub(crate) name: &'static str,
    /// The crate that it comes from.
    pub(crate) package: &'static str,
    pub(crate) workloads: fn() -> Vec<Workload>,
}

/// The name of the runtime that the others are compared with.
pub(crate) const BASELINE: &str = "tokio";

pub(crate) const RIVALS: &[Rival] = &[
    Rival {
        name: "heist",
        package: "heist",
        workloads: workloads::all::<heist::Heist>,
    },
    Rival {
        name: BASELINE,
        package: "tokio",
        workloads: workloads::all::<tokio::MultiThread>,
    },
    Rival {
        name: "ct",
        package: "tokio",
        workloads: workloads::all::<tokio::CurrentThread>,
    },
    Rival {
        name: "smol",
        package: "smol",
        workloads: workloads::all::<smol::Smol>,
    },
];
