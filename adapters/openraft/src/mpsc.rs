//! Bounded channels: tokio's, which need no runtime.

use openraft_rt::{
    Mpsc, MpscReceiver, MpscSender, MpscWeakSender, OptionalSend, SendError, TryRecvError,
};
use tokio::sync::mpsc;

/// Bounded channels with many senders and one receiver.
///
/// # Examples
///
/// ```
/// use heist_openraft::HeistMpsc;
/// use openraft_rt::{Mpsc, MpscReceiver, MpscSender};
///
/// # heist::run(async {
/// let (sender, mut receiver) = HeistMpsc::channel(1);
/// sender.send(42).await.unwrap();
/// drop(sender);
/// assert_eq!(receiver.recv().await, Some(42));
/// assert_eq!(receiver.recv().await, None);
/// # }).unwrap();
/// ```
#[derive(Clone, Copy, Debug)]
pub struct HeistMpsc;

/// A sender of [`HeistMpsc`].
#[derive(Debug)]
pub struct HeistMpscSender<T>(mpsc::Sender<T>);

/// The receiver of [`HeistMpsc`].
#[derive(Debug)]
pub struct HeistMpscReceiver<T>(mpsc::Receiver<T>);

/// A sender of [`HeistMpsc`] that does not keep the channel open.
#[derive(Debug)]
pub struct HeistMpscWeakSender<T>(mpsc::WeakSender<T>);

impl<T> Clone for HeistMpscSender<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Clone for HeistMpscWeakSender<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl Mpsc for HeistMpsc {
    type Sender<T: OptionalSend> = HeistMpscSender<T>;
    type Receiver<T: OptionalSend> = HeistMpscReceiver<T>;
    type WeakSender<T: OptionalSend> = HeistMpscWeakSender<T>;

    /// # Panics
    ///
    /// `buffer` is zero.
    #[track_caller]
    fn channel<T: OptionalSend>(buffer: usize) -> (Self::Sender<T>, Self::Receiver<T>) {
        let (sender, receiver) = mpsc::channel(buffer);
        (HeistMpscSender(sender), HeistMpscReceiver(receiver))
    }
}

impl<T: OptionalSend> MpscSender<HeistMpsc, T> for HeistMpscSender<T> {
    async fn send(&self, msg: T) -> Result<(), SendError<T>> {
        self.0.send(msg).await.map_err(|error| SendError(error.0))
    }

    fn downgrade(&self) -> HeistMpscWeakSender<T> {
        HeistMpscWeakSender(self.0.downgrade())
    }
}

impl<T: OptionalSend> MpscReceiver<T> for HeistMpscReceiver<T> {
    async fn recv(&mut self) -> Option<T> {
        self.0.recv().await
    }

    fn try_recv(&mut self) -> Result<T, TryRecvError> {
        self.0.try_recv().map_err(|error| match error {
            mpsc::error::TryRecvError::Empty => TryRecvError::Empty,
            mpsc::error::TryRecvError::Disconnected => TryRecvError::Disconnected,
        })
    }
}

impl<T: OptionalSend> MpscWeakSender<HeistMpsc, T> for HeistMpscWeakSender<T> {
    fn upgrade(&self) -> Option<HeistMpscSender<T>> {
        self.0.upgrade().map(HeistMpscSender)
    }
}
