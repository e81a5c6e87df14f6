//! Unknown options list the valid ones; an option of the other attribute is recognised.

#[heist::main(workers = 4)]
async fn main() {}

#[heist::main(timeout_ms = 1000)]
async fn limited() {}

#[heist::test(flavour = "current_thread")]
async fn case() {}
