//! Buffers with uninitialised memory, lent to the one read path.
//!
//! All of it rests on one invariant, stated at `ReadCalls::recv` and `Datagrams::receive`: after `Ok(n)` the first `n` bytes
//! are initialised, and no byte is ever made uninitialised.
#![allow(unsafe_code)]

use std::io;
use std::mem::MaybeUninit;

use crate::net::Datagrams;
use crate::source::Async;

/// Views an initialised buffer as one that need not be.
pub(crate) fn of_init(buf: &mut [u8]) -> &mut [MaybeUninit<u8>] {
    let (data, len) = (buf.as_mut_ptr().cast(), buf.len());
    // SAFETY: `MaybeUninit<u8>` has the layout of `u8`, and the borrow moves from one slice to the
    // other. Whoever gets it could make bytes uninitialised; it only goes to `recv`, which does
    // not.
    unsafe { std::slice::from_raw_parts_mut(data, len) }
}

/// The first `n` bytes.
///
/// # Safety
///
/// They must be initialised.
unsafe fn filled(buf: &mut [MaybeUninit<u8>], n: usize) -> &mut [u8] {
    let buf = &mut buf[..n];
    // SAFETY: `MaybeUninit<u8>` has the layout of `u8`, the bytes are initialised as the caller
    // promises, and the borrow moves from one slice to the other.
    unsafe { std::slice::from_raw_parts_mut(buf.as_mut_ptr().cast(), n) }
}

/// Receives a datagram, and gives the part of `buf` that it has initialised.
pub(crate) async fn receive<'b, D: Datagrams>(
    io: &Async<D>,
    buf: &'b mut [MaybeUninit<u8>],
) -> io::Result<&'b mut [u8]> {
    let n = io.read_with(|io| io.receive(buf)).await?;
    // SAFETY: `receive` has initialised them.
    Ok(unsafe { filled(buf, n) })
}

/// Receives a datagram, and gives the part of `buf` that it has initialised, and the sender.
pub(crate) async fn receive_from<'b, D: Datagrams>(
    io: &Async<D>,
    buf: &'b mut [MaybeUninit<u8>],
) -> io::Result<(&'b mut [u8], D::Addr)> {
    let (n, from) = io.read_with(|io| io.receive_from(buf)).await?;
    // SAFETY: `receive_from` has initialised them.
    Ok((unsafe { filled(buf, n) }, from))
}

/// Fills a part of hyper's buffer.
#[cfg(feature = "hyper")]
pub(crate) fn poll_fill_hyper(
    stream: &impl super::Reader,
    cx: &mut std::task::Context<'_>,
    mut cursor: hyper::rt::ReadBufCursor<'_>,
) -> std::task::Poll<std::io::Result<()>> {
    // SAFETY: `poll_recv` makes no byte uninitialised.
    let unfilled = unsafe { cursor.as_mut() };
    stream.poll_recv(cx, unfilled).map_ok(|n| {
        // SAFETY: `poll_recv` has initialised the first `n` bytes.
        unsafe { cursor.advance(n) };
    })
}

/// Fills a part of tokio's buffer.
#[cfg(feature = "tokio-io")]
pub(crate) fn poll_fill_tokio(
    stream: &impl super::Reader,
    cx: &mut std::task::Context<'_>,
    buf: &mut tokio::io::ReadBuf<'_>,
) -> std::task::Poll<std::io::Result<()>> {
    // SAFETY: `poll_recv` makes no byte uninitialised.
    let unfilled = unsafe { buf.unfilled_mut() };
    stream.poll_recv(cx, unfilled).map_ok(|n| {
        // SAFETY: `poll_recv` has initialised the first `n` bytes.
        unsafe { buf.assume_init(n) };
        buf.advance(n);
    })
}
