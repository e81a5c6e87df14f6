//! A task for each connection.

use super::{StreamReader, StreamWriter, both_sides};
#[cfg(unix)]
use super::{UnixStreamReader, UnixStreamWriter};
use crate::sync::Event;
#[cfg(unix)]
use heist_io_driver::net::UnixListener;
use heist_io_driver::net::{TcpListener, ToSocketAddrs, lookup_host};
use heist_runtime::{Task, TaskRef, catch_cancel, task};
use parking_lot::Mutex;
use slab::Slab;
use std::fmt;
use std::io;
use std::net::SocketAddr;
#[cfg(unix)]
use std::path::Path;
use std::sync::Arc;

/// Listens on every address that `address` stands for, and spawns a task that runs `handler` for each connection. asyncio's `start_server`.
///
/// It accepts from now on. Without descriptors left it waits and goes on, as [`TcpListener::accept`] does. A handler's `Err`, or its panic, costs its own connection, and
/// is reported as the failure of a task that nobody awaits.
///
/// # Errors
///
/// An address cannot be resolved, or not be listened on: then on none.
///
/// # Examples
///
/// ```
/// use heist_combinators::streams::{StreamReader, StreamWriter, start_server};
///
/// async fn greet(mut reader: StreamReader, mut writer: StreamWriter) -> std::io::Result<()> {
///     let name = reader.readline().await?;
///     writer.write(b"hello, ")?;
///     writer.write(&name)?;
///     writer.drain().await
/// }
///
/// # heist_runtime::run(async {
/// let server = start_server(greet, "127.0.0.1:0").await?;
/// println!("listening on {:?}", server.local_addrs());
/// # server.close();
/// server.serve_forever().await;
/// # Ok::<_, std::io::Error>(())
/// # }).unwrap().unwrap();
/// ```
#[doc(alias = "asyncio.start_server")]
pub async fn start_server<A, H, F>(handler: H, address: A) -> io::Result<Server>
where
    A: ToSocketAddrs,
    H: Fn(StreamReader, StreamWriter) -> F + Send + Sync + 'static,
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    let mut listeners = Vec::new();
    for address in lookup_host(address).await? {
        listeners.push(TcpListener::bind(address).await?);
    }
    let addresses = listeners.iter().map(TcpListener::local_addr);
    let addresses = addresses.collect::<io::Result<_>>()?;
    Ok(Server::start(handler, listeners, addresses))
}

/// As [`start_server`], on a socket in the file system. asyncio's `start_unix_server`.
///
/// A socket that an earlier server left at `path` is taken away first; this one is left there as well. That any process may connect that may write to it is
/// a matter of its directory's permissions.
///
/// # Errors
///
/// `path` cannot be listened at: it is too long for a socket (some hundred bytes), something else than a socket is there, or its directory is missing.
///
/// # Examples
///
/// ```
/// use heist_combinators::streams::{open_unix_connection, start_unix_server};
///
/// # heist_runtime::run(async {
/// let path = std::env::temp_dir().join(format!("hello-{}", std::process::id()));
/// let server = start_unix_server(|_, mut writer| async move { writer.write(b"hello\n") }, &path).await?;
///
/// let (mut reader, _writer) = open_unix_connection(&path).await?;
/// assert_eq!(reader.readline().await?, b"hello\n");
/// # drop((reader, _writer));
/// # server.close();
/// # server.wait_closed().await;
/// # std::fs::remove_file(path)?;
/// # Ok::<_, std::io::Error>(())
/// # }).unwrap().unwrap();
/// ```
#[cfg(unix)]
#[doc(alias = "asyncio.start_unix_server")]
pub async fn start_unix_server<P, H, F>(handler: H, path: P) -> io::Result<Server>
where
    P: AsRef<Path>,
    H: Fn(UnixStreamReader, UnixStreamWriter) -> F + Send + Sync + 'static,
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    use std::os::unix::fs::FileTypeExt;
    let path = path.as_ref();
    if std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    Ok(Server::start(handler, vec![listener], Vec::new()))
}

/// What connections come from.
trait Listen: Send + Sync + 'static {
    type Reader: Send + 'static;
    type Writer: Send + 'static;

    /// The next one's two sides, and what it is called.
    fn next(&self)
    -> impl Future<Output = io::Result<(Self::Reader, Self::Writer, String)>> + Send;
}

impl Listen for TcpListener {
    type Reader = StreamReader;
    type Writer = StreamWriter;

    async fn next(&self) -> io::Result<(StreamReader, StreamWriter, String)> {
        let (stream, peer) = self.accept().await?;
        let (reader, writer) = both_sides(stream.into_split());
        Ok((reader, writer, format!("connection {peer}")))
    }
}

#[cfg(unix)]
impl Listen for UnixListener {
    type Reader = UnixStreamReader;
    type Writer = UnixStreamWriter;

