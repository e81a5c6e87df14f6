//! The futures of [`Async`]: try, wait, try again.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::adapter::Async;
use crate::leaf::{self, Leaf};
use crate::readiness::{Direction, Place};
use crate::sys::AsSource;

/// The future of [`Async::readable`] and [`Async::writable`].
pub type Ready<'a, T> = TryIo<'a, T, fn(&T) -> io::Result<()>, ()>;

/// For byte streams: how much the operation may transfer, and how to tell how much it did. Less
/// means that the next one would block.
pub(super) type Amount<R> = Option<(usize, fn(&R) -> usize)>;

/// The future of [`Async::read_with`] and its like: tries an operation until it does not block.
///
/// Any number of them may wait on one source. It keeps its result where it was while a cancel is
/// being delivered (see [`leaf`]), and gives up its place among the waiters when dropped.
#[must_use = "futures do nothing unless awaited"]
pub struct TryIo<'a, T: AsSource, F, R> {
    io: &'a Async<T>,
    operation: F,
    direction: Direction,
    amount: Amount<R>,
    leaf: Leaf,
    place: Option<usize>,
}

impl<'a, T: AsSource, F, R> TryIo<'a, T, F, R> {
    pub(super) fn new(
        io: &'a Async<T>,
        direction: Direction,
        amount: Amount<R>,
        operation: F,
    ) -> TryIo<'a, T, F, R> {
        TryIo {
            io,
            operation,
            direction,
            amount,
            leaf: Leaf::new(),
            place: None,
        }
    }
}

/// Nothing in it is pinned: the operation is only called through a reference.
impl<T: AsSource, F, R> Unpin for TryIo<'_, T, F, R> {}

impl<T: AsSource, F, R> Future for TryIo<'_, T, F, R>
where
    F: FnMut(&T) -> io::Result<R>,
{
    type Output = io::Result<R>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<R>> {
        let this = &mut *self;
        ready!(this.leaf.poll_enter(cx));
        let place = Place::Own(&mut this.place);
        match this
            .io
            .attempt(this.direction, place, this.amount, &mut this.operation, cx)
        {
            Poll::Ready(result) => {
                leaf::spend();
                Poll::Ready(result)
            }
            Poll::Pending => {
                this.leaf.suspend();
                Poll::Pending
            }
        }
    }
}

impl<T: AsSource, F, R> Drop for TryIo<'_, T, F, R> {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.io.leave(self.direction, place);
        }
    }
}

impl<T: AsSource, F, R> fmt::Debug for TryIo<'_, T, F, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TryIo")
            .field("direction", &self.direction)
            .finish_non_exhaustive()
    }
}
