//! Sockets in a simulation: code that would run on the kernel's, on a network that is drawn from the seed.

use futures_util::FutureExt;
use heist::net::{TcpListener, TcpSocket, TcpStream};
use heist::sim::{Builder, Host, NetConfig, Sim};
use heist::time::sleep;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

/// Runs `test` with so many seeds, each twice, on that network.
fn on<Fut>(network: NetConfig, seeds: u64, test: impl Fn(Sim) -> Fut + 'static)
where
    Fut: Future<Output = ()> + Send + 'static,
{
    if let Err(failure) = Builder::new().network(network).seeds(0..seeds, test) {
        panic!("{failure}");
    }
}

fn good() -> NetConfig {
    NetConfig::new()
}

/// Echoes whatever comes, on every connection, to its end.
async fn echo(listener: TcpListener) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        heist::spawn(async move {
            let mut buffer = [0; 256];
            while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                if stream.write_all(&buffer[..length]).await.is_err() {
                    return;
                }
            }
        });
    }
}

async fn echo_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    heist::spawn(echo(listener));
    addr
}

fn two_hosts(sim: &Sim) -> [Host; 2] {
    [
        sim.host("here", [10, 0, 0, 1]),
        sim.host("there", [10, 0, 0, 2]),
    ]
}

/// Both ends of a connection: the client's, the server's.
async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap());
    let client = client.await.unwrap();
    (client, listener.accept().await.unwrap().0)
}

/// Bytes that say where in the stream they are.
fn pattern(from: usize, length: usize) -> Vec<u8> {
    (from..from + length)
        .map(|place| (place ^ (place >> 8)) as u8)
        .collect()
}

async fn read_to_end(stream: &TcpStream) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    let mut buffer = [0; 512];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(all),
            length => all.extend_from_slice(&buffer[..length]),
        }
    }
}

#[test]
fn many_connections_are_echoed() {
    on(good(), 250, |_| async {
        let addr = echo_server().await;
        let clients: Vec<_> = (0..12_u8)
            .map(|client| {
                heist::spawn(async move {
                    let stream = TcpStream::connect(addr).await.unwrap();
                    assert_eq!(stream.peer_addr().unwrap(), addr);
                    for round in 0..3 {
                        let message = [client ^ round; 300];
                        stream.write_all(&message).await.unwrap();
                        let mut back = [0; 300];
                        stream.read_exact(&mut back).await.unwrap();
                        assert_eq!(back, message);
                    }
                    stream.local_addr().unwrap()
                })
            })
            .collect();
        let mut addrs = Vec::new();
        for client in clients {
            addrs.push(client.await.unwrap());
        }
        addrs.sort_unstable();
        addrs.dedup();
        assert_eq!(addrs.len(), 12, "each has its own");
    });
}

/// Sends so many bytes in pieces of random sizes, by each of the ways to write.
async fn send_all(sim: Sim, stream: Arc<TcpStream>, total: usize) {
    let mut sent = 0;
    while sent < total {
        let length = (1 + sim.below(700) as usize).min(total - sent);
        let bytes = pattern(sent, length);
        let (one, other) = bytes.split_at(length / 2);
        sent += match sim.below(3) {
            0 => stream.write(&bytes).await.unwrap(),
            1 => {
                let bufs = [IoSlice::new(one), IoSlice::new(other)];
                stream.write_vectored(&bufs).await.unwrap()
            }
            _ => {
                stream.write_all(&bytes).await.unwrap();
                length
            }
        };
    }
    stream.shutdown(Shutdown::Write).unwrap();
}

