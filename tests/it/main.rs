//! The runtime as its users see it: everything here goes through the crate `heist` alone.
//!
//! One module per subject. No test can hang: each runs within `support::limited`. What needs a process of its own (a count of threads
//! and descriptors, a fork, an exhausted limit) stands beside this directory.

mod blocking;
mod builder;
mod callbacks;
mod cancelling;
mod chains;
mod context;
mod foreign;
mod identity;
mod macros;
mod net;
mod panics;
mod scheduling;
mod shutdown;
mod support;
mod sync;
mod tasks;
mod timers;
mod waking;
