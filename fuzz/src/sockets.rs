//! Connections over loopback against streams of bytes: none lost, none twice, none out of order, the end exactly when the writer ended, no
//! operation that does not end though it could, none that ends though it could not, and no descriptor left.
//!
//! Each direction carries bytes that follow from their position, so that a number says what is right. Where a connection is broken (a side
//! was closed before it had read everything) errors are right too, but wrong bytes never are.

mod ends;

use std::future::poll_fn;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::Shutdown;
use std::pin::{Pin, pin};
use std::sync::OnceLock;
use std::task::Poll;
use std::time::Duration;

use arbitrary::{Arbitrary, Unstructured};
use futures_io::{AsyncRead, AsyncWrite};
use heist::net::{Keepalive, TcpListener, TcpSocket, TcpStream};
use heist::{Builder, catch_cancel, spawn, task::yield_now, timeout};

use ends::End;

/// No input does more than this.
const MAX_OPS: usize = 60;

/// What ends at once ends within this, on a machine however busy.
const LIMIT: Duration = Duration::from_secs(8);

/// What must not end is waited for so long.
const MOMENT: Duration = Duration::from_micros(100);

/// No more bytes than this lie in one direction unread, but for what a small buffer takes: so writing them never waits.
const MAX_FLIGHT: u64 = 48 * 1024;

#[derive(Arbitrary, Clone, Copy, Debug)]
enum How {
    Plain,
    Vectored,
    Trait,
    /// Without waiting, and waiting first if there was nothing.
    Try,
}

/// Which connection (bit 1) and which of its sides (bit 0).
#[derive(Clone, Copy, Debug)]
struct Side(usize, usize);

#[derive(Arbitrary, Clone, Debug)]
enum Op {
    Write(Side, u16, How),
    Read(Side, u16, How),
    Peek(Side, u16),
    Readable(Side),
    Writable(Side),
    /// The reader waits before the writer writes.
    ReadThenWrite(Side, u16, u16, How),
    /// As much as this, at both sides at a time: the writer may have to wait for the reader.
    Transfer(Side, u32, u16, How),
    /// Writes until there is no room, and gives up one that waits.
    Fill(Side),
    /// A task reads, and is cancelled.
    CancelRead(Side, u16),
    Shutdown(Side, u8),
    Split(Side),
    Reunite(Side, Side),
    DropReader(Side),
    DropWriter(Side, bool),
    Drop(Side),
    Reset(Side),
    Remake(Side),
    Options(Side, u8),
    Refused,
    Pause(u8),
}

impl<'a> Arbitrary<'a> for Side {
    fn arbitrary(bytes: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let byte = usize::from(u8::arbitrary(bytes)?);
        Ok(Self(byte >> 1 & 1, byte & 1))
    }
}

/// How the runtime and the sockets are made.
#[derive(Arbitrary, Clone, Copy, Debug)]
struct Setup {
    portable: bool,
    small_buffers: bool,
    /// An accept that is given up comes first.
    hasty: bool,
    budget: u8,
}

/// One direction of a connection.
#[derive(Clone, Copy, Debug, Default)]
struct Flow {
    sent: u64,
    got: u64,
    /// The writer said so, or is gone.
    ended: bool,
    /// The reader wants no more.
    deaf: bool,
}

struct Conn {
    /// Each side's end.
    ends: [End; 2],
    /// Each side's incoming bytes.
    flows: [Flow; 2],
    /// Errors are right.
    broken: bool,
}

/// Does what the bytes say on a runtime of its own; no descriptor may be left.
pub fn run(data: &[u8]) {
    static WARM: OnceLock<()> = OnceLock::new();
    // What is opened once for the whole process is not lost.
    WARM.get_or_init(|| execute(&[]));
    let before = descriptors();
    execute(data);
    assert_eq!(descriptors(), before, "descriptors");
}

/// How many there are, where the system says so.
fn descriptors() -> Option<usize> {
    Some(std::fs::read_dir("/proc/self/fd").ok()?.count())
}

