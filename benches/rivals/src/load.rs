//! The load generator of the echo workloads: a process of one thread and one epoll, with one request
//! under way on each connection. It does per request what no client can leave out, a send and a receive.

use std::fmt::Display;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

use crate::meter::percentile;

/// The name of this role on the command line.
pub(crate) const ROLE: &str = "load";

/// The size of a request and of its response.
pub(crate) const MESSAGE: usize = 64;

/// Said when the warm-up is over.
pub(crate) const COUNTING: &str = "counting";

/// What the load generator has seen.
pub(crate) struct Counted {
    pub(crate) requests: u64,
    pub(crate) time: Duration,
    pub(crate) us_p50: f64,
    pub(crate) us_p99: f64,
}

impl Counted {
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

/// The command line that [`run`] understands.
pub(crate) fn arguments(
    address: SocketAddr,
    connections: usize,
    warm_up: Duration,
    time: Duration,
) -> [String; 5] {
    let text = |value: &dyn Display| value.to_string();
    [
        text(&ROLE),
        text(&address),
        text(&connections),
        text(&warm_up.as_millis()),
        text(&time.as_millis()),
    ]
}

/// Runs the load generator; `None` if the arguments (without the role) are not as [`arguments`] makes them.
pub(crate) fn run(arguments: &[String]) -> Option<io::Result<()>> {
    let [address, connections, warm_up, time] = arguments else {
        return None;
    };
    let warm_up = Duration::from_millis(warm_up.parse().ok()?);
    let time = Duration::from_millis(time.parse().ok()?);
    Some(generate(
        address.parse().ok()?,
        connections.parse().ok()?,
        warm_up,
        time,
    ))
}

fn generate(
    address: SocketAddr,
    connections: usize,
    warm_up: Duration,
    time: Duration,
) -> io::Result<()> {
    let mut load = Load::connect(address, connections)?;
    load.go_on_for(warm_up)?;
    load.latencies.clear();
    say(COUNTING)?;
    let counted = load.go_on_for(time)?;
    say(&counted.to_line())
}

fn say(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

struct Load {
    epoll: std::os::fd::OwnedFd,
    connections: Vec<Connection>,
    /// In nanoseconds.
    latencies: Vec<u64>,
}

struct Connection {
    stream: TcpStream,
    sent: Instant,
    /// Bytes of the response that have come.
    received: usize,
}

impl Load {
    /// Connects and sends the first request on each connection.
    fn connect(address: SocketAddr, connections: usize) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let mut load = Self {
            epoll,
            connections: Vec::new(),
            latencies: Vec::new(),
        };
        for n in 0..connections {
            let stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            let interest = EventFlags::IN | EventFlags::ET;
            epoll::add(&load.epoll, &stream, EventData::new_u64(n as u64), interest)?;
            load.connections.push(Connection {
                stream,
                sent: Instant::now(),
                received: 0,
            });
        }
        for connection in &mut load.connections {
            connection.send()?;
        }
        Ok(load)
    }

    fn go_on_for(&mut self, time: Duration) -> io::Result<Counted> {
        let begun = Instant::now();
        let mut events: Vec<Event> = Vec::with_capacity(256);
        while begun.elapsed() < time {
            events.clear();
            epoll::wait(
                &self.epoll,
                rustix::buffer::spare_capacity(&mut events),
                None,
            )?;
            for event in &events {
                let connection = &mut self.connections[event.data.u64() as usize];
                if let Some(latency) = connection.receive()? {
                    self.latencies.push(latency.as_nanos() as u64);
                    connection.send()?;
                }
            }
        }
        let us = |ns| ns as f64 / 1e3;
        Ok(Counted {
            requests: self.latencies.len() as u64,
            time: begun.elapsed(),
            us_p50: us(percentile(&mut self.latencies, 0.5)),
            us_p99: us(percentile(&mut self.latencies, 0.99)),
        })
    }
}

impl Connection {
    fn send(&mut self) -> io::Result<()> {
        self.sent = Instant::now();
        // A connection with nothing under way has room for one message.
        self.stream.write_all(&[b'.'; MESSAGE])
    }

    /// The time since the request if the response is complete now.
    ///
    /// One receive is enough even in edge mode: nothing comes after a response before the next request, and a
    /// response that is not complete yet is an edge of its own.
    fn receive(&mut self) -> io::Result<Option<Duration>> {
        let mut buffer = [0; MESSAGE];
        match self.stream.read(&mut buffer) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(n) => {
                self.received += n;
                if self.received < MESSAGE {
                    return Ok(None);
                }
                self.received = 0;
                Ok(Some(self.sent.elapsed()))
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}
