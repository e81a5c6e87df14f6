//! Clients that others wrote: curl, and wrk where it is installed.

use crate::support::{Server, hello, limited};
use axum::Router;
use axum::body::Bytes;
use axum::extract::Path;
use axum::routing::{get, post};
use std::process::{Command, Stdio};

fn app() -> Router {
    hello()
        .route(
            "/double/{n}",
            get(|Path(n): Path<u32>| async move { (n * 2).to_string() }),
        )
        .route(
            "/length",
            post(|body: Bytes| async move { body.len().to_string() }),
        )
}

/// What a program prints, if it is installed.
fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let done = Command::new(program).args(arguments).output();
    let Ok(done) = done else {
        eprintln!("skipped: no {program}");
        return None;
    };
    assert!(done.status.success(), "{program} {arguments:?}: {done:?}");
    Some(String::from_utf8(done.stdout).unwrap())
}

fn asks_with(version: &'static str, spoken: &'static str) {
    limited(move || {
        let features = output("curl", &["--version"]);
        let Some(features) = features else { return };
        if spoken == "2" && !features.contains("HTTP2") {
            eprintln!("skipped: this curl does not speak HTTP/2");
            return;
        }
        let server = Server::start(app());
        let url = |path: &str| format!("http://{}{path}", server.address);
        let curl = |arguments: &[&str]| {
            let common = ["-sS", "--max-time", "20", version, "-w", " %{http_version}"];
            output("curl", &[&common, arguments].concat()).unwrap()
        };
        assert_eq!(curl(&[&url("/")]), format!("hello {spoken}"));
        assert_eq!(curl(&[&url("/double/21")]), format!("42 {spoken}"));
        assert_eq!(
            curl(&["-I", "-o", "/dev/null", &url("/")]),
            format!(" {spoken}")
        );
        let body = "x".repeat(300_000);
        let file =
            std::env::temp_dir().join(format!("heist-hyper-{}-{spoken}", std::process::id()));
        std::fs::write(&file, body).unwrap();
        let upload = format!("@{}", file.display());
        assert_eq!(
            curl(&["--data-binary", &upload, &url("/length")]),
            format!("300000 {spoken}")
        );
        std::fs::remove_file(file).unwrap();
        let mut urls = vec![url("/")];
        if spoken == "1.1" {
            // On the same connection, which curl before 8.0 cannot do by prior knowledge.
            urls.push(url("/"));
        }
        let urls: Vec<_> = urls.iter().map(String::as_str).collect();
        let greeting = format!("hello {spoken}");
        assert_eq!(curl(&urls), greeting.repeat(urls.len()));

        let report = server.stop();
        assert_eq!(report.connections(), 5);
        assert_eq!(report.requests(), 4 + urls.len() as u64);
        assert_eq!(report.requests_answered(), report.requests());
    });
}

#[test]
fn curl_is_answered_over_http1() {
    asks_with("--http1.1", "1.1");
}

#[test]
fn curl_is_answered_over_http2_by_prior_knowledge() {
    asks_with("--http2-prior-knowledge", "2");
}

#[test]
fn wrk_finds_no_error() {
    limited(|| {
        if Command::new("wrk")
            .arg("-v")
            .stdout(Stdio::null())
            .status()
            .is_err()
        {
            eprintln!("skipped: no wrk");
            return;
        }
        let server = Server::start(app());
        let url = format!("http://{}/", server.address);
        let said = output("wrk", &["-t1", "-c32", "-d1s", &url]).unwrap();
        assert!(said.contains("Requests/sec"), "{said}");
        assert!(
            !said.contains("Socket errors") && !said.contains("Non-2xx"),
            "{said}"
        );
        let report = server.stop();
        assert!(report.requests_answered() > 32, "{report:?}");
    });
}
