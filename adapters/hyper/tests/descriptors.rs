//! A server that is out of descriptors: it waits, and goes on when there are some. A program of its own, because it lowers the limit of the
//! whole process.
#![cfg(unix)]

#[path = "../../../tests/it/limit.rs"]
mod limit;
#[path = "it/support.rs"]
#[allow(dead_code)]
mod support;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fs::File;
use support::{Client, GET, Server, hello, limited};

#[test]
fn a_server_without_descriptors_recovers() {
    limited(|| {
        let server = Server::start(hello());
        // A connection from before the shortage is served all along.
        let mut early = server.connect();
        early.send(GET);
        assert_eq!(early.answer(), "hello");

        let maximum = getrlimit(Resource::Nofile).maximum;
        let limit = Rlimit {
            current: Some(64),
            maximum,
        };
        setrlimit(Resource::Nofile, limit).unwrap();
        let mut files = Vec::new();
        while let Ok(file) = File::open("/dev/null") {
            files.push(file);
        }
        // One for the client; its connection stays in the kernel's queue.
        files.pop();
        let mut late = Client::connect(server.address);
        late.send(GET);
        late.0.set_read_timeout(Some(100 * support::MS)).unwrap();
        let refused = std::io::Read::read(&mut late.0, &mut [0]);
        assert!(refused.is_err(), "{refused:?}");
        early.send(GET);
        assert_eq!(early.answer(), "hello");

        drop(files);
        late.0.set_read_timeout(Some(support::LONG)).unwrap();
        assert_eq!(late.answer(), "hello");
        assert_eq!(server.answers("/"), "hello");
        drop((early, late));
        assert_eq!(server.stop().connections(), 3);
    });
}
