//! `wrk` as the client of an HTTP server, where it is installed.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::process::Command;

use super::{Plan, Sample};
use crate::meter::Meter;

pub(super) fn missing() -> Option<String> {
    match Command::new("wrk").arg("--version").output() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Some("wrk is not installed".to_owned())
        }
        Err(error) => Some(format!("wrk does not start: {error}")),
        Ok(_) => None,
    }
}

/// Meters this process while `wrk` runs, which it does for whole seconds.
pub(super) fn sample(plan: Plan, address: SocketAddr, connections: usize) -> Sample {
    let run = |seconds: u64| {
        let output = Command::new("wrk")
            .args(["-t1", &format!("-c{connections}"), &format!("-d{seconds}s")])
            .args(["--latency", &format!("http://{address}/plaintext")])
            .output()
            .expect("cannot run wrk");
        assert!(output.status.success(), "wrk failed");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let whole = |seconds: f64| seconds.ceil() as u64;
    if !plan.warm_up.is_zero() {
        run(whole(plan.warm_up.as_secs_f64()));
    }
    let mut meter = Meter::new();
    meter.start();
    let output = run(whole(plan.time.as_secs_f64()));
    let Report {
        requests,
        per_second,
        us_p50,
        us_p99,
    } = Report::parse(&output).unwrap_or_else(|| panic!("wrk says something else: {output}"));
    meter.stop(requests);
    meter.sample(vec![per_second, us_p50, us_p99])
}

#[derive(Debug, PartialEq)]
struct Report {
    requests: u64,
    per_second: f64,
    us_p50: f64,
    us_p99: f64,
}

impl Report {
    /// `None` also where `wrk` tells of errors.
    fn parse(output: &str) -> Option<Self> {
        let after = |start: &str| {
            let mut lines = output.lines().map(str::trim);
            lines
                .find_map(|line| line.strip_prefix(start))
                .map(str::trim)
        };
        if after("Socket errors:").is_some() || after("Non-2xx").is_some() {
            return None;
        }
        let requests = output
            .lines()
            .find_map(|line| line.trim().split_once(" requests in "))?;
        Some(Self {
            requests: requests.0.parse().ok()?,
            per_second: after("Requests/sec:")?.parse().ok()?,
            us_p50: microseconds(after("50%")?)?,
            us_p99: microseconds(after("99%")?)?,
        })
    }
}

fn microseconds(time: &str) -> Option<f64> {
    // The longer endings first: "s" ends all of them.
    [("us", 1.0), ("ms", 1e3), ("s", 1e6), ("m", 60e6)]
        .into_iter()
        .find_map(|(unit, factor)| Some((time.strip_suffix(unit)?, factor)))
        .and_then(|(number, factor)| Some(number.parse::<f64>().ok()? * factor))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "\
Running 1s test @ http://127.0.0.1:8080/plaintext
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   363.63us  184.07us   4.61ms   75.32%
    Req/Sec   171.35k     5.67k  179.33k    63.64%
  Latency Distribution
     50%  338.00us
     75%  461.00us
     90%  589.00us
     99%    1.02ms
  187382 requests in 1.10s, 13.22MB read
Requests/sec: 170413.63
Transfer/sec:     12.03MB
";

    #[test]
    fn what_wrk_says_is_understood() {
        let report = Report {
            requests: 187_382,
            per_second: 170_413.63,
            us_p50: 338.0,
            us_p99: 1_020.0,
        };
        assert_eq!(Report::parse(OUTPUT), Some(report));
    }

    #[test]
    fn a_run_with_errors_is_no_sample() {
        let errors = "  Socket errors: connect 0, read 3, write 0, timeout 0\n";
        assert_eq!(Report::parse(&format!("{OUTPUT}{errors}")), None);
        assert_eq!(Report::parse(""), None);
    }
}
