//! Context variables: who starts with which, and who sees whose changes.

use crate::support::{Drops, Gate, limited, on_each_flavour, run_until, seated, threaded};
use heist::context::{Context, ContextVar, Token, copy_context};
use heist::task::yield_now;
use heist::{Handle, run_coroutine_threadsafe, spawn, spawn_blocking};
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::channel;
use std::time::Duration;

static ID: ContextVar<usize> = ContextVar::new("id");
static NAME: ContextVar<String> = ContextVar::with_default("name", || "nobody".into());
static PRIVATE: ContextVar<usize> = ContextVar::new("private").inherit(false);
static COUNTED: ContextVar<Arc<crate::support::Counted>> = ContextVar::new("counted");

#[test]
fn a_task_starts_with_a_copy() {
    limited(|| {
        on_each_flavour(|flavour, builder| {
            let runtime = builder.build().unwrap();
            runtime
                .block_on(async {
                    ID.set(1);
                    let gate = Gate::default();
                    let passed = gate.passed();
                    let child = spawn(async move {
                        passed.await;
                        let before = ID.get();
                        NAME.set("child".into());
                        ID.set(3);
                        (before, ID.get())
                    });
                    ID.set(2);
                    gate.open();
                    assert_eq!(child.await.unwrap(), (Some(1), Some(3)), "{flavour}");
                    assert_eq!(ID.get(), Some(2));
                    assert_eq!(NAME.get().as_deref(), Some("nobody"));
                })
                .unwrap();
            assert_eq!(ID.get(), None);
        });
    });
}

#[test]
fn each_way_in_copies() {
    limited(|| {
        on_each_flavour(|flavour, builder| {
            let runtime = builder.build().unwrap();
            runtime
                .block_on(async {
                    ID.set(1);
                    PRIVATE.set(2);
                    let see = || (ID.get(), PRIVATE.get());
                    let handle = Handle::current().unwrap();
                    let copied = (Some(1), None);
                    assert_eq!(spawn(async move { see() }).await.unwrap(), copied);
                    let task = heist::spawn_with(|| async move { see() });
                    assert_eq!(task.await.unwrap(), copied);
                    let task = handle.spawn_with(|| async move { see() });
                    assert_eq!(task.await.unwrap(), copied);
                    let task = heist::task::Builder::new()
                        .name("named")
                        .spawn_on(&handle, async move { see() });
                    assert_eq!(task.await.unwrap(), copied);
                    assert_eq!(spawn_blocking(see).await.unwrap(), copied);
                    let task = heist::task::Builder::new().spawn_blocking(see);
                    assert_eq!(task.await.unwrap(), copied);
                    let grandchild = spawn(async move { spawn(async move { see() }).await });
                    assert_eq!(grandchild.await.unwrap().unwrap(), copied);

                    let (sender, receiver) = channel();
                    let when = handle.clock().now();
                    let again = sender.clone();
                    handle.call_soon(move || again.send(see()).unwrap());
                    let again = sender.clone();
                    handle.call_later(Duration::from_millis(1), move || {
                        again.send(see()).unwrap();
                    });
                    handle.call_at(when, move || sender.send(see()).unwrap());
                    // Set too late for any of them.
                    ID.set(9);
                    let mut seen = Vec::new();
                    while seen.len() < 3 {
                        yield_now().await;
                        seen.extend(receiver.try_iter());
                    }
                    assert_eq!(seen, [copied; 3], "{flavour}");
                })
                .unwrap();
        });
    });
}

