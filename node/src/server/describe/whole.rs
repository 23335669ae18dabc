//! Joins what nodes say of themselves with ZooKeeper's view.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use kv_cluster::View;
use kv_proto::v1::{ClusterDescription, NodeDescription, ReplicaDescription, ShardDescription};
use kv_types::{Placement, ShardConfig, ShardId, VolumeId};

use super::local::{folder_of, known_node};

/// What the nodes have said, by what it is about.
#[derive(Default)]
struct Said {
    nodes: HashMap<String, NodeDescription>,
    /// Of each shard what its primary says, or else the node that knows the highest epoch.
    shards: HashMap<u64, ShardDescription>,
    /// By shard and volume.
    replicas: HashMap<(u64, String), ReplicaDescription>,
    lags: HashMap<(u64, String), u64>,
}

/// Fills in `frame`; each of `answers` is what one node says of itself.
pub(super) fn merge(
    frame: ClusterDescription,
    view: &View,
    answers: impl Iterator<Item = ClusterDescription>,
) -> ClusterDescription {
    let mut said = Said::default();
    answers.for_each(|answer| said.add(answer));
    let ids: BTreeSet<ShardId> = view.shards.keys().chain(view.placements.keys()).copied().collect();
    let shards: Vec<_> = ids.into_iter().map(|id| said.shard(view, id)).collect();
    let mut lags: HashMap<&str, u64> = HashMap::new();
    for replica in shards.iter().flat_map(|shard| &shard.replicas) {
        let lag = lags.entry(&replica.node).or_default();
        *lag = replica.lag.max(*lag);
    }
    let mut names: BTreeMap<&str, NodeDescription> = view
        .nodes
        .iter()
        .map(|(name, info)| (name.as_str(), known_node(view, name.as_str(), Some(&info.value))))
        .collect();
    for (name, own) in &said.nodes {
        // Role and placement are the asked node's view; the rest the node knows best.
        let known = names.remove(name.as_str()).unwrap_or_else(|| known_node(view, name, None));
        let NodeDescription { role, draining, copies_placed, .. } = known;
        names.insert(name, NodeDescription { role, draining, copies_placed, ..own.clone() });
    }
    let nodes = names.into_values().map(|node| {
        let lag = lags.get(node.node.as_str()).copied().unwrap_or_default();
        NodeDescription { lag, ..node }
    });
    ClusterDescription { nodes: nodes.collect(), shards, ..frame }
}

impl Said {
    fn add(&mut self, answer: ClusterDescription) {
        let ClusterDescription { nodes, shards, answered_by, .. } = answer;
        self.nodes.extend(nodes.into_iter().map(|node| (node.node.clone(), node)));
        for mut shard in shards {
            for replica in std::mem::take(&mut shard.replicas) {
                let key = (shard.shard, replica.volume.clone());
                if replica.node == answered_by && !replica.state.is_empty() {
                    self.replicas.insert(key, replica);
                } else if shard.primary == answered_by {
                    self.lags.insert(key, replica.lag);
                }
            }
            let rank = |shard: &ShardDescription| (shard.available, shard.epoch);
            let known = self.shards.get(&shard.shard);
            if known.is_none_or(|known| rank(known) < rank(&shard)) {
                self.shards.insert(shard.shard, shard);
            }
        }
    }

    fn shard(&self, view: &View, id: ShardId) -> ShardDescription {
        let seen = view.shards.get(&id).map(|config| &config.value);
        let placement = view.placements.get(&id).map(|placement| &placement.value);
        let said = self.shards.get(&id.0).cloned().unwrap_or_default();
        let mut shard = ShardDescription { shard: id.0, ..said };
        if let Some(config) = seen.filter(|config| config.epoch.0 >= shard.epoch) {
            shard.start = config.range.start.clone();
            shard.end = config.range.end.clone().unwrap_or_default();
            shard.epoch = config.epoch.0;
            shard.lineage = config.lineage.0;
            shard.primary = node_of(view, config.primary);
            shard.served_from = folder_of(view, config.primary);
        }
        shard.home = placement.map(|placement| placement.home.to_string()).unwrap_or_default();
        shard.replicas = view.volumes_of(id).iter().map(|volume| self.replica(view, id, *volume)).collect();
        shard.fully_replicated = fully_replicated(seen, placement);
        shard
    }

    fn replica(&self, view: &View, id: ShardId, volume: VolumeId) -> ReplicaDescription {
        let key = (id.0, volume.to_string());
        let own = self.replicas.get(&key).cloned();
        let placement = view.placements.get(&id);
        ReplicaDescription {
            in_sync: view.shards.get(&id).is_some_and(|config| config.value.is_in_sync(volume)),
            placed: placement.is_some_and(|placement| placement.value.replicas.contains(&volume)),
            lag: self.lags.get(&key).copied().unwrap_or_default(),
            ..own.unwrap_or_else(|| ReplicaDescription {
                node: node_of(view, volume),
                folder: folder_of(view, volume),
                volume: volume.to_string(),
                state: "absent".to_owned(),
                ..ReplicaDescription::default()
            })
        }
    }
}

/// Whether each copy is where it should be and in sync.
fn fully_replicated(config: Option<&ShardConfig>, placement: Option<&Placement>) -> bool {
    let (Some(config), Some(placement)) = (config, placement) else { return false };
    placement.replicas.len() >= placement.copies && placement.replicas.iter().all(|volume| config.is_in_sync(*volume))
}

fn node_of(view: &View, volume: VolumeId) -> String {
    view.node_with(volume).map(|info| info.node.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
