//! asyncio's combinators on heist's tasks. Users depend on the crate `heist`, which re-exports this.
//!
//! Knows the runtime by its public interface alone.
#![forbid(unsafe_code)]

mod timeout;

pub use timeout::{Elapsed, Timeout, timeout, timeout_at};
