//! A buffer behind anything that can be written, and a task that empties it.
//!
//! Who has the sink in hand writes: the caller of `write`, as long as the sink takes what it is given at once; else the *flusher*, a task that is spawned when the
//! sink has to be waited for, and ends when the buffer is empty. So a connection whose peer keeps up costs no task, and what was written goes out whether anybody
//! drains or not. The sink is foreign code, and is never polled with the lock held.

use crate::sync::Event;
use futures_io::AsyncWrite;
use heist_io_driver::net::OwnedWriteHalf;
use heist_runtime::Handle;
use parking_lot::Mutex;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

/// Beyond so many bytes that have not gone out, `drain` waits: asyncio's default.
const HIGH: usize = 64 * 1024;
/// Until there are no more than this.
const LOW: usize = HIGH / 4;

/// Takes what it is given at once, and sends it in the background. asyncio's `StreamWriter`.
///
/// [`write`](Self::write) never waits; so whoever writes much, or what a peer asked for, awaits [`drain`](Self::drain) in between, which holds a writer up while more than
/// 64 KiB have not gone out. Dropping the writer closes it, as [`close`](Self::close) does.
///
/// What the sink does not take at once is sent by a task of the runtime that the writing code runs in. Outside of one it is sent while [`drain`](Self::drain) or
/// [`wait_closed`](Self::wait_closed) is awaited. A runtime that shuts down does not wait for that task, and code that cancels all tasks cancels it too: await
/// [`wait_closed`](Self::wait_closed) before.
///
/// # Examples
///
/// ```
/// use heist_combinators::streams::StreamWriter;
/// use heist_io_driver::net::{TcpListener, TcpStream};
///
/// # heist_runtime::run(async {
/// let listener = TcpListener::bind("127.0.0.1:0").await?;
/// let (_reader, sink) = TcpStream::connect(listener.local_addr()?).await?.into_split();
/// let mut writer = StreamWriter::new(sink);
/// writer.write(b"a line\n")?;
/// writer.drain().await?;
/// writer.close();
/// writer.wait_closed().await?;
/// # Ok::<_, std::io::Error>(())
/// # }).unwrap().unwrap();
/// ```
pub struct StreamWriter<W: AsyncWrite + Send + Unpin + 'static = OwnedWriteHalf> {
    shared: Arc<Shared<W>>,
}

struct Shared<W> {
    state: Mutex<State<W>>,
    /// Set unless so much waits that `drain` has to.
    resumed: Event,
    /// Set once the sink is gone.
    closed: Event,
}

struct State<W> {
    /// Not there: in somebody's hand, or closed.
    sink: Option<W>,
    /// What has not been given to the sink, but for what the flusher has in hand.
    buffer: Vec<u8>,
    /// How many bytes have not gone out.
    pending: usize,
    /// Nothing is written any more; the sink is closed once the buffer is empty.
    closing: bool,
    /// What the sink failed with.
    failed: Option<(io::ErrorKind, Arc<io::Error>)>,
}

