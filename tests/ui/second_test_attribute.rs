//! A second test attribute would run the test twice.

#[heist::test]
#[test]
async fn case() {}

fn main() {}
