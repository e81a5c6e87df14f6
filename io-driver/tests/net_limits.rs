//! A process that is out of descriptors: `accept` waits, does not spin, and recovers.
//!
//! One test in a binary of its own, because it lowers the limit of the whole process.
#![cfg(unix)]

#[path = "support/limit.rs"]
mod limit;
#[path = "support/net.rs"]
mod support;

use std::fs::File;
use std::future::{Future, poll_fn};
use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use heist_io_driver::net::{AcceptStats, TcpListener, TcpStream, UnixListener, UnixStream};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, Timespec, clock_gettime};
use socket2::{Domain, SockAddr, Socket, Type};

use support::{Directory, Rig, on_both_paths};

/// Takes every descriptor that the process may still have.
fn exhaust() -> Vec<File> {
    let mut files = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        files.push(file);
    }
    files
}

fn cpu_time() -> Duration {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(tv_sec as u64, tv_nsec as u32)
}

/// A listener whose clients are made before the shortage.
trait Listening: Sized + Send + Sync + 'static {
    const DOMAIN: Domain;
    type Stream: Send + 'static;

    async fn bind(directory: &Directory) -> Self;
    fn addr(&self) -> SockAddr;
    fn stats(&self) -> AcceptStats;
    fn accept(&self, polled: bool) -> impl Future<Output = io::Result<Self::Stream>> + Send;
    async fn read_byte(stream: &Self::Stream) -> io::Result<()>;
}

impl Listening for TcpListener {
    const DOMAIN: Domain = Domain::IPV4;
    type Stream = TcpStream;

    async fn bind(_: &Directory) -> TcpListener {
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap()
    }

    fn addr(&self) -> SockAddr {
        self.local_addr().unwrap().into()
    }

    fn stats(&self) -> AcceptStats {
        self.accept_stats()
    }

    async fn accept(&self, polled: bool) -> io::Result<TcpStream> {
        let (stream, _) = match polled {
            false => self.accept().await?,
            true => poll_fn(|cx| self.poll_accept(cx)).await?,
        };
        Ok(stream)
    }

    async fn read_byte(stream: &TcpStream) -> io::Result<()> {
        stream.read_exact(&mut [0]).await
    }
}

impl Listening for UnixListener {
    const DOMAIN: Domain = Domain::UNIX;
    type Stream = UnixStream;

    async fn bind(directory: &Directory) -> UnixListener {
        UnixListener::bind(directory.path("socket")).unwrap()
    }

    fn addr(&self) -> SockAddr {
        let addr = self.local_addr().unwrap();
        SockAddr::unix(addr.as_pathname().unwrap()).unwrap()
    }

    fn stats(&self) -> AcceptStats {
        self.accept_stats()
    }

    async fn accept(&self, polled: bool) -> io::Result<UnixStream> {
        let (stream, _) = match polled {
            false => self.accept().await?,
            true => poll_fn(|cx| self.poll_accept(cx)).await?,
        };
        Ok(stream)
    }

    async fn read_byte(stream: &UnixStream) -> io::Result<()> {
        stream.read_exact(&mut [0]).await
    }
}

fn outlive<L: Listening>(rig: &Rig, polled: bool) {
    let directory = Directory::new();
    let before = getrlimit(Resource::Nofile);
    let lowered = Rlimit {
        current: Some(96),
        maximum: before.maximum,
    };
    let listener = Arc::new(rig.block_on(L::bind(&directory)));
    let addr = listener.addr();
    setrlimit(Resource::Nofile, lowered).unwrap();
    // The clients' ends have their descriptors before the shortage.
    let sockets: Vec<_> = (0..4)
        .map(|_| Socket::new(L::DOMAIN, Type::STREAM, None))
        .map(Result::unwrap)
        .collect();
    let mut files = exhaust();

    let acceptor = listener.clone();
    let accepted = rig.spawn(async move {
        let mut streams = Vec::new();
        for _ in 0..4 {
            streams.push(Listening::accept(&*acceptor, polled).await.unwrap());
        }
        streams
    });
    for socket in &sockets {
        socket.connect(&addr).unwrap();
    }

    let (cpu, start) = (cpu_time(), Instant::now());
    while listener.stats().deferred < 4 {
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "accept gave no sign"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    std::thread::sleep(Duration::from_millis(300));
    let deferred = listener.stats().deferred;
    assert!(
        (4..=10).contains(&deferred),
        "{deferred} attempts are too many: it spins"
    );
    let spent = cpu_time() - cpu;
    assert!(
        spent < start.elapsed() / 4,
        "waiting took {spent:?} of processor time"
    );
    assert!(!accepted.is_finished());

    // One descriptor comes free: one connection is accepted, the next one waits in its turn.
    drop(files.pop());
    let start = Instant::now();
    while listener.stats().deferred <= deferred + 1 {
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "the next accept does not wait"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(files);
    let streams = accepted.join().unwrap();
    assert_eq!(streams.len(), 4);

    // Every connection is whole.
    rig.block_on(async {
        for (mut socket, stream) in sockets.into_iter().zip(&streams) {
            socket.write_all(b"x").unwrap();
            L::read_byte(stream).await.unwrap();
        }
    });
    assert_eq!(listener.stats().aborted, 0);
    setrlimit(Resource::Nofile, before).unwrap();
}

#[test]
fn accept_outlives_a_shortage_of_descriptors() {
    on_both_paths(|rig| {
        for polled in [false, true] {
            outlive::<TcpListener>(rig, polled);
            outlive::<UnixListener>(rig, polled);
        }
    });
}
