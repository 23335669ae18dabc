use serde::{Deserialize, Serialize};

use crate::{Epoch, KeyRange, Lineage, NodeName, VolumeId};

/// Who serves a shard: the content of its znode `shards/<id>`, changed by compare-and-set only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardConfig {
    /// Grows by one with every change.
    pub epoch: Epoch,
    /// A copy of another lineage starts over empty.
    pub lineage: Lineage,
    /// The keys of the shard.
    pub range: KeyRange,
    /// The replica that serves in this epoch.
    pub primary: VolumeId,
    /// The in-sync replicas, the primary among them, in ascending order.
    pub isr: Vec<VolumeId>,
}

impl ShardConfig {
    /// Whether `volume` is an in-sync replica.
    #[must_use]
    pub fn is_in_sync(&self, volume: VolumeId) -> bool {
        self.isr.contains(&volume)
    }

    /// The configuration after this one with another primary and ISR.
    #[must_use]
    pub fn successor(&self, primary: VolumeId, isr: impl IntoIterator<Item = VolumeId>) -> Self {
        let mut isr: Vec<_> = isr.into_iter().collect();
        isr.sort_unstable();
        isr.dedup();
        Self { epoch: self.epoch.next(), primary, isr, ..self.clone() }
    }
}

/// Where copies of a shard should be: the content of its znode `placement/<id>`, written by the master.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// The node whose `data` volume keeps the shard.
    pub home: NodeName,
    /// The volumes that should hold a copy, the home's `data` volume first.
    pub replicas: Vec<VolumeId>,
    /// How many copies there should be, the home's included.
    pub copies: usize,
}

impl Placement {
    /// The home's `data` volume.
    #[must_use]
    pub fn home_volume(&self) -> Option<VolumeId> {
        self.replicas.first().copied()
    }
}
