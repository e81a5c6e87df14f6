//! Sleeps and limits.

use async_trait::async_trait;
use hickory_net::runtime::Time;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

/// heist's timers, as hickory sees them.
///
/// A limit here drops what it encloses when the time is up. [`heist::timeout`] asks, at an await that suspends; a server that floods its client with
/// datagrams sees to it that there is none.
///
/// # Examples
///
/// ```
/// use heist_hickory::HeistTime;
/// use hickory_net::runtime::Time;
/// use std::time::Duration;
///
/// # heist::run(async {
/// let late = HeistTime::timeout(Duration::from_millis(5), std::future::pending::<()>()).await;
/// assert_eq!(late.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
/// # }).unwrap();
/// ```
#[derive(Clone, Copy, Debug)]
pub struct HeistTime;

#[async_trait]
impl Time for HeistTime {
    async fn delay_for(duration: Duration) {
        heist::sleep(duration).await;
    }

    async fn timeout<F: 'static + Future + Send>(
        duration: Duration,
        future: F,
    ) -> Result<F::Output, io::Error> {
        let mut future = pin!(future);
        let mut sleep = heist::sleep(duration);
        poll_fn(|cx| {
            if let Poll::Ready(value) = future.as_mut().poll(cx) {
                return Poll::Ready(Ok(value));
            }
            // A future that always has something to do uses up the task's budget in each poll, and the timer then yields too. The clock does not.
            if Pin::new(&mut sleep).poll(cx).is_ready() || sleep.is_elapsed() {
                let late = io::Error::new(io::ErrorKind::TimedOut, "the time was up");
                return Poll::Ready(Err(late));
            }
            Poll::Pending
        })
        .await
    }
}