fn execute(data: &[u8]) {
    let mut bytes = Unstructured::new(data);
    let Ok(setup) = Setup::arbitrary(&mut bytes) else {
        return;
    };
    let mut ops = Vec::new();
    while ops.len() < MAX_OPS && !bytes.is_empty() {
        let Ok(op) = Op::arbitrary(&mut bytes) else {
            break;
        };
        ops.push(op);
    }
    crate::show(&(setup, &ops));
    let runtime = Builder::new()
        .current_thread()
        .portable_driver(setup.portable)
        .budget(u32::from(setup.budget))
        .slow_poll_threshold(Duration::MAX)
        .build()
        .expect("a runtime");
    let main = runtime.block_on(async {
        let main = spawn(async move {
            let mut conns = [Conn::open(setup).await, Conn::open(setup).await];
            for op in ops {
                Conn::apply(&mut conns, op).await;
            }
            for conn in &mut conns {
                conn.finish().await;
            }
        });
        main.await
    });
    if let Ok(Err(error)) = main {
        error.resume();
    }
    let report = runtime.shutdown(LIMIT);
    assert!(report.is_complete(), "{report}");
}

/// The byte that belongs at a position.
fn byte_at(position: u64) -> u8 {
    (position.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8
}

fn bytes_from(position: u64, count: usize) -> Vec<u8> {
    (position..).map(byte_at).take(count).collect()
}

/// Of what must end.
async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    match timeout(LIMIT, future).await {
        Ok(output) => output,
        Err(_) => panic!("hangs: {what}"),
    }
}

/// Both at a time, within one task.
async fn both<A: Future, B: Future>(a: A, b: B) -> (A::Output, B::Output) {
    let (mut a, mut b) = (pin!(a), pin!(b));
    let (mut a_out, mut b_out) = (None, None);
    poll_fn(|cx| {
        if a_out.is_none()
            && let Poll::Ready(output) = a.as_mut().poll(cx)
        {
            a_out = Some(output);
        }
        if b_out.is_none()
            && let Poll::Ready(output) = b.as_mut().poll(cx)
        {
            b_out = Some(output);
        }
        match (a_out.take(), b_out.take()) {
            (Some(a), Some(b)) => Poll::Ready((a, b)),
            (a, b) => {
                (a_out, b_out) = (a, b);
                Poll::Pending
            }
        }
    })
    .await
}

async fn read(stream: &TcpStream, buf: &mut [u8], how: How) -> io::Result<usize> {
    match how {
        How::Plain | How::Trait => stream.read(buf).await,
        How::Vectored => {
            let (a, b) = buf.split_at_mut(buf.len() / 3);
            let mut bufs = [
                IoSliceMut::new(&mut []),
                IoSliceMut::new(a),
                IoSliceMut::new(b),
            ];
            stream.read_vectored(&mut bufs).await
        }
        How::Try => loop {
            match stream.try_read(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    stream.readable().await?
                }
                result => return result,
            }
            yield_now().await;
        },
    }
}

async fn write(stream: &TcpStream, buf: &[u8], how: How) -> io::Result<usize> {
    match how {
        How::Plain | How::Trait => stream.write(buf).await,
        How::Vectored => {
            let (a, b) = buf.split_at(buf.len() / 3);
            let bufs = [IoSlice::new(&[]), IoSlice::new(a), IoSlice::new(b)];
            stream.write_vectored(&bufs).await
        }
        How::Try => loop {
            match stream.try_write(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    stream.writable().await?
                }
                result => return result,
            }
            yield_now().await;
        },
    }
}

/// Writes all, as far as it goes without an error.
async fn write_all(stream: &TcpStream, buf: &[u8], how: How) -> (usize, io::Result<()>) {
    let mut written = 0;
    while written < buf.len() {
        match write(stream, &buf[written..], how).await {
            Ok(0) => return (written, Err(io::ErrorKind::WriteZero.into())),
            Ok(n) => written += n,
            Err(error) => return (written, Err(error)),
        }
    }
    (written, Ok(()))
}

