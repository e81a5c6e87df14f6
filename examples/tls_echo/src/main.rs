//! An echo server over TLS. Its certificate is made as it starts, and written to a file for clients to trust.
//!
//! ```sh
//! cargo run --manifest-path examples/tls_echo/Cargo.toml                          # ends with Ctrl-C
//! cargo run --manifest-path examples/tls_echo/Cargo.toml -- 127.0.0.1:0 --seconds 60
//! ```
//!
//! It says how to talk to it: with `client` beside this, or with openssl.
#![allow(clippy::print_stdout)]

#[path = "../../support/options.rs"]
mod options;

use heist::net::TcpListener;
use std::error::Error;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tls_echo::{End, HANDSHAKE, Identity, Reason, serve};

#[heist::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let options = options::Options::parse("127.0.0.1:7443")?;
    let identity = Identity::new("localhost")?;
    let listener = TcpListener::bind(options.address.as_str()).await?;
    let address = listener.local_addr()?;
    let file = PemFile::write(identity.pem())?;
    let path = file.0.display();
    println!("echoing on {address} ({})", options.how_it_ends());
    println!(
        "cargo run --manifest-path examples/tls_echo/Cargo.toml --bin client -- {address} {path}"
    );
    println!(
        "openssl s_client -connect {address} -servername localhost -verify_return_error -CAfile {path}"
    );

    let tally = Arc::new(Tally::default());
    let counted = tally.clone();
    let told = move |peer, end: End| {
        println!("{peer}: {end}");
        counted.count(&end);
    };
    let mut asked = Ok(());
    let stop = async { asked = options.ended().await };
    serve(listener, identity.server_config()?, HANDSHAKE, stop, told).await?;
    asked?;
    println!(
        "echoed {} bytes on {} connections; {} more had no handshake",
        tally.bytes.load(Ordering::Relaxed),
        tally.served.load(Ordering::Relaxed),
        tally.refused.load(Ordering::Relaxed),
    );
    Ok(())
}

#[derive(Default)]
struct Tally {
    served: AtomicU64,
    refused: AtomicU64,
    bytes: AtomicU64,
}

impl Tally {
    fn count(&self, end: &End) {
        let kind = match end.reason {
            Reason::NoHandshake(_) | Reason::HandshakeTookTooLong => &self.refused,
            _ => &self.served,
        };
        kind.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(end.bytes, Ordering::Relaxed);
    }
}

/// The certificate's file, which goes with the server.
struct PemFile(PathBuf);

impl PemFile {
    fn write(pem: &str) -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("tls_echo-{}.pem", std::process::id()));
        // What is there already is somebody else's.
        let file = File::create_new(&path);
        let told = |error| io::Error::other(format!("{}: {error}", path.display()));
        file.and_then(|mut file| file.write_all(pem.as_bytes()))
            .map_err(told)?;
        Ok(Self(path))
    }
}

impl Drop for PemFile {
    fn drop(&mut self) {
        // A destructor has nobody to tell.
        let _ = fs::remove_file(&self.0);
    }
}
