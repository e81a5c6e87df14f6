//! Buffers with uninitialised memory, lent by hyper and tokio to the one read path.
//!
//! All of it rests on one invariant, stated at `transfer::recv`: after `Ok(n)` the first `n` bytes
//! are initialised, and no byte is ever made uninitialised.
#![allow(unsafe_code)]

use std::mem::MaybeUninit;

/// Views an initialised buffer as one that need not be.
pub(super) fn of_init(buf: &mut [u8]) -> &mut [MaybeUninit<u8>] {
    let (data, len) = (buf.as_mut_ptr().cast(), buf.len());
    // SAFETY: `MaybeUninit<u8>` has the layout of `u8`, and the borrow moves from one slice to the
    // other. Whoever gets it could make bytes uninitialised; it only goes to `recv`, which does
    // not.
    unsafe { std::slice::from_raw_parts_mut(data, len) }
}

/// Fills a part of hyper's buffer.
#[cfg(feature = "hyper")]
pub(super) fn poll_fill_hyper(
    stream: &super::TcpStream,
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
pub(super) fn poll_fill_tokio(
    stream: &super::TcpStream,
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
