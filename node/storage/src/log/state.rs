use kv_types::{Epoch, KeyRange, Lineage, ShardConfig, ShardId};
use serde::{Deserialize, Serialize};

use crate::Space;

/// What a replica remembers besides its log. Kept in the log itself, so that it is durable in the order of the calls.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReplicaState {
    /// The highest epoch that the replica has promised; it rejects anything lower.
    pub promised: Epoch,
    /// The lineage of its log.
    pub lineage: Lineage,
    /// The newest configuration of the shard that it has seen.
    pub config: Option<ShardConfig>,
    /// Where its rows lie.
    pub space: Space,
    /// Differs after every start.
    pub incarnation: u64,
    /// The copy has lost what it once acknowledged, and starts over empty.
    pub void: bool,
    /// A non-empty torn tail was cut, and the log has not been compared with the other members' since.
    pub torn: bool,
    /// Where it comes from, until its own configuration is known.
    pub birth: Option<Birth>,
}

/// The origin of a copy that a split has made, and that nobody has named a copy of its shard yet: the split may still be
/// called off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Birth {
    /// The shard that was split.
    pub parent: ShardId,
    /// Its epoch at the split. The child's first is the one after.
    pub epoch: Epoch,
    /// What the child is to have of it.
    pub range: KeyRange,
}
