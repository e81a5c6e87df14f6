//! An HTTP server of one function: `heist_hyper::serve`, with somebody who can stop it.

use heist::net::TcpListener;
use heist::sync::Event;
use heist_hyper::{ServeReport, serve};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Request, Response, StatusCode};
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long requests under way may take once the server is to end; then they are cancelled.
const GRACE: Duration = Duration::from_secs(5);

/// A server, for whoever starts and stops it.
#[derive(Clone, Default)]
pub(crate) struct Server(Arc<State>);

#[derive(Default)]
struct State {
    stopping: Event,
    /// Connections that ended by an error: the peer was gone, or spoke something else.
    broken: AtomicU64,
}

impl Server {
    /// Serves until [`stop`](Self::stop) is called, and returns when the last connection has ended.
    pub(crate) async fn serve(&self, listener: TcpListener) -> io::Result<ServeReport> {
        let (stopped, counted) = (self.0.clone(), self.0.clone());
        serve(listener, tower::service_fn(answer))
            .on_error(move |_, _| {
                counted.broken.fetch_add(1, Ordering::Relaxed);
            })
            .graceful_shutdown(async move { stopped.stopping.wait().await }, GRACE)
            .await
    }

    /// Ends [`serve`](Self::serve): no more connections are accepted, idle ones are closed, and requests under way answered.
    pub(crate) fn stop(&self) {
        self.0.stopping.set();
    }

    /// How many connections were broken off so far.
    pub(crate) fn broken(&self) -> u64 {
        self.0.broken.load(Ordering::Relaxed)
    }
}

/// `/` greets, `/double/N` doubles N, all else is not found.
async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path();
    let number = path
        .strip_prefix("/double/")
        .and_then(|n| n.parse::<u32>().ok());
    let (status, text) = match (path, number) {
        ("/", _) => (StatusCode::OK, Bytes::from_static(b"Hello, world!\n")),
        (_, Some(n)) => (StatusCode::OK, Bytes::from((u64::from(n) * 2).to_string())),
        _ => (
            StatusCode::NOT_FOUND,
            Bytes::from_static(b"There is nothing here.\n"),
        ),
    };
    let mut response = Response::new(Full::new(text));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    Ok(response)
}
