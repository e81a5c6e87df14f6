//! A request and its response, over and over, on connections that stay.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

use super::{COUNTING, Counted, Kind, MESSAGE, Order, connect, say, wait_for_events};

pub(super) fn generate(order: &Order) -> io::Result<()> {
    let exchange = match order.kind {
        Kind::Http => Exchange::http(order.address)?,
        _ => Exchange::echo(),
    };
    let mut load = Load::connect(order, exchange)?;
    load.go_on_for(order.warm_up)?;
    load.latencies.clear();
    say(COUNTING)?;
    let time = load.go_on_for(order.time)?;
    say(&Counted::new(&mut load.latencies, time).to_line())
}

/// What is sent, and what comes back.
pub(super) struct Exchange {
    request: Vec<u8>,
    /// How every response begins.
    begins: Vec<u8>,
    /// How long every response is.
    len: usize,
}

impl Exchange {
    pub(super) fn echo() -> Self {
        let message = vec![b'.'; MESSAGE];
        Self {
            begins: message[..1].to_vec(),
            len: message.len(),
            request: message,
        }
    }

    /// Makes the connections no faster than they are accepted: a connection that finds the listener's backlog full
    /// waits for a second. Whoever is answered was accepted, and so were all before.
    pub(super) fn connect(
        &self,
        address: SocketAddr,
        connections: usize,
    ) -> io::Result<Vec<TcpStream>> {
        /// Less than any backlog.
        const BATCH: usize = 64;
        let mut streams = Vec::with_capacity(connections);
        for n in 1..=connections {
            let mut stream = connect(address)?;
            if n.is_multiple_of(BATCH) || n == connections {
                stream.write_all(&self.request)?;
                stream.read_exact(&mut vec![0; self.len])?;
            }
            streams.push(stream);
        }
        Ok(streams)
    }

    /// Learns from one response how long they are. They differ in their dates, which all have one length.
    fn http(address: SocketAddr) -> io::Result<Self> {
        let request = format!("GET /plaintext HTTP/1.1\r\nHost: {address}\r\n\r\n").into_bytes();
        let mut stream = connect(address)?;
        stream.write_all(&request)?;
        let mut response = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            match stream.read(&mut buffer)? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                n => response.extend_from_slice(&buffer[..n]),
            }
            if let Some(len) = response_len(&response)? {
                return Ok(Self {
                    request,
                    begins: b"HTTP/1.1 200 OK\r\n".to_vec(),
                    len,
                });
            }
        }
    }
}

/// The length of a response with its head, once the head is complete.
fn response_len(response: &[u8]) -> io::Result<Option<usize>> {
    const END: &str = "\r\n\r\n";
    let wrong = |what| io::Error::new(ErrorKind::InvalidData, what);
    let text = std::str::from_utf8(response).map_err(|_| wrong("a head that is no text"))?;
    let Some((head, _)) = text.split_once(END) else {
        return Ok(None);
    };
    let body: usize = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse().ok())
        .ok_or_else(|| wrong("a response without Content-Length"))?;
    Ok(Some(head.len() + END.len() + body))
}

struct Load {
    epoll: OwnedFd,
    exchange: Exchange,
    connections: Vec<Connection>,
    /// Those that wait for their turn to send.
    idle: VecDeque<usize>,
    /// As long as a response.
    buffer: Vec<u8>,
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
    /// Connects and sends the first request on each active connection.
    fn connect(order: &Order, exchange: Exchange) -> io::Result<Self> {
        let mut load = Self {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            buffer: vec![0; exchange.len],
            exchange,
            connections: Vec::new(),
            idle: (0..order.connections).collect(),
            latencies: Vec::new(),
        };
        let streams = load.exchange.connect(order.address, order.connections)?;
        for (n, stream) in (0..).zip(streams) {
            stream.set_nonblocking(true)?;
            let interest = EventFlags::IN | EventFlags::ET;
            epoll::add(&load.epoll, &stream, EventData::new_u64(n), interest)?;
            load.connections.push(Connection {
                stream,
                sent: Instant::now(),
                received: 0,
            });
        }
        for _ in 0..order.active {
            load.send_next()?;
        }
        Ok(load)
    }

    /// Sends a request on the connection that has been idle for longest.
    fn send_next(&mut self) -> io::Result<()> {
        let next = self.idle.pop_front().expect("more active than connected");
        self.connections[next].send(&self.exchange.request)
    }

    fn go_on_for(&mut self, time: Duration) -> io::Result<Duration> {
        let begun = Instant::now();
        let mut events: Vec<Event> = Vec::with_capacity(256);
        while begun.elapsed() < time {
            wait_for_events(&self.epoll, &mut events)?;
            for event in &events {
                let n = event.data.u64() as usize;
                let received = self.connections[n].receive(&self.exchange, &mut self.buffer)?;
                if let Some(latency) = received {
                    self.latencies.push(latency.as_nanos() as u64);
                    self.idle.push_back(n);
                    self.send_next()?;
                }
            }
        }
        Ok(begun.elapsed())
    }
}

impl Connection {
    fn send(&mut self, request: &[u8]) -> io::Result<()> {
        self.sent = Instant::now();
        // A connection with nothing under way has room for one request.
        self.stream.write_all(request)
    }

    /// The time since the request if the response is complete now.
    ///
    /// One receive is enough even in edge mode: nothing comes after a response before the next request, and a
    /// response that is not complete yet is an edge of its own.
    fn receive(&mut self, exchange: &Exchange, buffer: &mut [u8]) -> io::Result<Option<Duration>> {
        let n = match self.stream.read(buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(n) => n,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        };
        let checked = n.min(exchange.begins.len().saturating_sub(self.received));
        let expected = exchange.begins.iter().skip(self.received).take(checked);
        if !buffer[..checked].iter().eq(expected) {
            return Err(io::Error::new(ErrorKind::InvalidData, "a wrong response"));
        }
        self.received += n;
        if self.received < exchange.len {
            return Ok(None);
        }
        self.received = 0;
        Ok(Some(self.sent.elapsed()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_a_response_is_known_from_its_head() {
        let len = |text: &str| response_len(text.as_bytes()).ok();
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 13\r\ndate: today";
        assert_eq!(len(head), Some(None));
        let full = format!("{head}\r\n\r\nHello");
        assert_eq!(len(&full), Some(Some(head.len() + 4 + 13)));
        assert_eq!(len("HTTP/1.1 200 OK\r\n\r\n"), None);
    }
}
