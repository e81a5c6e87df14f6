//! A connection, one message there and back, the end of the connection; as many at a time as ordered.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

use super::{COUNTING, Counted, MESSAGE, Order, connect, say, wait_for_events};

/// A sample stops at so many connections, whatever its time.
const MOST: usize = 200_000;

pub(super) fn generate(order: &Order) -> io::Result<()> {
    let mut churn = Churn {
        order,
        epoll: epoll::create(CreateFlags::CLOEXEC)?,
        slots: Vec::new(),
        latencies: Vec::new(),
    };
    for n in 0..order.active {
        let slot = churn.open(n)?;
        churn.slots.push(slot);
    }
    churn.go_on_for(order.warm_up)?;
    churn.latencies.clear();
    say(COUNTING)?;
    let time = churn.go_on_for(order.time)?;
    say(&Counted::new(&mut churn.latencies, time).to_line())
}

struct Churn<'a> {
    order: &'a Order,
    epoll: OwnedFd,
    slots: Vec<Slot>,
    /// From the start of a connection to its response, in nanoseconds.
    latencies: Vec<u64>,
}

/// A connection, whose request has been sent.
struct Slot {
    stream: TcpStream,
    begun: Instant,
    /// Bytes of the response that have come.
    received: usize,
}

impl Churn<'_> {
    /// Does not wait: on the loopback a connection is made by the time the call returns, as long as the listener's
    /// backlog has room, and it always has. A connection makes place for the next one only after it was served.
    fn open(&self, n: usize) -> io::Result<Slot> {
        let begun = Instant::now();
        let mut stream = connect(self.order.address)?;
        stream.write_all(&[b'.'; MESSAGE])?;
        epoll::add(
            &self.epoll,
            &stream,
            EventData::new_u64(n as u64),
            EventFlags::IN,
        )?;
        Ok(Slot {
            stream,
            begun,
            received: 0,
        })
    }

    fn go_on_for(&mut self, time: Duration) -> io::Result<Duration> {
        let begun = Instant::now();
        let mut events: Vec<Event> = Vec::with_capacity(256);
        while begun.elapsed() < time && self.latencies.len() < MOST {
            wait_for_events(&self.epoll, &mut events)?;
            for event in &events {
                let n = event.data.u64() as usize;
                if let Some(latency) = self.slots[n].receive()? {
                    self.latencies.push(latency.as_nanos() as u64);
                    // The old one ends when the new one takes its place.
                    self.slots[n] = self.open(n)?;
                }
            }
        }
        Ok(begun.elapsed())
    }
}

impl Slot {
    /// The age of the connection if the response is complete now. Called when there is something to receive.
    fn receive(&mut self) -> io::Result<Option<Duration>> {
        let mut buffer = [0; MESSAGE];
        match self.stream.read(&mut buffer)? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            n => {
                self.received += n;
                Ok((self.received >= MESSAGE).then(|| self.begun.elapsed()))
            }
        }
    }
}
