//! Waiting for the end of a child.

use crate::signal::{self, SignalKind, Signals};
#[cfg(target_os = "linux")]
use crate::source::Async;
use rustix::process::{Pid, Signal, kill_process};
use std::io;
use std::process::{Child, ExitStatus};
use std::task::{Context, Poll, ready};

/// A child that was not reaped.
pub(super) struct Running {
    end: End,
    child: Child,
}

/// What says that a child may have ended.
enum End {
    /// A descriptor that is ready from its end on.
    #[cfg(target_os = "linux")]
    Descriptor(Async<std::os::fd::OwnedFd>),
    /// Some child has ended.
    Signal(Signals),
}

impl Running {
    /// If its end cannot be waited for, the child is killed, and reaped.
    pub(super) fn new(mut child: Child) -> io::Result<Self> {
        match End::of(&child) {
            Ok(end) => Ok(Self { end, child }),
            Err(error) => {
                child.kill()?;
                child.wait()?;
                Err(error)
            }
        }
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    pub(super) fn poll_wait(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<ExitStatus>> {
        let Self { end, child } = self;
        match end {
            #[cfg(target_os = "linux")]
            End::Descriptor(descriptor) => descriptor.poll_read_with(cx, |_| {
                let ended = child.try_wait()?;
                ended.ok_or_else(|| io::ErrorKind::WouldBlock.into())
            }),
            End::Signal(signals) => loop {
                if let Some(ended) = child.try_wait()? {
                    return Poll::Ready(Ok(ended));
                }
                // One that came since has been kept.
                ready!(signals.poll_recv(cx))?;
            },
        }
    }

    pub(super) fn kill(&mut self) -> io::Result<()> {
        self.child.kill()
    }

    /// Until it is reaped, which takes `&mut`, its number is nobody else's.
    pub(super) fn signal(&self, kind: SignalKind) -> io::Result<()> {
        let number = i32::try_from(self.id()).ok().and_then(Pid::from_raw);
        match (number, Signal::from_named_raw(kind.as_raw())) {
            (Some(number), Some(signal)) => Ok(kill_process(number, signal)?),
            _ => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    pub(super) fn into_child(self) -> Child {
        self.child
    }
}

impl End {
    fn of(child: &Child) -> io::Result<Self> {
        match Self::descriptor(child)? {
            Some(descriptor) => Ok(descriptor),
            None => signal::signal(SignalKind::CHILD).map(Self::Signal),
        }
    }

    #[cfg(target_os = "linux")]
    fn descriptor(child: &Child) -> io::Result<Option<Self>> {
        use rustix::io::Errno;
        use rustix::process::{PidfdFlags, pidfd_open};
        let Some(number) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) else {
            return Ok(None);
        };
        match pidfd_open(number, PidfdFlags::NONBLOCK) {
            Ok(descriptor) => {
                let descriptor = Async::new_nonblocking(descriptor)?;
                Ok(Some(Self::Descriptor(descriptor)))
            }
            // Older than Linux 5.3 or 5.10, or forbidden here.
            Err(Errno::NOSYS | Errno::INVAL | Errno::PERM) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// There is none.
    #[cfg(not(target_os = "linux"))]
    fn descriptor(_: &Child) -> io::Result<Option<Self>> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::pin::pin;
    use std::sync::Arc;
    use std::task::{Wake, Waker};
    use std::thread::{self, Thread};

    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    /// Where there are no such descriptors; in the driver of last resort.
    #[test]
    fn without_a_descriptor_the_signal_tells() {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        for delay in ["0", "0.01", "0.1"] {
            let end = End::Signal(signal::signal(SignalKind::CHILD).unwrap());
            let mut command = std::process::Command::new("sleep");
            let child = command.arg(delay).spawn().unwrap();
            let mut running = Running { end, child };
            let mut wait = pin!(poll_fn(|cx| running.poll_wait(cx)));
            let ended = loop {
                match wait.as_mut().poll(&mut Context::from_waker(&waker)) {
                    Poll::Ready(ended) => break ended,
                    Poll::Pending => thread::park_timeout(std::time::Duration::from_secs(60)),
                }
            };
            assert!(ended.unwrap().success());
        }
    }
}
