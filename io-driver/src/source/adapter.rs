//! `Async<T>`: any pollable descriptor, made asynchronous by trying and waiting.
#![allow(unsafe_code)]

use std::io;
use std::task::{Context, Poll, ready};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::operation::{Amount, Ready, TryIo};
use super::{Registration, driver_gone};
use crate::handle::Handle;
use crate::leaf;
use crate::readiness::{Direction, Place, Wait};
use crate::sys::AsSource;

/// A descriptor whose operations wait through the driver instead of blocking the thread.
///
/// `T` is any descriptor that the kernel can poll: sockets, pipes, terminals, other pollers. Not
/// regular files: these are always ready, and on Linux registering one fails.
///
/// Registered with the driver that was current when it was made, it works from any thread and
/// under any executor. Two `Async` of one descriptor number cannot be registered with one driver;
/// duplicate the descriptor for that.
///
/// # Examples
///
/// ```
/// use std::{io::{Read, Write}, os::unix::net::UnixStream};
/// use heist_io_driver::Async;
///
/// async fn hello() -> std::io::Result<[u8; 5]> {
///     let (a, b) = UnixStream::pair()?;
///     let (a, b) = (Async::new(a)?, Async::new(b)?);
///     a.write_with(|mut a| a.write(b"hello")).await?;
///     let mut bytes = [0; 5];
///     b.read_with(|mut b| b.read(&mut bytes)).await?;
///     Ok(bytes)
/// }
/// # use std::{pin::pin, sync::Arc, task::{Context, Poll, Wake}, thread::{self, Thread}};
/// # struct Unpark(Thread);
/// # impl Wake for Unpark { fn wake(self: Arc<Self>) { self.0.unpark() } }
/// # let waker = Arc::new(Unpark(thread::current())).into();
/// # let mut future = pin!(hello());
/// # let bytes = loop {
/// #     match future.as_mut().poll(&mut Context::from_waker(&waker)) {
/// #         Poll::Ready(result) => break result?,
/// #         Poll::Pending => thread::park(),
/// #     }
/// # };
/// assert_eq!(&bytes, b"hello");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Async<T: AsSource> {
    /// Invariant: dropped before `io`, that is while the descriptor is open. Fields drop in the
    /// order of their declaration.
    registration: Registration,
    io: T,
}

impl<T: AsSource> Async<T> {
    /// Makes the descriptor non-blocking (for all who share it) and registers it with the current
    /// driver.
    ///
    /// # Errors
    ///
    /// The descriptor cannot be polled, is registered already, the current driver has shut down,
    /// or there is none and the fallback driver could not be started.
    pub fn new(io: T) -> io::Result<Async<T>> {
        Async::taken(io, Handle::current()?)
    }

    /// As [`new`](Async::new), for a descriptor that is non-blocking already. If it is not,
    /// operations block the thread.
    ///
    /// # Errors
    ///
    /// As for [`new`](Async::new).
    pub fn new_nonblocking(io: T) -> io::Result<Async<T>> {
        Async::with_handle(io, Handle::current()?)
    }

    /// As [`new_nonblocking`](Async::new_nonblocking), with a given driver.
    ///
    /// # Errors
    ///
    /// As for [`new`](Async::new), but for the fallback driver, which is not concerned.
    pub fn with_handle(io: T, handle: Handle) -> io::Result<Async<T>> {
        // SAFETY: `io` owns or borrows the descriptor and is not given away mutably; it outlives
        // the registration by the invariant of the field, and in `into_inner`.
        let registration = unsafe { Registration::new(handle, borrow(&io))? };
        Ok(Async { registration, io })
    }

    /// Makes a descriptor of the kernel's, makes it non-blocking and registers it with the current
    /// driver. Inside a simulation it is not made: no simulation stands in for its kind.
    pub(crate) fn of_kernel(make: impl FnOnce() -> io::Result<T>) -> io::Result<Async<T>> {
        let handle = Handle::of_kernel()?;
        Async::taken(make()?, handle)
    }

