//! A TCP server that sends back whatever it gets: a task for each connection, and a shutdown that waits for none of them.
//!
//! ```sh
//! cargo run --release --example echo                          # ends with Ctrl-C
//! cargo run --release --example echo -- '[::1]:7000' --seconds 60
//!
//! nc 127.0.0.1 7000
//! ```
#![allow(clippy::print_stdout)]

#[path = "support/options.rs"]
mod options;

use heist::net::{TcpListener, TcpStream};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

#[heist::main]
async fn main() -> io::Result<()> {
    let options = options::Options::parse("127.0.0.1:7000")?;
    let listener = TcpListener::bind(options.address.as_str()).await?;
    println!(
        "echoing on {} ({})",
        listener.local_addr()?,
        options.how_it_ends()
    );

    let served = Arc::new(Served::default());
    let accepting = heist::task::Builder::new().name("accept").spawn({
        let served = served.clone();
        async move {
            loop {
                let (stream, peer) = listener.accept().await?;
                let served = served.clone();
                let name = format!("echo {peer}");
                let echo = async move { served.echo(stream).await };
                heist::task::Builder::new().name(&name).spawn(echo).detach();
            }
        }
    });

    options.ended().await?;
    // The task is dropped at its `accept`, and the listener with it. What the connections do then is up to `main`: when it
    // returns, the runtime shuts down and they are dropped in the same way.
    accepting.cancel("the server ends");
    let ended: Result<io::Result<()>, _> = accepting.await;
    if let Ok(accept_error) = ended {
        accept_error?;
    }
    let left = heist::all_tasks();
    let left = left.iter().filter(|task| task.name().starts_with("echo "));
    println!(
        "echoed {} bytes on {} connections, {} of them still open",
        served.bytes.load(Ordering::Relaxed),
        served.connections.load(Ordering::Relaxed),
        left.count(),
    );
    Ok(())
}

#[derive(Default)]
struct Served {
    connections: AtomicU64,
    bytes: AtomicU64,
}

impl Served {
    async fn echo(&self, stream: TcpStream) -> io::Result<()> {
        self.connections.fetch_add(1, Ordering::Relaxed);
        let mut bytes = [0; 2048];
        loop {
            let length = stream.read(&mut bytes).await?;
            if length == 0 {
                return Ok(());
            }
            stream.write_all(&bytes[..length]).await?;
            self.bytes.fetch_add(length as u64, Ordering::Relaxed);
        }
    }
}
