//! Tells the program which compiler it was built by, and for which target: the counts depend on both.

use std::env;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-env=COUNTS_RUSTC={}", compiler());
    let target = env::var("TARGET").expect("cargo names the target");
    println!("cargo::rustc-env=COUNTS_TARGET={target}");
}

fn compiler() -> String {
    let rustc = env::var_os("RUSTC").expect("cargo names the compiler");
    let output = Command::new(rustc)
        .arg("-V")
        .output()
        .expect("the compiler that builds this runs");
    let version = String::from_utf8(output.stdout).expect("its version is text");
    version.trim().to_owned()
}
