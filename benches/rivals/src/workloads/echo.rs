//! How many requests does a TCP echo server answer, and how long do they wait?
//!
//! The requests come from a process of their own ([`crate::load`]), whose cost is not the server's.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{ChildStdout, Command, Stdio};
use std::thread;

use futures_channel::oneshot;

use super::Plan;
use crate::load::{self, MESSAGE};
use crate::meter::{Meter, Sample};
use crate::rt::Rt;

pub(super) fn of_64<R: Rt>(plan: Plan) -> Sample {
    echo::<R>(plan, 64)
}

pub(super) fn of_1000<R: Rt>(plan: Plan) -> Sample {
    echo::<R>(plan, 1_000)
}

fn echo<R: Rt>(plan: Plan, connections: usize) -> Sample {
    R::run(plan.workers, async move {
        let listener = R::bind((Ipv4Addr::LOCALHOST, 0).into())
            .await
            .expect("cannot listen");
        let address = R::local_addr(&listener).expect("the listener has no address");
        let (sender, sample) = oneshot::channel();
        thread::spawn(move || sender.send(measure(plan, address, connections)));
        for _ in 0..connections {
            let stream = R::accept(&listener).await.expect("cannot accept");
            R::detach(serve::<R>(stream));
        }
        sample.await.expect("the load generator failed")
    })
}

async fn serve<R: Rt>(mut stream: R::Stream) {
    let mut buffer = [0; MESSAGE];
    // The load generator ends by closing or resetting its connections; either is the end.
    while let Ok(read @ 1..) = R::read(&mut stream, &mut buffer).await {
        if R::write_all(&mut stream, &buffer[..read]).await.is_err() {
            break;
        }
    }
}

/// Runs the load generator and meters this process while it says that it counts.
fn measure(plan: Plan, address: SocketAddr, connections: usize) -> Sample {
    let own_path = std::env::current_exe().expect("this program has no path");
    let mut child = Command::new(own_path)
        .args(load::arguments(
            address,
            connections,
            plan.warm_up,
            plan.time,
        ))
        .stdout(Stdio::piped())
        .spawn()
        .expect("cannot start the load generator");
    let mut output = BufReader::new(child.stdout.take().expect("its output is piped"));
    let mut meter = Meter::new();
    assert_eq!(line(&mut output), load::COUNTING);
    meter.start();
    let counted = line(&mut output);
    let load = load::Counted::from_line(&counted).expect("the load generator gave up");
    meter.stop(load.requests);
    child.wait().expect("cannot wait for the load generator");
    meter.sample(vec![load.per_second(), load.us_p50, load.us_p99])
}

fn line(output: &mut BufReader<ChildStdout>) -> String {
    let mut line = String::new();
    output
        .read_line(&mut line)
        .expect("cannot read what the load generator says");
    line.trim_end().to_owned()
}
