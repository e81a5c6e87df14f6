//! Options given twice, and options that exclude each other.

#[heist::main(worker_threads = 2, worker_threads = 3)]
async fn main() {}

#[heist::main(flavor = "current_thread", worker_threads = 2)]
async fn both() {}
