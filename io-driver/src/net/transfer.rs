//! How bytes leave and enter a stream: the one read call and the one write call that everything
//! else ends in.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::SocketAddr;

use socket2::SockRef;

use super::seam::{Listener, Stream, kernel, of_kernel};

/// The most buffers handed to one vectored call. Linux and the BSDs refuse more than 1024
/// (`IOV_MAX`); giving them fewer is an ordinary partial transfer.
const MAX_BUFFERS: usize = 1024;

/// Reads into the front of `buf`, and says how many of its bytes that initialised.
///
/// Invariant: on `Ok(n)`, the first `n` bytes of `buf` are initialised; no byte is ever made
/// uninitialised.
pub(super) fn recv(stream: &Stream, buf: &mut [MaybeUninit<u8>]) -> io::Result<usize> {
    let socket = kernel!(stream, it => it.recv(buf));
    SockRef::from(socket).recv(buf)
}

/// Like [`recv`], leaving the bytes where they are.
pub(super) fn peek(stream: &Stream, buf: &mut [u8]) -> io::Result<usize> {
    let socket = kernel!(stream, it => it.peek(buf));
    socket.peek(buf)
}

pub(super) fn recv_vectored(stream: &Stream, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
    let mut socket = kernel!(stream, it => it.recv_vectored(bufs));
    socket.read_vectored(bufs)
}

/// Writes without ever raising SIGPIPE (std's `write` asks for that).
pub(super) fn send(stream: &Stream, buf: &[u8]) -> io::Result<usize> {
    let mut socket = kernel!(stream, it => it.send(buf));
    socket.write(buf)
}

/// Writes several buffers in one call, without ever raising SIGPIPE.
pub(super) fn send_vectored(stream: &Stream, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
    let socket = kernel!(stream, it => it.send_vectored(bufs));
    super::syscalls::send_vectored(socket, bufs)
}

/// The buffers that one call takes, and how many bytes they are.
///
/// The sum is of the same buffers as the call's, never of more: a transfer that falls short of it
/// is taken as a sign that the next one would block, and would be waited for in vain.
pub(super) fn acceptable<'a, 'b>(bufs: &'a [IoSlice<'b>]) -> (&'a [IoSlice<'b>], usize) {
    let bufs = &bufs[..bufs.len().min(MAX_BUFFERS)];
    (bufs, total(bufs.iter().map(|buf| buf.len())))
}

/// Like [`acceptable`], for reading.
pub(super) fn acceptable_mut<'a, 'b>(
    bufs: &'a mut [IoSliceMut<'b>],
) -> (&'a mut [IoSliceMut<'b>], usize) {
    let count = bufs.len().min(MAX_BUFFERS);
    let bufs = &mut bufs[..count];
    let len = total(bufs.iter().map(|buf| buf.len()));
    (bufs, len)
}

/// Buffers that are only read may overlap, and so add up to more than there is memory.
fn total(lens: impl Iterator<Item = usize>) -> usize {
    lens.fold(0, usize::saturating_add)
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
    if let Some(error) = socket.take_error()? {
        return Err(error);
    }
    match socket.peer_addr() {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotConnected => {
            Err(io::ErrorKind::WouldBlock.into())
        }
        Err(error) => Err(error),
    }
}
