//! The driver from outside, over both ways of waiting: epoll by ourselves, and `polling`.
//!
//! No test waits without a bound, and none asserts that anything is fast.

mod clocks;
mod leaves;
mod sources;
mod streams;
mod support;
mod timers;
mod turns;
