//! A simulation's network: what drives it, and the sockets that the calls of [`net`](crate::net) reach instead of the kernel's.

use std::cell::RefCell;
use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use socket2::{Domain, Socket, Type};

use super::config::NetConfig;
use super::fault::Fault;
use super::tcp::{Id, Options, Tcp};
use crate::handle::Handle;
use crate::sys::{AsSource, BorrowedSource, Token};

thread_local! {
    static HERE: RefCell<Option<Arc<Network>>> = const { RefCell::new(None) };
}

/// The network of the simulation that this thread runs, if it does: sockets that are made now are its.
pub(crate) fn here() -> Option<Arc<Network>> {
    HERE.try_with(|here| here.borrow().clone()).ok().flatten()
}

/// A simulated network.
///
/// Whoever simulates makes it its thread's with [`enter`](Self::enter), and calls [`advance`](Self::advance) as its time goes by.
pub struct Network {
    tcp: Mutex<Tcp<Registered>>,
    /// The host whose code runs.
    host: fn() -> Option<Arc<str>>,
}

/// Whom the events of a socket go to.
type Registered = (Handle, Token);

impl Network {
    /// A network that draws from `seed`. `host` says on which host the running code is, by its name; `None` stands for the simulating machine itself.
    pub fn new(config: NetConfig, seed: u64, host: fn() -> Option<Arc<str>>) -> Arc<Self> {
        Arc::new(Self {
            tcp: Mutex::new(Tcp::new(config, seed)),
            host,
        })
    }

    /// Makes it the calling thread's, until the guard is dropped.
    pub fn enter(self: &Arc<Self>) -> impl Drop + use<> {
        struct Leave(Option<Arc<Network>>);
        impl Drop for Leave {
            fn drop(&mut self) {
                HERE.set(self.0.take());
            }
        }
        Leave(HERE.replace(Some(self.clone())))
    }

    /// At which nanosecond something happens next.
    pub fn next_event(&self) -> Option<u64> {
        self.tcp.lock().next()
    }

    /// Lets happen what is to happen until the nanosecond `now`.
    pub fn advance(&self, now: u64) {
        self.with(|tcp| tcp.advance(now));
    }

    /// Gives a host one more address.
    pub fn add_host(&self, name: &Arc<str>, ip: IpAddr) {
        self.with(|tcp| tcp.hosts.add(name, ip));
    }

    /// Resets every connection that has an end at one of the addresses: of one port, or, if that is 0, of all. Says how many.
    pub fn reset(&self, at: SocketAddr) -> usize {
        let ip = at.ip().to_canonical();
        let is_there = |end: SocketAddr| {
            end.ip().to_canonical() == ip && (at.port() == 0 || at.port() == end.port())
        };
        self.with(|tcp| tcp.reset(is_there))
    }

    /// Nothing gets from one address to the other any more, nor back.
    pub fn cut(&self, one: IpAddr, other: IpAddr) {
        self.with(|tcp| tcp.hosts.cut(one, other));
    }

    /// Ends a [`cut`](Self::cut).
    pub fn heal(&self, one: IpAddr, other: IpAddr) {
        self.with(|tcp| tcp.heal(one, other));
    }

    /// Changes how it behaves from now on.
    pub fn configure(&self, config: NetConfig) {
        self.with(|tcp| tcp.config = config);
    }

    /// The addresses of a name.
    pub(crate) fn resolve(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let ips = self.with(|tcp| tcp.hosts.resolve(name));
        if ips.is_empty() {
            // The system's words; its kind of error cannot be made by others.
            let words = "failed to lookup address information: Name or service not known";
            return Err(io::Error::other(words));
        }
        let with_port = |ip| SocketAddr::new(ip, port);
        Ok(ips.into_iter().map(with_port).collect())
    }

    /// Does something, and then, with no lock held, tells the drivers.
    fn with<T>(&self, f: impl FnOnce(&mut Tcp<Registered>) -> T) -> T {
        let mut tcp = self.tcp.lock();
        let value = f(&mut tcp);
        let told = std::mem::take(&mut tcp.told);
        let gone = std::mem::take(&mut tcp.gone);
        drop(tcp);
        for ((handle, token), bits) in told {
            handle.selector().report(token, bits);
        }
        drop(gone);
        value
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").finish_non_exhaustive()
    }
}

/// What a simulated socket shows where a descriptor is asked for: one socket for all of them, which is never connected. It is open for as long as the
/// process is.
fn placeholder() -> io::Result<&'static Socket> {
    static PLACEHOLDER: OnceLock<Socket> = OnceLock::new();
    if let Some(socket) = PLACEHOLDER.get() {
        return Ok(socket);
    }
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    Ok(PLACEHOLDER.get_or_init(|| socket))
}

/// A socket of a simulated network. Dropping it closes it.
pub struct Simulated {
    network: Arc<Network>,
    id: Id,
    placeholder: &'static Socket,
}

/// The system calls.
impl Simulated {
    pub(crate) fn socket(network: Arc<Network>, is_v6: bool) -> io::Result<Self> {
        let placeholder = placeholder()?;
        let host = (network.host)();
        let id = network.with(|tcp| tcp.socket(host, is_v6))?;
        Ok(Self {
            network,
            id,
            placeholder,
        })
    }

