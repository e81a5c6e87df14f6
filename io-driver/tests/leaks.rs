//! Drivers come and go without leaving descriptors behind. A program of its own, so that nothing
//! else opens any.
#![cfg(target_os = "linux")]

use std::os::unix::net::UnixStream;
use std::time::Duration;

use heist_io_driver::net::{UdpSocket, UnixDatagram, UnixListener, UnixStream as Stream};
use heist_io_driver::pipe::{Receiver, Sender, pipe};
use heist_io_driver::{Async, Config, Driver, WakeBatch};

fn open() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn come_and_go(portable: bool) {
    let mut driver = Driver::new(Config {
        portable,
        ..Config::default()
    })
    .unwrap();
    let handle = driver.handle().clone();
    let _entered = handle.enter(0);
    let (a, b) = UnixStream::pair().unwrap();
    let (a, b) = (Async::new(a).unwrap(), Async::new(b).unwrap());
    let _back = a.into_inner().unwrap();
    let kinds = every_kind();
    driver
        .turn(Some(Duration::ZERO), false, &mut WakeBatch::new())
        .unwrap();
    drop(driver);
    drop((b, kinds));
}

/// One of each, some taken apart, and what could not be made.
fn every_kind() -> impl Sized {
    let udp = UdpSocket::from_std(std::net::UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
    let name = std::env::temp_dir().join(format!("heist-leaks-{}", std::process::id()));
    let listener = UnixListener::bind(&name).unwrap();
    UnixListener::bind(&name).unwrap_err();
    std::fs::remove_file(&name).unwrap();
    let (a, b) = Stream::pair().unwrap();
    let (reader, writer) = a.into_split();
    drop(reader);
    let b = b.into_std().unwrap();
    let datagrams = UnixDatagram::pair().unwrap();
    let (sender, receiver) = pipe().unwrap();
    // The wrong end: an error, and it is closed.
    Sender::from_owned_fd(receiver.into_blocking_fd().unwrap()).unwrap_err();
    Receiver::from_owned_fd(b.into()).unwrap_err();
    (udp, listener, writer, datagrams, sender)
}

#[test]
fn drivers_and_sources_leave_no_descriptors_behind() {
    come_and_go(false);
    let before = open();
    for n in 0..200 {
        come_and_go(n % 2 == 0);
    }
    assert_eq!(open(), before);
}
