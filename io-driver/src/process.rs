//! Child processes: asyncio's `create_subprocess_exec`.
//!
//! A child's end is the readiness of a descriptor (`pidfd`) where the kernel has that, else a SIGCHLD; either way std's `Child` is then asked, which alone reaps. A child that
//! is dropped while it runs is reaped all the same: a waker that owns it waits for its end, without a task or a thread.

mod exit;
mod orphan;

use crate::pipe::{Receiver, Sender};
use crate::signal::SignalKind;
use crate::time::sleep;
use exit::Running;
use std::ffi::OsStr;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

pub use std::process::{ExitStatus, Output, Stdio};

/// How much is read from a child at a time.
const CHUNK: usize = 64 * 1024;

/// What to run, and how: as std's `Command`, which it wraps.
///
/// # Examples
///
/// ```no_run
/// use heist_io_driver::process::Command;
///
/// # async fn example() -> std::io::Result<()> {
/// let output = Command::new("sort").arg("--reverse").output().await?;
/// println!("{}", String::from_utf8_lossy(&output.stdout));
/// # Ok(())
/// # }
/// ```
#[doc(alias = "create_subprocess_exec")]
#[derive(Debug)]
pub struct Command {
    std: std::process::Command,
    kill_on_drop: bool,
    /// Which of stdin, stdout and stderr were said.
    said: [bool; 3],
}

