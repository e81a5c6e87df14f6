//! asyncio's streams. What a reader gives, CPython 3.11 was asked for the same data.

use crate::support::{limited, on_each_flavour, threaded, until};
use heist::net::{TcpListener, TcpStream};
use heist::streams::{
    ReadError, Server, StreamReader, StreamWriter, open_connection, start_server,
};
use heist::{Runtime, catch_cancel};
use std::io::{self, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

const LIMIT: usize = 8;

/// A source that gives its chunks one by one, and suspends before each.
struct Chunks {
    chunks: Vec<Vec<u8>>,
    suspended: bool,
}

fn chunks<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Chunks {
    let mut chunks: Vec<_> = chunks.into_iter().map(<[u8]>::to_vec).collect();
    chunks.reverse();
    Chunks {
        chunks,
        suspended: false,
    }
}

impl futures_io::AsyncRead for Chunks {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buf: &mut [u8],
    ) -> std::task::Poll<io::Result<usize>> {
        self.suspended = !self.suspended;
        if self.suspended {
            cx.waker().wake_by_ref();
            return std::task::Poll::Pending;
        }
        let Some(mut chunk) = self.chunks.pop() else {
            return std::task::Poll::Ready(Ok(0));
        };
        let n = chunk.len().min(buf.len());
        buf[..n].copy_from_slice(&chunk[..n]);
        if n < chunk.len() {
            self.chunks.push(chunk.split_off(n));
        }
        std::task::Poll::Ready(Ok(n))
    }
}

#[derive(Clone, Copy)]
enum Call {
    Line,
    Until(&'static str),
    Exactly(usize),
    Read(usize),
}
use Call::{Exactly, Line, Read, Until};

/// What a call gives, as the script that asked CPython wrote it.
async fn given(reader: &mut StreamReader<Chunks>, call: Call) -> String {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let record = match call {
        Line => match reader.readline().await {
            Ok(line) => return text(&line),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::InvalidData);
                return "value".into();
            }
        },
        Read(n) => return text(&reader.read(n).await.unwrap()),
        Until(separator) => reader.read_until(separator.as_bytes()).await,
        Exactly(n) => reader.read_exactly(n).await,
    };
    match record {
        Ok(record) => text(&record),
        Err(ReadError::Incomplete { partial, expected }) => {
            format!("incomplete {} {expected:?}", text(&partial))
        }
        Err(ReadError::Limit { consumed }) => format!("limit {consumed}"),
        Err(error) => io::Error::from(error).kind().to_string(),
    }
}

/// Each: the data, the calls, what they give, and what is left in the buffer.
type Case = (
    &'static str,
    &'static [Call],
    &'static [&'static str],
    &'static str,
);

const CASES: &[Case] = &[
    (
        "one\ntwo\nthree",
        &[Line; 4],
        &["one\n", "two\n", "three", ""],
        "",
    ),
    ("12345678\nx\n", &[Line; 3], &["12345678\n", "x\n", ""], ""),
    ("123456789\nx\n", &[Line; 3], &["value", "x\n", ""], ""),
    ("1234567890123", &[Line; 2], &["value", ""], ""),
    (
        "ab--cd",
        &[Until("--"); 3],
        &["ab--", "incomplete cd None", "incomplete  None"],
        "",
    ),
    ("12345678--", &[Until("--")], &["12345678--"], ""),
    (
        "123456789--",
        &[Until("--"), Exactly(9), Until("--")],
        &["limit 9", "123456789", "--"],
        "",
    ),
    (
        "1234567890-",
        &[Until("--"), Read(100)],
        &["limit 10", "1234567890-"],
        "",
    ),
    (
        "abc",
        &[Exactly(2), Exactly(2), Exactly(0), Exactly(1)],
        &["ab", "incomplete c Some(2)", "", "incomplete  Some(1)"],
        "",
    ),
    (
        "123456789",
        &[Until("---"); 2],
        &["incomplete 123456789 None", "incomplete  None"],
        "",
    ),
    (
        "abc",
        &[Read(0), Read(2), Read(5), Read(5)],
        &["", "ab", "c", ""],
        "",
    ),
    (
        "abc",
        &[Until(""), Read(2)],
        &["invalid input parameter", "ab"],
        "c",
    ),
];

