//! Every transition on every legal word.

use super::*;

/// Every combination of flags that a live word can show, with one, two or five references.
fn words() -> Vec<Snapshot> {
    let mut words = Vec::new();
    for flags in 0..REF_ONE {
        let word = Snapshot(flags);
        let legal = if word.is_done() {
            flags & (RUNNING | QUEUED | CANCEL | JOIN_WAKER) == 0
        } else {
            !word.is_cancelled()
                && (word.has_join_interest() || !word.has_join_waker())
                && (word.is_started() || !word.is_running())
        };
        if legal {
            words.extend([1, 2, 5].map(|references| Snapshot(flags | (references * REF_ONE))));
        }
    }
    words
}

fn is_idle(word: Snapshot) -> bool {
    !word.is_done() && !word.is_running() && !word.is_queued()
}

#[test]
fn a_wake_up_submits_exactly_an_idle_task() {
    for word in words() {
        for by_value in [false, true] {
            let (next, answer) = word.wake(by_value);
            assert_eq!(answer == Wake::Submit, is_idle(word), "{word:?}");
            let made = usize::from(is_idle(word) && !by_value);
            assert_eq!(next.references(), word.references() + made, "{word:?}");
            assert_eq!(next.is_queued(), !word.is_done(), "{word:?}");
            assert_eq!(next.is_running(), word.is_running(), "{word:?}");
        }
    }
}

#[test]
fn a_task_is_never_in_two_queues() {
    for word in words() {
        let (queued, first) = word.wake(false);
        let (_, second) = queued.wake(false);
        assert!(
            !(first == Wake::Submit && second == Wake::Submit),
            "{word:?}"
        );
        assert_eq!(second, Wake::Nothing);
        if word.is_queued() && !word.is_done() {
            let (_, request) = word.request_cancel();
            assert_eq!(request, Request::Kept, "{word:?}");
        }
    }
}

#[test]
fn a_run_ends_idle_requeued_or_delivering() {
    for word in words().into_iter().filter(|word| word.is_running()) {
        for forced in [false, true] {
            let (next, answer) = word.suspend(forced);
            match answer {
                Suspend::Deliver => {
                    assert!(word.is_cancel_kept() && !forced);
                    assert_eq!(next, word);
                }
                Suspend::Requeue => {
                    assert!(next.is_queued() && !next.is_running());
                    assert_eq!(next.references(), word.references());
                }
                Suspend::Idle => {
                    assert!(is_idle(next));
                    assert_eq!(next.references(), word.references() - 1);
                }
            }
            assert_eq!(next.is_cancel_kept(), word.is_cancel_kept());
        }
    }
}

#[test]
fn a_request_on_an_unpolled_task_drops_it_unpolled() {
    for word in words() {
        if !word.is_queued() || word.is_running() || word.is_done() {
            continue;
        }
        let (next, start) = word.start();
        assert!(next.is_running() && next.is_started() && !next.is_queued());
        let unpolled = word.is_cancel_kept() && !word.is_started();
        assert_eq!(start == Start::DropUnpolled, unpolled, "{word:?}");
    }
}

#[test]
fn a_request_that_was_accepted_is_never_lost() {
    for word in words() {
        let (next, answer) = word.request_cancel();
        assert_eq!(answer == Request::Refused, word.is_done());
        if answer == Request::Refused {
            assert_eq!(next, word);
            continue;
        }
        assert!(next.is_cancel_kept());
        if next.is_running() {
            // Whatever the body does next meets it: a value becomes a cancellation, a suspension delivers.
            assert_eq!(next.finish(Ending::Value).1, Finish::CancelFirst);
            assert_eq!(next.suspend(false).1, Suspend::Deliver);
            // A forced yield is no delivery point.
            assert_ne!(next.suspend(true).1, Suspend::Deliver);
        }
        let made = usize::from(answer == Request::Submit);
        assert_eq!(next.references(), word.references() + made);
    }
}

#[test]
fn the_end_clears_everything_but_the_handle() {
    for word in words().into_iter().filter(|word| word.is_running()) {
        for ending in [Ending::Cancelled, Ending::Failure] {
            let cancelled = ending == Ending::Cancelled;
            assert_eq!(word.finish(ending).0.is_cancelled(), cancelled);
        }
        let (done, answer) = word.finish(Ending::Failure);
        assert!(done.is_done() && !done.is_running() && !done.is_queued());
        assert!(!done.is_cancel_kept() && !done.has_join_waker());
        assert_eq!(done.references(), word.references());
        let expected = Finish::Done {
            join_interest: word.has_join_interest(),
            join_waker: word.has_join_waker(),
        };
        assert_eq!(answer, expected);
    }
}

#[test]
fn the_waker_field_has_one_owner() {
    for word in words() {
        let (taken, answer) = word.unpublish_join_waker();
        assert_eq!(answer == Join::Done, word.is_done());
        assert!(!taken.has_join_waker());
        let (stored, answer) = word.publish_join_waker();
        assert_eq!(answer == Join::Done, word.is_done());
        assert_eq!(stored.has_join_waker(), !word.is_done());
        let (dropped, left) = word.drop_handle();
        assert_eq!(left.outcome, word.is_done());
        assert_eq!(left.waker, word.has_join_waker());
        assert!(!dropped.has_join_interest() && !dropped.has_join_waker());
    }
}

#[test]
fn references_are_counted() {
    let state = State::new(3);
    state.add_reference();
    assert!(!state.drop_references(3));
    assert!(state.drop_references(1));
}
