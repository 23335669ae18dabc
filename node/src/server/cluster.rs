//! The `Cluster` service: what a person or an operator asks of the cluster. What another node must carry out is passed on
//! to it, once.

use std::{collections::BTreeSet, pin::Pin, sync::Arc};

use bytes::Bytes;
use futures::Stream;
use kv_cluster::View;
use kv_proto::v1::{
    ClusterDescription, DescribeRequest, DrainRequest, DrainResponse, ForcePromoteRequest, ForcePromoteResponse,
    HandoverRequest, HandoverResponse, MoveRequest, MoveResponse, RebuildZookeeperRequest, RebuildZookeeperResponse,
    SplitRequest, SplitResponse, cluster_client::ClusterClient, cluster_server::Cluster,
    pipeline_request::Request as WireRequest,
};
use kv_types::{NodeName, ShardId};
use tokio::time::{Duration, Instant, timeout};
use tonic::{Request, Response, Status, metadata::MetadataValue, transport::Channel};

use self::watch::descriptions;
use super::{describe, edge::Edge, status::ErrorAnswer};
use crate::driver::request::Failure;

mod force;
mod rebuild;
mod watch;

/// On a request that another node has passed on: it is not passed on again.
const PASSED_ON: &str = "kv-passed-on";
/// How long a node may take that a request was passed on to. Forcing a shard waits for sessions to end.
const PASSED_ON_LIMIT: Duration = Duration::from_secs(90);
/// How long to wait for the new primary's first answer after a handover or a split.
const SERVING_LIMIT: Duration = Duration::from_secs(5);

/// Status and administration.
pub(crate) struct ClusterService {
    pub(crate) edge: Arc<Edge>,
}

type Result<T, E = Status> = std::result::Result<T, E>;

#[tonic::async_trait]
impl Cluster for ClusterService {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<ClusterDescription>> + Send>>;

    async fn describe(&self, request: Request<DescribeRequest>) -> Result<Response<ClusterDescription>> {
        let DescribeRequest { local } = request.into_inner();
        let description = if local { describe::local(&self.edge) } else { Box::pin(describe::whole(&self.edge)).await };
        Ok(Response::new(description))
    }

    async fn watch(&self, request: Request<DescribeRequest>) -> Result<Response<Self::WatchStream>> {
        let DescribeRequest { local } = request.into_inner();
        Ok(Response::new(Box::pin(descriptions(&self.edge, local)?)))
    }

    async fn handover(&self, request: Request<HandoverRequest>) -> Result<Response<HandoverResponse>> {
        let target = name(&request.get_ref().target)?;
        let shard = ShardId(request.get_ref().shard);
        let began = Instant::now();
        match self.edge.driver.handover(shard, &target).await {
            Ok(epoch) => {
                self.wait_served(shard).await?;
                let pause_micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
                Ok(Response::new(HandoverResponse { epoch: epoch.0, pause_micros }))
            }
            Err(Failure::NotHere) => {
                let primary = self.primary_of(shard)?;
                self.pass_on(&primary, request, |mut node, request| async move { node.handover(request).await }).await
            }
            Err(failure) => Err(ErrorAnswer::from(failure).into()),
        }
    }

    async fn drain(&self, request: Request<DrainRequest>) -> Result<Response<DrainResponse>> {
        let DrainRequest { node, undo } = request.into_inner();
        let node = name(&node)?;
        let cluster = self.edge.driver.cluster();
        cluster.set_drain(&node, !undo).await.map_err(ErrorAnswer::from)?;
        let remaining = held_by(&cluster.view(), &node);
        Ok(Response::new(DrainResponse { remaining }))
    }

    async fn split(&self, request: Request<SplitRequest>) -> Result<Response<SplitResponse>> {
        let SplitRequest { shard, at } = request.get_ref();
        let shard = ShardId(*shard);
        let at = self.check_split(shard, at)?;
        match self.edge.driver.split(shard, at).await {
            Ok((child, at)) => {
                self.wait_served(shard).await?;
                self.wait_served(child).await?;
                Ok(Response::new(SplitResponse { child: child.0, at }))
            }
            Err(Failure::NotHere) => {
                let primary = self.primary_of(shard)?;
                self.pass_on(&primary, request, |mut node, request| async move { node.split(request).await }).await
            }
            Err(failure) => Err(ErrorAnswer::from(failure).into()),
        }
    }

