//! Every transition on every legal word.

use super::*;
use std::collections::BTreeSet;

/// Between the flags and the count.
const UNUSED: usize = (1 << 17) | (1 << 18) | (1 << 19);

/// Whether a word can be seen, whatever its count.
fn is_legal(word: Snapshot) -> bool {
    let has = |bits: usize| word.0 & bits != 0;
    if has(UNUSED) {
        return false;
    }
    if has(DONE) {
        // Nothing is left to be done to it or told, and it ended in one way.
        return has(STARTED)
            && !has(RUNNING | QUEUED | DELIVERING | OWED | REQUESTED | JOIN_WAKER | WATCHED)
            && !(has(CANCELLED) && has(FAILED));
    }
    let implies = |a: bool, b: bool| !a || b;
    !has(CANCELLED | FAILED)
        // Counted by who delivers to a suspended task.
        && implies(has(COUNTED), has(STARTED))
        && implies(has(JOIN_WAKER), has(JOIN_INTEREST))
        // It stands in a queue until it is polled for the first time.
        && implies(!has(STARTED), has(QUEUED) && !has(RUNNING))
        // The regions are one's alone, and before the first poll there are none.
        && implies(has(DELIVERING), has(STARTED) && !has(RUNNING))
        // The queue's entry is gone, but the task is to be queued all the same.
        && implies(has(OWED), has(DELIVERING) && has(QUEUED))
        // What is to be met will be: by a poll, at its end, or by who delivers.
        && implies(has(KEPT), has(RUNNING | QUEUED | DELIVERING))
        && implies(has(INTERRUPTED), has(STARTED) && has(RUNNING | QUEUED))
        && implies(has(ABORTED), has(RUNNING | QUEUED))
}

/// Every legal word with one, two or five references.
fn words() -> Vec<Snapshot> {
    let legal = (0..REF_ONE).map(Snapshot).filter(|word| is_legal(*word));
    legal
        .flat_map(|word| [1, 2, 5].map(|references| Snapshot(word.0 | (references * REF_ONE))))
        .collect()
}

fn live_words() -> Vec<Snapshot> {
    let mut words = words();
    words.retain(|word| !word.is_done());
    words
}

fn is_idle(word: Snapshot) -> bool {
    !word.is_done() && !word.is_running() && !word.is_queued()
}

fn may_start(word: Snapshot) -> bool {
    word.is_queued() && !word.is_running() && word.0 & OWED == 0
}

const ENDINGS: [Ending; 4] = [
    Ending::Value,
    Ending::Cancelled,
    Ending::Aborted,
    Ending::Failure,
];

/// Every word that one transition makes of `word`, with its name. Those are left out that nobody may ask for in it.
fn steps(word: Snapshot) -> Vec<(&'static str, Snapshot)> {
    let mut next = vec![
        ("wake", word.wake(false).0),
        ("wake by value", word.wake(true).0),
        ("request", word.request().0),
        ("keep", word.keep().0),
        ("abort", word.abort().0),
        ("watch", word.watch().0),
        ("answered", word.with(ANSWERED)),
        ("uncounted", word.without(COUNTED)),
        ("idle taken", word.take_idle().0),
        ("looked at", word.take_suspended().0),
        ("none kept", word.without(KEPT)),
        ("none kept or reserved", word.without(KEPT | RESERVED)),
    ];
    if word.0 & RESERVED != 0 || word.is_done() {
        next.extend([false, true].map(|more| ("commit", word.commit(more).0)));
    }
    if may_start(word) {
        next.push(("start", word.start().0));
    }
    if word.is_running() {
        next.extend([false, true].map(|forced| ("suspend", word.suspend(forced).0)));
        next.extend(ENDINGS.map(|ending| ("finish", word.finish(ending).0)));
        next.push(("uninterrupted", word.without(INTERRUPTED)));
    }
    if word.is_delivering() {
        next.push(("put back", word.put_back().0));
        next.push(("delivered plainly", word.delivered_plainly().0));
        next.push(("delivered", word.delivered(false, false).0));
        next.push(("delivered, woken", word.delivered(true, false).0));
        next.push(("delivered, interrupted", word.delivered(true, true).0));
        if word.is_queued() {
            // It was woken for what it has received when that came.
            next.push((
                "delivered, still interrupted",
                word.delivered(false, true).0,
            ));
        }
    }
    if word.has_join_interest() {
        next.push(("unpublish", word.unpublish_join_waker().0));
        next.push(("publish", word.publish_join_waker().0));
        next.push(("drop handle", word.drop_handle().0));
    }
    next
}

