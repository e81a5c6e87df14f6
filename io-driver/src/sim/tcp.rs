//! TCP in memory: sockets, what they have sent to each other, and when it arrives. Pure data: knows no driver, no waker and no thread.
//!
//! ```text
//!   send -> queue of the sending end -> (latency, in order) -> inbox of the receiving end -> receive
//! ```
//!
//! Bytes that find no room in the inbox stay at the queue's front until there is some, and bytes behind a cut until it heals; a full queue is what a writer waits
//! for. What the driver is to hear of collects in [`Tcp::told`].
//!
//! It answers as Linux does: an error is heard once, by whoever is first, and then a reader reads the end of the stream and a writer finds the pipe broken; what
//! had arrived before a reset can still be read; closing with bytes unread resets the peer; a handshake that gets no answer is tried again after 1, 3, 7, ... s
//! and given up after 127 s, unacknowledged bytes after a quarter of an hour. There is no `TIME_WAIT`, and no packet is lost but by a cut.
//!
//! The rooms: `socket` is what there is, `calls` what its holders do to it, `handshake` how connections come about, `parcels` what goes through them.

mod calls;
mod handshake;
mod parcels;
mod socket;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use fastrand::Rng;

use super::config::NetConfig;
use super::fault::Fault;
use super::hosts::Hosts;
use crate::readiness::Bits;
use socket::{End, Kind, Phase, Socket};

pub(crate) use socket::Options;

const SECOND: u64 = 1_000_000_000;
/// When bytes that the peer does not acknowledge make a connection fail: Linux's `tcp_retries2`, about.
const GIVE_UP: u64 = 924 * SECOND;
/// After a cut has healed, the next attempt to send comes within this.
const RETRANSMIT: u64 = SECOND / 5;
/// The ports that the system hands out.
const EPHEMERAL: std::ops::RangeInclusive<u16> = 49_152..=65_535;

const READABLE: Bits = Bits::READABLE;
const WRITABLE: Bits = Bits::WRITABLE;

/// Names a socket, and never another one.
pub(super) type Id = u64;

pub(super) struct Tcp<R> {
    pub(super) config: NetConfig,
    pub(super) hosts: Hosts,
    rng: Rng,
    now: u64,
    /// What will happen, by time, and by the order in which it was decided.
    agenda: BTreeMap<(u64, u64), Event>,
    decided: u64,
    sockets: BTreeMap<Id, Socket<R>>,
    made: Id,
    /// How many are somebody's.
    open: usize,
    port: u16,
    /// Whom the driver is to tell what.
    pub(super) told: Vec<(R, Bits)>,
    /// Registrations of sockets that are gone: dropped where no lock is held.
    pub(super) gone: Vec<R>,
}

#[derive(Clone, Copy)]
enum Event {
    /// What this end has sent is there.
    Arrival(Id),
    /// The client's first packet reaches the other side.
    Syn(Id, u32),
    /// The answer reaches the client: nobody listens there.
    Refusal(Id, u32),
    /// The answer reaches the client: it is connected.
    Answer(Id, u32),
    /// Nobody has answered.
    Silence(Id),
    /// What this end has sent has been stuck behind a cut since that time.
    GiveUp(Id, u64),
}

impl<R: Clone> Tcp<R> {
    pub(super) fn new(config: NetConfig, seed: u64) -> Self {
        Self {
            config,
            hosts: Hosts::default(),
            rng: Rng::with_seed(seed),
            now: 0,
            agenda: BTreeMap::new(),
            decided: 0,
            sockets: BTreeMap::new(),
            made: 0,
            open: 0,
            port: *EPHEMERAL.start(),
            told: Vec::new(),
            gone: Vec::new(),
        }
    }

    /// When something happens next.
    pub(super) fn next(&self) -> Option<u64> {
        let ((at, _), _) = self.agenda.first_key_value()?;
        Some(*at)
    }

