//! Byte streams: what connections and pipes have in common.
//!
//! A kind of descriptor brings its system calls ([`ReadCalls`], [`WriteCalls`]); a type of ours that
//! has one of that kind says where it is ([`Reader`], [`Writer`]). The rest is here once: the one
//! way to read, into memory that need not be initialised, and the one way to write. `methods`
//! spells them as methods, `traits` in the words of each trait family, `uninit` lends them other
//! crates' buffers.
//!
//! The traits are public in name only: this module is private, so that nobody else can name,
//! implement or call them.

mod methods;
mod traits;
pub(crate) mod uninit;

use std::future::Future;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::task::{Context, Poll};

use crate::source::{Async, TryIo};
use crate::sys::AsSource;

/// The most buffers handed to one vectored call. Linux and the BSDs refuse more than 1024
/// (`IOV_MAX`); giving them fewer is an ordinary partial transfer.
const MAX_BUFFERS: usize = 1024;

/// The system calls that read from one kind of descriptor.
pub trait ReadCalls: AsSource + Send + Sync + Sized {
    /// Whether a read that got less than it asked for has got all there was, so that the next one
    /// may wait without asking the kernel.
    const DRAINS: bool;

    /// Reads into the front of `buf`, and says how many of its bytes that initialised.
    ///
    /// Invariant: on `Ok(n)`, the first `n` bytes of `buf` are initialised; no byte is ever made
    /// uninitialised.
    fn recv(&self, buf: &mut [MaybeUninit<u8>]) -> io::Result<usize>;

    fn recv_vectored(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize>;

    /// Waits until a read would not block.
    fn readable(io: &Async<Self>) -> impl Future<Output = io::Result<()>> + Send {
        io.readable()
    }
}

/// For kinds that can be read without taking.
pub trait PeekCalls: ReadCalls {
    /// Like [`recv`](ReadCalls::recv), leaving the bytes where they are.
    fn recv_peek(&self, buf: &mut [u8]) -> io::Result<usize>;
}

/// The system calls that write to one kind of descriptor.
pub trait WriteCalls: AsSource + Send + Sync + Sized {
    fn send(&self, buf: &[u8]) -> io::Result<usize>;

    fn send_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Ends the stream for the peer, where that can be done without closing the descriptor.
    fn end(&self) -> io::Result<()>;

    /// Waits until a write would not block.
    fn writable(io: &Async<Self>) -> impl Future<Output = io::Result<()>> + Send {
        io.writable()
    }
}

/// What is read as a byte stream.
pub trait Reader {
    type Calls: ReadCalls;

    fn read_end(&self) -> &Async<Self::Calls>;

    /// The one read path of the I/O traits. On `Ok(n)`, the first `n` bytes of `buf` are
    /// initialised.
    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buf: &mut [MaybeUninit<u8>],
    ) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let (io, len) = (self.read_end(), buf.len());
        match Self::Calls::DRAINS {
            true => io.poll_read_some(cx, len, |io| io.recv(buf)),
            false => io.poll_read_with(cx, |io| io.recv(buf)),
        }
    }

    fn poll_recv_vectored(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        let (bufs, len) = acceptable_mut(bufs);
        if len == 0 {
            return Poll::Ready(Ok(0));
        }
        let io = self.read_end();
        match Self::Calls::DRAINS {
            true => io.poll_read_some(cx, len, |io| io.recv_vectored(bufs)),
            false => io.poll_read_with(cx, |io| io.recv_vectored(bufs)),
        }
    }
}

/// What is written as a byte stream.
pub trait Writer {
    type Calls: WriteCalls;

    fn write_end(&self) -> &Async<Self::Calls>;

    /// The one write path of the I/O traits.
    fn poll_send(&self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let len = buf.len();
        self.write_end().poll_write_some(cx, len, |io| io.send(buf))
    }

    fn poll_send_vectored(
        &self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let (bufs, len) = acceptable(bufs);
        self.write_end()
            .poll_write_some(cx, len, |io| io.send_vectored(bufs))
    }

    /// The I/O traits' way to end a stream: all is well if the connection is gone already.
    fn close_write(&self) -> io::Result<()> {
        match self.write_end().get_ref().end() {
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            result => result,
        }
    }
}

/// A connection: read, peeked and written, and so to be had in halves.
pub trait Duplex: Reader<Calls: PeekCalls> + Writer {}

impl<S: Reader<Calls: PeekCalls> + Writer> Duplex for S {}

/// Reads, into a buffer that is not empty.
#[inline]
pub(crate) fn recv<'a, K: ReadCalls>(
    io: &'a Async<K>,
    buf: &'a mut [u8],
) -> TryIo<'a, K, impl FnMut(&K) -> io::Result<usize>, usize> {
    let buf = uninit::of_init(buf);
    let len = buf.len();
    let recv = move |io: &K| io.recv(buf);
    match K::DRAINS {
        true => io.read_some(len, recv),
        false => io.read_with(recv),
    }
}

/// Reads into buffers that [`acceptable_mut`] has counted.
#[inline]
pub(crate) fn recv_vectored<'a, K: ReadCalls>(
    io: &'a Async<K>,
    bufs: &'a mut [IoSliceMut<'_>],
    len: usize,
) -> TryIo<'a, K, impl FnMut(&K) -> io::Result<usize>, usize> {
    let recv = move |io: &K| io.recv_vectored(bufs);
    match K::DRAINS {
        true => io.read_some(len, recv),
        false => io.read_with(recv),
    }
}

/// The buffers that one call takes, and how many bytes they are.
///
/// The sum is of the same buffers as the call's, never of more: a transfer that falls short of it
/// is taken as a sign that the next one would block, and would be waited for in vain.
pub(crate) fn acceptable<'a, 'b>(bufs: &'a [IoSlice<'b>]) -> (&'a [IoSlice<'b>], usize) {
    let bufs = &bufs[..bufs.len().min(MAX_BUFFERS)];
    (bufs, total(bufs.iter().map(|buf| buf.len())))
}

/// Like [`acceptable`], for reading.
pub(crate) fn acceptable_mut<'a, 'b>(
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