    /// As [`of_kernel`](Async::of_kernel), for two that are made by one call.
    #[cfg(unix)]
    pub(crate) fn pair_of_kernel<U: AsSource>(
        make: impl FnOnce() -> io::Result<(T, U)>,
    ) -> io::Result<(Async<T>, Async<U>)> {
        let handle = Handle::of_kernel()?;
        let (a, b) = make()?;
        Ok((Async::taken(a, handle.clone())?, Async::taken(b, handle)?))
    }

    fn taken(io: T, handle: Handle) -> io::Result<Async<T>> {
        rustix::io::ioctl_fionbio(&io, true)?;
        Async::with_handle(io, handle)
    }

    /// As [`with_handle`](Async::with_handle), for what only has a descriptor that stands for one: its events are a simulation's to report, for the token
    /// that `told` gets.
    #[cfg(feature = "sim")]
    pub(crate) fn simulated(
        io: T,
        handle: Handle,
        told: impl FnOnce(&T, &Handle, crate::sys::Token),
    ) -> io::Result<Async<T>> {
        // SAFETY: as in `with_handle`.
        let registration = unsafe { Registration::simulated(handle, borrow(&io))? };
        told(&io, &registration.handle, registration.token);
        Ok(Async { registration, io })
    }

    /// The descriptor. Operations on it do not wait.
    pub fn get_ref(&self) -> &T {
        &self.io
    }

    /// Deregisters the descriptor and returns it, still non-blocking. It may be registered again.
    ///
    /// # Errors
    ///
    /// None today; reserved for platforms where deregistering can fail.
    pub fn into_inner(self) -> io::Result<T> {
        let Async { registration, io } = self;
        drop(registration);
        Ok(io)
    }

    /// The driver that the descriptor is registered with.
    pub fn handle(&self) -> &Handle {
        &self.registration.handle
    }

    /// Tries a reading operation until it does not block. Many may wait at a time.
    ///
    /// The operation returns [`WouldBlock`](io::ErrorKind::WouldBlock) to wait for readiness. It
    /// may do so only if the kernel said it: what is ready already is not reported again.
    /// `Interrupted` is tried again at once.
    ///
    /// # Errors
    ///
    /// Whatever else the operation returns; or the driver has shut down and the operation would
    /// have to wait.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, the operation has not succeeded.
    pub fn read_with<R, F>(&self, operation: F) -> TryIo<'_, T, F, R>
    where
        F: FnMut(&T) -> io::Result<R>,
    {
        TryIo::new(self, Direction::Read, None, operation)
    }

    /// Tries a writing operation until it does not block. Otherwise as
    /// [`read_with`](Async::read_with).
    ///
    /// # Errors
    ///
    /// As for [`read_with`](Async::read_with).
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, the operation has not succeeded.
    pub fn write_with<R, F>(&self, operation: F) -> TryIo<'_, T, F, R>
    where
        F: FnMut(&T) -> io::Result<R>,
    {
        TryIo::new(self, Direction::Write, None, operation)
    }

    /// As [`read_with`](Async::read_with), for a *byte stream* read into a buffer of `len` bytes.
    /// Having got fewer, but some, the next read waits without asking the kernel first. Not for
    /// datagrams, nor where a read may stop before the stream is drained.
    ///
    /// # Errors
    ///
    /// As for [`read_with`](Async::read_with).
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, nothing was read.
    pub fn read_some<F>(&self, len: usize, operation: F) -> TryIo<'_, T, F, usize>
    where
        F: FnMut(&T) -> io::Result<usize>,
    {
        TryIo::new(self, Direction::Read, Some((len, |n| *n)), operation)
    }

    /// As [`write_with`](Async::write_with), for a *byte stream* written from a buffer of `len`
    /// bytes. Having written fewer, but some, the next write waits without asking the kernel
    /// first.
    ///
    /// # Errors
    ///
    /// As for [`read_with`](Async::read_with).
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, nothing was written.
    pub fn write_some<F>(&self, len: usize, operation: F) -> TryIo<'_, T, F, usize>
    where
        F: FnMut(&T) -> io::Result<usize>,
    {
        TryIo::new(self, Direction::Write, Some((len, |n| *n)), operation)
    }

