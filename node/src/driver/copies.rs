//! What this node has, for status, metrics and readiness.

use kv_storage::{VolumeStats, rows};
use kv_types::{Folder, KeyRange};

use super::{Driver, replica::Replica, request::CopyReport};

impl Driver {
    /// The copies on this node.
    #[must_use]
    pub fn copies(&self) -> Vec<CopyReport> {
        self.shared.replicas().values().map(|replica| self.copy(replica)).collect()
    }

    /// Those that serve. Sizes are reckoned from files, so on a thread that may wait; `None` if the process ends.
    pub(super) async fn serving_copies(&self) -> Option<Vec<CopyReport>> {
        let reporting = self.clone();
        let mut copies = tokio::task::spawn_blocking(move || reporting.copies()).await.ok()?;
        let leads = |copy: &CopyReport| self.shared.replica(copy.shard, copy.volume).is_some_and(|copy| copy.leads());
        copies.retain(leads);
        Some(copies)
    }

    fn copy(&self, replica: &Replica) -> CopyReport {
        let (core, applied, was_in_sync, space) = {
            let state = replica.lock();
            (state.core.report(self.shared.now()), state.applied, state.was_in_sync, state.space)
        };
        let range = core.config.as_ref().map_or_else(KeyRange::all, |config| config.range.clone());
        let size_bytes = replica.volume.volume.table().approximate_size(&rows::data_range(space, &range));
        CopyReport {
            shard: replica.shard,
            folder: replica.volume.folder,
            volume: replica.volume.id,
            core,
            applied,
            size_bytes,
            was_in_sync,
        }
    }

    /// What the two volumes hold and have done.
    #[must_use]
    pub fn volume_stats(&self) -> [(Folder, VolumeStats); 2] {
        self.shared.volumes.each_ref().map(|volume| (volume.folder, volume.volume.stats()))
    }

    /// Bytes on the disk of one of the volumes.
    #[must_use]
    pub fn volume_bytes(&self, folder: Folder) -> u64 {
        let volume = self.shared.volumes.iter().find(|volume| volume.folder == folder);
        volume.map_or(0, |volume| {
            let table = volume.volume.table().stats();
            table.disk_bytes + table.memory_bytes
        })
    }

    /// Whether the node is ready: registered (or ZooKeeper is down for all), and every placed copy has been in the ISR once
    /// since the start. So a drain or a rolling change never takes the last good copy.
    ///
    /// # Errors
    /// What is missing, for a person.
    pub fn ready(&self) -> Result<(), String> {
        if self.is_ceased() {
            return Err("cut off from the cluster: it has ceased to serve".into());
        }
        let cluster = self.cluster();
        let timeout = cluster.session_timeout();
        if !cluster.is_registered() && cluster.age() < timeout {
            return Err("not registered in ZooKeeper".into());
        }
        let view = cluster.view();
        if view.shards.is_empty() {
            return Err("the cluster has no shards yet".into());
        }
        for (shard, placement) in &view.placements {
            for volume in &self.shared.volumes {
                if !placement.value.replicas.contains(&volume.id) {
                    continue;
                }
                let replica = self.shared.replica(*shard, volume.id);
                if !replica.is_some_and(|replica| replica.lock().was_in_sync) {
                    return Err(format!("the copy of shard {shard} in {} is not in sync yet", volume.folder));
                }
            }
        }
        Ok(())
    }
}
