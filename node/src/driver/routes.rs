//! Who serves which keys, as far as this node knows.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use kv_cluster::View;
use kv_types::{ShardConfig, ShardId, VolumeId};

use super::{replica::Replica, request::Route};

/// Routes in the order of their ranges; made anew when something changes.
#[derive(Default)]
pub(super) struct Routes {
    by_start: Vec<Entry>,
}

pub(super) struct Entry {
    pub(super) route: Route,
    /// Copies on this node.
    pub(super) copies: Vec<Arc<Replica>>,
}

impl Routes {
    pub(super) fn new(
        view: &View,
        replicas: &BTreeMap<(ShardId, VolumeId), Arc<Replica>>,
        configs: &BTreeMap<ShardId, ShardConfig>,
    ) -> Self {
        let mut newest: BTreeMap<ShardId, &ShardConfig> = configs.iter().map(|(id, config)| (*id, config)).collect();
        for (shard, seen) in &view.shards {
            let known = newest.entry(*shard).or_insert(&seen.value);
            if seen.value.epoch > known.epoch {
                *known = &seen.value;
            }
        }
        let mut by_start: Vec<Entry> = newest
            .into_iter()
            .map(|(shard, config)| {
                let copies: Vec<_> = replicas
                    .range((shard, VolumeId::MIN)..=(shard, VolumeId::MAX))
                    .map(|(_, r)| Arc::clone(r))
                    .collect();
                let primary = view.node_with(config.primary).map(|node| (node.node.clone(), node.address.clone()));
                let local = copies.iter().any(|copy| copy.volume.id == config.primary);
                Entry { route: Route { shard, config: Arc::new(config.clone()), primary, local }, copies }
            })
            .collect();
        by_start.sort_by(|a, b| a.route.config.range.start.cmp(&b.route.config.range.start));
        Self { by_start }
    }

    /// The shard of `key`; the last shard for `None`.
    pub(super) fn find(&self, key: Option<&[u8]>) -> Option<&Entry> {
        let Some(key) = key else { return self.by_start.last() };
        let after = self.by_start.partition_point(|entry| entry.route.config.range.start <= key);
        let entry = &self.by_start[after.checked_sub(1)?];
        entry.route.config.range.contains(key).then_some(entry)
    }

    /// The shard of the last key below `end`; the last shard for `None`.
    pub(super) fn find_below(&self, end: Option<&Bytes>) -> Option<&Entry> {
        let Some(end) = end else { return self.by_start.last() };
        let after = self.by_start.partition_point(|entry| entry.route.config.range.start < *end);
        self.by_start.get(after.checked_sub(1)?)
    }

    pub(super) fn of_shard(&self, shard: ShardId) -> Option<&Entry> {
        self.by_start.iter().find(|entry| entry.route.shard == shard)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Entry> {
        self.by_start.iter()
    }
}
