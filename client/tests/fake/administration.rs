use std::{pin::Pin, sync::Arc};

use futures::{Stream, stream};
use kv_proto::v1::{
    ClusterDescription, DescribeRequest, DrainRequest, DrainResponse, ErrorReason, ForcePromoteRequest,
    ForcePromoteResponse, HandoverRequest, HandoverResponse, MoveRequest, MoveResponse, NodeDescription,
    RebuildZookeeperRequest, RebuildZookeeperResponse, ReplicaDescription, ShardDescription, SplitRequest,
    SplitResponse, cluster_server::Cluster,
};
use tonic::{Code, Request, Response, Status};

use super::{Node, refusal};

/// A cluster of this one node, with one shard.
pub struct Service(pub Arc<Node>);

impl Service {
    fn description(&self) -> ClusterDescription {
        let node = NodeDescription {
            node: "n0".into(),
            address: self.0.address.clone(),
            role: "master".into(),
            ready: true,
            answered: true,
            shards_served: 1,
            copies_in_sync: 1,
            copies_placed: 1,
            ..NodeDescription::default()
        };
        let replica = ReplicaDescription {
            node: "n0".into(),
            folder: "data".into(),
            in_sync: true,
            placed: true,
            state: "primary".into(),
            ..ReplicaDescription::default()
        };
        let shard = ShardDescription {
            shard: 1,
            epoch: 3,
            home: "n0".into(),
            primary: "n0".into(),
            served_from: "data".into(),
            replicas: vec![replica],
            available: true,
            fully_replicated: true,
            ..ShardDescription::default()
        };
        ClusterDescription {
            zookeeper_connected: true,
            master: "n0".into(),
            nodes: vec![node],
            shards: vec![shard],
            answered_by: "n0".into(),
            ..ClusterDescription::default()
        }
    }
}

fn check(found: bool) -> Result<(), Status> {
    let details = refusal(ErrorReason::NoSuch).to_details(Code::NotFound);
    if found { Ok(()) } else { Err(Status::with_details(Code::NotFound, "no such", details)) }
}

#[tonic::async_trait]
impl Cluster for Service {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<ClusterDescription, Status>> + Send>>;

    async fn describe(&self, _: Request<DescribeRequest>) -> Result<Response<ClusterDescription>, Status> {
        Ok(Response::new(self.description()))
    }

    /// Ends after one description, so that a watcher has to open it again.
    async fn watch(&self, _: Request<DescribeRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Ok(Response::new(Box::pin(stream::iter([Ok(self.description())]))))
    }

    async fn handover(&self, request: Request<HandoverRequest>) -> Result<Response<HandoverResponse>, Status> {
        check(request.into_inner().target == "n0")?;
        Ok(Response::new(HandoverResponse { epoch: 4, pause_micros: 1500 }))
    }

    async fn drain(&self, request: Request<DrainRequest>) -> Result<Response<DrainResponse>, Status> {
        check(request.into_inner().node == "n0")?;
        Ok(Response::new(DrainResponse { remaining: 2 }))
    }

    async fn split(&self, request: Request<SplitRequest>) -> Result<Response<SplitResponse>, Status> {
        let SplitRequest { shard, at } = request.into_inner();
        check(shard == 1)?;
        Ok(Response::new(SplitResponse { child: 2, at }))
    }

    async fn r#move(&self, request: Request<MoveRequest>) -> Result<Response<MoveResponse>, Status> {
        check(request.into_inner().shard == 1)?;
        Ok(Response::new(MoveResponse {}))
    }

    async fn force_promote(
        &self,
        request: Request<ForcePromoteRequest>,
    ) -> Result<Response<ForcePromoteResponse>, Status> {
        let ForcePromoteRequest { shard, confirmed, .. } = request.into_inner();
        check(shard == 1)?;
        Ok(Response::new(ForcePromoteResponse { done: confirmed, message: "loses writes".into() }))
    }

    async fn rebuild_zookeeper(
        &self,
        request: Request<RebuildZookeeperRequest>,
    ) -> Result<Response<RebuildZookeeperResponse>, Status> {
        let done = request.into_inner().confirmed;
        Ok(Response::new(RebuildZookeeperResponse { done, message: "1 shards".into() }))
    }
}
