//! Registering, waiting, deregistering.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use heist_io_driver::{Async, Config, Handle, WakeBatch};

use crate::support::{Count, Limit, driver, each, park_on, poll_once, run, turn_until};

fn pair() -> (Async<UnixStream>, Async<UnixStream>) {
    let (a, b) = UnixStream::pair().unwrap();
    (Async::new(a).unwrap(), Async::new(b).unwrap())
}

fn fill(socket: &UnixStream) -> usize {
    let mut socket = socket;
    let mut filled = 0;
    while let Ok(n) = socket.write(&[0; 4096]) {
        filled += n;
    }
    filled
}

#[test]
fn many_may_wait_for_one_source() {
    const READERS: usize = 40;
    each(|config| {
        let mut driver = driver(&config);
        let handle = driver.handle().clone();
        let _entered = handle.enter(0);
        let (a, b) = UnixDatagram::pair().unwrap();
        let a = Async::new(a).unwrap();
        let wakers: Vec<_> = (0..READERS).map(|_| Count::new()).collect();
        fn receive(a: &UnixDatagram) -> io::Result<usize> {
            a.recv(&mut [0; 8])
        }
        let receive: fn(&UnixDatagram) -> io::Result<usize> = receive;
        let never: fn(&UnixDatagram) -> io::Result<usize> = |_| Err(ErrorKind::WouldBlock.into());
        let mut reads: Vec<_> = (0..READERS).map(|_| a.read_with(receive)).collect();
        for (read, (_, waker)) in reads.iter_mut().zip(&wakers) {
            let cx = &mut Context::from_waker(waker);
            assert!(Pin::new(read).poll(cx).is_pending());
        }
        // Some lose interest, others take their places.
        for read in reads.iter_mut().step_by(3) {
            *read = a.read_with(receive);
        }
        let mut done = 0;
        let mut polls = vec![usize::MAX; READERS];
        b.send(&[1; 1]).unwrap();
        turn_until(&mut driver, || {
            for (i, (count, waker)) in wakers.iter().enumerate() {
                if polls[i] == count.get() {
                    continue;
                }
                polls[i] = count.get();
                let cx = &mut Context::from_waker(waker);
                if let Poll::Ready(result) = Pin::new(&mut reads[i]).poll(cx) {
                    assert_eq!(result.unwrap(), 1);
                    done += 1;
                    reads[i] = a.read_with(never);
                    if done < READERS {
                        b.send(&[1; 1]).unwrap();
                    }
                }
            }
            done == READERS
        });
    });
}

#[test]
fn one_direction_does_not_strand_the_other() {
    each(|config| {
        let mut driver = driver(&config);
        let handle = driver.handle().clone();
        let _entered = handle.enter(0);
        let (a, b) = pair();
        let filled = fill(a.get_ref());
        let (reader, read_waker) = Count::new();
        let (writer, write_waker) = Count::new();
        let mut byte = [0];
        let mut read = a.read_with(|mut a| a.read(&mut byte));
        let mut write = a.write_with(|mut a| a.write(b"more"));
        let mut read_cx = Context::from_waker(&read_waker);
        let mut write_cx = Context::from_waker(&write_waker);
        assert!(Pin::new(&mut read).poll(&mut read_cx).is_pending());
        assert!(Pin::new(&mut write).poll(&mut write_cx).is_pending());

        b.get_ref().write_all(b"x").unwrap();
        turn_until(&mut driver, || reader.get() > 0);
        assert!(Pin::new(&mut read).poll(&mut read_cx).is_ready());
        assert!(Pin::new(&mut write).poll(&mut write_cx).is_pending());
        let before = writer.get();

        let mut rest = vec![0; filled];
        b.get_ref().set_nonblocking(false).unwrap();
        b.get_ref().read_exact(&mut rest).unwrap();
        turn_until(&mut driver, || writer.get() > before);
        assert!(Pin::new(&mut write).poll(&mut write_cx).is_ready());
    });
}

#[test]
fn futures_and_poll_style_callers_wait_side_by_side() {
    each(|config| {
        let mut driver = driver(&config);
        let handle = driver.handle().clone();
        let _entered = handle.enter(0);
        let (a, b) = pair();
        let (future, future_waker) = Count::new();
        let (stale, stale_waker) = Count::new();
        let (polled, poll_waker) = Count::new();
        let mut byte = [0];
        let mut read = a.read_with(|mut a| a.read(&mut byte));
        let cx = &mut Context::from_waker(&future_waker);
        assert!(Pin::new(&mut read).poll(cx).is_pending());
        for waker in [&stale_waker, &poll_waker] {
            let cx = &mut Context::from_waker(waker);
            let poll = a.poll_read_with(cx, |mut a| a.read(&mut [0]));
            assert!(poll.is_pending());
        }
        b.get_ref().write_all(b"xy").unwrap();
        turn_until(&mut driver, || future.get() == 1 && polled.get() == 1);
        assert_eq!(stale.get(), 0, "the last to poll has the place");
        let cx = &mut Context::from_waker(&poll_waker);
        assert!(a.poll_read_with(cx, |mut a| a.read(&mut [0])).is_ready());
        assert!(poll_once(&mut read).is_ready());
    });
}

