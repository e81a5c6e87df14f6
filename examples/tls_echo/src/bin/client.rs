//! Sends what it reads, and prints what comes back: `client ADDRESS CERTIFICATE [NAME]`. Trusts a server that has this certificate, and whose name
//! (`localhost`, if nothing else is said) is in it.
//!
//! ```sh
//! echo hello | cargo run --manifest-path examples/tls_echo/Cargo.toml --bin client -- 127.0.0.1:7443 /tmp/tls_echo-1234.pem
//! ```

use heist::stdio::{stdin, stdout};
use std::error::Error;
use std::time::Duration;
use tls_echo::{HANDSHAKE, connect, read_certificate, trusting};
use tokio::io::{AsyncWriteExt, copy, split};

/// How long sending may go on when the server has said that it has no more.
const GOODBYE: Duration = Duration::from_secs(1);

#[heist::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let (address, certificate, name) = match words.as_slice() {
        [address, certificate] => (address, certificate, "localhost"),
        [address, certificate, name] => (address, certificate, name.as_str()),
        _ => return Err("usage: client ADDRESS:PORT CERTIFICATE.pem [NAME]".into()),
    };
    let config = trusting(read_certificate(certificate)?)?;
    let stream = connect(address.as_str(), name, config, HANDSHAKE).await?;

    let (mut from, mut to) = split(stream);
    let sending = heist::spawn(async move {
        copy(&mut stdin(), &mut to).await?;
        // "That was all": the server answers it in kind.
        to.shutdown().await
    });
    let mut out = stdout();
    // An end that the server did not announce is an error here.
    copy(&mut from, &mut out).await?;
    AsyncWriteExt::flush(&mut out).await?;
    // Whoever still has something to say then says it to nobody.
    match heist::timeout(GOODBYE, sending).await {
        Ok(sent) => sent??,
        Err(_) => return Err("the server has ended".into()),
    }
    Ok(())
}
