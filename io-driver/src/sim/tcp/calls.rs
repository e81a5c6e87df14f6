//! The system calls, and what may be asked of a socket.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr};
use std::time::Duration;

use super::socket::{End, Holder, Kind, Load, Options, Phase, Socket};
use super::{EPHEMERAL, Event, Id, READABLE, Tcp, WRITABLE, end_of};
use crate::readiness::Bits;
use crate::sim::fault::Fault;
use crate::sim::hosts::{Host, localhost};

/// The system calls.
impl<R: Clone> Tcp<R> {
    pub(in crate::sim) fn socket(&mut self, host: Host, is_v6: bool) -> Result<Id, Fault> {
        self.take_descriptor()?;
        let options = Options {
            nodelay: false,
            keepalive: false,
            linger: None,
            ttl: 64,
            reuse_address: false,
            reuse_port: false,
            only_v6: false,
            send_buffer: self.config.buffer,
            recv_buffer: self.config.buffer,
        };
        Ok(self.insert(Socket {
            host,
            is_v6,
            options,
            local: None,
            registration: None,
            kind: Kind::Fresh,
        }))
    }

    pub(in crate::sim) fn bind(&mut self, id: Id, addr: SocketAddr) -> Result<(), Fault> {
        let socket = self.sockets.get(&id).ok_or(Fault::Invalid)?;
        if addr.is_ipv6() != socket.is_v6 {
            return Err(Fault::Family);
        }
        if socket.local.is_some() {
            return Err(Fault::Invalid);
        }
        // The test's own machine may also speak for the hosts.
        let host = match &socket.host {
            None => self.hosts.of(addr.ip().to_canonical()),
            host if !self.hosts.owns(host, addr.ip().to_canonical()) => {
                return Err(Fault::NotAvailable);
            }
            host => host.clone(),
        };
        let mut addr = addr;
        let options = socket.options;
        if addr.port() == 0 {
            addr.set_port(self.free_port().ok_or(Fault::InUse)?);
        } else if self.is_taken(id, &host, addr, options) {
            return Err(Fault::InUse);
        }
        if let Some(socket) = self.sockets.get_mut(&id) {
            socket.host = host;
            socket.local = Some(addr);
        }
        Ok(())
    }

    pub(in crate::sim) fn listen(&mut self, id: Id, backlog: u32) -> Result<(), Fault> {
        let socket = self.sockets.get(&id).ok_or(Fault::Invalid)?;
        if socket.local.is_none() {
            let unspecified = any_address(socket.is_v6);
            self.bind(id, unspecified)?;
        }
        if let Some(socket) = self.sockets.get_mut(&id) {
            socket.kind = Kind::Listener {
                queue: VecDeque::new(),
                backlog: usize::try_from(backlog).unwrap_or(usize::MAX),
            };
        }
        Ok(())
    }

    /// Begins to connect.
    pub(in crate::sim) fn connect(&mut self, id: Id, target: SocketAddr) -> Result<(), Fault> {
        let socket = self.sockets.get(&id).ok_or(Fault::Invalid)?;
        if target.is_ipv6() != socket.is_v6 {
            return Err(Fault::Family);
        }
        let mut target = target;
        if target.ip().is_unspecified() {
            target.set_ip(localhost(target.ip()));
        }
        let bound = socket.local.filter(|local| !local.ip().is_unspecified());
        let ip = match bound {
            Some(local) => local.ip(),
            None => self.hosts.source(&socket.host, target.ip())?,
        };
        let port = match socket.local {
            Some(local) => local.port(),
            None => self.free_port().ok_or(Fault::NotAvailable)?,
        };
        if let Some(socket) = self.sockets.get_mut(&id) {
            socket.local = Some(SocketAddr::new(ip, port));
            socket.kind = Kind::End(End::new(target, Phase::Connecting, Holder::Descriptor));
        }
        let wait = self.latency();
        self.decide(wait, Event::Syn(id, 0));
        Ok(())
    }

