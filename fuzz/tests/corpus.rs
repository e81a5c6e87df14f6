//! Replays the corpus, without a fuzzer: what was found once is not there any more.

use std::path::Path;

/// What lies deep in one another needs, as long as nothing is optimised.
const STACK: usize = 256 << 20;

/// Runs a target on all files of its corpus. There have to be some.
fn replay(target: &'static str, run: fn(&[u8])) {
    let thread = std::thread::Builder::new().stack_size(STACK);
    let thread = thread.spawn(move || replay_all(target, run));
    if let Err(panic) = thread.expect("a thread").join() {
        std::panic::resume_unwind(panic);
    }
}

fn replay_all(target: &str, run: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target);
    let mut files = 0;
    for entry in std::fs::read_dir(&corpus).expect("a corpus") {
        let path = entry.expect("a file").path();
        // What a failure says after this is about this file.
        println!("{}", path.display());
        run(&std::fs::read(&path).expect("it can be read"));
        files += 1;
    }
    assert!(files > 0, "{} is empty", corpus.display());
}

#[test]
fn wheel() {
    replay("wheel", heist_fuzz::wheel::run);
}

#[test]
fn tasks() {
    replay("tasks", heist_fuzz::tasks::run);
}

#[test]
fn scenarios() {
    replay("scenarios", heist_fuzz::scenarios::run);
}
