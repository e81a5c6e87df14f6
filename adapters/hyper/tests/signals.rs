//! An example as its users start and end it: a process of its own that hears signals. A program of its own, since cargo builds examples before the tests
//! of a package, and none for a test that is asked for by name: `cargo build -p heist-hyper --example axum_server` does.
#![cfg(unix)]

#[path = "../../../tests/it/limit.rs"]
mod limit;
#[path = "it/support.rs"]
#[allow(dead_code)]
mod support;

use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use support::{Client, LONG, limited, until};

/// How long the example lets requests under way take.
const GRACE: Duration = Duration::from_secs(5);

/// The example; killed, if it is still there when its test ends.
struct Example {
    child: Child,
    said: BufReader<ChildStdout>,
    address: SocketAddr,
}

impl Example {
    fn start() -> Self {
        // Beside the directory of this test's program.
        let program = std::env::current_exe().unwrap();
        let built = program.ancestors().nth(2).unwrap();
        let mut child = Command::new(built.join("examples/axum_server"))
            .arg("127.0.0.1:0")
            .stdout(Stdio::piped())
            .spawn()
            .expect("`cargo build -p heist-hyper --example axum_server` comes first");
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        let address = line.strip_prefix("serving http://").unwrap();
        let address = address.split('/').next().unwrap().parse().unwrap();
        Self {
            child,
            said,
            address,
        }
    }

    /// Clients whose requests are in their handlers, each for most of a second.
    fn busy(&self, clients: usize) -> Vec<Client> {
        let mut clients: Vec<_> = (0..clients)
            .map(|_| Client::connect(self.address))
            .collect();
        for client in &mut clients {
            // Together: with the first answer, the server goes on to the second request.
            client.send(
                b"GET /visits/ada HTTP/1.1\r\nHost: here\r\n\r\nGET /nap/900 HTTP/1.1\r\nHost: here\r\n\r\n",
            );
        }
        for client in &mut clients {
            assert!(client.answer().starts_with("ada, from 127.0.0.1,"));
        }
        clients
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Nobody gets in any more.
    #[track_caller]
    fn refuses(&self) {
        until("connections are refused", || {
            let refused = TcpStream::connect(self.address).map(drop);
            refused.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
        });
    }

    /// How it ended, and what it said at last.
    fn ended(mut self) -> (ExitStatus, String) {
        let mut said = String::new();
        self.said.read_to_string(&mut said).unwrap();
        (self.child.wait().unwrap(), said)
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        // It is gone, if all went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_signal_ends_the_server_when_requests_under_way_are_answered() {
    const CLIENTS: usize = 50;
    for signal in [Signal::INT, Signal::TERM] {
        limited(move || {
            let server = Example::start();
            let clients = server.busy(CLIENTS);
            let mut idle = Client::connect(server.address);
            idle.ask("/visits/ada");
            assert!(idle.answer().ends_with("here for the 51. time\n"));

            let began = Instant::now();
            server.signal(signal);
            server.refuses();
            assert_eq!(idle.rest(), b"");
            for mut client in clients {
                let (head, body) = client.whole_answer();
                assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
                assert_eq!(body, "Good morning.\n");
                assert_eq!(client.rest(), b"");
            }
            let (status, said) = server.ended();
            assert!(began.elapsed() < GRACE, "{:?}", began.elapsed());
            assert_eq!(status.code(), Some(0), "{status}: {said}");
            // Of connections there may be a few more: who tries whether it refuses them may be let in.
            assert!(said.starts_with("answered 101 requests on 5"), "{said}");
            let drained = "connections, 50 of them after the end had come; 0 were cut off\n";
            assert!(said.ends_with(drained), "{said}");
        });
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    limited(|| {
        let server = Example::start();
        let mut clients = server.busy(1);
        server.signal(Signal::INT);
        // So it has heard the first.
        server.refuses();
        server.signal(Signal::INT);
        let (status, said) = server.ended();
        assert_eq!(status.signal(), Some(Signal::INT.as_raw()), "{said}");
        assert_eq!(clients[0].rest(), b"");
    });
}

#[test]
fn an_address_that_is_taken_is_an_error_that_says_so() {
    limited(|| {
        let server = Example::start();
        let program = std::env::current_exe().unwrap();
        let second = Command::new(
            program
                .ancestors()
                .nth(2)
                .unwrap()
                .join("examples/axum_server"),
        )
        .arg(server.address.to_string())
        .output()
        .unwrap();
        assert_eq!(second.status.code(), Some(1));
        let told = String::from_utf8(second.stderr).unwrap();
        assert!(told.contains("AddrInUse"), "{told}");
        server.signal(Signal::TERM);
        let began = Instant::now();
        assert!(server.ended().0.success());
        assert!(began.elapsed() < LONG);
    });
}
