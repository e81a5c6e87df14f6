//! Readiness and deadlines, turned into [`Waker::wake`](std::task::Waker::wake).
//!
//! One [`Driver`] owns the kernel's poller and a set of timer wheels. Whoever holds it *turns* it:
//! [`Driver::turn`] waits in one system call, collects the wakers of everything that became ready
//! or due into a [`WakeBatch`], and returns; the caller wakes the batch. Futures reach the driver
//! through a [`Handle`]: [`Async`] wraps any pollable descriptor, [`time`] has sleeps and
//! intervals. What only blocks ([`fs`], [`stdio`]) goes where [`Config::offload`] says.
//!
//! This crate knows `std::task` and nothing of tasks, queues or workers: any executor can drive
//! it. On a thread that no driver was entered on, a process-wide fallback driver serves, so that
//! sleeps and sockets work everywhere.
//!
//! # Examples
//!
//! ```
//! use std::{sync::Arc, task::{Context, Poll, Wake, Waker}, time::Duration};
//! use heist_io_driver::{Config, Driver, WakeBatch, time::sleep};
//!
//! struct Quiet;
//! impl Wake for Quiet {
//!     fn wake(self: Arc<Self>) {}
//! }
//!
//! let mut driver = Driver::new(Config::default())?;
//! let handle = driver.handle().clone();
//! let _entered = handle.enter(0);
//! let mut batch = WakeBatch::new();
//! let mut nap = std::pin::pin!(sleep(Duration::from_millis(5)));
//! let waker = Waker::from(Arc::new(Quiet));
//! while nap.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
//!     driver.turn(None, false, &mut batch)?;
//!     batch.wake_all();
//! }
//! # Ok::<(), std::io::Error>(())
//! ```
#![cfg_attr(docsrs, feature(doc_cfg))]

mod batch;
mod bytes;
mod clock;
mod descriptor;
mod driver;
mod fallback;
#[doc(hidden)]
pub mod fork;
pub mod fs;
mod handle;
pub mod io;
pub mod leaf;
pub mod net;
mod offload;
#[cfg(unix)]
pub mod pipe;
#[cfg(unix)]
pub mod process;
mod readiness;
#[cfg(unix)]
pub mod signal;
#[cfg(feature = "sim")]
#[doc(hidden)]
pub mod sim;
mod source;
pub mod stdio;
mod sys;
pub mod time;
mod timer;

pub use batch::WakeBatch;
pub use clock::{Clock, NotPaused};
pub use driver::{Config, Driver, Turned};
pub use handle::{EnterGuard, Handle};
pub use offload::{Job, Offload, Refused};
pub use source::{Async, Ready, TryIo};
