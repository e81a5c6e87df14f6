//! Generics: nobody would choose the types.

#[heist::main]
async fn main<T: Default>() {}

#[heist::test]
async fn case()
where
    u8: Copy,
{
}
