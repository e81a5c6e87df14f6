//! The connections of a server: how many there are, what each has done, and telling them to finish.
//!
//! A connection's task holds a [`Guard`], and looks at [`Guard::poll_told`] whenever it is polled. Requests are counted at their
//! connection, where nobody else writes; the sums are made when somebody asks.

use slab::Slab;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// All connections of a server.
#[derive(Default)]
pub(super) struct Links {
    state: Mutex<State>,
    ended: Arc<Sums>,
}

#[derive(Default)]
struct State {
    live: Slab<Arc<Link>>,
    accepted: u64,
    /// The server, which waits for one to end.
    waiter: Option<Waker>,
}

/// What connections have done that are gone.
#[derive(Default)]
struct Sums {
    begun: AtomicU64,
    answered: AtomicU64,
}

/// What a server has done so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) accepted: u64,
    pub(super) open: u64,
    pub(super) begun: u64,
    pub(super) answered: u64,
    pub(super) under_way: u64,
}

/// One connection. It is counted with the ended ones when the last that knows it is gone.
pub(super) struct Link {
    told: AtomicBool,
    waker: Mutex<Option<Waker>>,
    requests: Requests,
    flow: Flow,
    /// What the sweeper alone uses: how much had happened when it last looked, and how often it has found nothing new since.
    seen: AtomicU64,
    idle_looks: AtomicU64,
    sums: Arc<Sums>,
}

// Relaxed throughout: these are counts, and nothing is published by them.
#[derive(Default)]
struct Requests {
    begun: AtomicU64,
    answered: AtomicU64,
    ended: AtomicU64,
}

/// What goes to the peer.
#[derive(Default)]
struct Flow {
    /// How often the stream has taken something.
    writes: AtomicU64,
    /// Whether it takes no more, until the peer reads.
    is_full: AtomicBool,
    /// Answers that have given something, and were not asked for more since: over HTTP/2 the peer opens no window for them.
    held: AtomicU64,
}

impl Links {
    /// Adds a connection, which is there until its guard is dropped.
    pub(super) fn enter(self: &Arc<Self>) -> Guard {
        let link = Arc::new(Link {
            told: AtomicBool::new(false),
            waker: Mutex::new(None),
            requests: Requests::default(),
            flow: Flow::default(),
            // More than there can be: the first look finds something new.
            seen: AtomicU64::new(u64::MAX),
            idle_looks: AtomicU64::new(0),
            sums: self.ended.clone(),
        });
        let mut state = lock(&self.state);
        state.accepted += 1;
        let key = state.live.insert(link.clone());
        drop(state);
        Guard {
            links: self.clone(),
            link,
            key,
            waker: None,
        }
    }

    /// Ready when there are fewer than `most` connections.
    pub(super) fn poll_fewer_than(&self, most: usize, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = lock(&self.state);
        if state.live.len() < most {
            return Poll::Ready(());
        }
        let old = state.waiter.replace(cx.waker().clone());
        drop(state);
        drop(old);
        Poll::Pending
    }

    /// Asks every connection to finish.
    pub(super) fn tell_all(&self) {
        self.tell(|_| true);
    }

    /// Asks those connections to finish on which nothing has happened since this was called last but one, but what their peers hold up.
    pub(super) fn sweep(&self) {
        self.tell(Link::has_idled);
    }

