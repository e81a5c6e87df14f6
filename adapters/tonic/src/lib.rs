//! [tonic](https://docs.rs/tonic) (gRPC) on [heist](https://docs.rs/heist): what tonic's own `transport` does on tokio, without a tokio runtime.
//!
//! * [`serve`] answers with generated services, by [`heist_hyper::serve`] over HTTP/2 alone, whose limits and graceful end it has.
//! * [`Channel`] is what generated clients take: it connects when it is first used, and anew when a connection is gone.
//! * [`Deadlines`] holds calls to their `grpc-timeout`, on both sides; both of the above have it already.
//!
//! Depend on tonic with `default-features = false` and the features `codegen` and `router`: its `transport` is what starts a tokio runtime's
//! parts.
//!
//! # Examples
//!
//! ```
//! use greeter::{Greeting, Hello};
//! use greeter::greeter_client::GreeterClient;
//! # use greeter::greeter_server::{Greeter, GreeterServer};
//! use heist::net::TcpListener;
//! use heist_tonic::Channel;
//! use tonic::service::Routes;
//! # use tonic::{Request, Response, Status, Streaming};
//! # struct Polite;
//! # type Greetings = futures_util::stream::Empty<Result<Greeting, Status>>;
//! # #[tonic::async_trait]
//! # impl Greeter for Polite {
//! #     type GreetOftenStream = Greetings;
//! #     type GreetEachStream = Greetings;
//! #     async fn greet(&self, hello: Request<Hello>) -> Result<Response<Greeting>, Status> {
//! #         Ok(Response::new(Greeting { text: format!("Hello, {}!", hello.get_ref().name) }))
//! #     }
//! #     async fn greet_often(&self, _: Request<Hello>) -> Result<Response<Greetings>, Status> {
//! #         Err(Status::unimplemented(""))
//! #     }
//! #     async fn greet_all(&self, _: Request<Streaming<Hello>>) -> Result<Response<Greeting>, Status> {
//! #         Err(Status::unimplemented(""))
//! #     }
//! #     async fn greet_each(&self, _: Request<Streaming<Hello>>) -> Result<Response<Greetings>, Status> {
//! #         Err(Status::unimplemented(""))
//! #     }
//! # }
//!
//! # heist::run(async {
//! let listener = TcpListener::bind("127.0.0.1:0").await?;
//! let uri = format!("http://{}", listener.local_addr()?);
//! // `Polite` implements the generated trait `Greeter`.
//! let routes = Routes::new(GreeterServer::new(Polite));
//! let server = heist::spawn(heist_tonic::serve(listener, routes).into_future());
//!
//! let mut client = GreeterClient::new(Channel::new(uri.parse()?));
//! let greeting = client.greet(Hello::from("Ada")).await?;
//! assert_eq!(greeting.get_ref().text, "Hello, Ada!");
//! server.cancel(None);
//! # let _ = server.await;
//! # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
//! # }).unwrap().unwrap();
//! ```
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod channel;
mod deadlines;

pub use channel::Channel;
pub use deadlines::{Answering, Deadlines};

use heist_hyper::{Listener, Serve};
use tonic::service::Routes;

/// Serves gRPC on `listener`: [`heist_hyper::serve`] over HTTP/2 alone, where every call is held to its `grpc-timeout`.
///
/// What is given can be told more, such as a graceful end, and is then awaited. For other layers round the routes, call [`heist_hyper::serve`]
/// with them, and put [`Deadlines`] on the inside.
///
/// # Examples
///
/// ```
/// # async fn example(listener: heist::net::TcpListener, stop: heist::Deferred<()>) -> std::io::Result<()> {
/// use std::time::Duration;
/// use tonic::service::Routes;
///
/// let report = heist_tonic::serve(listener, Routes::default())
///     .http2(|http2| {
///         http2.keep_alive_interval(Duration::from_secs(60));
///     })
///     .graceful_shutdown(stop, Duration::from_secs(10))
///     .await?;
/// println!("{report:?}");
/// # Ok(())
/// # }
/// ```
#[doc(alias = "tonic::transport::Server")]
pub fn serve<L: Listener>(listener: L, routes: Routes) -> Serve<L, Deadlines<Routes>> {
    heist_hyper::serve(listener, Deadlines::new(routes)).http2_only()
}

/// The README's examples are tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