    /// The poll form of [`read_with`](Async::read_with), for poll-style traits: only the last
    /// task to have polled is woken.
    ///
    /// # Errors
    ///
    /// As for [`read_with`](Async::read_with).
    pub fn poll_read_with<R>(
        &self,
        cx: &mut Context<'_>,
        operation: impl FnMut(&T) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        self.poll_with(Direction::Read, None, operation, cx)
    }

    /// The poll form of [`write_with`](Async::write_with); a place of its own, beside that of
    /// [`poll_read_with`](Async::poll_read_with).
    ///
    /// # Errors
    ///
    /// As for [`read_with`](Async::read_with).
    pub fn poll_write_with<R>(
        &self,
        cx: &mut Context<'_>,
        operation: impl FnMut(&T) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        self.poll_with(Direction::Write, None, operation, cx)
    }

    /// The poll form of [`read_some`](Async::read_some).
    ///
    /// # Errors
    ///
    /// As for [`read_with`](Async::read_with).
    pub fn poll_read_some(
        &self,
        cx: &mut Context<'_>,
        len: usize,
        operation: impl FnMut(&T) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        self.poll_with(Direction::Read, Some((len, |n| *n)), operation, cx)
    }

    /// The poll form of [`write_some`](Async::write_some).
    ///
    /// # Errors
    ///
    /// As for [`read_with`](Async::read_with).
    pub fn poll_write_some(
        &self,
        cx: &mut Context<'_>,
        len: usize,
        operation: impl FnMut(&T) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        self.poll_with(Direction::Write, Some((len, |n| *n)), operation, cx)
    }

    /// Tries a reading operation once, without waiting. If the source is known not to be ready, it
    /// is not even tried.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock), or whatever the operation returns.
    pub fn try_read_with<R>(&self, operation: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        self.try_with(Direction::Read, operation)
    }

    /// Tries a writing operation once, without waiting. If the source is known not to be ready,
    /// it is not even tried.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock), or whatever the operation returns.
    pub fn try_write_with<R>(&self, operation: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        self.try_with(Direction::Write, operation)
    }