#[test]
fn what_is_set_on_a_thread_goes_into_what_it_spawns() {
    limited(|| {
        let runtime = threaded(2);
        let in_task = |handle: &Handle| handle.spawn(async { ID.get() });
        assert_eq!(
            runtime
                .block_on(in_task(runtime.handle()))
                .unwrap()
                .unwrap(),
            None
        );
        ID.set(5);
        assert_eq!(
            runtime
                .block_on(in_task(runtime.handle()))
                .unwrap()
                .unwrap(),
            Some(5)
        );
        let of_root = runtime.block_on(async {
            let inherited = ID.get();
            ID.set(6);
            (inherited, spawn(async { ID.get() }).await.unwrap())
        });
        assert_eq!(of_root.unwrap(), (Some(5), Some(6)));
        assert_eq!(runtime.run(async { ID.get() }).unwrap(), Some(5));
        assert_eq!(heist::run(async { ID.get() }).unwrap(), Some(5));
        assert_eq!(ID.get(), Some(5));
        // And into no other thread.
        let handle = runtime.handle().clone();
        let other = std::thread::spawn(move || (ID.get(), handle.block_on(async { ID.get() })));
        let (there, of_root) = other.join().unwrap();
        assert_eq!((there, of_root.unwrap()), (None, None));
    });
}

#[test]
fn a_coroutine_from_outside_starts_with_nothing() {
    limited(|| {
        let runtime = threaded(2);
        ID.set(5);
        let handle = runtime.handle().clone();
        let body = async {
            let before = (ID.get(), copy_context().len());
            ID.set(6);
            yield_now().await;
            (before, ID.get())
        };
        let expected = ((None, 0), Some(6));
        assert_eq!(
            run_coroutine_threadsafe(body, &handle)
                .result(None)
                .unwrap(),
            expected
        );
        let submitted = runtime.spawn(async move {
            ID.set(7);
            let future = run_coroutine_threadsafe(async { ID.get() }, &handle);
            spawn_blocking(move || future.result(None).unwrap())
                .await
                .unwrap()
        });
        assert_eq!(runtime.block_on(submitted).unwrap().unwrap(), None);
    });
}

#[test]
fn a_context_follows_its_task_from_worker_to_worker() {
    limited(|| {
        let runtime = threaded(4);
        runtime
            .run(async {
                let tasks: Vec<_> = (0..200)
                    .map(|n| {
                        ID.set(n);
                        spawn(async move {
                            for step in 0..50 {
                                assert_eq!(ID.get(), Some(n + step));
                                let token = ID.set(0);
                                yield_now().await;
                                assert_eq!(ID.get(), Some(0));
                                ID.reset(token).unwrap();
                                ID.set(n + step + 1);
                                let child = spawn(async {
                                    let inherited = ID.get();
                                    ID.set(usize::MAX);
                                    inherited
                                });
                                assert_eq!(child.await.unwrap(), Some(n + step + 1));
                            }
                        })
                    })
                    .collect();
                for task in tasks {
                    task.await.unwrap();
                }
            })
            .unwrap();
    });
}

#[test]
fn a_builder_gives_exactly_that_context() {
    limited(|| {
        let runtime = threaded(2);
        runtime
            .run(async {
                ID.set(1);
                NAME.set("parent".into());
                let context = Context::new().with(&PRIVATE, 3);
                let builder = heist::task::Builder::new().context(context.clone());
                let see = || (ID.get(), NAME.get().unwrap(), PRIVATE.get());
                let expected = (None, "nobody".to_owned(), Some(3));
                let task = builder.clone().spawn(async move { see() });
                assert_eq!(task.await.unwrap(), expected);
                let task = builder.spawn_blocking(move || {
                    PRIVATE.set(4);
                    see()
                });
                assert_eq!(task.await.unwrap().2, Some(4));
                assert_eq!(context.get(&PRIVATE), Some(3));
                let task = heist::task::Builder::new()
                    .context(Context::new())
                    .spawn(async { copy_context().len() });
                assert_eq!(task.await.unwrap(), 0);
            })
            .unwrap();
    });
}

#[test]
fn a_token_is_of_no_use_in_another_task() {
    limited(|| {
        let runtime = threaded(2);
        runtime
            .run(async {
                let token = ID.set(1);
                let error = spawn(async move {
                    ID.set(2);
                    ID.reset(token).unwrap_err()
                });
                let error = error.await.unwrap();
                assert!(error.is_other_context());
                yield_now().await;
                ID.reset(error.into_token()).unwrap();
                assert_eq!(ID.get(), None);
            })
            .unwrap();
    });
}

