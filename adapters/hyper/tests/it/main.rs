//! What a server does, over real sockets.

mod bad_input;
#[cfg(feature = "client")]
mod client;
mod curl;
mod ending;
mod failures;
#[path = "../../../../tests/it/limit.rs"]
mod limit;
mod limits;
mod runtime;
mod support;
#[cfg(unix)]
mod unix;
