//! Tasks of other types than the runtime's own.

use crate::support::{limited, on_each_flavour, side_by_side, threaded};
use heist::current_task;
use heist::task::track::{self, TrackedRef};
use std::sync::Barrier;
use std::sync::mpsc::channel;

fn is_listed(task: &TrackedRef) -> bool {
    track::all().contains(task)
}

#[test]
fn a_task_is_listed_while_it_is_registered() {
    limited(|| {
        let one = track::register("one");
        let two = track::register("two");
        let refs = [one.as_ref().clone(), two.as_ref().clone()];
        assert_ne!(refs[0], refs[1]);
        assert!(refs.iter().all(is_listed));
        let place = |task| track::all().iter().position(|other| other == task);
        assert!(place(&refs[0]) < place(&refs[1]), "the oldest first");
        assert!(refs[0].registered_at().file().ends_with("track.rs"));
        drop(one);
        assert!(!is_listed(&refs[0]) && is_listed(&refs[1]));
        assert_eq!(refs[0].name(), "one");
        drop(two);
        assert!(!is_listed(&refs[1]));
    });
}

#[test]
fn one_task_is_executed_at_a_time() {
    limited(|| {
        let (one, two) = (track::register("one"), track::register("two"));
        assert!(track::current().is_none());
        let step = one.enter().unwrap();
        assert_eq!(track::current().as_ref(), Some(one.as_ref()));
        assert!(one.as_ref().is_entered() && !two.as_ref().is_entered());
        assert!(format!("{one:?}").starts_with("<Tracked running name='one'"));

        let error = two.enter().unwrap_err();
        assert_eq!(error.tracked(), Some(one.as_ref()));
        assert!(
            error
                .to_string()
                .starts_with("cannot enter into task <Tracked name='two'")
        );
        assert!(
            error
                .to_string()
                .contains("while another task <Tracked running name='one'")
        );
        let error = one.enter().unwrap_err();
        assert!(error.to_string().contains("already"), "{error}");

        let error = two.leave().unwrap_err();
        assert!(
            error
                .to_string()
                .contains("does not match the current task <Tracked running")
        );
        assert_eq!(track::current().as_ref(), Some(one.as_ref()), "unchanged");
        drop(step);
        assert!(track::current().is_none() && !one.as_ref().is_entered());
        let error = one.leave().unwrap_err();
        assert!(error.to_string().contains("there is none"), "{error}");
    });
}

#[test]
fn left_explicitly_it_is_left_once() {
    limited(|| {
        let (one, two) = (track::register("one"), track::register("two"));
        let step = one.enter().unwrap();
        one.leave().unwrap();
        let other = two.enter().unwrap();
        // The guard of the one that was left takes nothing out.
        drop(step);
        assert_eq!(track::current().as_ref(), Some(two.as_ref()));
        drop(other);
        let again = one.enter().unwrap();
        drop(one);
        assert_eq!(track::current().unwrap().name(), "one", "until it is left");
        drop(again);
        assert!(track::current().is_none());
    });
}

#[test]
fn a_task_is_on_one_thread_at_a_time() {
    limited(|| {
        let job = track::register("job");
        let _step = job.enter().unwrap();
        side_by_side(1, |_| {
            assert!(track::current().is_none(), "another thread");
            assert!(job.enter().is_err() && job.swap().is_err());
            assert!(job.leave().is_err());
            let mine = track::register("mine");
            let _step = mine.enter().unwrap();
            assert_eq!(track::current().unwrap().name(), "mine");
        });
        assert_eq!(track::current().unwrap().name(), "job");
    });
}

#[test]
fn in_a_task_of_the_runtime_that_one_is_executed() {
    limited(|| {
        on_each_flavour(|flavour, builder| {
            let runtime = builder.build().unwrap();
            let job = track::register("job");
            let (job, seen) = runtime
                .run(async move {
                    let error = job.enter().unwrap_err();
                    assert_eq!(error.task_of_runtime(), current_task().as_ref());
                    assert!(
                        error
                            .to_string()
                            .contains("while another task <Task pending")
                    );
                    let error = job.leave().unwrap_err();
                    assert!(error.to_string().contains("<Task pending"), "{error}");
                    let seen = {
                        let _step = job.swap().unwrap();
                        (track::current(), current_task())
                    };
                    assert!(track::current().is_none());
                    heist::task::yield_now().await;
                    (job, seen)
                })
                .unwrap();
            assert_eq!(seen.0.as_ref(), Some(job.as_ref()), "{flavour}");
            assert!(seen.1.is_some(), "still asked of the runtime");
        });
    });
}

#[test]
fn a_callback_may_execute_a_step() {
    limited(|| {
        let runtime = threaded(1);
        let job = track::register("job");
        let (send, seen) = channel();
        runtime.call_soon(move || {
            let step = job.enter().unwrap();
            send.send((track::current(), current_task())).unwrap();
            drop(step);
            send.send((track::current(), None)).unwrap();
        });
        let (tracked, task) = seen.recv().unwrap();
        assert_eq!(tracked.unwrap().name(), "job");
        assert!(task.is_none());
        assert!(seen.recv().unwrap().0.is_none());
    });
}

#[test]
fn a_task_that_is_run_inside_of_a_step_is_not_in_it() {
    limited(|| {
        let runtime = threaded(1);
        let job = track::register("job");
        let _step = job.enter().unwrap();
        let inside = runtime.block_on(async {
            heist::task::yield_now().await;
            (track::current().is_none(), current_task().is_some())
        });
        assert_eq!(inside.unwrap(), (true, true));
        assert_eq!(track::current().unwrap().name(), "job");
    });
}

#[test]
fn many_threads_register_and_enter() {
    limited(|| {
        let go = Barrier::new(4);
        side_by_side(4, |thread| {
            go.wait();
            for _ in 0..2_000 {
                let job = track::register(&format!("{thread}"));
                let step = job.enter().unwrap();
                assert!(is_listed(job.as_ref()));
                assert_eq!(track::current().as_ref(), Some(job.as_ref()));
                drop((step, job));
                assert!(track::current().is_none());
            }
        });
        assert!(
            track::all()
                .iter()
                .all(|task| task.name().parse::<u32>().is_err())
        );
    });
}
