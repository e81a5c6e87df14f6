//! What a socket is, and an end of a connection.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use super::Id;
use crate::sim::fault::Fault;
use crate::sim::hosts::Host;

/// Options that are kept and given back; some of them mean something.
#[derive(Clone, Copy)]
pub(crate) struct Options {
    pub(crate) nodelay: bool,
    pub(crate) keepalive: bool,
    pub(crate) linger: Option<Duration>,
    pub(crate) ttl: u32,
    pub(crate) reuse_address: bool,
    pub(crate) reuse_port: bool,
    pub(crate) only_v6: bool,
    pub(crate) send_buffer: usize,
    pub(crate) recv_buffer: usize,
}

pub(super) struct Socket<R> {
    pub(super) host: Host,
    pub(super) is_v6: bool,
    pub(super) options: Options,
    pub(super) local: Option<SocketAddr>,
    pub(super) registration: Option<R>,
    pub(super) kind: Kind,
}

pub(super) enum Kind {
    Fresh,
    Listener { queue: VecDeque<Id>, backlog: usize },
    End(Box<End>),
}

/// One end of a connection.
pub(super) struct End {
    pub(super) remote: SocketAddr,
    /// `None` while the other end does not exist yet, or exists no more.
    pub(super) peer: Option<Id>,
    pub(super) phase: Phase,
    pub(super) holder: Holder,
    /// Arrived and not read.
    pub(super) inbox: VecDeque<u8>,
    /// The peer's end of the stream has arrived.
    pub(super) eof: bool,
    pub(super) error: Option<Fault>,
    pub(super) read_shut: bool,
    pub(super) write_shut: bool,
    /// The peer has got this end's end of the stream.
    pub(super) fin_arrived: bool,
    /// Sent and not arrived, in order.
    pub(super) queue: VecDeque<Parcel>,
    /// How many bytes that is.
    pub(super) queued: usize,
    pub(super) last_due: u64,
    pub(super) stuck_since: Option<u64>,
    /// The peer has said that there is room again.
    pub(super) resumes: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Connecting,
    Open,
    /// Reset, or given up.
    Dead,
    /// Both directions have ended as they should.
    Over,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Holder {
    Descriptor,
    /// A listener, which has not accepted it.
    Queue,
    /// It has been closed.
    Nobody,
}

pub(super) struct Parcel {
    pub(super) due: u64,
    pub(super) load: Load,
}

pub(super) enum Load {
    Bytes(VecDeque<u8>),
    Fin,
    Reset,
}

impl End {
    pub(super) fn new(remote: SocketAddr, phase: Phase, holder: Holder) -> Box<Self> {
        Box::new(Self {
            remote,
            peer: None,
            phase,
            holder,
            inbox: VecDeque::new(),
            eof: false,
            error: None,
            read_shut: false,
            write_shut: false,
            fin_arrived: false,
            queue: VecDeque::new(),
            queued: 0,
            last_due: 0,
            stuck_since: None,
            resumes: false,
        })
    }

    /// Nobody is there to take bytes: they are answered by a reset.
    pub(super) fn is_deaf(&self) -> bool {
        self.phase == Phase::Dead || self.holder == Holder::Nobody
    }
}
