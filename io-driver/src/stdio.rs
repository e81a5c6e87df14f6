//! The process's standard streams.
//!
//! [`stdin`] is read by one thread of its own, which is started when somebody first waits for input, and
//! reads only when somebody does. A read of a terminal cannot be interrupted: so its bytes are everybody's,
//! and whoever reads next has those that a dropped future did not take. Nobody waits for the thread: neither
//! a runtime that shuts down nor the end of the process.
//!
//! [`stdout`] and [`stderr`] write through std's streams, with their buffers, on threads that may block.
//!
//! # Examples
//!
//! Answers line by line, until the input ends:
//!
//! ```no_run
//! use heist_io_driver::stdio::{stdin, stdout};
//!
//! # async fn example() -> std::io::Result<()> {
//! let (mut input, mut output) = (stdin(), stdout());
//! let mut line = String::new();
//! while input.read_line(&mut line).await? > 0 {
//!     output.write_all(line.to_uppercase().as_bytes()).await?;
//!     line.clear();
//! }
//! output.flush().await
//! # }
//! ```

mod input;
mod output;

pub use input::{Stdin, stdin};
pub use output::{Stderr, Stdout, stderr, stdout};
