//! Where hyper's own futures run.

use heist::Handle;
use hyper::rt::Executor;
use std::fmt;

/// hyper's way to spawn: what hyper's HTTP/2 connections and hyper-util's builders take as their executor.
///
/// What is spawned is a task of its own, detached: nobody holds its handle, and dropping whatever asked for it does not cancel it.
///
/// [`new`](Self::new) spawns on the runtime of the thread that hyper spawns from, which is right for everything that runs inside of heist.
/// On a thread without a runtime the future is dropped instead of run, and a `tracing` event tells of it; nothing panics. For such threads
/// there is [`on`](Self::on).
///
/// # Examples
///
/// ```
/// use heist_hyper::HeistExecutor;
/// use hyper::rt::Executor;
///
/// # heist::run(async {
/// let (promise, answer) = heist::promise();
/// HeistExecutor::new().execute(async move {
///     let _ = promise.set(42);
/// });
/// assert_eq!(answer.await.unwrap(), 42);
/// # }).unwrap();
/// ```
#[derive(Clone, Default)]
pub struct HeistExecutor(Target);

#[derive(Clone, Default)]
enum Target {
    #[default]
    Current,
    Runtime(Handle),
    /// A server's: its streams end before it does.
    #[cfg(feature = "http2")]
    Brood(crate::serve::Brood),
}

impl HeistExecutor {
    /// Spawns on the runtime of the calling thread.
    pub fn new() -> Self {
        Self::default()
    }

    /// Spawns on this runtime, from any thread. A runtime that has shut down drops what it is given.
    ///
    /// # Examples
    ///
    /// ```
    /// use heist_hyper::HeistExecutor;
    /// use hyper::rt::Executor;
    /// use std::sync::mpsc;
    ///
    /// let runtime = heist::Runtime::new().unwrap();
    /// let executor = HeistExecutor::on(runtime.handle().clone());
    /// let (send, received) = mpsc::channel();
    /// executor.execute(async move { send.send("from outside").unwrap() });
    /// assert_eq!(received.recv().unwrap(), "from outside");
    /// ```
    pub fn on(runtime: Handle) -> Self {
        Self(Target::Runtime(runtime))
    }

    #[cfg(feature = "http2")]
    pub(crate) fn of_brood(brood: crate::serve::Brood) -> Self {
        Self(Target::Brood(brood))
    }
}

impl<F> Executor<F> for HeistExecutor
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        match &self.0 {
            Target::Current => heist::spawn(future).detach(),
            Target::Runtime(runtime) => runtime.spawn(future).detach(),
            #[cfg(feature = "http2")]
            Target::Brood(brood) => brood.spawn_stream(future),
        }
    }
}

impl fmt::Debug for HeistExecutor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Target::Current => "HeistExecutor(of the calling thread)",
            Target::Runtime(_) => "HeistExecutor(on a runtime)",
            #[cfg(feature = "http2")]
            Target::Brood(_) => "HeistExecutor(of a server)",
        })
    }
}
