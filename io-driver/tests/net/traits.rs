//! The I/O traits: futures-io always, hyper and tokio by feature.

use super::*;

use std::future::poll_fn;
#[cfg(any(feature = "hyper", feature = "tokio-io"))]
use std::mem::MaybeUninit;
use std::pin::Pin;

const TEXT: &[u8] = b"the quick brown fox jumps over the lazy dog";

/// Writes a text to `source` and ends it, and expects to read it from `sink`: `copy` brings it there.
async fn passes(
    copy: impl Future<Output = ()>,
    mut source: impl futures_io::AsyncWrite + Unpin,
    mut sink: impl futures_io::AsyncRead + Unpin,
) {
    let talk = async {
        let mut rest = TEXT;
        while !rest.is_empty() {
            let n = poll_fn(|cx| Pin::new(&mut source).poll_write(cx, rest)).await;
            rest = &rest[n.unwrap()..];
        }
        poll_fn(|cx| Pin::new(&mut source).poll_close(cx))
            .await
            .unwrap();
        // A pipe ends only so.
        drop(source);
        let mut received = Vec::new();
        let mut buf = [0; 7];
        loop {
            match poll_fn(|cx| Pin::new(&mut sink).poll_read(cx, &mut buf)).await {
                Ok(0) => return received,
                Ok(n) => received.extend_from_slice(&buf[..n]),
                Err(error) => panic!("{error}"),
            }
        }
    };
    let ((), received) = join(copy, talk).await;
    assert_eq!(received, TEXT);
}

/// Copies until the end, then closes, in the words of futures-io.
async fn futures_copy(
    mut reader: impl futures_io::AsyncRead + Unpin,
    mut writer: impl futures_io::AsyncWrite + Unpin,
) {
    let (mut a, mut b) = ([0; 3], [0; 2]);
    loop {
        let n = poll_fn(|cx| {
            let mut bufs = [IoSliceMut::new(&mut a), IoSliceMut::new(&mut b)];
            Pin::new(&mut reader).poll_read_vectored(cx, &mut bufs)
        })
        .await
        .unwrap();
        if n == 0 {
            break;
        }
        let all = [a.as_slice(), b.as_slice()].concat();
        let mut rest = &all[..n];
        while !rest.is_empty() {
            let (head, tail) = rest.split_at(rest.len() / 2);
            let bufs = [IoSlice::new(head), IoSlice::new(tail)];
            let n = poll_fn(|cx| Pin::new(&mut writer).poll_write_vectored(cx, &bufs)).await;
            rest = &rest[n.unwrap()..];
        }
        poll_fn(|cx| Pin::new(&mut writer).poll_flush(cx))
            .await
            .unwrap();
    }
    let n = poll_fn(|cx| Pin::new(&mut reader).poll_read(cx, &mut a)).await;
    assert_eq!(n.unwrap(), 0);
    poll_fn(|cx| Pin::new(&mut writer).poll_close(cx))
        .await
        .unwrap();
}

/// The same in hyper's words.
#[cfg(feature = "hyper")]
async fn hyper_copy(
    mut reader: impl hyper::rt::Read + Unpin,
    mut writer: impl hyper::rt::Write + Unpin,
) {
    assert!(writer.is_write_vectored());
    loop {
        let mut memory = [MaybeUninit::uninit(); 5];
        let mut buf = hyper::rt::ReadBuf::uninit(&mut memory);
        poll_fn(|cx| Pin::new(&mut reader).poll_read(cx, buf.unfilled()))
            .await
            .unwrap();
        let mut rest = buf.filled();
        if rest.is_empty() {
            break;
        }
        while !rest.is_empty() {
            let n = poll_fn(|cx| {
                let bufs = [IoSlice::new(&[]), IoSlice::new(rest)];
                Pin::new(&mut writer).poll_write_vectored(cx, &bufs)
            });
            rest = &rest[n.await.unwrap()..];
        }
    }
    poll_fn(|cx| Pin::new(&mut writer).poll_flush(cx))
        .await
        .unwrap();
    poll_fn(|cx| Pin::new(&mut writer).poll_shutdown(cx))
        .await
        .unwrap();
}

/// The same in tokio's words.
#[cfg(feature = "tokio-io")]
async fn tokio_copy(
    mut reader: impl tokio::io::AsyncRead + Unpin,
    mut writer: impl tokio::io::AsyncWrite + Unpin,
) {
    assert!(writer.is_write_vectored());
    loop {
        let mut memory = [MaybeUninit::uninit(); 5];
        let mut buf = tokio::io::ReadBuf::uninit(&mut memory);
        buf.put_slice(b"-");
        poll_fn(|cx| Pin::new(&mut reader).poll_read(cx, &mut buf))
            .await
            .unwrap();
        let mut rest = &buf.filled()[1..];
        if rest.is_empty() {
            break;
        }
        while !rest.is_empty() {
            let n = poll_fn(|cx| Pin::new(&mut writer).poll_write(cx, rest)).await;
            rest = &rest[n.unwrap()..];
        }
    }
    poll_fn(|cx| Pin::new(&mut writer).poll_flush(cx))
        .await
        .unwrap();
    poll_fn(|cx| Pin::new(&mut writer).poll_shutdown(cx))
        .await
        .unwrap();
}

/// A test that a family's copy, with tiny buffers, works with everything that is a byte stream.
macro_rules! every_stream {
    ($test:ident, $copy:ident) => {
        #[test]
        fn $test() {
            on_both_paths(|rig| {
                rig.block_on(async {
                    let ((reader, source), (writer, sink)) = (pair().await, pair().await);
                    passes($copy(reader, writer), source, sink).await;

                    let (stream, client) = pair().await;
                    let (reader, writer) = stream.into_split();
                    let (sink, source) = client.into_split();
                    passes($copy(reader, writer), source, sink).await;

                    let (mut stream, client) = pair().await;
                    let (reader, writer) = stream.split();
                    let (sink, source) = client.into_split();
                    passes($copy(reader, writer), source, sink).await;

                    #[cfg(unix)]
                    {
                        let pair = || UnixStream::pair().unwrap();
                        let ((reader, source), (writer, sink)) = (pair(), pair());
                        passes($copy(reader, writer), source, sink).await;

                        let (stream, client) = pair();
                        let (reader, writer) = stream.into_split();
                        let (sink, source) = client.into_split();
                        passes($copy(reader, writer), source, sink).await;

                        let pipe = || heist_io_driver::pipe::pipe().unwrap();
                        let ((source, reader), (writer, sink)) = (pipe(), pipe());
                        passes($copy(reader, writer), source, sink).await;
                    }
                });
            });
        }
    };
}

every_stream!(futures_io_traits, futures_copy);
#[cfg(feature = "hyper")]
every_stream!(hyper_traits, hyper_copy);
#[cfg(feature = "tokio-io")]
every_stream!(tokio_traits, tokio_copy);

#[test]
fn closing_a_stream_that_is_gone_is_no_error() {
    use futures_io::AsyncWrite;

    on_both_paths(|rig| {
        rig.block_on(async {
            let (server, mut client) = pair().await;
            server.set_linger(Some(Duration::ZERO)).unwrap();
            drop(server);
            client.read(&mut [0]).await.unwrap_err();
            assert_eq!(
                kind(client.shutdown(Shutdown::Write)),
                io::ErrorKind::NotConnected
            );
            let mut cx = Context::from_waker(Waker::noop());
            let closed = Pin::new(&mut client).poll_close(&mut cx);
            assert!(matches!(closed, Poll::Ready(Ok(()))));
        });
    });
}