/// What is run inside a closure is in its context only if it is the closure's own code, or a copy was made there.
#[test]
fn a_closure_s_context_is_that_of_its_code_alone() {
    limited(|| {
        for runtime in [seated(), threaded(1), threaded(4)] {
            let gate = Gate::default();
            let other = gate.passed();
            let mut context = Context::new().with(&ID, 1);
            let other = Context::new().with(&ID, 7).run(|| {
                runtime.spawn(async move {
                    other.await;
                    ID.get()
                })
            });
            let inside = context.run(|| {
                runtime.block_on(async {
                    gate.open();
                    // On the current thread, the other task is run here too.
                    while !other.is_done() {
                        yield_now().await;
                    }
                    let inherited = ID.get();
                    ID.set(2);
                    let child = spawn(async { ID.get() });
                    (inherited, child.await.unwrap())
                })
            });
            let inside = inside.unwrap();
            let other = runtime.block_on(other);
            assert_eq!(inside, (Some(1), Some(2)));
            assert_eq!(other.unwrap().unwrap(), Some(7));
            assert_eq!(context.get(&ID), Some(1));
        }
    });
}

#[test]
fn a_closure_inside_a_poll_hides_the_task_s_context() {
    limited(|| {
        let runtime = threaded(2);
        runtime
            .run(async {
                ID.set(1);
                let mut context = copy_context().with(&NAME, "inside".into());
                let handle = Handle::current().unwrap();
                let (task, root) = context.run(|| {
                    ID.set(2);
                    let task = spawn(async { (ID.get(), NAME.get().unwrap()) });
                    // A task inside the closure has a context in front of the closure's.
                    let root = handle.block_on(async {
                        ID.set(3);
                        let inner = Context::new().with(&ID, 4).run(|| ID.get());
                        yield_now().await;
                        (inner, ID.get())
                    });
                    assert_eq!(ID.get(), Some(2));
                    (task, root.unwrap())
                });
                assert_eq!(root, (Some(4), Some(3)));
                assert_eq!(task.await.unwrap(), (Some(2), "inside".to_owned()));
                assert_eq!(ID.get(), Some(1));
                assert_eq!(context.get(&ID), Some(2));
            })
            .unwrap();
    });
}

/// Says at its end what it sees then.
struct Looks(std::sync::mpsc::Sender<Option<usize>>);

impl Drop for Looks {
    fn drop(&mut self) {
        let _ = self.0.send(ID.get());
    }
}

#[test]
fn an_enclosed_future_is_polled_and_dropped_in_its_context() {
    limited(|| {
        on_each_flavour(|flavour, builder| {
            let runtime = builder.build().unwrap();
            runtime
                .block_on(async {
                    ID.set(1);
                    let (sender, seen) = channel();
                    let body = |n: usize| {
                        let looks = Looks(sender.clone());
                        async move {
                            let _looks = looks;
                            for step in 0..10 {
                                assert_eq!(ID.get(), Some(n + step));
                                ID.set(n + step + 1);
                                yield_now().await;
                            }
                            spawn(async { ID.get() }).await.unwrap()
                        }
                    };
                    let in_place = Context::new().with(&ID, 100).enclose(body(100));
                    assert_eq!(in_place.await, Some(110), "{flavour}");
                    assert_eq!(seen.recv().unwrap(), Some(110));
                    let spawned = spawn(Context::new().with(&ID, 200).enclose(body(200)));
                    assert_eq!(spawned.await.unwrap(), Some(210));
                    assert_eq!(seen.recv().unwrap(), Some(210));
                    let looks = Looks(sender.clone());
                    let never = Context::new().with(&ID, 300).enclose(async move {
                        let _looks = looks;
                        std::future::pending::<()>().await;
                    });
                    let elapsed = heist::timeout(Duration::from_millis(1), never).await;
                    assert!(elapsed.is_err());
                    assert_eq!(seen.recv().unwrap(), Some(300));
                    assert_eq!(ID.get(), Some(1));
                })
                .unwrap();
        });
    });
}