#[test]
fn a_reader_gives_what_asyncios_gives() {
    limited(|| {
        heist::run(async {
            for (data, calls, gives, left) in CASES {
                let mut reader = StreamReader::with_limit(LIMIT, chunks([data.as_bytes()]));
                let mut given_ = Vec::new();
                for call in *calls {
                    given_.push(given(&mut reader, *call).await);
                }
                assert_eq!(given_, *gives, "{data:?}");
                assert_eq!(reader.buffered(), left.as_bytes(), "{data:?}");
            }
        })
        .unwrap();
    });
}

#[test]
fn records_that_come_in_pieces_are_found() {
    limited(|| {
        heist::run(async {
            // Every way to cut the text in three.
            let text = b"one\r\ntwo\r\n\r\nthe body";
            for first in 0..text.len() {
                for second in first..text.len() {
                    let pieces = [&text[..first], &text[first..second], &text[second..]];
                    let pieces = pieces.into_iter().filter(|piece| !piece.is_empty());
                    let mut reader = StreamReader::new(chunks(pieces));
                    let head = reader.read_until(b"\r\n\r\n").await.unwrap();
                    assert_eq!(head, b"one\r\ntwo\r\n\r\n");
                    assert_eq!(reader.read_exactly(3).await.unwrap(), b"the");
                    assert_eq!(reader.read_to_end().await.unwrap(), b" body");
                    assert!(reader.at_eof());
                }
            }
        })
        .unwrap();
    });
}

#[test]
fn a_cancelled_read_loses_nothing() {
    limited(|| {
        heist::run(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let peer = TcpStream::connect(listener.local_addr().unwrap())
                .await
                .unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            let (reader, _writer) = stream.into_split();
            let mut reader = StreamReader::new(reader);
            for part in ["ab", "cd", "ef"] {
                peer.write_all(part.as_bytes()).await.unwrap();
                // It has read the part, and waits for the rest.
                let task = heist::spawn(async move {
                    let cancelled = catch_cancel(reader.readline()).await.unwrap_err();
                    drop(cancelled);
                    reader
                });
                until("suspended", || crate::support::is_suspended(&task));
                task.cancel("enough");
                reader = task.await.unwrap();
            }
            peer.write_all(b"\n").await.unwrap();
            assert_eq!(reader.readline().await.unwrap(), b"abcdef\n");
        })
        .unwrap();
    });
}

/// Bytes of which no two stretches look alike.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n * n / 7 % 251) as u8).collect()
}

/// A connection over loopback: ours, and the peer's socket.
async fn connected() -> (StreamReader, StreamWriter, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (reader, writer) = open_connection(listener.local_addr().unwrap())
        .await
        .unwrap();
    let (peer, _) = listener.accept().await.unwrap();
    (reader, writer, peer)
}

async fn received(peer: TcpStream) -> Vec<u8> {
    let (reader, _writer) = peer.into_split();
    StreamReader::new(reader).read_to_end().await.unwrap()
}

#[test]
fn what_was_written_arrives_though_nobody_drains() {
    const MUCH: usize = 8 << 20;
    limited(|| {
        on_each_flavour(|_, builder| {
            let runtime = builder.build().unwrap();
            runtime
                .block_on(async {
                    let (reader, mut writer, peer) = connected().await;
                    let data = pattern(MUCH);
                    for part in data.chunks(100_000) {
                        writer.write(part).unwrap();
                    }
                    assert!(writer.pending() > 0, "no socket takes so much");
                    // Dropped: closed, and sent nevertheless.
                    drop((reader, writer));
                    assert!(received(peer).await == data);
                })
                .unwrap();
        });
    });
}

#[test]
fn drain_waits_while_too_much_has_not_gone_out_and_may_be_cancelled() {
    limited(|| {
        heist::run(async {
            let (_reader, mut writer, peer) = connected().await;
            let data = pattern(8 << 20);
            writer.write(&data).unwrap();
            let mut drains = heist::spawn(async move {
                let cancelled = catch_cancel(writer.drain()).await.unwrap_err();
                drop(cancelled);
                writer
            });
            until("drain waits", || crate::support::is_suspended(&drains));
            drains.cancel("enough");
            let mut writer = (&mut drains).await.unwrap();
            let receiving = heist::spawn(received(peer));
            writer.drain().await.unwrap();
            assert!(
                writer.pending() <= 16 * 1024,
                "{} are left",
                writer.pending()
            );
            writer.close();
            assert_eq!(
                writer.write(b"x").unwrap_err().kind(),
                ErrorKind::BrokenPipe
            );
            writer.wait_closed().await.unwrap();
            assert!(receiving.await.unwrap() == data);
        })
        .unwrap();
    });
}

