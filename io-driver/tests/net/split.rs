//! Streams in two halves.

use super::*;

/// A megabyte in each direction at once, through halves of two connected streams.
macro_rules! megabytes_pass {
    ($rig:ident, $streams:expr) => {
        let bytes = Arc::new(megabyte());
        let mut threads = Vec::new();
        for stream in $streams {
            socket2::SockRef::from(&stream)
                .set_send_buffer_size(4096)
                .unwrap();
            let (reader, writer) = stream.into_split();
            let (to_send, expected) = (bytes.clone(), bytes.clone());
            threads.push($rig.spawn(async move {
                let first = writer.write(&to_send).await.unwrap();
                assert!((1..to_send.len()).contains(&first), "not partial: {first}");
                writer.write_all(&to_send[first..]).await.unwrap();
                // The drop ends the stream for the other side.
            }));
            threads.push($rig.spawn(async move {
                let mut received = vec![0; expected.len()];
                reader.read_exact(&mut received).await.unwrap();
                assert!(received == *expected);
                assert_eq!(reader.read(&mut [0]).await.unwrap(), 0);
            }));
        }
        for thread in threads {
            thread.join().unwrap();
        }
    };
}

#[test]
fn both_directions_at_once_through_halves() {
    on_both_paths(|rig| {
        megabytes_pass!(rig, <[TcpStream; 2]>::from(rig.block_on(pair())));
    });
}

#[cfg(unix)]
#[test]
fn both_directions_at_once_through_halves_of_unix_streams() {
    on_both_paths(|rig| {
        let pair = rig.block_on(async { UnixStream::pair().unwrap() });
        megabytes_pass!(rig, <[UnixStream; 2]>::from(pair));
    });
}

#[test]
fn borrowed_halves_work_at_once() {
    on_both_paths(|rig| {
        rig.block_on(async {
            let (server, mut client) = pair().await;
            {
                let (reader, writer) = client.split();
                let mut bytes = [0; 4];
                let (read, ()) = join(reader.read_exact(&mut bytes), async {
                    writer.write_all(b"ping").await.unwrap();
                    let mut ping = [0; 4];
                    server.read_exact(&mut ping).await.unwrap();
                    server.write_all(&ping).await.unwrap();
                })
                .await;
                read.unwrap();
                assert_eq!(&bytes, b"ping");
                assert_eq!(reader.local_addr().unwrap(), writer.local_addr().unwrap());
            }
            // Halves that were lent have not ended anything.
            client.write_all(b"more").await.unwrap();
        });
    });
}

#[test]
fn owned_halves_reunite_with_their_own_only() {
    on_both_paths(|rig| {
        rig.block_on(async {
            let (server, client) = pair().await;
            let (server_reader, server_writer) = server.into_split();
            let (client_reader, client_writer) = client.into_split();
            let error = server_reader.reunite(client_writer).unwrap_err();
            assert!(error.to_string().contains("different streams"));
            let (server_reader, client_writer) = error.into_halves();
            let server = server_writer.reunite(server_reader).unwrap();
            let client = client_reader.reunite(client_writer).unwrap();
            client.write_all(b"still open").await.unwrap();
            let mut bytes = [0; 10];
            server.read_exact(&mut bytes).await.unwrap();

            // A write half that is forgotten ends nothing; one that is dropped does.
            let (_reader, writer) = client.into_split();
            writer.forget();
            server.write_all(b"x").await.unwrap();
            let waiting = server.try_read(&mut [0]);
            assert_eq!(kind(waiting), io::ErrorKind::WouldBlock);
            let (reader, writer) = server.into_split();
            drop(writer);
            let mut byte = [0];
            _reader.read_exact(&mut byte).await.unwrap();
            assert_eq!(_reader.read(&mut byte).await.unwrap(), 0);
            drop(reader);
        });
    });
}
