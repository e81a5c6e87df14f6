//! Values out of range or of the wrong kind: all of them are reported at once.

#[heist::main(worker_threads = 0, flavor = "threads", name = "", start_paused = 1, crate = 7)]
async fn main() {}

#[heist::test(timeout_ms = "10s")]
async fn case() {}

#[heist::main(worker_threads)]
async fn without_a_value() {}
