//! TLS on heist's streams: [rustls](https://docs.rs/rustls) through tokio-rustls, which asks for tokio's traits of a stream and for no runtime.
//! heist's streams have these traits with its feature `tokio-io`.
//!
//! A server that sends back what it gets, and tells how each connection ended:
//!
//! * a handshake has a limit in time, so that who connects and says nothing is not served for ever;
//! * the end of a stream is known to be the peer's own (its `close_notify`), or else somebody may have cut it short;
//! * when the server is to end, connections say goodbye in TLS's own way, so that the peers know it too.

use heist::net::{TcpListener, TcpStream, ToSocketAddrs};
use heist::{TaskGroup, catch_cancel};
use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName,
};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

/// How long a peer may take to agree on keys. Milliseconds, if the network is good.
pub const HANDSHAKE: Duration = Duration::from_secs(10);

/// How long a peer is waited for to take the last bytes it is sent.
const GOODBYE: Duration = Duration::from_secs(1);

/// A key and a certificate which that key has signed itself: whoever is to trust it must be given it.
pub struct Identity {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
    pem: String,
}

impl Identity {
    /// A new one, for a host of this name.
    ///
    /// # Errors
    ///
    /// The name is none, or there is no randomness to be had.
    pub fn new(name: &str) -> Result<Self, rcgen::Error> {
        let made = rcgen::generate_simple_self_signed([name.to_owned()])?;
        Ok(Self {
            certificate: made.cert.der().clone(),
            key: PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()).into(),
            pem: made.cert.pem(),
        })
    }

    /// What clients have to trust.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The certificate as text, as other programs want it.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// What a server shows. Clients stay unknown.
    ///
    /// # Errors
    ///
    /// rustls does not like key or certificate.
    pub fn server_config(&self) -> Result<ServerConfig, rustls::Error> {
        ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate.clone()], self.key.clone_key())
    }
}

/// A client's settings: it trusts this certificate, and none else.
///
/// # Errors
///
/// It is no certificate.
pub fn trusting(certificate: CertificateDer<'static>) -> Result<ClientConfig, rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate)?;
    Ok(ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth())
}

/// Connects, and checks that the server has a trusted certificate of this name.
///
/// # Errors
///
/// Those of the connection; `InvalidInput` if the name is none; `InvalidData`, with rustls' error inside, if the certificate does not do;
/// `TimedOut` if the handshake takes longer than `limit`.
pub async fn connect(
    address: impl ToSocketAddrs,
    name: &str,
    config: ClientConfig,
    limit: Duration,
) -> io::Result<client::TlsStream<TcpStream>> {
    let name = ServerName::try_from(name.to_owned())
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    let stream = TcpStream::connect(address).await?;
    let connector = TlsConnector::from(Arc::new(config));
    heist::timeout(limit, connector.connect(name, stream)).await?
}

/// Echoes until `stop` is ready, then asks all connections to end and waits until they have. `told` hears how each has ended, but of those whose
/// handshake that cuts off.
///
/// # Errors
///
/// The listener's; a bug, if a connection has panicked.
pub async fn serve(
    listener: TcpListener,
    config: ServerConfig,
    limit: Duration,
    stop: impl Future,
    told: impl Fn(SocketAddr, End) + Clone + Send + 'static,
) -> io::Result<()> {
    let acceptor = TlsAcceptor::from(Arc::new(config));
    // Connections are tasks of a group, and so is the one that accepts them: none outlives it.
    let ended = TaskGroup::run(|group| async move {
        let accepting = group.try_spawn(accept(listener, acceptor, limit, told, group.clone()));
        drop(accepting);
        stop.await;
        group.cancel();
    });
    ended.await.map_err(io::Error::other)
}

async fn accept(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    limit: Duration,
    told: impl Fn(SocketAddr, End) + Clone + Send + 'static,
    group: TaskGroup,
) -> io::Result<()> {
    loop {
        let (stream, peer) = listener.accept().await?;
        let (acceptor, told) = (acceptor.clone(), told.clone());
        // The handshake is the connection's own task's: it holds nobody up.
        let connection = group.spawn(async move {
            let end = connection(stream, acceptor, limit).await;
            told(peer, end);
        });
        drop(connection);
    }
}

async fn connection(stream: TcpStream, acceptor: TlsAcceptor, limit: Duration) -> End {
    // A cancellation need not be caught here: there is nobody yet to say goodbye to.
    let reason = match heist::timeout(limit, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => return talk(stream).await,
        Ok(Err(error)) => Reason::NoHandshake(error),
        Err(_late) => Reason::HandshakeTookTooLong,
    };
    End { reason, bytes: 0 }
}

/// Echoes to the end, and says goodbye: otherwise the peer could not tell the end from an attack.
async fn talk(mut stream: server::TlsStream<TcpStream>) -> End {
    let mut bytes = 0;
    // What a cancellation leaves behind is whole: a record that has begun is in rustls' buffer, and goes out before the goodbye.
    let echoed = catch_cancel(echo(&mut stream, &mut bytes)).await;
    let reason = match echoed {
        Ok(Ok(())) => Reason::PeerClosed,
        Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Reason::Truncated,
        Ok(Err(error)) => Reason::Broken(error),
        Err(_cancelled) => Reason::ServerEnds,
    };
    // A peer that does not take it is hung up on.
    let _ = heist::timeout(GOODBYE, stream.shutdown()).await;
    End { reason, bytes }
}

async fn echo(stream: &mut server::TlsStream<TcpStream>, bytes: &mut u64) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024]; // the longest record of TLS
    loop {
        let length = stream.read(&mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..length]).await?;
        // rustls may have kept some of it.
        stream.flush().await?;
        *bytes += length as u64;
    }
}

/// How a connection ended.
#[derive(Debug)]
pub struct End {
    /// Why it did.
    pub reason: Reason,
    /// How many bytes were echoed.
    pub bytes: u64,
}

/// Why a connection ended.
#[derive(Debug)]
pub enum Reason {
    /// The peer said that it has sent everything (`close_notify`).
    PeerClosed,
    /// The stream ended without that: the peer crashed, was careless, or somebody in between cut it short.
    Truncated,
    /// The handshake failed: the peer speaks something else, does not trust the certificate, or went away.
    NoHandshake(io::Error),
    /// The peer was silent, or slow.
    HandshakeTookTooLong,
    /// An error after the handshake.
    Broken(io::Error),
    /// The server was to end.
    ServerEnds,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            Reason::PeerClosed => write!(f, "closed"),
            Reason::Truncated => write!(f, "truncated"),
            Reason::NoHandshake(error) => write!(f, "no handshake: {error}"),
            Reason::HandshakeTookTooLong => write!(f, "no handshake in time"),
            Reason::Broken(error) => write!(f, "broken off: {error}"),
            Reason::ServerEnds => write!(f, "asked to end"),
        }?;
        write!(f, " after {} bytes", self.bytes)
    }
}

/// The certificate in a file of [`Identity::pem`]'s text.
///
/// # Errors
///
/// There is no such file, or no certificate in it.
pub fn read_certificate(path: &str) -> Result<CertificateDer<'static>, Box<dyn Error>> {
    use rustls::pki_types::pem::PemObject;
    CertificateDer::from_pem_file(path).map_err(|error| format!("{path}: {error}").into())
}
