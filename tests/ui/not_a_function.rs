//! The attributes go on functions.

#[heist::main]
struct Main;

fn main() {}
