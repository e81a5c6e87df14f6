//! hickory's [`RuntimeProvider`] for heist: names are looked up by tasks and sockets of heist's, without a blocking thread for each.
//!
//! Give a [`HeistProvider`] to a resolver of hickory-resolver, or to a client of hickory-net. Over UDP and TCP; hickory's features for TLS, HTTPS
//! and QUIC bring tokio's runtime with them.
//!
//! What the system itself would answer, with its hosts file and its modules, is [`heist::net`]'s to ask: its `connect` and `bind` do when they
//! get a name.
//!
//! # Cancellation
//!
//! A lookup that is cancelled drops its sockets, and what hickory says of dropping it holds. The tasks that hickory spawns for its TCP connections
//! belong to nobody's task group: they end with the last resolver that uses them, and a shutdown of the runtime ends them with the rest.
//!
//! # Examples
//!
//! ```
//! use heist_hickory::HeistProvider;
//! use hickory_resolver::Resolver;
//! use hickory_resolver::config::{NameServerConfig, ResolverConfig};
//! use std::net::{IpAddr, Ipv4Addr};
//!
//! # heist::run(async {
//! let nameserver = NameServerConfig::udp_and_tcp(IpAddr::V4(Ipv4Addr::LOCALHOST));
//! let config = ResolverConfig::from_name_servers(vec![nameserver]);
//! let resolver = Resolver::builder_with_config(config, HeistProvider::current()?).build()?;
//!
//! // A name that no server need be asked for.
//! let found = resolver.lookup_ip("localhost.").await?;
//! assert!(found.iter().all(|address| address.is_loopback()));
//! # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
//! # }).unwrap().unwrap();
//! ```
#![forbid(unsafe_code)]

mod tcp;
mod time;
mod udp;

pub use tcp::HeistTcpStream;
pub use time::HeistTime;
pub use udp::HeistUdpSocket;

use hickory_net::runtime::{RuntimeProvider, Spawn, Time};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

/// For a connection, where the resolver names no limit; hickory's own for tokio.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A heist runtime, as hickory sees it.
///
/// It keeps a handle, so that hickory's background tasks run on that runtime, wherever a lookup is polled.
///
/// # Examples
///
/// ```
/// use heist_hickory::HeistProvider;
///
/// assert!(HeistProvider::current().is_err());
/// let runtime = heist::Runtime::new()?;
/// let provider = HeistProvider::from(runtime.handle().clone());
/// # drop(provider);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct HeistProvider {
    handle: HeistHandle,
}

impl HeistProvider {
    /// The runtime that this thread is in.
    ///
    /// # Errors
    ///
    /// It is in none: see [`heist::Handle::enter`].
    pub fn current() -> io::Result<Self> {
        match heist::Handle::current() {
            Some(handle) => Ok(handle.into()),
            None => Err(io::Error::other(
                "this thread is in no heist runtime: call this in a task, or enter a handle first",
            )),
        }
    }
}

impl From<heist::Handle> for HeistProvider {
    fn from(handle: heist::Handle) -> Self {
        Self {
            handle: HeistHandle(handle),
        }
    }
}

impl RuntimeProvider for HeistProvider {
    type Handle = HeistHandle;
    type Timer = HeistTime;
    type Udp = HeistUdpSocket;
    type Tcp = HeistTcpStream;

    fn create_handle(&self) -> HeistHandle {
        self.handle.clone()
    }

    fn connect_tcp(
        &self,
        server: SocketAddr,
        bind: Option<SocketAddr>,
        timeout: Option<Duration>,
    ) -> Pin<Box<dyn Send + Future<Output = io::Result<HeistTcpStream>>>> {
        Box::pin(async move {
            let limit = timeout.unwrap_or(CONNECT_TIMEOUT);
            HeistTime::timeout(limit, HeistTcpStream::connect(server, bind)).await?
        })
    }

    fn bind_udp(
        &self,
        local: SocketAddr,
        _server: SocketAddr,
    ) -> Pin<Box<dyn Send + Future<Output = io::Result<HeistUdpSocket>>>> {
        Box::pin(async move { HeistUdpSocket::bind(local) })
    }
}

/// Spawns hickory's background tasks. Each runs until it has nothing left to do, or the runtime shuts down.
///
/// # Examples
///
/// ```
/// use heist_hickory::HeistProvider;
/// use hickory_net::runtime::{RuntimeProvider, Spawn};
/// use std::sync::mpsc;
///
/// let runtime = heist::Runtime::new()?;
/// let mut handle = HeistProvider::from(runtime.handle().clone()).create_handle();
/// let (sender, receiver) = mpsc::channel();
/// handle.spawn_bg(async move { sender.send(42).unwrap() });
/// assert_eq!(receiver.recv(), Ok(42));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct HeistHandle(heist::Handle);

impl Spawn for HeistHandle {
    #[track_caller]
    fn spawn_bg(&mut self, future: impl Future<Output = ()> + Send + 'static) {
        self.0.spawn(future).detach();
    }
}
