//! How connections come about, or do not.

use std::net::SocketAddr;

use super::socket::{End, Holder, Kind, Phase, Socket};
use super::{Event, Id, READABLE, SECOND, Tcp, WRITABLE};
use crate::sim::fault::Fault;
use crate::sim::hosts::Host;

/// How often the first packet of a connection is sent again: Linux's `tcp_syn_retries`. The waits double from a second.
const RETRIES: u32 = 6;

impl<R: Clone> Tcp<R> {
    pub(super) fn syn(&mut self, client: Id, attempt: u32) {
        let Some((host, from, to)) = self.connecting(client) else {
            return;
        };
        if self.is_cut_off(client) {
            return self.again(Event::Syn, client, attempt);
        }
        let wait = self.latency();
        let Some(listener) = self.listener(&host, to) else {
            return self.decide(wait, Event::Refusal(client, attempt));
        };
        let Some(socket) = self.sockets.get(&listener) else {
            return;
        };
        let Kind::Listener { queue, backlog } = &socket.kind else {
            return;
        };
        // One more than asked for, as on Linux.
        if queue.len() > *backlog {
            return self.again(Event::Syn, client, attempt);
        }
        let is_v6 = socket.is_v6;
        let mut end = End::new(as_family(from, is_v6), Phase::Open, Holder::Queue);
        end.peer = Some(client);
        // Nothing overtakes the answer.
        end.last_due = self.now.saturating_add(wait);
        let server = Socket {
            host: socket.host.clone(),
            is_v6,
            options: socket.options,
            local: Some(as_family(to, is_v6)),
            registration: None,
            kind: Kind::End(end),
        };
        let server = self.insert(server);
        if let Some(end) = self.end_mut(client) {
            end.peer = Some(server);
        }
        if let Some(Kind::Listener { queue, .. }) =
            self.sockets.get_mut(&listener).map(|it| &mut it.kind)
        {
            queue.push_back(server);
        }
        self.tell(listener, READABLE);
        self.decide(wait, Event::Answer(client, attempt));
    }

    pub(super) fn connecting(&self, client: Id) -> Option<(Host, SocketAddr, SocketAddr)> {
        let socket = self.sockets.get(&client)?;
        let end = self.end(client)?;
        let is_connecting = end.phase == Phase::Connecting;
        is_connecting.then_some((socket.host.clone(), socket.local?, end.remote))
    }

    pub(super) fn establish(&mut self, client: Id) {
        if let Some(end) = self.end_mut(client)
            && end.phase == Phase::Connecting
        {
            end.phase = Phase::Open;
            self.tell(client, WRITABLE);
        }
    }

    pub(super) fn fail_connecting(&mut self, client: Id, fault: Fault) {
        if self.connecting(client).is_some() {
            self.kill(client, fault);
        }
    }

    /// No answer: the same once more, later, or the end of it.
    pub(super) fn again(&mut self, event: fn(Id, u32) -> Event, client: Id, attempt: u32) {
        let wait = SECOND << attempt.min(RETRIES);
        match attempt < RETRIES {
            true => self.decide(wait, event(client, attempt + 1)),
            false => self.decide(wait, Event::Silence(client)),
        }
    }

    /// Who listens for connections from `host` to `to`.
    pub(super) fn listener(&mut self, host: &Host, to: SocketAddr) -> Option<Id> {
        let there = self.hosts.at(host, to.ip().to_canonical());
        let hears = |socket: &Socket<R>| {
            let Some(local) = socket.local else {
                return false;
            };
            let is_any = local.ip().is_unspecified()
                && (socket.is_v6 == to.is_ipv6() || socket.is_v6 && !socket.options.only_v6);
            matches!(socket.kind, Kind::Listener { .. })
                && socket.host == there
                && local.port() == to.port()
                && (is_any || local.ip().to_canonical() == to.ip().to_canonical())
        };
        let all = self.sockets.iter().filter(|(_, socket)| hears(socket));
        let all: Vec<_> = all.map(|(&id, _)| id).collect();
        self.rng.choice(all)
    }
}

/// As an IPv6 socket sees an IPv4 address.
fn as_family(addr: SocketAddr, is_v6: bool) -> SocketAddr {
    match addr {
        SocketAddr::V4(v4) if is_v6 => (v4.ip().to_ipv6_mapped(), v4.port()).into(),
        addr => addr,
    }
}