    /// Whether the connection is there, or has failed: that is told once.
    pub(in crate::sim) fn connected(&mut self, id: Id) -> Result<(), Fault> {
        let end = self.end_mut(id).ok_or(Fault::NotConnected)?;
        match (end.error.take(), end.phase) {
            (Some(error), _) => Err(error),
            (None, Phase::Connecting) => Err(Fault::WouldBlock),
            (None, Phase::Open) => Ok(()),
            (None, Phase::Dead | Phase::Over) => Err(Fault::NotConnected),
        }
    }

    pub(in crate::sim) fn accept(&mut self, id: Id) -> Result<(Id, SocketAddr), Fault> {
        let Some(Kind::Listener { queue, .. }) = self.sockets.get(&id).map(|it| &it.kind) else {
            return Err(Fault::Invalid);
        };
        let Some(&accepted) = queue.front() else {
            return Err(Fault::WouldBlock);
        };
        self.take_descriptor()?;
        if let Some(Kind::Listener { queue, .. }) = self.sockets.get_mut(&id).map(|it| &mut it.kind)
        {
            queue.pop_front();
        }
        let fails = self.draw(self.config.aborts);
        let end = self.end_mut(accepted).ok_or(Fault::Aborted)?;
        end.holder = Holder::Descriptor;
        let remote = end.remote;
        if fails {
            self.kill_by_reset(accepted);
            self.send_parcel(accepted, Load::Reset);
            self.close(accepted);
            return Err(Fault::Aborted);
        }
        Ok((accepted, remote))
    }

    /// Hands out up to `len` bytes, in up to two pieces. Says how many; 0 is the end of the stream. With `peek` they stay where they are.
    pub(in crate::sim) fn receive(
        &mut self,
        id: Id,
        len: usize,
        peek: bool,
        mut fill: impl FnMut(&[u8]),
    ) -> Result<usize, Fault> {
        let is_short = !peek && self.draw(self.config.short_reads);
        let end = end_of(&mut self.sockets, id).ok_or(Fault::NotConnected)?;
        let there = len.min(end.inbox.len());
        if there == 0 {
            return match end.error {
                _ if end.eof => Ok(0),
                Some(error) => {
                    end.error = None;
                    Err(error)
                }
                None if end.read_shut || end.phase == Phase::Dead => Ok(0),
                None => Err(Fault::WouldBlock),
            };
        }
        let count = match is_short {
            true => self.rng.usize(1..=there),
            false => there,
        };
        let (first, second) = end.inbox.as_slices();
        fill(&first[..count.min(first.len())]);
        fill(&second[..count.saturating_sub(first.len())]);
        if peek {
            return Ok(count);
        }
        end.inbox.drain(..count);
        let (rest, peer) = (!end.inbox.is_empty(), end.peer);
        if rest && count < len {
            // Who has read less than asked for waits for the rest to be announced, as if it had come later.
            self.tell(id, READABLE);
        }
        if let Some(peer) = peer {
            self.there_is_room(peer);
        }
        Ok(count)
    }

