use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use kv_client::description::ClusterDescription;
use kv_tests::ledger::key_in;

/// Keys that one shard's pulse goes round.
const RING: usize = 8;
/// Keys of each shard that are written once, before the first fault.
const STEADY: usize = 20;

/// The keys of a round, of each shard some.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    /// For which all clients contend, one of each shard.
    pub contended: Vec<Bytes>,
    /// Two of each shard, which only batches write, both at once.
    pub twins: Vec<[Bytes; 2]>,
    /// Of each shard (its number), those that one writer sets in turn, all along.
    pub rings: Vec<(u64, Vec<Bytes>)>,
    /// Written before the first fault, and never again, with their values.
    pub steady: BTreeMap<Bytes, Bytes>,
    /// Written by the judge at the end, one of each shard.
    pub last: Vec<Bytes>,
}

impl Keys {
    /// Those for these shards.
    #[must_use]
    pub fn of(description: &ClusterDescription) -> Self {
        let mut keys = Self::default();
        for shard in &description.shards {
            let key = |name: &str| key_in(shard, name).map(Bytes::from);
            keys.contended.extend(key("contended"));
            keys.last.extend(key("last"));
            if let (Some(one), Some(other)) = (key("twin-a"), key("twin-b")) {
                keys.twins.push([one, other]);
            }
            let ring = (0..RING).filter_map(|at| key(&format!("pulse-{at}")));
            keys.rings.push((shard.shard, ring.collect()));
            let steady = (0..STEADY).filter_map(|at| key(&format!("steady-{at:03}")));
            keys.steady.extend(steady.map(|key| (key.clone(), key)));
        }
        keys
    }

    /// All that may change.
    #[must_use]
    pub fn changing(&self) -> BTreeSet<Bytes> {
        let rings = self.rings.iter().flat_map(|(_, ring)| ring);
        self.contended.iter().chain(self.twins.iter().flatten()).chain(rings).cloned().collect()
    }
}
