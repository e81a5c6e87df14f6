//! [hyper](https://docs.rs/hyper) 1 on [heist](https://docs.rs/heist): what hyper asks of a runtime, and a server for any tower service.
//!
//! * [`serve`] answers on a listener with a service: an axum `Router` as it is, tonic's `Routes`, a `tower::service_fn`. HTTP/1 and HTTP/2
//!   on one port, limits on time, connections and memory, and an end that lets requests under way be answered.
//! * [`HeistExecutor`] and [`HeistTimer`] are for those who use hyper by hand: its connections, hyper-util's client, any crate that takes
//!   hyper's `rt` traits. heist's streams implement `hyper::rt::{Read, Write}` themselves.
//! * `client` (feature `client`): hyper-util's pooled client on heist's sockets.
//!
//! No tokio runtime is started, needed or entered anywhere.
//!
//! # Examples
//!
//! ```
//! # #[cfg(feature = "http1")] {
//! use axum::{Router, routing::get};
//! use heist::net::TcpListener;
//! use std::time::Duration;
//!
//! # heist::run(async {
//! let app = Router::new().route("/", get(|| async { "hello" }));
//! let listener = TcpListener::bind("127.0.0.1:0").await?;
//!
//! let (stop, stopped) = heist::promise::<()>();
//! let server = heist::spawn(async move {
//!     heist_hyper::serve(listener, app)
//!         .max_connections(10_000)
//!         .graceful_shutdown(async { drop(stopped.await) }, Duration::from_secs(5))
//!         .await
//! });
//!
//! let _ = stop.set(());
//! let report = server.await.unwrap()?;
//! assert_eq!(report.requests_cut_off(), 0);
//! # Ok::<(), std::io::Error>(())
//! # }).unwrap().unwrap();
//! # }
//! ```
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `http1` | yes | [`serve`] over HTTP/1 |
//! | `http2` | yes | [`serve`] over HTTP/2, by prior knowledge or TLS |
//! | `client` | no | `client`: hyper-util's pooled client on heist's sockets |
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "client")]
#[cfg_attr(docsrs, doc(cfg(feature = "client")))]
pub mod client;
mod executor;
#[cfg(any(feature = "http1", feature = "http2"))]
mod listener;
#[cfg(any(feature = "http1", feature = "http2"))]
mod serve;
mod timer;

pub use executor::HeistExecutor;
pub use timer::{HeistSleep, HeistTimer};

#[cfg(any(feature = "http1", feature = "http2"))]
#[cfg_attr(docsrs, doc(cfg(any(feature = "http1", feature = "http2"))))]
pub use self::{
    listener::{AcceptOptions, Handshake, Listener},
    serve::{ConnectionError, Serve, ServeReport, Serving, serve},
};

/// The README's examples are tests.
#[cfg(all(doctest, feature = "http1", feature = "http2"))]
#[doc = include_str!("../README.md")]
struct Readme;
