//! What does a round trip on one TCP connection cost, and what a connection that is made, accepted and closed?

mod support;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use heist::net::{TcpListener, TcpSocket, TcpStream};
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use support::timed_in_task;

const ANYWHERE: &str = "127.0.0.1:0";
const MESSAGE: usize = 64;

async fn echo(rounds: u64) -> io::Result<Duration> {
    let listener = TcpListener::bind(ANYWHERE).await?;
    let address = listener.local_addr()?;
    let server = heist::spawn(async move {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let mut bytes = [0; MESSAGE];
        for _ in 0..rounds {
            stream.read_exact(&mut bytes).await?;
            stream.write_all(&bytes).await?;
        }
        io::Result::Ok(())
    });
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut bytes = [0; MESSAGE];
    let began = Instant::now();
    for _ in 0..rounds {
        stream.write_all(&bytes).await?;
        stream.read_exact(&mut bytes).await?;
    }
    let took = began.elapsed();
    server.await.expect("it ends well")?;
    Ok(took)
}

async fn accept_and_close(rounds: u64) -> io::Result<Duration> {
    let listener = TcpListener::bind(ANYWHERE).await?;
    let address = listener.local_addr()?;
    let began = Instant::now();
    for _ in 0..rounds {
        let client = connect(address).await?;
        let (server, _) = listener.accept().await?;
        drop((client, server));
    }
    Ok(began.elapsed())
}

/// The connection leaves nothing behind when it is closed: otherwise its port is taken for a minute, and there are few.
async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_for(address)?;
    socket.set_linger(Some(Duration::ZERO))?;
    socket.connect(address).await
}

fn io(c: &mut Criterion) {
    let mut group = c.benchmark_group("io");
    for workers in [1, 2] {
        let runtime = support::runtime(workers);
        group.bench_function(
            BenchmarkId::new("echo 64 bytes, on workers", workers),
            |b| {
                b.iter_custom(|rounds| {
                    timed_in_task(&runtime, async move {
                        echo(rounds).await.expect("the loopback works")
                    })
                });
            },
        );
    }
    let runtime = support::runtime(1);
    group.bench_function("connect, accept and close", |b| {
        b.iter_custom(|rounds| {
            timed_in_task(&runtime, async move {
                accept_and_close(rounds).await.expect("the loopback works")
            })
        });
    });
}

criterion_group!(name = benches; config = support::settings(); targets = io);
criterion_main!(benches);
