//! Child processes: what they write, what they read, and an end in bounded time.
//!
//! ```sh
//! cargo run --release --example process_pipes
//! ```
//!
//! In Python:
//!
//! ```python
//! process = await asyncio.create_subprocess_exec("sort", stdin=PIPE, stdout=PIPE)
//! out, _ = await process.communicate(b"pear\napple\n")
//!
//! process = await asyncio.create_subprocess_shell("while read line; do echo got $line; done", stdin=PIPE, stdout=PIPE)
//! process.stdin.write(b"one\n")
//! print(await process.stdout.readline())
//!
//! try:
//!     await asyncio.wait_for(process.wait(), 0.1)
//! except TimeoutError:
//!     process.terminate()
//! ```
#![cfg_attr(not(unix), allow(unused))]
#![allow(clippy::print_stdout)]

#[cfg(unix)]
#[heist::main]
async fn main() -> std::io::Result<()> {
    use heist::process::{Command, Stdio};
    use heist::signal::SignalKind;
    use heist::streams::{StreamReader, StreamWriter};
    use std::time::Duration;

    // All in, all out, at once.
    let sort = Command::new("sort")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let sorted = sort.communicate("pear\napple\nfig\n").await?;
    print!("sorted:\n{}", String::from_utf8_lossy(&sorted.stdout));

    // Line by line: asyncio's reader and writer go before any pipe.
    let mut child = Command::new("sh")
        .args([
            "-c",
            "while read line; do echo got $line; done; exec sleep 1000",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        // Whatever becomes of this function, the child does not outlive it.
        .kill_on_drop(true)
        .spawn()?;
    let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        unreachable!("both are pipes");
    };
    let (mut writer, mut reader) = (StreamWriter::new(stdin), StreamReader::new(stdout));
    for line in ["one\n", "two\n"] {
        writer.write(line.as_bytes())?;
        print!("{}", String::from_utf8_lossy(&reader.readline().await?));
    }
    writer.close();

    // It has read all there is, and goes on all the same. First it is asked to end; were it to ignore that, it would be killed.
    if child
        .wait_timeout(Duration::from_millis(100))
        .await?
        .is_none()
    {
        println!("it runs still: asking it to end");
        child.signal(SignalKind::TERMINATE)?;
    }
    let status = match child.wait_timeout(Duration::from_secs(5)).await? {
        Some(status) => status,
        None => {
            child.kill().await?;
            child.wait().await?
        }
    };
    println!("it ended: {status}");
    Ok(())
}

#[cfg(not(unix))]
fn main() {
    println!("child processes are for Unix only, so far");
}
