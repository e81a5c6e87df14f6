//! An axum application on heist: a router, shared state, a time limit on what is slow, and an end that lets requests under way be answered. HTTP/1
//! and HTTP/2 on one port. Where an application was started by `axum::serve`, this is the line that changes:
//!
//! ```text
//! axum::serve(listener, app).with_graceful_shutdown(signal).await?;
//! heist_hyper::serve(listener, app).graceful_shutdown(signal, deadline).await?;
//! ```
//!
//! ```sh
//! cargo run -p heist-hyper --example axum_server                          # ends with Ctrl-C
//! cargo run -p heist-hyper --example axum_server -- 127.0.0.1:0 --seconds 60
//!
//! curl http://127.0.0.1:8080/visits/ada
//! curl --http2-prior-knowledge http://127.0.0.1:8080/visits/ada
//! curl 'http://127.0.0.1:8080/nap/1500'                    # too long: 503
//! wrk -t1 -c64 -d20s http://127.0.0.1:8080/visits/wrk
//! ```
#![allow(clippy::print_stdout)]

#[path = "../../../examples/support/options.rs"]
mod options;

use axum::Router;
use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use heist::net::TcpListener;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long requests under way may take once the server is to end; then they are cancelled.
const GRACE: Duration = Duration::from_secs(5);

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// What all handlers share.
#[derive(Clone, Default)]
struct Visits(Arc<Mutex<HashMap<String, u64>>>);

impl Visits {
    fn count(&self, name: &str) -> u64 {
        let mut visits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let visits = visits.entry(name.to_owned()).or_default();
        *visits += 1;
        *visits
    }
}

async fn visit(
    State(visits): State<Visits>,
    Extension(peer): Extension<SocketAddr>,
    Path(name): Path<String>,
) -> String {
    let count = visits.count(&name);
    format!(
        "{name}, from {}, is here for the {count}. time\n",
        peer.ip()
    )
}

/// Handlers are ordinary code of heist's: they sleep, spawn, and set limits to what they await.
async fn nap(Path(milliseconds): Path<u64>) -> (StatusCode, &'static str) {
    let nap = heist::sleep(Duration::from_millis(milliseconds));
    match heist::timeout(PATIENCE, nap).await {
        Ok(()) => (StatusCode::OK, "Good morning.\n"),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "That is too long.\n"),
    }
}

#[heist::main]
async fn main() -> io::Result<()> {
    let options = options::Options::parse("127.0.0.1:8080")?;
    let app = Router::new()
        .route("/visits/{name}", get(visit))
        .route("/nap/{milliseconds}", get(nap))
        .with_state(Visits::default());

    let listener = TcpListener::bind(options.address.as_str()).await?;
    println!(
        "serving http://{}/visits/you ({})",
        listener.local_addr()?,
        options.how_it_ends()
    );
    let report = heist_hyper::serve(listener, app)
        .max_connections(10_000)
        // For those handlers that want to know.
        .on_request(|request, peer| {
            request.extensions_mut().insert(*peer);
        })
        .on_error(|error, peer| println!("{peer}: {error}"))
        .graceful_shutdown(async move { options.ended().await }, GRACE)
        .await?;
    println!(
        "answered {} requests on {} connections, {} of them after the end had come; {} were cut off",
        report.requests_answered(),
        report.connections(),
        report.requests_drained(),
        report.requests_cut_off(),
    );
    Ok(())
}
