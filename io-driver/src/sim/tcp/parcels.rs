//! What one end sends to the other, and what becomes of it.

use std::collections::VecDeque;

use super::socket::{Load, Parcel, Phase};
use super::{Event, GIVE_UP, Id, READABLE, Tcp, WRITABLE, end_of};
use crate::readiness::Bits;
use crate::sim::fault::Fault;

impl<R: Clone> Tcp<R> {
    /// Puts something on its way.
    pub(super) fn send_parcel(&mut self, id: Id, load: Load) {
        let wait = self.latency();
        let due = self.now.saturating_add(wait);
        let Some(end) = self.end_mut(id) else { return };
        let due = due.max(end.last_due);
        end.last_due = due;
        if let Load::Bytes(bytes) = &load {
            end.queued += bytes.len();
        }
        end.queue.push_back(Parcel { due, load });
        self.decide_at(due, Event::Arrival(id));
    }

    /// What `from` has sent and is due arrives.
    pub(super) fn arrive(&mut self, from: Id) {
        if let Some(end) = self.end_mut(from) {
            end.resumes = false;
        }
        let room_before = self.room(from);
        while self.arrive_next(from).is_some() {}
        if room_before == 0
            && self.room(from) > 0
            && self.end(from).is_some_and(|end| end.phase == Phase::Open)
        {
            self.tell(from, WRITABLE);
        }
    }

    /// `None` if nothing more arrives for now.
    pub(super) fn arrive_next(&mut self, from: Id) -> Option<()> {
        let now = self.now;
        let is_cut_off = self.is_cut_off(from);
        let sender = self.end_mut(from)?;
        sender.queue.front().filter(|parcel| parcel.due <= now)?;
        let parcel = sender.queue.pop_front()?;
        let to = sender.peer;
        if is_cut_off {
            return self.stick(from, parcel);
        }
        sender.stuck_since = None;
        let to = to?;
        match parcel.load {
            Load::Fin => self.deliver_fin(from, to),
            Load::Reset => self.kill_by_reset(to),
            Load::Bytes(bytes) => return self.deliver(from, to, bytes, parcel.due),
        }
        Some(())
    }

    /// A reset is sent once; what else cannot arrive is sent until it does.
    pub(super) fn stick(&mut self, from: Id, parcel: Parcel) -> Option<()> {
        let now = self.now;
        let sender = self.end_mut(from)?;
        if matches!(parcel.load, Load::Reset) {
            return Some(());
        }
        sender.queue.push_front(parcel);
        if sender.stuck_since.is_none() {
            sender.stuck_since = Some(now);
            self.decide(GIVE_UP, Event::GiveUp(from, now));
        }
        None
    }

    pub(super) fn deliver(
        &mut self,
        from: Id,
        to: Id,
        mut bytes: VecDeque<u8>,
        due: u64,
    ) -> Option<()> {
        // The answer to the handshake was lost, and this says as much.
        self.establish(to);
        let breaks = self.draw(self.config.resets);
        let capacity = self.sockets.get(&to)?.options.recv_buffer;
        let end = end_of(&mut self.sockets, to)?;
        if end.is_deaf() || breaks {
            self.kill_by_reset(to);
            self.end_mut(from)?.queued -= bytes.len();
            self.send_parcel(to, Load::Reset);
            return Some(());
        }
        let fits = bytes.len().min(capacity.saturating_sub(end.inbox.len()));
        end.inbox.extend(bytes.drain(..fits));
        if fits > 0 {
            self.tell(to, READABLE);
        }
        let sender = self.end_mut(from)?;
        sender.queued -= fits;
        if bytes.is_empty() {
            return Some(());
        }
        let load = Load::Bytes(bytes);
        sender.queue.push_front(Parcel { due, load });
        // It needs no room, and says that none is needed any more.
        let now = self.now;
        let sender = self.end_mut(from)?;
        let is_reset = |parcel: &Parcel| matches!(parcel.load, Load::Reset) && parcel.due <= now;
        if sender.queue.iter().any(is_reset) {
            sender.queue.clear();
            sender.queued = 0;
            self.kill_by_reset(to);
        }
        None
    }

    pub(super) fn deliver_fin(&mut self, from: Id, to: Id) {
        self.establish(to);
        let Some(end) = self.end_mut(to) else { return };
        if end.phase == Phase::Dead {
            return;
        }
        end.eof = true;
        let bits = READABLE | Bits::READ_CLOSED;
        let bits = match end.write_shut {
            true => bits | WRITABLE | Bits::WRITE_CLOSED,
            false => bits,
        };
        self.tell(to, bits);
        if let Some(end) = self.end_mut(from) {
            end.fin_arrived = true;
        }
        for id in [from, to] {
            if let Some(end) = self.end_mut(id)
                && end.phase == Phase::Open
                && end.eof
                && end.fin_arrived
            {
                end.phase = Phase::Over;
            }
        }
    }

    /// The peer of `from` has read something: what waits for room goes on.
    pub(super) fn there_is_room(&mut self, from: Id) {
        let now = self.now;
        let Some(end) = self.end_mut(from) else {
            return;
        };
        let waits = end.queue.front().is_some_and(|parcel| parcel.due <= now);
        if waits && end.stuck_since.is_none() && !end.resumes {
            end.resumes = true;
            let wait = self.latency();
            self.decide(wait, Event::Arrival(from));
        }
    }

    /// The peer has reset the connection.
    pub(super) fn kill_by_reset(&mut self, id: Id) {
        let Some(end) = self.end(id) else { return };
        let fault = match end.phase {
            Phase::Connecting => Fault::Refused,
            // Who has heard the peer's end already only learns that nobody takes anything.
            _ if end.eof => Fault::Pipe,
            _ => Fault::Reset,
        };
        self.kill(id, fault);
    }

    pub(super) fn kill(&mut self, id: Id, fault: Fault) {
        let Some(end) = self.end_mut(id) else { return };
        if matches!(end.phase, Phase::Dead | Phase::Over) {
            return;
        }
        end.phase = Phase::Dead;
        end.error = Some(fault);
        end.queue.clear();
        end.queued = 0;
        end.stuck_since = None;
        let closed = Bits::READ_CLOSED | Bits::WRITE_CLOSED;
        self.tell(id, READABLE | WRITABLE | closed | Bits::ERROR);
    }
}
