//! An HTTP server: hyper on heist's sockets and timers, with keep-alive and a graceful end.
//!
//! ```sh
//! cargo run --release --example http_server                          # ends with Ctrl-C
//! cargo run --release --example http_server -- 127.0.0.1:0 --seconds 60
//!
//! curl http://127.0.0.1:8080/
//! curl http://127.0.0.1:8080/double/21
//! wrk -t1 -c64 -d20s http://127.0.0.1:8080/
//! ```
#![allow(clippy::print_stdout)]

#[path = "support/http.rs"]
mod http;
#[path = "support/options.rs"]
mod options;

use heist::net::TcpListener;
use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How long requests under way may take once the server is to end; then the shutdown drops their tasks.
const GRACE: Duration = Duration::from_secs(5);

#[heist::main]
async fn main() -> io::Result<()> {
    let options = options::Options::parse("127.0.0.1:8080")?;
    let listener = TcpListener::bind(options.address.as_str()).await?;
    println!(
        "serving http://{}/ ({})",
        listener.local_addr()?,
        options.how_it_ends()
    );

    let server = http::Server::default();
    let serving = heist::task::Builder::new().name("server").spawn({
        let server = server.clone();
        async move { server.serve(listener).await }
    });

    options.ended().await?;
    server.stop();
    match heist::timeout(GRACE, serving).await {
        Ok(served) => served??,
        Err(elapsed) => println!("some clients did not finish ({elapsed}): they are hung up on"),
    }

    let counters = server.counters();
    println!(
        "served {} requests on {} connections, {} of them broken off",
        counters.requests.load(Ordering::Relaxed),
        counters.connections.load(Ordering::Relaxed),
        counters.broken.load(Ordering::Relaxed),
    );
    Ok(())
}
