//! Drivers come and go without leaving descriptors behind. A program of its own, so that nothing
//! else opens any.
#![cfg(target_os = "linux")]

use std::os::unix::net::UnixStream;
use std::time::Duration;

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
    driver
        .turn(Some(Duration::ZERO), false, &mut WakeBatch::new())
        .unwrap();
    drop(driver);
    drop(b);
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
