//! Restores a ZooKeeper that was wholly lost from what the nodes know (`kvctl rebuild-zookeeper`).

use std::{collections::BTreeMap, time::Duration};

use kv_cluster::{Cluster, Rebuild};
use kv_types::{ShardConfig, ShardId};
use tracing::warn;

use super::{Driver, request::Failure};

/// How long ZooKeeper may take.
const LIMIT: Duration = Duration::from_secs(20);

impl Driver {
    /// The newest configuration of each shard that a copy on this node knows.
    #[must_use]
    pub fn known_configs(&self) -> BTreeMap<ShardId, ShardConfig> {
        self.shared.known_configs()
    }

    /// Writes anew what this node's view and the configurations `known` to it and its peers hold. Of each shard the highest
    /// epoch counts; the nodes then lead only after a change of their own, so an older one does no harm but to availability.
    ///
    /// # Errors
    /// [`Failure::Refused`] if ZooKeeper still has the cluster, or this node has seen nothing of it since its start.
    pub async fn rebuild_zookeeper(&self, known: BTreeMap<ShardId, ShardConfig>) -> Result<String, Failure> {
        let view = self.cluster().view();
        let Some(config) = view.config.as_ref().map(|config| config.value.clone()) else {
            return Err(Failure::Refused("this node has not seen the cluster since its start: ask another".into()));
        };
        let mut configs: BTreeMap<ShardId, ShardConfig> =
            view.shards.iter().map(|(shard, seen)| (*shard, seen.value.clone())).collect();
        for (shard, config) in known.into_iter().chain(self.known_configs()) {
            let newest = configs.entry(shard).or_insert_with(|| config.clone());
            if config.epoch > newest.epoch {
                *newest = config;
            }
        }
        let placed = configs.into_iter().filter_map(|(shard, config)| {
            let placement = view.placements.get(&shard)?.value.clone();
            Some((shard, config, placement))
        });
        let shards: Vec<_> = placed.collect();
        let count = shards.len();
        let nodes = view.nodes.values().map(|node| node.value.clone()).collect();
        let rebuild = Rebuild { cluster: self.cluster().cluster_uuid(), config, nodes, shards };
        warn!(shards = count, "rebuilding what ZooKeeper held");
        Cluster::rebuild_zookeeper(&self.shared.zookeeper, &rebuild, LIMIT)
            .await
            .map_err(|error| Failure::Refused(error.to_string()))?;
        Ok(format!("{count} shards were written; the nodes register by themselves"))
    }
}