impl Conn {
    async fn open(setup: Setup) -> Self {
        let listener = TcpSocket::new_v4().expect("a socket");
        if setup.small_buffers {
            listener.set_recv_buffer_size(4096).expect("a buffer size");
        }
        listener.bind(([127, 0, 0, 1], 0).into()).expect("bound");
        let listener = listener.listen(4).expect("listens");
        let address = listener.local_addr().expect("an address");
        if setup.hasty {
            let hasty = timeout(Duration::ZERO, listener.accept()).await;
            assert!(hasty.is_err(), "accepted nobody");
        }
        let connect = async {
            let socket = TcpSocket::new_v4()?;
            if setup.small_buffers {
                socket.set_send_buffer_size(4096)?;
                socket.set_recv_buffer_size(4096)?;
            }
            socket.connect(address).await
        };
        let (client, server) = soon("connect", both(connect, listener.accept())).await;
        let client = client.expect("connected");
        let (server, peer) = server.expect("accepted");
        assert_eq!(client.local_addr().expect("an address"), peer);
        Self {
            ends: [End::Whole(client), End::Whole(server)],
            flows: [Flow::default(); 2],
            broken: false,
        }
    }

    async fn apply(conns: &mut [Self; 2], op: Op) {
        match op {
            Op::Write(Side(conn, side), count, how) => conns[conn].write(side, count, how).await,
            Op::Read(Side(conn, side), count, how) => conns[conn].read(side, count, how).await,
            Op::Peek(Side(conn, side), count) => conns[conn].peek(side, count).await,
            Op::Readable(Side(conn, side)) => conns[conn].readable(side).await,
            Op::Writable(Side(conn, side)) => conns[conn].writable(side).await,
            Op::ReadThenWrite(Side(conn, side), room, count, how) => {
                conns[conn].read_then_write(side, room, count, how).await;
            }
            Op::Transfer(Side(conn, side), count, room, how) => {
                conns[conn].transfer(side, count, room, how).await;
            }
            Op::Fill(Side(conn, side)) => conns[conn].fill(side).await,
            Op::CancelRead(Side(conn, side), room) => conns[conn].cancel_read(side, room).await,
            Op::Shutdown(Side(conn, side), how) => conns[conn].shutdown(side, how),
            Op::Split(Side(conn, side)) => conns[conn].ends[side].split(),
            Op::Reunite(Side(conn, side), Side(other, its)) => {
                if (conn, side) == (other, its) {
                    conns[conn].ends[side].reunite();
                } else {
                    let mut one = conns[conn].ends[side].take();
                    let another = &mut conns[other].ends[its];
                    one.reunite_wrongly(another);
                    conns[conn].ends[side] = one;
                }
            }
            Op::DropReader(Side(conn, side)) => {
                let conn = &mut conns[conn];
                if conn.ends[side].drop_reader() {
                    conn.closed(side);
                }
            }
            Op::DropWriter(Side(conn, side), forget) => {
                let conn = &mut conns[conn];
                let had_writer = conn.ends[side].writer().is_some();
                if conn.ends[side].drop_writer(forget) {
                    conn.closed(side);
                } else if had_writer && conn.ends[side].writer().is_none() && !forget {
                    conn.flows[1 - side].ended = true;
                    conn.look_for_reset();
                }
            }
            Op::Drop(Side(conn, side)) => {
                if !conns[conn].ends[side].is_gone() {
                    conns[conn].closed(side);
                    conns[conn].ends[side] = End::Gone;
                }
            }
            Op::Reset(Side(conn, side)) => {
                let conn = &mut conns[conn];
                if let Some(stream) = conn.ends[side].any() {
                    stream.set_linger(Some(Duration::ZERO)).expect("an option");
                    conn.ends[side] = End::Gone;
                    conn.closed(side);
                    conn.broken = true;
                }
            }
            Op::Remake(Side(conn, side)) => conns[conn].ends[side].remake(),
            Op::Options(Side(conn, side), value) => conns[conn].options(side, value),
            Op::Refused => refused().await,
            Op::Pause(n) => {
                for _ in 0..n % 4 {
                    yield_now().await;
                }
            }
        }
    }

    /// A side was closed as a whole: whoever had bytes for it hears a reset.
    fn closed(&mut self, side: usize) {
        self.flows[1 - side].ended = true;
        let incoming = &mut self.flows[side];
        self.broken |= incoming.sent > incoming.got || incoming.deaf;
        incoming.deaf = true;
    }

    /// A side that neither reads nor writes any more answers what still comes with a reset.
    fn look_for_reset(&mut self) {
        for (incoming, outgoing) in [(0, 1), (1, 0)] {
            let (incoming, outgoing) = (self.flows[incoming], self.flows[outgoing]);
            self.broken |= incoming.deaf && outgoing.ended && incoming.sent > incoming.got;
        }
    }