#[test]
fn small_writes_cost_no_task_and_their_closing_none() {
    limited(|| {
        let runtime = threaded(1);
        let spawned = runtime
            .run(async {
                let (_reader, mut writer, peer) = connected().await;
                let spawned = || heist::Handle::current().unwrap().audit().accepted;
                let before = spawned();
                writer.write_lines(["a\n", "b\n"]).unwrap();
                writer.drain().await.unwrap();
                writer.close();
                writer.wait_closed().await.unwrap();
                assert_eq!(received(peer).await, b"a\nb\n");
                spawned() - before
            })
            .unwrap();
        assert_eq!(spawned, 0);
    });
}

#[test]
fn a_peer_that_resets_is_an_error_of_the_next_write_and_of_drain() {
    limited(|| {
        heist::run(async {
            let (_reader, mut writer, peer) = connected().await;
            writer.write(&pattern(8 << 20)).unwrap();
            peer.set_linger(Some(Duration::ZERO)).unwrap();
            drop(peer);
            let error = writer.drain().await.unwrap_err();
            assert!(
                matches!(
                    error.kind(),
                    ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
                ),
                "{error}"
            );
            assert_eq!(writer.write(b"more").unwrap_err().kind(), error.kind());
            writer.close();
            assert_eq!(writer.wait_closed().await.unwrap_err().kind(), error.kind());
        })
        .unwrap();
    });
}

#[test]
fn a_shutdown_does_not_wait_for_a_peer_that_never_reads() {
    limited(|| {
        let runtime = threaded(2);
        let (mut writer, _peer, reader) = runtime
            .run(async {
                let (reader, mut writer, peer) = connected().await;
                writer.write(&pattern(8 << 20)).unwrap();
                (writer, peer, reader)
            })
            .unwrap();
        let report = runtime.shutdown(Duration::from_secs(20));
        assert!(report.is_complete(), "{report}");
        let other = threaded(1);
        let error = other.run(async move { writer.drain().await.unwrap_err() });
        assert_eq!(error.unwrap().kind(), ErrorKind::BrokenPipe);
        drop(reader);
    });
}

