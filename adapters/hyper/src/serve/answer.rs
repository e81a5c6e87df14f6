//! A tower service as hyper's, and its answers, counted until they are out.

use super::OnRequest;
use super::links::{Link, Request as Counted};
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tower_service::Service;

/// The service of one connection.
pub(super) struct Answers<S, P> {
    pub(super) service: S,
    pub(super) link: Arc<Link>,
    pub(super) peer: Arc<P>,
    pub(super) on_request: Option<OnRequest<P>>,
}

impl<S, B, P> hyper::service::Service<Request<Incoming>> for Answers<S, P>
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone,
    B: Body,
{
    type Response = Response<Answer<B>>;
    type Error = S::Error;
    type Future = Answering<S, S::Future>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let counted = Counted::begin(&self.link);
        if let Some(on_request) = &self.on_request {
            on_request(&mut request, &self.peer);
        }
        Answering {
            stage: Stage::Waiting {
                service: self.service.clone(),
                request: Some(request),
            },
            counted: Some(counted),
        }
    }
}

pin_project! {
    /// A request's way: until the service is ready, then until it has answered.
    pub(super) struct Answering<S, F> {
        #[pin]
        stage: Stage<S, F>,
        counted: Option<Counted>,
    }
}

pin_project! {
    #[project = StageProjection]
    enum Stage<S, F> {
        Waiting { service: S, request: Option<Request<Incoming>> },
        Called { #[pin] future: F },
    }
}

impl<S, B> Future for Answering<S, S::Future>
where
    S: Service<Request<Incoming>, Response = Response<B>>,
    B: Body,
{
    type Output = Result<Response<Answer<B>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let future = match this.stage.as_mut().project() {
                StageProjection::Called { future } => {
                    let response = ready!(future.poll(cx))?;
                    let mut counted = this.counted.take();
                    if let Some(counted) = &mut counted {
                        counted.set_held(true);
                    }
                    return Poll::Ready(Ok(response.map(|body| Answer {
                        body,
                        counted,
                        is_begun: false,
                        is_complete: false,
                    })));
                }
                StageProjection::Waiting { service, request } => {
                    ready!(service.poll_ready(cx))?;
                    match request.take() {
                        Some(request) => service.call(request),
                        // A poll of its before has panicked.
                        None => return Poll::Pending,
                    }
                }
            };
            this.stage.set(Stage::Called { future });
        }
    }
}

pin_project! {
    /// The body of an answer.
    pub(super) struct Answer<B: Body> {
        #[pin]
        body: B,
        counted: Option<Counted>,
        is_begun: bool,
        is_complete: bool,
    }

    impl<B: Body> PinnedDrop for Answer<B> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            // One that nobody looked into belongs to an answer that has none: to a HEAD, or a 304.
            let complete = *this.is_complete || !*this.is_begun || this.body.is_end_stream();
            if let (Some(counted), true) = (this.counted, complete) {
                counted.set_answered();
            }
        }
    }
}

impl<B: Body> Body for Answer<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        *this.is_begun = true;
        let polled = this.body.poll_frame(cx);
        // hyper asks for the next frame once there is room for it.
        if let Some(counted) = this.counted {
            counted.set_held(polled.is_ready());
        }
        let frame = ready!(polled);
        *this.is_complete |= frame.is_none();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
