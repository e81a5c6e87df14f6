//! Standard input: what is read, and who waits for it.
//!
//! ```text
//!   Reader                                  Thread
//!   1  nothing there: want a read,          1  wait until a read is wanted
//!      leave the waker                      2  read, with no lock held
//!   2  woken: look again                    3  put what was read; nothing is wanted; wake all
//! ```
//!
//! Both under one lock but for the read itself, so no wish and no byte is missed.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, Read};
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::{fmt, thread};

use parking_lot::{Condvar, Mutex};
use slab::Slab;

use crate::batch::WakeBatch;
use crate::fork;
use crate::leaf::{self, Leaf};
use crate::offload::{copy_to, poll_io_traits, uninterrupted};
use crate::sys;

/// How much one read takes at most: as much as a pipe of Linux's holds.
const PIECE: usize = 64 << 10;

static INPUT: Input = Input {
    state: Mutex::new(State {
        unread: VecDeque::new(),
        taken: 0,
        end: None,
        wanted: false,
        waiting: Slab::new(),
        thread_of: None,
    }),
    wish: Condvar::new(),
};

struct Input {
    state: Mutex<State>,
    /// Notified, under `state`, when a read is wanted.
    wish: Condvar,
}

struct State {
    unread: VecDeque<u8>,
    /// How many bytes have been taken out of `unread` so far.
    taken: u64,
    /// The end of the input, or an error, behind what is unread. For the first who gets there: a terminal
    /// may go on after its end.
    end: Option<io::Result<()>>,
    wanted: bool,
    /// A place for each [`Stdin`] that has waited.
    waiting: Slab<Option<Waker>>,
    /// The generation of the process in which there is a thread. A forked child has none.
    thread_of: Option<u64>,
}

/// The process's standard input.
///
/// Any number of these may be made; all read the same bytes, each byte once. Mixing it with
/// [`std::io::stdin`] works as far as that no byte is read twice.
///
/// # Examples
///
/// ```no_run
/// # async fn example() -> std::io::Result<()> {
/// let mut name = String::new();
/// heist_io_driver::stdio::stdin().read_line(&mut name).await?;
/// println!("hello, {}", name.trim_end());
/// # Ok(())
/// # }
/// ```
#[doc(alias = "connect_read_pipe")]
#[must_use]
pub fn stdin() -> Stdin {
    Stdin {
        place: None,
        leaf: Leaf::new(),
    }
}

/// The process's standard input. Returned by [`stdin`].
pub struct Stdin {
    /// Where its waker is left, once it has waited.
    place: Option<usize>,
    leaf: Leaf,
}

