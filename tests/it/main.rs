//! The runtime as its users see it: everything here goes through the crate `heist` alone.
//!
//! One module per subject. No test can hang: each runs within `limit::limited`. What needs a process of its own (a count of threads
//! and descriptors, a fork, an exhausted limit) stands beside this directory.

mod as_completed;
mod blocking;
mod builder;
mod callbacks;
mod cancelling;
mod chains;
mod combining;
mod context;
mod failures;
mod files;
mod foreign;
mod gather;
mod identity;
mod introspection;
mod limit;
mod macros;
mod net;
mod panics;
mod requests;
mod rules;
mod scheduling;
mod sending;
mod shield;
mod shutdown;
mod streams;
mod support;
mod sync;
mod tasks;
mod teardown;
mod timers;
mod track;
mod wait;
mod wait_for;
mod waking;
