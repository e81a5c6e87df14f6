//! Unix sockets: streams, listeners, datagrams.
//!
//! Addresses are std's: a path, nothing, or on Linux an abstract name. A path that is bound stays
//! in the file system when its socket is gone. Whoever binds it removes what an earlier run left
//! there: only the caller can know that nobody listens on it any more.

mod credentials;
mod datagram;
mod listener;
mod stream;

use std::ffi::OsStr;
use std::future::poll_fn;
use std::io;
#[cfg(target_os = "android")]
use std::os::android::net::SocketAddrExt;
#[cfg(target_os = "linux")]
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use socket2::SockAddr;

pub use credentials::UCred;
pub use datagram::UnixDatagram;
pub use listener::UnixListener;
pub use stream::UnixStream;

use crate::leaf;
use crate::time::sleep;

/// The wait after a first refusal: about what a peer that runs takes to make room.
const FIRST_WAIT: Duration = Duration::from_millis(1);

/// The longest wait between attempts: costs nothing, and is soon enough after a long jam.
const LONGEST_WAIT: Duration = Duration::from_millis(50);

/// Tries again, after waits that double, what the kernel refuses for now without ever saying that
/// it would not any more: connecting to a listener whose queue is full, sending to a full socket
/// that is not the peer. To wait for readiness would be to spin: neither queue counts in it, and
/// each datagram that is refused is reported as room, for it has left the sender's own buffer.
async fn persist<R>(mut attempt: impl FnMut() -> io::Result<R>) -> io::Result<R> {
    let mut wait = FIRST_WAIT;
    loop {
        poll_fn(leaf::poll_budget).await;
        let result = attempt();
        leaf::spend();
        match result {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                sleep(wait).await;
                wait = (wait * 2).min(LONGEST_WAIT);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// std's address, as system calls take it.
fn to_system(addr: &SocketAddr) -> io::Result<SockAddr> {
    if let Some(path) = addr.as_pathname() {
        return SockAddr::unix(path);
    }
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Some(name) = addr.as_abstract_name() {
        return SockAddr::unix(OsStr::from_bytes(&[&[0], name].concat()));
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        "an unnamed address cannot be connected to",
    ))
}

/// The system's address, as std has it. A socket that was never bound has none, or an empty one.
fn of_system(addr: &SockAddr) -> io::Result<SocketAddr> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Some(name) = addr.as_abstract_namespace() {
        return SocketAddr::from_abstract_name(name);
    }
    let path = addr.as_pathname().map_or(OsStr::new(""), Path::as_os_str);
    // Some systems fill the address up with zeros.
    let path = path.as_bytes().split(|byte| *byte == 0).next();
    SocketAddr::from_pathname(OsStr::from_bytes(path.unwrap_or_default()))
}
