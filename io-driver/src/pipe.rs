//! Pipes: anonymous ones, and named ones (FIFOs). Unix only.
//!
//! The two ends are byte streams of one direction each, used by the same methods and traits as
//! sockets. What writes to a pipe that nobody reads gets `BrokenPipe`, in a process that ignores
//! SIGPIPE, as Rust programs do; others are ended by the signal, unless they ignore it too.
//!
//! # Examples
//!
//! ```
//! use heist_io_driver::pipe;
//!
//! # futures_lite::future::block_on(async {
//! let (sender, receiver) = pipe::pipe()?;
//! sender.write_all(b"hello").await?;
//! drop(sender); // the receiver reads the end
//! let mut bytes = [0; 8];
//! assert_eq!(receiver.read(&mut bytes).await?, 5);
//! assert_eq!(receiver.read(&mut bytes).await?, 0);
//! # std::io::Result::Ok(())
//! # }).unwrap();
//! ```

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

use crate::bytes::{ReadCalls, Reader, WriteCalls, Writer};
use crate::descriptor::descriptor;
use crate::source::Async;

/// A new anonymous pipe, for this process and those that inherit an end from it.
///
/// # Errors
///
/// The system's, for example when the process is out of descriptors, or the driver's if the ends
/// cannot be registered. In a simulation, which has no pipes.
///
/// # Examples
///
/// ```
/// use heist_io_driver::pipe;
///
/// # futures_lite::future::block_on(async {
/// let (sender, receiver) = pipe::pipe()?;
/// sender.write_all(b"hello").await?;
/// let mut bytes = [0; 5];
/// receiver.read_exact(&mut bytes).await?;
/// assert_eq!(&bytes, b"hello");
/// # std::io::Result::Ok(())
/// # }).unwrap();
/// ```
#[doc(alias = "os.pipe")]
pub fn pipe() -> io::Result<(Sender, Receiver)> {
    let (sender, receiver) = Async::pair_of_kernel(|| {
        let (reader, writer) = io::pipe()?;
        Ok((writer.into(), reader.into()))
    })?;
    Ok((Sender { io: sender }, Receiver { io: receiver }))
}

/// The end of a pipe that is written to.
///
/// Dropping it ends the pipe for the reader, when it was the last. Closing it through the I/O
/// traits does nothing: several may write to one pipe.
#[doc(alias = "connect_write_pipe")]
#[doc(alias = "WriteTransport")]
pub struct Sender {
    io: Async<OwnedFd>,
}

/// The end of a pipe that is read from.
#[doc(alias = "connect_read_pipe")]
#[doc(alias = "ReadTransport")]
pub struct Receiver {
    io: Async<OwnedFd>,
}

macro_rules! end {
    ($end:ident, $otherwise:ident, $wrong:literal) => {
        impl $end {
            /// Takes over an end of a pipe, and makes it non-blocking: for everybody who shares
            /// what it opened, a child process for example that inherited it.
            ///
            /// # Errors
            ///
            /// `InvalidInput` if it is no pipe, or the wrong end of one; or the driver's, if it
            /// cannot be registered.
            ///
            /// # Examples
            ///
            /// ```
            /// use heist_io_driver::pipe::Sender;
            ///
            /// let (reader, writer) = std::io::pipe()?;
            /// assert!(Sender::from_owned_fd(reader.into()).is_err()); // the wrong end
            /// let sender = Sender::from_owned_fd(writer.into())?;
            /// # drop(sender);
            /// # Ok::<(), std::io::Error>(())
            /// ```
            pub fn from_owned_fd(fd: OwnedFd) -> io::Result<$end> {
                let io = Async::of_kernel(|| {
                    let fd = a_pipe(fd)?;
                    match rustix::fs::fcntl_getfl(&fd)? & OFlags::RWMODE == OFlags::$otherwise {
                        true => Err(io::Error::new(io::ErrorKind::InvalidInput, $wrong)),
                        false => Ok(fd),
                    }
                })?;
                Ok($end { io })
            }

            /// Gives the descriptor back, still non-blocking.
            ///
            /// # Errors
            ///
            /// The driver's if it cannot be deregistered.
            pub fn into_nonblocking_fd(self) -> io::Result<OwnedFd> {
                self.io.into_inner()
            }

            /// Gives the descriptor back, blocking: as other programs expect their standard streams
            /// to be.
            ///
            /// # Errors
            ///
            /// The driver's if it cannot be deregistered, or the system's.
            pub fn into_blocking_fd(self) -> io::Result<OwnedFd> {
                let fd = self.io.into_inner()?;
                rustix::io::ioctl_fionbio(&fd, false)?;
                Ok(fd)
            }
        }

        descriptor!($end, it => it.io.get_ref());
    };
}

