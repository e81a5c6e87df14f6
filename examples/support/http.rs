//! An HTTP/1.1 server: hyper on heist, keep-alive, a task for each connection, and a graceful end.

#[path = "drain.rs"]
mod drain;
#[path = "hyper_timer.rs"]
mod hyper_timer;

use self::drain::{Drain, Guard};
use self::hyper_timer::HeistTimer;
use heist::net::{TcpListener, TcpStream};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

/// A client that takes longer to send a request's header, or the next request, is hung up on.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// A server, for whoever starts and stops it.
#[derive(Clone, Default)]
pub(crate) struct Server {
    drain: Drain,
    counters: Arc<Counters>,
}

/// What a server has done.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) connections: AtomicU64,
    pub(crate) requests: AtomicU64,
    /// Connections that ended by an error: the peer was gone, or spoke something else.
    pub(crate) broken: AtomicU64,
}

impl Server {
    /// Serves until [`stop`](Self::stop) is called, and returns when the last connection has ended.
    pub(crate) async fn serve(&self, listener: TcpListener) -> io::Result<()> {
        let mut stopping = self.drain.guard();
        loop {
            let accepted = poll_fn(|cx| match stopping.poll_begun(cx) {
                Poll::Ready(()) => Poll::Ready(None),
                Poll::Pending => listener.poll_accept(cx).map(Some),
            });
            let Some(accepted) = accepted.await else {
                break;
            };
            let (stream, _) = accepted?;
            self.counters.connections.fetch_add(1, Ordering::Relaxed);
            heist::spawn(self.clone().connection(stream, self.drain.guard())).detach();
        }
        drop((listener, stopping));
        self.drain.finished().await;
        Ok(())
    }

    /// Ends [`serve`](Self::serve): no more connections are accepted, idle ones are closed, and requests under way answered.
    pub(crate) fn stop(&self) {
        self.drain.begin();
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    async fn connection(self, stream: TcpStream, mut stopping: Guard) {
        // Answers are small and whole: nothing is gained by waiting for more bytes.
        let _ = stream.set_nodelay(true);
        let mut connection = pin!(
            http1::Builder::new()
                .timer(HeistTimer)
                .header_read_timeout(HEADER_TIMEOUT)
                .serve_connection(stream, service_fn(|request| self.answer(request)))
        );
        let mut is_told = false;
        let ended = poll_fn(|cx| {
            if !is_told && stopping.poll_begun(cx).is_ready() {
                is_told = true;
                connection.as_mut().graceful_shutdown();
            }
            connection.as_mut().poll(cx)
        });
        if ended.await.is_err() {
            self.counters.broken.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// `/` greets, `/double/N` doubles N, all else is not found.
    async fn answer(
        &self,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        self.counters.requests.fetch_add(1, Ordering::Relaxed);
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
}
