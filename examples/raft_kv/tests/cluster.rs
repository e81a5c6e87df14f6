//! Three nodes, each a process of its own; clients that write all the while; the leader is killed, replaced, and comes back.

use futures_util::io::{AsyncBufReadExt, BufReader};
use heist::pipe::Receiver;
use heist::process::{Child, Command};
use heist::signal::SignalKind;
use heist_hyper::client::{HeistConnector, client};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode, header};
use hyper_util::client::legacy::Client;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// What anything may take at most; most of it takes a second or two.
const LIMIT: Duration = Duration::from_secs(40);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(50);
const WRITERS: usize = 4;
/// How many writes are seen to be acknowledged before something is done to the cluster, and after that.
const ENOUGH: usize = 300;

type Keys = BTreeMap<String, String>;

struct Node {
    id: u64,
    address: String,
    process: Child,
    /// Kept: a node that cannot print what it did fails.
    _output: BufReader<Receiver>,
}

impl Node {
    /// Listens where it did before, if it did.
    async fn start(id: u64, address: &str, directory: &Path) -> Node {
        let mut process = Command::new(env!("CARGO_BIN_EXE_raft_kv"))
            .arg(id.to_string())
            .arg(address)
            .arg(directory.join(id.to_string()))
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).await.unwrap();
        let address = line.trim().strip_prefix(&format!("node {id} at "));
        let address = address.unwrap_or_else(|| panic!("node {id} said {line:?}"));
        Node {
            id,
            address: address.to_owned(),
            process,
            _output: output,
        }
    }
}

/// As a client sees the cluster.
#[derive(Clone)]
struct Cluster {
    http: Client<HeistConnector, Full<Bytes>>,
    addresses: Arc<BTreeMap<u64, String>>,
}

impl Cluster {
    async fn request(
        &self,
        method: Method,
        url: &str,
        body: String,
    ) -> Result<(StatusCode, Option<String>, String), String> {
        let request = Request::builder()
            .method(method)
            .uri(url)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::from(body))
            .unwrap();
        let answer = async {
            let response = self
                .http
                .request(request)
                .await
                .map_err(|e| e.to_string())?;
            let status = response.status();
            let location = response.headers().get(header::LOCATION);
            let location = location.map(|url| url.to_str().unwrap().to_owned());
            let body = response
                .into_body()
                .collect()
                .await
                .map_err(|e| e.to_string())?;
            let body = String::from_utf8(body.to_bytes().to_vec()).unwrap();
            Ok((status, location, body))
        };
        let answer = heist::timeout(Duration::from_secs(10), answer).await;
        answer.unwrap_or_else(|late| Err(late.to_string()))
    }

    /// Asks a node, and goes where it says, until there is an answer.
    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: &str,
        first: u64,
    ) -> (StatusCode, String) {
        let mut turns = self.addresses.values().cycle().skip(first as usize);
        let mut url = None;
        let began = Instant::now();
        loop {
            let to = url
                .take()
                .unwrap_or_else(|| format!("http://{}{path}", turns.next().unwrap()));
            let answer = self.request(method.clone(), &to, body.to_owned()).await;
            match answer {
                Ok((StatusCode::TEMPORARY_REDIRECT, location, _)) => url = location,
                Ok((StatusCode::SERVICE_UNAVAILABLE, ..)) | Err(_) => {
                    assert!(began.elapsed() < LIMIT, "{method} {path}: still {answer:?}");
                    heist::sleep(PAUSE).await;
                }
                Ok((status, _, body)) => return (status, body),
            }
        }
    }

    async fn status(&self, id: u64) -> Option<Value> {
        let url = format!("http://{}/status", self.addresses[&id]);
        let answer = self.request(Method::GET, &url, String::new()).await.ok()?;
        serde_json::from_str(&answer.2).ok()
    }

    /// The node that leads, as these see it.
    async fn leader(&self, among: &[u64]) -> u64 {
        until("they have a leader", async || {
            let mut leaders = Vec::new();
            for &id in among {
                leaders.push(self.status(id).await?["leader"].as_u64()?);
            }
            let leader = leaders[0];
            (among.contains(&leader) && leaders.iter().all(|&each| each == leader))
                .then_some(leader)
        })
        .await
    }

    async fn copy(&self, id: u64) -> Option<Keys> {
        let url = format!("http://{}/copy", self.addresses[&id]);
        let answer = self.request(Method::GET, &url, String::new()).await.ok()?;
        serde_json::from_str(&answer.2).ok()
    }
}

