//! openraft's [`AsyncRuntime`] for heist: a Raft node whose tasks, timers and waits are heist's.
//!
//! Name [`HeistRuntime`] as the `AsyncRuntime` of your type configuration, and start the node inside a heist runtime. That runtime is found through
//! the thread, as [`heist::spawn`] finds it; openraft makes none of its own.
//!
//! Its version is bound to that of openraft-rt, whose traits still change between alphas. openraft's feature `single-threaded` is not for this
//! runtime: heist's tasks are `Send`.
//!
//! # Cancellation
//!
//! openraft knows of none but that futures are dropped, and counts on a drop being prompt. So here
//!
//! * a [`HeistJoinHandle`] that is awaited does not hand a cancellation on: a task of yours that is cancelled in `raft.shutdown().await` does not
//!   take the node's core with it, and neither does a [`heist::timeout`] round it. Dropped, it lets its task run on.
//! * a [`HeistTimeout`] drops what it encloses when the time is up. [`heist::timeout`] would wait for the cleanup of whoever catches the cancellation
//!   in there, and an election cannot.
//!
//! # Time
//!
//! [`HeistInstant`] is read from the runtime's clock, so that a runtime whose clock is paused runs elections on virtual time.
//!
//! # Examples
//!
//! ```
//! use heist_openraft::HeistRuntime;
//! use openraft_rt::{AsyncRuntime, Mpsc, MpscReceiver, MpscSender};
//! use std::time::Duration;
//!
//! // Code that is generic over the runtime, as openraft is.
//! async fn count<Rt: AsyncRuntime>() -> u32 {
//!     let (sender, mut receiver) = Rt::Mpsc::channel::<u32>(4);
//!     let counter = Rt::spawn(async move {
//!         for n in 0..3 {
//!             Rt::sleep(Duration::from_millis(1)).await;
//!             sender.send(n).await.unwrap();
//!         }
//!     });
//!     let mut sum = 0;
//!     while let Some(n) = receiver.recv().await {
//!         sum += n;
//!     }
//!     counter.await.unwrap();
//!     sum
//! }
//!
//! assert_eq!(heist::run(count::<HeistRuntime>()).unwrap(), 3);
//! ```
#![forbid(unsafe_code)]

mod instant;
mod join_handle;
mod mpsc;
mod mutex;
mod oneshot;
mod timeout;
mod watch;

pub use instant::HeistInstant;
pub use join_handle::HeistJoinHandle;
pub use mpsc::{HeistMpsc, HeistMpscReceiver, HeistMpscSender, HeistMpscWeakSender};
pub use mutex::HeistMutex;
pub use oneshot::{HeistOneshot, HeistOneshotSender};
pub use timeout::{HeistTimeout, TimedOut};
pub use watch::{HeistWatch, HeistWatchReceiver, HeistWatchSender};

use openraft_rt::{AsyncRuntime, OptionalSend};
use std::io;
use std::time::Duration;

/// heist, as openraft sees it.
///
/// As a type it is the name of the runtime; as a value, a runtime of its own for tests and small programs. Dropping that shuts it down.
///
/// # Examples
///
/// ```
/// use heist_openraft::HeistRuntime;
/// use openraft_rt::AsyncRuntime;
///
/// let mut runtime = HeistRuntime::new(2);
/// let answer = runtime.block_on(async { HeistRuntime::spawn(async { 42 }).await.unwrap() });
/// assert_eq!(answer, 42);
/// ```
#[derive(Debug)]
pub struct HeistRuntime {
    runtime: heist::Runtime,
}

impl AsyncRuntime for HeistRuntime {
    type JoinError = heist::TaskError;
    type JoinHandle<T: OptionalSend + 'static> = HeistJoinHandle<T>;
    type Sleep = heist::time::Sleep;
    type Instant = HeistInstant;
    type TimeoutError = TimedOut;
    type Timeout<R, T: Future<Output = R> + OptionalSend> = HeistTimeout<T>;
    type ThreadLocalRng = rand::rngs::ThreadRng;
    type Mpsc = HeistMpsc;
    type Watch = HeistWatch;
    type Oneshot = HeistOneshot;
    type Mutex<T: OptionalSend + 'static> = HeistMutex<T>;

    /// On a thread that is in no runtime, the handle's error says so.
    #[track_caller]
    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        HeistJoinHandle::new(heist::spawn(future))
    }

    fn sleep(duration: Duration) -> Self::Sleep {
        heist::sleep(duration)
    }

    fn sleep_until(deadline: Self::Instant) -> Self::Sleep {
        heist::sleep_until(deadline.into())
    }

    fn timeout<R, F>(duration: Duration, future: F) -> Self::Timeout<R, F>
    where
        F: Future<Output = R> + OptionalSend,
    {
        HeistTimeout::new(heist::sleep(duration), future)
    }

    fn timeout_at<R, F>(deadline: Self::Instant, future: F) -> Self::Timeout<R, F>
    where
        F: Future<Output = R> + OptionalSend,
    {
        HeistTimeout::new(heist::sleep_until(deadline.into()), future)
    }

    fn is_panic(join_error: &Self::JoinError) -> bool {
        join_error.is_panic()
    }

    fn thread_rng() -> Self::ThreadLocalRng {
        rand::rng()
    }

    /// # Panics
    ///
    /// The runtime cannot be built, for want of threads or descriptors.
    fn new(threads: usize) -> Self {
        let runtime = heist::Builder::new()
            .worker_threads(threads)
            .build()
            .unwrap_or_else(|error| panic!("no runtime could be built: {error}"));
        Self { runtime }
    }

    /// # Panics
    ///
    /// `future` panics, is cancelled, or the runtime shuts down under it: there is no value to give.
    #[track_caller]
    fn block_on<F, T>(&mut self, future: F) -> T
    where
        F: Future<Output = T>,
    {
        self.runtime
            .block_on(future)
            .unwrap_or_else(|error| panic!("block_on: {error}"))
    }

    /// On the runtime's pool of threads that may block.
    #[track_caller]
    fn spawn_blocking<F, T>(f: F) -> impl Future<Output = Result<T, io::Error>> + Send
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let task = HeistJoinHandle::new(heist::spawn_blocking(f));
        async move { task.await.map_err(io::Error::other) }
    }
}
