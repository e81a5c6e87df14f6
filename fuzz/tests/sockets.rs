//! As `corpus`, for the sockets: a program of its own, since descriptors are counted, and nobody else may open any meanwhile.

use std::path::Path;

#[test]
fn sockets() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/sockets");
    let mut files: Vec<_> = std::fs::read_dir(&corpus)
        .expect("a corpus")
        .map(|entry| entry.expect("a file").path())
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", corpus.display());
    for path in files {
        println!("{}", path.display());
        heist_fuzz::sockets::run(&std::fs::read(&path).expect("it can be read"));
    }
}
