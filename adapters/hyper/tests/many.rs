//! Ten thousand clients at a time, or as many as this machine allows a process to have descriptors for. The clients are a process of their own: the test
//! starts this program again. A program of its own, because it lowers the limit of the whole process, and weighs it.
#![cfg(target_os = "linux")]
#![allow(clippy::print_stdout)]

#[path = "../../../tests/it/limit.rs"]
mod limit;
#[path = "it/support.rs"]
#[allow(dead_code)]
mod support;

use heist::net::TcpStream;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};
use std::io::{self, BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use support::{Client, GET, LONG, MS, Server, hello, limited, until};

/// How many there are to be, if the limit allows.
const MANY: usize = 10_000;

/// What either process needs besides.
const OTHERS: usize = 200;

/// Tells the child whom to connect to, how often, and whether to say something: `ADDRESS COUNT ask|silent`.
const CHILD: &str = "HEIST_CHILD";

/// Many times what an answer takes.
const SOON: Duration = Duration::from_secs(5);

/// One test at a time: limits and memory are the whole process's.
static ALONE: Mutex<()> = Mutex::new(());

/// Raises the limit as far as a process may by itself, and says how many connections that is.
fn many() -> usize {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, raised).unwrap();
    let allowed = maximum.map_or(usize::MAX, |most| usize::try_from(most).unwrap());
    let many = MANY.min(allowed - OTHERS);
    if many < MANY {
        eprintln!("{many} connections, not {MANY}: {allowed} descriptors are allowed");
    }
    many
}

/// The clients' process; it ends with its standard input.
struct Clients {
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Clients {
    fn start(test: &str, address: SocketAddr, count: usize, manner: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([test, "--exact", "--nocapture", "--test-threads=1"])
            .env(CHILD, format!("{address} {count} {manner}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        Self { child, said }
    }

    /// Waits until all have come, and gives how many were let in.
    #[track_caller]
    fn open(&mut self) -> usize {
        let lines = self.said.by_ref().lines().map(Result::unwrap);
        // Before it, on the same line, stands what the tests' harness has to say.
        let open = lines.filter_map(|line| line.split_once("open: ")?.1.parse().ok());
        { open }.next().expect("the clients have ended")
    }

    #[track_caller]
    fn end(mut self) {
        drop(self.child.stdin.take());
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}");
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        // They are gone, if all went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether this is the clients' process; is one to its end.
fn are_clients() -> bool {
    let Ok(told) = std::env::var(CHILD) else {
        return false;
    };
    limited(move || clients(&told));
    true
}

/// Says `open: N` when there are N connections, whose requests have been answered if they were to ask.
fn clients(told: &str) {
    let told: Vec<_> = told.split(' ').collect();
    let [address, count, manner] = told.as_slice() else {
        panic!("{told:?}")
    };
    let address: SocketAddr = address.parse().unwrap();
    let (count, asks): (usize, _) = (count.parse().unwrap(), *manner == "ask");
    assert!(many() >= count);
    let runtime = heist::Runtime::new().unwrap();
    let clients: Vec<_> = (0..count)
        .map(|_| runtime.spawn(client(address, asks)))
        .collect();
    let mut open = Vec::new();
    for client in clients {
        open.extend(runtime.block_on(client).unwrap().unwrap().ok());
    }
    println!("open: {}", open.len());
    // The test ends it.
    io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

/// A connection, and the answer on it, if one is asked for.
async fn client(address: SocketAddr, asks: bool) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    if asks {
        stream.write_all(GET).await?;
        let (mut answer, mut part) = (Vec::new(), [0; 512]);
        while !answer.ends_with(b"hello") {
            match stream.read(&mut part).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => answer.extend_from_slice(&part[..read]),
            }
        }
    }
    Ok(stream)
}

/// The memory that this process has, in bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * rustix::param::page_size()
}

/// How many descriptors this process has.
fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap()
}

#[track_caller]
fn is_answered_soon(client: &mut Client) {
    let began = Instant::now();
    is_answered(client);
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
}

/// Within the time that a client of ours waits.
#[track_caller]
fn is_answered(client: &mut Client) {
    client.send(GET);
    assert_eq!(client.answer(), "hello");
}

#[test]
fn all_are_served_and_cost_little_memory() {
    const TEST: &str = "all_are_served_and_cost_little_memory";
    if are_clients() {
        return;
    }
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    limited(|| {
        let count = many();
        let server = Server::start(hello());
        assert_eq!(server.answers("/"), "hello");
        let before = resident();
        let mut clients = Clients::start(TEST, server.address, count, "ask");
        assert_eq!(clients.open(), count);
        let each = resident().saturating_sub(before) / count;
        eprintln!("{count} connections, {each} bytes each");
        assert!(each < 32 << 10, "{each} bytes each");
        is_answered_soon(&mut server.connect());

        // They are idle, and closed at once.
        let began = Instant::now();
        let report = server.stop();
        assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
        assert_eq!(report.connections(), count as u64 + 2);
        assert_eq!(report.connections_cut_off(), 0);
        clients.end();
    });
}

#[test]
fn those_who_say_nothing_keep_nobody_out_for_long() {
    const TEST: &str = "those_who_say_nothing_keep_nobody_out_for_long";
    const PATIENCE: Duration = Duration::from_millis(200);
    if are_clients() {
        return;
    }
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    limited(|| {
        let count = many();
        let most = count / 10;
        let server = Server::configured(hello(), LONG, |serve| {
            serve.max_connections(most).header_read_timeout(PATIENCE)
        });
        let mut clients = Clients::start(TEST, server.address, count, "silent");
        until("there are as many as may be", || descriptors() >= most);
        // While they come, and go: somebody who has something to ask is one of them, and waits for his turn.
        for _ in 0..10 {
            is_answered(&mut server.connect());
            assert!(descriptors() < most + OTHERS, "{}", descriptors());
        }
        clients.open();
        assert!(descriptors() < most + OTHERS, "{}", descriptors());
        clients.end();
        server.stop();
    });
}

#[test]
fn more_than_there_are_descriptors_for_wait_and_cost_nobody_else() {
    const TEST: &str = "more_than_there_are_descriptors_for_wait_and_cost_nobody_else";
    if are_clients() {
        return;
    }
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    limited(|| {
        let count = many();
        let server = Server::start(hello());
        let mut early = server.connect();
        is_answered_soon(&mut early);
        let clients = Clients::start(TEST, server.address, count, "silent");

        let before = getrlimit(Resource::Nofile);
        let lowered = Rlimit {
            current: Some((count / 10 + OTHERS) as u64),
            maximum: before.maximum,
        };
        setrlimit(Resource::Nofile, lowered).unwrap();
        until("descriptors have run out", || {
            std::fs::File::open("/dev/null").is_err()
        });
        let (cpu, began) = (cpu_time(), Instant::now());
        while began.elapsed() < Duration::from_secs(1) {
            is_answered_soon(&mut early);
            std::thread::sleep(20 * MS);
        }
        let spent = cpu_time() - cpu;
        assert!(spent < began.elapsed() / 4, "{spent:?} of processor time");

        drop(clients);
        setrlimit(Resource::Nofile, before).unwrap();
        is_answered_soon(&mut server.connect());
        is_answered_soon(&mut early);
        server.stop();
    });
}