    /// Whether reading has something to tell.
    fn has_news(&self, side: usize) -> bool {
        let flow = self.flows[side];
        flow.sent > flow.got || flow.ended || flow.deaf || self.broken
    }

    /// The bytes were read: they must be those that come next.
    fn got(&mut self, side: usize, read: io::Result<usize>, buf: &[u8]) {
        let flow = &mut self.flows[side];
        let left = flow.sent - flow.got;
        match read {
            Ok(0) if buf.is_empty() => {}
            Ok(0) => {
                let is_end = flow.ended && left == 0;
                assert!(
                    is_end || flow.deaf || self.broken,
                    "ended with {left} to come: {flow:?}"
                );
            }
            Ok(n) => {
                assert!(n as u64 <= left, "{n} bytes where there were {left}");
                assert_eq!(buf[..n], bytes_from(flow.got, n), "bytes at {}", flow.got);
                flow.got += n as u64;
            }
            Err(error) => assert!(self.broken, "{error} of {flow:?}"),
        }
    }

    /// So many were written.
    fn put(&mut self, side: usize, count: usize, result: io::Result<()>) {
        let flow = &mut self.flows[1 - side];
        let ended = flow.ended;
        flow.sent += count as u64;
        assert!(count == 0 || !ended, "written after the end");
        self.look_for_reset();
        if let Err(error) = result {
            assert!(ended || self.broken, "{error}");
        }
    }

    /// How many bytes may be written without having to wait.
    fn room(&self, side: usize, count: u64) -> usize {
        let flow = self.flows[1 - side];
        count.min(MAX_FLIGHT.saturating_sub(flow.sent - flow.got)) as usize
    }

    async fn write(&mut self, side: usize, count: u16, how: How) {
        let count = self.room(side, count.into());
        let bytes = bytes_from(self.flows[1 - side].sent, count);
        let Some(writer) = self.ends[side].writer() else {
            return;
        };
        // With small buffers it may have to wait, and nobody reads.
        let written = match how {
            How::Trait => self.ends[side].write_as_trait(&bytes).await,
            how => timeout(MOMENT, write(writer, &bytes, how)).await,
        };
        match written {
            Ok(Ok(n)) => {
                assert!(
                    n <= count && (n > 0 || count == 0),
                    "{n} of {count} written"
                );
                self.put(side, n, Ok(()));
            }
            Ok(Err(error)) => self.put(side, 0, Err(error)),
            Err(_) => {}
        }
    }

    async fn read(&mut self, side: usize, count: u16, how: How) {
        let mut buf = vec![0; usize::from(count)];
        let has_news = self.has_news(side) || buf.is_empty();
        let Some(reader) = self.ends[side].reader() else {
            return;
        };
        let read = match (how, has_news) {
            (How::Trait, true) => soon("poll_read", self.ends[side].read_as_trait(&mut buf)).await,
            (how, true) => soon("read", read(reader, &mut buf, how)).await,
            (how, false) => {
                let early = timeout(MOMENT, read(reader, &mut buf, how)).await;
                assert!(early.is_err(), "read nothing: {early:?}");
                return;
            }
        };
        self.got(side, read, &buf);
    }

    async fn peek(&mut self, side: usize, count: u16) {
        let mut buf = vec![0; usize::from(count)];
        let has_news = self.has_news(side) || buf.is_empty();
        let Some(reader) = self.ends[side].reader() else {
            return;
        };
        if has_news {
            let seen = soon("peek", reader.peek(&mut buf)).await;
            // It comes again.
            let before = self.flows[side].got;
            self.got(side, seen, &buf);
            self.flows[side].got = before;
        } else {
            let early = timeout(MOMENT, reader.peek(&mut buf)).await;
            assert!(early.is_err(), "saw nothing: {early:?}");
        }
    }

    async fn readable(&mut self, side: usize) {
        let has_news = self.has_news(side);
        if let Some(reader) = self.ends[side].reader() {
            if has_news {
                soon("readable", reader.readable())
                    .await
                    .expect("the driver is there");
            } else {
                // It may be so without a reason.
                let _ = timeout(MOMENT, reader.readable()).await;
            }
        }
    }

