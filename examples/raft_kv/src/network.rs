//! From one node to another: JSON in HTTP requests, by heist-hyper's client.

use crate::{Types, Vote};
use heist_hyper::client::{HeistConnector, client};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode, header};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
};
use openraft::{AnyError, BasicNode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;

type Client = hyper_util::client::legacy::Client<HeistConnector, Full<Bytes>>;

/// All connections to others: kept, and used again.
pub(crate) struct Network(Client);

impl Network {
    pub(crate) fn new() -> Self {
        Self(client())
    }
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Peer;

    async fn new_client(&mut self, _: u64, node: &BasicNode) -> Peer {
        Peer {
            client: self.0.clone(),
            address: node.addr.clone(),
        }
    }
}

/// The way to one node.
pub(crate) struct Peer {
    client: Client,
    address: String,
}

impl Peer {
    async fn call<A: Serialize, R: DeserializeOwned>(
        &self,
        method: &str,
        argument: &A,
        limit: Duration,
    ) -> Result<R, RPCError<Types>> {
        let body = serde_json::to_vec(argument).map_err(|error| NetworkError::new(&error))?;
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("http://{}/raft/{method}", self.address))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::from(body))
            .map_err(|error| NetworkError::new(&error))?;
        let call = async {
            let sent = self.client.request(request).await;
            // openraft waits a while before it tries again.
            let response = sent.map_err(|error| Unreachable::new(&error))?;
            let status = response.status();
            let body = response.into_body().collect().await;
            let body = body.map_err(|error| NetworkError::new(&error))?.to_bytes();
            if status != StatusCode::OK {
                let text = String::from_utf8_lossy(&body);
                return Err(
                    NetworkError::new(&AnyError::error(format!("{status}: {text}"))).into(),
                );
            }
            serde_json::from_slice(&body).map_err(|error| NetworkError::new(&error).into())
        };
        match heist::timeout(limit, call).await {
            Ok(answer) => answer,
            Err(late) => Err(Unreachable::new(&late).into()),
        }
    }
}

impl RaftNetworkV2<Types> for Peer {
    type SnapshotData = Vec<u8>;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        self.call("append", &request, option.hard_ttl()).await
    }

    async fn vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        self.call("vote", &request, option.hard_ttl()).await
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        self.call("pre_vote", &request, option.hard_ttl()).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: crate::Snapshot,
        closed: impl Future<Output = ReplicationClosed> + Send + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let argument = (vote, snapshot.meta, snapshot.snapshot);
        let call = self.call("snapshot", &argument, option.hard_ttl());
        match futures_util::future::select(std::pin::pin!(call), std::pin::pin!(closed)).await {
            futures_util::future::Either::Left((answer, _)) => Ok(answer?),
            futures_util::future::Either::Right((closed, _)) => Err(closed.into()),
        }
    }
}
