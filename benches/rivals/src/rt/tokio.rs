//! tokio, in both its flavors: `multi_thread` and `current_thread`.

use std::future::Future;
use std::io;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Handle};
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::sync::{Mutex, Semaphore};
use tokio::task::JoinHandle;

use super::Rt;

pub(crate) type MultiThread = Tokio<Multi>;
pub(crate) type CurrentThread = Tokio<Current>;

pub(crate) struct Tokio<F>(PhantomData<F>);

pub(crate) trait Flavor: 'static {
    fn builder(workers: usize) -> Builder;
}

pub(crate) enum Multi {}

impl Flavor for Multi {
    fn builder(workers: usize) -> Builder {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(workers);
        builder
    }
}

pub(crate) enum Current {}

impl Flavor for Current {
    fn builder(_: usize) -> Builder {
        Builder::new_current_thread()
    }
}

/// A join handle that takes it for granted that the task ends well.
pub(crate) struct Joined<T>(JoinHandle<T>);

impl<T> Future for Joined<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        Pin::new(&mut self.0)
            .poll(cx)
            .map(|output| output.expect("the task panicked"))
    }
}

impl<Fl: Flavor> Rt for Tokio<Fl> {
    type Task<T: Send + 'static> = Joined<T>;
    type Remote = Handle;
    type Sender<T: Send + 'static> = Sender<T>;
    type Receiver<T: Send + 'static> = Receiver<T>;
    type Mutex = Mutex<()>;
    type Semaphore = Semaphore;
    type Listener = TcpListener;
    type Stream = TcpStream;
    type Hyper = TokioIo<TcpStream>;

    fn run<F>(workers: usize, main: F) -> F::Output
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let runtime = Fl::builder(workers)
            .enable_all()
            .build()
            .expect("cannot build tokio's runtime");
        // `block_on` alone would poll `main` on this thread, which is no worker.
        let main = runtime.spawn(main);
        runtime.block_on(main).expect("the main task panicked")
    }

    fn spawn<F>(future: F) -> Self::Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        Joined(tokio::spawn(future))
    }

    fn detach<F>(future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        drop(tokio::spawn(future));
    }

    fn remote() -> Handle {
        Handle::current()
    }

    fn spawn_remote<F>(remote: &Handle, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        drop(remote.spawn(future));
    }

    async fn cancel_all(tasks: Vec<Self::Task<()>>) {
        for task in &tasks {
            task.0.abort();
        }
        for task in tasks {
            task.0.await.expect_err("a cancelled task came to its end");
        }
    }

    fn yield_now() -> impl Future<Output = ()> + Send {
        tokio::task::yield_now()
    }

    fn sleep(duration: Duration) -> impl Future<Output = ()> + Send {
        tokio::time::sleep(duration)
    }

    async fn timeout<F>(duration: Duration, future: F) -> Option<F::Output>
    where
        F: Future + Send,
        F::Output: Send,
    {
        tokio::time::timeout(duration, future).await.ok()
    }

    fn spawn_blocking<T, F>(job: F) -> impl Future<Output = T> + Send + 'static
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        Joined(tokio::task::spawn_blocking(job))
    }

    fn channel<T: Send + 'static>(capacity: usize) -> (Sender<T>, Receiver<T>) {
        mpsc::channel(capacity)
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
        let _permit = semaphore.acquire().await.expect("the semaphore was closed");
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

    fn hyper(stream: TcpStream) -> TokioIo<TcpStream> {
        TokioIo::new(stream)
    }
}
