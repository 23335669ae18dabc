//! The only way around the loss of all in-sync copies, asked for by a person (protocol, section 5).

use std::sync::Arc;

use kv_cluster::CasOutcome;
use kv_replication::core::Input;
use kv_storage::Space;
use kv_types::{EntryId, Folder, Lineage, ShardConfig, ShardId};
use tracing::warn;

use super::{Driver, manager::empty_volume, replica::Replica, request::Failure, shared::Shared};

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
        let newest = Chosen::newest(&self.shared, shard, old.lineage);
        let volume = match (&newest, empty) {
            (Some(chosen), false) => chosen.replica.volume.clone(),
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
        let chosen = newest.filter(|_| !empty);
        let last_look = || chosen.as_ref().map_or(Ok(()), |chosen| chosen.look_again(&self.shared));
        match cluster.force_promote(shard, &new, last_look).await.map_err(refused)? {
            CasOutcome::Won(_) => {}
            CasOutcome::Lost { newer } => {
                let epoch = newer.epoch;
                return Err(Failure::Refused(format!("the shard has changed meanwhile (epoch {epoch}): look again")));
            }
            CasOutcome::Unknown => return Err(Failure::Unknown("ZooKeeper did not answer in time: look again".into())),
        }
        warn!(%shard, folder = %volume.folder, empty, "promoted by force: writes may be lost");
        let replica = match chosen {
            // ZooKeeper names it by now, but while the request was under way it could still be lost.
            Some(chosen) => match chosen.is_there(&self.shared) {
                Ok(()) => chosen.replica,
                Err(found) => {
                    let text = format!(
                        "the copy of shard {shard} that ZooKeeper names now {found}: force another one, or --empty"
                    );
                    return Err(Failure::Fault(text));
                }
            },
            None => {
                if let Some(former) = self.shared.replica(shard, volume.id) {
                    empty_volume(&self.shared, &former, "an empty copy takes its place by force");
                }
                self.shared.make_empty(shard, &volume, false)
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

/// A copy that is to lead, as it was when it was chosen. Until it leads it is like any other: it may be dropped, be made
/// anew or start over, and must not be taken for what a person has agreed to then.
struct Chosen {
    replica: Arc<Replica>,
    space: Space,
    lineage: Lineage,
    last: EntryId,
}

impl Chosen {
    /// The usable copy here with the longest log. One that is being filled is empty, and one of an older lineage was given
    /// up before.
    fn newest(shared: &Shared, shard: ShardId, lineage: Lineage) -> Option<Self> {
        let usable = |replica: &Arc<Replica>| {
            let state = replica.lock();
            let usable = state.broken.is_none() && state.core.lineage() == lineage && !state.core.awaits_snapshot();
            let (space, last) = (state.space, state.core.last());
            usable.then(|| Self { replica: Arc::clone(replica), space, lineage, last })
        };
        let replicas = shared.replicas();
        let copies = replicas.values().filter(|replica| replica.shard == shard).filter_map(usable);
        copies.max_by_key(|chosen| chosen.last)
    }

    /// Whether the copy is there with what it had, or what was found instead.
    fn is_there(&self, shared: &Shared) -> Result<(), String> {
        let replica = &self.replica;
        let Some(there) = shared.replica(replica.shard, replica.volume.id) else {
            return Err("was dropped meanwhile".to_owned());
        };
        if !Arc::ptr_eq(&there, replica) {
            let chosen = replica.lock().core.incarnation();
            let now = there.lock().core.incarnation();
            return Err(format!("was made anew meanwhile (incarnation {now}, {chosen} was chosen)"));
        }
        let state = there.lock();
        if let Some(why) = &state.broken {
            return Err(format!("does nothing any more: {why}"));
        }
        if state.space != self.space || state.core.awaits_snapshot() {
            return Err("has started over meanwhile and is empty, or is being filled".to_owned());
        }
        Ok(())
    }

    /// The same, and whether all of it is what was chosen: just before ZooKeeper is asked.
    fn look_again(&self, shared: &Shared) -> Result<(), String> {
        self.is_there(shared)?;
        let state = self.replica.lock();
        let (lineage, last) = (state.core.lineage(), state.core.last());
        if lineage != self.lineage {
            return Err(format!("is of lineage {lineage} now, and was of {}", self.lineage));
        }
        if last < self.last {
            let EntryId { epoch, seq } = self.last;
            return Err(format!("ends with entry {}/{} now, and ended with {epoch}/{seq}", last.epoch, last.seq));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use kv_types::{Epoch, KeyRange, VolumeId};

    use super::*;
    use crate::driver::fixture::{self, SHARD};

    /// A copy of lineage 1 that has been chosen.
    fn chosen(shared: &Arc<Shared>) -> Chosen {
        let data = &shared.volumes[0];
        let replica = shared.make_empty(SHARD, data, false);
        replica.step(shared, Input::Config { config: config(Lineage(1), Epoch(1)), quorum: false });
        let chosen = Chosen::newest(shared, SHARD, Lineage(1)).expect("a copy");
        assert!(Arc::ptr_eq(&chosen.replica, &replica));
        assert_eq!(chosen.look_again(shared), Ok(()));
        chosen
    }

    /// With a primary elsewhere.
    fn config(lineage: Lineage, epoch: Epoch) -> ShardConfig {
        let primary = VolumeId(uuid::Uuid::from_u128(7));
        ShardConfig { epoch, lineage, range: KeyRange::all(), primary, isr: vec![primary] }
    }

    fn found(chosen: &Chosen, shared: &Shared) -> String {
        chosen.look_again(shared).expect_err("it has changed")
    }

    #[tokio::test]
    async fn a_copy_that_was_dropped_or_made_anew_meanwhile_is_not_forced() {
        let folder = tempfile::tempdir().expect("a folder");
        let (shared, _) = fixture::open(folder.path());
        let chosen = chosen(&shared);
        empty_volume(&shared, &chosen.replica, "dropped");
        assert_eq!(found(&chosen, &shared), "was dropped meanwhile");
        let anew = shared.make_empty(SHARD, &chosen.replica.volume, true);
        assert!(found(&chosen, &shared).starts_with("was made anew meanwhile"));
        assert!(chosen.is_there(&shared).is_err());
        // Who has waited with the former copy in hand does no harm to the one that took its place.
        assert!(!empty_volume(&shared, &chosen.replica, "dropped"));
        assert!(shared.replica(SHARD, anew.volume.id).is_some_and(|there| Arc::ptr_eq(&there, &anew)));
    }

    #[tokio::test]
    async fn a_copy_that_has_started_over_meanwhile_is_not_forced() {
        let folder = tempfile::tempdir().expect("a folder");
        let (shared, _) = fixture::open(folder.path());
        let chosen = chosen(&shared);
        chosen.replica.lock().start_over(&shared, &chosen.replica);
        assert!(found(&chosen, &shared).contains("started over"));
    }

    #[tokio::test]
    async fn a_copy_of_another_lineage_is_not_forced() {
        let folder = tempfile::tempdir().expect("a folder");
        let (shared, _) = fixture::open(folder.path());
        let chosen = chosen(&shared);
        let own = ShardConfig { primary: chosen.replica.volume.id, ..config(Lineage(2), Epoch(2)) };
        chosen.replica.step(&shared, Input::Config { config: own, quorum: false });
        assert_eq!(found(&chosen, &shared), "is of lineage 2 now, and was of 1");
        assert_eq!(chosen.is_there(&shared), Ok(()), "it is what was promoted");
    }

    #[tokio::test]
    async fn a_damaged_or_shortened_copy_is_not_forced() {
        let folder = tempfile::tempdir().expect("a folder");
        let (shared, _) = fixture::open(folder.path());
        let mut chosen = chosen(&shared);
        chosen.last = EntryId::new(1, 9);
        assert_eq!(found(&chosen, &shared), "ends with entry 0/0 now, and ended with 1/9");
        chosen.replica.lock().broken = Some("its table is damaged".to_owned());
        assert_eq!(found(&chosen, &shared), "does nothing any more: its table is damaged");
        assert!(Chosen::newest(&shared, SHARD, Lineage(1)).is_none());
    }
}
