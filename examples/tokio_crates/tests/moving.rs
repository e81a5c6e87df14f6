//! The service of `docs/moving-a-service.md`: its three versions end in the same way, and the page says truly how they differ.

use heist::process::{Child, Command, Stdio};
use heist::signal::SignalKind;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

const URL: &str = "https://example.org/";

/// A version of the service in a process of its own, with its address.
async fn start(program: &str, database: &Path) -> (Child, String) {
    let mut service = Command::new(program)
        .arg(format!("sqlite:{}", database.display()))
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut said = BufReader::new(service.stdout.take().unwrap());
    said.read_line(&mut line).await.unwrap();
    let address = line.trim().strip_prefix("http://").unwrap();
    (service, address.to_owned())
}

/// Begins to add a link, asks the service to end meanwhile, and gives the rest: the answer has to come.
async fn ends_in_good_order(program: &str) {
    let name = Path::new(program).file_name().unwrap().to_str().unwrap();
    let database = format!("{name}-{}.db", std::process::id());
    let database = std::env::temp_dir().join(database);
    let (mut service, address) = start(program, &database).await;

    let mut client = TcpStream::connect(&address).await.unwrap();
    let head = format!(
        "POST /links HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n",
        URL.len()
    );
    client.write_all(head.as_bytes()).await.unwrap();
    let mut go_on = [0; 25];
    client.read_exact(&mut go_on).await.unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n", "{name}");

    // The handler waits for the body.
    service.signal(SignalKind::INTERRUPT).unwrap();
    while TcpStream::connect(&address).await.is_ok() {
        heist::sleep(Duration::from_millis(1)).await;
    }
    client.write_all(URL.as_bytes()).await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 201 "), "{name}: {answer}");
    let status = service.wait().await.unwrap();
    assert!(status.success(), "{name}: {status}");
    std::fs::remove_file(database).unwrap();
}

#[heist::test(timeout_ms = 60_000)]
async fn each_version_answers_what_is_under_way_when_ctrl_c_comes() {
    ends_in_good_order(env!("CARGO_BIN_EXE_links_tokio")).await;
    ends_in_good_order(env!("CARGO_BIN_EXE_links_as_it_is")).await;
    ends_in_good_order(env!("CARGO_BIN_EXE_links_moved")).await;
}

/// How many lines of `old` and of `new` the other has not: what `diff` counts.
fn differing(old: &str, new: &str) -> (usize, usize) {
    let (old, new): (Vec<_>, Vec<_>) = (old.lines().collect(), new.lines().collect());
    // The longest common subsequence of what is left of both, from each pair of lines on.
    let mut common = vec![vec![0; new.len() + 1]; old.len() + 1];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            common[i][j] = if old[i] == new[j] {
                common[i + 1][j + 1] + 1
            } else {
                common[i + 1][j].max(common[i][j + 1])
            };
        }
    }
    (old.len() - common[0][0], new.len() - common[0][0])
}

#[test]
fn the_page_shows_lines_that_are_there_and_counts_them() {
    let tokio = include_str!("../src/bin/links_tokio.rs");
    let as_it_is = include_str!("../src/bin/links_as_it_is.rs");
    let moved = include_str!("../src/bin/links_moved.rs");
    let page = include_str!("../../../docs/moving-a-service.md");

    for (version, text) in [("links_as_it_is", as_it_is), ("links_moved", moved)] {
        let (removed, added) = differing(tokio, text);
        let all = tokio.lines().count();
        let row = format!("{version}.rs) | {removed} of {all} lines go, {added} come |");
        assert!(page.contains(&row), "to be said: {row}");
    }

    let has = |text: &str, line: &str| text.lines().any(|other| other.trim() == line.trim());
    let mut shown = 0;
    let excerpts = page.split("```diff\n").skip(1);
    for excerpt in excerpts.map(|rest| rest.split("```").next().unwrap()) {
        // What belongs into `Cargo.toml` is built with these crates, but not from this text.
        if excerpt.contains("[dependencies]") {
            continue;
        }
        for line in excerpt.lines() {
            let there = match (line.as_bytes().first(), line.get(1..)) {
                (Some(b'-'), Some(line)) => has(tokio, line),
                (Some(b'+'), Some(line)) => has(moved, line) || has(as_it_is, line),
                (Some(_), Some(line)) => has(tokio, line) && has(moved, line),
                _ => true,
            };
            assert!(there, "in neither version: {line}");
            shown += 1;
        }
    }
    assert!(shown > 50, "{shown} lines of differences are shown");
}
