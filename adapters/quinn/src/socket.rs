//! A UDP socket: quinn-udp's system calls, heist's readiness.

use heist::Async;
use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};
use quinn_udp::UdpSocketState;
use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::poller::Poller;

#[derive(Debug)]
pub(crate) struct Socket {
    io: Async<UdpSocket>,
    /// What the system can do: how many datagrams in one call.
    state: UdpSocketState,
}

impl Socket {
    /// Registers `socket` with the current driver. quinn-udp makes it non-blocking, and asks for what else it needs.
    pub(crate) fn new(socket: UdpSocket) -> io::Result<Self> {
        let state = UdpSocketState::new((&socket).into())?;
        let io = Async::new_nonblocking(socket)?;
        Ok(Self { io, state })
    }

    /// Waits until a send would not block.
    pub(crate) async fn writable(self: Arc<Self>) -> io::Result<()> {
        self.io.writable().await
    }
}

impl AsyncUdpSocket for Socket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Poller::new(move || self.clone().writable()))
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.io
            .try_write_with(|socket| self.state.send(socket.into(), transmit))
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        self.io
            .poll_read_with(cx, |socket| self.state.recv(socket.into(), bufs, meta))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.get_ref().local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.state.max_gso_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.state.gro_segments()
    }

    fn may_fragment(&self) -> bool {
        self.state.may_fragment()
    }
}
