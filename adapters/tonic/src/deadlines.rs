//! Calls that end when their time is up: `grpc-timeout`, as gRPC over HTTP/2 has it.

use heist::time::{self, Sleep};
use http::{HeaderMap, Request, Response};
use http_body::{Frame, SizeHint};
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tonic::Status;
use tonic::body::Body;
use tower_service::Service;

/// A service whose calls end in time, with the status `DEADLINE_EXCEEDED`.
///
/// The time is what the request's `grpc-timeout` says, or the service's own [limit](Self::limit) if that is shorter. It runs from the call to the
/// last byte of the answer: a stream is ended in its middle, by trailers with the status.
///
/// A handler is ended as by [`heist::timeout`]: it can [catch](heist::catch_cancel) that and clean up, which the answer then waits for. If the
/// client gives up first, it is dropped where it stands.
///
/// Both sides need it: a client whose server has gone silent would wait for ever. [`serve`](crate::serve()) and
/// [`Channel`](crate::Channel) have it.
#[derive(Clone, Debug)]
pub struct Deadlines<S> {
    inner: S,
    limit: Option<Duration>,
}

impl<S> Deadlines<S> {
    /// Calls may take as long as they say.
    pub fn new(inner: S) -> Self {
        Self { inner, limit: None }
    }

    /// No call may take longer than this, whatever it says.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    /// The service inside.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    pub(crate) fn map(self, change: impl FnOnce(S) -> S) -> Self {
        Self {
            inner: change(self.inner),
            limit: self.limit,
        }
    }
}

impl<S, R> Service<Request<R>> for Deadlines<S>
where
    S: Service<Request<R>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Answering<S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<R>) -> Answering<S::Error> {
        let asked = timeout_of(request.headers());
        let limit = match (asked, self.limit) {
            (Some(asked), Some(limit)) => Some(asked.min(limit)),
            (asked, limit) => asked.or(limit),
        };
        let answering = self.inner.call(request);
        Answering(match limit {
            None => Box::pin(answering),
            Some(limit) => Box::pin(within(limit, answering)),
        })
    }
}

/// The future of a call; see [`Deadlines`].
#[must_use = "futures do nothing unless awaited"]
pub struct Answering<E>(Pin<Box<dyn Future<Output = Result<Response<Body>, E>> + Send>>);

impl<E> Future for Answering<E> {
    type Output = Result<Response<Body>, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl<E> fmt::Debug for Answering<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answering").finish_non_exhaustive()
    }
}

async fn within<E>(
    limit: Duration,
    answering: impl Future<Output = Result<Response<Body>, E>>,
) -> Result<Response<Body>, E> {
    // It runs for the answer's body as well.
    let sleep = time::sleep(limit);
    let answered = match sleep.deadline() {
        Some(deadline) => heist::timeout_at(deadline, answering).await,
        None => Ok(answering.await),
    };
    match answered {
        Ok(answered) => {
            answered.map(|answer| answer.map(|body| Body::new(Limited::new(body, sleep))))
        }
        Err(_) => Ok(exceeded().into_http()),
    }
}

fn exceeded() -> Status {
    Status::deadline_exceeded("the call's time is up")
}

/// A body that ends in time.
struct Limited {
    /// None once its time was up.
    body: Option<Body>,
    sleep: Sleep,
}

impl Limited {
    fn new(body: Body, sleep: Sleep) -> Self {
        Self {
            body: Some(body),
            sleep,
        }
    }
}

impl http_body::Body for Limited {
    type Data = <Body as http_body::Body>::Data;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Status>>> {
        let this = &mut *self;
        let Some(body) = &mut this.body else {
            return Poll::Ready(None);
        };
        // First: a body that always has something ready is to end as well.
        if Pin::new(&mut this.sleep).poll(cx).is_pending() {
            return Pin::new(body).poll_frame(cx);
        }
        this.body = None;
        let mut trailers = HeaderMap::new();
        Poll::Ready(Some(
            exceeded()
                .add_header(&mut trailers)
                .map(|()| Frame::trailers(trailers)),
        ))
    }

    fn is_end_stream(&self) -> bool {
        self.body
            .as_ref()
            .is_none_or(http_body::Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .as_ref()
            .map_or_else(SizeHint::default, http_body::Body::size_hint)
    }
}

/// What `grpc-timeout` says: at most eight digits and a unit. One that says something else is passed over, as others do.
fn timeout_of(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(number * 3600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn of(text: &'static str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert("grpc-timeout", HeaderValue::from_static(text));
        timeout_of(&headers)
    }

    #[test]
    fn every_unit_is_understood() {
        assert_eq!(of("2H"), Some(Duration::from_secs(7200)));
        assert_eq!(of("3M"), Some(Duration::from_secs(180)));
        assert_eq!(of("42S"), Some(Duration::from_secs(42)));
        assert_eq!(of("5m"), Some(Duration::from_millis(5)));
        assert_eq!(of("6u"), Some(Duration::from_micros(6)));
        assert_eq!(of("7n"), Some(Duration::from_nanos(7)));
        assert_eq!(
            of("99999999H"),
            Some(Duration::from_secs(99_999_999 * 3600))
        );
    }

    #[test]
    fn what_is_no_timeout_is_passed_over() {
        for text in [
            "",
            "S",
            "1",
            "1s",
            "+1S",
            "-1S",
            "1 S",
            "123456789S",
            "1.5S",
        ] {
            assert_eq!(of(text), None, "{text:?}");
        }
        assert_eq!(timeout_of(&HeaderMap::new()), None);
    }
}
