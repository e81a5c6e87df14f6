//! An HTTP server: a function of requests on heist's sockets and timers, with keep-alive and a graceful end. `hyper_server` does the same by
//! hand, `axum_server` with a router.
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
    let report = serving.await??;
    println!(
        "served {} requests on {} connections, {} of them broken off",
        report.requests_answered(),
        report.connections(),
        server.broken(),
    );
    match report.connections_cut_off() {
        0 => {}
        late => println!("{late} clients did not finish, and were hung up on"),
    }
    Ok(())
}
