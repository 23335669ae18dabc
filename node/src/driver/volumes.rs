//! The node's two volumes, open.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use kv_storage::{ReplicaState, Space, Volume};
use kv_types::{Folder, ShardId, VolumeId};

use super::syncs::Syncs;

/// A volume and who it is.
pub(crate) struct OpenVolume {
    pub(crate) id: VolumeId,
    pub(crate) folder: Folder,
    pub(crate) volume: Volume,
    /// Who waits for its log.
    pub(super) syncs: Arc<Syncs>,
    /// Spaces up to this one were given out.
    spaces: AtomicU64,
}

impl OpenVolume {
    /// `last_space` is the highest space that any replica of the volume has.
    pub(super) fn new(id: VolumeId, folder: Folder, volume: Volume, last_space: Space) -> Arc<Self> {
        Arc::new(Self { id, folder, volume, syncs: Arc::default(), spaces: AtomicU64::new(last_space.0) })
    }

    /// What the replica of `shard` remembers, as last handed over.
    pub(super) fn state_of(&self, shard: ShardId) -> ReplicaState {
        let states = self.volume.states().into_iter();
        states.filter(|(of, _)| *of == shard).map(|(_, state)| state).next().unwrap_or_default()
    }

    /// A space that no row was ever written to.
    pub(super) fn new_space(&self) -> Space {
        Space(self.spaces.fetch_add(1, Ordering::Relaxed) + 1)
    }
}
