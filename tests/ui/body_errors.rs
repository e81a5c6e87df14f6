//! Type errors in the body point into the body, not at the attribute.

#[heist::main]
async fn main() -> std::io::Result<()> {
    let number: u8 = "seven";
    std::fs::metadata(".")?;
    drop(number);
    Ok(())
}