#[test]
fn values_are_dropped_when_the_task_ends() {
    limited(|| {
        on_each_flavour(|flavour, builder| {
            let runtime = builder.build().unwrap();
            let drops = Drops::default();
            let set = |drops: &Drops| drop(COUNTED.set(Arc::new(drops.one())));
            runtime
                .block_on({
                    let drops = drops.clone();
                    async move {
                        // By its end.
                        let task = spawn({
                            let drops = drops.clone();
                            async move { set(&drops) }
                        });
                        let reference = task.as_ref();
                        task.await.unwrap();
                        assert_eq!(drops.dropped(), 1, "{flavour}");
                        // By a cancellation.
                        let began = Gate::default();
                        let task = spawn({
                            let (drops, began) = (drops.clone(), began.clone());
                            async move {
                                set(&drops);
                                began.open();
                                std::future::pending::<()>().await;
                            }
                        });
                        began.passed().await;
                        task.cancel(None);
                        assert!(task.await.unwrap_err().is_cancelled());
                        assert_eq!(drops.dropped(), 2);
                        // Never polled.
                        let context = Context::new().with(&COUNTED, Arc::new(drops.one()));
                        let task = heist::task::Builder::new()
                            .context(context)
                            .spawn(std::future::pending::<()>());
                        task.cancel(None);
                        task.await.unwrap_err();
                        assert_eq!(drops.dropped(), 3);
                        // By a panic.
                        let task = spawn({
                            let drops = drops.clone();
                            async move {
                                set(&drops);
                                resume_unwind(Box::new(()));
                            }
                        });
                        assert!(task.await.unwrap_err().is_panic());
                        assert_eq!(drops.dropped(), 4);
                        drop(reference);
                    }
                })
                .unwrap();
            // By a shutdown.
            runtime.spawn({
                let drops = drops.clone();
                async move {
                    set(&drops);
                    std::future::pending::<()>().await;
                }
            });
            run_until(&runtime, "it is set", || drops.made() == 5);
            drop(runtime);
            assert_eq!(drops.dropped(), 5);
        });
    });
}

#[test]
fn a_future_s_destructors_are_in_its_context() {
    limited(|| {
        let runtime = threaded(2);
        let (sender, seen) = channel();
        let looks = Looks(sender.clone());
        let began = Gate::default();
        let began_it = began.clone();
        let task = runtime.spawn(async move {
            ID.set(11);
            let _looks = looks;
            began_it.open();
            std::future::pending::<()>().await;
        });
        began.block();
        task.cancel(None);
        assert_eq!(seen.recv().unwrap(), Some(11));
        // Those of its outcome are in none.
        let looks = Looks(sender);
        drop(runtime.spawn(async move {
            ID.set(12);
            looks
        }));
        assert_eq!(seen.recv().unwrap(), None);
    });
}

/// A destructor that uses variables, whatever stage of its task's end it is called in.
struct Restless(usize);

static RESTLESS: ContextVar<Restless> = ContextVar::new("restless");
static RESTLESS_DROPS: AtomicUsize = AtomicUsize::new(0);

impl Drop for Restless {
    fn drop(&mut self) {
        RESTLESS_DROPS.fetch_add(1, SeqCst);
        ID.set(ID.get().unwrap_or(0) + 1);
        if let Some(next) = self.0.checked_sub(1) {
            RESTLESS.set(Restless(next));
        }
        copy_context().run(|| ID.set(1));
    }
}

