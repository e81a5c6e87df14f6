//! How many HTTP requests does hyper answer on the runtime's streams, and how long do they wait?

use std::convert::Infallible;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};

use super::serving::{self, Client};
use super::{Plan, Sample, wrk};
use crate::load::Kind;
use crate::rt::Rt;

const CONNECTIONS: usize = 64;

pub(super) fn own_client<R: Rt>(plan: Plan) -> Sample {
    let client = Client::all_active(Kind::Http, CONNECTIONS);
    serving::serve::<R, _>(plan, answer::<R>, move |address| {
        client.sample(plan, address)
    })
}

pub(super) fn wrk<R: Rt>(plan: Plan) -> Sample {
    serving::serve::<R, _>(plan, answer::<R>, move |address| {
        wrk::sample(plan, address, CONNECTIONS)
    })
}

/// Answers the requests of one connection.
async fn answer<R: Rt>(stream: R::Stream) {
    let service = service_fn(async |_: Request<Incoming>| {
        let hello = Full::new(Bytes::from_static(b"Hello, World!"));
        Ok::<_, Infallible>(Response::new(hello))
    });
    // Without a timer, which would have to be each runtime's own: there is no timeout for the head of a request.
    // An error is the client's end, which is a reset.
    let _ = http1::Builder::new()
        .serve_connection(R::hyper(stream), service)
        .await;
}