/// Reads to the end, by each of the ways to read, and sees that every byte is in its place.
async fn receive_all(sim: Sim, stream: Arc<TcpStream>) -> usize {
    let mut received = 0;
    loop {
        let mut bytes = vec![0; 1 + sim.below(700) as usize];
        let half = bytes.len() / 2;
        let length = match sim.below(3) {
            0 => stream.read(&mut bytes).await.unwrap(),
            1 => {
                let (one, other) = bytes.split_at_mut(half);
                let mut bufs = [IoSliceMut::new(one), IoSliceMut::new(other)];
                stream.read_vectored(&mut bufs).await.unwrap()
            }
            _ => {
                let seen = stream.peek(&mut bytes).await.unwrap();
                let mut again = vec![0; bytes.len()];
                let length = stream.read(&mut again).await.unwrap();
                let both = seen.min(length);
                assert_eq!(bytes[..both], again[..both], "peeked, then read");
                bytes = again;
                length
            }
        };
        if length == 0 {
            return received;
        }
        assert_eq!(bytes[..length], pattern(received, length));
        received += length;
    }
}

#[test]
fn streams_keep_every_byte_in_its_place_in_both_directions() {
    let rough = good().short_reads(0.6).short_writes(0.6).buffer(777);
    on(rough, 200, |sim| async move {
        let (client, server) = pair().await;
        let total = 3_000 + sim.below(4_000) as usize;
        let mut readers = Vec::new();
        for stream in [client, server] {
            let stream = Arc::new(stream);
            heist::spawn(send_all(sim, stream.clone(), total));
            readers.push(heist::spawn(receive_all(sim, stream)));
        }
        for reader in readers {
            assert_eq!(reader.await.unwrap(), total);
        }
    });
}

#[test]
fn one_direction_ends_and_the_other_goes_on() {
    on(good(), 100, |_| async {
        let (client, server) = pair().await;
        let (reader, writer) = client.into_split();
        writer.write_all(b"question").await.unwrap();
        drop(writer);
        assert_eq!(read_to_end(&server).await.unwrap(), b"question");
        sleep(Duration::from_secs(1)).await;
        server.write_all(b"answer").await.unwrap();
        let mut bytes = [0; 6];
        reader.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"answer");
        let writer_is_gone = reader.as_ref().write(b"more").await.unwrap_err();
        assert_eq!(writer_is_gone.kind(), ErrorKind::BrokenPipe);
        drop(server);
        assert_eq!(reader.read(&mut bytes).await.unwrap(), 0);
        assert_eq!(reader.read(&mut bytes).await.unwrap(), 0, "and stays so");
    });
}

#[test]
fn what_came_before_accepting_is_announced() {
    on(good().short_reads(0.0), 20, |_| async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let client = client.await.unwrap();
        client.write_all(b"early").await.unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        sleep(Duration::from_secs(1)).await;
        let (server, _) = listener.accept().await.unwrap();
        // With fewer bytes than it asked for, the second read waits for news: the end is none any more.
        assert_eq!(server.read(&mut [0; 16]).await.unwrap(), 5);
        assert_eq!(server.read(&mut [0; 16]).await.unwrap(), 0);
    });
}

#[test]
fn a_reset_is_heard_by_who_reads_and_by_who_writes() {
    on(good(), 100, |sim| async move {
        let (client, server) = pair().await;
        let addr = server.local_addr().unwrap();
        let reader = heist::spawn(async move {
            let error = client.read(&mut [0]).await.unwrap_err();
            (error.kind(), client.write(b"x").await.unwrap_err().kind())
        });
        let writer = heist::spawn(async move {
            loop {
                if let Err(error) = server.write_all(&[0; 50_000]).await {
                    let read = server.read(&mut [0]).await;
                    return (error.kind(), read.unwrap());
                }
            }
        });
        // The client is not told before it has read, so it must not have got anything.
        assert!(sim.reset(addr) == 1);
        let (read, then_written) = reader.await.unwrap();
        assert_eq!(then_written, ErrorKind::BrokenPipe);
        assert_eq!(read, ErrorKind::ConnectionReset);
        let (written, then_read) = writer.await.unwrap();
        assert_eq!((written, then_read), (ErrorKind::ConnectionReset, 0));
    });
}