#[test]
fn a_flusher_that_never_began_is_an_error_too() {
    limited(|| {
        // Nobody runs it: a current-thread runtime, whose `block_on` ends as soon as it is spawned.
        let runtime = heist::Builder::new().current_thread().build().unwrap();
        let (mut writer, _peer) = runtime
            .block_on(async {
                let (_reader, mut writer, peer) = connected().await;
                writer.write(&pattern(8 << 20)).unwrap();
                (writer, peer)
            })
            .unwrap();
        drop(runtime);
        let other = threaded(1);
        let ended = other.run(async move {
            writer.close();
            (writer.drain().await, writer.wait_closed().await)
        });
        let (drained, closed) = ended.unwrap();
        assert_eq!(drained.unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert_eq!(closed.unwrap_err().kind(), ErrorKind::BrokenPipe);
    });
}

/// Takes one byte at every other poll, and panics when it is to take a `!`.
#[derive(Default)]
struct Slow {
    taken: Arc<Mutex<Vec<u8>>>,
    is_ready: bool,
}

impl futures_io::AsyncWrite for Slow {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        assert_ne!(data[0], b'!');
        self.is_ready = !self.is_ready;
        if self.is_ready {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.taken.lock().unwrap().push(data[0]);
        Poll::Ready(Ok(1))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[test]
fn outside_of_a_runtime_a_wait_that_is_dropped_loses_nothing() {
    limited(|| {
        let sink = Slow::default();
        let taken = sink.taken.clone();
        let mut writer = StreamWriter::new(sink);
        writer.write(b"abc").unwrap();
        let cx = &mut Context::from_waker(Waker::noop());
        for _ in 0..2 {
            assert!(pin!(writer.drain()).poll(cx).is_pending());
        }
        writer.write(b"def").unwrap();
        writer.close();
        for _ in 0..2 {
            assert!(pin!(writer.wait_closed()).poll(cx).is_pending());
        }
        let mut closed = pin!(writer.wait_closed());
        let polls = (0..100).map(|_| closed.as_mut().poll(cx));
        let mut ready = polls.skip_while(Poll::is_pending);
        assert!(matches!(ready.next(), Some(Poll::Ready(Ok(())))));
        assert_eq!(*taken.lock().unwrap(), b"abcdef");
    });
}

#[test]
fn a_sink_that_panics_is_an_error_to_who_waits() {
    limited(|| {
        for data in [&b"!"[..], b"a!"] {
            heist::run(async move {
                let mut writer = StreamWriter::new(Slow::default());
                let written = catch_unwind(AssertUnwindSafe(|| writer.write(data)));
                assert_eq!(written.is_err(), data == b"!");
                writer.close();
                let closed = writer.wait_closed().await;
                assert_eq!(closed.unwrap_err().kind(), ErrorKind::BrokenPipe);
                assert_eq!(
                    writer.drain().await.unwrap_err().kind(),
                    ErrorKind::BrokenPipe
                );
            })
            .unwrap();
        }
    });
}

async fn echo(mut reader: StreamReader, mut writer: StreamWriter) -> io::Result<()> {
    loop {
        let line = reader.readline().await?;
        if line.is_empty() {
            return Ok(());
        }
        writer.write(&line)?;
        writer.drain().await?;
    }
}

async fn exchange(server: &Server, text: &str) -> io::Result<String> {
    let (mut reader, mut writer) = open_connection(server.local_addrs()[0]).await?;
    writer.write(text.as_bytes())?;
    writer.close();
    let answer = reader.read_to_end().await?;
    Ok(String::from_utf8(answer).unwrap())
}

#[test]
fn a_server_handles_many_at_once_closes_and_waits_for_them() {
    limited(|| {
        on_each_flavour(|_, builder| {
            let runtime: Runtime = builder.build().unwrap();
            runtime
                .block_on(async {
                    let server = Arc::new(start_server(echo, "127.0.0.1:0").await.unwrap());
                    assert!(server.is_serving());
                    let clients = (0..100).map(|n| {
                        let server = server.clone();
                        heist::spawn(async move {
                            let text = format!("{n}\nmore\n");
                            assert_eq!(exchange(&server, &text).await.unwrap(), text);
                        })
                    });
                    for client in clients.collect::<Vec<_>>() {
                        client.await.unwrap();
                    }
                    // One stays.
                    let (mut reader, mut writer) =
                        open_connection(server.local_addrs()[0]).await.unwrap();
                    writer.write(b"here\n").unwrap();
                    assert_eq!(reader.readline().await.unwrap(), b"here\n");
                    server.close();
                    assert!(!server.is_serving());
                    let closed = heist::spawn({
                        let server = server.clone();
                        async move { server.wait_closed().await }
                    });
                    writer.write(b"still\n").unwrap();
                    assert_eq!(reader.readline().await.unwrap(), b"still\n");
                    assert!(!closed.is_done());
                    drop((reader, writer));
                    closed.await.unwrap();
                    assert_eq!(server.connections(), 0);
                    // The address is free again.
                    let again = start_server(echo, server.local_addrs()[0]).await.unwrap();
                    assert_eq!(exchange(&again, "x\n").await.unwrap(), "x\n");
                })
                .unwrap();
        });
    });
}

#[test]
fn a_handler_that_fails_or_panics_costs_its_own_connection() {
    limited(|| {
        let told = Arc::new(AtomicUsize::new(0));
        let counts = told.clone();
        let runtime = heist::Builder::new()
            .worker_threads(2)
            .exception_handler(move |_| {
                counts.fetch_add(1, SeqCst);
            })
            .build()
            .unwrap();
        runtime
            .run(async {
                let picky = |mut reader: StreamReader, writer| async move {
                    match &*reader.readline().await? {
                        b"panic\n" => panic!("as it was told"),
                        b"fail\n" => Err(io::Error::other("as it was told")),
                        _ => echo(reader, writer).await,
                    }
                };
                let server = start_server(picky, "127.0.0.1:0").await.unwrap();
                assert_eq!(exchange(&server, "panic\n").await.unwrap(), "");
                assert_eq!(exchange(&server, "fail\n").await.unwrap(), "");
                assert_eq!(exchange(&server, "go on\nx\n").await.unwrap(), "x\n");
            })
            .unwrap();
        until("both were told of", || told.load(SeqCst) == 2);
    });
}

#[test]
fn serve_forever_that_is_cancelled_closes_and_waits_before_the_cancellation_goes_on() {
    limited(|| {
        heist::run(async {
            let server = Arc::new(start_server(echo, "127.0.0.1:0").await.unwrap());
            let (mut reader, mut writer) = open_connection(server.local_addrs()[0]).await.unwrap();
            writer.write(b"x\n").unwrap();
            reader.readline().await.unwrap();
            let serving = heist::spawn({
                let server = server.clone();
                async move { server.serve_forever().await }
            });
            until("serving", || crate::support::is_suspended(&serving));
            serving.cancel("enough");
            until("closed", || !server.is_serving());
            assert!(!serving.is_done(), "a connection is there");
            // The handler is asked, and ends.
            server.cancel_connections();
            let error = serving.await.unwrap_err();
            assert_eq!(error.cancel_message(), Some("enough"));
            assert_eq!(server.connections(), 0);
            assert_eq!(reader.readline().await.unwrap(), b"");
        })
        .unwrap();
    });
}

#[test]
fn a_server_that_cannot_listen_is_an_error_and_a_dropped_one_listens_no_more() {
    limited(|| {
        heist::run(async {
            let server = start_server(echo, "127.0.0.1:0").await.unwrap();
            let address = server.local_addrs()[0];
            let error = start_server(echo, address).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::AddrInUse);
            drop(server);
            until("refused", || std::net::TcpStream::connect(address).is_err());
        })
        .unwrap();
    });
}

#[cfg(unix)]
#[test]
fn a_server_on_a_unix_socket_takes_the_place_of_one_that_is_gone() {
    use heist::streams::{UnixStreamReader, UnixStreamWriter};
    use heist::streams::{open_unix_connection, start_unix_server};

    async fn shout(mut reader: UnixStreamReader, mut writer: UnixStreamWriter) -> io::Result<()> {
        let name = heist::current_task().unwrap().name();
        let line = reader.readline().await?;
        writer.write(&line.to_ascii_uppercase())?;
        writer.write(name.as_bytes())?;
        writer.close();
        writer.wait_closed().await
    }
    limited(|| {
        let dir = std::env::temp_dir().join(format!("heist-streams-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let (path, file) = (dir.join("socket"), dir.join("file"));
        let within = dir.clone();
        heist::run(async move {
            for _ in 0..2 {
                let server = start_unix_server(shout, &path).await.unwrap();
                assert!(server.is_serving() && server.local_addrs().is_empty());
                let (mut reader, mut writer) = open_unix_connection(&path).await.unwrap();
                writer.write(b"hello\n").unwrap();
                let answer = reader.read_to_end().await.unwrap();
                let answer = String::from_utf8(answer).unwrap();
                let (line, name) = answer.split_once('\n').unwrap();
                assert_eq!(line, "HELLO");
                assert!(name.starts_with("connection"), "{name}");
                if cfg!(target_os = "linux") {
                    assert!(name.ends_with(&std::process::id().to_string()), "{name}");
                }
                server.close();
                server.wait_closed().await;
                let refused = open_unix_connection(&path).await.unwrap_err();
                assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
            }
            // What is no socket is not taken away.
            std::fs::write(&file, "of somebody").unwrap();
            let error = start_unix_server(shout, &file).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::AddrInUse);
            assert_eq!(std::fs::read(&file).unwrap(), b"of somebody");
            let nowhere = start_unix_server(shout, within.join("no/socket")).await;
            assert_eq!(nowhere.unwrap_err().kind(), ErrorKind::NotFound);
            let long = start_unix_server(shout, within.join("x".repeat(200))).await;
            assert_eq!(long.unwrap_err().kind(), ErrorKind::InvalidInput);
        })
        .unwrap();
        std::fs::remove_dir_all(&dir).unwrap();
    });
}
