//! The connections that other nodes dial to this one.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use futures::{Stream, StreamExt as _};
use kv_proto::v1::{
    LinkFrame, SnapshotChunk, SnapshotRequest,
    replica_server::{Replica, ReplicaServer},
};
use kv_types::NodeName;
use tokio::{sync::mpsc, time::timeout};
use tonic::{Request, Response, Status, Streaming};
use tracing::{debug, info};

use super::{
    QUEUE, Shared,
    batch::Frames,
    deliver,
    link::{MAX_FRAME, WIRE_VERSION, hello},
    link_lost,
};
use crate::driver::{Driver, snapshot};

/// Serves `kv.v1.Replica`.
pub struct ReplicaService {
    shared: Arc<Shared>,
    connections: AtomicU64,
}

impl ReplicaService {
    /// The service of `driver`'s node.
    #[must_use]
    pub fn server(driver: &Driver) -> ReplicaServer<Self> {
        let service = Self { shared: Arc::clone(&driver.shared), connections: AtomicU64::new(0) };
        ReplicaServer::new(service).max_decoding_message_size(MAX_FRAME).max_encoding_message_size(MAX_FRAME)
    }
}

type Frame = Result<LinkFrame, Status>;
type Chunk = Result<SnapshotChunk, Status>;

#[tonic::async_trait]
impl Replica for ReplicaService {
    type LinkStream = Pin<Box<dyn Stream<Item = Frame> + Send>>;
    type SnapshotStream = Pin<Box<dyn Stream<Item = Chunk> + Send>>;

    async fn link(&self, request: Request<Streaming<LinkFrame>>) -> Result<Response<Self::LinkStream>, Status> {
        let mut frames = request.into_inner();
        let silence = self.shared.lease() * 3;
        let first =
            timeout(silence, frames.message()).await.map_err(|_| Status::deadline_exceeded("no hello came"))??;
        let peer = self.check(first)?;
        let number = self.connections.fetch_add(1, Ordering::Relaxed);
        let (queue, receiver) = mpsc::channel(QUEUE);
        let shared = Arc::clone(&self.shared);
        shared.peers.connected_down(&peer, number, Some(queue));
        shared.peers.heard(&peer, false, shared.now(), None);
        link_lost(&shared, &peer);
        debug!(%peer, "node has connected");
        tokio::spawn(async move {
            let why = loop {
                match timeout(silence, frames.message()).await {
                    Ok(Ok(Some(frame))) => {
                        shared.note_sizes(super::heartbeat::sizes(frame.heartbeat.as_ref()));
                        shared.peers.heard(&peer, false, shared.now(), frame.heartbeat);
                        deliver(&shared, frame.messages);
                    }
                    Ok(Ok(None)) => break "closed".to_owned(),
                    Ok(Err(status)) => break status.to_string(),
                    Err(_) => break format!("silent for {silence:?}"),
                }
            };
            info!(%peer, why, "connection from a node has ended");
            shared.peers.connected_down(&peer, number, None);
            link_lost(&shared, &peer);
        });
        Ok(Response::new(Box::pin(Frames::new(hello(&self.shared), receiver).map(Ok))))
    }

    async fn snapshot(&self, request: Request<SnapshotRequest>) -> Result<Response<Self::SnapshotStream>, Status> {
        let chunks = snapshot::serve(&self.shared, &request.into_inner())?;
        Ok(Response::new(Box::pin(chunks)))
    }
}

impl ReplicaService {
    fn check(&self, first: Option<LinkFrame>) -> Result<NodeName, Status> {
        let hello = first.and_then(|frame| frame.hello);
        let hello = hello.ok_or_else(|| Status::invalid_argument("the first frame has no hello"))?;
        if hello.wire_version != WIRE_VERSION {
            let why = format!("{} speaks wire version {}, this node {WIRE_VERSION}", hello.node, hello.wire_version);
            return Err(Status::failed_precondition(why));
        }
        let own = self.shared.cluster().cluster_uuid().to_string();
        if hello.cluster != own {
            let why = format!("{} is of cluster {}, this node of {own}", hello.node, hello.cluster);
            return Err(Status::failed_precondition(why));
        }
        NodeName::new(hello.node).map_err(Status::invalid_argument)
    }
}