impl<W: AsyncWrite + Send + Unpin + 'static> StreamWriter<W> {
    /// A writer to `sink`.
    pub fn new(sink: W) -> Self {
        let shared = Shared {
            state: Mutex::new(State {
                sink: Some(sink),
                buffer: Vec::new(),
                pending: 0,
                closing: false,
                failed: None,
            }),
            resumed: Event::new(),
            closed: Event::new(),
        };
        shared.resumed.set();
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Sends `data`, at once as far as the sink takes it, and the rest in the background. asyncio's `write`.
    ///
    /// # Errors
    ///
    /// The writer was closed ([`BrokenPipe`](io::ErrorKind::BrokenPipe)), or the sink has failed, now or before.
    pub fn write(&mut self, data: &[u8]) -> io::Result<()> {
        let mut state = self.shared.state.lock();
        state.check()?;
        if state.closing {
            return Err(closed());
        }
        if state.pending == 0
            && let Some(sink) = state.sink.take()
        {
            drop(state);
            let mut hand = self.in_hand(sink);
            let sent = hand.send_now(data);
            state = self.shared.state.lock();
            state.sink = hand.sink.take();
            match sent {
                Ok(sent) => state.add(&data[sent..]),
                Err(error) => {
                    let error = state.fail(error);
                    drop(state);
                    self.shared.resumed.set();
                    return Err(error);
                }
            }
        } else {
            state.add(data);
        }
        if state.pending > HIGH {
            self.shared.resumed.clear();
        }
        let is_stuck = state.pending > 0 && state.sink.is_some();
        drop(state);
        if is_stuck {
            self.flush_in_background();
        }
        Ok(())
    }

    /// As [`write`](Self::write), one after the other. asyncio's `writelines`.
    ///
    /// # Errors
    ///
    /// As for [`write`](Self::write); those before the one that failed have been written.
    #[doc(alias = "writelines")]
    pub fn write_lines<L: AsRef<[u8]>>(
        &mut self,
        lines: impl IntoIterator<Item = L>,
    ) -> io::Result<()> {
        lines
            .into_iter()
            .try_for_each(|line| self.write(line.as_ref()))
    }

    /// Waits while too much has not gone out: more than 64 KiB, until there are 16. asyncio's `drain`.
    ///
    /// That it returns does not mean that everything has been sent.
    ///
    /// # Errors
    ///
    /// The sink has failed.
    ///
    /// # Cancel safety
    ///
    /// What was written is sent nevertheless.
    pub async fn drain(&mut self) -> io::Result<()> {
        self.flush_without_runtime().await;
        self.shared.resumed.wait().await;
        self.shared.state.lock().check()
    }

    /// Ends the stream for the peer, after what has been written. asyncio's `write_eof`, and its `close`, which for one direction are the same.
    ///
    /// A TCP connection is closed when its reader is gone too.
    #[doc(alias = "write_eof")]
    pub fn close(&mut self) {
        let sink = {
            let mut state = self.shared.state.lock();
            state.closing = true;
            let is_all_sent = state.pending == 0;
            if is_all_sent { state.sink.take() } else { None }
        };
        if let Some(sink) = sink {
            self.close_now(sink);
        }
        self.flush_in_background();
    }

    /// Closes the sink, if that takes no waiting; else puts it back.
    fn close_now(&self, sink: W) {
        let mut hand = self.in_hand(sink);
        let closed = hand.poll_close(&mut Context::from_waker(Waker::noop()));
        let sink = hand.sink.take();
        let mut state = self.shared.state.lock();
        let Poll::Ready(closed) = closed else {
            state.sink = sink;
            return;
        };
        if let Err(error) = closed {
            state.fail(error);
        }
        drop(state);
        drop(sink);
        self.shared.closed.set();
    }

    /// Whether it was closed. asyncio's `is_closing`.
    pub fn is_closing(&self) -> bool {
        self.shared.state.lock().closing
    }

    /// How many bytes have not gone out. asyncio's `transport.get_write_buffer_size`.
    #[doc(alias = "get_write_buffer_size")]
    pub fn pending(&self) -> usize {
        self.shared.state.lock().pending
    }

    /// After [`close`](Self::close): waits until all has been sent, and the sink closed. asyncio's `wait_closed`. For ever, if nobody closes it.
    ///
    /// # Errors
    ///
    /// The sink has failed: not everything was sent.
    ///
    /// # Cancel safety
    ///
    /// It is closed nevertheless.
    pub async fn wait_closed(&mut self) -> io::Result<()> {
        self.flush_without_runtime().await;
        self.shared.closed.wait().await;
        self.shared.state.lock().check()
    }

    /// Spawns the flusher, if the sink is not in its hand already.
    fn flush_in_background(&self) {
        if Handle::current().is_some_and(|handle| !handle.is_shut_down())
            && let Some(sink) = self.shared.state.lock().sink.take()
        {
            let flusher = flush(self.in_hand(sink));
            heist_runtime::task::Builder::new()
                .name("stream-writer")
                .spawn(flusher)
                .detach();
        }
    }

    /// Where no task can be spawned, the caller waits itself.
    async fn flush_without_runtime(&self) {
        if Handle::current().is_none() {
            let sink = self.shared.state.lock().sink.take();
            if let Some(sink) = sink {
                let mut hand = self.in_hand(sink);
                hand.is_lent = true;
                flush(hand).await;
            }
        }
    }

    fn in_hand(&self, sink: W) -> InHand<W> {
        InHand {
            shared: self.shared.clone(),
            sink: Some(sink),
            chunk: Vec::new(),
            sent: 0,
            is_lent: false,
        }
    }
}

impl<W: AsyncWrite + Send + Unpin + 'static> Drop for StreamWriter<W> {
    fn drop(&mut self) {
        self.close();
    }
}

impl<W> State<W> {
    fn check(&self) -> io::Result<()> {
        match &self.failed {
            Some((kind, error)) => Err(io::Error::new(*kind, error.clone())),
            None => Ok(()),
        }
    }

    fn add(&mut self, data: &[u8]) {
        self.buffer.extend_from_slice(data);
        self.pending += data.len();
    }

