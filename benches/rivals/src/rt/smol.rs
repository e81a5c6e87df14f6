//! smol: its `Executor` run by as many threads as asked for, each turning the reactor while it waits, which is
//! what `smol::spawn` does when `SMOL_THREADS` says so.

use std::future::{self, Future};
use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use smol::channel::{Receiver, Sender};
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::lock::{Mutex, Semaphore};
use smol::net::{TcpListener, TcpStream};
use smol::{Executor, Task, Timer};
use smol_hyper::rt::FuturesIo;

use super::Rt;

static EXECUTOR: Executor<'static> = Executor::new();

pub(crate) struct Smol;

impl Rt for Smol {
    type Task<T: Send + 'static> = Task<T>;
    type Remote = ();
    type Sender<T: Send + 'static> = Sender<T>;
    type Receiver<T: Send + 'static> = Receiver<T>;
    type Mutex = Mutex<()>;
    type Semaphore = Semaphore;
    type Listener = TcpListener;
    type Stream = TcpStream;
    type Hyper = FuturesIo<TcpStream>;

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

    fn channel<T: Send + 'static>(capacity: usize) -> (Sender<T>, Receiver<T>) {
        smol::channel::bounded(capacity)
    }

    async fn send<T: Send + 'static>(sender: &Sender<T>, message: T) {
        sender.send(message).await.expect("the receiver is gone");
    }

    async fn receive<T: Send + 'static>(receiver: &mut Receiver<T>) -> T {
        receiver.recv().await.expect("the senders are gone")
    }

    fn mutex() -> Mutex<()> {
        Mutex::new(())
    }

    async fn with_mutex<F>(mutex: &Mutex<()>, section: F)
    where
        F: Future<Output = ()> + Send,
    {
        let _guard = mutex.lock().await;
        section.await;
    }

    fn semaphore(permits: usize) -> Semaphore {
        Semaphore::new(permits)
    }

    async fn with_permit<F>(semaphore: &Semaphore, section: F)
    where
        F: Future<Output = ()> + Send,
    {
        let _permit = semaphore.acquire().await;
        section.await;
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

    fn hyper(stream: TcpStream) -> FuturesIo<TcpStream> {
        FuturesIo::new(stream)
    }
}