    async fn writable(&mut self, side: usize) {
        if let Some(writer) = self.ends[side].writer() {
            // With small buffers there may be no room.
            let _ = timeout(MOMENT, writer.writable()).await;
        }
    }

    async fn read_then_write(&mut self, side: usize, room: u16, count: u16, how: How) {
        let count = self.room(1 - side, u64::from(count % 2048) + 1);
        let bytes = bytes_from(self.flows[side].sent, count);
        let mut buf = vec![0; usize::from(room) + 1];
        let (Some(reader), Some(writer)) = (self.ends[side].reader(), self.ends[1 - side].writer())
        else {
            return;
        };
        if count == 0 {
            return;
        }
        let had_news = self.has_news(side);
        let reads = read(reader, &mut buf, how);
        let writes = async {
            yield_now().await;
            let mut writing = pin!(writer.write(&bytes));
            let mut written = timeout(MOMENT, writing.as_mut()).await;
            if written.is_err() && !had_news {
                // The reader waits for it.
                written = Ok(writing.await);
            }
            written
        };
        let (read, written) = soon("a read and a write", both(reads, writes)).await;
        match written {
            Ok(Ok(n)) => self.put(1 - side, n, Ok(())),
            Ok(Err(error)) => self.put(1 - side, 0, Err(error)),
            Err(_) => {}
        }
        self.got(side, read, &buf);
    }

    /// From `side` to the other, all there is, by a writer and a reader at a time.
    async fn transfer(&mut self, side: usize, count: u32, room: u16, how: How) {
        let flow = self.flows[1 - side];
        if self.broken || flow.ended || flow.deaf {
            return;
        }
        let count = count as usize % 300_000;
        let bytes = bytes_from(flow.sent, count);
        let expected = bytes_from(flow.got, (flow.sent - flow.got) as usize + count);
        let (Some(writer), Some(reader)) = (self.ends[side].writer(), self.ends[1 - side].reader())
        else {
            return;
        };
        let writes = write_all(writer, &bytes, how);
        let reads = async {
            let mut got = Vec::new();
            let mut buf = vec![0; usize::from(room) + 256];
            while got.len() < expected.len() {
                match read(reader, &mut buf, how).await {
                    Ok(0) => break,
                    Ok(n) => got.extend_from_slice(&buf[..n]),
                    Err(error) => panic!("{error} after {} bytes", got.len()),
                }
            }
            got
        };
        let ((written, result), got) = soon("a transfer", both(writes, reads)).await;
        result.expect("a connection in order");
        assert_eq!(written, count);
        assert!(
            got == expected,
            "{} bytes, not the {}",
            got.len(),
            expected.len()
        );
        let flow = &mut self.flows[1 - side];
        flow.sent += count as u64;
        flow.got = flow.sent;
    }

    async fn fill(&mut self, side: usize) {
        let flow = self.flows[1 - side];
        if self.broken || flow.ended || flow.deaf {
            return;
        }
        let bytes = bytes_from(flow.sent, 1 << 20);
        let Some(writer) = self.ends[side].writer() else {
            return;
        };
        let mut filled = 0;
        let is_full = loop {
            match writer.try_write(&bytes[filled..]) {
                Ok(0) => break false,
                Ok(n) => filled += n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break true,
                Err(error) => panic!("{error} after {filled} bytes"),
            }
        };
        if is_full {
            // Whether it waits or finds that some room has come: the result says how much was written.
            if let Ok(result) = timeout(MOMENT, writer.write(&bytes[filled..])).await {
                filled += result.expect("a connection in order");
            }
        }
        self.flows[1 - side].sent += filled as u64;
    }

    async fn cancel_read(&mut self, side: usize, room: u16) {
        let end = self.ends[side].take();
        if end.reader().is_none() {
            self.ends[side] = end;
            return;
        }
        let mut buf = vec![0; usize::from(room)];
        let task = spawn(async move {
            let reader = end.reader().expect("asked before");
            let read = catch_cancel(reader.read(&mut buf)).await;
            (end, read, buf)
        });
        yield_now().await;
        task.cancel(None);
        soon("a cancelled read", task.ended()).await;
        match task.await {
            Ok((end, read, buf)) => {
                self.ends[side] = end;
                if let Ok(read) = read {
                    assert!(
                        self.has_news(side) || buf.is_empty(),
                        "read nothing: {read:?}"
                    );
                    self.got(side, read, &buf);
                }
            }
            // It had read, and then met the request: its value is dropped, the end of the connection in it.
            Err(error) => {
                assert!(error.is_cancelled(), "{error}");
                self.closed(side);
                self.broken = true;
            }
        }
    }

