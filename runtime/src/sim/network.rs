//! The simulation's network, as its test sees it.

use super::{Sim, world};
use crate::context::{self, ContextVar};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

pub use heist_io_driver::sim::NetConfig;

/// On which host the running code is. Whatever it spawns is there too.
static HOST: ContextVar<Arc<str>> = ContextVar::new("heist::sim::host");

pub(super) fn host() -> Option<Arc<str>> {
    HOST.get()
}

/// A host of a simulated network: a name and an address, made by [`Sim::host`].
///
/// Hosts are for tests of several machines: each has its own ports and its own loopback addresses, and can be cut off. What runs on no host runs on
/// the test's own machine, which has every address that no host has, may bind those of the hosts as well, and is seen by them as 192.0.2.1.
///
/// # Examples
///
/// ```
/// use heist_io_driver::net::{TcpListener, TcpStream};
/// use heist_runtime::sim;
///
/// let from = sim::run(3, |sim| async move {
///     let db = sim.host("db", [10, 0, 0, 1]);
///     let web = sim.host("web", [10, 0, 0, 2]);
///     let listener = db.run(TcpListener::bind("0.0.0.0:5432")).await.unwrap();
///     let client = heist_runtime::spawn(web.run(TcpStream::connect("db:5432")));
///     let (_stream, peer) = listener.accept().await.unwrap();
///     client.await.unwrap().unwrap();
///     peer.ip()
/// });
/// assert_eq!(from.to_string(), "10.0.0.2");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    name: Arc<str>,
    ip: IpAddr,
}

impl Host {
    /// The name that it is found by.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its address.
    pub fn ip(&self) -> IpAddr {
        self.ip
    }

    /// Runs `future` on this host, and there whatever it spawns.
    pub fn run<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        let mut context = context::copy_context();
        context.run(|| drop(HOST.set(self.name.clone())));
        context.enclose(future)
    }
}

/// The network. Outside of a simulation nothing comes of these.
impl Sim {
    /// Makes a host known under `name`, with that address. One more call with the same name gives it one more address.
    ///
    /// In a simulation only these names and `localhost` are found; nobody asks the system.
    pub fn host(self, name: &str, ip: impl Into<IpAddr>) -> Host {
        let (name, ip) = (Arc::from(name), ip.into());
        if let Some(world) = world::here() {
            world.network().add_host(&name, ip);
        }
        Host { name, ip }
    }

    /// Resets every connection that has an end at `at`, as if both ends had heard it from the other one: with port 0 those of all its ports. Says how many.
    pub fn reset(self, at: impl Into<SocketAddr>) -> usize {
        world::here().map_or(0, |world| world.network().reset(at.into()))
    }

    /// Nothing gets from one address to the other any more, nor back, until they are [healed](Self::heal). What has been sent waits: connections are not told,
    /// until they give up (a handshake after 127 s, one with something to send after a quarter of an hour).
    pub fn partition(self, one: impl Into<IpAddr>, other: impl Into<IpAddr>) {
        if let Some(world) = world::here() {
            world.network().cut(one.into(), other.into());
        }
    }

    /// Ends a [`partition`](Self::partition): what waits is sent again within a fraction of a second.
    pub fn heal(self, one: impl Into<IpAddr>, other: impl Into<IpAddr>) {
        if let Some(world) = world::here() {
            world.network().heal(one.into(), other.into());
        }
    }

    /// Changes how the network behaves from now on.
    pub fn set_network(self, config: NetConfig) {
        if let Some(world) = world::here() {
            world.network().configure(config);
        }
    }
}
