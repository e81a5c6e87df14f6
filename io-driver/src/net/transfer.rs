//! The system calls of TCP connections, the kernel's or a simulation's.

use std::future::Future;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::{Shutdown, SocketAddr};

use socket2::SockRef;

use super::seam::{self, Listener, Stream, kernel, of_kernel};
use crate::bytes::{PeekCalls, ReadCalls, WriteCalls};
use crate::source::Async;

impl ReadCalls for Stream {
    /// TCP stops at the end of what has arrived, and nowhere else.
    const DRAINS: bool = true;

    fn recv(&self, buf: &mut [MaybeUninit<u8>]) -> io::Result<usize> {
        let socket = kernel!(self, it => it.recv(buf));
        SockRef::from(socket).recv(buf)
    }

    fn recv_vectored(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let mut socket = kernel!(self, it => it.recv_vectored(bufs));
        socket.read_vectored(bufs)
    }

    fn readable(io: &Async<Stream>) -> impl Future<Output = io::Result<()>> + Send {
        seam::readable(io)
    }
}

impl PeekCalls for Stream {
    fn recv_peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        let socket = kernel!(self, it => it.peek(buf));
        socket.peek(buf)
    }
}

/// Nothing here raises SIGPIPE: std's `write` asks for that.
impl WriteCalls for Stream {
    fn send(&self, buf: &[u8]) -> io::Result<usize> {
        let mut socket = kernel!(self, it => it.send(buf));
        socket.write(buf)
    }

    fn send_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let socket = kernel!(self, it => it.send_vectored(bufs));
        super::syscalls::send_vectored(&SockRef::from(socket), bufs)
    }

    fn end(&self) -> io::Result<()> {
        kernel!(self, it => it.shutdown(Shutdown::Write)).shutdown(Shutdown::Write)
    }

    fn writable(io: &Async<Stream>) -> impl Future<Output = io::Result<()>> + Send {
        seam::writable(io)
    }
}

/// Takes a connection from the listener's queue, non-blocking.
pub(super) fn accept(listener: &Listener) -> io::Result<(Stream, SocketAddr)> {
    let socket = kernel!(listener, it => {
        let (stream, peer) = it.accept()?;
        Ok((Stream::Simulated(stream), peer))
    });
    let (stream, peer) = super::syscalls::accept(socket)?;
    Ok((of_kernel(stream), peer))
}

/// Asks whether a connect in the background has ended: "would block" as long as it has not.
pub(super) fn connected(stream: &Stream) -> io::Result<()> {
    let socket = kernel!(stream, it => it.connected());
    super::syscalls::connected(&SockRef::from(socket))
}