    /// Events go to this source from now on.
    pub(crate) fn register(&self, handle: &Handle, token: Token) {
        let registered = (handle.clone(), token);
        self.network.with(|tcp| tcp.register(self.id, registered));
    }

    pub(crate) fn bind(&self, addr: SocketAddr) -> io::Result<()> {
        self.call(|tcp| tcp.bind(self.id, addr))
    }

    pub(crate) fn listen(&self, backlog: u32) -> io::Result<()> {
        self.call(|tcp| tcp.listen(self.id, backlog))
    }

    /// Goes on in the background: see [`connected`](Self::connected).
    pub(crate) fn connect(&self, addr: SocketAddr) -> io::Result<()> {
        self.call(|tcp| tcp.connect(self.id, addr))
    }

    pub(crate) fn connected(&self) -> io::Result<()> {
        self.call(|tcp| tcp.connected(self.id))
    }

    pub(crate) fn accept(&self) -> io::Result<(Self, SocketAddr)> {
        let (id, remote) = self.call(|tcp| tcp.accept(self.id))?;
        let accepted = Self {
            network: self.network.clone(),
            id,
            placeholder: self.placeholder,
        };
        Ok((accepted, remote))
    }

    pub(crate) fn recv(&self, buf: &mut [MaybeUninit<u8>]) -> io::Result<usize> {
        let mut free = buf.iter_mut();
        let len = free.len();
        self.receive(len, false, |bytes| {
            // The free bytes come second: a `zip` takes one of its first side too many.
            for (&byte, place) in bytes.iter().zip(&mut free) {
                place.write(byte);
            }
        })
    }

    pub(crate) fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        let mut free = buf.iter_mut();
        let len = free.len();
        self.receive(len, true, |bytes| {
            for (&byte, place) in bytes.iter().zip(&mut free) {
                *place = byte;
            }
        })
    }

    pub(crate) fn recv_vectored(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let len = bufs
            .iter()
            .fold(0, |sum: usize, buf| sum.saturating_add(buf.len()));
        let mut free = bufs.iter_mut().flat_map(|buf| buf.iter_mut());
        self.receive(len, false, |bytes| {
            for (&byte, place) in bytes.iter().zip(&mut free) {
                *place = byte;
            }
        })
    }

    fn receive(&self, len: usize, peek: bool, fill: impl FnMut(&[u8])) -> io::Result<usize> {
        self.call(|tcp| tcp.receive(self.id, len, peek, fill))
    }

    pub(crate) fn send(&self, buf: &[u8]) -> io::Result<usize> {
        self.send_vectored(&[IoSlice::new(buf)])
    }

    pub(crate) fn send_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.call(|tcp| tcp.send(self.id, bufs))
    }

    pub(crate) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.call(|tcp| tcp.shutdown(self.id, how))
    }

    /// `WouldBlock` if a read would have to wait.
    pub(crate) fn probe_read(&self) -> io::Result<()> {
        let is_ready = self.network.with(|tcp| tcp.is_readable(self.id));
        is_ready.then_some(()).ok_or(Fault::WouldBlock.into())
    }

    /// `WouldBlock` if a write would have to wait.
    pub(crate) fn probe_write(&self) -> io::Result<()> {
        let is_ready = self.network.with(|tcp| tcp.is_writable(self.id));
        is_ready.then_some(()).ok_or(Fault::WouldBlock.into())
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.call(|tcp| tcp.local(self.id))
    }

    pub(crate) fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.call(|tcp| tcp.remote(self.id))
    }

    pub(crate) fn take_error(&self) -> io::Result<Option<io::Error>> {
        let error = self.network.with(|tcp| tcp.take_error(self.id));
        Ok(error.map(io::Error::from))
    }

    pub(crate) fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.call(|tcp| tcp.set_ttl(self.id, ttl))
    }

    pub(crate) fn set_only_v6(&self, only: bool) -> io::Result<()> {
        self.call(|tcp| tcp.set_only_v6(self.id, only))
    }

    /// Reads an option.
    pub(crate) fn get<T>(&self, option: impl FnOnce(&Options) -> T) -> io::Result<T> {
        self.call(|tcp| tcp.options(self.id).map(|options| option(options)))
    }

    /// Sets an option.
    pub(crate) fn set(&self, option: impl FnOnce(&mut Options)) -> io::Result<()> {
        self.call(|tcp| tcp.options(self.id).map(option))
    }

    fn call<T>(&self, f: impl FnOnce(&mut Tcp<Registered>) -> Result<T, Fault>) -> io::Result<T> {
        Ok(self.network.with(f)?)
    }
}

impl Drop for Simulated {
    fn drop(&mut self) {
        self.network.with(|tcp| tcp.close(self.id));
    }
}

impl fmt::Debug for Simulated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulated")
            .field("local", &self.local_addr().ok())
            .field("peer", &self.peer_addr().ok())
            .finish()
    }
}

#[cfg(unix)]
impl AsSource for Simulated {
    fn as_fd(&self) -> BorrowedSource<'_> {
        self.placeholder.as_fd()
    }
}

#[cfg(windows)]
impl AsSource for Simulated {
    fn as_socket(&self) -> BorrowedSource<'_> {
        self.placeholder.as_socket()
    }
}