    async fn r#move(&self, request: Request<MoveRequest>) -> Result<Response<MoveResponse>> {
        let MoveRequest { shard, home } = request.get_ref();
        let (shard, home) = (ShardId(*shard), name(home)?);
        let cluster = self.edge.driver.cluster();
        match cluster.move_home(shard, &home).await {
            Ok(()) => Ok(Response::new(MoveResponse {})),
            Err(kv_cluster::Error::NotMaster { master: Some(master) }) if master != *self.edge.driver.node() => {
                let view = cluster.view();
                let seen = view.master.as_ref().filter(|seen| seen.value.id == master);
                let address = seen.map(|seen| seen.value.address.clone());
                let address = address.ok_or_else(|| {
                    ErrorAnswer::unavailable(format!("{master} is the master, and its address is not known"))
                })?;
                self.pass_on(&address, request, |mut node, request| async move { node.r#move(request).await }).await
            }
            Err(error) => Err(ErrorAnswer::from(error).into()),
        }
    }

    async fn force_promote(&self, request: Request<ForcePromoteRequest>) -> Result<Response<ForcePromoteResponse>> {
        let node = name(&request.get_ref().node)?;
        if node == *self.edge.driver.node() {
            return Box::pin(force::promote(&self.edge, request.into_inner())).await.map(Response::new);
        }
        let view = self.edge.driver.cluster().view();
        let member = view.member(&node);
        let address = member.map(|member| member.info.address.clone());
        let address =
            address.ok_or_else(|| ErrorAnswer::no_such(format!("node {node} is not registered: start it first")))?;
        self.pass_on(&address, request, |mut node, request| async move { node.force_promote(request).await }).await
    }

    async fn rebuild_zookeeper(
        &self,
        request: Request<RebuildZookeeperRequest>,
    ) -> Result<Response<RebuildZookeeperResponse>> {
        let RebuildZookeeperRequest { confirmed } = request.into_inner();
        Ok(Box::pin(rebuild::rebuild(&self.edge, confirmed)).await.map(Response::new)?)
    }
}

impl ClusterService {
    fn check_split(&self, shard: ShardId, at: &Bytes) -> Result<Option<Bytes>, ErrorAnswer> {
        if at.is_empty() {
            return Ok(None);
        }
        self.edge.intake.limits().check_key(at)?;
        if let Some(route) = self.edge.driver.route(shard)
            && route.config.range.split(at).is_none()
        {
            let (at, range) = (at.escape_ascii(), &route.config.range);
            return Err(ErrorAnswer::invalid(format!("shard {shard} can't be split at {at}: its range is {range}")));
        }
        Ok(Some(at.clone()))
    }

    fn primary_of(&self, shard: ShardId) -> Result<String, ErrorAnswer> {
        let route = self.edge.driver.route(shard);
        let route = route.ok_or_else(|| ErrorAnswer::no_such(format!("there is no shard {shard}")))?;
        match route.primary {
            Some((_, address)) if !route.local => Ok(address),
            Some((node, _)) => Err(ErrorAnswer::unavailable(format!("{node} does not lead shard {shard} yet"))),
            None => Err(ErrorAnswer::unavailable(format!("the primary of shard {shard} is on no known node"))),
        }
    }

    async fn pass_on<Q, R, F>(
        &self,
        address: &str,
        request: Request<Q>,
        call: impl FnOnce(ClusterClient<Channel>, Request<Q>) -> F,
    ) -> Result<Response<R>>
    where
        F: Future<Output = Result<Response<R>>>,
    {
        if request.metadata().contains_key(PASSED_ON) {
            let node = self.edge.driver.node();
            let text = format!("the request was passed on to {node}, which can't carry it out either: try again");
            return Err(ErrorAnswer::unavailable(text).into());
        }
        let mut passed_on = Request::new(request.into_inner());
        passed_on.metadata_mut().insert(PASSED_ON, MetadataValue::from_static("1"));
        let client = self.edge.channels.cluster(address)?;
        match timeout(PASSED_ON_LIMIT, Box::pin(call(client, passed_on))).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(status)) => Err(ErrorAnswer::from_peer(address, &status).into()),
            Err(_) => Err(ErrorAnswer::unknown(format!("{address} did not answer within {PASSED_ON_LIMIT:?}")).into()),
        }
    }

    /// Waits until the shard's primary answers a read.
    async fn wait_served(&self, shard: ShardId) -> Result<(), ErrorAnswer> {
        let Some(route) = self.edge.driver.route(shard) else { return Ok(()) };
        let probe = WireRequest::Scan(describe::probe(&route.config.range));
        let answer = Box::pin(self.edge.router.answer(probe, Instant::now() + SERVING_LIMIT)).await;
        answer.map(drop).map_err(|error| {
            ErrorAnswer::unknown(format!("it is done, but shard {shard} is not served yet: {}", error.message()))
        })
    }
}

fn name(text: &str) -> Result<NodeName, ErrorAnswer> {
    NodeName::new(text).map_err(ErrorAnswer::invalid)
}

/// How many copies `node` holds: those that are to be there, and those in sync that are to go but have not gone yet.
fn held_by(view: &View, node: &NodeName) -> u32 {
    let Some(info) = view.nodes.get(node) else { return 0 };
    let shards: BTreeSet<_> = view.placements.keys().chain(view.shards.keys()).collect();
    let held = shards.into_iter().flat_map(|shard| view.volumes_of(*shard));
    u32::try_from(held.filter(|volume| info.value.has_volume(*volume)).count()).unwrap_or(u32::MAX)
}