impl Command {
    /// Runs this program: found in `PATH` if it has no slash. For a shell's line, run a shell: `Command::new("sh").args(["-c", line])`.
    #[doc(alias = "create_subprocess_shell")]
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            std: std::process::Command::new(program),
            kill_on_drop: false,
            said: [false; 3],
        }
    }

    /// One more argument.
    pub fn arg(&mut self, arg: impl AsRef<OsStr>) -> &mut Self {
        self.std.arg(arg);
        self
    }

    /// More arguments.
    pub fn args<S: AsRef<OsStr>>(&mut self, args: impl IntoIterator<Item = S>) -> &mut Self {
        self.std.args(args);
        self
    }

    /// Sets a variable of its environment.
    pub fn env(&mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Self {
        self.std.env(key, value);
        self
    }

    /// Sets variables of its environment.
    pub fn envs<K: AsRef<OsStr>, V: AsRef<OsStr>>(
        &mut self,
        vars: impl IntoIterator<Item = (K, V)>,
    ) -> &mut Self {
        self.std.envs(vars);
        self
    }

    /// Takes a variable out of its environment.
    pub fn env_remove(&mut self, key: impl AsRef<OsStr>) -> &mut Self {
        self.std.env_remove(key);
        self
    }

    /// It inherits no variable.
    pub fn env_clear(&mut self) -> &mut Self {
        self.std.env_clear();
        self
    }

    /// Where it runs.
    pub fn current_dir(&mut self, directory: impl AsRef<Path>) -> &mut Self {
        self.std.current_dir(directory);
        self
    }

    /// Its standard input. Inherited, unless said otherwise; nothing for [`output`](Self::output).
    pub fn stdin(&mut self, stdin: impl Into<Stdio>) -> &mut Self {
        self.std.stdin(stdin);
        self.said[0] = true;
        self
    }

    /// Its standard output. Inherited, unless said otherwise; a pipe for [`output`](Self::output).
    pub fn stdout(&mut self, stdout: impl Into<Stdio>) -> &mut Self {
        self.std.stdout(stdout);
        self.said[1] = true;
        self
    }

    /// Its standard error. Inherited, unless said otherwise; a pipe for [`output`](Self::output).
    pub fn stderr(&mut self, stderr: impl Into<Stdio>) -> &mut Self {
        self.std.stderr(stderr);
        self.said[2] = true;
        self
    }

    /// The user that it runs as.
    pub fn uid(&mut self, id: u32) -> &mut Self {
        self.std.uid(id);
        self
    }

    /// The group that it runs as.
    pub fn gid(&mut self, id: u32) -> &mut Self {
        self.std.gid(id);
        self
    }

    /// The process group that it joins; 0: one of its own.
    pub fn process_group(&mut self, group: i32) -> &mut Self {
        self.std.process_group(group);
        self
    }

    /// Whether dropping the [`Child`] kills it (SIGKILL). By default it runs on.
    pub fn kill_on_drop(&mut self, kill: bool) -> &mut Self {
        self.kill_on_drop = kill;
        self
    }

    /// std's command in here, for what only that has (`pre_exec`, `arg0`). Its standard streams are better said here.
    pub fn as_std_mut(&mut self) -> &mut std::process::Command {
        &mut self.std
    }

    /// Starts it.
    ///
    /// Starting a process takes the calling thread some hundred microseconds.
    ///
    /// # Errors
    ///
    /// std's: there is no such program ([`NotFound`](io::ErrorKind::NotFound)), no descriptors or processes are left. If its pipes or its end cannot be waited for, it is killed
    /// before the error is returned.
    ///
    /// # Examples
    ///
    /// ```
    /// use heist_io_driver::process::{Command, Stdio};
    ///
    /// # futures_lite::future::block_on(async {
    /// let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    /// let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    /// stdin.write_all(b"hello").await?;
    /// drop(stdin); // the child reads the end
    /// let mut bytes = [0; 5];
    /// stdout.read_exact(&mut bytes).await?;
    /// assert_eq!(&bytes, b"hello");
    /// assert!(child.wait().await?.success());
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub fn spawn(&mut self) -> io::Result<Child> {
        orphan::sweep();
        let mut child = self.std.spawn()?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let mut child = Child {
            running: Some(Running::new(child)?),
            ended: None,
            kill_on_drop: true,
            stdin: None,
            stdout: None,
            stderr: None,
        };
        child.stdin = pipe(pipes.0, Sender::from_owned_fd)?;
        child.stdout = pipe(pipes.1, Receiver::from_owned_fd)?;
        child.stderr = pipe(pipes.2, Receiver::from_owned_fd)?;
        child.kill_on_drop = self.kill_on_drop;
        Ok(child)
    }

    /// Runs it to its end, and gives its status.
    ///
    /// # Errors
    ///
    /// Those of [`spawn`](Self::spawn) and [`Child::wait`].
    ///
    /// # Cancel safety
    ///
    /// Dropped, the child runs on, unless it is to be [killed](Self::kill_on_drop).
    ///
    /// # Examples
    ///
    /// ```
    /// use heist_io_driver::process::Command;
    ///
    /// # futures_lite::future::block_on(async {
    /// let status = Command::new("sh").args(["-c", "exit 3"]).status().await?;
    /// assert_eq!(status.code(), Some(3));
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub async fn status(&mut self) -> io::Result<ExitStatus> {
        self.spawn()?.wait().await
    }

    /// Runs it to its end, and gives its status and what it has written. It has no standard input, unless one was said.
    ///
    /// # Errors
    ///
    /// Those of [`spawn`](Self::spawn) and [`Child::wait_with_output`].
    ///
    /// # Cancel safety
    ///
    /// As [`status`](Self::status).
    ///
    /// # Examples
    ///
    /// ```
    /// use heist_io_driver::process::Command;
    ///
    /// # futures_lite::future::block_on(async {
    /// let output = Command::new("sh").args(["-c", "echo $NAME"]).env("NAME", "Ada").output().await?;
    /// assert!(output.status.success());
    /// assert_eq!(output.stdout, b"Ada\n");
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub async fn output(&mut self) -> io::Result<Output> {
        let [stdin, stdout, stderr] = self.said;
        if !stdin {
            self.std.stdin(Stdio::null());
        }
        if !stdout {
            self.std.stdout(Stdio::piped());
        }
        if !stderr {
            self.std.stderr(Stdio::piped());
        }
        self.spawn()?.wait_with_output().await
    }
}

fn pipe<P: Into<OwnedFd>, T>(
    pipe: Option<P>,
    wrap: impl FnOnce(OwnedFd) -> io::Result<T>,
) -> io::Result<Option<T>> {
    pipe.map(|pipe| wrap(pipe.into())).transpose()
}

/// A child process. asyncio's `Process`.
///
/// Dropped while it runs, it runs on, and is reaped when it ends; [`Command::kill_on_drop`] kills it.
#[doc(alias = "asyncio.subprocess.Process")]
pub struct Child {
    /// Until it was reaped.
    running: Option<Running>,
    ended: Option<ExitStatus>,
    kill_on_drop: bool,
    /// Its standard input, if that was to be a pipe.
    pub stdin: Option<Sender>,
    /// Its standard output, if that was to be a pipe.
    pub stdout: Option<Receiver>,
    /// Its standard error, if that was to be a pipe.
    pub stderr: Option<Receiver>,
}

