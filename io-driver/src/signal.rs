//! Signals to the process: asyncio's `add_signal_handler`.
//!
//! ```text
//!   in the handler    set the signal's bit, then write a byte          (nothing else: it may interrupt anything)
//!   who listens       take the bytes out until there are none, then the bits
//! ```
//!
//! So a byte that finds no room is no loss: one that is there already wakes the listener after the bit is set. Each listener has a pair of sockets of its own, waits in
//! the driver that it was made in, and hears every signal that any other hears.
//!
//! Handlers are signal-hook-registry's, which calls whoever listened before us too, and never takes its handler away. asyncio does: so does this. Where the first listener
//! of a signal comes, what was installed before is written down; when the last one goes, that is put back.
#![allow(unsafe_code)]

use crate::net::syscalls;
use crate::source::Async;
use parking_lot::Mutex;
use signal_hook_registry::SigId;
use socket2::{Domain, SockRef, Socket, Type};
use std::collections::BTreeMap;
use std::fmt;
use std::future::poll_fn;
use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::os::unix::net::UnixStream;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

/// Signals are numbered from 1 to 64 on Linux, to 32 elsewhere.
const MOST: i32 = 64;

/// Which signal.
///
/// # Examples
///
/// ```
/// use heist_io_driver::signal::SignalKind;
///
/// assert_eq!(SignalKind::TERMINATE.as_raw(), 15);
/// assert_eq!(SignalKind::from_raw(15), SignalKind::TERMINATE);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SignalKind(i32);

impl SignalKind {
    /// SIGALRM: a timer of the process.
    pub const ALARM: Self = Self(libc::SIGALRM);
    /// SIGCHLD: a child has ended, or was stopped.
    pub const CHILD: Self = Self(libc::SIGCHLD);
    /// SIGHUP: the terminal is gone; by custom, "read your configuration again".
    pub const HANGUP: Self = Self(libc::SIGHUP);
    /// SIGINT: Ctrl-C.
    pub const INTERRUPT: Self = Self(libc::SIGINT);
    /// SIGPIPE: a write to a pipe that nobody reads. std ignores it.
    pub const PIPE: Self = Self(libc::SIGPIPE);
    /// SIGQUIT: Ctrl-\.
    pub const QUIT: Self = Self(libc::SIGQUIT);
    /// SIGTERM: what `kill` and service managers send.
    pub const TERMINATE: Self = Self(libc::SIGTERM);
    /// SIGUSR1.
    pub const USER_DEFINED1: Self = Self(libc::SIGUSR1);
    /// SIGUSR2.
    pub const USER_DEFINED2: Self = Self(libc::SIGUSR2);
    /// SIGWINCH: the terminal has another size.
    pub const WINDOW_CHANGE: Self = Self(libc::SIGWINCH);

    /// The signal of this number, whichever that is on this system. One that cannot be listened to is an error of [`signal`].
    #[must_use]
    pub const fn from_raw(number: i32) -> Self {
        Self(number)
    }

    /// Its number on this system.
    #[must_use]
    pub const fn as_raw(self) -> i32 {
        self.0
    }
}

/// Listens for one kind of signal, from now on. asyncio's `loop.add_signal_handler`.
///
/// What the signal does by default (Ctrl-C ends the process) it does no more, until the last listener for it is dropped.
///
/// # Errors
///
/// * [`InvalidInput`](io::ErrorKind::InvalidInput): nobody can listen for this one (SIGKILL, SIGSTOP), or may (SIGSEGV, SIGILL, SIGFPE), or there is none of this number.
/// * The system's or the driver's: no descriptors are left, say.
///
/// # Examples
///
/// ```no_run
/// use heist_io_driver::signal::{SignalKind, signal};
///
/// # async fn example() -> std::io::Result<()> {
/// let mut hangups = signal(SignalKind::HANGUP)?;
/// loop {
///     hangups.recv().await?;
///     println!("reading the configuration again");
/// }
/// # }
/// ```
#[doc(alias = "add_signal_handler")]
pub fn signal(kind: SignalKind) -> io::Result<Signals> {
    any([kind])
}