    /// Lets happen what is to happen until `now`.
    pub(super) fn advance(&mut self, now: u64) {
        self.now = self.now.max(now);
        while let Some(entry) = self.agenda.first_entry() {
            if entry.key().0 > self.now {
                return;
            }
            let event = entry.remove();
            self.happen(event);
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrival(from) => self.arrive(from),
            Event::Syn(client, attempt) => self.syn(client, attempt),
            Event::Refusal(client, attempt) if self.is_cut_off(client) => {
                self.again(Event::Syn, client, attempt);
            }
            Event::Refusal(client, _) => self.fail_connecting(client, Fault::Refused),
            Event::Answer(client, attempt) if self.is_cut_off(client) => {
                self.again(Event::Answer, client, attempt);
            }
            Event::Answer(client, _) => self.establish(client),
            Event::Silence(client) => self.fail_connecting(client, Fault::TimedOut),
            Event::GiveUp(id, since) => {
                if self
                    .end(id)
                    .is_some_and(|end| end.stuck_since == Some(since))
                {
                    self.kill(id, Fault::TimedOut);
                }
            }
        }
    }

    /// Resets every connection that has an end at `at`. Says how many.
    pub(super) fn reset(&mut self, at: impl Fn(SocketAddr) -> bool) -> usize {
        let mut count = 0;
        let ids: Vec<_> = self.sockets.keys().copied().collect();
        for id in ids {
            let Some(socket) = self.sockets.get(&id) else {
                continue;
            };
            let Kind::End(end) = &socket.kind else {
                continue;
            };
            let is_there = socket.local.is_some_and(&at);
            if is_there && end.phase == Phase::Open {
                count += 1;
                let peer = end.peer;
                self.kill_by_reset(id);
                peer.into_iter().for_each(|peer| self.kill_by_reset(peer));
            }
        }
        count
    }

    /// Lets two addresses reach each other again.
    pub(super) fn heal(&mut self, one: IpAddr, other: IpAddr) {
        self.hosts.heal(one, other);
        let ends: Vec<_> = self.sockets.keys().copied().collect();
        for id in ends {
            if !self.is_cut_off(id)
                && let Some(end) = self.end_mut(id)
                && end.stuck_since.take().is_some()
            {
                let again = self.rng.u64(..RETRANSMIT);
                let wait = self.latency().saturating_add(again);
                self.decide(wait, Event::Arrival(id));
            }
        }
    }
}

/// What the others need.
impl<R: Clone> Tcp<R> {
    fn insert(&mut self, socket: Socket<R>) -> Id {
        self.made += 1;
        self.sockets.insert(self.made, socket);
        self.made
    }

    fn end(&self, id: Id) -> Option<&End> {
        match &self.sockets.get(&id)?.kind {
            Kind::End(end) => Some(end),
            _ => None,
        }
    }

    fn end_mut(&mut self, id: Id) -> Option<&mut End> {
        end_of(&mut self.sockets, id)
    }

    /// For how many bytes more the queue has room.
    fn room(&self, id: Id) -> usize {
        let Some(socket) = self.sockets.get(&id) else {
            return 0;
        };
        let queued = self.end(id).map_or(0, |end| end.queued);
        socket.options.send_buffer.saturating_sub(queued)
    }

    fn is_cut_off(&self, id: Id) -> bool {
        let Some(socket) = self.sockets.get(&id) else {
            return false;
        };
        match (socket.local, &socket.kind) {
            (Some(local), Kind::End(end)) => self.hosts.are_cut(local.ip(), end.remote.ip()),
            _ => false,
        }
    }

    fn draw(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.rng.f64() < probability
    }

    fn latency(&mut self) -> u64 {
        let (least, most) = self.config.latency;
        self.rng.u64(least..=most)
    }

    fn decide(&mut self, wait: u64, event: Event) {
        self.decide_at(self.now.saturating_add(wait), event);
    }

    fn decide_at(&mut self, at: u64, event: Event) {
        self.decided += 1;
        self.agenda.insert((at, self.decided), event);
    }

    fn tell(&mut self, id: Id, bits: Bits) {
        let registration = self.sockets.get(&id).and_then(|it| it.registration.clone());
        self.told.extend(registration.map(|it| (it, bits)));
    }
}

/// As `end_mut`, where other fields are needed meanwhile.
fn end_of<R>(sockets: &mut BTreeMap<Id, Socket<R>>, id: Id) -> Option<&mut End> {
    match &mut sockets.get_mut(&id)?.kind {
        Kind::End(end) => Some(end),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
