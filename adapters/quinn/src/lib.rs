//! quinn's [`Runtime`] for heist: QUIC endpoints whose tasks, timers and sockets are heist's.
//!
//! Give a [`HeistRuntime`] to [`quinn::Endpoint::new`]; nothing else is needed. Datagrams go in and out by quinn-udp, many in one system call where the
//! system can (GSO, GRO), with ECN marks, on a socket that waits in heist's own driver.
//!
//! # Cancellation
//!
//! A task that is cancelled while it awaits a stream or a connection drops that future, as the other side of a `select!` would be; what quinn says of
//! the cancel safety of its methods holds. quinn's own tasks belong to nobody's task group: they end when their endpoint and connections do, and a
//! shutdown of the runtime ends them with the rest. [`quinn::Endpoint::wait_idle`] before that lets the peers hear of it.
//!
//! # Examples
//!
//! A client, which trusts whom you tell it to:
//!
//! ```no_run
//! use heist_quinn::HeistRuntime;
//! use quinn::{Endpoint, EndpointConfig};
//! use std::{net::UdpSocket, sync::Arc};
//!
//! # fn config() -> quinn::ClientConfig { unimplemented!() }
//! # heist::run(async {
//! let socket = UdpSocket::bind("127.0.0.1:0")?;
//! let runtime = Arc::new(HeistRuntime::current()?);
//! let mut endpoint = Endpoint::new(EndpointConfig::default(), None, socket, runtime)?;
//! endpoint.set_default_client_config(config());
//!
//! let connection = endpoint.connect("127.0.0.1:4433".parse()?, "localhost")?.await?;
//! let (mut send, mut receive) = connection.open_bi().await?;
//! send.write_all(b"hello").await?;
//! send.finish()?;
//! assert_eq!(receive.read_to_end(64).await?, b"hello");
//! # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
//! # }).unwrap().unwrap();
//! ```
#![forbid(unsafe_code)]

mod poller;
mod socket;
mod timer;

use quinn::{AsyncTimer, AsyncUdpSocket, Runtime};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use socket::Socket;
use timer::Timer;

/// A heist runtime, as quinn sees it.
///
/// It keeps a handle, so that connections can be opened, and endpoints closed, on threads that are not the runtime's.
///
/// # Examples
///
/// ```
/// use heist_quinn::HeistRuntime;
/// use quinn::{Endpoint, EndpointConfig};
/// use std::{net::UdpSocket, sync::Arc};
///
/// let runtime = heist::Runtime::new()?;
/// let quic = Arc::new(HeistRuntime::from(runtime.handle().clone()));
/// let socket = UdpSocket::bind("127.0.0.1:0")?;
/// let endpoint = Endpoint::new(EndpointConfig::default(), None, socket, quic)?;
/// assert!(endpoint.local_addr()?.ip().is_loopback());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct HeistRuntime {
    handle: heist::Handle,
}

impl HeistRuntime {
    /// The runtime that this thread is in.
    ///
    /// # Errors
    ///
    /// It is in none: see [`heist::Handle::enter`].
    ///
    /// # Examples
    ///
    /// ```
    /// use heist_quinn::HeistRuntime;
    ///
    /// assert!(HeistRuntime::current().is_err());
    /// # heist::run(async {
    /// assert!(HeistRuntime::current().is_ok());
    /// # }).unwrap();
    /// ```
    pub fn current() -> io::Result<Self> {
        match heist::Handle::current() {
            Some(handle) => Ok(Self { handle }),
            None => Err(io::Error::other(
                "this thread is in no heist runtime: call this in a task, or enter a handle first",
            )),
        }
    }
}

impl From<heist::Handle> for HeistRuntime {
    fn from(handle: heist::Handle) -> Self {
        Self { handle }
    }
}

impl Runtime for HeistRuntime {
    fn new_timer(&self, deadline: Instant) -> Pin<Box<dyn AsyncTimer>> {
        Box::pin(Timer::new(deadline))
    }

    #[track_caller]
    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) {
        self.handle.spawn(future).detach();
    }

    fn wrap_udp_socket(&self, socket: std::net::UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        let _entered = self.handle.enter();
        Ok(Arc::new(Socket::new(socket)?))
    }

    /// By the clock that the timers go by.
    fn now(&self) -> Instant {
        self.handle.clock().now()
    }
}