/// Listens for several kinds of signals at once.
///
/// # Errors
///
/// Those of [`signal`]; then it listens for none.
///
/// # Examples
///
/// ```no_run
/// use heist_io_driver::signal::{self, SignalKind};
///
/// # async fn example() -> std::io::Result<()> {
/// let mut signals = signal::any([SignalKind::INTERRUPT, SignalKind::TERMINATE])?;
/// let which = signals.recv().await?;
/// println!("ended by {which:?}");
/// # Ok(())
/// # }
/// ```
pub fn any(kinds: impl IntoIterator<Item = SignalKind>) -> io::Result<Signals> {
    // socket2's, which raise no SIGPIPE on any system.
    let (reader, writer) = Socket::pair(Domain::UNIX, Type::STREAM, None)?;
    writer.set_nonblocking(true)?;
    let reader = Async::new(UnixStream::from(reader))?;
    let pending = Arc::new(Pending {
        bits: AtomicU64::new(0),
        writer,
        process: std::process::id(),
    });
    let registrations = kinds
        .into_iter()
        .map(|kind| Registration::new(kind, &pending))
        .collect::<io::Result<_>>()?;
    Ok(Signals {
        reader,
        pending,
        _registrations: registrations,
    })
}

/// Waits for one Ctrl-C (SIGINT).
///
/// It listens while it is awaited: at other times Ctrl-C does what it did before. To listen all along, keep a [`signal`].
///
/// # Errors
///
/// Those of [`signal`] and [`Signals::recv`].
///
/// # Cancel safety
///
/// Dropped, it listens no more: a signal that comes just then does what it does by default.
///
/// # Examples
///
/// ```no_run
/// # async fn example() -> std::io::Result<()> {
/// heist_io_driver::signal::ctrl_c().await?;
/// println!("shutting down");
/// # Ok(())
/// # }
/// ```
pub async fn ctrl_c() -> io::Result<()> {
    signal(SignalKind::INTERRUPT)?.recv().await.map(drop)
}

/// Waits for one request to end: SIGTERM, as service managers send it. Otherwise as [`ctrl_c`].
///
/// # Errors
///
/// Those of [`signal`] and [`Signals::recv`].
///
/// # Cancel safety
///
/// As [`ctrl_c`].
///
/// # Examples
///
/// ```no_run
/// # async fn example() -> std::io::Result<()> {
/// heist_io_driver::signal::terminate().await?;
/// println!("shutting down");
/// # Ok(())
/// # }
/// ```
pub async fn terminate() -> io::Result<()> {
    signal(SignalKind::TERMINATE)?.recv().await.map(drop)
}

/// Hears signals. Made by [`signal`] and [`any`].
///
/// Signals of one kind that come before it is asked count as one: the kernel itself keeps no more of most of them. None is lost altogether.
pub struct Signals {
    reader: Async<UnixStream>,
    pending: Arc<Pending>,
    _registrations: Vec<Registration>,
}

impl Signals {
    /// Waits for the next signal and says which it was. If several have come, those of lower numbers come first.
    ///
    /// # Errors
    ///
    /// The driver has shut down.
    ///
    /// # Cancel safety
    ///
    /// Dropped, or cancelled, it has taken no signal.
    ///
    /// # Examples
    ///
    /// ```
    /// use heist_io_driver::process::Command;
    /// use heist_io_driver::signal::{self, SignalKind};
    ///
    /// # futures_lite::future::block_on(async {
    /// let mut signals = signal::any([SignalKind::USER_DEFINED1, SignalKind::USER_DEFINED2])?;
    /// let this = std::process::id().to_string();
    /// Command::new("kill").args(["-USR1", &this]).status().await?; // from anybody
    /// assert_eq!(signals.recv().await?, SignalKind::USER_DEFINED1);
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub async fn recv(&mut self) -> io::Result<SignalKind> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// The poll form of [`recv`](Self::recv): the last waker is kept.
    ///
    /// # Errors
    ///
    /// As for [`recv`](Self::recv).
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<SignalKind>> {
        loop {
            if let Some(kind) = self.pending.take() {
                return Poll::Ready(Ok(kind));
            }
            ready!(self.reader.poll_read_with(cx, take_bytes))?;
        }
    }
}

impl fmt::Debug for Signals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = self._registrations.iter().map(|it| it.kind);
        f.debug_set().entries(kinds).finish()
    }
}

