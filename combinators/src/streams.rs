//! asyncio's streams: a reader that finds lines in what comes, a writer that never waits, and a server.
//!
//! ```text
//!   reader   StreamReader: a buffer before anything that can be read
//!   writer   StreamWriter: a buffer behind anything that can be written, and a task that empties it
//!   server   start_server, start_unix_server: a task for each connection
//! ```
//!
//! For those who come from asyncio, and for line protocols. Where every byte counts, use the sockets of [`net`](heist_io_driver::net) as they are.
//!
//! # Examples
//!
//! ```
//! use heist_combinators::streams::{open_connection, start_server};
//!
//! # heist_runtime::run(async {
//! let server = start_server(
//!     |mut reader, mut writer| async move {
//!         while let Ok(line) = reader.readline().await
//!             && !line.is_empty()
//!         {
//!             writer.write(&line)?;
//!             writer.drain().await?;
//!         }
//!         Ok(())
//!     },
//!     "127.0.0.1:0",
//! )
//! .await?;
//!
//! let (mut reader, mut writer) = open_connection(server.local_addrs()[0]).await?;
//! writer.write(b"hello\n")?;
//! assert_eq!(reader.readline().await?, b"hello\n");
//! writer.close();
//! writer.wait_closed().await?;
//! drop(reader);
//!
//! server.close();
//! server.wait_closed().await;
//! # Ok::<_, std::io::Error>(())
//! # }).unwrap().unwrap();
//! ```

mod reader;
mod server;
mod writer;

pub use reader::{ReadError, StreamReader};
#[cfg(unix)]
pub use server::start_unix_server;
pub use server::{Server, start_server};
pub use writer::StreamWriter;

use futures_io::AsyncWrite;
#[cfg(unix)]
use heist_io_driver::net::{OwnedReadHalf, OwnedWriteHalf, UnixStream};
use heist_io_driver::net::{TcpStream, ToSocketAddrs};
use std::io;
#[cfg(unix)]
use std::path::Path;

/// Connects to the first of the addresses that answers, and gives the connection's two sides. asyncio's `open_connection`.
///
/// # Errors
///
/// Those of [`TcpStream::connect`].
///
/// # Cancel safety
///
/// Dropping the future gives up the attempt.
///
/// # Examples
///
/// ```no_run
/// # heist_runtime::run(async {
/// let (mut reader, mut writer) = heist_combinators::streams::open_connection("localhost:25").await?;
/// let greeting = reader.readline().await?;
/// writer.write(b"QUIT\r\n")?;
/// # Ok::<_, std::io::Error>(())
/// # }).unwrap().unwrap();
/// ```
#[doc(alias = "asyncio.open_connection")]
pub async fn open_connection<A: ToSocketAddrs>(
    address: A,
) -> io::Result<(StreamReader, StreamWriter)> {
    let stream = TcpStream::connect(address).await?;
    Ok(both_sides(stream.into_split()))
}

/// The reader of a connection to a Unix socket.
#[cfg(unix)]
pub type UnixStreamReader = StreamReader<OwnedReadHalf<UnixStream>>;

/// The writer of a connection to a Unix socket.
#[cfg(unix)]
pub type UnixStreamWriter = StreamWriter<OwnedWriteHalf<UnixStream>>;

/// Connects to the socket at `path` in the file system, and gives the connection's two sides. asyncio's `open_unix_connection`.
///
/// # Errors
///
/// Those of [`UnixStream::connect`].
///
/// # Cancel safety
///
/// Dropping the future gives up the attempt.
///
/// # Examples
///
/// See [`start_unix_server`].
#[cfg(unix)]
#[doc(alias = "asyncio.open_unix_connection")]
pub async fn open_unix_connection<P: AsRef<Path>>(
    path: P,
) -> io::Result<(UnixStreamReader, UnixStreamWriter)> {
    let stream = UnixStream::connect(path).await?;
    Ok(both_sides(stream.into_split()))
}

fn both_sides<R, W: AsyncWrite + Send + Unpin + 'static>(
    (reader, writer): (R, W),
) -> (StreamReader<R>, StreamWriter<W>) {
    (StreamReader::new(reader), StreamWriter::new(writer))
}
