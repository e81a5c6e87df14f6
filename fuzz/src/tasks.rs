//! Programs of tasks on a current-thread runtime with a paused clock: tasks that spawn, await, cancel, abort, shield, time out and gather one
//! another, with destructors and callbacks that do so too.
//!
//! The model is what holds for every program: each task ends once, each future is dropped once, each callback is called once, nothing is
//! left; a value is the one that was returned; nobody is cancelled unasked; no sleep and no timeout ends early, nor late unless time was
//! moved while something could run; at most one has the lock; nothing panics but what is meant to.

mod interpreter;
mod program;
mod world;

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use heist::{Builder, TaskRef};

use interpreter::spawn;
use program::{Ending, Keep, Program};
use world::World;

/// When the root wakes if no other time was said: later than all timers but those that never come.
const END_OF_TIME: Duration = Duration::from_secs(50 * 365 * 86_400);

/// How long a shutdown may take that only has to end what nothing keeps from ending. By the real clock.
const ENOUGH: Duration = Duration::from_secs(5);

/// Runs the program that the bytes mean, and looks at what is left.
pub fn run(data: &[u8]) {
    let Ok(program) = Program::read(data) else {
        return;
    };
    crate::show(&program);
    let (ending, root) = (program.ending, program.root.0);
    let runtime = Builder::new()
        .current_thread()
        .start_paused(true)
        .budget(program.budget)
        .slow_poll_threshold(Duration::MAX)
        .shutdown_timeout(Duration::from_millis(1))
        .exception_handler(|failure| {
            // Shown to nobody, but it has to be possible.
            let _ = format!("{failure} {failure:?}");
        })
        .build()
        .expect("a runtime");
    let world = Arc::new(World::new(program));
    let ran = runtime.block_on({
        let world = world.clone();
        async move {
            spawn(&world, 0, Keep::Share);
            heist::sleep(root.min(END_OF_TIME)).await;
        }
    });
    assert!(ran.is_ok() || runtime.is_shut_down(), "{ran:?}");
    check_unasked(&world);

    world.ending.store(true, SeqCst);
    // Those too that combinators have made.
    let each = |end: fn(&TaskRef) -> bool| {
        for task in runtime.all_tasks() {
            let was_done = task.is_done();
            assert_eq!(end(&task), !was_done, "asked to end: {task:?}");
        }
    };
    match ending {
        Ending::Abort => each(|task| task.abort("the end")),
        Ending::CancelThenAbort => {
            each(|task| task.cancel("the end"));
            each(|task| task.abort(None));
        }
        Ending::Shutdown => drop(runtime.shutdown(Duration::ZERO)),
        Ending::Drop => {}
    }
    if matches!(ending, Ending::Abort | Ending::CancelThenAbort) {
        // Destructors may spawn: once more, until they are through with what they may.
        while !runtime.is_shut_down() && !runtime.all_tasks().is_empty() {
            each(|task| task.abort(None));
            let ran = runtime.block_on(heist::sleep(Duration::from_millis(1)));
            assert!(ran.is_ok() || runtime.is_shut_down(), "{ran:?}");
        }
        let was_shut_down = runtime.is_shut_down();
        let report = runtime.shutdown(ENOUGH);
        assert!(report.is_complete() || was_shut_down, "{report}");
    }
    drop(runtime);
    world.forget_all();
    check_end(&world);
}

/// As long as nobody was asked to end, nobody has ended so.
fn check_unasked(world: &World) {
    if !world.asked.load(SeqCst) {
        for (_, task) in world.all() {
            assert!(!task.is_cancelled(), "cancelled unasked: {task:?}");
        }
        let (calls, called) = (world.calls.load(SeqCst), world.called.load(SeqCst));
        assert!(called <= calls, "{called} of {calls} callbacks");
    }
}

fn check_end(world: &World) {
    for (life, task) in world.all() {
        assert!(task.is_done(), "left: {task:?}");
        assert_eq!(life.dropped.load(SeqCst), 1, "futures dropped of {task:?}");
        assert_eq!(life.told.load(SeqCst), 1, "callbacks of {task:?}");
        if !task.is_cancelled() && !task.has_failed() {
            assert!(life.returned.load(SeqCst), "no value: {task:?}");
        }
    }
    assert_eq!(world.inside.load(SeqCst), 0, "somebody has the lock");
    assert!(!world.lock.locked(), "the lock is lost");
    assert_eq!(world.permitted.load(SeqCst), 0, "somebody has a permit");
    for _ in 0..world::PERMITS {
        let permit = world.semaphore.try_permit().expect("a permit is lost");
        std::mem::forget(permit);
    }
    assert!(world.semaphore.try_permit().is_none(), "a permit too many");
    check_queue(world);
}

/// Each item that was put is got once or still there; one whose put did not return may have been either.
fn check_queue(world: &World) {
    let mut got = world.puts.got.lock().expect("no panic while it was held");
    while let Ok(item) = world.queue.get_nowait() {
        got.push(item);
    }
    let count = got.len();
    got.sort_unstable();
    got.dedup();
    assert_eq!(got.len(), count, "an item came twice");
    let (begun, done) = (world.puts.begun.load(SeqCst), world.puts.done.load(SeqCst));
    assert!(count <= begun, "{count} items of {begun}");
    // A get that was cancelled in time leaves its item in the queue.
    assert!(count >= done, "{count} items, though {done} were put");
}
