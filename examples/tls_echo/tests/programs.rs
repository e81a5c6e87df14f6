//! The two programs, as they are started from a shell, and openssl where there is one.
#![cfg(unix)]

#[path = "../../../tests/it/limit.rs"]
mod limit;

use limit::limited;
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(20);

/// The server; killed, if it is still there when its test ends.
struct Server {
    child: Child,
    said: BufReader<ChildStdout>,
    address: String,
    certificate: String,
}

impl Server {
    fn start() -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tls_echo"))
            .arg("127.0.0.1:0")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let mut lines = [(); 3].map(|()| String::new());
        for line in &mut lines {
            said.read_line(line).unwrap();
        }
        // The second line is how to start the client.
        let words: Vec<_> = lines[1].split_whitespace().collect();
        let [.., address, certificate] = words.as_slice() else {
            panic!("{lines:?}")
        };
        Self {
            address: (*address).to_owned(),
            certificate: (*certificate).to_owned(),
            child,
            said,
        }
    }

    fn client(&self, name: &str, input: &[u8]) -> Output {
        let words = [&self.address, &self.certificate, name];
        run(
            Command::new(env!("CARGO_BIN_EXE_client")).args(words),
            input,
        )
    }

    /// Sends a signal; gives what was printed last, and how it ended.
    fn end(&mut self, signal: Signal) -> (String, ExitStatus, Duration) {
        let began = Instant::now();
        let id = Pid::from_child(&self.child);
        kill_process(id, signal).unwrap();
        let mut said = String::new();
        self.said.read_to_string(&mut said).unwrap();
        (said, self.child.wait().unwrap(), began.elapsed())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It is gone, if all went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run(command: &mut Command, input: &[u8]) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // A program that has ended does not want it.
            let _ = stdin.write_all(input);
        });
        child.wait_with_output().unwrap()
    })
}

#[test]
fn they_talk_and_a_signal_ends_the_server() {
    for signal in [Signal::TERM, Signal::INT] {
        limited(move || {
            let mut server = Server::start();
            let text: Vec<u8> = (0..10_u64 << 20).map(|n| (n * n / 7 % 251) as u8).collect();
            let output = server.client("localhost", &text);
            assert!(output.status.success(), "{output:?}");
            assert!(output.stdout == text, "{} bytes", output.stdout.len());

            let output = server.client("elsewhere.example", b"never sent");
            assert_eq!(output.status.code(), Some(1));
            let told = String::from_utf8(output.stderr).unwrap();
            assert!(told.contains("elsewhere.example"), "{told}");
            assert!(output.stdout.is_empty());

            // A connection that is open holds nobody up.
            let _open = std::net::TcpStream::connect(&server.address).unwrap();
            let (said, status, took) = server.end(signal);
            assert!(status.success(), "{status}: {said}");
            assert!(took < LONG / 2, "{took:?}");
            assert!(
                said.contains("echoed 10485760 bytes on 1 connections; 1 more had no handshake"),
                "{said}"
            );
            assert!(!Path::new(&server.certificate).exists());
        });
    }
}

#[test]
fn openssl_is_served() {
    limited(|| {
        let mut server = Server::start();
        let mut command = Command::new("openssl");
        command.args(["s_client", "-connect", &server.address]);
        command.args(["-servername", "localhost", "-CAfile", &server.certificate]);
        command.args(["-verify_return_error", "-quiet", "-no_ign_eof"]);
        if Command::new("openssl").arg("version").output().is_err() {
            eprintln!("skipped: no openssl");
            return;
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(b"hello from openssl\n").unwrap();
        let mut echo = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut echo).unwrap();
        assert_eq!(echo, "hello from openssl\n");
        drop(stdin);
        assert!(child.wait().unwrap().success());
        // It is told how openssl closes before the signal comes.
        let mut closed = String::new();
        server.said.read_line(&mut closed).unwrap();
        assert!(closed.ends_with(": closed after 19 bytes\n"), "{closed}");
        let (said, status, _) = server.end(Signal::TERM);
        assert!(status.success(), "{said}");
    });
}
