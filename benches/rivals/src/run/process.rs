//! A sample from a process of its own, which is ended if it takes too long.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use crate::meter::Sample;
use crate::workloads::Workload;

/// What a process said.
struct Said {
    sample: Option<Sample>,
    /// The last line of its complaints.
    complaint: Option<String>,
}

pub(super) fn sample(
    mut command: Command,
    workload: &Workload,
    limit: Duration,
) -> Result<Sample, String> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot start a process: {error}"))?;
    let said = listen(&mut child).recv_timeout(limit);
    if said.is_err() {
        // It may have ended by itself.
        let _ = child.kill();
    }
    let status = child
        .wait()
        .map_err(|error| format!("cannot wait for a process: {error}"))?;
    let Said { sample, complaint } =
        said.map_err(|_| format!("the process took more than {limit:?}"))?;
    let sample = sample.ok_or_else(|| match complaint {
        Some(complaint) => format!("{status}: {complaint}"),
        None => format!("{status}, without a word"),
    })?;
    // A sample from a process that then failed to end well says nothing of what it would have cost to.
    if !status.success() {
        return Err(format!("it was there, but then: {status}"));
    }
    let values = &sample.values;
    if values.len() != workload.figures.len() || !values.iter().all(|value| value.is_finite()) {
        return Err(format!("{values:?} are not the workload's figures"));
    }
    Ok(sample)
}

/// Hears the process out, to its end: a runtime has to shut down, too.
fn listen(child: &mut Child) -> Receiver<Said> {
    let output = BufReader::new(child.stdout.take().expect("its output is piped"));
    let errors = child.stderr.take().expect("its errors are piped");
    let (sender, said) = mpsc::channel();
    let complaint = thread::spawn(move || last_line(errors));
    thread::spawn(move || {
        let lines = output.lines().map_while(Result::ok);
        let samples: Vec<_> = lines.filter_map(|line| Sample::from_line(&line)).collect();
        // Nobody listens any more once the time is up.
        let _ = sender.send(Said {
            sample: samples.into_iter().next(),
            complaint: complaint.join().ok().flatten(),
        });
    });
    said
}

/// Reads to the end, so that a process with much to complain of does not wait for a reader.
fn last_line(from: impl Read) -> Option<String> {
    /// A hint in the command line's output that is meant for those who look for a bug, not for the reason.
    const HINT: &str = "note: run with `RUST_BACKTRACE";
    let lines = BufReader::new(from).lines().map_while(Result::ok);
    let is_reason = |line: &String| !line.trim().is_empty() && !line.starts_with(HINT);
    lines.filter(is_reason).last()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload_list;

    /// What a shell that says this comes to, for a workload with one figure.
    fn of_script(script: &str, limit: Duration) -> Result<Sample, String> {
        let workloads = workload_list();
        let workload = workloads
            .iter()
            .find(|workload| workload.figures.len() == 1)
            .unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        sample(command, workload, limit)
    }

    const AMPLE: Duration = Duration::from_secs(60);

    #[test]
    fn a_sample_is_found_among_other_lines() {
        let sample = of_script("echo hello; echo rivals-sample 1.5 2 3 4 5 6 7", AMPLE).unwrap();
        assert_eq!(
            (sample.values, sample.ops, sample.peak_kib),
            (vec![1.5], 2, 7)
        );
    }

    #[test]
    fn who_yields_no_sample_is_heard() {
        let why = of_script("echo one >&2; echo two >&2; exit 3", AMPLE).unwrap_err();
        assert!(why.contains('3') && why.ends_with(": two"), "{why}");
        for script in [
            "true",
            "echo rivals-sample 1,2 2 3 4 5 6 7",
            "echo rivals-sample inf 2 3 4 5 6 7",
        ] {
            assert!(of_script(script, AMPLE).is_err(), "{script}");
        }
        assert!(of_script("echo rivals-sample 1 2 3 4 5 6 7; exit 1", AMPLE).is_err());
    }

    #[test]
    fn who_takes_too_long_is_given_up() {
        let why = of_script("exec sleep 60", Duration::from_millis(50)).unwrap_err();
        assert!(why.contains("50ms"), "{why}");
    }
}
