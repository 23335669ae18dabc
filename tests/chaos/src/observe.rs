//! How a cluster is looked at, past all faults.

use std::time::Duration;

use kv_client::{Client, ClientOptions, Discovery, description::ClusterDescription};
use kv_local::{LocalCluster, NodeState};
use kv_tests::claims;
use tokio::time::{Instant, sleep, timeout};

/// How long one node may take to describe the cluster.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// Pause between two looks.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What the cluster says of itself, asked of the first running node that reaches ZooKeeper.
///
/// # Errors
/// What the last node said.
pub async fn description(cluster: &mut LocalCluster) -> Result<ClusterDescription, String> {
    let mut last = "no node is running".to_owned();
    for index in 0..cluster.node_count() {
        let Ok(node) = cluster.node_mut(index) else { continue };
        if node.state() != NodeState::Running {
            continue;
        }
        let name = node.name().to_owned();
        let discovery = Discovery::Nodes(vec![node.direct_address().to_string()]);
        let options = ClientOptions { retries: false, ..ClientOptions::new(discovery) };
        let described = async { Client::connect(options).await?.describe(false).await };
        match timeout(ANSWER_WITHIN, described).await {
            Ok(Ok(description)) if description.zookeeper_connected => return Ok(description),
            Ok(Ok(_)) => last = format!("{name} does not reach ZooKeeper"),
            Ok(Err(error)) => last = format!("{name}: {error}"),
            Err(_) => last = format!("{name} does not answer"),
        }
    }
    Err(last)
}

/// Waits until the cluster's description is as claimed. Returns it, and how long that took.
///
/// # Errors
/// After `within`, with what was not so.
pub async fn until(
    cluster: &mut LocalCluster,
    within: Duration,
    mut claim: impl FnMut(&ClusterDescription) -> Result<(), String>,
) -> Result<(ClusterDescription, Duration), String> {
    let started = Instant::now();
    loop {
        match claimed(cluster, &mut claim).await {
            Ok(description) => return Ok((description, started.elapsed())),
            Err(why) if started.elapsed() >= within => return Err(late(within, &why)),
            Err(_) => sleep(LOOK_EVERY).await,
        }
    }
}

/// What the cluster says of itself, if it is as claimed.
pub(crate) async fn claimed(
    cluster: &mut LocalCluster,
    claim: &mut impl FnMut(&ClusterDescription) -> Result<(), String>,
) -> Result<ClusterDescription, String> {
    let description = description(cluster).await?;
    claim(&description).map(|()| description)
}

pub(crate) fn late(within: Duration, why: &str) -> String {
    format!("not within {within:?}: {why}")
}

/// Waits until all nodes are there and ready, and every shard has all its copies and is served by its home.
///
/// # Errors
/// After `within`, with what was not so.
pub async fn until_whole(
    cluster: &mut LocalCluster,
    within: Duration,
) -> Result<(ClusterDescription, Duration), String> {
    let nodes = cluster.node_count();
    until(cluster, within, |description| claims::whole_with(description, nodes)).await
}