#[test]
fn readiness_is_true_for_those_who_read_by_themselves() {
    each(|config| {
        let mut driver = driver(&config);
        let (mut polls, mut got) = (0, 0);
        let (a, mut b) = UnixStream::pair().unwrap();
        let writer = std::thread::spawn(move || {
            for _ in 0..5 {
                std::thread::sleep(Duration::from_millis(3));
                b.write_all(b"x").unwrap();
            }
        });
        run(&mut driver, async {
            let a = Async::new(a).unwrap();
            a.writable().await.unwrap();
            loop {
                a.readable().await.unwrap();
                match a.get_ref().read(&mut [0; 8]) {
                    Ok(0) => break,
                    Ok(n) => got += n,
                    Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                }
                polls += 1;
                assert!(polls < 1_000, "spins");
            }
        });
        assert_eq!(got, 5);
        writer.join().unwrap();
    });
}

#[test]
fn trying_does_not_wait() {
    each(|config| {
        let mut driver = driver(&config);
        let handle = driver.handle().clone();
        let _entered = handle.enter(0);
        let (a, b) = pair();
        let read = |a: &Async<UnixStream>| a.try_read_with(|mut a| a.read(&mut [0; 8]));
        for _ in 0..3 {
            assert_eq!(read(&a).unwrap_err().kind(), ErrorKind::WouldBlock);
        }
        assert_eq!(b.try_write_with(|mut b| b.write(b"abc")).unwrap(), 3);
        let mut got = None;
        turn_until(&mut driver, || {
            got = read(&a).ok();
            got.is_some()
        });
        assert_eq!(got, Some(3));
    });
}

#[test]
fn interruptions_are_tried_again_and_errors_passed_on() {
    each(|config| {
        let mut driver = driver(&config);
        run(&mut driver, async {
            let (a, _b) = pair();
            let mut left = 3;
            let result = a.write_with(|_| {
                left -= 1;
                match left {
                    0 => Err(io::Error::from(ErrorKind::BrokenPipe)),
                    _ => Err(ErrorKind::Interrupted.into()),
                }
            });
            let error: io::Result<()> = result.await;
            assert_eq!(error.unwrap_err().kind(), ErrorKind::BrokenPipe);
        });
    });
}

#[test]
fn a_source_can_be_taken_back_and_registered_again() {
    each(|config| {
        let mut driver = driver(&config);
        run(&mut driver, async {
            let (a, mut b) = UnixStream::pair().unwrap();
            let mut a = Async::new(a).unwrap();
            for n in 0..50_u8 {
                // The event for this byte is still to come when the source goes.
                b.write_all(&[n]).unwrap();
                a = Async::new_nonblocking(a.into_inner().unwrap()).unwrap();
                let mut byte = [0];
                a.read_with(|mut a| a.read(&mut byte)).await.unwrap();
                assert_eq!(byte[0], n);
            }
            let twice = Async::new(a.get_ref().as_fd()).unwrap_err();
            assert_eq!(twice.kind(), ErrorKind::AlreadyExists);
            drop(twice);
            b.write_all(b"!").unwrap();
            a.readable().await.unwrap();
        });
    });
}

#[test]
fn descriptors_are_closed_and_their_numbers_used_again() {
    each(|config| {
        let mut driver = driver(&config);
        run(&mut driver, async {
            for n in 0..500_u32 {
                let (a, b) = pair();
                // Leave an event behind for whoever gets the number next.
                b.get_ref().write_all(&n.to_ne_bytes()).unwrap();
                if n % 3 == 0 {
                    continue;
                }
                let mut bytes = [0; 4];
                let n_read = a.read_with(|mut a| a.read(&mut bytes)).await.unwrap();
                assert_eq!((n_read, u32::from_ne_bytes(bytes)), (4, n));
                let mut next = a.read_with(|mut a| a.read(&mut [0; 4]));
                assert!(poll_once(&mut next).is_pending());
            }
        });
    });
}

#[test]
fn what_cannot_be_polled_is_refused_and_leaves_nothing_behind() {
    each(|config| {
        let driver = driver(&config);
        let _entered = driver.handle().enter(0);
        let file = std::fs::File::open("/proc/self/exe").unwrap();
        for _ in 0..3 {
            assert!(Async::new(file.try_clone().unwrap()).is_err());
        }
        pair();
    });
}

