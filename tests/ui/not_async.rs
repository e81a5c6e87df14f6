//! A function that is not `async`: the attribute says what to write.

#[heist::main]
fn main() {}

#[heist::test]
fn case() {}