impl Child {
    /// Its number; none once its end was waited for, since another process may have the number then. asyncio's `pid`.
    #[doc(alias = "pid")]
    pub fn id(&self) -> Option<u32> {
        self.running.as_ref().map(Running::id)
    }

    /// Waits for its end. Its standard input, if that is here still, is closed before, so that a child that reads to the end of it ends.
    ///
    /// A child that writes into a pipe that nobody reads does not end: see [`wait_with_output`](Self::wait_with_output).
    ///
    /// # Errors
    ///
    /// The driver has shut down; the system's, if somebody else has reaped it.
    ///
    /// # Cancel safety
    ///
    /// May be dropped and called again.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        drop(self.stdin.take());
        poll_fn(|cx| self.poll_wait(cx)).await
    }

    fn poll_wait(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<ExitStatus>> {
        if let Some(running) = &mut self.running {
            self.ended = Some(ready!(running.poll_wait(cx))?);
            self.running = None;
        }
        Poll::Ready(self.ended.ok_or_else(|| io::ErrorKind::NotFound.into()))
    }

    /// Waits for its end for at most so long; `None`: it runs still, and its standard input is open still.
    ///
    /// # Errors
    ///
    /// As for [`wait`](Self::wait).
    ///
    /// # Cancel safety
    ///
    /// May be dropped and called again.
    ///
    /// # Examples
    ///
    /// ```
    /// use heist_io_driver::process::Command;
    /// use heist_io_driver::signal::SignalKind;
    /// use std::{os::unix::process::ExitStatusExt, time::Duration};
    ///
    /// # futures_lite::future::block_on(async {
    /// let mut child = Command::new("sleep").arg("3600").kill_on_drop(true).spawn()?;
    /// let grace = Duration::from_millis(5);
    /// assert!(child.wait_timeout(grace).await?.is_none());
    /// child.signal(SignalKind::TERMINATE)?;
    /// let status = child.wait().await?;
    /// assert_eq!(status.signal(), Some(SignalKind::TERMINATE.as_raw()));
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub async fn wait_timeout(&mut self, limit: Duration) -> io::Result<Option<ExitStatus>> {
        let mut limit = pin!(sleep(limit));
        poll_fn(|cx| {
            if let Poll::Ready(ended) = self.poll_wait(cx) {
                return Poll::Ready(ended.map(Some));
            }
            limit.as_mut().poll(cx).map(|()| Ok(None))
        })
        .await
    }

    /// Its status if it has ended, without waiting. asyncio's `returncode`.
    ///
    /// # Errors
    ///
    /// The system's, if somebody else has reaped it.
    #[doc(alias = "returncode")]
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        if let Some(running) = &mut self.running
            && let Some(ended) = running.try_wait()?
        {
            self.ended = Some(ended);
            self.running = None;
        }
        Ok(self.ended)
    }

    /// Waits for its end and reads what it writes until then. Its standard input is closed.
    ///
    /// # Errors
    ///
    /// As for [`wait`](Self::wait); a pipe's.
    ///
    /// # Cancel safety
    ///
    /// What had been read is lost with the future, and so is the child's handle.
    pub async fn wait_with_output(self) -> io::Result<Output> {
        self.communicate([]).await
    }

    /// Writes `input` to its standard input and closes that, reads what it writes, and waits for its end, all at once. asyncio's `communicate`.
    ///
    /// If it does not read all of its input, that is no error.
    ///
    /// # Errors
    ///
    /// As for [`wait_with_output`](Self::wait_with_output).
    ///
    /// # Cancel safety
    ///
    /// As [`wait_with_output`](Self::wait_with_output).
    ///
    /// # Examples
    ///
    /// ```
    /// use heist_io_driver::process::{Command, Stdio};
    ///
    /// # futures_lite::future::block_on(async {
    /// let sort = Command::new("sort").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    /// let output = sort.communicate("pear\napple\n").await?;
    /// assert_eq!(output.stdout, b"apple\npear\n");
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub async fn communicate(mut self, input: impl AsRef<[u8]>) -> io::Result<Output> {
        let (stdin, stdout, stderr) = (self.stdin.take(), self.stdout.take(), self.stderr.take());
        let writing = write_all(stdin, input.as_ref());
        let (stdout, stderr) = (read_to_end(stdout), read_to_end(stderr));
        let read = both(stdout, stderr);
        let (written, read) = both(writing, read).await;
        written?;
        let (stdout, stderr) = read;
        let output = Output {
            status: self.wait().await?,
            stdout: stdout?,
            stderr: stderr?,
        };
        Ok(output)
    }

    /// Sends it SIGKILL, and waits for its end.
    ///
    /// # Errors
    ///
    /// As for [`start_kill`](Self::start_kill) and [`wait`](Self::wait).
    ///
    /// # Cancel safety
    ///
    /// It is killed nevertheless.
    ///
    /// # Examples
    ///
    /// ```
    /// use heist_io_driver::process::Command;
    ///
    /// # futures_lite::future::block_on(async {
    /// let mut child = Command::new("sleep").arg("3600").spawn()?;
    /// assert!(child.try_wait()?.is_none());
    /// child.kill().await?;
    /// assert!(!child.try_wait()?.unwrap().success());
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub async fn kill(&mut self) -> io::Result<()> {
        self.start_kill()?;
        self.wait().await.map(drop)
    }

    /// Sends it SIGKILL. Nothing if it has ended. asyncio's `kill`.
    ///
    /// # Errors
    ///
    /// The system's: the child runs as somebody else.
    pub fn start_kill(&mut self) -> io::Result<()> {
        match &mut self.running {
            Some(running) => running.kill(),
            None => Ok(()),
        }
    }

    /// Sends it a signal: [`SignalKind::TERMINATE`] asks it to end. asyncio's `send_signal` and `terminate`.
    ///
    /// # Errors
    ///
    /// It has ended, and its end was waited for ([`NotFound`](io::ErrorKind::NotFound)): the signal goes nowhere, and in particular to no other process. The
    /// system's: there is no such signal, or the child runs as somebody else.
    #[doc(alias = "send_signal")]
    #[doc(alias = "terminate")]
    pub fn signal(&self, kind: SignalKind) -> io::Result<()> {
        match &self.running {
            Some(running) => running.signal(kind),
            None => Err(io::Error::new(
                io::ErrorKind::NotFound,
                "the child has ended",
            )),
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let Some(mut running) = self.running.take() else {
            return;
        };
        if self.kill_on_drop
            && let Err(error) = running.kill()
        {
            tracing::warn!(target: "heist", %error, id = running.id(), "a child could not be killed");
        }
        orphan::leave(running);
    }
}