/// Takes out all bytes there are: at least one, or it would block.
fn take_bytes(mut reader: &UnixStream) -> io::Result<()> {
    let mut some = false;
    loop {
        match reader.read(&mut [0; 64]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => some = true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && some => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// What a handler leaves for its listener.
struct Pending {
    /// Bit n - 1: signal n has come.
    bits: AtomicU64,
    /// Non-blocking.
    writer: Socket,
    /// A forked child has the handler too, and must not wake its parent.
    process: u32,
}

impl Pending {
    /// Called in the handler: what is done here may be done in the middle of anything.
    fn put(&self, kind: SignalKind) {
        if std::process::id() != self.process {
            return;
        }
        // Release: pairs with the Acquire in `take`. The byte comes after it, by the order of this thread and the kernel's.
        self.bits.fetch_or(bit(kind), Ordering::Release);
        // No room: there are bytes enough to wake the listener. The other end is gone: nobody listens.
        let _ = syscalls::send(&SockRef::from(&self.writer), &[0]);
    }

    fn take(&self) -> Option<SignalKind> {
        // Relaxed: only the listener clears bits.
        let bits = self.bits.load(Ordering::Relaxed);
        let lowest = bits & bits.wrapping_neg();
        if lowest == 0 {
            return None;
        }
        // Acquire: pairs with the Release in `put`.
        self.bits.fetch_and(!lowest, Ordering::Acquire);
        i32::try_from(lowest.trailing_zeros() + 1)
            .ok()
            .map(SignalKind)
    }
}

fn bit(kind: SignalKind) -> u64 {
    1 << (kind.0 - 1)
}

/// One listener's share in the handler of one signal.
struct Registration {
    kind: SignalKind,
    id: SigId,
}

/// What there is to put back, for the signals that somebody listens for.
static INSTALLED: Mutex<BTreeMap<SignalKind, Installed>> = Mutex::new(BTreeMap::new());

struct Installed {
    listeners: usize,
    before: libc::sigaction,
    registrys: libc::sigaction,
}

impl Registration {
    fn new(kind: SignalKind, pending: &Arc<Pending>) -> io::Result<Self> {
        if !(1..=MOST).contains(&kind.0) || signal_hook_registry::FORBIDDEN.contains(&kind.0) {
            let why = format!("nobody can listen for signal {}", kind.0);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        let mut installed = INSTALLED.lock();
        let before = disposition(kind)?;
        let pending = pending.clone();
        // SAFETY: `put` reads the process's number, sets an atomic, and writes to a socket: all that is allowed in a handler. It neither allocates nor locks, and does
        // not panic: the number was checked above. The last `Pending` is dropped by `unregister` or a listener, never in a handler.
        let id = unsafe { signal_hook_registry::register(kind.0, move || pending.put(kind)) }?;
        if let Some(installed) = installed.get_mut(&kind) {
            installed.listeners += 1;
            return Ok(Self { kind, id });
        }
        let registrys = install_registrys(kind, &before).inspect_err(|_| {
            signal_hook_registry::unregister(id);
        })?;
        let first = Installed {
            listeners: 1,
            before,
            registrys,
        };
        installed.insert(kind, first);
        Ok(Self { kind, id })
    }
}

/// The registry installs its handler once. If we have taken it away since, it has to be put there again: it is remembered for good.
fn install_registrys(kind: SignalKind, before: &libc::sigaction) -> io::Result<libc::sigaction> {
    static KNOWN: Mutex<BTreeMap<SignalKind, libc::sigaction>> = Mutex::new(BTreeMap::new());
    let mut known = KNOWN.lock();
    if let Some(registrys) = known.get(&kind) {
        if !is_same(before, registrys) {
            set_disposition(kind, registrys)?;
        }
        return Ok(*registrys);
    }
    let registrys = disposition(kind)?;
    known.insert(kind, registrys);
    Ok(registrys)
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut installed = INSTALLED.lock();
        signal_hook_registry::unregister(self.id);
        let Some(of_kind) = installed.get_mut(&self.kind) else {
            return;
        };
        of_kind.listeners -= 1;
        if of_kind.listeners > 0 {
            return;
        }
        // Unless somebody else has taken over meanwhile, or was there before us by way of the registry.
        let is_ours = disposition(self.kind).is_ok_and(|now| is_same(&now, &of_kind.registrys));
        if is_ours
            && !is_same(&of_kind.before, &of_kind.registrys)
            && let Err(error) = set_disposition(self.kind, &of_kind.before)
        {
            tracing::error!(target: "heist", %error, kind = ?self.kind, "a signal's handler could not be put back");
        }
        installed.remove(&self.kind);
    }
}

fn is_same(one: &libc::sigaction, other: &libc::sigaction) -> bool {
    one.sa_sigaction == other.sa_sigaction
}

fn disposition(kind: SignalKind) -> io::Result<libc::sigaction> {
    let mut now = MaybeUninit::uninit();
    // SAFETY: the pointer is to memory for one; with no new one nothing is changed.
    let done = unsafe { libc::sigaction(kind.0, ptr::null(), now.as_mut_ptr()) };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a call that has succeeded has filled it.
    Ok(unsafe { now.assume_init() })
}

fn set_disposition(kind: SignalKind, to: &libc::sigaction) -> io::Result<()> {
    // SAFETY: `to` was this signal's in this process before: its default, to be ignored, or a handler that somebody installed for it.
    match unsafe { libc::sigaction(kind.0, to, ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
