//! The attributes `#[heist::main]` and `#[heist::test]`.
//!
//! Both turn an `async fn` without arguments into a plain `fn` that builds a runtime and runs the
//! body on it:
//!
//! ```text
//! #[heist::main(worker_threads = 4)]       fn main() -> io::Result<()> {
//! async fn main() -> io::Result<()> {   =>     async fn main() -> io::Result<()> { body }
//!     body                                     ::heist::__private::run_main(
//! }                                                ::heist::Builder::new().worker_threads(4usize),
//!                                                  main(),
//!                                              )
//!                                          }
//! ```
//!
//! The body stays an `async fn`, nested under its own name. So `?`, `return`, `-> !` and `-> impl
//! Trait` mean what they always mean, a type error points into the body, and a body that calls its
//! own function still calls an `async fn`. An `async` block was rejected: its output type is
//! inferred, and a bare `?` in it then fails with "type annotations needed".
//!
//! This crate knows two names of the runtime: `Builder` and `__private`. Everything else is decided
//! there.

mod expand;
mod function;
mod options;

use proc_macro::TokenStream;

use crate::options::Kind;

/// Runs an `async fn main` on a heist runtime. Stands for `asyncio.run(main())`.
///
/// The function becomes an ordinary `fn main`: it builds a runtime, runs the body to its end as the
/// main task, shuts the runtime down and returns what the body returned. Attributes, visibility and
/// the return type are kept; `?` works as in any `async fn`.
///
/// # Options
///
/// | option | meaning | default |
/// |---|---|---|
/// | `worker_threads = N` | number of worker threads, 1 or more | the runtime's default |
/// | `flavor = "current_thread"` | everything on this thread, no workers | `"multi_thread"` |
/// | `name = "..."` | name of the worker threads; not empty, no NUL | the runtime's default |
/// | `start_paused = true` | start with the clock paused: it jumps when all is idle | `false` |
/// | `crate = "path"` | where the `heist` crate is found, if it was renamed | `::heist` |
///
/// # Examples
///
/// ```
/// #[heist::main(worker_threads = 4)]
/// async fn main() -> Result<(), heist::TaskError> {
///     let greeting = heist::spawn(async { "hello" }).await?;
///     assert_eq!(greeting, "hello");
///     Ok(())
/// }
/// ```
///
/// # Panics
///
/// The function panics if the runtime cannot be built, for example because no more threads can be
/// started.
#[proc_macro_attribute]
pub fn main(args: TokenStream, item: TokenStream) -> TokenStream {
    expand::expand(Kind::Main, args.into(), item.into()).into()
}

/// Makes a test of an `async fn`: each test gets a runtime of its own. Stands for
/// `unittest.IsolatedAsyncioTestCase`.
///
/// The function is marked `#[test]`; `#[should_panic]`, `#[ignore]` and all other attributes are
/// kept, and a `Result` may be returned.
///
/// # Options
///
/// Those of [`main`](macro@main), and these:
///
/// | option | meaning | default |
/// |---|---|---|
/// | `timeout_ms = N` | fail the test if it has not ended after N ms; 1 or more | no limit |
/// | `sim` | run the test in simulations (`heist::sim`, feature `sim`) instead of on a runtime of its own; it may take a `heist::sim::Sim` | |
/// | `seeds = N` | with `sim`: with how many seeds, each of them twice; `HEIST_SIM_SEED` chooses one | 100 |
/// | `grain = "polls" \| "calls" \| "steps"` | with `sim`: where the simulated threads take turns | "polls" |
///
/// # Examples
///
/// ```
/// #[heist::test(flavor = "current_thread", start_paused = true, timeout_ms = 10_000)]
/// async fn an_hour_passes_at_once() {
///     heist::sleep(std::time::Duration::from_secs(3600)).await;
/// }
/// ```
///
/// # Panics
///
/// The test fails if the runtime cannot be built.
#[proc_macro_attribute]
pub fn test(args: TokenStream, item: TokenStream) -> TokenStream {
    expand::expand(Kind::Test, args.into(), item.into()).into()
}