impl fmt::Debug for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Child")
            .field("id", &self.id())
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

async fn write_all(pipe: Option<Sender>, input: &[u8]) -> io::Result<()> {
    let Some(pipe) = pipe else { return Ok(()) };
    match pipe.write_all(input).await {
        // It did not want to know.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

async fn read_to_end(pipe: Option<Receiver>) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    let Some(pipe) = pipe else { return Ok(all) };
    let mut chunk = vec![0; CHUNK];
    loop {
        match pipe.read(&mut chunk).await? {
            0 => return Ok(all),
            n => all.extend_from_slice(&chunk[..n]),
        }
    }
}

/// Two futures, side by side.
async fn both<A: Future, B: Future>(a: A, b: B) -> (A::Output, B::Output) {
    let (a, b) = (pin!(a), pin!(b));
    let (mut a, mut b) = (Side::Pending(a), Side::Pending(b));
    poll_fn(|cx| {
        let ready = (a.poll(cx), b.poll(cx));
        match ready {
            (true, true) => Poll::Ready(()),
            _ => Poll::Pending,
        }
    })
    .await;
    match (a, b) {
        (Side::Ready(a), Side::Ready(b)) => (a, b),
        _ => unreachable!("both were ready"),
    }
}

enum Side<'f, F: Future> {
    Pending(Pin<&'f mut F>),
    Ready(F::Output),
}

impl<F: Future> Side<'_, F> {
    /// Whether it is ready.
    fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        if let Self::Pending(future) = self
            && let Poll::Ready(output) = future.as_mut().poll(cx)
        {
            *self = Self::Ready(output);
        }
        matches!(self, Self::Ready(_))
    }
}