#[test]
fn every_transition_maps_legal_words_to_legal_words() {
    for word in words() {
        for (step, next) in steps(word) {
            assert!(is_legal(next), "{step}: {word:?} -> {next:?}");
        }
    }
}

/// So that the definition of a legal word says no more than it has to.
#[test]
fn every_legal_word_can_come_about() {
    let flags = |word: Snapshot| word.without(REF_MASK).0;
    let references = 5 * REF_ONE;
    let mut reached = BTreeSet::from([QUEUED | JOIN_INTEREST]);
    let mut fresh: Vec<_> = reached.iter().copied().collect();
    while let Some(word) = fresh.pop() {
        for (_, next) in steps(Snapshot(word | references)) {
            if reached.insert(flags(next)) {
                fresh.push(flags(next));
            }
        }
    }
    let legal: BTreeSet<_> = words().into_iter().map(flags).collect();
    let never: Vec<_> = legal.difference(&reached).copied().map(Snapshot).collect();
    let some = &never[..never.len().min(9)];
    assert!(never.is_empty(), "{} words: {some:?}", never.len());
    assert_eq!(reached, legal);
}

#[test]
fn a_question_asks_for_its_own_bit_alone() {
    type Question = fn(Snapshot) -> bool;
    let questions: [(Question, usize); 11] = [
        (|word| word.is_running(), RUNNING),
        (|word| word.is_queued(), QUEUED),
        (|word| word.is_done(), DONE),
        (|word| word.is_started(), STARTED),
        (|word| word.is_cancelled(), CANCELLED),
        (|word| word.is_failed(), FAILED),
        (|word| word.is_interrupted(), INTERRUPTED),
        (|word| word.is_answered(), ANSWERED),
        (|word| word.is_counted(), COUNTED),
        (|word| word.is_aborted(), ABORTED),
        (|word| word.is_watched(), WATCHED),
    ];
    for (asks, bit) in questions {
        for word in words() {
            assert!(asks(word.with(bit)), "{word:?}");
            assert!(!asks(word.without(bit)), "{word:?}");
        }
    }
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

/// Whoever makes or takes over the queue's reference puts the task into a queue; nobody else does.
#[test]
fn a_task_is_never_in_two_queues() {
    /// In a queue, or about to be put there.
    fn has_entry(word: Snapshot) -> bool {
        may_start(word) && !word.is_done()
    }
    for word in words() {
        let before = has_entry(word);
        let (next, answer) = word.wake(false);
        assert_eq!(answer == Wake::Submit, !before && has_entry(next));
        let (next, answer) = word.abort();
        assert_eq!(answer == Abort::Submit, !before && has_entry(next));
        for (next, _) in [word.request(), word.keep(), word.commit(false)] {
            assert_eq!(has_entry(next), before, "{word:?}");
            assert_eq!(next.references(), word.references());
        }
        if word.is_delivering() {
            for (wake, interrupted) in [(false, false), (true, false), (true, true)] {
                let (next, answer) = word.delivered(wake, interrupted);
                let submits = answer == Delivered::Submit;
                assert_eq!(submits, !before && has_entry(next), "{word:?}");
                let made = usize::from(submits && word.0 & OWED == 0);
                assert_eq!(next.references(), word.references() + made);
            }
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
                    assert!(word.0 & (KEPT | INTERRUPTED | ABORTED) != 0);
                    assert!(word.is_aborted() || !(forced && word.is_queued()));
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
            assert_eq!(next.0 & REQUESTED, word.0 & REQUESTED);
        }
    }
}

#[test]
fn an_entry_is_polled_dropped_unpolled_or_handed_over() {
    for word in words().into_iter().filter(|word| may_start(*word)) {
        let (next, start) = word.start();
        assert_eq!(next.references(), word.references());
        if word.is_delivering() {
            assert_eq!(start, Start::Owed, "{word:?}");
            assert_eq!(next, word.with(OWED));
            continue;
        }
        assert!(next.is_running() && next.is_started() && !next.is_queued());
        let unpolled = word.is_aborted() || word.is_requested() && !word.is_started();
        assert_eq!(start == Start::DropUnpolled, unpolled, "{word:?}");
        if let Start::Poll { interrupted } = start {
            assert_eq!(interrupted, word.0 & INTERRUPTED != 0);
        }
        assert_eq!(next.0 & REQUESTED, word.0 & REQUESTED);
    }
}

/// Kept, and then met by whoever has the task; or handed down by who made it.
#[test]
fn a_request_that_was_accepted_is_never_lost() {
    for word in words() {
        let asked = [
            (RESERVED, word.request()),
            (KEPT, word.commit(false)),
            (KEPT, word.commit(true)),
            (KEPT, word.keep()),
        ];
        for (bit, (next, answer)) in asked {
            match answer {
                Requested::Refused => {
                    assert!(word.is_done());
                    assert_eq!(next, word);
                }
                Requested::Deliver { due } => {
                    assert!(word.is_started() && !word.is_running() && !word.is_delivering());
                    assert!(next.is_delivering());
                    assert_eq!(due, word.is_queued());
                }
                Requested::Kept => {
                    assert!(next.0 & bit != 0);
                    assert!(word.is_running() || word.is_delivering() || !word.is_started());
                    assert_eq!(next.is_delivering(), word.is_delivering());
                }
            }
        }
        // With others reserved still, the mark stays.
        if word.0 & RESERVED != 0 {
            assert!(word.commit(true).0.0 & RESERVED != 0);
            assert!(word.commit(false).0.0 & RESERVED == 0);
        }
    }
    for word in live_words() {
        let kept = word.0 & KEPT != 0;
        if word.is_running() && word.is_requested() {
            assert_eq!(word.finish(Ending::Value).1, Finish::CancelFirst);
        }
        if word.is_running() && kept {
            assert_eq!(word.suspend(false).1, Suspend::Deliver);
        }
        if word.is_delivering() && kept {
            assert_eq!(word.delivered(true, true), (word, Delivered::Again));
        }
        if word.is_requested() && !word.is_started() {
            assert_eq!(word.start().1, Start::DropUnpolled);
        }
    }
}

#[test]
fn a_delivery_is_left_once_nothing_is_kept() {
    for word in words().into_iter().filter(|word| word.is_delivering()) {
        for (wake, interrupted) in [(false, false), (true, false), (true, true)] {
            let (next, answer) = word.delivered(wake, interrupted);
            if answer == Delivered::Again {
                assert!(word.0 & KEPT != 0);
                continue;
            }
            assert!(next.0 & (DELIVERING | OWED | KEPT) == 0);
            assert_eq!(
                next.0 & INTERRUPTED != 0,
                interrupted || word.0 & INTERRUPTED != 0
            );
            // Whoever took the entry out meanwhile has left it to be submitted here.
            assert!(answer == Delivered::Submit || word.0 & OWED == 0);
            assert!(next.is_queued() || !wake);
            assert_eq!(next.0 & (RESERVED | ABORTED), word.0 & (RESERVED | ABORTED));
        }
    }
}

#[test]
fn who_looks_takes_a_suspended_task_and_leaves_what_came_meanwhile_to_be_met() {
    for word in words() {
        let is_free =
            word.is_started() && !word.is_done() && !word.is_running() && !word.is_delivering();
        let taken = (word.with(DELIVERING), true);
        let not_taken = (word, false);
        let expected = if is_free { taken } else { not_taken };
        assert_eq!(word.take_suspended(), expected, "{word:?}");
        let expected = if is_free && !word.is_queued() {
            taken
        } else {
            not_taken
        };
        assert_eq!(word.take_idle(), expected, "{word:?}");
    }
    for word in words().into_iter().filter(|word| word.is_delivering()) {
        let (next, answer) = word.put_back();
        let is_owed = word.0 & OWED != 0;
        // A request that was kept is met after a poll, so there has to be one.
        let is_new = word.0 & KEPT != 0 && !word.is_queued();
        assert_eq!(answer == Delivered::Submit, is_owed || is_new, "{word:?}");
        assert_eq!(answer == Delivered::Left, !is_owed && !is_new, "{word:?}");
        assert_eq!(next.is_queued(), word.is_queued() || is_new, "{word:?}");
        assert_eq!(next.references(), word.references() + usize::from(is_new));
        let rest = |word: Snapshot| word.without(DELIVERING | OWED | QUEUED | REF_MASK);
        assert_eq!(rest(next), rest(word));
        assert_eq!(next.0 & (DELIVERING | OWED), 0);
    }
}

/// What the word does in one step is what its snapshot says, and nothing else.
#[test]
fn the_word_takes_the_steps_of_its_snapshot() {
    type Taken = (Snapshot, String);
    fn same<A: fmt::Debug>((next, answer): (Snapshot, A)) -> Taken {
        (next, format!("{answer:?}"))
    }
    for word in words() {
        let took = |what: &str, take: &dyn Fn(&State) -> String, expected: Taken| {
            let state = State(AtomicWord::new(word.0));
            let answer = take(&state);
            assert_eq!((state.load(), answer), expected, "{what}: {word:?}");
        };
        macro_rules! takes {
            ($transition:ident($($given:expr),*), $step:expr) => {
                took(
                    stringify!($transition),
                    &|state: &State| format!("{:?}", state.$transition($($given),*)),
                    same($step),
                )
            };
        }
        takes!(transition_to_queued(), word.wake(false));
        takes!(transition_to_queued_by_value(), word.wake(true));
        takes!(transition_to_requested(), word.request());
        takes!(transition_to_kept(), word.keep());
        takes!(transition_to_aborted(), word.abort());
        takes!(transition_to_watched(), word.watch());
        takes!(transition_to_answered(), (word.with(ANSWERED), ()));
        takes!(transition_to_uncounted(), (word.without(COUNTED), ()));
        takes!(transition_to_idle_taken(), word.take_idle());
        takes!(transition_to_suspended_taken(), word.take_suspended());
        takes!(transition_to_none_kept(false), (word.without(KEPT), ()));
        takes!(
            transition_to_none_kept(true),
            (word.without(KEPT | RESERVED), ())
        );
        takes!(
            transition_to_uninterrupted(),
            (word.without(INTERRUPTED), ())
        );
        takes!(
            transition_to_join_waker_taken(),
            word.unpublish_join_waker()
        );
        takes!(transition_to_join_waker_stored(), word.publish_join_waker());
        takes!(transition_to_handle_dropped(), word.drop_handle());
        for more in [false, true] {
            takes!(transition_to_committed(more), word.commit(more));
        }
        if may_start(word) {
            takes!(transition_to_running(), word.start());
        }
        if word.is_running() {
            for forced in [false, true] {
                takes!(transition_to_suspended(forced), word.suspend(forced));
            }
            for ending in ENDINGS {
                takes!(transition_to_done(ending), word.finish(ending));
            }
        }
        if word.is_delivering() {
            takes!(transition_to_put_back(), word.put_back());
            takes!(transition_to_delivered_plainly(), word.delivered_plainly());
            for (wake, interrupted) in [(false, false), (true, false), (true, true)] {
                let step = word.delivered(wake, interrupted);
                takes!(transition_to_delivered(wake, interrupted), step);
            }
        }
    }
}

#[test]
fn a_word_shows_each_of_its_bits_by_name() {
    let word = Snapshot(QUEUED | STARTED | JOIN_INTEREST | (2 * REF_ONE));
    assert_eq!(format!("{word:?}"), "QUEUED STARTED JOIN_INTEREST refs=2");
    let mut seen = BTreeSet::new();
    for bit in (0..17).map(|bit| 1 << bit) {
        let shown = format!("{:?}", Snapshot(bit));
        assert_eq!(shown.split(' ').count(), 2, "{shown}");
        assert!(seen.insert(shown));
    }
}

#[test]
fn an_aborted_task_is_not_polled_again() {
    for word in words() {
        let (next, answer) = word.abort();
        assert_eq!(answer == Abort::Refused, word.is_done());
        assert_eq!(answer == Abort::Submit, is_idle(word));
        let made = usize::from(answer == Abort::Submit);
        assert_eq!(next.references(), word.references() + made);
        if next.is_running() {
            assert_eq!(next.suspend(true).1, Suspend::Deliver);
            assert_eq!(next.finish(Ending::Value).1, Finish::CancelFirst);
            assert_eq!(next.finish(Ending::Cancelled).1, Finish::CancelFirst);
        } else if may_start(next) && !next.is_delivering() {
            assert_eq!(next.start().1, Start::DropUnpolled);
        }
    }
}

#[test]
fn the_end_clears_everything_but_the_handle() {
    for word in words().into_iter().filter(|word| word.is_running()) {
        for ending in ENDINGS {
            let (done, answer) = word.finish(ending);
            let gives_way = ending == Ending::Value && word.is_requested()
                || ending == Ending::Cancelled && word.is_aborted();
            if gives_way {
                assert_eq!((done, answer), (word, Finish::CancelFirst));
                continue;
            }
            assert!(done.is_done() && !done.is_running() && !done.is_queued());
            assert!(!done.is_requested() && !done.has_join_waker() && !done.is_watched());
            let cancelled = matches!(ending, Ending::Cancelled | Ending::Aborted);
            assert_eq!(done.is_cancelled(), cancelled);
            assert_eq!(done.is_failed(), ending == Ending::Failure);
            assert_eq!(done.references(), word.references());
            let expected = Finish::Done {
                join_interest: word.has_join_interest(),
                join_waker: word.has_join_waker(),
                watched: word.is_watched(),
            };
            assert_eq!(answer, expected);
        }
    }
}

#[test]
fn whoever_watches_is_told_or_finds_the_task_done() {
    for word in words() {
        let (next, answer) = word.watch();
        assert_eq!(answer == Join::Done, word.is_done());
        assert_eq!(next.is_watched(), !word.is_done());
        assert_eq!(next.without(WATCHED), word.without(WATCHED));
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

/// A count that would wrap, and free the cell under live wakers, ends the process instead: a process of its own.
#[test]
fn a_count_that_would_overflow_ends_the_process() {
    const CHILD: &str = "HEIST_OVERFLOW";
    let most = REF_LIMIT / REF_ONE;
    if std::env::var_os(CHILD).is_some() {
        let state = State::new(most + 1);
        state.add_reference();
        return;
    }
    let state = State::new(most - 1);
    state.add_reference();
    assert_eq!(state.load().references(), most);
    let me = "task::state::tests::a_count_that_would_overflow_ends_the_process";
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args([me, "--exact", "--test-threads=1"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    assert_eq!(child.status.code(), None, "ended by a signal: {child:?}");
}
