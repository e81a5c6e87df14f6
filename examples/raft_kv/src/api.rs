//! What a node answers: to clients, to whoever runs it, and to the other nodes.

use crate::store::{Keys, Store};
use crate::{Command, Raft, SnapshotMeta, Types, Vote};
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use openraft::errors::{ClientWriteError, ForwardToLeader, LinearizableReadError, RaftError};
use openraft::raft::{AppendEntriesRequest, SnapshotResponse, VoteRequest};
use openraft::storage::Snapshot;
use openraft::{BasicNode, ReadPolicy};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::Duration;

/// How long a client waits at most: for an election, or for a majority that is not there.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) raft: Raft,
    pub(crate) store: Store,
}

impl Node {
    pub(crate) fn router(self) -> Router {
        let raft = Router::new()
            .route("/append", post(append))
            .route("/vote", post(vote))
            .route("/pre_vote", post(pre_vote))
            .route("/snapshot", post(snapshot))
            // Their size is for openraft to say.
            .layer(DefaultBodyLimit::disable());
        Router::new()
            .route("/kv/{key}", get(read).put(write).delete(remove))
            .route("/copy", get(copy))
            .route("/init", post(init))
            .route("/status", get(status))
            .nest("/raft", raft)
            .with_state(self)
    }
}

/// The value as it is now: the leader asks a majority whether it still is one.
async fn read(State(node): State<Node>, Path(key): Path<String>) -> Result<Response, Refusal> {
    let path = format!("/kv/{key}");
    let value = patiently(async {
        let linearizer = node.raft.get_read_linearizer(ReadPolicy::ReadIndex).await;
        let linearizer = linearizer.map_err(|error| match error {
            RaftError::APIError(LinearizableReadError::ForwardToLeader(to)) => {
                Refusal::elsewhere(to, &path)
            }
            error => Refusal::not_now(error),
        })?;
        let ready = linearizer.await_ready(&node.raft).await;
        ready.map_err(Refusal::not_now)?;
        node.store.get(key).await.map_err(Refusal::broken)
    })
    .await?;
    Ok(match value {
        Some(value) => value.into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    })
}

async fn write(
    State(node): State<Node>,
    Path(key): Path<String>,
    value: String,
) -> Result<Json<Value>, Refusal> {
    let path = format!("/kv/{key}");
    change(&node, Command::Set { key, value }, &path).await
}

async fn remove(State(node): State<Node>, Path(key): Path<String>) -> Result<Json<Value>, Refusal> {
    let path = format!("/kv/{key}");
    change(&node, Command::Remove { key }, &path).await
}

/// Answers once a majority has the change on its disks and it is applied here.
async fn change(node: &Node, command: Command, path: &str) -> Result<Json<Value>, Refusal> {
    patiently(async {
        match node.raft.client_write(command).await {
            Ok(done) => Ok(Json(
                json!({ "before": done.data, "index": done.log_id.index }),
            )),
            Err(RaftError::APIError(ClientWriteError::ForwardToLeader(to))) => {
                Err(Refusal::elsewhere(to, path))
            }
            Err(error) => Err(Refusal::not_now(error)),
        }
    })
    .await
}

async fn patiently<T>(answer: impl Future<Output = Result<T, Refusal>>) -> Result<T, Refusal> {
    match heist::timeout(PATIENCE, answer).await {
        Ok(answer) => answer,
        Err(late) => Err(Refusal::not_now(late)),
    }
}

/// What this node has, which may be old.
async fn copy(State(node): State<Node>) -> Result<Json<Keys>, Refusal> {
    node.store.keys().await.map(Json).map_err(Refusal::broken)
}

/// Makes these nodes a cluster. Once, on one of them.
async fn init(
    State(node): State<Node>,
    Json(members): Json<BTreeMap<u64, String>>,
) -> Result<(), Refusal> {
    let members: BTreeMap<_, _> = members
        .into_iter()
        .map(|(id, address)| (id, BasicNode::new(address)))
        .collect();
    let done = node.raft.initialize(members).await;
    done.map_err(|error| Refusal::Failed(StatusCode::CONFLICT, error.to_string()))
}

async fn status(State(node): State<Node>) -> Json<Value> {
    let metrics =
        openraft::async_runtime::WatchReceiver::borrow_watched(&node.raft.metrics()).clone();
    Json(json!({
        "id": metrics.id,
        "state": format!("{:?}", metrics.state),
        "leader": metrics.current_leader,
        "term": metrics.current_term,
        "last_log": metrics.last_log_index,
        "applied": metrics.last_applied.map(|id| id.index),
        "snapshot": metrics.snapshot.map(|id| id.index),
    }))
}

async fn append(
    State(node): State<Node>,
    Json(request): Json<AppendEntriesRequest<Types>>,
) -> Result<impl IntoResponse, Refusal> {
    let answer = node.raft.append_entries(request).await;
    answer.map(Json).map_err(Refusal::broken)
}

async fn vote(
    State(node): State<Node>,
    Json(request): Json<VoteRequest<Types>>,
) -> Result<impl IntoResponse, Refusal> {
    let answer = node.raft.vote(request).await;
    answer.map(Json).map_err(Refusal::broken)
}

async fn pre_vote(
    State(node): State<Node>,
    Json(request): Json<VoteRequest<Types>>,
) -> Result<impl IntoResponse, Refusal> {
    let answer = node.raft.pre_vote(request).await;
    answer.map(Json).map_err(Refusal::broken)
}

async fn snapshot(
    State(node): State<Node>,
    Json((vote, meta, snapshot)): Json<(Vote, SnapshotMeta, Vec<u8>)>,
) -> Result<Json<SnapshotResponse<Types>>, Refusal> {
    let answer = node
        .raft
        .install_full_snapshot(vote, Snapshot { meta, snapshot })
        .await;
    answer.map(Json).map_err(Refusal::broken)
}

/// Why there is no answer.
enum Refusal {
    /// Another one answers: at this address.
    Moved(String),
    Failed(StatusCode, String),
}

impl Refusal {
    fn elsewhere(to: ForwardToLeader<Types>, path: &str) -> Self {
        match to.leader_node {
            Some(leader) => Self::Moved(format!("http://{}{path}", leader.addr)),
            None => Self::not_now("nobody leads"),
        }
    }

    /// Whether a change is made all the same is not known: whoever tries again must be able to.
    fn not_now(error: impl Display) -> Self {
        Self::Failed(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
    }

    fn broken(error: impl Display) -> Self {
        Self::Failed(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::Moved(location) => (
                StatusCode::TEMPORARY_REDIRECT,
                [(header::LOCATION, location)],
            )
                .into_response(),
            Self::Failed(status, error) => {
                (status, Json(json!({ "error": error }))).into_response()
            }
        }
    }
}