    async fn next(&self) -> io::Result<(UnixStreamReader, UnixStreamWriter, String)> {
        let (stream, _) = self.accept().await?;
        // Who connects has an address only if it was bound to one, which is rare.
        let name = match stream.peer_cred().ok().and_then(|peer| peer.pid()) {
            Some(pid) => format!("connection of process {pid}"),
            None => "connection".to_owned(),
        };
        let (reader, writer) = both_sides(stream.into_split());
        Ok((reader, writer, name))
    }
}

/// What listens and accepts. asyncio's `Server`.
///
/// Dropping it [closes](Self::close) it.
pub struct Server {
    addresses: Vec<SocketAddr>,
    accepting: Vec<Task<()>>,
    closed: Event,
    connections: Arc<Connections>,
}

/// Those that are being handled.
#[derive(Default)]
struct Connections {
    tasks: Mutex<Slab<Option<TaskRef>>>,
    /// Set while there are none.
    none: Event,
}

impl Server {
    fn start<L, H, F>(handler: H, listeners: Vec<L>, addresses: Vec<SocketAddr>) -> Self
    where
        L: Listen,
        H: Fn(L::Reader, L::Writer) -> F + Send + Sync + 'static,
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        let connections = Arc::new(Connections::default());
        connections.none.set();
        let handler = Arc::new(handler);
        let accepting = listeners
            .into_iter()
            .map(|listener| {
                let accepting = accept(listener, handler.clone(), connections.clone());
                task::Builder::new().name("server").spawn(accepting)
            })
            .collect();
        Self {
            addresses,
            accepting,
            closed: Event::new(),
            connections,
        }
    }

    /// The addresses it listens on, none if that is a path. asyncio's `sockets`.
    #[doc(alias = "sockets")]
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Whether it still accepts connections. asyncio's `is_serving`.
    pub fn is_serving(&self) -> bool {
        !self.closed.is_set() && self.accepting.iter().any(|task| !task.is_done())
    }

    /// How many connections are being handled.
    pub fn connections(&self) -> usize {
        self.connections.tasks.lock().len()
    }

    /// Stops listening. Connections that were accepted go on. asyncio's `close`.
    pub fn close(&self) {
        self.closed.set();
        for task in &self.accepting {
            task.cancel("the server was closed");
        }
    }

    /// Asks the tasks of all connections to end. asyncio's `close_clients` (of 3.13), for handlers that may clean up.
    #[doc(alias = "close_clients")]
    pub fn cancel_connections(&self) {
        let tasks: Vec<_> = {
            let tasks = self.connections.tasks.lock();
            tasks.iter().filter_map(|(_, task)| task.clone()).collect()
        };
        for task in tasks {
            task.cancel("the server was closed");
        }
    }

    /// After [`close`](Self::close): waits until every connection has been handled. asyncio's `wait_closed`, of the versions in which it does wait (from 3.12 on).
    ///
    /// # Cancel safety
    ///
    /// May be dropped and called again.
    pub async fn wait_closed(&self) {
        self.closed.wait().await;
        for task in &self.accepting {
            while !task.is_done() {
                task.ended().await;
            }
        }
        self.connections.none.wait().await;
    }

    /// Waits until the server is closed, and its connections handled. Cancelled, it closes it and waits for that, before the cancellation goes on. asyncio's
    /// `serve_forever`.
    pub async fn serve_forever(&self) {
        if let Err(cancelled) = catch_cancel(self.wait_closed()).await {
            self.close();
            self.wait_closed().await;
            cancelled.propagate().await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("addresses", &self.addresses)
            .field("is_serving", &self.is_serving())
            .field("connections", &self.connections())
            .finish_non_exhaustive()
    }
}

/// Counts a connection for as long as its task, or the task's future, is there.
struct Counted {
    connections: Arc<Connections>,
    key: usize,
}

impl Counted {
    fn new(connections: &Arc<Connections>) -> Self {
        let key = {
            let mut tasks = connections.tasks.lock();
            connections.none.clear();
            tasks.insert(None)
        };
        Self {
            connections: connections.clone(),
            key,
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut tasks = self.connections.tasks.lock();
        let task = tasks.try_remove(self.key);
        let is_last = tasks.is_empty();
        if is_last {
            self.connections.none.set();
        }
        drop(tasks);
        drop(task);
    }
}

async fn accept<L, H, F>(listener: L, handler: Arc<H>, connections: Arc<Connections>)
where
    L: Listen,
    H: Fn(L::Reader, L::Writer) -> F + Send + Sync + 'static,
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    loop {
        let (reader, writer, name) = match listener.next().await {
            Ok(accepted) => accepted,
            // The listener's own: no connection will ever come.
            Err(error) => return tracing::error!(target: "heist", %error, "a server cannot accept"),
        };
        let counted = Counted::new(&connections);
        let key = counted.key;
        let handler = handler.clone();
        let handling = task::Builder::new().name(&name).try_spawn(async move {
            let _counted = counted;
            handler(reader, writer).await
        });
        if let Some(task) = connections.tasks.lock().get_mut(key) {
            *task = Some(handling.as_ref());
        }
    }
}
