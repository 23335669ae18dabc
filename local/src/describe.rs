use std::error::Error;

use kv_client::description::ClusterDescription;
use kv_local::{LocalCluster, NodeState};

use crate::traffic;

/// The cluster as a node sees it that reaches ZooKeeper; if none does, as any node sees it. Nodes are asked past their
/// proxies, one after the other.
///
/// # Errors
/// The last node's, if none answers.
pub async fn describe(cluster: &mut LocalCluster) -> Result<ClusterDescription, Box<dyn Error + Send + Sync>> {
    let mut out_of_date = None;
    let mut last: Box<dyn Error + Send + Sync> = "no node is running: `start` one".into();
    for id in 0..cluster.node_count() {
        let node = cluster.node_mut(id)?;
        if node.state() != NodeState::Running {
            continue;
        }
        let answer = match traffic::of_node(node.direct_address()).await {
            Ok(client) => client.describe(false).await,
            Err(error) => Err(error),
        };
        match answer {
            Ok(description) if description.zookeeper_connected => return Ok(description),
            Ok(description) => out_of_date = Some(description),
            Err(error) => last = error.into(),
        }
    }
    out_of_date.ok_or(last)
}
