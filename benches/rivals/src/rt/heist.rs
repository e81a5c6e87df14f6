//! heist, through its facade only.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use heist::net::{TcpListener, TcpStream};
use heist::sync::{Lock, Queue, Semaphore};
use heist::{Builder, Handle, Task};

use super::Rt;

pub(crate) struct Heist;

/// A task that takes it for granted that it ends well.
pub(crate) struct Joined<T>(Task<T>);

impl<T: Send + 'static> Future for Joined<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        Pin::new(&mut self.0)
            .poll(cx)
            .map(|output| output.expect("the task panicked or was cancelled"))
    }
}

impl Rt for Heist {
    type Task<T: Send + 'static> = Joined<T>;
    type Remote = Handle;
    type Sender<T: Send + 'static> = Arc<Queue<T>>;
    type Receiver<T: Send + 'static> = Arc<Queue<T>>;
    type Mutex = Lock;
    type Semaphore = Semaphore;
    type Listener = TcpListener;
    type Stream = TcpStream;
    type Hyper = TcpStream;

    fn run<F>(workers: usize, main: F) -> F::Output
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let runtime = Builder::new()
            .worker_threads(workers)
            .build()
            .expect("cannot build heist's runtime");
        runtime.run(main).expect("the main task was cancelled")
    }

    fn spawn<F>(future: F) -> Self::Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        Joined(heist::spawn(future))
    }

    fn detach<F>(future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        drop(heist::spawn(future));
    }

    fn remote() -> Handle {
        Handle::current().expect("called inside the runtime")
    }

    fn spawn_remote<F>(remote: &Handle, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        drop(remote.spawn(future));
    }

    async fn cancel_all(tasks: Vec<Self::Task<()>>) {
        for task in &tasks {
            task.0.cancel(None);
        }
        for task in tasks {
            task.0.await.expect_err("a cancelled task came to its end");
        }
    }

    fn yield_now() -> impl Future<Output = ()> + Send {
        heist::task::yield_now()
    }

    async fn sleep(duration: Duration) {
        heist::sleep(duration).await;
    }

    async fn timeout<F>(duration: Duration, future: F) -> Option<F::Output>
    where
        F: Future + Send,
        F::Output: Send,
    {
        heist::timeout(duration, future).await.ok()
    }

    fn spawn_blocking<T, F>(job: F) -> impl Future<Output = T> + Send + 'static
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        Joined(heist::spawn_blocking(job))
    }

    fn channel<T: Send + 'static>(capacity: usize) -> (Arc<Queue<T>>, Arc<Queue<T>>) {
        let queue = Arc::new(Queue::new(capacity));
        (queue.clone(), queue)
    }

    async fn send<T: Send + 'static>(sender: &Arc<Queue<T>>, message: T) {
        if sender.put(message).await.is_err() {
            panic!("the queue was shut down");
        }
    }

    async fn receive<T: Send + 'static>(receiver: &mut Arc<Queue<T>>) -> T {
        receiver.get().await.expect("the queue was shut down")
    }

    fn mutex() -> Lock {
        Lock::new()
    }

    async fn with_mutex<F>(mutex: &Lock, section: F)
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
        let _permit = semaphore.permit().await;
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

    fn hyper(stream: TcpStream) -> TcpStream {
        stream
    }
}
