//! The I/O traits: futures-io always, hyper and tokio by feature.

use super::*;

/// A stream is used through a trait family by copying what it reads back, with tiny buffers.
async fn traits_echo(echo: impl AsyncFnOnce(TcpStream), bytes: &'static [u8]) {
    let (server, client) = pair().await;
    let talk = async {
        client.write_all(bytes).await.unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut received = Vec::new();
        let mut buf = [0; 7];
        loop {
            match client.read(&mut buf).await.unwrap() {
                0 => return received,
                n => received.extend_from_slice(&buf[..n]),
            }
        }
    };
    let ((), received) = join(echo(server), talk).await;
    assert_eq!(received, bytes);
}

const TEXT: &[u8] = b"the quick brown fox jumps over the lazy dog";

#[test]
fn futures_io_traits() {
    use futures_io::{AsyncRead, AsyncWrite};
    use std::future::poll_fn;
    use std::pin::Pin;

    async fn copy(mut reader: impl AsyncRead + Unpin, mut writer: impl AsyncWrite + Unpin) {
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

    on_both_paths(|rig| {
        rig.block_on(async {
            traits_echo(
                async |stream| {
                    let (reader, writer) = stream.into_split();
                    copy(reader, writer).await;
                },
                TEXT,
            )
            .await;
            traits_echo(
                async |mut stream| {
                    let (reader, writer) = stream.split();
                    copy(reader, writer).await;
                },
                TEXT,
            )
            .await;
        });
    });
}

#[cfg(feature = "hyper")]
#[test]
fn hyper_traits() {
    use hyper::rt::{Read, ReadBuf, Write};
    use std::future::poll_fn;
    use std::mem::MaybeUninit;
    use std::pin::Pin;

    async fn copy(mut stream: impl Read + Write + Unpin) {
        assert!(stream.is_write_vectored());
        loop {
            let mut memory = [MaybeUninit::uninit(); 5];
            let mut buf = ReadBuf::uninit(&mut memory);
            poll_fn(|cx| Pin::new(&mut stream).poll_read(cx, buf.unfilled()))
                .await
                .unwrap();
            let mut rest = buf.filled();
            if rest.is_empty() {
                break;
            }
            while !rest.is_empty() {
                let n = poll_fn(|cx| {
                    let bufs = [IoSlice::new(&[]), IoSlice::new(rest)];
                    Pin::new(&mut stream).poll_write_vectored(cx, &bufs)
                });
                rest = &rest[n.await.unwrap()..];
            }
        }
        poll_fn(|cx| Pin::new(&mut stream).poll_flush(cx))
            .await
            .unwrap();
        poll_fn(|cx| Pin::new(&mut stream).poll_shutdown(cx))
            .await
            .unwrap();
    }
    on_both_paths(|rig| rig.block_on(traits_echo(async |stream| copy(stream).await, TEXT)));
}

#[cfg(feature = "tokio-io")]
#[test]
fn tokio_traits() {
    use std::future::poll_fn;
    use std::mem::MaybeUninit;
    use std::pin::Pin;
    use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

    async fn copy(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        assert!(stream.is_write_vectored());
        loop {
            let mut memory = [MaybeUninit::uninit(); 5];
            let mut buf = ReadBuf::uninit(&mut memory);
            buf.put_slice(b"-");
            poll_fn(|cx| Pin::new(&mut stream).poll_read(cx, &mut buf))
                .await
                .unwrap();
            let mut rest = &buf.filled()[1..];
            if rest.is_empty() {
                break;
            }
            while !rest.is_empty() {
                let n = poll_fn(|cx| Pin::new(&mut stream).poll_write(cx, rest)).await;
                rest = &rest[n.unwrap()..];
            }
        }
        poll_fn(|cx| Pin::new(&mut stream).poll_flush(cx))
            .await
            .unwrap();
        poll_fn(|cx| Pin::new(&mut stream).poll_shutdown(cx))
            .await
            .unwrap();
    }
    on_both_paths(|rig| rig.block_on(traits_echo(async |stream| copy(stream).await, TEXT)));
}

#[test]
fn closing_a_stream_that_is_gone_is_no_error() {
    use futures_io::AsyncWrite;
    use std::pin::Pin;

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