#[test]
fn destructors_may_set_variables_to_the_last() {
    limited(|| {
        let runtime = threaded(2);
        for _ in 0..100 {
            let before = RESTLESS_DROPS.load(SeqCst);
            let gate = Gate::default();
            let passed = gate.passed();
            let task = runtime.spawn(async {
                passed.await;
                RESTLESS.set(Restless(3));
                Restless(3)
            });
            drop(task);
            gate.open();
            let awaited = runtime.spawn(async { RESTLESS.set(Restless(0)) });
            // A token, which has no value before; it may go anywhere.
            let token: Token<Restless> = runtime.block_on(awaited).unwrap().unwrap();
            assert!(RESTLESS.reset(token).unwrap_err().is_other_context());
            let cancelled = runtime.spawn(async {
                RESTLESS.set(Restless(3));
                std::future::pending::<()>().await;
            });
            cancelled.cancel(None);
            let _ = runtime.block_on(cancelled);
            crate::support::until("all are dropped", || {
                RESTLESS_DROPS.load(SeqCst) >= before + 9
            });
        }
        drop(runtime);
    });
}

struct Panics;

impl Drop for Panics {
    fn drop(&mut self) {
        panic_any("a value's destructor");
    }
}

#[test]
fn a_panic_in_a_value_s_destructor_ends_its_task_alone() {
    static PANICS: ContextVar<Panics> = ContextVar::new("panics");
    limited(|| {
        let runtime = threaded(1);
        for also_the_future in [false, true] {
            let task = runtime.spawn(async move {
                PANICS.set(Panics);
                let _also = also_the_future.then_some(Panics);
                std::future::pending::<()>().await;
            });
            runtime
                .block_on(heist::sleep(Duration::from_millis(1)))
                .unwrap();
            task.cancel(None);
            let error = runtime.block_on(task).unwrap().unwrap_err();
            // Not begun by then on a busy machine, it had nothing to drop.
            assert!(error.is_panic() || error.is_cancelled(), "{error}");
        }
        let task = runtime.spawn(async { drop(PANICS.set(Panics)) });
        let error = runtime.block_on(task).unwrap().unwrap_err();
        assert!(error.is_panic());
        assert_eq!(runtime.run(async { 1 }).unwrap(), 1);
        // In a `run`, it is the caller's.
        let mut context = Context::new().with(&PANICS, Panics);
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            context.run(|| drop(PANICS.set(Panics)));
        }));
        assert!(panicked.is_err());
        // It still has the other value.
        let dropped = catch_unwind(AssertUnwindSafe(|| drop(context)));
        assert!(dropped.is_err());
    });
}

#[test]
fn a_refused_task_drops_its_context() {
    limited(|| {
        let runtime = threaded(1);
        let handle = runtime.handle().clone();
        drop(runtime);
        let drops = Drops::default();
        let context = Context::new().with(&COUNTED, Arc::new(drops.one()));
        let task = heist::task::Builder::new()
            .context(context.clone())
            .spawn_on(&handle, async {});
        let nowhere = heist::task::Builder::new().context(context).spawn(async {});
        assert!(task.is_done() && nowhere.is_done());
        assert_eq!(drops.dropped(), 1);
    });
}

#[test]
fn a_done_callback_is_called_in_a_copy_of_who_asked_for_it() {
    limited(|| {
        let runtime = threaded(2);
        let (sender, receiver) = channel();
        runtime
            .block_on(async {
                ID.set(7);
                let (promise, answer) = heist::task::promise::<()>();
                let task = spawn(async {
                    ID.set(8);
                    answer.await
                });
                let (told, see) = (sender.clone(), || (ID.get(), ID.set(9)).0);
                task.add_done_callback(move || told.send(see()).unwrap());
                ID.set(10);
                let told = sender.clone();
                task.as_ref()
                    .add_done_callback(move || told.send(see()).unwrap());
                promise.set(()).unwrap();
                task.await.unwrap().unwrap();
                assert_eq!(ID.get(), Some(10));
            })
            .unwrap();
        let mut seen: Vec<_> = receiver.iter().take(2).collect();
        seen.sort_unstable();
        assert_eq!(seen, [Some(7), Some(10)]);
        // Without a context there is none to see, whoever ends it.
        let task = runtime.spawn(async { drop(ID.set(8)) });
        task.add_done_callback(move || sender.send(ID.get()).unwrap());
        assert_eq!(receiver.recv().unwrap(), None);
    });
}
