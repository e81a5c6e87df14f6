//! The load generator: the clients of the workloads that serve TCP, a process of one thread.
//!
//! What it does per request or connection is what no client can leave out. Its first line of output says that
//! all is set up and warm; what it counted after that is the second.

mod churn;
mod exchange;
mod silence;

use std::fmt::Display;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::event::epoll::{self, Event};
use rustix::net::sockopt;

use crate::meter::percentile;

/// The name of this role on the command line.
pub(crate) const ROLE: &str = "load";

/// The size of an echoed request and of its response.
pub(crate) const MESSAGE: usize = 64;

/// Said when the warm-up is over.
pub(crate) const COUNTING: &str = "counting";

/// What a client does with its connections.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    /// Sends messages and waits for each to come back.
    Echo,
    /// The same with HTTP requests.
    Http,
    /// Opens one after the other, for one echo each.
    Churn,
    /// Nothing, until its standard input ends.
    Silence,
}

impl Kind {
    const NAMED: [(&'static str, Self); 4] = [
        ("echo", Self::Echo),
        ("http", Self::Http),
        ("churn", Self::Churn),
        ("silence", Self::Silence),
    ];
}

/// What the load generator is to do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Order {
    pub(crate) kind: Kind,
    pub(crate) address: SocketAddr,
    pub(crate) connections: usize,
    /// On how many of the connections a request is under way at a time; they take turns.
    pub(crate) active: usize,
    pub(crate) warm_up: Duration,
    pub(crate) time: Duration,
}

impl Order {
    /// The command line that [`run`] understands.
    pub(crate) fn arguments(&self) -> [String; 7] {
        let text = |value: &dyn Display| value.to_string();
        let (name, _) = Kind::NAMED
            .into_iter()
            .find(|(_, kind)| *kind == self.kind)
            .expect("every kind has a name");
        [
            text(&ROLE),
            text(&name),
            text(&self.address),
            text(&self.connections),
            text(&self.active),
            text(&self.warm_up.as_millis()),
            text(&self.time.as_millis()),
        ]
    }

    /// The inverse of [`arguments`](Self::arguments), without the role.
    fn parse(arguments: &[String]) -> Option<Self> {
        let [name, address, connections, active, warm_up, time] = arguments else {
            return None;
        };
        let (_, kind) = Kind::NAMED.into_iter().find(|(known, _)| known == name)?;
        Some(Self {
            kind,
            address: address.parse().ok()?,
            connections: connections.parse().ok()?,
            active: active.parse().ok()?,
            warm_up: Duration::from_millis(warm_up.parse().ok()?),
            time: Duration::from_millis(time.parse().ok()?),
        })
    }
}

/// What the load generator has seen.
pub(crate) struct Counted {
    /// Requests, or connections where each has only one.
    pub(crate) requests: u64,
    pub(crate) time: Duration,
    pub(crate) us_p50: f64,
    pub(crate) us_p99: f64,
}

impl Counted {
    /// From how long each request took, in nanoseconds, and how long they all took together.
    fn new(latencies: &mut [u64], time: Duration) -> Self {
        let us = |ns| ns as f64 / 1e3;
        Self {
            requests: latencies.len() as u64,
            time,
            us_p50: us(percentile(latencies, 0.5)),
            us_p99: us(percentile(latencies, 0.99)),
        }
    }

    pub(crate) fn per_second(&self) -> f64 {
        self.requests as f64 / self.time.as_secs_f64()
    }

    fn to_line(&self) -> String {
        format!(
            "{} {} {} {}",
            self.requests,
            self.time.as_nanos(),
            self.us_p50,
            self.us_p99
        )
    }

    /// The inverse of [`to_line`](Self::to_line); `None` for any other line.
    pub(crate) fn from_line(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        Some(Self {
            requests: words.next()?.parse().ok()?,
            time: Duration::from_nanos(words.next()?.parse().ok()?),
            us_p50: words.next()?.parse().ok()?,
            us_p99: words.next()?.parse().ok()?,
        })
    }
}

/// Runs the load generator; `None` if the arguments (without the role) are not as [`Order::arguments`] makes them.
pub(crate) fn run(arguments: &[String]) -> Option<io::Result<()>> {
    let order = Order::parse(arguments)?;
    Some(match order.kind {
        Kind::Echo | Kind::Http => exchange::generate(&order),
        Kind::Churn => churn::generate(&order),
        Kind::Silence => silence::keep(&order),
    })
}

fn say(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// A connection whose end is a reset, so that it leaves no port behind in `TIME_WAIT`: many thousands of those,
/// left over from one sample, would be in the way of the next.
fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    sockopt::set_socket_linger(&stream, Some(Duration::ZERO))?;
    Ok(stream)
}

/// Waits for events, which take the place of the old ones.
fn wait_for_events(epoll: impl AsFd, events: &mut Vec<Event>) -> io::Result<()> {
    events.clear();
    epoll::wait(epoll, rustix::buffer::spare_capacity(events), None)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_survives_its_way_between_processes() {
        for (_, kind) in Kind::NAMED {
            let order = Order {
                kind,
                address: ([127, 0, 0, 1], 80).into(),
                connections: 5,
                active: 3,
                warm_up: Duration::from_millis(7),
                time: Duration::from_millis(11),
            };
            let [role, rest @ ..] = order.arguments();
            assert_eq!(role, ROLE);
            assert_eq!(Order::parse(&rest), Some(order));
        }
        assert_eq!(Order::parse(&[]), None);
    }
}
