//! One waiter for a socket's writability, of any number.

use pin_project_lite::pin_project;
use quinn::UdpPoller;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

pin_project! {
    /// Waits again and again, by a new future each time, in the same place: allocated once for each connection.
    pub(crate) struct Poller<M, F> {
        wait: M,
        #[pin]
        // While somebody waits.
        waiting: Option<F>,
    }
}

impl<M: Fn() -> F, F> Poller<M, F> {
    pub(crate) fn new(wait: M) -> Self {
        Self {
            wait,
            waiting: None,
        }
    }
}

impl<M, F> UdpPoller for Poller<M, F>
where
    M: Fn() -> F + Send + Sync + 'static,
    F: Future<Output = io::Result<()>> + Send + Sync + 'static,
{
    fn poll_writable(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut this = self.project();
        loop {
            match this.waiting.as_mut().as_pin_mut() {
                Some(waiting) => {
                    let writable = ready!(waiting.poll(cx));
                    this.waiting.set(None);
                    return Poll::Ready(writable);
                }
                None => this.waiting.set(Some((this.wait)())),
            }
        }
    }
}

impl<M, F> fmt::Debug for Poller<M, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Poller")
            .field("waiting", &self.waiting.is_some())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use heist::sync::Event;
    use std::future::poll_fn;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Stands for a socket: those on loopback are always writable.
    #[derive(Default)]
    struct Socket {
        waiters: AtomicUsize,
        writable: Event,
    }

    impl Socket {
        fn poller(self: &Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
            let socket = self.clone();
            Box::pin(Poller::new(move || {
                let socket = socket.clone();
                async move {
                    socket.waiters.fetch_add(1, Ordering::Relaxed);
                    socket.writable.wait().await;
                    Ok(())
                }
            }))
        }
    }

    #[heist::test(timeout_ms = 20000)]
    async fn each_of_many_is_woken_and_waits_again() {
        const MANY: usize = 4;
        let socket = Arc::new(Socket::default());
        let mut pollers: Vec<_> = (0..MANY).map(|_| socket.poller()).collect();
        for round in 1..=3 {
            socket.writable.clear();
            let waiting = pollers.into_iter().map(|mut poller| {
                heist::spawn(async move {
                    let writable = poll_fn(|cx| poller.as_mut().poll_writable(cx));
                    writable.await.unwrap();
                    poller
                })
            });
            let waiting: Vec<_> = waiting.collect();
            while socket.waiters.load(Ordering::Relaxed) < round * MANY {
                heist::task::yield_now().await;
            }
            socket.writable.set();
            pollers = heist::gather(waiting).await.unwrap();
        }
        assert_eq!(socket.waiters.load(Ordering::Relaxed), 3 * MANY);
    }
}
