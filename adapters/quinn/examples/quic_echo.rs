//! A QUIC server that sends back what it gets, and a client that says hello on a few streams of one connection.
//!
//! ```sh
//! cargo run --manifest-path adapters/quinn/Cargo.toml --example quic_echo
//! ```
#![allow(clippy::print_stdout)]

use heist_quinn::HeistRuntime;
use quinn::{ClientConfig, Connection, Endpoint, EndpointConfig, ServerConfig, VarInt};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use std::error::Error;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

#[heist::main]
async fn main() -> Result<()> {
    // A certificate that the server signs itself, and the client trusts.
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let certificate = made.cert.der().clone();

    let config = ServerConfig::with_single_cert(vec![certificate.clone()], key.into())?;
    let server = endpoint(Some(config))?;
    let address = server.local_addr()?;
    println!("listening on {address}");
    let serving = heist::spawn(serve(server.clone()));

    let mut client = endpoint(None)?;
    client.set_default_client_config(trusting(certificate)?);
    let connection = client.connect(address, "localhost")?.await?;
    let greetings = (1..=3).map(|n| heist::spawn(greet(connection.clone(), n)));
    for greeting in heist::gather(greetings).await? {
        println!("{}", greeting?);
    }

    connection.close(VarInt::from_u32(0), b"bye");
    client.wait_idle().await;
    server.close(VarInt::from_u32(0), b"bye");
    server.wait_idle().await;
    serving.await?;
    Ok(())
}

async fn serve(endpoint: Endpoint) {
    while let Some(incoming) = endpoint.accept().await {
        heist::spawn(async move {
            let connection = incoming.await?;
            while let Ok((mut send, mut receive)) = connection.accept_bi().await {
                heist::spawn(async move {
                    let text = receive.read_to_end(1024).await?;
                    send.write_all(&text).await?;
                    send.finish()?;
                    Result::Ok(())
                });
            }
            Result::Ok(())
        });
    }
}

async fn greet(connection: Connection, n: u32) -> Result<String> {
    let (mut send, mut receive) = connection.open_bi().await?;
    send.write_all(format!("hello from stream {n}").as_bytes())
        .await?;
    send.finish()?;
    Ok(String::from_utf8(receive.read_to_end(1024).await?)?)
}

fn endpoint(server: Option<ServerConfig>) -> Result<Endpoint> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let runtime = Arc::new(HeistRuntime::current()?);
    Ok(Endpoint::new(
        EndpointConfig::default(),
        server,
        socket,
        runtime,
    )?)
}

fn trusting(certificate: CertificateDer<'static>) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate)?;
    Ok(ClientConfig::with_root_certificates(Arc::new(roots))?)
}
