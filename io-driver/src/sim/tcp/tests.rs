//! Random calls at random times: every byte arrives in its place, nothing is left when all is closed, and who would wait is told when to try again.

use std::io::IoSlice;
use std::net::{Ipv4Addr, Shutdown};
use std::sync::Arc;

use super::*;
use std::collections::BTreeSet;

const PORT: u16 = 80;

/// Bytes by their place in the stream.
fn byte(place: usize) -> u8 {
    (place ^ (place >> 8)) as u8
}

/// What the test knows of an end that it has open.
struct Known {
    id: Id,
    sent: usize,
    received: usize,
    connected: bool,
    /// It has been told "would block", or has got less than it asked for, and has heard nothing since: reading, and writing.
    waits: [bool; 2],
    /// It has heard that the direction has ended: getting less no longer means that it waits.
    ended: [bool; 2],
}

struct Play {
    rng: Rng,
    tcp: Tcp<Id>,
    listener: Id,
    ends: Vec<Known>,
    now: u64,
    faults: BTreeSet<&'static str>,
}

impl Play {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let config = NetConfig::new()
            .buffer(rng.usize(1..2_000))
            .resets(rng.f64() * 0.05)
            .aborts(rng.f64() * 0.2)
            .short_reads(rng.f64())
            .short_writes(rng.f64());
        let mut tcp = Tcp::new(config, seed);
        let name = Arc::from("server");
        tcp.hosts.add(&name, ip(1));
        let listener = tcp.socket(Some(name), false).unwrap();
        tcp.bind(listener, (ip(1), PORT).into()).unwrap();
        tcp.listen(listener, 3).unwrap();
        tcp.register(listener, listener);
        Self {
            rng,
            tcp,
            listener,
            ends: Vec::new(),
            now: 0,
            faults: BTreeSet::new(),
        }
    }

    fn step(&mut self) {
        match self.rng.u8(..100) {
            0..6 if self.ends.len() < 12 => {
                let id = self.tcp.socket(None, false).unwrap();
                self.tcp.connect(id, (ip(1), PORT).into()).unwrap();
                self.open(id, false);
            }
            6..16 => match self.tcp.accept(self.listener) {
                Ok((id, _)) => self.open(id, true),
                Err(fault) => self.note(fault),
            },
            16..18 => self.tcp.hosts.cut(ip(1), NAMELESS),
            18..22 => self.tcp.heal(ip(1), NAMELESS),
            22..70 if !self.ends.is_empty() => {
                let place = self.rng.usize(..self.ends.len());
                self.use_end(place);
            }
            _ => {
                self.now = match self.tcp.next() {
                    Some(next) if self.rng.u8(..4) > 0 => next.max(self.now),
                    _ => self.now + self.rng.u64(..2_000_000),
                };
                self.tcp.advance(self.now);
            }
        }
        self.hear();
    }

    fn open(&mut self, id: Id, connected: bool) {
        self.tcp.register(id, id);
        self.ends.push(Known {
            id,
            sent: 0,
            received: 0,
            connected,
            waits: [false; 2],
            ended: [false; 2],
        });
    }

    fn use_end(&mut self, place: usize) {
        let Known {
            id,
            sent,
            received,
            connected,
            ..
        } = self.ends[place];
        if !connected {
            match self.tcp.connected(id) {
                Ok(()) => self.ends[place].connected = true,
                Err(Fault::WouldBlock) => self.ends[place].waits[1] = true,
                Err(fault) => {
                    self.note(fault);
                    self.close(place);
                }
            }
            return;
        }
        let length = self.rng.usize(1..3_000);
        match self.rng.u8(..100) {
            0..45 => {
                let bytes: Vec<_> = (sent..sent + length).map(byte).collect();
                match self.tcp.send(id, &[IoSlice::new(&bytes)]) {
                    Ok(count) => {
                        let end = &mut self.ends[place];
                        end.sent += count;
                        end.waits[1] |= count < length && !end.ended[1];
                    }
                    Err(fault) => self.failed(place, 1, fault),
                }
            }
            45..90 => {
                let mut bytes = Vec::new();
                let fill = |some: &[u8]| bytes.extend_from_slice(some);
                match self.tcp.receive(id, length, false, fill) {
                    Ok(count) => {
                        assert_eq!(count, bytes.len());
                        assert!(bytes.iter().copied().eq((received..).map(byte).take(count)));
                        let end = &mut self.ends[place];
                        end.received += count;
                        end.waits[0] |= (1..length).contains(&count) && !end.ended[0];
                    }
                    Err(fault) => self.failed(place, 0, fault),
                }
            }
            90..94 => drop(self.tcp.shutdown(id, Shutdown::Write)),
            _ => self.close(place),
        }
    }

    fn failed(&mut self, place: usize, direction: usize, fault: Fault) {
        match fault {
            Fault::WouldBlock => self.ends[place].waits[direction] = true,
            fault => self.note(fault),
        }
    }

    fn note(&mut self, fault: Fault) {
        self.faults.insert(match fault {
            Fault::WouldBlock => "would block",
            Fault::Reset => "reset",
            Fault::Pipe => "pipe",
            Fault::TimedOut => "timed out",
            Fault::Aborted => "aborted",
            // The answer was lost, and the next the client heard was a reset.
            Fault::Refused => "refused",
            other => panic!("{other:?} was not asked for"),
        });
    }

    fn close(&mut self, place: usize) {
        let end = self.ends.swap_remove(place);
        self.tcp.close(end.id);
    }

    /// Takes in the news. Who waits without any has nothing to try for.
    fn hear(&mut self) {
        for (id, bits) in std::mem::take(&mut self.tcp.told) {
            let has = |bit| bits | bit == bits;
            if let Some(end) = self.ends.iter_mut().find(|end| end.id == id) {
                let closed = [Bits::READ_CLOSED, Bits::WRITE_CLOSED];
                for (direction, ready) in [READABLE, WRITABLE].into_iter().enumerate() {
                    let ended = has(closed[direction]) || has(Bits::ERROR);
                    end.ended[direction] |= ended;
                    end.waits[direction] &= !has(ready) && !ended;
                }
            }
        }
        for end in &self.ends {
            let [reads, writes] = end.waits;
            assert!(
                !reads || !self.tcp.is_readable(end.id),
                "nobody told the reader"
            );
            assert!(
                !writes || !self.tcp.is_writable(end.id),
                "nobody told the writer"
            );
        }
    }
}

