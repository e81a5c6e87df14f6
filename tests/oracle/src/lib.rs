//! heist's oracle: runs scenarios over tasks, cancellation and combinators that were recorded on CPython's asyncio, through heist's public
//! interface alone, and compares what every single task observed.
//!
//! ```text
//!   scenario      a scenario as read: typed statements
//!   interpreter   a body, statement after statement
//!   run           one run: runtime, names, records, the end
//!   exc, handle, namespace, objects, log     what a run is made of
//!   guard         a run that does not end is reported, not waited for
//!   bounded       a run of a scenario that nobody has looked at
//!   cases         recorded cases: a directory of them, or packed
//!   compare       two logs
//!   check         many cases, many times
//! ```
//!
//! The interpreter knows no scenario by its name. Threads are real, time is virtual: a paused clock jumps whenever nothing can run.
#![forbid(unsafe_code)]

pub mod bounded;
pub mod cases;
pub mod check;
pub mod compare;
mod exc;
pub mod guard;
mod handle;
mod interpreter;
mod log;
mod namespace;
mod objects;
mod run;
pub mod scenario;
