//! What heist's fuzz targets check. Each target is a function of the fuzzer's bytes that panics if heist does what it must not.
//!
//! The functions know no fuzzer, so that `cargo test` replays the corpus without one; `targets/` ties them to libFuzzer.
#![forbid(unsafe_code)]

pub mod scenarios;
pub mod sockets;
pub mod tasks;
// Compiled as a test, the source of the wheel would ask for its own tests.
#[cfg(not(test))]
pub mod wheel;

/// Shows what an input means, where one is replayed to be understood.
fn show(input: &impl std::fmt::Debug) {
    if std::env::var_os("HEIST_FUZZ_SHOW").is_some() {
        eprintln!("{input:#?}");
    }
}
