//! The standard streams. Each test starts this program again with pipes of its own, as a child that only runs
//! that test's other half, and says what it saw in lines that begin with `> `.

#[path = "support/limit.rs"]
mod limit;
#[path = "support/net.rs"]
mod support;

use std::future::Future;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::pin::pin;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use heist_io_driver::stdio::{stderr, stdin, stdout};
use limit::Limit;
use support::{block_on, join};

/// Tells the child that it is one.
const CHILD: &str = "HEIST_STDIO_CHILD";

fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// The child of a test, which ends when its other half returns.
struct Half {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    _limit: Limit,
}

impl Half {
    fn start(test: &str) -> Half {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([test, "--exact", "--nocapture", "--test-threads=1"])
            .env(CHILD, "")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Half {
            input: child.stdin.take(),
            output: BufReader::new(child.stdout.take().unwrap()),
            child,
            _limit: Limit::new(),
        }
    }

    fn say(&mut self, bytes: &[u8]) {
        self.input.as_mut().unwrap().write_all(bytes).unwrap();
    }

    fn end_input(&mut self) {
        self.input = None;
    }

    /// The next that it says, or nothing at its end.
    fn heard(&mut self) -> Option<String> {
        loop {
            let mut line = String::new();
            if self.output.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            // The test harness's own output stands in front of the first.
            if let Some((_, said)) = line.trim_end().split_once("> ") {
                return Some(said.to_owned());
            }
        }
    }

