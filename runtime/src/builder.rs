//! `Builder`: what a runtime can be told before it starts.

use crate::blocking::BlockingPool;
use crate::current::BUDGET;
use crate::failure::Failure;
use crate::handle::Handle;
use crate::runtime::Runtime;
use crate::scheduler::{MAX_SPARES, Scheduler, ThreadConfig};
use crate::system;
use crate::tokio_compat::{self, Background, Shown};
use heist_io_driver::{Clock, Config as DriverConfig, Driver, Refused};
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// How many blocking threads there can be unless told otherwise: as many as tokio allows, and more than a machine has use for.
const MAX_BLOCKING: usize = 512;
/// How long an idle blocking thread lives on unless told otherwise.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// How long dropping a runtime waits for its tasks and threads unless told otherwise.
const SHUTDOWN: Duration = Duration::from_secs(5);
/// How long one poll may take before it is reported, unless told otherwise.
const SLOW_POLL: Duration = Duration::from_millis(50);
/// More workers than this are not started: the idle protocol counts them in 16 bits, and no machine has so many.
const MAX_WORKERS: usize = 4096;

/// What happens to the runtime when a task panics and no handle retrieves it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum PanicPolicy {
    /// The panic is reported (to the exception handler, else as a tracing error), and all else goes on.
    #[default]
    Report,
    /// It is reported, and every task of the runtime is asked to end; new ones are refused.
    Shutdown,
    /// It is reported, and the process is aborted.
    Abort,
}

pub(crate) type ExceptionHandler = Arc<dyn Fn(&Failure) + Send + Sync>;

/// What the builder decided, for the life of the runtime.
pub(crate) struct Config {
    pub(crate) exception_handler: Option<ExceptionHandler>,
    pub(crate) panic_policy: PanicPolicy,
    pub(crate) shutdown: Duration,
    pub(crate) slow_poll: Duration,
    pub(crate) budget: u32,
    pub(crate) debug: bool,
    pub(crate) tokio: Background,
    /// What its threads show.
    pub(crate) shown: Shown,
}

/// Builds a [`Runtime`].
///
/// # Examples
///
/// ```
/// let runtime = heist_runtime::Builder::new()
///     .worker_threads(2)
///     .thread_name("my-server")
///     .build()?;
/// assert_eq!(runtime.block_on(async { 1 + 1 }).unwrap(), 2);
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use = "a builder does nothing until `build` is called"]
#[derive(Clone)]
pub struct Builder {
    workers: Option<usize>,
    threaded: bool,
    thread: ThreadConfig,
    max_blocking: usize,
    keep_alive: Duration,
    start_paused: bool,
    exception_handler: Option<ExceptionHandler>,
    panic_policy: PanicPolicy,
    shutdown: Duration,
    slow_poll: Duration,
    budget: u32,
    debug: bool,
    portable_driver: Option<bool>,
    tokio: tokio_compat::Choice,
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}

impl Builder {
    /// A multi-threaded runtime with a worker for each core.
    pub fn new() -> Self {
        Self {
            workers: None,
            threaded: true,
            thread: ThreadConfig {
                name: "heist".into(),
                ..ThreadConfig::default()
            },
            max_blocking: MAX_BLOCKING,
            keep_alive: KEEP_ALIVE,
            start_paused: false,
            exception_handler: None,
            panic_policy: PanicPolicy::Report,
            shutdown: SHUTDOWN,
            slow_poll: SLOW_POLL,
            budget: BUDGET,
            debug: cfg!(debug_assertions),
            portable_driver: None,
            tokio: tokio_compat::Choice::default(),
        }
    }

    /// Debug mode: what costs a little to watch for is reported to the [exception handler](Self::exception_handler), a cancellation that was swallowed for one.
    /// On by default where debug assertions are. asyncio's debug mode.
    #[doc(alias = "set_debug")]
    pub fn debug(mut self, on: bool) -> Self {
        self.debug = on;
        self
    }

