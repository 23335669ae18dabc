use std::collections::BTreeMap;

use kv_types::{Epoch, KeyRange, Lineage, Placement, ShardConfig, ShardId, VolumeId};

use crate::plan::Micros;

/// ZooKeeper: a versioned register for each shard, placement, and sessions.
#[derive(Debug, Default)]
pub(crate) struct ZooKeeper {
    /// All configurations that were ever in force; the last one is.
    shards: BTreeMap<ShardId, Vec<ShardConfig>>,
    pub(crate) placement: BTreeMap<ShardId, Placement>,
    /// Until when a session lives if nothing more is heard of it.
    sessions: BTreeMap<VolumeId, Micros>,
    pub(crate) down_until: Micros,
}

impl ZooKeeper {
    pub(crate) fn create(&mut self, shard: ShardId, config: ShardConfig, placement: Placement) {
        self.shards.insert(shard, vec![config]);
        self.placement.insert(shard, placement);
    }

    pub(crate) fn config(&self, shard: ShardId) -> Option<&ShardConfig> {
        self.shards.get(&shard)?.last()
    }

    pub(crate) fn shards(&self) -> impl Iterator<Item = (ShardId, &ShardConfig)> {
        self.shards.iter().filter_map(|(id, configs)| configs.last().map(|config| (*id, config)))
    }

    pub(crate) fn shard_of(&self, key: &[u8]) -> Option<ShardId> {
        self.shards().find(|(_, config)| config.range.contains(key)).map(|(id, _)| id)
    }

    /// A configuration of earlier, `age` changes ago.
    pub(crate) fn earlier(&self, shard: ShardId, age: usize) -> Option<&ShardConfig> {
        let configs = self.shards.get(&shard)?;
        configs.get(configs.len().saturating_sub(1 + age))
    }

    /// Whether the change was made.
    pub(crate) fn compare_and_set(
        &mut self,
        shard: ShardId,
        expected: Epoch,
        new: ShardConfig,
        split: Option<(ShardId, ShardConfig)>,
    ) -> bool {
        let Some(configs) = self.shards.get_mut(&shard) else { return false };
        if configs.last().is_none_or(|config| config.epoch != expected) {
            return false;
        }
        configs.push(new);
        if let Some((child, config)) = split
            && let Some(placement) = self.placement.get(&shard).cloned()
        {
            self.create(child, config, placement);
        }
        true
    }

    /// What `kvctl force-promote` writes.
    pub(crate) fn force(&mut self, shard: ShardId, primary: VolumeId) {
        if let Some(config) = self.config(shard) {
            let mut new = config.successor(primary, [primary]);
            new.lineage = Lineage(new.lineage.0 + 1);
            if let Some(configs) = self.shards.get_mut(&shard) {
                configs.push(new);
            }
        }
    }

    pub(crate) fn renew(&mut self, volume: VolumeId, until: Micros) {
        self.sessions.insert(volume, until);
    }

    /// Whether the session had ended by then.
    pub(crate) fn is_gone(&self, volume: VolumeId, then: Micros) -> bool {
        self.sessions.get(&volume).is_none_or(|until| *until < then)
    }

    pub(crate) fn registered(&self, now: Micros) -> impl Iterator<Item = VolumeId> {
        self.sessions.iter().filter(move |(_, until)| now < **until).map(|(volume, _)| *volume)
    }
}

/// The one shard that a cluster starts with.
pub(crate) fn first_config(isr: &[VolumeId]) -> ShardConfig {
    let mut sorted = isr.to_vec();
    sorted.sort_unstable();
    ShardConfig { epoch: Epoch(1), lineage: Lineage(1), range: KeyRange::all(), primary: isr[0], isr: sorted }
}
