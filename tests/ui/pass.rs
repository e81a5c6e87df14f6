//! What must keep compiling: `?` without annotations, `-> impl Trait`, early `return`, a body that
//! calls itself, and names that shadow the usual ones.

#![deny(warnings)]

use std::process::ExitCode;

#[allow(dead_code)]
struct Option;

#[allow(dead_code)]
#[heist::main(worker_threads = 1, name = "worker", start_paused = false)]
pub(crate) async fn with_result() -> Result<(), Box<dyn std::error::Error>> {
    "7".parse::<u8>()?;
    Ok(())
}

#[allow(dead_code)]
#[heist::main(flavor = "current_thread", crate = "::heist")]
async fn opaque() -> impl Send {
    7
}

#[allow(dead_code)]
#[heist::main]
async fn countdown() -> u8 {
    static LEFT: std::sync::atomic::AtomicU8 = std::sync::atomic::AtomicU8::new(3);
    if LEFT.fetch_sub(1, std::sync::atomic::Ordering::Relaxed) == 0 {
        return 0;
    }
    Box::pin(countdown()).await
}

#[heist::test(timeout_ms = 1000)]
#[should_panic]
async fn a_test() -> Result<(), std::num::ParseIntError> {
    "x".parse::<u8>()?;
    Ok(())
}

#[heist::main]
async fn main() -> ExitCode {
    ExitCode::SUCCESS
}
