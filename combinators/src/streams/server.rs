//! A task for each connection.

use super::{StreamReader, StreamWriter, both_sides};
use crate::sync::Event;
use heist_io_driver::net::{TcpListener, ToSocketAddrs, lookup_host};
use heist_runtime::{Task, TaskRef, catch_cancel, task};
use parking_lot::Mutex;
use slab::Slab;
use std::fmt;
use std::io;
use std::net::SocketAddr;
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
    Ok(Server {
        addresses,
        accepting,
        closed: Event::new(),
        connections,
    })
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
    /// The addresses it listens on. asyncio's `sockets`.
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

async fn accept<H, F>(listener: TcpListener, handler: Arc<H>, connections: Arc<Connections>)
where
    H: Fn(StreamReader, StreamWriter) -> F + Send + Sync + 'static,
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            // The listener's own: no connection will ever come.
            Err(error) => return tracing::error!(target: "heist", %error, "a server cannot accept"),
        };
        let (reader, writer) = both_sides(stream);
        let counted = Counted::new(&connections);
        let key = counted.key;
        let handler = handler.clone();
        let handling = task::Builder::new()
            .name(&format!("connection {peer}"))
            .try_spawn(async move {
                let _counted = counted;
                handler(reader, writer).await
            });
        if let Some(task) = connections.tasks.lock().get_mut(key) {
            *task = Some(handling.as_ref());
        }
    }
}
