//! Any executor can drive the driver: here, one that fits on a screen.
//!
//! `cargo run -p heist-io-driver --example any_executor`

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use heist_io_driver::time::{interval, now, sleep};
use heist_io_driver::{Async, Config, Driver, WakeBatch, leaf};

/// How many operations a task may complete before it lets others run.
const BUDGET: u32 = 128;

/// The numbers of the tasks that want to be polled.
type Queue = Mutex<VecDeque<usize>>;

struct Task {
    number: usize,
    queue: Arc<Queue>,
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if !queue.contains(&self.number) {
            queue.push_back(self.number);
        }
    }
}

type Future = Pin<Box<dyn std::future::Future<Output = io::Result<()>>>>;

fn run(futures: Vec<Future>) -> io::Result<()> {
    let mut driver = Driver::new(Config::default())?;
    let handle = driver.handle().clone();
    let _entered = handle.enter(0);

    let queue: Arc<Queue> = Arc::new(Mutex::new((0..futures.len()).collect()));
    let mut tasks: Vec<_> = futures.into_iter().map(Some).collect();
    let mut batch = WakeBatch::new();
    while tasks.iter().any(Option::is_some) {
        let next = queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front();
        let Some(number) = next else {
            // Nobody can run: wait for readiness or the next deadline.
            driver.turn(None, true, &mut batch)?;
            batch.wake_all();
            continue;
        };
        let Some(task) = &mut tasks[number] else {
            continue;
        };
        let waker = Waker::from(Arc::new(Task {
            number,
            queue: Arc::clone(&queue),
        }));
        leaf::begin_poll(BUDGET, false);
        let poll = task.as_mut().poll(&mut Context::from_waker(&waker));
        leaf::end_poll();
        if let Poll::Ready(result) = poll {
            tasks[number] = None;
            result?;
        }
    }
    Ok(())
}

fn main() -> io::Result<()> {
    let (a, b) = UnixStream::pair()?;
    let heard = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&heard);

    let speaker = async move {
        let a = Async::new(a)?;
        let mut pulse = interval(Duration::from_millis(20));
        for word in [&b"tick"[..], b"tock", b"tick"] {
            pulse.tick().await;
            a.write_with(|mut a| a.write(word)).await?;
        }
        Ok(())
    };
    let listener = async move {
        let b = Async::new(b)?;
        let mut bytes = [0; 16];
        loop {
            match b.read_with(|mut b| b.read(&mut bytes)).await? {
                0 => return Ok(()),
                n => {
                    let mut notes = notes.lock().unwrap_or_else(PoisonError::into_inner);
                    notes.extend_from_slice(&bytes[..n]);
                }
            }
        }
    };
    let sleeper = async {
        let start = now();
        sleep(Duration::from_millis(30)).await;
        assert!(now() - start >= Duration::from_millis(30));
        Ok(())
    };
    run(vec![
        Box::pin(speaker),
        Box::pin(listener),
        Box::pin(sleeper),
    ])?;

    let heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
    writeln!(io::stdout(), "{}", String::from_utf8_lossy(&heard))?;
    assert_eq!(*heard, b"ticktocktick");
    Ok(())
}