    /// Takes what fits. Says how many bytes.
    pub(in crate::sim) fn send(&mut self, id: Id, bufs: &[IoSlice<'_>]) -> Result<usize, Fault> {
        let is_short = self.draw(self.config.short_writes);
        let room = self.room(id);
        let end = self.end_mut(id).ok_or(Fault::NotConnected)?;
        if let Some(error) = end.error.take() {
            return Err(error);
        }
        if end.phase == Phase::Connecting {
            return Err(Fault::WouldBlock);
        }
        if end.write_shut || end.phase == Phase::Dead {
            return Err(Fault::Pipe);
        }
        let len = bufs
            .iter()
            .fold(0, |sum: usize, buf| sum.saturating_add(buf.len()));
        if len == 0 {
            return Ok(0);
        }
        if room == 0 {
            return Err(Fault::WouldBlock);
        }
        let fits = len.min(room);
        let count = match is_short {
            true => self.rng.usize(1..=fits),
            false => fits,
        };
        let bytes = bufs.iter().flat_map(|buf| buf.iter().copied());
        self.send_parcel(id, Load::Bytes(bytes.take(count).collect()));
        if count < len && count < room {
            // As above.
            self.tell(id, WRITABLE);
        }
        Ok(count)
    }

    pub(in crate::sim) fn shutdown(&mut self, id: Id, how: Shutdown) -> Result<(), Fault> {
        let end = self.end_mut(id).ok_or(Fault::NotConnected)?;
        if end.phase != Phase::Open {
            return Err(Fault::NotConnected);
        }
        if how != Shutdown::Write && !end.read_shut {
            end.read_shut = true;
            self.tell(id, READABLE | Bits::READ_CLOSED);
        }
        if how != Shutdown::Read
            && let Some(end) = self.end_mut(id)
            && !end.write_shut
        {
            end.write_shut = true;
            self.send_parcel(id, Load::Fin);
            self.tell(id, WRITABLE | Bits::WRITE_CLOSED);
        }
        Ok(())
    }

    /// Its descriptor is gone.
    pub(in crate::sim) fn close(&mut self, id: Id) {
        self.open = self.open.saturating_sub(1);
        let Some(socket) = self.sockets.get_mut(&id) else {
            return;
        };
        self.gone.extend(socket.registration.take());
        match &mut socket.kind {
            Kind::End(_) => self.close_end(id),
            Kind::Fresh => drop(self.sockets.remove(&id)),
            Kind::Listener { queue, .. } => {
                let queue = std::mem::take(queue);
                self.sockets.remove(&id);
                for accepted in queue {
                    self.kill_by_reset(accepted);
                    self.send_parcel(accepted, Load::Reset);
                    self.close_end(accepted);
                }
            }
        }
    }

    fn close_end(&mut self, id: Id) {
        let linger = self.sockets.get(&id).and_then(|it| it.options.linger);
        let Some(end) = self.end_mut(id) else { return };
        end.holder = Holder::Nobody;
        let resets = !end.inbox.is_empty() || linger == Some(Duration::ZERO);
        match end.phase {
            Phase::Open if !resets && !end.write_shut => {
                end.write_shut = true;
                self.send_parcel(id, Load::Fin);
            }
            Phase::Open if !resets => {}
            Phase::Connecting | Phase::Open => {
                end.phase = Phase::Dead;
                self.send_parcel(id, Load::Reset);
            }
            Phase::Dead | Phase::Over => {}
        }
        // There is nobody left to see what becomes of the connection.
        let peer = self.end(id).and_then(|end| end.peer);
        let is_over = match peer.and_then(|peer| self.end(peer)) {
            Some(peer) => peer.holder == Holder::Nobody,
            None => true,
        };
        if is_over {
            self.sockets.remove(&id);
            peer.into_iter()
                .for_each(|peer| drop(self.sockets.remove(&peer)));
        }
    }
}

/// What may be asked of a socket.
impl<R: Clone> Tcp<R> {
    /// Who is told what happens to a socket, and first what has happened.
    pub(in crate::sim) fn register(&mut self, id: Id, registration: R) {
        if let Some(socket) = self.sockets.get_mut(&id) {
            self.gone.extend(socket.registration.replace(registration));
        }
        let mut bits = Bits::NONE;
        if self.is_readable(id) {
            bits |= READABLE;
        }
        if self.is_writable(id) {
            bits |= WRITABLE;
        }
        if let Some(end) = self.end(id) {
            if end.eof {
                bits |= Bits::READ_CLOSED;
            }
            if end.phase == Phase::Dead {
                bits |= Bits::READ_CLOSED | Bits::WRITE_CLOSED | Bits::ERROR;
            }
        }
        self.tell(id, bits);
    }

    pub(in crate::sim) fn set_ttl(&mut self, id: Id, ttl: u32) -> Result<(), Fault> {
        let options = self.options(id)?;
        if !(1..=255).contains(&ttl) {
            return Err(Fault::Invalid);
        }
        options.ttl = ttl;
        Ok(())
    }

