//! A channel for one value: tokio's, which needs no runtime.

use openraft_rt::{Oneshot, OneshotSender, OptionalSend};
use tokio::sync::oneshot;

/// Channels for one value each.
///
/// # Examples
///
/// ```
/// use heist_openraft::HeistOneshot;
/// use openraft_rt::{Oneshot, OneshotSender};
///
/// # heist::run(async {
/// let (sender, receiver) = HeistOneshot::channel();
/// sender.send(42).unwrap();
/// assert_eq!(receiver.await, Ok(42));
/// # }).unwrap();
/// ```
#[derive(Clone, Copy, Debug)]
pub struct HeistOneshot;

/// The sender of [`HeistOneshot`].
#[derive(Debug)]
pub struct HeistOneshotSender<T>(oneshot::Sender<T>);

impl Oneshot for HeistOneshot {
    type Sender<T: OptionalSend> = HeistOneshotSender<T>;
    type Receiver<T: OptionalSend> = oneshot::Receiver<T>;
    type ReceiverError = oneshot::error::RecvError;

    fn channel<T: OptionalSend>() -> (Self::Sender<T>, Self::Receiver<T>) {
        let (sender, receiver) = oneshot::channel();
        (HeistOneshotSender(sender), receiver)
    }
}

impl<T: OptionalSend> OneshotSender<T> for HeistOneshotSender<T> {
    fn send(self, value: T) -> Result<(), T> {
        self.0.send(value)
    }
}
