//! What the nodes know of the shards, to make ZooKeeper's content anew.

use std::{collections::BTreeMap, time::Duration};

use futures::future::join_all;
use kv_proto::v1::{ClusterDescription, RebuildZookeeperResponse, ShardDescription};
use kv_types::{Epoch, KeyRange, Lineage, ShardConfig, ShardId, VolumeId};
use uuid::Uuid;

use crate::server::{describe, edge::Edge, status::ErrorAnswer};

/// How long other nodes have to tell what they know.
const PEER_LIMIT: Duration = Duration::from_secs(2);

/// Says what would be written, or with `confirmed` writes it.
pub(super) async fn rebuild(edge: &Edge, confirmed: bool) -> Result<RebuildZookeeperResponse, ErrorAnswer> {
    let view = edge.driver.cluster().view();
    let own = edge.driver.node();
    // Who is registered is what ZooKeeper has lost.
    let others: Vec<_> = view.nodes.values().map(|node| &node.value).filter(|info| info.node != *own).collect();
    let answers = join_all(others.iter().map(|info| describe::ask(edge, &info.address, PEER_LIMIT))).await;
    let silent: Vec<_> = others
        .iter()
        .zip(&answers)
        .filter(|(_, answer)| answer.is_none())
        .map(|(info, _)| info.node.to_string())
        .collect();
    let known = newest(answers.into_iter().flatten());
    if confirmed {
        let message = edge.driver.rebuild_zookeeper(known).await?;
        return Ok(RebuildZookeeperResponse { done: true, message });
    }
    let mut shards = known;
    for (shard, config) in edge.driver.known_configs() {
        shards.entry(shard).or_insert(config);
    }
    let mut message = format!("{} shards and {} nodes would be written", shards.len(), view.nodes.len());
    if !silent.is_empty() {
        message =
            format!("{message}; {} did not answer: start them first, they may know newer epochs", silent.join(", "));
    }
    Ok(RebuildZookeeperResponse { done: false, message })
}

/// The configuration of the highest epoch of each shard, out of what nodes say of themselves.
fn newest(answers: impl Iterator<Item = ClusterDescription>) -> BTreeMap<ShardId, ShardConfig> {
    let mut newest: BTreeMap<ShardId, ShardConfig> = BTreeMap::new();
    for shard in answers.flat_map(|answer| answer.shards) {
        let Some(config) = config(&shard) else { continue };
        let known = newest.entry(ShardId(shard.shard)).or_insert_with(|| config.clone());
        if config.epoch > known.epoch {
            *known = config;
        }
    }
    newest
}

/// `None` if the node does not know all of it.
fn config(shard: &ShardDescription) -> Option<ShardConfig> {
    let volume = |text: &str| Uuid::parse_str(text).ok().map(VolumeId);
    let in_sync = || shard.replicas.iter().filter(|replica| replica.in_sync);
    // Nodes that are not known have no name: the primary can't be told from others then.
    let mut named = in_sync().filter(|replica| !replica.node.is_empty());
    let primary = named.find(|replica| replica.node == shard.primary && replica.folder == shard.served_from)?;
    let mut isr = in_sync().map(|replica| volume(&replica.volume)).collect::<Option<Vec<_>>>()?;
    isr.sort_unstable();
    (shard.epoch > 0).then_some(ShardConfig {
        epoch: Epoch(shard.epoch),
        lineage: Lineage(shard.lineage),
        range: KeyRange { start: shard.start.clone(), end: (!shard.end.is_empty()).then(|| shard.end.clone()) },
        primary: volume(&primary.volume)?,
        isr,
    })
}

#[cfg(test)]
mod tests {
    use kv_proto::v1::ReplicaDescription;

    use super::*;

    fn replica(node: &str, folder: &str, volume: u128, in_sync: bool) -> ReplicaDescription {
        ReplicaDescription {
            node: node.into(),
            folder: folder.into(),
            volume: Uuid::from_u128(volume).to_string(),
            in_sync,
            ..ReplicaDescription::default()
        }
    }

    fn says(epoch: u64, primary: &str, served_from: &str) -> ClusterDescription {
        let replicas =
            vec![replica("b", "bkpdata", 21, true), replica("a", "data", 10, true), replica("c", "bkpdata", 31, false)];
        let shard = ShardDescription {
            shard: 4,
            epoch,
            primary: primary.into(),
            served_from: served_from.into(),
            replicas,
            ..ShardDescription::default()
        };
        ClusterDescription { shards: vec![shard], ..ClusterDescription::default() }
    }

    #[test]
    fn the_highest_epoch_counts_with_its_whole_in_sync_set() {
        let known = newest([says(6, "b", "bkpdata"), says(7, "a", "data"), says(5, "b", "bkpdata")].into_iter());
        let volume = |number| VolumeId(Uuid::from_u128(number));
        let config = &known[&ShardId(4)];
        assert_eq!((config.epoch, config.primary), (Epoch(7), volume(10)));
        assert_eq!(config.isr, [volume(10), volume(21)]);
    }

    #[test]
    fn what_a_node_knows_only_in_part_is_left_out() {
        let mut nameless = says(7, "", "");
        let replicas = &mut nameless.shards[0].replicas;
        replicas.iter_mut().for_each(|replica| (replica.node, replica.folder) = (String::new(), String::new()));
        assert!(newest([says(7, "a", "bkpdata"), says(0, "a", "data"), nameless].into_iter()).is_empty());
    }
}