    pub(in crate::sim) fn set_only_v6(&mut self, id: Id, only: bool) -> Result<(), Fault> {
        match self.sockets.get_mut(&id) {
            Some(socket) if socket.is_v6 => socket.options.only_v6 = only,
            _ => return Err(Fault::NoOption),
        }
        Ok(())
    }

    pub(in crate::sim) fn options(&mut self, id: Id) -> Result<&mut Options, Fault> {
        let socket = self.sockets.get_mut(&id).ok_or(Fault::Invalid)?;
        Ok(&mut socket.options)
    }

    pub(in crate::sim) fn local(&self, id: Id) -> Result<SocketAddr, Fault> {
        let socket = self.sockets.get(&id).ok_or(Fault::Invalid)?;
        Ok(socket.local.unwrap_or(any_address(socket.is_v6)))
    }

    pub(in crate::sim) fn remote(&self, id: Id) -> Result<SocketAddr, Fault> {
        match self.end(id) {
            Some(end) if end.phase == Phase::Open => Ok(end.remote),
            _ => Err(Fault::NotConnected),
        }
    }

    pub(in crate::sim) fn take_error(&mut self, id: Id) -> Option<Fault> {
        self.end_mut(id)?.error.take()
    }

    /// Whether a read would not have to wait.
    pub(in crate::sim) fn is_readable(&self, id: Id) -> bool {
        match self.sockets.get(&id).map(|socket| &socket.kind) {
            Some(Kind::Listener { queue, .. }) => !queue.is_empty(),
            Some(Kind::End(end)) => {
                end.eof
                    || end.read_shut
                    || end.error.is_some()
                    || end.phase == Phase::Dead
                    || !end.inbox.is_empty()
            }
            _ => true,
        }
    }

    /// Whether a write would not have to wait.
    pub(in crate::sim) fn is_writable(&self, id: Id) -> bool {
        self.end(id).is_none_or(|end| match end.phase {
            Phase::Connecting => false,
            Phase::Dead | Phase::Over => true,
            Phase::Open => end.write_shut || self.room(id) > 0,
        })
    }
}

/// Ports and descriptors.
impl<R: Clone> Tcp<R> {
    fn is_taken(&self, id: Id, host: &Host, addr: SocketAddr, options: Options) -> bool {
        self.sockets.iter().any(|(&other, socket)| {
            let Some(local) = socket.local else {
                return false;
            };
            let shares = match socket.kind {
                Kind::End(_) => options.reuse_address && socket.options.reuse_address,
                _ => options.reuse_port && socket.options.reuse_port,
            };
            let ip = |addr: SocketAddr| addr.ip().to_canonical();
            let (mine, theirs) = (ip(addr), ip(local));
            let overlap = mine == theirs
                || (mine.is_unspecified() || theirs.is_unspecified())
                    && mine.is_ipv4() == theirs.is_ipv4();
            other != id && socket.host == *host && local.port() == addr.port() && overlap && !shares
        })
    }

    /// The next one in turn that no socket has, whatever its address.
    fn free_port(&mut self) -> Option<u16> {
        for _ in EPHEMERAL {
            let port = self.port;
            self.port = port.checked_add(1).unwrap_or(*EPHEMERAL.start());
            let has = |socket: &Socket<R>| socket.local.is_some_and(|addr| addr.port() == port);
            if !self.sockets.values().any(has) {
                return Some(port);
            }
        }
        None
    }

    fn take_descriptor(&mut self) -> Result<(), Fault> {
        if self.open >= self.config.max_open || self.draw(self.config.shortages) {
            return Err(Fault::Shortage);
        }
        self.open += 1;
        Ok(())
    }
}

fn any_address(is_v6: bool) -> SocketAddr {
    match is_v6 {
        true => (Ipv6Addr::UNSPECIFIED, 0).into(),
        false => (Ipv4Addr::UNSPECIFIED, 0).into(),
    }
}
