//! Standard output and error: std's streams, written to on threads that may block.

use std::future::{Future, poll_fn};
use std::io::{self, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use crate::offload::{Call, Write, offloaded, poll_io_traits};

/// What both streams are: at most one operation under way, as with a file.
#[derive(Default)]
struct Output {
    running: Option<Running>,
}

enum Running {
    Write(Write),
    Flush(Call<()>),
}

impl Output {
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        buf: &[u8],
        to: fn() -> Box<dyn io::Write>,
    ) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        loop {
            match &mut self.running {
                Some(Running::Write(write)) if write.is_of(buf) => {
                    let written = ready!(write.poll(cx));
                    self.running = None;
                    return Poll::Ready(written);
                }
                // Its own error, if any, was a dropped future's.
                Some(_) => drop(ready!(self.poll_ended(cx))),
                None => {
                    let write = Write::start(buf, move |bytes| {
                        to().write_all(bytes).map(|()| bytes.len())
                    })?;
                    self.running = Some(Running::Write(write));
                }
            }
        }
    }

    fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
        to: fn() -> Box<dyn io::Write>,
    ) -> Poll<io::Result<()>> {
        if let Some(Running::Write(_)) = self.running {
            ready!(self.poll_ended(cx))?;
        }
        if self.running.is_none() {
            self.running = Some(Running::Flush(offloaded(move || to().flush())?));
        }
        self.poll_ended(cx)
    }

    fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let ended = match &mut self.running {
            Some(Running::Write(write)) => ready!(write.poll(cx)).map(drop),
            Some(Running::Flush(flush)) => ready!(Pin::new(flush).poll(cx)),
            None => Ok(()),
        };
        self.running = None;
        Poll::Ready(ended)
    }
}

macro_rules! streams {
    ($($(#[$doc:meta])* $name:ident, $make:ident;)*) => {$(
        $(#[$doc])*
        ///
        /// # Examples
        ///
        /// ```no_run
        /// # async fn example() -> std::io::Result<()> {
        #[doc = concat!("let mut stream = heist_io_driver::stdio::", stringify!($make), "();")]
        /// stream.write_all(b"42 of 100").await?;
        /// stream.flush().await
        /// # }
        /// ```
        #[must_use]
        pub fn $make() -> $name {
            $name(Output::default())
        }

        $(#[$doc])*
        ///
        #[doc = concat!("Returned by [`", stringify!($make), "`].")]
        ///
        /// What is written at once stays together, up to 256 KiB: nobody else's output comes between. Output that
        /// nobody takes (a pipe that is full) keeps a thread of the blocking pool for as long, and a runtime that
        /// shuts down waits for it up to its deadline.
        pub struct $name(Output);

        impl $name {
            fn std() -> Box<dyn io::Write> {
                Box::new(io::$make().lock())
            }

            /// Writes a part of `buf`, at most 256 KiB, and returns how many bytes. They are in std's buffer then,
            /// if the stream has one.
            ///
            /// # Errors
            ///
            /// The system's; an error if there is no thread to be had.
            ///
            /// # Cancel safety
            ///
            /// The bytes may or may not be written. The same call again does not write them twice.
            pub async fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
                poll_fn(|cx| self.poll_write_some(cx, buf)).await
            }

            /// Writes all of `buf`. It is in std's buffer then, if the stream has one.
            ///
            /// # Errors
            ///
            /// Those of [`write`](Self::write).
            ///
            /// # Cancel safety
            ///
            /// Not safe: a part of `buf` may have been written before the drop.
            pub async fn write_all(&mut self, mut buf: &[u8]) -> io::Result<()> {
                while !buf.is_empty() {
                    buf = &buf[self.write(buf).await?..];
                }
                Ok(())
            }

            /// Empties std's buffer. Waits for the write of a future that was dropped, too.
            ///
            /// # Errors
            ///
            /// Those of [`write`](Self::write), of the write that was waited for as well.
            ///
            /// # Cancel safety
            ///
            /// Safe.
            pub async fn flush(&mut self) -> io::Result<()> {
                poll_fn(|cx| self.poll_flushed(cx)).await
            }

            fn poll_write_some(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
                self.0.poll_write(cx, buf, $name::std)
            }

            fn poll_flushed(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.0.poll_flush(cx, $name::std)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }

        poll_io_traits!(write $name);
    )*};
}

streams! {
    /// The process's standard output, through std's buffer: a line is seen at its end, the rest at a
    /// [`flush`](Stdout::flush) or at the end of the process.
    #[doc(alias = "connect_write_pipe")]
    Stdout, stdout;

    /// The process's standard error, which has no buffer.
    Stderr, stderr;
}
