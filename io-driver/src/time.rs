//! Sleeping, ticking, and the present by the current driver's clock.
//!
//! Works on any thread and under any executor: on a thread where no driver was
//! [entered](crate::Handle::enter), the process-wide fallback driver keeps the time.

pub use crate::handle::now;
pub use crate::timer::interval::{Interval, MissedTick, interval, interval_at};
pub use crate::timer::sleep::{Sleep, sleep, sleep_until};