    /// How many workers run tasks. The default is one for each core that the process may use; zero counts as one, and more than 4,096 as
    /// 4,096.
    pub fn worker_threads(mut self, workers: usize) -> Self {
        self.workers = Some(workers);
        self
    }

    /// No threads of its own for tasks: they run on the thread that calls `block_on` or `run`, while it does. The same scheduler with one
    /// worker. Tasks still have to be `Send`: two threads may call `block_on` in turn.
    ///
    /// # Examples
    ///
    /// ```
    /// use heist_runtime::{Builder, spawn};
    ///
    /// let runtime = Builder::new().current_thread().build()?;
    /// let here = std::thread::current().id();
    /// let there = runtime.run(async { spawn(async { std::thread::current().id() }).await.unwrap() });
    /// assert_eq!(there.unwrap(), here);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn current_thread(mut self) -> Self {
        self.threaded = false;
        self
    }

    /// How the runtime's threads are called: this, a dash, and a number or a purpose. The default is `heist`. A NUL byte in it is left out.
    pub fn thread_name(mut self, name: impl Into<String>) -> Self {
        self.thread.name = name.into().replace('\0', "");
        self
    }

    /// The stack size of the runtime's threads, in bytes. The default is that of `std::thread`.
    pub fn thread_stack_size(mut self, bytes: usize) -> Self {
        self.thread.stack_size = Some(bytes);
        self
    }

    /// How many threads run blocking closures at a time, at most. The default is 512; zero counts as one. Closures beyond it wait.
    pub fn max_blocking_threads(mut self, threads: usize) -> Self {
        self.max_blocking = threads.max(1);
        self
    }

    /// How long a blocking thread with nothing to do lives on. The default is 10 seconds.
    pub fn blocking_keep_alive(mut self, keep_alive: Duration) -> Self {
        self.keep_alive = keep_alive;
        self
    }

    /// Starts with the clock paused: time passes only by [`Clock::advance`], and by itself to the next timer whenever nothing can run. For
    /// tests.
    ///
    /// # Examples
    ///
    /// ```
    /// use heist_runtime::{Builder, time::sleep};
    /// use std::time::Duration;
    ///
    /// let runtime = Builder::new().start_paused(true).build()?;
    /// let year = Duration::from_secs(365 * 24 * 3600);
    /// runtime.block_on(sleep(year)).unwrap(); // at once
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn start_paused(mut self, paused: bool) -> Self {
        self.start_paused = paused;
        self
    }

    /// Told of every task's failure that no handle retrieves, on the thread where it is noticed. The default is a tracing error. asyncio's
    /// `set_exception_handler`.
    ///
    /// # Examples
    ///
    /// ```
    /// use heist_runtime::Builder;
    /// use std::sync::mpsc;
    ///
    /// let (tell, told) = mpsc::channel();
    /// let runtime = Builder::new()
    ///     .exception_handler(move |failure| drop(tell.send(failure.to_string())))
    ///     .build()?;
    /// runtime.handle().try_spawn(async { Err::<(), _>("no such file") }).detach();
    /// assert!(told.recv().unwrap().contains("no such file"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "set_exception_handler")]
    pub fn exception_handler(mut self, handler: impl Fn(&Failure) + Send + Sync + 'static) -> Self {
        self.exception_handler = Some(Arc::new(handler));
        self
    }

    /// What a panic that no handle retrieves does to the runtime. The default is to report it and go on.
    pub fn panic_policy(mut self, policy: PanicPolicy) -> Self {
        self.panic_policy = policy;
        self
    }

    /// How long dropping the runtime waits for its tasks and threads. The default is 5 seconds.
    pub fn shutdown_timeout(mut self, timeout: Duration) -> Self {
        self.shutdown = timeout;
        self
    }

    /// How long one poll may take before it is reported as a tracing warning. The default is 50 ms; `Duration::MAX` reports none. asyncio's
    /// `slow_callback_duration`.
    #[doc(alias = "slow_callback_duration")]
    pub fn slow_poll_threshold(mut self, threshold: Duration) -> Self {
        self.slow_poll = threshold;
        self
    }

    /// How many leaf operations (a read, a join, an elapsed timer) a task completes in one poll before it yields to the others. The default is
    /// 128; zero counts as one, and `u32::MAX` never yields.
    pub fn budget(mut self, operations: u32) -> Self {
        self.budget = operations.max(1);
        self
    }

    /// Whether to poll for I/O the way that works on every system. The default is the fast way where there is one (Linux). For tests.
    #[doc(hidden)]
    pub fn portable_driver(mut self, portable: bool) -> Self {
        self.portable_driver = Some(portable);
        self
    }

    /// Whether the runtime has one of tokio's in the background, for crates that look for it. The default with feature `tokio-compat` is that it has: a thread, started
    /// with the runtime, that ends after its last task. Without one, such crates say that there is no reactor running.
    #[cfg(feature = "tokio-compat")]
    pub fn tokio_compat(mut self, on: bool) -> Self {
        self.tokio = match on {
            true => tokio_compat::Choice::Own,
            false => tokio_compat::Choice::None,
        };
        self
    }

    /// Crates that look for tokio's runtime find this one, which is the caller's to keep alive: one with more threads, or one that is there anyway.
    #[cfg(feature = "tokio-compat")]
    pub fn tokio_handle(mut self, handle: tokio::runtime::Handle) -> Self {
        self.tokio = tokio_compat::Choice::Given(handle);
        self
    }

    /// Starts the runtime.
    ///
    /// # Errors
    ///
    /// A thread could not be started, or the poller not be made (no file descriptors left, say). Nothing is left behind.
    pub fn build(self) -> io::Result<Runtime> {
        let threaded = self.threaded;
        let handle = self.assemble()?;
        #[cfg(feature = "sim")]
        if let Some(world) = system::here() {
            world.adopt(&handle);
        }
        if threaded {
            handle.scheduler().start(&handle)?;
        }
        Ok(Runtime::from_handle(handle))
    }

    /// A runtime of which no thread has started yet.
    pub(crate) fn assemble(mut self) -> io::Result<Handle> {
        let workers = match self.workers {
            _ if !self.threaded => 1,
            Some(workers) => workers.clamp(1, MAX_WORKERS),
            None => num_cpus::get().clamp(1, MAX_WORKERS),
        };
        let clock = match self.start_paused || system::here().is_some() {
            true => Clock::stopped(),
            false => Clock::new(),
        };
        let (tokio, shown) = self.tokio.start(&self.thread.name)?;
        self.thread.shows = shown.clone();
        let pool = BlockingPool::new(
            self.max_blocking,
            self.keep_alive,
            self.thread.clone(),
            clock.clone(),
        );
        let offload = pool.offload();
        let mut driver = DriverConfig {
            shards: workers + MAX_SPARES.min(workers),
            clock,
            offload: Arc::new(move |job| {
                offload.run(job).map_err(|error| Refused::new(error.into()))
            }),
            ..DriverConfig::default()
        };
        if let Some(portable) = self.portable_driver {
            driver.portable = portable;
        }
        #[cfg(feature = "sim")]
        if let Some(world) = system::here() {
            driver.kernel = Some(world.kernel());
            // The simulation moves it, when none of its threads can run.
            driver.clock.set_auto_advance(false);
        }
        let driver = Driver::new(driver)?;
        let scheduler = Scheduler::new(driver, workers, self.threaded, self.thread);
        let config = Config {
            exception_handler: self.exception_handler,
            panic_policy: self.panic_policy,
            shutdown: self.shutdown,
            slow_poll: self.slow_poll,
            budget: self.budget,
            debug: self.debug,
            tokio,
            shown,
        };
        Ok(Handle::new(scheduler, pool, config))
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("workers", &self.workers)
            .field("threaded", &self.threaded)
            .field("thread_name", &self.thread.name)
            .finish_non_exhaustive()
    }
}
