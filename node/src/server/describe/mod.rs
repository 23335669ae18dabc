//! What the cluster is: ZooKeeper's view, filled in with what each node says of itself.

mod local;
mod whole;

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use kv_proto::v1::{ClusterDescription, DescribeRequest, ScanRequest};
use kv_types::KeyRange;
use tokio::time::timeout;

use super::edge::Edge;

/// How long other nodes have to describe themselves; who doesn't answer is described from ZooKeeper's view.
const PEER_LIMIT: Duration = Duration::from_millis(300);

/// Only what this node knows and serves itself.
pub(super) fn local(edge: &Edge) -> ClusterDescription {
    local::describe(edge)
}

/// The whole cluster, as of now.
pub(super) async fn whole(edge: &Arc<Edge>) -> ClusterDescription {
    let view = edge.driver.cluster().view();
    let own = edge.driver.node();
    let others = view.members.iter().map(|member| &member.info).filter(|info| info.node != *own);
    let answers = join_all(others.map(|info| ask(edge, &info.address, PEER_LIMIT))).await;
    let answers = answers.into_iter().flatten().chain([local(edge)]);
    whole::merge(local::frame(edge), &view, answers)
}

/// What the node at `address` says of itself, if it does within `limit`.
pub(super) async fn ask(edge: &Edge, address: &str, limit: Duration) -> Option<ClusterDescription> {
    let mut cluster = edge.channels.cluster(address).ok()?;
    let answer = timeout(limit, cluster.describe(DescribeRequest { local: true })).await.ok()?;
    answer.ok().map(tonic::Response::into_inner)
}

/// The smallest read that only the primary of `range` can answer.
pub(super) fn probe(range: &KeyRange) -> ScanRequest {
    let end = [range.start.as_ref(), &[0]].concat().into();
    ScanRequest { start: range.start.clone(), end, limit: 1, keys_only: true, ..ScanRequest::default() }
}