#[test]
fn a_driver_that_ends_fails_those_who_wait() {
    each(|config| {
        let mut driver = driver(&config);
        let handle = driver.handle().clone();
        let entered = handle.enter(0);
        let (a, b) = pair();
        let (count, waker) = Count::new();
        let mut byte = [0];
        let mut read = a.read_with(|mut a| a.read(&mut byte));
        let cx = &mut Context::from_waker(&waker);
        assert!(Pin::new(&mut read).poll(cx).is_pending());
        let mut batch = WakeBatch::new();
        driver.shutdown(&mut batch);
        batch.wake_all();
        assert_eq!(count.get(), 1);
        let Poll::Ready(Err(error)) = Pin::new(&mut read).poll(cx) else {
            panic!("must fail");
        };
        assert!(error.to_string().contains("shut down"), "{error}");
        drop(read);

        // What need not wait still works.
        park_on(b.write_with(|mut b| b.write(b"x"))).unwrap();
        assert_eq!(park_on(a.read_with(|mut a| a.read(&mut byte))).unwrap(), 1);
        assert!(park_on(a.readable()).is_err());
        let (c, _d) = UnixStream::pair().unwrap();
        assert!(Async::new(c.try_clone().unwrap()).is_err());
        drop(driver);
        drop((a, b));
        drop(entered);
        // Without that driver, the fallback takes it.
        let c = Async::new(c).unwrap();
        park_on(c.writable()).unwrap();
    });
}

#[test]
fn sources_work_where_no_driver_was_entered() {
    let _limit = Limit::new();
    let (a, b) = pair();
    let thread = std::thread::spawn(move || {
        let mut bytes = [0; 5];
        park_on(a.read_with(|mut a| a.read(&mut bytes))).unwrap();
        bytes
    });
    std::thread::sleep(Duration::from_millis(5));
    park_on(b.write_with(|mut b| b.write(b"hello"))).unwrap();
    assert_eq!(&thread.join().unwrap(), b"hello");
}

