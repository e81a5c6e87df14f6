//! What the workloads that serve TCP share: a listener, and a client in a process of its own ([`crate::load`]),
//! whose cost is not the server's.

use std::future::Future;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;

use futures_channel::oneshot;

use super::Plan;
use crate::limits;
use crate::load::{self, Counted, Kind, MESSAGE, Order};
use crate::meter::{Meter, Sample};
use crate::rt::Rt;

/// Descriptors that a process needs beside its connections, amply.
const SPARE_DESCRIPTORS: u64 = 200;

/// Serves every connection in a task of its own, until a thread of its own has measured.
pub(super) fn serve<R, Fut>(
    plan: Plan,
    handler: impl Fn(R::Stream) -> Fut + Send + 'static,
    measure: impl FnOnce(SocketAddr) -> Sample + Send + 'static,
) -> Sample
where
    R: Rt,
    Fut: Future<Output = ()> + Send + 'static,
{
    R::run(plan.workers, async move {
        let listener = R::bind((Ipv4Addr::LOCALHOST, 0).into())
            .await
            .expect("cannot listen");
        let address = R::local_addr(&listener).expect("the listener has no address");
        let (sender, sample) = oneshot::channel();
        thread::spawn(move || sender.send(measure(address)));
        R::detach(async move {
            // Without a listener the client fails, and the sample with it.
            while let Ok(stream) = R::accept(&listener).await {
                R::detach(handler(stream));
            }
        });
        sample.await.expect("the load generator failed")
    })
}

/// Sends back what comes, until the client closes or resets the connection.
pub(super) async fn echo<R: Rt>(mut stream: R::Stream) {
    let mut buffer = [0; MESSAGE];
    while let Ok(read @ 1..) = R::read(&mut stream, &mut buffer).await {
        if R::write_all(&mut stream, &buffer[..read]).await.is_err() {
            break;
        }
    }
}

/// What a client does: its kind, its connections, and on how many of them a request is under way at a time.
#[derive(Clone, Copy)]
pub(super) struct Client {
    pub(super) kind: Kind,
    pub(super) connections: usize,
    pub(super) active: usize,
}

impl Client {
    /// Requests on all connections at a time.
    pub(super) fn all_active(kind: Kind, connections: usize) -> Self {
        Self {
            kind,
            connections,
            active: connections,
        }
    }

    pub(super) fn start(self, plan: Plan, address: SocketAddr) -> Running {
        let order = Order {
            kind: self.kind,
            address,
            connections: self.connections,
            active: self.active,
            warm_up: plan.warm_up,
            time: plan.time,
        };
        let own_path = std::env::current_exe().expect("this program has no path");
        let mut child = Command::new(own_path)
            .args(order.arguments())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("cannot start the load generator");
        Running {
            input: child.stdin.take().expect("its input is piped"),
            output: BufReader::new(child.stdout.take().expect("its output is piped")),
            child,
        }
    }

    /// Meters this process while the client counts.
    pub(super) fn measure(self, plan: Plan, address: SocketAddr) -> (Meter, Counted) {
        let mut client = self.start(plan, address);
        let mut meter = Meter::new();
        client.wait_until_ready();
        meter.start();
        let counted = Counted::from_line(&client.line()).expect("the load generator gave up");
        meter.stop(counted.requests);
        client.end();
        (meter, counted)
    }

    /// Its figures are the rate and two percentiles of the latency.
    pub(super) fn sample(self, plan: Plan, address: SocketAddr) -> Sample {
        let (meter, counted) = self.measure(plan, address);
        meter.sample(vec![counted.per_second(), counted.us_p50, counted.us_p99])
    }
}

/// The client's process.
pub(super) struct Running {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Running {
    /// All connections are made, and what was to be done to warm up has been.
    pub(super) fn wait_until_ready(&mut self) {
        assert_eq!(self.line(), load::COUNTING);
    }

    /// Ends its input and waits for it.
    pub(super) fn end(self) {
        let Self {
            mut child, input, ..
        } = self;
        drop(input);
        child.wait().expect("cannot wait for the load generator");
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output
            .read_line(&mut line)
            .expect("cannot read what the load generator says");
        line.trim_end().to_owned()
    }
}

/// What stands in the way of so many connections. Raises the limit of open files, here and for the client.
pub(super) fn too_few_descriptors<const CONNECTIONS: usize>() -> Option<String> {
    let wanted = CONNECTIONS as u64 + SPARE_DESCRIPTORS;
    let open = limits::raise_open_files();
    (open < wanted).then(|| format!("it needs {wanted} open files, `ulimit -n` allows {open}"))
}
