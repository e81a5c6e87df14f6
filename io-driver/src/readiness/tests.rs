//! The readiness word and the waiters, without a kernel in between where possible.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::task::Wake;

use super::*;

struct Count(AtomicUsize);
impl Wake for Count {
    fn wake(self: Arc<Self>) {
        // Relaxed: one thread.
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn waker() -> (Arc<Count>, Waker) {
    let count = Arc::new(Count(AtomicUsize::new(0)));
    (Arc::clone(&count), Waker::from(count))
}

struct Fixture {
    source: Source,
    selector: Selector,
    /// Keeps the descriptor open.
    _ends: (UnixStream, UnixStream),
}

const TOKEN: Token = Token(3);

fn fixture(portable: bool) -> Fixture {
    let ends = UnixStream::pair().unwrap();
    let (selector, _) = Selector::new(portable).unwrap();
    let source = Source::new(Fd::for_test(ends.0.as_fd()));
    selector.add(&source.fd, TOKEN).unwrap();
    Fixture {
        source,
        selector,
        _ends: ends,
    }
}

impl Fixture {
    fn wait(&self, direction: Direction, place: Place<'_>, waker: &Waker) -> Wait {
        self.source
            .wait(direction, place, waker, &self.selector, TOKEN)
            .unwrap()
    }

    fn report(&self, bits: Bits) -> usize {
        let mut batch = WakeBatch::new();
        self.source.report(bits, &self.selector, TOKEN, &mut batch);
        batch.len()
    }

    /// Makes both directions not ready.
    fn drain(&self) {
        for direction in [Direction::Read, Direction::Write] {
            if let Some(seen) = self.source.ready(direction) {
                self.source.clear(direction, seen);
            }
            assert!(self.source.ready(direction).is_none());
        }
    }
}

#[test]
fn an_event_between_try_and_clear_is_not_lost() {
    let fixture = fixture(false);
    let seen = fixture.source.ready(Direction::Read).unwrap();
    fixture.report(Bits::READABLE);
    fixture.source.clear(Direction::Read, seen);
    assert!(fixture.source.ready(Direction::Read).is_some());
    fixture.source.clear_hint(Direction::Read, seen);
    assert!(fixture.source.ready(Direction::Read).is_some());
}

#[test]
fn clearing_one_direction_leaves_the_other() {
    let fixture = fixture(false);
    let read = fixture.source.ready(Direction::Read).unwrap();
    let write = fixture.source.ready(Direction::Write).unwrap();
    fixture.source.clear(Direction::Read, read);
    assert!(fixture.source.ready(Direction::Read).is_none());
    assert!(fixture.source.ready(Direction::Write).is_some());
    // Clearing is no event, so what was noted before still counts.
    fixture.source.clear(Direction::Write, write);
    assert!(fixture.source.ready(Direction::Write).is_none());
}

#[test]
fn a_hint_is_not_taken_from_a_closed_or_failed_peer() {
    for bits in [Bits::READ_CLOSED, Bits::ERROR] {
        let fixture = fixture(false);
        fixture.report(bits | Bits::READABLE);
        let seen = fixture.source.ready(Direction::Read).unwrap();
        fixture.source.clear_hint(Direction::Read, seen);
        assert!(fixture.source.ready(Direction::Read).is_some());
        fixture.source.clear(Direction::Read, seen);
        assert!(fixture.source.ready(Direction::Read).is_none());
    }
}

#[test]
fn the_tick_wraps() {
    let fixture = fixture(false);
    fixture.source.word.fetch_or(!BITS, Ordering::Relaxed);
    let seen = fixture.source.ready(Direction::Read).unwrap();
    fixture.report(Bits::NONE);
    assert_eq!(fixture.source.word.load(Ordering::Relaxed) & !BITS, 0);
    fixture.source.clear(Direction::Read, seen);
    assert!(fixture.source.ready(Direction::Read).is_some());
}

#[test]
fn places_are_given_up_and_used_again() {
    for portable in [false, true] {
        let fixture = fixture(portable);
        fixture.drain();
        let (count, waker) = waker();
        let mut places = [None; 5];
        for place in &mut places {
            let wait = fixture.wait(Direction::Read, Place::Own(place), &waker);
            assert_eq!(wait, Wait::Waiting);
        }
        assert_eq!(places, [Some(0), Some(1), Some(2), Some(3), Some(4)]);
        fixture.source.leave(Direction::Read, 0);
        fixture.source.leave(Direction::Read, 3);
        fixture.source.leave(Direction::Read, 77);
        let mut fresh = None;
        fixture.wait(Direction::Read, Place::Own(&mut fresh), &waker);
        assert_eq!(fresh, Some(0));
        fixture.wait(Direction::Write, Place::Poll, &waker);
        assert_eq!(fixture.report(Bits::READABLE), 4);
        assert_eq!(fixture.report(Bits::READABLE), 0, "taken once");
        assert_eq!(fixture.report(Bits::WRITABLE), 1);
        // Still named, so a later wait goes to the same place.
        fixture.drain();
        fixture.wait(Direction::Read, Place::Own(&mut places[4]), &waker);
        assert_eq!(places[4], Some(4));
        assert_eq!(fixture.report(Bits::READABLE), 1);
        drop(waker);
        // Woken by the batches as they dropped.
        assert_eq!(count.0.load(Ordering::Relaxed), 6);
        assert_eq!(Arc::strong_count(&count), 1);
    }
}

#[test]
fn a_waker_that_comes_too_late_is_told() {
    let fixture = fixture(false);
    fixture.drain();
    let (_, waker) = waker();
    fixture.report(Bits::READABLE);
    let wait = fixture.wait(Direction::Read, Place::Poll, &waker);
    assert_eq!(wait, Wait::Ready);
    let wait = fixture.wait(Direction::Write, Place::Poll, &waker);
    assert_eq!(wait, Wait::Waiting);
}

#[test]
fn the_other_direction_is_armed_again_after_an_event() {
    let fixture = fixture(true);
    fixture.drain();
    let (_, waker) = waker();
    fixture.wait(Direction::Read, Place::Poll, &waker);
    fixture.wait(Direction::Write, Place::Poll, &waker);
    let armed = |fixture: &Fixture| fixture.source.waiters.lock().armed;
    assert_eq!(
        armed(&fixture),
        Interest {
            read: true,
            write: true
        }
    );
    fixture.report(Bits::WRITABLE);
    assert_eq!(
        armed(&fixture),
        Interest {
            read: true,
            write: false
        }
    );
    fixture.report(Bits::READABLE);
    assert_eq!(armed(&fixture), Interest::default());
}

#[test]
fn shutting_wakes_everybody_and_ends_all_waiting() {
    let fixture = fixture(false);
    fixture.drain();
    let (_, waker) = waker();
    fixture.wait(Direction::Read, Place::Poll, &waker);
    fixture.wait(Direction::Write, Place::Own(&mut None), &waker);
    let mut batch = WakeBatch::new();
    fixture.source.shut(&mut batch);
    assert_eq!(batch.len(), 2);
    for direction in [Direction::Read, Direction::Write] {
        assert!(fixture.source.ready(direction).unwrap().is_shut());
        let wait = fixture.wait(direction, Place::Poll, &waker);
        assert_eq!(wait, Wait::Ready);
    }
}

#[test]
fn a_source_is_small() {
    assert!(size_of::<Source>() <= 128, "{}", size_of::<Source>());
}
