//! Arguments: nobody would pass them.

#[heist::main]
async fn main(argc: usize) {
    println!("{argc}");
}

#[heist::test]
async fn case(#[values(1, 2)] n: usize) {
    assert!(n > 0);
}
