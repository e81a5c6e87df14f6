//! The driver from outside, over both ways of waiting: epoll by ourselves, and `polling`.
//!
//! No test waits without a bound (each holds a `Limit`), and none asserts that anything is fast.

mod clocks;
mod leaves;
#[path = "../support/limit.rs"]
mod limit;
mod sources;
mod streams;
mod support;
mod timers;
mod turns;
#[cfg(target_os = "linux")]
mod unix;
