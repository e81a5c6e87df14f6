//! A lock that is held across awaits: tokio's, which needs no runtime.

use openraft_rt::{Mutex, OptionalSend};
use tokio::sync;

/// A lock that is awaited, and may be held across awaits. Those who wait get it in turn.
///
/// # Examples
///
/// ```
/// use heist_openraft::HeistMutex;
/// use openraft_rt::Mutex;
/// use std::sync::Arc;
///
/// # heist::run(async {
/// let mutex = Arc::new(HeistMutex::new(41));
/// *mutex.lock().await += 1;
/// assert_eq!(*mutex.lock_owned().await, 42);
/// # }).unwrap();
/// ```
#[derive(Debug, Default)]
pub struct HeistMutex<T>(sync::Mutex<T>);

impl<T: OptionalSend + 'static> Mutex<T> for HeistMutex<T> {
    type Guard<'a> = sync::MutexGuard<'a, T>;

    fn new(value: T) -> Self {
        Self(sync::Mutex::new(value))
    }

    async fn lock(&self) -> Self::Guard<'_> {
        self.0.lock().await
    }
}
