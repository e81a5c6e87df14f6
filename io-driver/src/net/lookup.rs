//! From names to addresses.
//!
//! What needs no name service is answered at once, without leaving the thread. A name goes to the
//! system's resolver (`getaddrinfo`, which honours the machine's configuration), a blocking call,
//! through [`Handle::offload`].

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use super::seam;
use crate::offload::Call;

/// Finds the addresses of a host and port.
///
/// IP addresses, as values or as text, are answered at once. A name is looked up by the system's
/// resolver, off this thread. The order is the resolver's, best first.
///
/// # Examples
///
/// ```
/// # async fn example() -> std::io::Result<()> {
/// for addr in heist_io_driver::net::lookup_host("localhost:80").await? {
///     println!("{addr}");
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// `InvalidInput` if the text is not of the form `host:port`; the resolver's error if it does not
/// know the name; an error if there is no thread to be had for the lookup.
///
/// # Cancel safety
///
/// Safe: dropping the future forgets the answer. A lookup that has begun runs to its end in the
/// background; one that has not is not made.
///
/// So a time limit round it bounds the wait, and not the lookup: where no name server answers, that
/// keeps its thread for as long as the system's resolver is told to wait (glibc: 5 seconds, twice, for
/// each server in `/etc/resolv.conf`, if nothing else is said there), and then ends with an error.
/// Where many such names are to be expected, use a resolver that needs no thread for each: the
/// crate `heist-hickory`.
#[doc(alias = "getaddrinfo")]
pub async fn lookup_host<A: ToSocketAddrs>(host: A) -> io::Result<Addrs> {
    match host.target()? {
        Target::Known(addrs) => Ok(addrs),
        Target::Name { host, port } => {
            let found = Call::start(&seam::driver()?, move || seam::resolve(&host, port))?;
            Ok(Addrs::many(found.await?))
        }
    }
}

/// What can be connected or bound to. Takes everything that [`std::net::ToSocketAddrs`] takes.
///
/// The trait is sealed: it cannot be implemented outside of this crate, so that lookups can become
/// better without breaking anyone.
///
/// # Examples
///
/// ```
/// use std::net::{Ipv4Addr, SocketAddr};
///
/// # async fn example() -> std::io::Result<()> {
/// use heist_io_driver::net::TcpStream;
///
/// TcpStream::connect("localhost:80").await?;
/// TcpStream::connect(("localhost", 80)).await?;
/// TcpStream::connect((Ipv4Addr::LOCALHOST, 80)).await?;
/// let mirrors = [80, 8080].map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
/// TcpStream::connect(&mirrors).await?;
/// # Ok(())
/// # }
/// ```
pub trait ToSocketAddrs: sealed::Resolve {}

impl<T: sealed::Resolve + ?Sized> ToSocketAddrs for T {}

/// Addresses, best first. Returned by [`lookup_host`].
#[derive(Clone, Debug)]
pub struct Addrs(Repr);

#[derive(Clone, Debug)]
enum Repr {
    One(std::option::IntoIter<SocketAddr>),
    Many(std::vec::IntoIter<SocketAddr>),
}

impl Addrs {
    fn one(addr: SocketAddr) -> Addrs {
        Addrs(Repr::One(Some(addr).into_iter()))
    }

    fn many(addrs: Vec<SocketAddr>) -> Addrs {
        Addrs(Repr::Many(addrs.into_iter()))
    }
}

impl Iterator for Addrs {
    type Item = SocketAddr;

    fn next(&mut self) -> Option<SocketAddr> {
        match &mut self.0 {
            Repr::One(addr) => addr.next(),
            Repr::Many(addrs) => addrs.next(),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match &self.0 {
            Repr::One(addr) => addr.size_hint(),
            Repr::Many(addrs) => addrs.size_hint(),
        }
    }
}

impl ExactSizeIterator for Addrs {}

/// What a [`ToSocketAddrs`] stands for.
#[doc(hidden)]
#[derive(Debug)]
pub enum Target {
    /// Needs no lookup.
    Known(Addrs),
    /// Needs one.
    Name { host: String, port: u16 },
}

impl Target {
    fn of_host(host: &str, port: u16) -> Target {
        match host.parse::<IpAddr>() {
            Ok(ip) => Target::Known(Addrs::one(SocketAddr::new(ip, port))),
            Err(_) => Target::Name {
                host: host.to_owned(),
                port,
            },
        }
    }

    fn of_text(text: &str) -> io::Result<Target> {
        if let Ok(addr) = text.parse::<SocketAddr>() {
            return Ok(Target::Known(Addrs::one(addr)));
        }
        let invalid = |message: &str| {
            let message = format!("{message} in {text:?}; expected `host:port`");
            io::Error::new(io::ErrorKind::InvalidInput, message)
        };
        let (host, port) = text.rsplit_once(':').ok_or_else(|| invalid("no port"))?;
        let port = port.parse().map_err(|_| invalid("invalid port"))?;
        Ok(Target::of_host(host, port))
    }
}

mod sealed {
    use super::{Target, io};

    #[doc(hidden)]
    pub trait Resolve {
        fn target(&self) -> io::Result<Target>;
    }
}

use sealed::Resolve;

/// Address types that convert into one `SocketAddr`.
macro_rules! known {
    ($($type:ty),* $(,)?) => {$(
        impl Resolve for $type {
            fn target(&self) -> io::Result<Target> {
                Ok(Target::Known(Addrs::one(SocketAddr::from(*self))))
            }
        }
    )*};
}

known!(
    SocketAddr,
    SocketAddrV4,
    SocketAddrV6,
    (IpAddr, u16),
    (Ipv4Addr, u16),
    (Ipv6Addr, u16),
);

impl Resolve for (&str, u16) {
    fn target(&self) -> io::Result<Target> {
        Ok(Target::of_host(self.0, self.1))
    }
}

impl Resolve for (String, u16) {
    fn target(&self) -> io::Result<Target> {
        Ok(Target::of_host(&self.0, self.1))
    }
}

impl Resolve for str {
    fn target(&self) -> io::Result<Target> {
        Target::of_text(self)
    }
}

impl Resolve for String {
    fn target(&self) -> io::Result<Target> {
        Target::of_text(self)
    }
}

impl Resolve for [SocketAddr] {
    fn target(&self) -> io::Result<Target> {
        Ok(Target::Known(Addrs::many(self.to_vec())))
    }
}

impl<const N: usize> Resolve for [SocketAddr; N] {
    fn target(&self) -> io::Result<Target> {
        self[..].target()
    }
}

impl Resolve for Vec<SocketAddr> {
    fn target(&self) -> io::Result<Target> {
        self[..].target()
    }
}

impl<T: Resolve + ?Sized> Resolve for &T {
    fn target(&self) -> io::Result<Target> {
        (**self).target()
    }
}
