//! A value that many watch: tokio's, which needs no runtime.

use openraft_rt::watch::{RecvError, SendError, Watch, WatchReceiver, WatchSender};
use openraft_rt::{OptionalSend, OptionalSync};
use tokio::sync::watch;

/// A value that is set by some and watched by others, who see the latest.
///
/// # Examples
///
/// ```
/// use heist_openraft::HeistWatch;
/// use openraft_rt::{Watch, WatchReceiver, WatchSender};
///
/// # heist::run(async {
/// let (sender, mut receiver) = HeistWatch::channel(1);
/// sender.send(2).unwrap();
/// receiver.changed().await.unwrap();
/// assert_eq!(*receiver.borrow_watched(), 2);
/// # }).unwrap();
/// ```
#[derive(Clone, Copy, Debug)]
pub struct HeistWatch;

/// The side of [`HeistWatch`] that sets the value.
#[derive(Debug)]
pub struct HeistWatchSender<T>(watch::Sender<T>);

/// The side of [`HeistWatch`] that sees it.
#[derive(Debug)]
pub struct HeistWatchReceiver<T>(watch::Receiver<T>);

impl<T> Clone for HeistWatchSender<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Clone for HeistWatchReceiver<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl Watch for HeistWatch {
    type Sender<T: OptionalSend + OptionalSync> = HeistWatchSender<T>;
    type Receiver<T: OptionalSend + OptionalSync> = HeistWatchReceiver<T>;
    type Ref<'a, T: OptionalSend + 'a> = watch::Ref<'a, T>;

    fn channel<T: OptionalSend + OptionalSync>(init: T) -> (Self::Sender<T>, Self::Receiver<T>) {
        let (sender, receiver) = watch::channel(init);
        (HeistWatchSender(sender), HeistWatchReceiver(receiver))
    }
}

impl<T: OptionalSend + OptionalSync> WatchSender<HeistWatch, T> for HeistWatchSender<T> {
    fn send(&self, value: T) -> Result<(), SendError<T>> {
        self.0.send(value).map_err(|error| SendError(error.0))
    }

    fn send_if_modified<F>(&self, modify: F) -> bool
    where
        F: FnOnce(&mut T) -> bool,
    {
        self.0.send_if_modified(modify)
    }

    fn borrow_watched(&self) -> watch::Ref<'_, T> {
        self.0.borrow()
    }

    fn subscribe(&self) -> HeistWatchReceiver<T> {
        HeistWatchReceiver(self.0.subscribe())
    }
}

impl<T: OptionalSend + OptionalSync> WatchReceiver<HeistWatch, T> for HeistWatchReceiver<T> {
    async fn changed(&mut self) -> Result<(), RecvError> {
        self.0.changed().await.map_err(|_| RecvError(()))
    }

    fn borrow_watched(&self) -> watch::Ref<'_, T> {
        self.0.borrow()
    }

    fn borrow_and_update(&mut self) -> watch::Ref<'_, T> {
        self.0.borrow_and_update()
    }
}
