//! The table: tokens outlive their sources and then name nothing.

use std::os::fd::{AsFd, FromRawFd, IntoRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use super::*;
use crate::driver::{Config, Driver};

fn source(end: &UnixStream) -> Arc<Source> {
    Arc::new(Source::new(Fd::for_test(end.as_fd())))
}

#[test]
fn a_token_of_a_removed_source_names_nobody() {
    let (end, _other) = UnixStream::pair().unwrap();
    let sources = Sources::default();
    let first = sources.insert(source(&end)).unwrap();
    sources.remove(first);
    let second = sources.insert(source(&end)).unwrap();
    assert_eq!(first.0 & INDEX_MASK, second.0 & INDEX_MASK, "used again");
    assert!(sources.table.lock().get(first).is_none());
    assert!(sources.table.lock().get(second).is_some());
    // A second removal must not take the newcomer away.
    sources.remove(first);
    assert!(sources.table.lock().get(second).is_some());
    for absurd in [usize::MAX, usize::MAX - 1, INDEX_MASK, 1 << INDEX_BITS] {
        sources.remove(Token(absurd));
        assert!(sources.table.lock().get(Token(absurd)).is_none() || absurd == second.0);
    }
}

#[test]
fn no_token_has_the_top_bit_set() {
    let (end, _other) = UnixStream::pair().unwrap();
    let sources = Sources::default();
    let token = sources.insert(source(&end)).unwrap();
    sources.table.lock().entries[token.0].generation = GENERATION_MASK;
    let last = Token(GENERATION_MASK << INDEX_BITS | token.0);
    assert!(last.0 <= usize::MAX >> 1);
    assert!(sources.table.lock().get(last).is_some());
    sources.remove(last);
    assert!(sources.table.lock().get(last).is_none());
    assert_eq!(sources.insert(source(&end)).unwrap(), token, "wraps");
}

#[test]
fn a_closed_table_takes_no_sources() {
    let (end, _other) = UnixStream::pair().unwrap();
    let sources = Sources::default();
    sources.close(&mut WakeBatch::new());
    assert!(sources.insert(source(&end)).is_err());
}

#[test]
fn a_descriptor_closed_behind_our_back_is_survived() {
    for portable in [false, true] {
        let driver = Driver::new(Config {
            portable,
            ..Config::default()
        })
        .unwrap();
        let handle = driver.handle();
        let (end, _other) = UnixStream::pair().unwrap();
        // SAFETY: broken on purpose, as a program may; what is left is to take the entry out.
        let registration = unsafe { Registration::new(handle.clone(), end.as_fd()) }.unwrap();
        let token = registration.token;
        assert!(handle.sources().table.lock().get(token).is_some());
        let raw = end.into_raw_fd();
        // SAFETY: just taken from its owner.
        drop(unsafe { OwnedFd::from_raw_fd(raw) });
        drop(registration);
        assert!(handle.sources().table.lock().get(token).is_none());
    }
}
