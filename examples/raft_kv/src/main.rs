//! When one machine is not enough: a key-value store on several nodes, which agree by Raft (openraft) over HTTP, each of them a heist process. A write
//! that was acknowledged is on the disks of a majority: it survives whichever minority is killed.
//!
//! ```text
//!   main.rs      a node's life       api.rs     what it answers
//!   store.rs     its disk            network.rs  how it asks the others
//! ```
//!
//! Three nodes, in three terminals or in the background:
//!
//! ```sh
//! cd examples/raft_kv
//! cargo build --release
//! for n in 1 2 3; do target/release/raft_kv $n 127.0.0.1:808$n /tmp/raft_kv.$n & done
//! curl -H 'content-type: application/json' -d '{"1":"127.0.0.1:8081","2":"127.0.0.1:8082","3":"127.0.0.1:8083"}' 127.0.0.1:8081/init
//!
//! curl -L -X PUT -d hello 127.0.0.1:8082/kv/greeting      # a follower says where the leader is
//! curl -L 127.0.0.1:8083/kv/greeting
//! curl 127.0.0.1:8081/status
//! kill -9 %1                                              # the rest goes on
//! ```
//!
//! tests/cluster.rs does that, with clients that write all the while.
#![allow(clippy::print_stdout)]

mod api;
mod network;
mod store;

use crate::api::Node;
use crate::network::Network;
use crate::store::Store;
use heist::net::TcpListener;
use heist::signal::{self, SignalKind};
use heist_openraft::HeistRuntime;
use openraft::{Config, SnapshotPolicy};
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// What the log is made of.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Command {
    Set { key: String, value: String },
    Remove { key: String },
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Set { key, .. } => write!(f, "set {key}"),
            Self::Remove { key } => write!(f, "remove {key}"),
        }
    }
}

openraft::declare_raft_types!(
    pub(crate) Types:
        D = Command,
        R = Option<String>,
        AsyncRuntime = HeistRuntime,
);

pub(crate) type Raft = openraft::Raft<Types, Store>;
pub(crate) type Entry = openraft::type_config::alias::EntryOf<Types>;
pub(crate) type LogId = openraft::type_config::alias::LogIdOf<Types>;
pub(crate) type Vote = openraft::type_config::alias::VoteOf<Types>;
pub(crate) type StoredMembership = openraft::type_config::alias::StoredMembershipOf<Types>;
pub(crate) type SnapshotMeta = openraft::type_config::alias::SnapshotMetaOf<Types>;
pub(crate) type Snapshot = openraft::type_config::alias::SnapshotOf<Types, Vec<u8>>;

/// How long requests under way may take once the node is to end.
const GRACE: Duration = Duration::from_secs(2);

#[heist::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(id), Some(address), Some(directory)) =
        (arguments.next(), arguments.next(), arguments.next())
    else {
        return Err(
            "usage: raft_kv ID ADDRESS DIRECTORY, such as 1 127.0.0.1:8081 /tmp/one".into(),
        );
    };
    let id = id.parse().map_err(|_| "the id is a number")?;
    let directory = PathBuf::from(directory);

    let mut ended = signal::any([SignalKind::INTERRUPT, SignalKind::TERMINATE])?;
    heist::fs::create_dir_all(&directory).await?;
    let store = heist::spawn_blocking(move || Store::open(&directory.join("raft_kv"))).await??;
    let config = Config {
        cluster_name: "raft_kv".into(),
        heartbeat_interval: 100,
        election_timeout_min: 500,
        election_timeout_max: 1000,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(1000),
        max_in_snapshot_log_to_keep: 500,
        ..Config::default()
    };
    let config = Arc::new(config.validate()?);
    let raft = Raft::new(id, config, Network::new(), store.clone(), store.clone()).await?;

    let listener = TcpListener::bind(address.as_str()).await?;
    println!("node {id} at {}", listener.local_addr()?);
    let node = Node {
        raft: raft.clone(),
        store,
    };
    let report = heist_hyper::serve(listener, node.router())
        .graceful_shutdown(async move { drop(ended.recv().await) }, GRACE)
        .await?;
    raft.shutdown().await?;
    println!("node {id} answered {} requests", report.requests_answered());
    Ok(())
}
