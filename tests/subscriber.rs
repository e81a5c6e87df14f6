//! A subscriber of tracing events that panics, wherever the runtime asks it something: foreign code in the middle of the scheduler. A program of its
//! own, because there is one subscriber for all.

#[path = "it/limit.rs"]
mod limit;

use heist::Builder;
use limit::limited;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};

/// Whether it panics when it is asked whether it is interested, rather than when it is told.
static WHEN_ASKED: AtomicBool = AtomicBool::new(false);
static PANICS: AtomicUsize = AtomicUsize::new(0);

struct Touchy;

impl Touchy {
    fn panic(&self) {
        PANICS.fetch_add(1, SeqCst);
        // Without the hook, which would print each of them.
        std::panic::resume_unwind(Box::new("the subscriber"));
    }
}

impl Subscriber for Touchy {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        if WHEN_ASKED.load(SeqCst) && metadata.target() == "heist" {
            self.panic();
        }
        true
    }

    fn event(&self, event: &Event<'_>) {
        if event.metadata().target() == "heist" {
            self.panic();
        }
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

fn everything_that_is_told_of(builder: Builder) {
    let runtime = builder
        .slow_poll_threshold(Duration::from_millis(5))
        .build()
        .unwrap();
    runtime
        .run(async {
            for _ in 0..20 {
                heist::spawn(async { heist::task::yield_now().await })
                    .await
                    .unwrap();
            }
            let stuck = heist::spawn(std::future::pending::<()>());
            stuck.cancel("enough");
            assert!(stuck.await.unwrap_err().is_cancelled());
            drop(heist::spawn(async {
                std::panic::resume_unwind(Box::new("unheard"))
            }));
            heist::spawn_blocking(|| {}).await.unwrap();
        })
        .unwrap();
    // Slow polls, and workers that are replaced.
    let blocking =
        [(); 4].map(|()| runtime.spawn(async { std::thread::sleep(Duration::from_millis(30)) }));
    for task in blocking {
        runtime.block_on(task).unwrap().unwrap();
    }
    let report = runtime.shutdown(Duration::from_secs(20));
    assert!(report.is_complete(), "{report}");
    drop(runtime.spawn(async {}));
}

#[test]
fn a_subscriber_that_panics_harms_neither_workers_nor_tasks() {
    limited(|| {
        tracing::subscriber::set_global_default(Touchy).unwrap();
        for when_asked in [false, true] {
            WHEN_ASKED.store(when_asked, SeqCst);
            for workers in [1, 2, 4] {
                let before = PANICS.load(SeqCst);
                everything_that_is_told_of(Builder::new().worker_threads(workers));
                assert!(PANICS.load(SeqCst) > before + 20);
            }
            let before = PANICS.load(SeqCst);
            everything_that_is_told_of(Builder::new().current_thread());
            assert!(PANICS.load(SeqCst) > before + 20);
        }
        // On a thread that is in no runtime.
        let began = Instant::now();
        assert!(heist::spawn(async {}).is_done());
        assert!(began.elapsed() < Duration::from_secs(20));
    });
}