#[test]
fn closing_with_bytes_unread_resets_the_peer() {
    on(good(), 100, |_| async {
        let (client, server) = pair().await;
        client.write_all(b"never read").await.unwrap();
        server.readable().await.unwrap();
        drop(server);
        let error = client.read(&mut [0; 16]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        assert_eq!(
            client.peer_addr().unwrap_err().kind(),
            ErrorKind::NotConnected
        );
    });
}

#[test]
fn closing_with_all_read_is_the_end_of_the_stream() {
    on(good(), 100, |_| async {
        let (client, server) = pair().await;
        client.write_all(b"all of it").await.unwrap();
        server.read_exact(&mut [0; 9]).await.unwrap();
        server.write_all(b"bye").await.unwrap();
        drop(server);
        assert_eq!(read_to_end(&client).await.unwrap(), b"bye");
        // The first write reaches a peer that is gone, which answers; the next ones learn of it.
        client.write_all(b"anybody there?").await.unwrap();
        sleep(Duration::from_secs(1)).await;
        let error = client.write(b"x").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn a_linger_of_zero_resets() {
    on(good(), 50, |_| async {
        let (client, server) = pair().await;
        server.set_linger(Some(Duration::ZERO)).unwrap();
        drop(server);
        let error = client.read(&mut [0]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn where_nobody_listens_connections_are_refused() {
    on(good(), 100, |_| async {
        let began = heist::time::now();
        let error = TcpStream::connect("127.0.0.1:81").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        assert!(heist::time::now() > began, "there and back");
        let listener = TcpListener::bind("127.0.0.1:81").await.unwrap();
        let again = TcpListener::bind("127.0.0.1:81").await.unwrap_err();
        assert_eq!(again.kind(), ErrorKind::AddrInUse);
        drop(listener);
        let error = TcpStream::connect("127.0.0.1:81").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn what_no_simulation_stands_in_for_fails_and_touches_nothing() {
    on(good(), 10, |_| async {
        let unsupported = |result: io::Result<()>| {
            let error = result.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.to_string().contains("simulation"), "{error}");
        };
        unsupported(heist::net::UdpSocket::bind("127.0.0.1:0").await.map(drop));
        #[cfg(unix)]
        {
            use heist::net::{UnixDatagram, UnixListener, UnixStream};

            let path = std::env::temp_dir().join(format!("heist-no-sim-{}", std::process::id()));
            unsupported(UnixListener::bind(&path).map(drop));
            unsupported(UnixDatagram::bind(&path).map(drop));
            assert!(!path.exists());
            unsupported(UnixStream::connect(&path).await.map(drop));
            unsupported(UnixStream::pair().map(drop));
            unsupported(heist::pipe::pipe().map(drop));
            let (_, end) = io::pipe().unwrap();
            unsupported(heist::pipe::Sender::from_owned_fd(end.into()).map(drop));
        }
    });
}

#[test]
fn names_are_those_of_the_simulation() {
    on(good(), 50, |sim| async move {
        sim.host("db", [10, 0, 0, 7]);
        sim.host("db", [10, 0, 0, 8]);
        let found = heist::net::lookup_host("db:5432").await.unwrap();
        let found: Vec<_> = found.map(|addr| addr.to_string()).collect();
        assert_eq!(found, ["10.0.0.7:5432", "10.0.0.8:5432"]);
        let local = heist::net::lookup_host("localhost:1").await.unwrap();
        assert!(local.clone().count() > 0 && { local }.all(|addr| addr.ip().is_loopback()));
        let error = TcpStream::connect("example.com:80").await.unwrap_err();
        assert!(error.to_string().contains("not known"), "{error}");
        // The first address refuses, the second one answers.
        let listener = TcpListener::bind("10.0.0.8:5432").await.unwrap();
        let stream = TcpStream::connect("db:5432").await.unwrap();
        let (_, peer) = listener.accept().await.unwrap();
        assert_eq!(peer, stream.local_addr().unwrap());
        assert_eq!(stream.peer_addr().unwrap().to_string(), "10.0.0.8:5432");
    });
}

#[test]
fn hosts_have_their_own_ports_and_loopback() {
    on(good(), 50, |sim| async move {
        let hosts = [sim.host("a", [10, 0, 0, 1]), sim.host("b", [10, 0, 0, 2])];
        for host in &hosts {
            let ip = host.ip();
            let serve = async move {
                let listener = TcpListener::bind("0.0.0.0:80").await.unwrap();
                heist::spawn(async move {
                    loop {
                        let (stream, _) = listener.accept().await.unwrap();
                        stream.write_all(ip.to_string().as_bytes()).await.unwrap();
                    }
                });
            };
            host.run(serve).await;
        }
        let ask = |addr| async move {
            let stream = TcpStream::connect(addr).await?;
            let from = stream.local_addr()?.ip().to_string();
            let answer = read_to_end(&stream).await?;
            io::Result::Ok((from, String::from_utf8(answer).unwrap()))
        };
        let of = |from: &str, answer: &str| (from.to_owned(), answer.to_owned());
        let [a, b] = &hosts;
        assert_eq!(
            a.run(ask("b:80")).await.unwrap(),
            of("10.0.0.1", "10.0.0.2")
        );
        assert_eq!(
            b.run(ask("localhost:80")).await.unwrap(),
            of("127.0.0.1", "10.0.0.2")
        );
        assert_eq!(
            ask("10.0.0.1:80").await.unwrap(),
            of("192.0.2.1", "10.0.0.1")
        );
        let error = ask("localhost:80").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        let error = a.run(TcpListener::bind("10.0.0.2:81")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrNotAvailable);
    });
}

#[test]
fn a_writer_waits_for_a_peer_that_does_not_read() {
    on(good().buffer(1_000), 100, |_| async {
        let (client, server) = pair().await;
        let written = Arc::new(AtomicUsize::new(0));
        let count = written.clone();
        let writer = heist::spawn(async move {
            let bytes = pattern(0, 10_000);
            while count.load(SeqCst) < bytes.len() {
                let written = client.write(&bytes[count.load(SeqCst)..]).await.unwrap();
                count.fetch_add(written, SeqCst);
            }
        });
        sleep(Duration::from_secs(60)).await;
        assert_eq!(written.load(SeqCst), 2_000, "both buffers, and no more");
        let mut bytes = [0; 500];
        server.read_exact(&mut bytes).await.unwrap();
        sleep(Duration::from_secs(60)).await;
        assert_eq!(written.load(SeqCst), 2_500);
        let mut all = bytes.to_vec();
        all.extend(read_to_end(&server).await.unwrap());
        assert_eq!(all, pattern(0, 10_000));
        writer.await.unwrap();
    });
}

#[test]
fn a_full_backlog_puts_connections_off_until_there_is_room() {
    on(good(), 50, |_| async {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let addr = listener.local_addr().unwrap();
        let connected = Arc::new(AtomicUsize::new(0));
        let clients: Vec<_> = (0..5)
            .map(|_| {
                let connected = connected.clone();
                heist::spawn(async move {
                    let stream = TcpStream::connect(addr).await;
                    connected.fetch_add(1, SeqCst);
                    stream
                })
            })
            .collect();
        sleep(Duration::from_millis(900)).await;
        assert_eq!(connected.load(SeqCst), 2, "one more than asked for");
        for _ in 0..5 {
            listener.accept().await.unwrap();
        }
        for client in clients {
            client.await.unwrap().unwrap();
        }
    });
}

#[test]
fn accepting_survives_a_want_of_descriptors() {
    // A listener, three clients, and one of the servers' ends.
    on(good().max_open(5), 100, |_| async {
        let listener = Arc::new(TcpListener::bind("127.0.0.1:0").await.unwrap());
        let addr = listener.local_addr().unwrap();
        let mut streams = Vec::new();
        for _ in 0..3 {
            streams.push(TcpStream::connect(addr).await.unwrap());
        }
        let first = listener.accept().await.unwrap();
        let theirs = listener.clone();
        let second = heist::spawn(async move { theirs.accept().await.unwrap() });
        sleep(Duration::from_secs(10)).await;
        assert!(!second.is_done());
        assert!(listener.accept_stats().deferred > 10);
        let error = TcpStream::connect(addr).await.unwrap_err();
        assert_eq!(error.raw_os_error(), no_descriptors());
        drop(first);
        let (server, peer) = second.await.unwrap();
        assert_eq!(peer, streams[1].local_addr().unwrap());
        server.write_all(b"late").await.unwrap();
        drop(server);
        listener.accept().await.unwrap();
        for (stream, heard) in streams.iter().zip(["", "late", ""]) {
            assert_eq!(read_to_end(stream).await.unwrap(), heard.as_bytes());
        }
    });
}

#[cfg(unix)]
fn no_descriptors() -> Option<i32> {
    Some(libc::EMFILE)
}

#[cfg(not(unix))]
fn no_descriptors() -> Option<i32> {
    Some(10024)
}

#[test]
fn a_server_answers_through_drawn_shortages_and_aborts() {
    let deferred = Arc::new(AtomicU64::new(0));
    let aborted = Arc::new(AtomicU64::new(0));
    let (deferrals, aborts) = (deferred.clone(), aborted.clone());
    on(good(), 200, move |sim| {
        let (deferrals, aborts) = (deferrals.clone(), aborts.clone());
        async move {
            let listener = Arc::new(TcpListener::bind("127.0.0.1:0").await.unwrap());
            let addr = listener.local_addr().unwrap();
            sim.set_network(good().shortages(0.3).aborts(0.3));
            let server = listener.clone();
            heist::spawn(async move {
                loop {
                    let (stream, _) = server.accept().await.unwrap();
                    // Whoever gave it up is gone.
                    let _ = stream.write_all(b"here").await;
                }
            });
            for _ in 0..4 {
                let ask = || async {
                    let stream = TcpStream::connect(addr).await?;
                    let mut bytes = [0; 4];
                    stream.read_exact(&mut bytes).await.map(|()| bytes)
                };
                let answer = loop {
                    match ask().await {
                        Ok(answer) => break answer,
                        Err(error) if error.raw_os_error() == no_descriptors() => {}
                        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
                    }
                };
                assert_eq!(&answer, b"here");
            }
            deferrals.fetch_add(listener.accept_stats().deferred, SeqCst);
            aborts.fetch_add(listener.accept_stats().aborted, SeqCst);
        }
    });
    assert!(deferred.load(SeqCst) > 100, "{deferred:?}");
    assert!(aborted.load(SeqCst) > 100, "{aborted:?}");
}

#[test]
fn drawn_resets_are_errors_and_never_wrong_bytes() {
    let outcomes = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
    let seen = outcomes.clone();
    on(good().resets(0.05), 150, move |_| {
        let seen = seen.clone();
        async move {
            let addr = echo_server().await;
            for _ in 0..4 {
                let talk = async {
                    let stream = TcpStream::connect(addr).await?;
                    for round in 0..4 {
                        let message = pattern(round, 100);
                        stream.write_all(&message).await?;
                        let mut back = [0; 100];
                        stream.read_exact(&mut back).await?;
                        assert_eq!(back[..], message);
                    }
                    io::Result::Ok(())
                };
                match talk.await.map_err(|error| error.kind()) {
                    Ok(()) => seen[0].fetch_add(1, SeqCst),
                    Err(ErrorKind::ConnectionReset) => seen[1].fetch_add(1, SeqCst),
                    Err(other) => panic!("{other}"),
                };
            }
        }
    });
    assert!(
        outcomes.iter().all(|count| count.load(SeqCst) > 50),
        "{outcomes:?}"
    );
}

#[test]
fn timeouts_go_by_the_virtual_clock() {
    let slow = good().latency(Duration::from_secs(5)..=Duration::from_secs(5));
    on(slow, 50, |_| async {
        let (client, server) = pair().await;
        let mut bytes = [0];
        let began = heist::time::now();
        let waited = heist::timeout(Duration::from_secs(2), client.read(&mut bytes));
        assert!(waited.await.is_err());
        assert_eq!(heist::time::now() - began, Duration::from_secs(2));
        server.write_all(b"x").await.unwrap();
        let waited = heist::timeout(Duration::from_secs(4), client.read(&mut bytes));
        assert!(waited.await.is_err());
        let waited = heist::timeout(Duration::from_secs(4), client.read(&mut bytes));
        assert_eq!(waited.await.unwrap().unwrap(), 1);
    });
}

#[test]
fn a_cancelled_read_loses_nothing() {
    let cancelled = Arc::new(AtomicU64::new(0));
    let count = cancelled.clone();
    on(good(), 200, move |sim| {
        let count = count.clone();
        async move {
            let (client, server) = pair().await;
            let client = Arc::new(client);
            let writer = heist::spawn(async move {
                for piece in 0..20 {
                    server.write_all(&pattern(piece * 50, 50)).await.unwrap();
                    sleep(Duration::from_micros(sim.below(900))).await;
                }
            });
            let mut all = Vec::new();
            while all.len() < 1_000 {
                let stream = client.clone();
                let reader = heist::spawn(async move {
                    let mut bytes = [0; 64];
                    let length = stream.read(&mut bytes).await.unwrap();
                    bytes[..length].to_vec()
                });
                sleep(Duration::from_micros(sim.below(300))).await;
                reader.cancel("enough");
                match reader.await {
                    Ok(bytes) => all.extend(bytes),
                    Err(error) => {
                        assert!(error.is_cancelled());
                        count.fetch_add(1, SeqCst);
                    }
                }
            }
            assert_eq!(all, pattern(0, 1_000));
            writer.await.unwrap();
        }
    });
    assert!(cancelled.load(SeqCst) > 500, "{cancelled:?}");
}

#[test]
fn a_partition_holds_back_what_is_sent_until_it_heals() {
    on(good(), 100, |sim| async move {
        let [here, there] = two_hosts(&sim);
        let listener = there.run(TcpListener::bind("0.0.0.0:7")).await.unwrap();
        let connect = || here.run(TcpStream::connect("there:7"));
        let client = connect().await.unwrap();
        let (server, _) = listener.accept().await.unwrap();

        sim.partition(here.ip(), there.ip());
        client.write_all(b"held back").await.unwrap();
        let mut bytes = [0; 9];
        let waited = heist::timeout(Duration::from_secs(30), server.read(&mut bytes));
        assert!(waited.await.is_err());
        let late = heist::spawn(connect());
        sleep(Duration::from_secs(10)).await;
        assert!(!late.is_done());

        sim.heal(there.ip(), here.ip());
        let began = heist::time::now();
        server.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"held back");
        assert!(heist::time::now() - began < Duration::from_secs(1));
        let (_, peer) = listener.accept().await.unwrap();
        assert_eq!(late.await.unwrap().unwrap().local_addr().unwrap(), peer);
    });
}

#[test]
fn a_partition_that_stays_is_given_up() {
    on(good(), 50, |sim| async move {
        let [here, there] = two_hosts(&sim);
        let listener = there.run(TcpListener::bind("0.0.0.0:7")).await.unwrap();
        let connect = || here.run(TcpStream::connect("there:7"));
        let client = connect().await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        sim.partition(here.ip(), there.ip());

        let began = heist::time::now();
        assert_eq!(connect().await.unwrap_err().kind(), ErrorKind::TimedOut);
        assert_eq!((heist::time::now() - began).as_secs(), 127);
        client.write_all(b"for nobody").await.unwrap();
        let error = client.read(&mut [0]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        // The other end has heard nothing, and learns it when it says something.
        sim.heal(here.ip(), there.ip());
        server.write_all(b"hello?").await.unwrap();
        let error = server.read(&mut [0]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn dropping_a_listener_resets_who_waits_in_its_queue() {
    on(good(), 50, |_| async {
        let listener = TcpListener::bind("[::1]:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let stream = TcpStream::connect(addr).await.unwrap();
        drop(listener);
        let error = stream.read(&mut [0]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn options_are_kept_and_descriptors_are_not_there() {
    on(good(), 1, |_| async {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4_321).unwrap();
        assert_eq!(socket.recv_buffer_size().unwrap(), 4_321);
        socket.set_nodelay(true).unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(8).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (server, _) = listener.accept().await.unwrap();
        assert!(server.nodelay().unwrap(), "inherited");
        assert!(!client.nodelay().unwrap());
        server.set_ttl(7).unwrap();
        assert_eq!(server.ttl().unwrap(), 7);
        assert!(format!("{client:?}").contains("127.0.0.1"), "{client:?}");
        #[cfg(unix)]
        {
            use std::os::fd::AsRawFd;
            assert_eq!(client.as_raw_fd(), listener.as_raw_fd(), "one for all");
        }
        let error = client.into_std().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        // The kernel's sockets cannot be waited for here.
        let real = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let error = TcpListener::from_std(real).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    });
}

#[test]
fn waiting_for_a_peer_that_says_nothing_is_a_deadlock() {
    let failure = Builder::new()
        .run(|_| async {
            let (client, _server) = pair().await;
            let reader = heist::spawn(async move { client.read(&mut [0]).await });
            reader.set_name("the one that reads");
            let _ = reader.await;
        })
        .map(|run| run.value)
        .unwrap_err();
    assert!(failure.is_standstill(), "{failure}");
    assert!(
        failure.to_string().contains("the one that reads"),
        "{failure}"
    );
}

#[test]
fn a_thread_without_a_driver_gets_no_socket_and_no_answer() {
    on(good(), 20, |sim| async move {
        let handle = heist::Handle::current().unwrap();
        let outside = sim.thread("outside", move || {
            let addr = "127.0.0.1:9";
            let error = TcpListener::bind(addr).now_or_never().unwrap().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            let found = heist::net::lookup_host("localhost:9").now_or_never();
            assert_eq!(found.unwrap().unwrap_err().kind(), ErrorKind::Unsupported);
            let listener = handle.block_on(TcpListener::bind(addr)).unwrap().unwrap();
            assert_eq!(listener.local_addr().unwrap().to_string(), addr);
        });
        outside.await;
    });
}

mod http {
    use super::*;
    use http_body_util::{BodyExt, Full};
    use hyper::body::{Bytes, Incoming};
    use hyper::service::service_fn;
    use hyper::{Request, Response};
    use std::convert::Infallible;

    async fn double(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let doubled = [&body[..], &body[..]].concat();
        Ok(Response::new(Full::from(doubled)))
    }

    async fn serve(listener: TcpListener) -> io::Result<()> {
        loop {
            let (stream, _) = listener.accept().await?;
            heist::spawn(async move {
                let service = service_fn(double);
                let served = hyper::server::conn::http1::Builder::new()
                    .serve_connection(stream, service)
                    .await;
                served.unwrap();
            });
        }
    }

    #[test]
    fn hyper_serves_and_asks() {
        on(good().buffer(2_000), 60, |_| async {
            let listener = TcpListener::bind("127.0.0.1:80").await.unwrap();
            heist::spawn(serve(listener));
            let clients: Vec<_> = (0..3)
                .map(|client| {
                    heist::spawn(async move {
                        let stream = TcpStream::connect("localhost:80").await.unwrap();
                        let (mut sender, connection) =
                            hyper::client::conn::http1::handshake(stream).await.unwrap();
                        let connection = heist::spawn(connection);
                        for round in 0..3 {
                            let body = pattern(client, 1_500 * round);
                            let request = Request::post("/double")
                                .header("host", "localhost")
                                .body(Full::<Bytes>::from(body.clone()))
                                .unwrap();
                            let response = sender.send_request(request).await.unwrap();
                            let answer = response.into_body().collect().await.unwrap();
                            assert_eq!(answer.to_bytes(), [&body[..], &body[..]].concat());
                        }
                        drop(sender);
                        connection.await.unwrap().unwrap();
                    })
                })
                .collect();
            for client in clients {
                client.await.unwrap();
            }
        });
    }
}

/// Asks until it is answered; what fails on the way is of the network's making.
async fn ask_until_answered(sim: Sim, host: &str, question: &[u8]) -> usize {
    let ask = || async {
        let stream = TcpStream::connect((host, 7)).await?;
        stream.write_all(question).await?;
        let mut answer = vec![0; question.len()];
        stream.read_exact(&mut answer).await?;
        assert_eq!(answer, question);
        io::Result::Ok(())
    };
    let mut failures = 0;
    loop {
        match heist::timeout(Duration::from_secs(3), ask()).await {
            Ok(Ok(())) => return failures,
            Ok(Err(error)) => {
                let is_allowed = matches!(
                    error.kind(),
                    ErrorKind::ConnectionReset
                        | ErrorKind::ConnectionRefused
                        | ErrorKind::BrokenPipe
                        | ErrorKind::UnexpectedEof
                ) || error.raw_os_error() == no_descriptors();
                assert!(is_allowed, "{error}");
            }
            Err(_) => {}
        }
        failures += 1;
        sleep(Duration::from_millis(sim.below(200))).await;
    }
}

#[test]
fn everybody_is_answered_in_the_end_whatever_happens_to_the_network() {
    let failures = Arc::new(AtomicUsize::new(0));
    let failed = failures.clone();
    let bad = good().buffer(300).resets(0.01).shortages(0.02).aborts(0.02);
    on(bad, 100, move |sim| {
        let failed = failed.clone();
        async move {
            let hosts: Vec<_> = (1..=3)
                .map(|n| sim.host(&format!("host{n}"), [10, 0, 0, n]))
                .collect();
            for host in &hosts {
                let serve = async {
                    loop {
                        match TcpListener::bind("0.0.0.0:7").await {
                            Ok(listener) => break drop(heist::spawn(echo(listener))),
                            Err(error) => assert_eq!(error.raw_os_error(), no_descriptors()),
                        }
                    }
                };
                host.run(serve).await;
            }
            let places = hosts.clone();
            let nemesis = heist::spawn(async move {
                loop {
                    sleep(Duration::from_millis(sim.below(400))).await;
                    let (one, other) = (sim.below(3) as usize, sim.below(3) as usize);
                    let (one, other) = (places[one].ip(), places[other].ip());
                    match sim.below(3) {
                        0 => drop(sim.reset((one, 7))),
                        1 => sim.partition(one, other),
                        _ => sim.heal(one, other),
                    }
                }
            });
            let clients: Vec<_> = (0..6)
                .map(|n| {
                    let ask = async move {
                        let mut failures = 0;
                        for round in 0..3 {
                            let host = format!("host{}", 1 + sim.below(3));
                            let question = pattern(n * 100, 100 + round * 500);
                            failures += ask_until_answered(sim, &host, &question).await;
                        }
                        failures
                    };
                    heist::spawn(hosts[n % 3].run(ask))
                })
                .collect();
            for client in clients {
                failed.fetch_add(client.await.unwrap(), SeqCst);
            }
            nemesis.cancel("enough");
        }
    });
    assert!(failures.load(SeqCst) > 500, "{failures:?}");
}