async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(began.elapsed() < LIMIT, "waited in vain until {what}");
        heist::sleep(PAUSE).await;
    }
}

#[heist::test(timeout_ms = 120000)]
async fn nothing_acknowledged_is_lost_when_the_leader_is_killed_and_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let mut nodes = BTreeMap::new();
    for id in 1..=3 {
        nodes.insert(id, Node::start(id, "127.0.0.1:0", directory.path()).await);
    }
    let addresses: BTreeMap<_, _> = nodes.values().map(|n| (n.id, n.address.clone())).collect();
    let cluster = Cluster {
        http: client(),
        addresses: Arc::new(addresses.clone()),
    };
    let (made, _, why) = cluster
        .request(
            Method::POST,
            &format!("http://{}/init", addresses[&1]),
            json!(addresses).to_string(),
        )
        .await
        .unwrap();
    assert_eq!(made, StatusCode::OK, "{why}");
    let first = cluster.leader(&[1, 2, 3]).await;

    let acknowledged = Arc::new(AtomicUsize::new(0));
    let enough = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (cluster, acknowledged, enough) =
                (cluster.clone(), acknowledged.clone(), enough.clone());
            heist::spawn(async move {
                let mut written = Keys::new();
                while !enough.load(Relaxed) {
                    let (key, value) = (
                        format!("{writer}-{}", written.len()),
                        written.len().to_string(),
                    );
                    let (status, body) = cluster
                        .ask(Method::PUT, &format!("/kv/{key}"), &value, writer as u64)
                        .await;
                    assert_eq!(status, StatusCode::OK, "{body}");
                    written.insert(key, value);
                    acknowledged.fetch_add(1, Relaxed);
                }
                written
            })
        })
        .collect();
    let more = async |what: &str| {
        let goal = acknowledged.load(Relaxed) + ENOUGH;
        until(what, async || {
            (acknowledged.load(Relaxed) >= goal).then_some(())
        })
        .await;
    };
    more("they have written").await;

    let mut killed = nodes.remove(&first).unwrap();
    killed.process.kill().await.unwrap();
    let rest: Vec<u64> = nodes.keys().copied().collect();
    let second = cluster.leader(&rest).await;
    assert_ne!(second, first);
    more("they have written without the first leader").await;

    nodes.insert(
        first,
        Node::start(first, &addresses[&first], directory.path()).await,
    );
    more("they have written after it came back").await;
    enough.store(true, Relaxed);
    let mut written = Keys::new();
    for writer in writers {
        written.extend(writer.await.unwrap());
    }
    println!(
        "{} writes acknowledged; {first} led, then {second}",
        written.len()
    );

    // Every one of them is everywhere, and nothing else is.
    for &id in nodes.keys() {
        let copy = until("a node has as many keys as were written", async || {
            let copy = cluster.copy(id).await?;
            (copy.len() >= written.len()).then_some(copy)
        })
        .await;
        assert_eq!(copy, written, "of node {id}");
    }
    let (status, value) = cluster.ask(Method::GET, "/kv/0-7", "", first).await;
    assert_eq!((status, &*value), (StatusCode::OK, "7"));
    let (status, body) = cluster.ask(Method::DELETE, "/kv/0-7", "", first).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(serde_json::from_str::<Value>(&body).unwrap()["before"], "7");
    let (status, _) = cluster.ask(Method::GET, "/kv/0-7", "", first).await;
    assert_eq!(status, StatusCode::NOT_FOUND);

    // And they end as they are told to.
    for node in nodes.values_mut() {
        node.process.signal(SignalKind::TERMINATE).unwrap();
    }
    for node in nodes.values_mut() {
        let ended = node.process.wait_timeout(LIMIT).await.unwrap();
        assert!(
            ended.is_some_and(|status| status.success()),
            "node {}: {ended:?}",
            node.id
        );
    }
}
