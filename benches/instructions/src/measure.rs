//! Counting: this program under callgrind.

use std::env;
use std::process::{Command, Stdio};

/// So many operations are not counted: by then every list has grown to its size, and every thread-local was made.
const FEW: u64 = 1_000;
/// Enough for what happens only now and then (a look at the driver every 61 polls, a yield every 128 operations) to even out.
const MANY: u64 = FEW + 10_000;

/// Whether there is a valgrind that starts.
pub(crate) fn is_possible() -> bool {
    Command::new("valgrind")
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// How many instructions one operation of the path `name` takes.
pub(crate) fn per_operation(name: &str) -> Result<f64, String> {
    let (few, many) = (run(name, FEW)?, run(name, MANY)?);
    let difference = many
        .checked_sub(few)
        .ok_or_else(|| format!("{name}: more instructions for {FEW} operations than for {MANY}"))?;
    Ok(difference as f64 / (MANY - FEW) as f64)
}

/// How many instructions a process takes that goes through the path `n` times.
fn run(name: &str, n: u64) -> Result<u64, String> {
    let program = env::current_exe().map_err(|error| format!("where is this program? {error}"))?;
    let mut command = Command::new("valgrind");
    // Only what valgrind itself needs: a variable that sets up the allocator, say, would change the counts.
    command.env_clear();
    for name in ["PATH", "VALGRIND_LIB"] {
        if let Some(value) = env::var_os(name) {
            command.env(name, value);
        }
    }
    let output = command
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args(["run", name, &n.to_string()])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("valgrind does not start: {error}"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("{name}: {}\n{errors}", output.status));
    }
    collected(&errors)
        .ok_or_else(|| format!("{name}: callgrind does not say what it counted:\n{errors}"))
}

/// The number in callgrind's line `==1234== Collected : 56789`.
fn collected(output: &str) -> Option<u64> {
    let (_, rest) = output.split_once("Collected : ")?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::collected;

    #[test]
    fn the_count_is_found_in_what_callgrind_says() {
        let output =
            "==7== Events    : Ir\n==7== Collected : 56789\n==7== \n==7== I   refs:      56,789\n";
        assert_eq!(collected(output), Some(56_789));
        assert_eq!(collected("==7== Collected : nothing"), None);
        assert_eq!(collected(""), None);
    }
}
