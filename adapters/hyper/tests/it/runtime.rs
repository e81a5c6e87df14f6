//! What hyper is given: an executor and a timer. And what there is not: tokio's runtime.

use crate::support::{Gauge, LONG, MS, Server, limited, until};
use axum::Router;
use axum::routing::get;
use heist::Runtime;
use heist_hyper::{HeistExecutor, HeistSleep, HeistTimer};
use hyper::rt::{Executor, Sleep, Timer};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

#[test]
fn what_is_executed_outlives_the_executor_and_the_task_that_asked() {
    limited(|| {
        let runtime = Runtime::new().unwrap();
        let gauge = Arc::new(Gauge::default());
        let (go, gone) = heist::promise::<()>();
        let done = Arc::new(AtomicBool::new(false));
        let (inside, is_done) = (gauge.clone(), done.clone());
        let asker = runtime.spawn(async move {
            HeistExecutor::new().execute(async move {
                let _inside = inside.enter();
                let _ = gone.await;
                is_done.store(true, Ordering::SeqCst);
            });
            std::future::pending::<()>().await;
        });
        until("it runs", || gauge.now() == 1);
        asker.cancel(None);
        assert!(runtime.block_on(asker).unwrap().unwrap_err().is_cancelled());
        assert_eq!(gauge.now(), 1);
        let _ = go.set(());
        until("it has ended by itself", || done.load(Ordering::SeqCst));
    });
}

#[test]
fn without_a_runtime_the_future_is_dropped_and_nothing_panics() {
    struct Dropped(Arc<AtomicBool>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let (dropped, polled) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicBool::new(false)),
    );
    let (value, is_polled) = (Dropped(dropped.clone()), polled.clone());
    HeistExecutor::new().execute(async move {
        is_polled.store(true, Ordering::SeqCst);
        drop(value);
    });
    assert!(dropped.load(Ordering::SeqCst) && !polled.load(Ordering::SeqCst));
}

#[test]
fn a_sleep_that_is_reset_ends_at_its_new_deadline() {
    limited(|| {
        heist::run(async {
            let mut sleep = HeistTimer.sleep(Duration::from_secs(3600));
            let at = HeistTimer.now() + 20 * MS;
            HeistTimer.reset(&mut sleep, at);
            sleep.await;
            assert!(HeistTimer.now() >= at);
        })
        .unwrap();
    });
}

#[test]
fn a_sleep_of_another_timer_is_replaced() {
    struct Foreign;
    impl Future for Foreign {
        type Output = ();
        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
            Poll::Pending
        }
    }
    impl Sleep for Foreign {}
    let mut sleep: Pin<Box<dyn Sleep>> = Box::pin(Foreign);
    let at = HeistTimer.now() + LONG;
    HeistTimer.reset(&mut sleep, at);
    let sleep = sleep.as_mut().downcast_mut_pin::<HeistSleep>().unwrap();
    assert_eq!(sleep.deadline(), Some(at));
}

#[test]
fn there_is_no_tokio_runtime_round_a_handler() {
    limited(|| {
        let app = Router::new().route(
            "/",
            get(|| async {
                let tokio = tokio::runtime::Handle::try_current();
                format!(
                    "tokio: {}, task: {}",
                    tokio.is_ok(),
                    heist::current_task().is_some()
                )
            }),
        );
        let server = Server::start(app);
        assert_eq!(server.answers("/"), "tokio: false, task: true");
        server.stop();
    });
}