    /// Waits until a read would not block. May complete at once.
    ///
    /// Asks the kernel (one system call) rather than memory, so that a loop which awaits this and
    /// then reads by itself does not spin. Another reader may still be faster.
    ///
    /// # Errors
    ///
    /// The driver has shut down and there is nothing to read.
    ///
    /// # Cancel safety
    ///
    /// Takes nothing, so loses nothing.
    pub fn readable(&self) -> Ready<'_, T> {
        TryIo::new(self, Direction::Read, None, probe_read)
    }

    /// Waits until a write would not block, or a connection attempt has ended. May complete at
    /// once. Otherwise as [`readable`](Async::readable).
    ///
    /// # Errors
    ///
    /// The driver has shut down and a write would block.
    ///
    /// # Cancel safety
    ///
    /// Gives nothing, so loses nothing.
    pub fn writable(&self) -> Ready<'_, T> {
        TryIo::new(self, Direction::Write, None, probe_write)
    }

    /// The poll form of [`readable`](Async::readable): only the last task to have polled is woken.
    ///
    /// # Errors
    ///
    /// As for [`readable`](Async::readable).
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_with(Direction::Read, None, probe_read, cx)
    }

    /// The poll form of [`writable`](Async::writable): only the last task to have polled is woken.
    ///
    /// # Errors
    ///
    /// As for [`writable`](Async::writable).
    pub fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_with(Direction::Write, None, probe_write, cx)
    }

    /// Lets the first read wait for an event instead of trying: for a descriptor that answers with
    /// the end of the stream before its stream has begun. Only for one that nobody has used yet.
    #[cfg(unix)]
    pub(crate) fn await_beginning(&self) {
        self.registration.source.doubt_readable();
    }

    fn poll_with<R>(
        &self,
        direction: Direction,
        amount: Amount<R>,
        mut operation: impl FnMut(&T) -> io::Result<R>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<R>> {
        ready!(leaf::poll_budget(cx));
        let result = ready!(self.attempt(direction, Place::Poll, amount, &mut operation, cx));
        leaf::spend();
        Poll::Ready(result)
    }

    fn try_with<R>(
        &self,
        direction: Direction,
        mut operation: impl FnMut(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        let source = &self.registration.source;
        let must_arm = self.registration.handle.selector().must_arm();
        loop {
            // Where sources must be armed nobody would report that this one is ready again.
            let seen = match source.ready(direction) {
                Some(seen) => Some(seen),
                None if must_arm => None,
                None => return Err(io::ErrorKind::WouldBlock.into()),
            };
            match (operation(&self.io), seen) {
                (Err(error), _) if error.kind() == io::ErrorKind::Interrupted => {}
                (Err(error), Some(seen)) if error.kind() == io::ErrorKind::WouldBlock => {
                    source.clear(direction, seen);
                    return Err(error);
                }
                (result, _) => return result,
            }
        }
    }

    /// Tries while the source counts as ready; waits when it does not.
    #[inline]
    pub(super) fn attempt<R>(
        &self,
        direction: Direction,
        mut place: Place<'_>,
        amount: Amount<R>,
        operation: &mut impl FnMut(&T) -> io::Result<R>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<R>> {
        let Registration {
            source,
            token,
            handle,
        } = &self.registration;
        loop {
            let Some(seen) = source.ready(direction) else {
                let place = match &mut place {
                    Place::Poll => Place::Poll,
                    Place::Own(name) => Place::Own(name),
                };
                match source.wait(direction, place, cx.waker(), handle.selector(), *token) {
                    Ok(Wait::Waiting) => return Poll::Pending,
                    Ok(Wait::Ready) => continue,
                    Err(error) => return Poll::Ready(Err(error)),
                }
            };
            match operation(&self.io) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if seen.is_shut() {
                        return Poll::Ready(Err(driver_gone()));
                    }
                    source.clear(direction, seen);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(result) => {
                    if let Some((len, amount)) = amount
                        && (1..len).contains(&amount(&result))
                    {
                        source.clear_hint(direction, seen);
                    }
                    return Poll::Ready(Ok(result));
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    pub(super) fn leave(&self, direction: Direction, place: usize) {
        self.registration.source.leave(direction, place);
    }
}

#[cfg(unix)]
fn borrow<T: AsSource>(io: &T) -> crate::sys::BorrowedSource<'_> {
    io.as_fd()
}

#[cfg(windows)]
fn borrow<T: AsSource>(io: &T) -> crate::sys::BorrowedSource<'_> {
    io.as_socket()
}

#[cfg(unix)]
impl<T: AsSource> AsSource for Async<T> {
    fn as_fd(&self) -> crate::sys::BorrowedSource<'_> {
        self.io.as_fd()
    }
}

#[cfg(windows)]
impl<T: AsSource> AsSource for Async<T> {
    fn as_socket(&self) -> crate::sys::BorrowedSource<'_> {
        self.io.as_socket()
    }
}

fn probe_read<T: AsSource>(io: &T) -> io::Result<()> {
    probe(io, PollFlags::IN)
}

fn probe_write<T: AsSource>(io: &T) -> io::Result<()> {
    probe(io, PollFlags::OUT)
}

/// Asks the kernel whether the descriptor is ready. Errors and hang-ups count as ready.
fn probe<T: AsSource>(io: &T, flags: PollFlags) -> io::Result<()> {
    let mut fds = [PollFd::new(io, flags)];
    match poll(&mut fds, Some(&Timespec::default()))? {
        0 => Err(io::ErrorKind::WouldBlock.into()),
        _ => Ok(()),
    }
}
