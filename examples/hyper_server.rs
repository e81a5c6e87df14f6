//! hyper by hand: what it needs of a runtime is a stream, a timer and a task for each connection. `heist_hyper::serve` (see `axum_server`) does
//! this with limits and a graceful end; by hand one has every setting of hyper's.
//!
//! ```sh
//! cargo run --example hyper_server                          # ends with Ctrl-C
//! cargo run --example hyper_server -- 127.0.0.1:0 --seconds 60
//!
//! curl http://127.0.0.1:8080/
//! curl -d 'some words' http://127.0.0.1:8080/shout
//! ```
#![allow(clippy::print_stdout)]

#[path = "support/options.rs"]
mod options;

use heist::TaskGroup;
use heist::net::{TcpListener, TcpStream};
use heist_hyper::HeistTimer;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use std::convert::Infallible;
use std::io;
use std::time::Duration;

/// The longest body that is read.
const LONGEST: usize = 64 * 1024;

#[heist::main]
async fn main() -> io::Result<()> {
    let options = options::Options::parse("127.0.0.1:8080")?;
    let listener = TcpListener::bind(options.address.as_str()).await?;
    println!(
        "serving http://{}/ ({})",
        listener.local_addr()?,
        options.how_it_ends()
    );

    // Connections are tasks of a group, and so is the task that accepts them: they end with it, and it with them if one panics.
    let ended = TaskGroup::run(|group| async move {
        let accepting = group.try_spawn(accept(listener, group.clone()));
        drop(accepting);
        let ended = options.ended().await;
        group.cancel();
        ended
    });
    ended.await.map_err(io::Error::other)?
}

async fn accept(listener: TcpListener, group: TaskGroup) -> io::Result<()> {
    loop {
        let (stream, peer) = listener.accept().await?;
        let connection = group.spawn(async move {
            if let Err(error) = serve(stream).await {
                println!("{peer}: {error}");
            }
        });
        drop(connection);
    }
}

/// One connection: requests and answers, until one side has had enough.
async fn serve(stream: TcpStream) -> hyper::Result<()> {
    http1::Builder::new()
        // Without a timer there is no time limit, and one that is asked for is a panic.
        .timer(HeistTimer)
        .header_read_timeout(Duration::from_secs(30))
        .max_headers(64)
        .serve_connection(stream, service_fn(answer))
        .await
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (status, text) = match (request.method(), request.uri().path()) {
        (&Method::GET, "/") => (StatusCode::OK, "Hello, world!\n".into()),
        (&Method::POST, "/shout") => {
            match Limited::new(request.into_body(), LONGEST).collect().await {
                Ok(body) => (StatusCode::OK, body.to_bytes().to_ascii_uppercase()),
                Err(error) => (StatusCode::BAD_REQUEST, format!("{error}\n").into_bytes()),
            }
        }
        _ => (StatusCode::NOT_FOUND, "There is nothing here.\n".into()),
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    Ok(response)
}