#[test]
fn a_forgotten_future_harms_nobody() {
    each(|config| {
        let mut driver = driver(&config);
        let handle = driver.handle().clone();
        let _entered = handle.enter(0);
        let (a, b) = pair();
        let (count, waker) = Count::new();
        let mut read = a.read_with(|mut a| a.read(&mut [0; 8]));
        assert!(
            Pin::new(&mut read)
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
        std::mem::forget(read);
        b.get_ref().write_all(b"x").unwrap();
        turn_until(&mut driver, || count.get() == 1);
        drop(waker);
        drop(a);
        assert_eq!(Arc::strong_count(&count), 1);
    });
}

#[test]
fn a_closed_peer_does_not_keep_the_driver_spinning() {
    each(|config| {
        let mut driver = driver(&config);
        let handle = driver.handle().clone();
        let _entered = handle.enter(0);
        let (a, b) = pair();
        let mut read = a.read_with(|mut a| a.read(&mut [0; 8]));
        assert!(poll_once(&mut read).is_pending());
        drop(b);
        let mut batch = WakeBatch::new();
        let (mut turns, start) = (0, Instant::now());
        // Nobody reads, and nothing more happens.
        while start.elapsed() < Duration::from_millis(50) {
            let wait = Some(Duration::from_millis(60));
            driver.turn(wait, false, &mut batch).unwrap();
            batch.wake_all();
            turns += 1;
        }
        assert!(turns < 10, "{turns} turns");
        assert!(matches!(poll_once(&mut read), Poll::Ready(Ok(0))));
    });
}

/// A waker that uses its source in every function it has.
struct Meddler(Arc<Async<UnixStream>>);
impl Meddler {
    fn meddle(&self) {
        let (a, _b) = pair();
        assert!(poll_once(&mut a.read_with(|mut a| a.read(&mut [0]))).is_pending());
        let _ = poll_once(&mut self.0.readable());
    }
}
impl Wake for Meddler {
    fn wake(self: Arc<Self>) {
        self.meddle();
    }
}
impl Drop for Meddler {
    fn drop(&mut self) {
        self.meddle();
    }
}

#[test]
fn wakers_may_use_sources() {
    each(|config| {
        let mut driver = driver(&config);
        let handle = driver.handle().clone();
        let _entered = handle.enter(0);
        let (a, b) = pair();
        let a = Arc::new(a);
        let mut read = a.read_with(|mut a| a.read(&mut [0; 8]));
        for _ in 0..5 {
            let waker = Waker::from(Arc::new(Meddler(Arc::clone(&a))));
            let cx = &mut Context::from_waker(&waker);
            assert!(Pin::new(&mut read).poll(cx).is_pending());
            assert!(
                a.poll_read_with(cx, |mut a| a.read(&mut [0; 8]))
                    .is_pending()
            );
        }
        b.get_ref().write_all(b"x").unwrap();
        turn_until(&mut driver, || poll_once(&mut read).is_ready());
    });
}

#[test]
fn a_source_belongs_to_the_driver_it_was_made_with() {
    let _limit = Limit::new();
    let one = driver(&Config::default());
    let two = driver(&Config {
        shards: 5,
        ..Config::default()
    });
    let _entered = one.handle().enter(0);
    let (a, _b) = UnixStream::pair().unwrap();
    a.set_nonblocking(true).unwrap();
    let a = Async::with_handle(a, two.handle().clone()).unwrap();
    assert_eq!(a.handle().shards(), 5);
    assert_eq!(Handle::current().unwrap().shards(), 1);
}

#[test]
fn descriptors_come_and_go_on_many_threads_and_no_event_reaches_the_next_of_its_number() {
    const ROUNDS: usize = 5_000;
    each(|config| {
        let mut driver = driver(&config);
        let handle = driver.handle().clone();
        let threads: Vec<_> = (0..3)
            .map(|n| {
                let handle = handle.clone();
                std::thread::spawn(move || {
                    let _entered = handle.enter(n);
                    for round in 0..ROUNDS {
                        let (a, b) = pair();
                        let mut next = a.read_with(|mut a| a.read(&mut [0; 4]));
                        assert!(poll_once(&mut next).is_pending(), "nothing was sent yet");
                        // The driver may be looking at the event while the number goes to somebody else.
                        b.get_ref().write_all(&[1; 4]).unwrap();
                        if round % 8 == 0 {
                            assert_eq!(park_on(next).unwrap(), 4);
                        }
                    }
                })
            })
            .collect();
        turn_until(&mut driver, || {
            threads.iter().all(|thread| thread.is_finished())
        });
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

#[test]
fn a_direction_that_is_given_up_does_not_strand_the_other() {
    each(|config| {
        let mut driver = driver(&config);
        let handle = driver.handle().clone();
        let _entered = handle.enter(0);
        for gives_up_reading in [false, true] {
            let (a, b) = pair();
            let filled = fill(a.get_ref());
            let (woken, waker) = Count::new();
            let cx = &mut Context::from_waker(&waker);
            let mut byte = [0];
            let mut read = a.read_with(|mut a| a.read(&mut byte));
            let mut write = a.write_with(|mut a| a.write(b"more"));
            assert!(poll_once(&mut read).is_pending());
            assert!(poll_once(&mut write).is_pending());
            if gives_up_reading {
                // An event for both, of which one has nobody any more.
                assert!(Pin::new(&mut write).poll(cx).is_pending());
                drop(read);
                b.get_ref().write_all(b"x").unwrap();
                let mut rest = vec![0; filled];
                b.get_ref().set_nonblocking(false).unwrap();
                b.get_ref().read_exact(&mut rest).unwrap();
                turn_until(&mut driver, || {
                    woken.get() > 0 && poll_once(&mut write).is_ready()
                });
            } else {
                assert!(Pin::new(&mut read).poll(cx).is_pending());
                drop(write);
                b.get_ref().write_all(b"x").unwrap();
                turn_until(&mut driver, || {
                    woken.get() > 0 && poll_once(&mut read).is_ready()
                });
            }
        }
    });
}

#[test]
fn neither_a_reset_nor_a_half_closed_peer_keeps_the_driver_spinning() {
    each(|config| {
        let mut driver = driver(&config);
        let handle = driver.handle().clone();
        let _entered = handle.enter(0);
        for end in ["a reset", "half closed", "a reset behind bytes"] {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let a = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (mut b, _) = listener.accept().unwrap();
            let a = Async::new(a).unwrap();
            let mut read = a.read_with(|mut a| a.read(&mut [0; 8]));
            assert!(poll_once(&mut read).is_pending());
            match end {
                "half closed" => b.shutdown(std::net::Shutdown::Write).unwrap(),
                _ => {
                    if end == "a reset behind bytes" {
                        b.write_all(b"last").unwrap();
                    }
                    let linger = Some(Duration::ZERO);
                    socket2::SockRef::from(&b).set_linger(linger).unwrap();
                }
            }
            let kept = (end == "half closed").then_some(b);
            let mut batch = WakeBatch::new();
            let (mut turns, start) = (0, Instant::now());
            // Nobody reads, and nothing more happens.
            while start.elapsed() < Duration::from_millis(50) {
                let wait = Some(Duration::from_millis(60));
                driver.turn(wait, false, &mut batch).unwrap();
                batch.wake_all();
                turns += 1;
            }
            assert!(turns < 10, "{end}: {turns} turns");
            let ended = poll_once(&mut read);
            match end {
                "half closed" => assert!(matches!(ended, Poll::Ready(Ok(0)))),
                _ => assert!(matches!(ended, Poll::Ready(Err(_) | Ok(4)))),
            }
            drop(kept);
        }
    });
}