    /// Waits for its end, with its input as it is.
    #[track_caller]
    fn ends_well(mut self) {
        assert_eq!(self.heard(), None);
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return assert!(status.success(), "{status}");
            }
            if began.elapsed() > Duration::from_secs(60) {
                self.child.kill().unwrap();
                panic!("the child hangs");
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Says a line to the parent.
fn say(what: impl std::fmt::Debug) {
    let line = format!("> {what:?}\n");
    let mut output = stdout();
    block_on(async {
        output.write_all(line.as_bytes()).await.unwrap();
        output.flush().await.unwrap();
    });
}

/// Polls once, finds the future waiting, and drops it.
#[track_caller]
fn begin_and_drop(future: impl Future) {
    let pending = pin!(future).poll(&mut Context::from_waker(Waker::noop()));
    assert!(pending.is_pending());
}

fn line() -> Result<String, ErrorKind> {
    let mut line = String::new();
    let read = block_on(stdin().read_line(&mut line)).map_err(|error| error.kind())?;
    assert_eq!(read, line.len());
    Ok(line)
}

#[test]
fn lines_until_the_end() {
    if is_child() {
        return loop {
            let line = line();
            say(&line);
            if line.is_ok_and(|line| line.is_empty()) {
                break;
            }
        };
    }
    let mut half = Half::start("lines_until_the_end");
    half.say(b"one\n");
    assert_eq!(half.heard().unwrap(), r#"Ok("one\n")"#);
    half.say(b"\ntwo\r\nno text: \xff\nth");
    assert_eq!(half.heard().unwrap(), r#"Ok("\n")"#);
    assert_eq!(half.heard().unwrap(), r#"Ok("two\r\n")"#);
    assert_eq!(half.heard().unwrap(), "Err(InvalidData)");
    half.say(b"ree");
    half.end_input();
    assert_eq!(half.heard().unwrap(), r#"Ok("three")"#);
    assert_eq!(half.heard().unwrap(), r#"Ok("")"#);
    half.ends_well();
}

#[test]
fn dropped_reads_lose_nothing() {
    if is_child() {
        let mut input = stdin();
        begin_and_drop(input.read(&mut [0; 4]));
        begin_and_drop(stdin().read_line(&mut String::new()));
        say("asked");
        let mut first = [0; 3];
        assert_eq!(block_on(input.read(&mut first)).unwrap(), 3);
        say(std::str::from_utf8(&first).unwrap());
        // Dropped with half of a line there.
        let mut text = String::new();
        begin_and_drop(input.read_line(&mut text));
        assert_eq!(text, "");
        say("asked");
        return say(line());
    }
    let mut half = Half::start("dropped_reads_lose_nothing");
    assert_eq!(half.heard().unwrap(), r#""asked""#);
    half.say(b"one and half");
    assert_eq!(half.heard().unwrap(), r#""one""#);
    assert_eq!(half.heard().unwrap(), r#""asked""#);
    half.say(b" of it\n");
    assert_eq!(half.heard().unwrap(), r#"Ok(" and half of it\n")"#);
    half.ends_well();
}

#[test]
fn a_read_that_nobody_awaits_holds_up_no_end() {
    if is_child() {
        begin_and_drop(stdin().read(&mut [0; 4]));
        return say("asked");
    }
    let mut half = Half::start("a_read_that_nobody_awaits_holds_up_no_end");
    assert_eq!(half.heard().unwrap(), r#""asked""#);
    // Its input stays open.
    let input = half.input.take();
    half.ends_well();
    drop(input);
}

#[test]
fn several_readers_get_every_byte_once_and_all_see_the_end() {
    const BYTES: usize = 1_000_000;
    if is_child() {
        let readers: Vec<_> = (0..4)
            .map(|_| {
                std::thread::spawn(|| {
                    let (mut input, mut buf) = (stdin(), [0; 1000]);
                    let (mut bytes, mut sum) = (0, 0);
                    loop {
                        match block_on(input.read(&mut buf)).unwrap() {
                            0 => return (bytes, sum),
                            n => {
                                bytes += n;
                                sum += buf[..n].iter().map(|&byte| u64::from(byte)).sum::<u64>();
                            }
                        }
                    }
                })
            })
            .collect();
        let ends = readers.into_iter().map(|reader| reader.join().unwrap());
        return say(ends.fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1)));
    }
    let bytes: Vec<u8> = (0..BYTES).map(|n| (n % 251) as u8).collect();
    let sum: u64 = bytes.iter().map(|&byte| u64::from(byte)).sum();
    let mut half = Half::start("several_readers_get_every_byte_once_and_all_see_the_end");
    half.say(&bytes);
    half.end_input();
    assert_eq!(half.heard().unwrap(), format!("({BYTES}, {sum})"));
    half.ends_well();
}

#[test]
fn a_reader_that_waits_is_woken_though_another_gave_up() {
    if is_child() {
        let (mut patient, mut buf) = (stdin(), [0; 8]);
        let hasty = async {
            // After the patient one has begun to wait, a second waits and is gone.
            begin_and_drop(stdin().read(&mut [0; 8]));
            std::thread::spawn(|| say("waiting"));
        };
        let (read, ()) = block_on(join(patient.read(&mut buf), hasty));
        let read = read.unwrap();
        return say(std::str::from_utf8(&buf[..read]).unwrap());
    }
    let mut half = Half::start("a_reader_that_waits_is_woken_though_another_gave_up");
    assert_eq!(half.heard().unwrap(), r#""waiting""#);
    half.say(b"bytes");
    assert_eq!(half.heard().unwrap(), r#""bytes""#);
    half.ends_well();
}

#[test]
fn output_arrives_whole_and_in_order() {
    const LINES: usize = 50_000;
    if is_child() {
        let text: String = (0..LINES).map(|n| format!("> {n}\n")).collect();
        let (mut output, mut errors) = (stdout(), stderr());
        let (wrote, told) = block_on(join(
            async { output.write_all(text.as_bytes()).await },
            errors.write_all(b"> trouble\n"),
        ));
        wrote.unwrap();
        told.unwrap();
        block_on(output.write_all(b"no line's end")).unwrap();
        block_on(output.flush()).unwrap();
        // Not flushed by the end of the process: that comes later.
        return drop(line());
    }
    let mut half = Half::start("output_arrives_whole_and_in_order");
    for n in 0..LINES {
        assert_eq!(half.heard().unwrap(), n.to_string());
    }
    let mut said = [0; 13];
    half.output.read_exact(&mut said).unwrap();
    assert_eq!(&said, b"no line's end");
    half.end_input();
    let mut errors = String::new();
    let mut from = half.child.stderr.take().unwrap();
    from.read_to_string(&mut errors).unwrap();
    assert!(errors.contains("> trouble\n"), "{errors}");
    half.ends_well();
}

#[test]
fn output_that_nobody_can_read_is_an_error() {
    if is_child() {
        let mut byte = [0];
        assert_eq!(block_on(stdin().read(&mut byte)).unwrap(), 0);
        let error = block_on(stderr().write_all(b"x")).unwrap_err();
        return say(error.kind());
    }
    let mut half = Half::start("output_that_nobody_can_read_is_an_error");
    drop(half.child.stderr.take());
    half.end_input();
    assert_eq!(half.heard().unwrap(), "BrokenPipe");
    half.ends_well();
}

#[test]
fn futures_io_traits() {
    use futures_io::{AsyncRead, AsyncWrite};
    use std::future::poll_fn;
    use std::pin::Pin;

    async fn copy(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) {
        let mut buf = [0; 5];
        loop {
            let n = poll_fn(|cx| Pin::new(&mut from).poll_read(cx, &mut buf)).await;
            let mut rest = &buf[..n.unwrap()];
            if rest.is_empty() {
                return poll_fn(|cx| Pin::new(&mut to).poll_close(cx))
                    .await
                    .unwrap();
            }
            while !rest.is_empty() {
                let n = poll_fn(|cx| Pin::new(&mut to).poll_write(cx, rest)).await;
                rest = &rest[n.unwrap()..];
            }
        }
    }

    if is_child() {
        return block_on(copy(stdin(), stdout()));
    }
    let mut half = Half::start("futures_io_traits");
    half.say(b"> there and back\n");
    half.end_input();
    assert_eq!(half.heard().unwrap(), "there and back");
    half.ends_well();
}

#[test]
#[cfg(feature = "sim")]
fn a_simulation_has_no_standard_streams() {
    use heist_io_driver::sim::{NetConfig, Network};
    let network = Network::new(NetConfig::default(), 1, || None);
    let _entered = network.enter();
    block_on(async {
        let read = stdin().read(&mut [0; 1]).await;
        assert_eq!(read.unwrap_err().kind(), ErrorKind::Unsupported);
        let wrote = stdout().write_all(b"> real\n").await;
        assert_eq!(wrote.unwrap_err().kind(), ErrorKind::Unsupported);
        let flushed = stderr().flush().await;
        assert_eq!(flushed.unwrap_err().kind(), ErrorKind::Unsupported);
    });
}
