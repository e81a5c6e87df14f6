//! smol: its `Executor` run by as many threads as asked for, each turning the reactor while it waits, which is
//! what `smol::spawn` does when `SMOL_THREADS` says so.

use std::future::{self, Future};
use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::net::{TcpListener, TcpStream};
use smol::{Executor, Task, Timer};

use super::Rt;

static EXECUTOR: Executor<'static> = Executor::new();

pub(crate) struct Smol;

impl Rt for Smol {
    type Task<T: Send + 'static> = Task<T>;
    type Remote = ();
    type Listener = TcpListener;
    type Stream = TcpStream;

    fn run<F>(workers: usize, main: F) -> F::Output
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        for n in 1..=workers {
            thread::Builder::new()
                .name(format!("smol-{n}"))
                .spawn(|| smol::block_on(EXECUTOR.run(future::pending::<()>())))
                .expect("cannot start a thread");
        }
        // This `block_on` only parks: the workers alone run tasks and turn the reactor.
        smol::future::block_on(EXECUTOR.spawn(main))
    }

    fn spawn<F>(future: F) -> Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        EXECUTOR.spawn(future)
    }

    fn detach<F>(future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        EXECUTOR.spawn(future).detach();
    }

    fn remote() {}

    fn spawn_remote<F>((): &(), future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        EXECUTOR.spawn(future).detach();
    }

    async fn cancel_all(tasks: Vec<Task<()>>) {
        // One after the other: as fast as `join_all` of them, which allocates for each.
        for task in tasks {
            task.cancel().await;
        }
    }

    fn yield_now() -> impl Future<Output = ()> + Send {
        smol::future::yield_now()
    }

    async fn sleep(duration: Duration) {
        Timer::after(duration).await;
    }

    fn timeout<F>(duration: Duration, future: F) -> impl Future<Output = Option<F::Output>> + Send
    where
        F: Future + Send,
        F::Output: Send,
    {
        smol::future::or(async { Some(future.await) }, async move {
            Timer::after(duration).await;
            None
        })
    }

    fn spawn_blocking<T, F>(job: F) -> impl Future<Output = T> + Send + 'static
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        smol::unblock(job)
    }

    async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
        TcpListener::bind(address).await
    }

    fn local_addr(listener: &TcpListener) -> io::Result<SocketAddr> {
        listener.local_addr()
    }

    async fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    async fn read(stream: &mut TcpStream, into: &mut [u8]) -> io::Result<usize> {
        stream.read(into).await
    }

    async fn write_all(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
        stream.write_all(bytes).await
    }
}
