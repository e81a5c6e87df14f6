//! A process that is out of descriptors: `accept` waits, does not spin, and recovers.
//!
//! One test in a binary of its own, because it lowers the limit of the whole process.
#![cfg(unix)]

#[path = "support/limit.rs"]
mod limit;
#[path = "support/net.rs"]
mod support;

use std::fs::File;
use std::io::Write;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use heist_io_driver::net::{TcpListener, TcpStream};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, Timespec, clock_gettime};

use support::{Rig, on_both_paths};

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

#[test]
fn accept_outlives_a_shortage_of_descriptors() {
    let before = getrlimit(Resource::Nofile);
    let lowered = Rlimit {
        current: Some(96),
        maximum: before.maximum,
    };
    let outlive = |rig: &Rig, polled: bool| {
        let listener = rig
            .block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
            .unwrap();
        let listener = Arc::new(listener);
        let addr = listener.local_addr().unwrap();
        setrlimit(Resource::Nofile, lowered).unwrap();
        // The clients' ends have their descriptors before the shortage.
        let sockets: Vec<_> = (0..4)
            .map(|_| socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None))
            .map(Result::unwrap)
            .collect();
        let mut files = exhaust();

        let acceptor = listener.clone();
        let accepted = rig.spawn(async move {
            let mut streams: Vec<TcpStream> = Vec::new();
            for _ in 0..4 {
                let accepted = match polled {
                    false => acceptor.accept().await,
                    true => std::future::poll_fn(|cx| acceptor.poll_accept(cx)).await,
                };
                let (stream, _) = accepted.unwrap();
                streams.push(stream);
            }
            streams
        });
        for socket in &sockets {
            socket.connect(&addr.into()).unwrap();
        }

        let (cpu, start) = (cpu_time(), Instant::now());
        while listener.accept_stats().deferred < 4 {
            assert!(
                start.elapsed() < Duration::from_secs(10),
                "accept gave no sign"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(Duration::from_millis(300));
        let deferred = listener.accept_stats().deferred;
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
        while listener.accept_stats().deferred <= deferred + 1 {
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
                stream.read_exact(&mut [0]).await.unwrap();
            }
        });
        assert_eq!(listener.accept_stats().aborted, 0);
        setrlimit(Resource::Nofile, before).unwrap();
    };
    on_both_paths(|rig| {
        outlive(rig, false);
        outlive(rig, true);
    });
}