    fn tell(&self, which: impl Fn(&Link) -> bool) {
        let wakers: Vec<Waker> = {
            let state = lock(&self.state);
            let told = state.live.iter().filter(|(_, link)| which(link));
            told.filter_map(|(_, link)| link.tell()).collect()
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Waits until there are no connections.
    pub(super) async fn none_left(&self) {
        poll_fn(|cx| self.poll_fewer_than(1, cx)).await;
    }

    pub(super) fn counts(&self) -> Counts {
        let state = lock(&self.state);
        let mut counts = Counts {
            accepted: state.accepted,
            open: state.live.len() as u64,
            begun: self.ended.begun.load(Ordering::Relaxed),
            answered: self.ended.answered.load(Ordering::Relaxed),
            under_way: 0,
        };
        for (_, link) in &state.live {
            let requests = &link.requests;
            let begun = requests.begun.load(Ordering::Relaxed);
            counts.begun += begun;
            counts.answered += requests.answered.load(Ordering::Relaxed);
            counts.under_way += begun.saturating_sub(requests.ended.load(Ordering::Relaxed));
        }
        counts
    }
}

impl Link {
    /// Gives the waker of the task to wake, once no lock is held.
    fn tell(&self) -> Option<Waker> {
        let mut waker = lock(&self.waker);
        // Under the lock: a task that leaves its waker later sees it.
        self.told.store(true, Ordering::Relaxed);
        waker.take()
    }

    /// Looks whether it has been idle for two looks in a row.
    fn has_idled(&self) -> bool {
        // Neither ever decreases, so their sum says whether one has changed.
        let happened = self.requests.ended.load(Ordering::Relaxed) + self.writes();
        let is_new = self.seen.swap(happened, Ordering::Relaxed) != happened;
        if is_new || self.is_busy() {
            self.idle_looks.store(0, Ordering::Relaxed);
            return false;
        }
        self.idle_looks.fetch_add(1, Ordering::Relaxed) > 0
    }

    /// Whether the service has something to do: a request is under way, and it is not the peer that holds it up.
    pub(super) fn is_busy(&self) -> bool {
        let requests = &self.requests;
        // In this order: one that ends meanwhile is not counted twice.
        let ended = requests.ended.load(Ordering::Relaxed);
        let held = self.flow.held.load(Ordering::Relaxed);
        requests.begun.load(Ordering::Relaxed) > ended + held
    }

    /// Whether something waits for the peer to read.
    pub(super) fn is_held(&self) -> bool {
        let flow = &self.flow;
        flow.is_full.load(Ordering::Relaxed) || flow.held.load(Ordering::Relaxed) > 0
    }

    /// How often something was written.
    pub(super) fn writes(&self) -> u64 {
        self.flow.writes.load(Ordering::Relaxed)
    }

    pub(super) fn count_write(&self) {
        self.flow.writes.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn set_full(&self, is_full: bool) {
        self.flow.is_full.store(is_full, Ordering::Relaxed);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let requests = &mut self.requests;
        let begun = *requests.begun.get_mut();
        let answered = *requests.answered.get_mut();
        self.sums.begun.fetch_add(begun, Ordering::Relaxed);
        self.sums.answered.fetch_add(answered, Ordering::Relaxed);
    }
}

/// A connection that is there.
pub(super) struct Guard {
    links: Arc<Links>,
    link: Arc<Link>,
    key: usize,
    /// The waker that was left, so that a poll by the same task takes no lock.
    waker: Option<Waker>,
}

impl Guard {
    pub(super) fn link(&self) -> &Arc<Link> {
        &self.link
    }

    /// Ready once the connection was asked to finish.
    pub(super) fn poll_told(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let waker = self.waker.as_ref();
        if !waker.is_some_and(|waker| waker.will_wake(cx.waker())) {
            let old = lock(&self.link.waker).replace(cx.waker().clone());
            drop(old);
            self.waker = Some(cx.waker().clone());
        }
        // Either the teller found the waker, or its store came before the lock was taken here.
        match self.link.told.load(Ordering::Relaxed) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    /// Runs `future`, unless the connection is asked to finish first.
    pub(super) async fn unless_told<F: Future>(&mut self, future: F) -> Option<F::Output> {
        let mut future = std::pin::pin!(future);
        poll_fn(|cx| match self.poll_told(cx) {
            Poll::Ready(()) => Poll::Ready(None),
            Poll::Pending => future.as_mut().poll(cx).map(Some),
        })
        .await
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let (link, waiter) = {
            let mut state = lock(&self.links.state);
            (state.live.remove(self.key), state.waiter.take())
        };
        drop(link);
        if let Some(waiter) = waiter {
            waiter.wake();
        }
    }
}

/// A request that is under way: from its arrival until the last of its answer is with the connection.
pub(super) struct Request {
    link: Arc<Link>,
    is_answered: bool,
    is_held: bool,
}

impl Request {
    pub(super) fn begin(link: &Arc<Link>) -> Self {
        link.requests.begun.fetch_add(1, Ordering::Relaxed);
        Self {
            link: link.clone(),
            is_answered: false,
            is_held: false,
        }
    }

    /// Whether it is the peer that the rest of the answer waits for.
    pub(super) fn set_held(&mut self, is_held: bool) {
        let held = &self.link.flow.held;
        match (self.is_held, is_held) {
            (false, true) => drop(held.fetch_add(1, Ordering::Relaxed)),
            (true, false) => drop(held.fetch_sub(1, Ordering::Relaxed)),
            _ => (),
        }
        self.is_held = is_held;
    }

    pub(super) fn set_answered(&mut self) {
        self.is_answered = true;
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        self.set_held(false);
        let requests = &self.link.requests;
        if self.is_answered {
            requests.answered.fetch_add(1, Ordering::Relaxed);
        }
        requests.ended.fetch_add(1, Ordering::Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