const NAMELESS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

fn ip(last: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, last).into()
}

#[test]
fn whatever_is_called_bytes_stay_in_their_places_and_nothing_stays_behind() {
    let mut faults = BTreeSet::new();
    let (mut received, mut left) = (0, 0);
    for seed in 0..400 {
        let mut play = Play::new(seed);
        for _ in 0..600 {
            play.step();
        }
        received += play.ends.iter().map(|end| end.received).sum::<usize>();
        left += play.ends.len();
        while !play.ends.is_empty() {
            play.close(0);
        }
        play.tcp.close(play.listener);
        assert_eq!(play.tcp.sockets.len(), 0, "seed {seed}");
        assert_eq!(play.tcp.open, 0, "seed {seed}");
        play.tcp.advance(u64::MAX);
        assert_eq!(play.tcp.next(), None, "seed {seed}");
        faults.extend(play.faults);
    }
    assert!(
        received > 400_000 && left > 400,
        "{received} bytes, {left} ends"
    );
    let all = [
        "aborted",
        "pipe",
        "refused",
        "reset",
        "timed out",
        "would block",
    ];
    assert!(faults.iter().eq(&all), "{faults:?}");
}

#[test]
fn the_same_seed_tells_the_same() {
    let tell = |seed| {
        let mut play = Play::new(seed);
        let steps = (0..400).map(|_| {
            play.step();
            (
                play.now,
                play.ends
                    .iter()
                    .map(|end| (end.sent, end.received))
                    .collect(),
            )
        });
        steps.collect::<Vec<(u64, Vec<_>)>>()
    };
    for seed in 0..20 {
        assert_eq!(tell(seed), tell(seed));
    }
    assert_ne!(tell(1), tell(2));
}