    fn fail(&mut self, error: io::Error) -> io::Error {
        let kind = error.kind();
        let error = Arc::new(error);
        self.failed = Some((kind, error.clone()));
        (self.buffer, self.pending) = (Vec::new(), 0);
        io::Error::new(kind, error)
    }
}

/// The sink in somebody's hand. If the flusher is dropped at its await, or before it begins (by a runtime that shuts down), or if the sink panics, the sink is gone,
/// and who waits is told.
struct InHand<W> {
    shared: Arc<Shared<W>>,
    sink: Option<W>,
    /// What the flusher sends, and how much of it has been sent.
    chunk: Vec<u8>,
    sent: usize,
    /// Dropped at an await, it goes back with what was not sent: the caller may ask again.
    is_lent: bool,
}

impl<W> Drop for InHand<W> {
    fn drop(&mut self) {
        let Some(sink) = self.sink.take() else { return };
        if self.is_lent && !std::thread::panicking() {
            let mut state = self.shared.state.lock();
            let mut unsent = self.chunk.split_off(self.sent);
            unsent.append(&mut state.buffer);
            state.buffer = unsent;
            state.sink = Some(sink);
            return;
        }
        drop(sink);
        let mut state = self.shared.state.lock();
        state.closing = true;
        state.fail(io::Error::new(
            io::ErrorKind::BrokenPipe,
            "the runtime was shut down before everything was sent, or the sink has panicked",
        ));
        drop(state);
        self.shared.resumed.set();
        self.shared.closed.set();
    }
}

/// Empties the buffer; then, if the writer is closing, closes the sink, else puts it back.
async fn flush<W: AsyncWrite + Send + Unpin + 'static>(mut hand: InHand<W>) {
    let shared = hand.shared.clone();
    loop {
        let is_last = {
            let mut state = shared.state.lock();
            (hand.chunk, hand.sent) = (mem::take(&mut state.buffer), 0);
            let is_last = hand.chunk.is_empty();
            if is_last && !state.closing {
                state.sink = hand.sink.take();
                return;
            }
            is_last
        };
        let done = if is_last {
            poll_fn(|cx| hand.poll_close(cx)).await
        } else {
            poll_fn(|cx| hand.poll_send_all(cx)).await
        };
        let failed = done.is_err();
        if let Err(error) = done {
            shared.state.lock().fail(error);
            shared.resumed.set();
        }
        if is_last || failed {
            drop(hand.sink.take());
            shared.state.lock().closing = true;
            shared.closed.set();
            return;
        }
    }
}

impl<W: AsyncWrite + Unpin> InHand<W> {
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.sink {
            Some(sink) => Pin::new(sink).poll_close(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    /// Sends the chunk, and flushes the sink.
    fn poll_send_all(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(sink) = &mut self.sink else {
            return Poll::Ready(Ok(()));
        };
        while self.sent < self.chunk.len() {
            let sent = ready!(poll_send(sink, cx, &self.chunk[self.sent..]))?;
            self.sent += sent;
            let pending = {
                let mut state = self.shared.state.lock();
                state.pending -= sent;
                state.pending
            };
            if pending <= LOW {
                self.shared.resumed.set();
            }
        }
        Pin::new(sink).poll_flush(cx)
    }

    /// As much as the sink takes without being waited for.
    fn send_now(&mut self, data: &[u8]) -> io::Result<usize> {
        let mut cx = Context::from_waker(Waker::noop());
        let Some(sink) = &mut self.sink else {
            return Ok(0);
        };
        let mut sent = 0;
        while sent < data.len() {
            match poll_send(sink, &mut cx, &data[sent..]) {
                Poll::Ready(more) => sent += more?,
                Poll::Pending => return Ok(sent),
            }
        }
        match Pin::new(sink).poll_flush(&mut cx) {
            Poll::Ready(flushed) => flushed.map(|()| sent),
            Poll::Pending => Ok(sent),
        }
    }
}

fn poll_send<W: AsyncWrite + Unpin>(
    sink: &mut W,
    cx: &mut Context<'_>,
    data: &[u8],
) -> Poll<io::Result<usize>> {
    match Pin::new(sink).poll_write(cx, data) {
        Poll::Ready(Ok(0)) => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
        Poll::Ready(Ok(sent)) if sent > data.len() => {
            let lie = "a writer says that it has written more than it was given";
            Poll::Ready(Err(io::Error::other(lie)))
        }
        sent => sent,
    }
}

fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the writer was closed")
}

impl<W: AsyncWrite + Send + Unpin + 'static> fmt::Debug for StreamWriter<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared.state.lock();
        f.debug_struct("StreamWriter")
            .field("pending", &state.pending)
            .field("closing", &state.closing)
            .finish_non_exhaustive()
    }
}
