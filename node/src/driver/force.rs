//! The only way around the loss of all in-sync copies, asked for by a person (protocol, section 5).

use kv_cluster::CasOutcome;
use kv_replication::core::Input;
use kv_types::{Folder, Lineage, ShardConfig, ShardId};
use tracing::warn;

use super::{Driver, replica::Replica, request::Failure};

impl Driver {
    /// Makes this node's copy of `shard` the primary of a new lineage, or with `empty` an empty one in `data`. Acknowledged
    /// writes that only the former in-sync copies have are lost. Returns what was done, for a person.
    ///
    /// # Errors
    /// [`Failure::Refused`] while a member of the last ISR is registered, without a registered majority, or if this node has
    /// no copy.
    pub async fn force_promote(&self, shard: ShardId, empty: bool) -> Result<String, Failure> {
        let cluster = self.cluster();
        let refused = |error: kv_cluster::Error| Failure::Refused(error.to_string());
        let old = cluster.quorum_read(shard).await.map_err(refused)?;
        // A copy that is being filled is empty, and one of an older lineage was given up before.
        let usable = |replica: &&std::sync::Arc<Replica>| {
            let state = replica.lock();
            replica.shard == shard && state.core.lineage() == old.lineage && !state.core.awaits_snapshot()
        };
        let copies: Vec<_> = self.shared.replicas().values().filter(usable).cloned().collect();
        let newest = copies.into_iter().max_by_key(|replica| replica.lock().core.report(self.shared.now()).last);
        let volume = match (&newest, empty) {
            (Some(copy), false) => copy.volume.clone(),
            (None, false) => {
                let node = self.node();
                return Err(Failure::Refused(format!(
                    "{node} has no usable copy of shard {shard}: name another node, or --empty"
                )));
            }
            (_, true) => {
                let data = self.shared.volumes.iter().find(|volume| volume.folder == Folder::Data);
                data.cloned().ok_or_else(|| Failure::Fault("the node has no data volume".into()))?
            }
        };
        let new = ShardConfig {
            epoch: old.epoch.next(),
            lineage: Lineage(old.lineage.0 + 1),
            range: old.range.clone(),
            primary: volume.id,
            isr: vec![volume.id],
        };
        match cluster.force_promote(shard, &new).await.map_err(refused)? {
            CasOutcome::Won(_) => {}
            CasOutcome::Lost { newer } => {
                let epoch = newer.epoch;
                return Err(Failure::Refused(format!("the shard has changed meanwhile (epoch {epoch}): look again")));
            }
            CasOutcome::Unknown => return Err(Failure::Unknown("ZooKeeper did not answer in time: look again".into())),
        }
        warn!(%shard, folder = %volume.folder, empty, "promoted by force: writes may be lost");
        let replica = if empty {
            self.shared.make_empty(shard, &volume, false)
        } else {
            match newest {
                Some(copy) => copy,
                None => return Err(Failure::Fault("the copy is gone".into())),
            }
        };
        replica.step(&self.shared, Input::Config { config: new, quorum: true });
        let of = if empty { "an empty copy" } else { "the copy" };
        Ok(format!(
            "shard {shard} is served from {of} in {} of {}, lineage {}",
            volume.folder,
            self.node(),
            old.lineage.0 + 1
        ))
    }
}