impl Stdin {
    /// Reads at most `buf.len()` bytes, and returns how many. 0 is the end of the input, unless `buf` is
    /// empty.
    ///
    /// # Errors
    ///
    /// The system's; the thread that reads could not be started.
    ///
    /// # Cancel safety
    ///
    /// Safe: no byte is lost.
    pub async fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.leaf.reset();
        poll_fn(|cx| self.poll_read_with(cx, buf.len(), copy_to(buf))).await
    }

    /// Reads a line, with its end, behind what `line` has, and returns how many bytes. The last line may
    /// lack an end; 0 is the end of the input.
    ///
    /// # Errors
    ///
    /// `InvalidData` if it is not UTF-8: the line is skipped. Those of [`read`](Self::read).
    ///
    /// # Cancel safety
    ///
    /// Safe: a line is taken as a whole, or not at all.
    #[doc(alias = "readline")]
    pub async fn read_line(&mut self, line: &mut String) -> io::Result<usize> {
        self.leaf.reset();
        let mut searched = 0;
        let bytes = poll_fn(|cx| self.poll_take(cx, |state| state.line(&mut searched))).await?;
        let text = std::str::from_utf8(&bytes)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        line.push_str(text);
        Ok(text.len())
    }

    /// One read, which is handed to `take`: at most `most` bytes.
    fn poll_read_with(
        &mut self,
        cx: &mut Context<'_>,
        most: usize,
        take: impl FnOnce(&[u8]),
    ) -> Poll<io::Result<usize>> {
        if most == 0 {
            return Poll::Ready(Ok(0));
        }
        let bytes = ready!(self.poll_take(cx, |state| state.piece(most)))?;
        take(&bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    /// Takes what there is, or sees to it that there will be something.
    fn poll_take(
        &mut self,
        cx: &mut Context<'_>,
        take: impl FnOnce(&mut State) -> Option<io::Result<Vec<u8>>>,
    ) -> Poll<io::Result<Vec<u8>>> {
        ready!(self.leaf.poll_enter(cx));
        sys::real_world()?;
        // Cloned before the lock is taken, and the old one dropped after it: wakers are foreign
        // code.
        let waker = cx.waker().clone();
        let mut state = INPUT.state.lock();
        if let Some(taken) = take(&mut state) {
            drop(state);
            leaf::spend();
            return Poll::Ready(taken);
        }
        state.want()?;
        let place = *self.place.get_or_insert_with(|| state.waiting.insert(None));
        let old = state.waiting[place].replace(waker);
        drop(state);
        drop(old);
        self.leaf.suspend();
        Poll::Pending
    }
}

impl State {
    /// At most so many bytes; none at the end.
    fn piece(&mut self, most: usize) -> Option<io::Result<Vec<u8>>> {
        if self.unread.is_empty() {
            return self.ended();
        }
        Some(Ok(self.take(self.unread.len().min(most))))
    }

    /// A line; what is left, at the end. `searched` is the position of the first byte that has not been
    /// looked at.
    fn line(&mut self, searched: &mut u64) -> Option<io::Result<Vec<u8>>> {
        let from = searched.saturating_sub(self.taken) as usize;
        let from = from.min(self.unread.len());
        if let Some(at) = self.unread.range(from..).position(|&byte| byte == b'\n') {
            return Some(Ok(self.take(from + at + 1)));
        }
        *searched = self.taken + self.unread.len() as u64;
        match self.end {
            Some(Ok(())) if !self.unread.is_empty() => Some(Ok(self.take(self.unread.len()))),
            _ => self.ended(),
        }
    }

    fn take(&mut self, n: usize) -> Vec<u8> {
        self.taken += n as u64;
        self.unread.drain(..n).collect()
    }

    fn ended(&mut self) -> Option<io::Result<Vec<u8>>> {
        self.end.take().map(|end| end.map(|()| Vec::new()))
    }

    /// Has the thread read, which is started if need be.
    fn want(&mut self) -> io::Result<()> {
        if self.thread_of != Some(fork::generation()) {
            fork::watch();
            thread::Builder::new()
                .name("heist-stdin".to_owned())
                .spawn(serve)?;
            self.thread_of = Some(fork::generation());
        }
        self.wanted = true;
        INPUT.wish.notify_all();
        Ok(())
    }
}

/// The thread.
fn serve() {
    let mut piece = vec![0; PIECE];
    let mut batch = WakeBatch::new();
    loop {
        let mut state = INPUT.state.lock();
        while !state.wanted {
            INPUT.wish.wait(&mut state);
        }
        drop(state);
        let read = uninterrupted(|| io::stdin().read(&mut piece));
        let mut state = INPUT.state.lock();
        state.wanted = false;
        match read {
            Ok(0) => state.end = Some(Ok(())),
            Ok(n) => state.unread.extend(&piece[..n]),
            Err(error) => state.end = Some(Err(error)),
        }
        for (_, waker) in &mut state.waiting {
            if let Some(waker) = waker.take() {
                batch.push(waker);
            }
        }
        drop(state);
        batch.wake_all();
    }
}

impl Drop for Stdin {
    fn drop(&mut self) {
        if let Some(place) = self.place.take() {
            let waker = INPUT.state.lock().waiting.remove(place);
            drop(waker);
        }
    }
}

impl fmt::Debug for Stdin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stdin").finish_non_exhaustive()
    }
}

poll_io_traits!(read Stdin);
