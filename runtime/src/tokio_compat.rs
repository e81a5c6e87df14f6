//! Crates that look for tokio's runtime find one on every thread of ours (feature `tokio-compat`).
//!
//! Such crates need no tokio to poll them: their wakers are plain. They look for a thread-local, the runtime's handle, when they make a socket, a timer or a task. So each
//! thread of ours holds that handle for as long as it lives, which costs a poll nothing. What the handle leads to is a runtime of tokio's in the background, with a
//! thread that waits for its sockets and timers and runs what is spawned on it by name (`tokio::spawn`). It is ours, and ends with us: after the last task.
//!
//! Rejected: entering for each poll (every future would have to be wrapped, and what it spawns again); one runtime for the process, which nobody ever ends.

#[cfg(feature = "tokio-compat")]
pub(crate) use with::*;
#[cfg(not(feature = "tokio-compat"))]
pub(crate) use without::*;

#[cfg(feature = "tokio-compat")]
mod with {
    use crate::sync_switch::Mutex;
    use crate::system;
    use heist_io_driver::fork;
    use std::io;
    use std::sync::Arc;
    use std::time::Instant;
    use tokio::runtime::{Builder, EnterGuard, Handle, Runtime};

    /// Which runtime of tokio's a runtime of ours shows.
    #[derive(Clone, Default)]
    pub(crate) enum Choice {
        /// One of its own.
        #[default]
        Own,
        Given(Handle),
        None,
    }

    /// What the threads of a runtime show.
    #[derive(Clone, Default)]
    pub(crate) struct Shown(Option<Handle>);

    impl Shown {
        /// This thread shows it until the guard is dropped. Guards are dropped in the reverse order.
        pub(crate) fn enter(&self) -> Option<EnterGuard<'_>> {
            self.0.as_ref().map(Handle::enter)
        }
    }

    /// The runtime in the background.
    pub(crate) struct Background {
        runtime: Arc<Mutex<Option<Runtime>>>,
        /// The process that built it.
        generation: u64,
    }

    impl Choice {
        /// Starts what is chosen. A simulation has no threads for it.
        pub(crate) fn start(self, thread_name: &str) -> io::Result<(Background, Shown)> {
            let (runtime, shown) = match self {
                Self::Own if system::here().is_none() => {
                    let runtime = Builder::new_multi_thread()
                        .worker_threads(1)
                        .thread_name(format!("{thread_name}-tokio"))
                        .enable_all()
                        .build()?;
                    let shown = runtime.handle().clone();
                    (Some(runtime), Some(shown))
                }
                Self::Given(handle) => (None, Some(handle)),
                Self::Own | Self::None => (None, None),
            };
            let background = Background {
                runtime: Arc::new(Mutex::new(runtime)),
                generation: fork::generation(),
            };
            Ok((background, Shown(shown)))
        }
    }

    impl Background {
        /// Ends it, and waits for its threads until `until`. Legal on any thread, tokio's own included.
        pub(crate) fn end(&self, until: Instant) {
            if self.runtime.lock().is_none() {
                return;
            }
            // Where this is called tokio may not let a thread wait: on one of its own, say. A thread of its own may.
            let runtime = self.runtime.clone();
            let ending = std::thread::Builder::new().spawn(move || {
                if let Some(runtime) = take(&runtime) {
                    runtime.shutdown_timeout(until.saturating_duration_since(system::now()));
                }
            });
            match ending {
                Ok(thread) => drop(thread.join()),
                Err(_) => self.leave(),
            }
        }

        /// Ends it without waiting.
        fn leave(&self) {
            if let Some(runtime) = take(&self.runtime) {
                runtime.shutdown_background();
            }
        }
    }

    impl Drop for Background {
        fn drop(&mut self) {
            if self.generation == fork::generation() {
                self.leave();
            } else {
                // Its threads are in the parent of this process; here nobody would end the wait for them.
                std::mem::forget(take(&self.runtime));
            }
        }
    }

    fn take(runtime: &Mutex<Option<Runtime>>) -> Option<Runtime> {
        runtime.lock().take()
    }
}

/// Nothing is started, and nothing shown.
#[cfg(not(feature = "tokio-compat"))]
mod without {
    use std::io;
    use std::time::Instant;

    #[derive(Clone, Default)]
    pub(crate) struct Choice(());

    #[derive(Clone, Default)]
    pub(crate) struct Shown(());

    pub(crate) struct Background(());

    pub(crate) struct Entered(());

    impl Choice {
        #[expect(clippy::unnecessary_wraps, reason = "as its twin")]
        pub(crate) fn start(self, _: &str) -> io::Result<(Background, Shown)> {
            Ok((Background(()), Shown(())))
        }
    }

    impl Shown {
        #[inline(always)]
        pub(crate) fn enter(&self) -> Entered {
            Entered(())
        }
    }

    impl Background {
        pub(crate) fn end(&self, _: Instant) {}
    }
}