end!(Sender, RDONLY, "this end of the pipe is only read from");
end!(Receiver, WRONLY, "this end of the pipe is only written to");

fn a_pipe(fd: OwnedFd) -> io::Result<OwnedFd> {
    let file = File::from(fd);
    match file.metadata()?.file_type().is_fifo() {
        true => Ok(file.into()),
        false => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "not a pipe: use `Async` for other descriptors that can be polled",
        )),
    }
}

/// How a named pipe (FIFO) is opened. Opening does not wait.
///
/// # Examples
///
/// ```no_run
/// use heist_io_driver::pipe;
///
/// # async fn example() -> std::io::Result<()> {
/// // mkfifo /run/example
/// let receiver = pipe::OpenOptions::new().open_receiver("/run/example")?;
/// let mut bytes = [0; 64];
/// loop {
///     match receiver.read(&mut bytes).await? {
///         0 => break, // the last sender has closed it
///         n => println!("{n} bytes"),
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct OpenOptions {
    read_write: bool,
}

impl OpenOptions {
    /// The defaults: each end in its own direction alone.
    #[must_use]
    pub fn new() -> OpenOptions {
        OpenOptions::default()
    }

    /// Opens the pipe in both directions, which POSIX leaves undefined and Linux has: a sender can
    /// then be opened before there is a receiver, and a receiver never reads the end of the pipe
    /// when a sender goes.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub fn read_write(&mut self, both: bool) -> &mut OpenOptions {
        self.read_write = both;
        self
    }

    /// Opens a pipe to read from. The first read waits for a sender; when the last sender has gone,
    /// reads return 0, and bytes again when another comes.
    ///
    /// # Errors
    ///
    /// `NotFound`, `PermissionDenied` or another of the system's; `InvalidInput` if the file is no
    /// pipe; the driver's if it cannot be registered.
    pub fn open_receiver<P: AsRef<Path>>(&self, path: P) -> io::Result<Receiver> {
        let io = self.open(path.as_ref(), true, self.read_write)?;
        // To read from a pipe that nobody has opened yet is to read its end. A sender that comes is
        // an event.
        io.await_beginning();
        Ok(Receiver { io })
    }

    /// Opens a pipe to write to.
    ///
    /// # Errors
    ///
    /// `NotFound`, `PermissionDenied` or another of the system's (`ENXIO` if nobody has it open for
    /// reading); `InvalidInput` if the file is no pipe; the driver's if it cannot be registered.
    pub fn open_sender<P: AsRef<Path>>(&self, path: P) -> io::Result<Sender> {
        let io = self.open(path.as_ref(), self.read_write, true)?;
        Ok(Sender { io })
    }

    fn open(&self, path: &Path, read: bool, write: bool) -> io::Result<Async<OwnedFd>> {
        Async::of_kernel(|| {
            let file = std::fs::OpenOptions::new()
                .read(read)
                .write(write)
                // Else opening waits for the other end.
                .custom_flags(OFlags::NONBLOCK.bits() as _)
                .open(path)?;
            a_pipe(file.into())
        })
    }
}

impl ReadCalls for OwnedFd {
    /// A read stops at the end of a packet, in a pipe of packets (`O_DIRECT`).
    const DRAINS: bool = false;

    fn recv(&self, buf: &mut [MaybeUninit<u8>]) -> io::Result<usize> {
        let (initialised, _) = rustix::io::read(self, buf)?;
        Ok(initialised.len())
    }

    fn recv_vectored(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        Ok(rustix::io::readv(self, bufs)?)
    }
}

impl WriteCalls for OwnedFd {
    fn send(&self, buf: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::write(self, buf)?)
    }

    fn send_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        Ok(rustix::io::writev(self, bufs)?)
    }

    fn end(&self) -> io::Result<()> {
        Ok(())
    }
}

impl Reader for Receiver {
    type Calls = OwnedFd;

    fn read_end(&self) -> &Async<OwnedFd> {
        &self.io
    }
}

impl Writer for Sender {
    type Calls = OwnedFd;

    fn write_end(&self) -> &Async<OwnedFd> {
        &self.io
    }
}