    fn shutdown(&mut self, side: usize, how: u8) {
        let how = match how % 3 {
            0 => Shutdown::Read,
            1 => Shutdown::Write,
            _ => Shutdown::Both,
        };
        let Some(stream) = self.ends[side].any() else {
            return;
        };
        match stream.shutdown(how) {
            Ok(()) => {}
            Err(error) => {
                let is_over = self.flows.iter().all(|flow| flow.ended);
                assert!(is_over || self.broken, "shutdown: {error}");
            }
        }
        if how != Shutdown::Read {
            self.flows[1 - side].ended = true;
        }
        if how != Shutdown::Write {
            self.flows[side].deaf = true;
        }
        self.look_for_reset();
    }

    fn options(&mut self, side: usize, value: u8) {
        let Some(stream) = self.ends[side].any() else {
            return;
        };
        // Some systems refuse them where the connection is gone.
        if self.broken || self.flows.iter().any(|flow| flow.ended || flow.deaf) {
            let _ = stream.set_nodelay(true);
            return;
        }
        let on = value & 1 == 1;
        stream.set_nodelay(on).expect("an option");
        assert_eq!(stream.nodelay().expect("an option"), on);
        let ttl = u32::from(value.max(1));
        stream.set_ttl(ttl).expect("an option");
        assert_eq!(stream.ttl().expect("an option"), ttl);
        let keepalive = on.then(|| Keepalive::new().idle(Duration::from_secs(60)));
        stream.set_keepalive(keepalive).expect("an option");
        assert_eq!(stream.keepalive().expect("an option"), on);
        assert!(stream.take_error().expect("an option").is_none());
    }

    /// Reads what is left, to the end, and closes.
    async fn finish(&mut self) {
        for side in [0, 1] {
            if !self.flows[1 - side].ended
                && let Some(writer) = self.ends[side].writer()
            {
                let ended = writer.shutdown(Shutdown::Write);
                assert!(ended.is_ok() || self.broken, "{ended:?}");
                self.flows[1 - side].ended = true;
                self.look_for_reset();
            }
        }
        for side in [0, 1] {
            let flow = self.flows[side];
            if flow.deaf || self.broken || !flow.ended {
                continue;
            }
            let mut buf = vec![0; 10_000];
            while let Some(reader) = self.ends[side].reader() {
                let read = soon("the last read", reader.read(&mut buf)).await;
                let is_end = matches!(read, Ok(0) | Err(_));
                self.got(side, read, &buf);
                if is_end {
                    break;
                }
            }
        }
        for end in &mut self.ends {
            if let Some(stream) = end.any() {
                // No connection is left to the system to remember.
                let _ = stream.set_linger(Some(Duration::ZERO));
            }
            *end = End::Gone;
        }
    }
}

/// Where nobody listens any more, nobody answers.
async fn refused() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("listens");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let error = soon("a refusal", TcpStream::connect(address)).await;
    assert!(error.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused));
}

impl End {
    async fn read_as_trait(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Whole(stream) => poll_fn(|cx| Pin::new(&mut *stream).poll_read(cx, buf)).await,
            Self::Split(reader, _) | Self::Reader(reader) => {
                poll_fn(|cx| Pin::new(&mut *reader).poll_read(cx, buf)).await
            }
            Self::Writer(_) | Self::Gone => unreachable!("asked before"),
        }
    }

    async fn write_as_trait(&mut self, buf: &[u8]) -> Result<io::Result<usize>, heist::Elapsed> {
        timeout(MOMENT, async {
            match self {
                Self::Whole(stream) => {
                    poll_fn(|cx| Pin::new(&mut *stream).poll_write(cx, buf)).await
                }
                Self::Split(_, writer) | Self::Writer(writer) => {
                    poll_fn(|cx| Pin::new(&mut *writer).poll_write(cx, buf)).await
                }
                Self::Reader(_) | Self::Gone => unreachable!("asked before"),
            }
        })
        .await
    }
}
