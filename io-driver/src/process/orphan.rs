//! Children that were dropped while they ran, and have to be reaped when they end.

use super::exit::Running;
use parking_lot::Mutex;
use std::process::Child;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

/// A waker that owns the child for whose end it waits.
struct Orphan(Mutex<Place>);

enum Place {
    Waiting(Running),
    /// It is being asked. `rang`: and was to be asked again meanwhile.
    Asked {
        rang: bool,
    },
    Reaped,
}

/// Those whose driver has gone: asked whenever a child is started or left.
static ADRIFT: Mutex<Vec<Child>> = Mutex::new(Vec::new());

/// Sees that it is reaped.
pub(super) fn leave(running: Running) {
    sweep();
    Arc::new(Orphan(Mutex::new(Place::Waiting(running)))).wake();
}

/// Reaps those that nobody waits for.
pub(super) fn sweep() {
    // An error: somebody else has reaped it.
    ADRIFT
        .lock()
        .retain_mut(|child| matches!(child.try_wait(), Ok(None)));
}

impl Wake for Orphan {
    fn wake(self: Arc<Self>) {
        let waker = Waker::from(self.clone());
        loop {
            let mut running = {
                let mut place = self.0.lock();
                match std::mem::replace(&mut *place, Place::Asked { rang: false }) {
                    Place::Waiting(running) => running,
                    Place::Asked { .. } => {
                        *place = Place::Asked { rang: true };
                        return;
                    }
                    Place::Reaped => {
                        *place = Place::Reaped;
                        return;
                    }
                }
            };
            let ended = running.poll_wait(&mut Context::from_waker(&waker));
            let mut place = self.0.lock();
            match (ended, &*place) {
                (Poll::Pending, Place::Asked { rang: true }) => *place = Place::Waiting(running),
                (Poll::Pending, _) => {
                    *place = Place::Waiting(running);
                    return;
                }
                (Poll::Ready(ended), _) => {
                    *place = Place::Reaped;
                    drop(place);
                    if ended.is_err() {
                        ADRIFT.lock().push(running.into_child());
                    }
                    return;
                }
            }
        }
    }
}
